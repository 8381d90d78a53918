//! JSON inside a JSON string: tool arguments.
//!
//! The core sees what the inner JSON means, not how it is spelt: `\n` is a line feed, `\u0034` is a 4. Each inner string,
//! and the text between two of them, is a text of its own, so a match never swallows a quote. What a match hides is
//! replaced at its spelling: inside a string by the escaped replacement, outside (a bare number) by a quoted one, or by `0`
//! where a digit, sign or point is glued to it and quotes would break the number. Text that is not JSON goes through the
//! same way and is masked too.

use super::channel::{Core, Masked, Sink, UseSet};
use super::text::{TextHit, Written};
use crate::detect::CeilingExceeded;
use crate::json::write_escaped;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes of the longest spelling of one character: `\ud83d\ude00`.
const UNIT_MAX: usize = 12;

/// The masking state of one inner JSON text.
#[derive(Debug)]
pub(crate) struct Arguments {
    core: Core,
    in_string: bool,
    /// An escape that is not complete.
    escape: Vec<u8>,
    spelling: Spelling,
}

/// How the text that the core holds is spelt.
#[derive(Debug, Default)]
struct Spelling {
    raw: VecDeque<u8>,
    /// For each byte that the core holds, how many bytes its spelling takes; bytes behind the first of a character take none.
    lengths: VecDeque<u8>,
}

impl Arguments {
    /// The state before the first piece.
    pub(crate) fn new(uses: Arc<UseSet>) -> Self {
        let mut core = Core::new(uses);
        core.want_next();
        Self { core, in_string: false, escape: Vec::new(), spelling: Spelling::default() }
    }

    /// Takes a piece and appends what can be released.
    pub(crate) fn push(&mut self, piece: &[u8], mut to: Written<'_>) -> Result<(), CeilingExceeded> {
        let mut view = Vec::with_capacity(piece.len());
        for &byte in piece {
            let byte = if self.escape.is_empty() {
                Some(byte)
            } else {
                self.escape.push(byte);
                self.complete_escape(&mut view, false)
            };
            match byte {
                None => {}
                Some(b'\\') if self.in_string => self.escape.push(b'\\'),
                Some(b'"') => {
                    self.end_segment(&view, &mut to)?;
                    view.clear();
                    to.out.push(b'"');
                }
                Some(byte) => self.spelling.add(&[byte], &[byte], &mut view),
            }
        }
        self.feed(&view, false, &mut to)
    }

    /// Ends the text and appends the rest.
    pub(crate) fn finish(&mut self, mut to: Written<'_>) -> Result<(), CeilingExceeded> {
        let mut view = Vec::new();
        self.complete_escape(&mut view, true);
        self.feed(&view, true, &mut to)
    }

    fn feed(&mut self, view: &[u8], last: bool, to: &mut Written<'_>) -> Result<(), CeilingExceeded> {
        let mut sink = Spelt { spelling: &mut self.spelling, in_string: self.in_string, to };
        self.core.feed(view, last, &mut sink)
    }

    /// At a quote that is not escaped: what came before is a whole text, and the other kind begins.
    fn end_segment(&mut self, view: &[u8], to: &mut Written<'_>) -> Result<(), CeilingExceeded> {
        let mut sink = Spelt { spelling: &mut self.spelling, in_string: self.in_string, to };
        self.core.feed(view, false, &mut sink)?;
        let outside_next = self.in_string;
        self.core.restart(1, outside_next, &mut sink)?;
        self.in_string = !self.in_string;
        Ok(())
    }

    /// Hands over the escapes that are complete; with `end`, whatever is there. Gives back a byte that came behind a broken
    /// escape and is not part of it.
    fn complete_escape(&mut self, view: &mut Vec<u8>, end: bool) -> Option<u8> {
        while let Some(&first) = self.escape.first() {
            if first != b'\\' {
                self.escape.clear();
                return Some(first);
            }
            let (length, character) = decode(&self.escape, end)?;
            let raw: Vec<u8> = self.escape.drain(..length).collect();
            match character {
                Some(character) => {
                    let mut utf8 = [0; 4];
                    let text = character.encode_utf8(&mut utf8).as_bytes().to_vec();
                    self.spelling.add(&text, &raw, view);
                }
                // No escape: every byte stands for itself.
                None => {
                    for byte in raw {
                        self.spelling.add(&[byte], &[byte], view);
                    }
                }
            }
        }
        None
    }
}

