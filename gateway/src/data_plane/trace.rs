//! W3C trace context: the caller's `traceparent` is honoured, else one is minted.

use aws_lc_rs::rand;

use super::http::RequestHead;
use crate::telemetry::Spans;

/// The trace that a call belongs to.
pub(super) struct TraceContext {
    /// The `traceparent` field that goes upstream.
    pub(super) header: String,
    id: Option<[u8; 16]>,
    spans: Option<Spans>,
}

/// A valid `traceparent`.
#[derive(Clone, Copy)]
struct Parent {
    trace: [u8; 16],
    span: [u8; 8],
    /// Whether whoever sent it records its part.
    sampled: bool,
}

impl TraceContext {
    /// `sample` is the share of calls without a valid `traceparent` that we tell of; `None` tells of none.
    pub(super) fn of(head: &RequestHead, sample: Option<f64>) -> Self {
        let given = head.fields.text("traceparent").and_then(|text| Some((text, parse(text)?)));
        match (given, sample) {
            (Some((_, parent)), Some(_)) if parent.sampled => Self::told(parent.trace, Some(parent.span)),
            (Some((text, parent)), _) => Self { header: text.to_owned(), id: Some(parent.trace), spans: None },
            (None, sample) => {
                let (trace, span) = random_ids();
                match sample {
                    Some(share) if is_chosen(trace, share) => Self::told(trace, None),
                    sample => {
                        // Who comes after us may still record its part, unless it was decided that nobody does.
                        let flags = if sample.is_some() { 0 } else { 1 };
                        Self { header: header(trace, span, flags), id: parse_id(trace), spans: None }
                    }
                }
            }
        }
    }

    /// A trace that we tell our part of.
    fn told(trace: [u8; 16], parent: Option<[u8; 8]>) -> Self {
        let (server, client) = (random(), random());
        Self {
            header: header(trace, client, 1),
            id: parse_id(trace),
            spans: Some(Spans { trace, parent, server, client }),
        }
    }

    /// The trace id.
    pub(super) fn id(&self) -> Option<[u8; 16]> {
        self.id
    }

    /// What we tell of it, if we do.
    pub(super) fn spans(&self) -> Option<Spans> {
        self.spans
    }
}

fn header(trace: [u8; 16], span: [u8; 8], flags: u8) -> String {
    format!("00-{}-{}-{flags:02x}", hex::encode(trace), hex::encode(span))
}

/// Without randomness it is all zero, which is no valid id: the call goes on untraced.
fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let _ = rand::fill(&mut bytes);
    bytes
}

/// A trace and a span, of one draw: its cost hardly depends on how much is drawn.
fn random_ids() -> ([u8; 16], [u8; 8]) {
    let drawn = random::<24>();
    (drawn.first_chunk().copied().unwrap_or_default(), drawn.last_chunk().copied().unwrap_or_default())
}

/// By the random part of the trace's id, so that every gateway with this share chooses the same traces (OpenTelemetry's
/// TraceIdRatioBased).
fn is_chosen(trace: [u8; 16], share: f64) -> bool {
    let low = u64::from_be_bytes(trace.last_chunk().copied().unwrap_or_default());
    (low >> 11) as f64 / (1u64 << 53) as f64 <= share && share > 0.0
}

fn parse_id(id: [u8; 16]) -> Option<[u8; 16]> {
    (id != [0; 16]).then_some(id)
}

/// `00-<32 hex>-<16 hex>-<2 hex>` (Trace Context §3.2); neither id may be all zero.
fn parse(value: &str) -> Option<Parent> {
    let mut parts = value.split('-');
    let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    if version != "00" || parts.next().is_some() {
        return None;
    }
    let (trace, span, [flags]) = (lower_hex::<16>(trace)?, lower_hex::<8>(span)?, lower_hex::<1>(flags)?);
    (trace != [0; 16] && span != [0; 8]).then_some(Parent { trace, span, sampled: flags & 1 == 1 })
}

fn lower_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    let lower = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (lower && hex::decode_to_slice(text, &mut bytes).is_ok()).then_some(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::super::http::HeadLimits;
    use super::*;

    const GIVEN: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn of(traceparent: &str, sample: Option<f64>) -> TraceContext {
        let text = format!("GET / HTTP/1.1\r\nHost: a\r\ntraceparent: {traceparent}\r\n\r\n");
        let (head, _) = RequestHead::parse(text.as_bytes(), HeadLimits { bytes: 1024, fields: 10 }).unwrap().unwrap();
        TraceContext::of(&head, sample)
    }

    #[test]
    fn only_valid_contexts_are_honoured() {
        assert!(parse(GIVEN).is_some());
        for bad in [
            "",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(parse(bad).is_none(), "{bad}");
            assert!(parse(&of(bad, None).header).is_some());
        }
    }

    #[test]
    fn what_we_do_not_tell_of_passes_as_it_came() {
        assert_eq!(of(GIVEN, None).header, GIVEN);
        let unsampled = GIVEN.replace("-01", "-00");
        let context = of(&unsampled, Some(1.0));
        assert_eq!((context.header.as_str(), context.spans()), (unsampled.as_str(), None));
    }

    #[test]
    fn what_we_tell_of_names_our_span_as_the_parent() {
        let context = of(GIVEN, Some(0.0));
        let spans = context.spans().unwrap();
        assert_eq!(spans.parent, lower_hex("00f067aa0ba902b7"));
        assert_eq!(context.header, header(spans.trace, spans.client, 1));
    }

    #[test]
    fn the_share_decides_where_no_caller_did() {
        assert!(of("", Some(1.0)).spans().is_some_and(|spans| spans.parent.is_none()));
        let none = of("", Some(0.0));
        assert!(none.spans().is_none() && none.header.ends_with("-00"));
    }
}
