//! Classes of bytes, and the rule where a match may begin and end.

/// What stands for a masked span where text before a place is read. It occurs in no folded text.
pub(super) const MASKED_SPAN: u8 = 0x01;

/// The class of a byte for boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// `0`–`9`
    Digit,
    /// `A`–`Z`, `a`–`z`
    Letter,
    /// Everything else.
    Other,
}

/// The class of a byte.
pub(super) fn class(byte: u8) -> Class {
    match byte {
        b'0'..=b'9' => Class::Digit,
        b'A'..=b'Z' | b'a'..=b'z' => Class::Letter,
        _ => Class::Other,
    }
}

/// Whether a match of digits and letters may begin or end between these two bytes: where the class changes. Letters glued to
/// a number do not hide it. A rule that looks the same from both sides keeps masking idempotent: what may not end here could not
/// have been followed by a match that begins here.
pub(super) fn is_boundary(before: u8, after: u8) -> bool {
    let (before, after) = (class(before), class(after));
    before != after || before == Class::Other
}

/// Whether a byte can make a clean block worth a look: every match has such a byte within its first two words. Uppercase
/// counts behind a letter or digit only, see [`next_trigger`].
fn is_trigger(byte: u8) -> bool {
    byte.is_ascii_digit() | (byte == b'@') | (byte == b':') | (byte == b'=') | (byte == b'_')
}

/// Bytes looked at together; a block without a trigger is skipped.
const BLOCK: usize = 64;
/// Bytes that are looked at one by one first.
const NEAR: usize = 12;

/// The next place at or after `from` that can make a match: a digit, `@`, `:`, `=`, `_`, or an uppercase letter behind a letter or
/// digit.
pub(super) fn next_trigger(text: &[u8], from: usize) -> Option<usize> {
    // Where there was one trigger the next is mostly near.
    let near = (from + NEAR).min(text.len());
    if let Some(place) = (from..near).find(|&place| triggers(text, place)) {
        return Some(place);
    }
    let mut at = near;
    while at < text.len() {
        let end = (at + BLOCK).min(text.len());
        if has_trigger(text, at, end)
            && let Some(place) = (at..end).find(|&place| triggers(text, place))
        {
            return Some(place);
        }
        at = end;
    }
    None
}

fn triggers(text: &[u8], place: usize) -> bool {
    let byte = text.get(place).copied().unwrap_or_default();
    is_trigger(byte)
        || byte.is_ascii_uppercase() && place > 0 && text.get(place - 1).is_some_and(u8::is_ascii_alphanumeric)
}

/// Written so that the compiler vectorises it: no branch inside.
fn has_trigger(text: &[u8], at: usize, end: usize) -> bool {
    let block = text.get(at..end).unwrap_or_default();
    let plain = block.iter().fold(false, |any, &byte| any | is_trigger(byte));
    let from = at.max(1);
    let (before, behind) = (text.get(from - 1..).unwrap_or_default(), text.get(from..end).unwrap_or_default());
    let capital = behind
        .iter()
        .zip(before)
        .fold(false, |any, (byte, before)| any | (byte.is_ascii_uppercase() & before.is_ascii_alphanumeric()));
    plain | capital
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_found_in_any_block() {
        for place in 0..200 {
            let mut text = vec![b'a'; 200];
            assert_eq!(next_trigger(&text, 0), None);
            for byte in [b'7', b'@', b':', b'=', b'_'] {
                text.splice(place..=place, [byte]);
                assert_eq!(next_trigger(&text, 0), Some(place));
                assert_eq!(next_trigger(&text, place + 1), None);
            }
            text.splice(place..=place, [b'A']);
            assert_eq!(next_trigger(&text, 0), (place > 0).then_some(place));
        }
    }
}