/// The first escape of `escape`: how many bytes it takes and what it means (`None`: nothing). `None` if it is incomplete.
fn decode(escape: &[u8], end: bool) -> Option<(usize, Option<char>)> {
    let simple = match escape.get(1) {
        None => return end.then_some((escape.len(), None)),
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'u') => return decode_unicode(escape, end),
        Some(&other @ (b'"' | b'\\' | b'/')) => char::from(other),
        Some(_) => return Some((2, None)),
    };
    Some((2, Some(simple)))
}

fn decode_unicode(escape: &[u8], end: bool) -> Option<(usize, Option<char>)> {
    let incomplete = end.then_some((escape.len(), None));
    match hex4(escape.get(2..).unwrap_or_default()) {
        Hex::Short => incomplete,
        Hex::Bad(length) => Some((2 + length, None)),
        Hex::Unit(high @ 0xD800..=0xDBFF) => {
            let rest = escape.get(6..).unwrap_or_default();
            let alone = Some((6, Some(char::REPLACEMENT_CHARACTER)));
            match rest {
                [] | [b'\\'] if !end => None,
                [b'\\', b'u', digits @ ..] => match hex4(digits) {
                    Hex::Short if !end => None,
                    Hex::Unit(low @ 0xDC00..=0xDFFF) => {
                        let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                        Some((UNIT_MAX, char::from_u32(code)))
                    }
                    _ => alone,
                },
                _ => alone,
            }
        }
        Hex::Unit(unit) => Some((6, Some(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)))),
    }
}

enum Hex {
    /// Fewer than four digits, so far all good.
    Short,
    /// A byte that is no hexadecimal digit comes after so many that are.
    Bad(usize),
    /// A UTF-16 unit.
    Unit(u32),
}

fn hex4(digits: &[u8]) -> Hex {
    let mut unit = 0;
    for position in 0..4 {
        let Some(&byte) = digits.get(position) else {
            return Hex::Short;
        };
        let Some(digit) = char::from(byte).to_digit(16) else {
            return Hex::Bad(position);
        };
        unit = unit * 16 + digit;
    }
    Hex::Unit(unit)
}

impl Spelling {
    fn add(&mut self, text: &[u8], raw: &[u8], view: &mut Vec<u8>) {
        view.extend_from_slice(text);
        self.raw.extend(raw);
        for position in 0..text.len() {
            let length = if position == 0 { raw.len() } else { 0 };
            self.lengths.push_back(u8::try_from(length).unwrap_or(u8::MAX));
        }
    }

    /// Takes the spelling of the next `count` bytes.
    fn take(&mut self, count: usize) -> impl Iterator<Item = u8> + '_ {
        let count = count.min(self.lengths.len());
        let length: usize = self.lengths.drain(..count).map(usize::from).sum();
        self.raw.drain(..length.min(self.raw.len()))
    }
}

struct Spelt<'a, 'w> {
    spelling: &'a mut Spelling,
    in_string: bool,
    to: &'a mut Written<'w>,
}

impl Sink for Spelt<'_, '_> {
    fn keep(&mut self, text: &[u8]) {
        self.to.out.extend(self.spelling.take(text.len()));
    }

    fn mask(&mut self, masked: Masked<'_>) {
        let Some(replacement) = masked.by.transform.apply(masked.text, self.to.with) else {
            return self.keep(masked.text);
        };
        drop(self.spelling.take(masked.text.len()));
        if self.in_string {
            write_escaped(&replacement, self.to.out);
        } else if [masked.before, masked.after].into_iter().flatten().any(continues_number) {
            self.to.out.push(b'0');
        } else {
            crate::json::write_string(&replacement, self.to.out);
        }
        self.to.hits.push(TextHit::of(&masked));
    }
}

fn continues_number(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.')
}
