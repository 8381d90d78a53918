//! The folded view: what text looks like to detectors, with the way back to its bytes (MASKING §2).
//!
//! Any decimal digit of Unicode is 0 to 9, full-width and mathematical letters are ASCII, invisible characters are gone, dashes, blanks,
//! and the look-alikes of `@`, `.`, `/` and `:` are one each. A second view also decodes percent, HTML and backslash escapes; it exists
//! only where there are some. Both are functions of single characters, so they do not depend on how the text was cut.

use std::borrow::Cow;

/// A text as detectors see it.
#[derive(Debug)]
pub(super) struct View<'a> {
    /// The folded bytes.
    pub(super) text: Cow<'a, [u8]>,
    /// For each folded byte where its source begins and ends; `None` if it is the text itself.
    map: Option<Vec<(u32, u32)>>,
    /// Bytes of the source that are complete characters and escapes.
    pub(super) complete: usize,
    /// The source ranges of what the second view decoded.
    decoded: Vec<(u32, u32)>,
}

impl<'a> View<'a> {
    /// The first view.
    pub(super) fn folded(raw: &'a [u8], last: bool) -> Self {
        if raw.is_ascii() {
            return Self { text: Cow::Borrowed(raw), map: None, complete: raw.len(), decoded: Vec::new() };
        }
        Self::build(raw, last, false)
    }

    /// The second view; `None` if it is like the first.
    pub(super) fn decoded(raw: &'a [u8], last: bool) -> Option<Self> {
        let escapes = |at: usize| !matches!(escape(raw.get(at..).unwrap_or_default(), last), Escape::None);
        if !memchr::memchr3_iter(b'%', b'&', b'\\', raw).any(escapes) {
            return None;
        }
        let view = Self::build(raw, last, true);
        (!view.decoded.is_empty() || view.complete < raw.len()).then_some(view)
    }

    fn build(raw: &[u8], last: bool, decode: bool) -> Self {
        let mut text = Vec::with_capacity(raw.len());
        let mut map = Vec::with_capacity(raw.len());
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < raw.len() {
            let rest = raw.get(at..).unwrap_or_default();
            let escape = if decode { escape(rest, last) } else { Escape::None };
            let (character, length) = match escape {
                Escape::Partial => break,
                Escape::Character(character, length) => {
                    decoded.push((place(at), place(at + length)));
                    (Some(character), length)
                }
                Escape::None => match character(rest, last) {
                    Some(found) => found,
                    None => break,
                },
            };
            let source = (place(at), place(at + length));
            match character.map(fold) {
                Some(Folded::Character(character)) => {
                    let mut utf8 = [0; 4];
                    for &byte in character.encode_utf8(&mut utf8).as_bytes() {
                        text.push(byte);
                        map.push(source);
                    }
                }
                Some(Folded::Invisible) => {}
                // What is no character stands for itself.
                None => {
                    text.push(raw.get(at).copied().unwrap_or_default());
                    map.push(source);
                }
            }
            at += length;
        }
        Self { text: Cow::Owned(text), map: Some(map), complete: at, decoded }
    }

    /// Whether it is the text itself.
    pub(super) fn is_plain(&self) -> bool {
        self.map.is_none()
    }

    /// Where the source of a folded byte begins; for the end, where the complete part ends.
    pub(super) fn raw_start(&self, place: usize) -> usize {
        match &self.map {
            None => place,
            Some(map) => map.get(place).map_or(self.complete, |source| source.0 as usize),
        }
    }

    /// Where the source of the bytes before a folded place ends.
    pub(super) fn raw_end(&self, place: usize) -> usize {
        match (&self.map, place.checked_sub(1)) {
            (None, _) => place,
            (Some(_), None) => 0,
            (Some(map), Some(before)) => map.get(before).map_or(self.complete, |source| source.1 as usize),
        }
    }

    /// The first folded byte whose source begins at or behind a place.
    pub(super) fn place_of(&self, raw: usize) -> usize {
        match &self.map {
            None => raw.min(self.text.len()),
            Some(map) => map.partition_point(|source| (source.0 as usize) < raw),
        }
    }

    /// The place, or the beginning of the decoded character that it lies in.
    pub(super) fn before_decoded(&self, raw: usize) -> usize {
        let at = self.decoded.partition_point(|&(_, to)| (to as usize) <= raw);
        match self.decoded.get(at) {
            Some(&(from, _)) if (from as usize) < raw => from as usize,
            _ => raw,
        }
    }

    /// Whether some of the source range, or what touches it, was decoded.
    pub(super) fn has_decoded(&self, start: usize, end: usize) -> bool {
        let at = self.decoded.partition_point(|&(_, to)| (to as usize) < start);
        self.decoded.get(at).is_some_and(|&(from, _)| (from as usize) <= end)
    }
}

fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

