//! W3C trace context: the caller's `traceparent` is honoured, else one is minted.

use aws_lc_rs::rand;

use super::http::RequestHead;

/// The trace that a call belongs to.
pub(super) struct TraceContext {
    /// The `traceparent` field that goes upstream.
    pub(super) header: String,
}

impl TraceContext {
    pub(super) fn of(head: &RequestHead) -> Self {
        let given = head.fields.text("traceparent").filter(|value| parse_id(value).is_some());
        Self { header: given.map_or_else(mint, str::to_owned) }
    }

    /// The trace id.
    pub(super) fn id(&self) -> Option<[u8; 16]> {
        parse_id(&self.header)
    }
}

fn mint() -> String {
    let mut random = [0u8; 24];
    // Without randomness the all-zero id is no valid trace: the call goes on untraced.
    let _ = rand::fill(&mut random);
    let (trace, span) = random.split_at(16);
    format!("00-{}-{}-01", hex::encode(trace), hex::encode(span))
}

/// The trace id of `00-<32 hex>-<16 hex>-<2 hex>` (Trace Context §3.2), which may not be all zero.
fn parse_id(value: &str) -> Option<[u8; 16]> {
    let mut parts = value.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let lower_hex =
        |part: &str, digits| part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if version != "00"
        || parts.next().is_some()
        || !lower_hex(span, 16)
        || !lower_hex(flags, 2)
        || !lower_hex(trace, 32)
    {
        return None;
    }
    let mut id = [0u8; 16];
    hex::decode_to_slice(trace, &mut id).ok()?;
    (id != [0; 16] && span.bytes().any(|b| b != b'0')).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_valid_contexts_are_honoured() {
        assert!(parse_id("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01").is_some());
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(parse_id(bad).is_none(), "{bad}");
        }
        assert!(parse_id(&mint()).is_some());
    }
}
