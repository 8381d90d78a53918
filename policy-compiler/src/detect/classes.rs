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