/// The first character, `None` inside if the first byte is none; `None` if more of it may come.
fn character(rest: &[u8], last: bool) -> Option<(Option<char>, usize)> {
    let length = match rest.first()? {
        0..=0x7F => 1,
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => return Some((None, 1)),
    };
    match rest.get(..length) {
        Some(bytes) => Some(match std::str::from_utf8(bytes).ok().and_then(|text| text.chars().next()) {
            Some(character) => (Some(character), length),
            None => (None, 1),
        }),
        None => {
            let continues = rest.iter().skip(1).all(|byte| matches!(byte, 0x80..=0xBF));
            (last || !continues).then_some((None, 1))
        }
    }
}

enum Escape {
    None,
    /// More is needed to know.
    Partial,
    Character(char, usize),
}

/// Bytes of the longest entity that is known.
const ENTITY_MAX: usize = 10;
const ENTITIES: [(&str, char); 22] = [
    ("commat", '@'),
    ("period", '.'),
    ("hyphen", '-'),
    ("dash", '-'),
    ("ndash", '-'),
    ("mdash", '-'),
    ("minus", '-'),
    ("nbsp", ' '),
    ("ensp", ' '),
    ("emsp", ' '),
    ("thinsp", ' '),
    ("amp", '&'),
    ("lt", '<'),
    ("gt", '>'),
    ("quot", '"'),
    ("apos", '\''),
    ("colon", ':'),
    ("sol", '/'),
    ("lowbar", '_'),
    ("plus", '+'),
    ("shy", '\u{ad}'),
    ("zwnj", '\u{200c}'),
];

/// `%34`, `&#52;`, `&#x34;`, `&commat;`, `\u0034`, `\x34`.
fn escape(rest: &[u8], last: bool) -> Escape {
    let partial = if last { Escape::None } else { Escape::Partial };
    match rest {
        [b'%', digits @ ..] => match hexadecimal(digits, 2) {
            Ok(code @ 0x20..=0x7e) => Escape::Character(char::from_u32(code).unwrap_or(' '), 3),
            Err(true) => partial,
            _ => Escape::None,
        },
        [b'\\', b'u', digits @ ..] => match hexadecimal(digits, 4) {
            Ok(code) => char::from_u32(code).map_or(Escape::None, |character| Escape::Character(character, 6)),
            Err(short) => {
                if short {
                    partial
                } else {
                    Escape::None
                }
            }
        },
        [b'\\', b'x', digits @ ..] => match hexadecimal(digits, 2) {
            Ok(code @ 0x20..=0x7e) => Escape::Character(char::from_u32(code).unwrap_or(' '), 4),
            Err(true) => partial,
            _ => Escape::None,
        },
        [b'\\'] => partial,
        [b'&', name @ ..] => {
            let name = name.get(..ENTITY_MAX.min(name.len())).unwrap_or_default();
            let length = name.iter().take_while(|byte| byte.is_ascii_alphanumeric() || **byte == b'#').count();
            match name.get(length) {
                Some(b';') => entity(name.get(..length).unwrap_or_default())
                    .map_or(Escape::None, |character| Escape::Character(character, length + 2)),
                None if length < ENTITY_MAX => partial,
                _ => Escape::None,
            }
        }
        _ => Escape::None,
    }
}

/// The value of so many hexadecimal digits; `Err(true)` if all so far are, but more are needed.
fn hexadecimal(digits: &[u8], count: usize) -> Result<u32, bool> {
    let mut value = 0;
    for place in 0..count {
        let Some(&byte) = digits.get(place) else {
            return Err(true);
        };
        value = value * 16 + char::from(byte).to_digit(16).ok_or(false)?;
    }
    Ok(value)
}

