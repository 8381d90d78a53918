//! Strings: from their spelling to text and back.
//!
//! Text is UTF-8, but for escaped surrogates that stand alone: those become the three bytes that UTF-8 would use for them
//! (WTF-8) and are written as escapes again, so that editing a string never changes what it did not touch.

use std::borrow::Cow;

/// The text of a string whose spelling between the quotes is `raw`, validated before. Lone surrogates become U+FFFD.
#[must_use]
pub fn unescape(raw: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', raw).is_none() {
        return String::from_utf8_lossy(raw);
    }
    let mut out = Vec::with_capacity(raw.len());
    let mut carry = None;
    unescape_carrying(raw, &mut carry, &mut out);
    finish_carry(&mut carry, &mut out);
    // A lone surrogate is three bytes that are not UTF-8, each of which would become one U+FFFD.
    let mut text = String::with_capacity(out.len());
    for chunk in out.utf8_chunks() {
        text.push_str(chunk.valid());
        if chunk.invalid().first() == Some(&0xED) {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
    Cow::Owned(text)
}

/// The text of `raw`; a high surrogate at its end stays in `carry`.
pub(crate) fn unescaped_carrying<'r>(raw: &'r [u8], carry: &mut Option<u16>) -> Cow<'r, [u8]> {
    if carry.is_none() && memchr::memchr(b'\\', raw).is_none() {
        return Cow::Borrowed(raw);
    }
    let mut text = Vec::with_capacity(raw.len());
    unescape_carrying(raw, carry, &mut text);
    Cow::Owned(text)
}

/// Appends the text of `raw`. A high surrogate at its end stays in `carry` for the string that continues this one.
pub(crate) fn unescape_carrying(raw: &[u8], carry: &mut Option<u16>, out: &mut Vec<u8>) {
    let mut rest = raw;
    while let Some(&first) = rest.first() {
        if first != b'\\' {
            finish_carry(carry, out);
            let run = memchr::memchr(b'\\', rest).unwrap_or(rest.len());
            let (plain, behind) = rest.split_at(run);
            out.extend_from_slice(plain);
            rest = behind;
            continue;
        }
        let simple = match rest.get(1) {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'u') => {
                unit(hex4(rest.get(2..6).unwrap_or_default()), carry, out);
                rest = rest.get(6..).unwrap_or_default();
                continue;
            }
            Some(&other) => other,
            None => b'\\',
        };
        finish_carry(carry, out);
        out.push(simple);
        rest = rest.get(2..).unwrap_or_default();
    }
}

/// Writes a high surrogate that nothing followed.
pub(crate) fn finish_carry(carry: &mut Option<u16>, out: &mut Vec<u8>) {
    if let Some(high) = carry.take() {
        push_surrogate(high, out);
    }
}

/// Takes one UTF-16 unit.
fn unit(unit: u16, carry: &mut Option<u16>, out: &mut Vec<u8>) {
    if let (Some(high), 0xDC00..=0xDFFF) = (*carry, unit) {
        *carry = None;
        let code = 0x10000 + ((u32::from(high) - 0xD800) << 10) + (u32::from(unit) - 0xDC00);
        push_char(code, out);
        return;
    }
    finish_carry(carry, out);
    match unit {
        0xD800..=0xDBFF => *carry = Some(unit),
        0xDC00..=0xDFFF => push_surrogate(unit, out),
        _ => push_char(u32::from(unit), out),
    }
}

fn push_char(code: u32, out: &mut Vec<u8>) {
    let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
    out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
}

fn push_surrogate(unit: u16, out: &mut Vec<u8>) {
    out.push(0xED);
    out.push(0x80 | ((unit >> 6) & 0x3F) as u8);
    out.push(0x80 | (unit & 0x3F) as u8);
}

fn hex4(digits: &[u8]) -> u16 {
    digits.iter().fold(0, |unit, &digit| {
        let digit = char::from(digit).to_digit(16).unwrap_or(0);
        unit << 4 | u16::try_from(digit).unwrap_or(0)
    })
}

/// Appends `text` as it is spelt between quotes.
pub fn write_escaped(text: &[u8], out: &mut Vec<u8>) {
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0..=0x1F => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            0xED => {
                // U+D800 to U+DFFF: ED A0 80 to ED BF BF.
                if let Some(&[second @ 0xA0..=0xBF, third]) = text.get(at + 1..at + 3) {
                    let unit = 0xD000 | (u16::from(second & 0x3F) << 6) | u16::from(third & 0x3F);
                    out.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                    at += 3;
                    continue;
                }
                out.push(byte);
            }
            _ => out.push(byte),
        }
        at += 1;
    }
}

/// Appends `text` as a string with its quotes.
pub fn write_string(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    write_escaped(text, out);
    out.push(b'"');
}