fn entity(name: &[u8]) -> Option<char> {
    let name = std::str::from_utf8(name).ok()?;
    match name.strip_prefix('#') {
        Some(number) => {
            let code = match number.strip_prefix(['x', 'X']) {
                Some(digits) => u32::from_str_radix(digits, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
        None => ENTITIES.iter().find(|(known, _)| *known == name).map(|&(_, character)| character),
    }
}

enum Folded {
    Character(char),
    /// Not there for the reader.
    Invisible,
}

/// The zeros of Unicode's decimal digits (category Nd) beyond ASCII; nine more follow each.
const ZEROS: [u32; 75] = [
    0x10d40, 0x116d0, 0x116da, 0x11bf0, 0x16130, 0x16d70, 0x1ccf0, 0x1e4f0, 0x1e5f1, 0x1fbf0, 0x660, 0x6f0, 0x7c0,
    0x966, 0x9e6, 0xa66, 0xae6, 0xb66, 0xbe6, 0xc66, 0xce6, 0xd66, 0xde6, 0xe50, 0xed0, 0xf20, 0x1040, 0x1090, 0x17e0,
    0x1810, 0x1946, 0x19d0, 0x1a80, 0x1a90, 0x1b50, 0x1bb0, 0x1c40, 0x1c50, 0xa620, 0xa8d0, 0xa900, 0xa9d0, 0xa9f0,
    0xaa50, 0xabf0, 0xff10, 0x104a0, 0x10d30, 0x11066, 0x110f0, 0x11136, 0x111d0, 0x112f0, 0x11450, 0x114d0, 0x11650,
    0x116c0, 0x11730, 0x118e0, 0x11950, 0x11c50, 0x11d50, 0x11da0, 0x11f50, 0x16a60, 0x16ac0, 0x16b50, 0x1d7ce,
    0x1d7d8, 0x1d7e2, 0x1d7ec, 0x1d7f6, 0x1e140, 0x1e2f0, 0x1e950,
];

fn fold(character: char) -> Folded {
    let code = u32::from(character);
    if code < 0x80 {
        return Folded::Character(character);
    }
    let ascii = |base: u8, offset: u32| char::from(base + u8::try_from(offset).unwrap_or_default());
    let folded = match code {
        // Default-ignorable characters and the soft hyphen.
        0xad
        | 0x34f
        | 0x61c
        | 0x115f
        | 0x1160
        | 0x17b4
        | 0x17b5
        | 0x180b..=0x180f
        | 0x200b..=0x200f
        | 0x202a..=0x202e
        | 0x2060..=0x206f
        | 0x3164
        | 0xfe00..=0xfe0f
        | 0xfeff
        | 0xffa0
        | 0xfff0..=0xfff8
        | 0x1bca0..=0x1bca3
        | 0x1d173..=0x1d17a
        | 0xe0000..=0xe0fff => return Folded::Invisible,
        0xa0 | 0x1680 | 0x2000..=0x200a | 0x202f | 0x205f | 0x3000 => ' ',
        0x2010..=0x2015 | 0x2043 | 0x2212 | 0x2d7 | 0xfe58 | 0xfe63 => '-',
        0x3002 | 0xff61 | 0x2024 | 0xfe52 => '.',
        0xfe6b => '@',
        0x2044 | 0x2215 => '/',
        0xfe55 | 0xa789 | 0x2236 => ':',
        0xfe4d..=0xfe4f => '_',
        0xff01..=0xff5e => ascii(0x21, code - 0xff01),
        0xb2 => '2',
        0xb3 => '3',
        0xb9 => '1',
        0x2070 => '0',
        0x2074..=0x2079 => ascii(b'4', code - 0x2074),
        0x2080..=0x2089 => ascii(b'0', code - 0x2080),
        0x2460..=0x2468 => ascii(b'1', code - 0x2460),
        0x24ea => '0',
        0x24b6..=0x24cf => ascii(b'A', code - 0x24b6),
        0x24d0..=0x24e9 => ascii(b'a', code - 0x24d0),
        0x1d400..=0x1d6a3 => match (code - 0x1d400) % 52 {
            upper @ 0..26 => ascii(b'A', upper),
            lower => ascii(b'a', lower - 26),
        },
        _ => match ZEROS.iter().find(|&&zero| (zero..zero + 10).contains(&code)) {
            Some(zero) => ascii(b'0', code - zero),
            None => character,
        },
    };
    Folded::Character(folded)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn folded(text: &str) -> String {
        String::from_utf8(View::folded(text.as_bytes(), true).text.into_owned()).unwrap()
    }

    #[test]
    fn what_looks_alike_is_alike() {
        assert_eq!(folded("４１１1‑1１１１\u{200b} ٥٣٦\u{ad}²"), "4111-1111 5362");
        assert_eq!(folded("bob＠example。com"), "bob@example.com");
        assert_eq!(folded("𝐀𝐛𝟏Ⓒ①\u{a0}é谢"), "Ab1C1 é谢");
    }

    #[test]
    fn every_decimal_digit_folds() {
        let digits = regex_syntax::hir::Class::Unicode(match regex_syntax::parse(r"\p{Nd}").unwrap().into_kind() {
            regex_syntax::hir::HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => class,
            _ => unreachable!(),
        });
        let regex_syntax::hir::Class::Unicode(class) = digits else { unreachable!() };
        let missing: Vec<_> = class
            .iter()
            .flat_map(|range| range.start()..=range.end())
            .filter(|&digit| !matches!(fold(digit), Folded::Character('0'..='9')))
            .collect();
        assert_eq!(missing, Vec::<char>::new());
    }

    #[test]
    fn escapes_are_decoded_with_their_place() {
        let raw = b"a%34&#52;&#x34;&commat;\\u0034\\x34%zz&x;%4";
        let view = View::decoded(raw, true).unwrap();
        assert_eq!(&*view.text, b"a444@44%zz&x;%4");
        assert_eq!((view.raw_start(1), view.raw_end(2)), (1, 4));
        assert_eq!(view.complete, raw.len());
        assert!(view.has_decoded(4, 5) && !view.has_decoded(34, 36));
        for (text, complete) in
            [("a%", 1), ("a%4", 1), ("a&", 1), ("a&#5", 1), ("a\\", 1), ("a\\u00", 1), ("% ", 2), ("&& ", 3)]
        {
            let view = View::decoded(text.as_bytes(), false);
            assert_eq!(view.map_or(text.len(), |view| view.complete), complete, "{text}");
        }
    }

    #[test]
    fn broken_characters_stand_for_themselves() {
        let view = View::folded(b"a\xff\xe8\xb0b\xe8\xb0", false);
        assert_eq!(&*view.text, b"a\xff\xe8\xb0b");
        assert_eq!(view.complete, 5);
        assert_eq!(View::folded(b"\xe8\xb0", true).complete, 2);
    }
}
