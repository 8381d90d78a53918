//! Which context words may stand in a text: one look at each word instead of one search per context word.
//!
//! Of ASCII text it says the same as [`super::context::Words`]. Of other text it may say too much but never too little: what it names there
//! is searched for, and what it does not name is not.

use super::bits::{BLOCK, Block};
use super::context::words_of;
use super::set::{DetectorIndex, DetectorSet};
use policy_lang::catalogue;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Letters of a word that it is filed under.
const KEY_LETTERS: usize = 4;
/// Bits of the filter before the table.
const FILTER_BITS: usize = 4096;
/// Letters outside ASCII whose lower case is an ASCII letter, alone or in front: K and İ.
const LOWER_TO_ASCII: [&[u8]; 2] = [b"\xE2\x84\xAA", b"\xC4\xB0"];

/// The context words of some detectors.
#[derive(Debug)]
pub(super) struct Lexicon {
    filter: [u64; FILTER_BITS / 64],
    words: HashMap<u32, Vec<(DetectorIndex, &'static str)>>,
    /// By the first byte: whose words begin outside ASCII.
    foreign: Vec<(u8, DetectorSet)>,
    is_foreign: [bool; 256],
    all: DetectorSet,
}

/// The words of all detectors.
pub(super) static EVERY_WORD: LazyLock<Lexicon> = LazyLock::new(|| Lexicon::new(|_| true));

impl Lexicon {
    /// The words of the detectors that are wanted.
    pub(super) fn new(wanted: impl Fn(DetectorIndex) -> bool) -> Self {
        let mut lexicon = Self {
            filter: [0; FILTER_BITS / 64],
            words: HashMap::new(),
            foreign: Vec::new(),
            is_foreign: [false; 256],
            all: DetectorSet::default(),
        };
        for detector in (0..catalogue::detectors().len()).filter_map(|index| DetectorIndex::try_from(index).ok()) {
            if !wanted(detector) {
                continue;
            }
            lexicon.all.insert(detector);
            for word in words_of(detector).into_iter().flat_map(|words| words.iter()) {
                lexicon.add(detector, word);
            }
        }
        lexicon
    }

    fn add(&mut self, detector: DetectorIndex, word: &'static str) {
        let first = word.bytes().next().unwrap_or_default();
        if !first.is_ascii_alphabetic() {
            // Of upper and lower case together: in UTF-8 they may begin differently.
            let upper: Vec<u8> = word.chars().next().into_iter().flat_map(char::to_uppercase).map(lead_byte).collect();
            for byte in upper.into_iter().chain([first]) {
                self.add_foreign(byte, std::iter::once(detector).collect());
            }
            return;
        }
        let key = key_at(word.as_bytes(), 0);
        if let Some(bits) = self.filter.get_mut(slot(key) / 64) {
            *bits |= 1 << (slot(key) % 64);
        }
        self.words.entry(key).or_default().push((detector, word));
    }

    fn add_foreign(&mut self, byte: u8, detectors: DetectorSet) {
        if let Some(flag) = self.is_foreign.get_mut(usize::from(byte)) {
            *flag = true;
        }
        match self.foreign.iter_mut().find(|(known, _)| *known == byte) {
            Some((_, set)) => set.insert_all(&detectors),
            None => self.foreign.push((byte, detectors)),
        }
    }

    /// Whether the word that begins here may be one.
    #[inline]
    pub(super) fn begins(&self, text: &[u8], start: usize) -> bool {
        let key = key_at(text, start);
        self.may_have(key)
            && self.words.get(&key).is_some_and(|words| words.iter().any(|(_, word)| follows(text, start, word)))
    }

    /// Whether a word that begins with this byte outside ASCII may be one.
    #[inline]
    pub(super) fn begins_foreign(&self, text: &[u8], start: usize) -> bool {
        let first = text.get(start).copied().unwrap_or_default();
        self.is_foreign.get(usize::from(first)) == Some(&true) || lowers_to_ascii(text, start)
    }

    /// Whether any of the words may stand in a text.
    pub(super) fn occurs(&self, text: &[u8]) -> bool {
        let mut found = false;
        each_word(text, 0, text.len(), |start, foreign| {
            found |= if foreign { self.begins_foreign(text, start) } else { self.begins(text, start) };
        });
        found
    }

    /// The detectors whose words may stand in a text.
    pub(super) fn detectors_in(&self, text: &[u8]) -> DetectorSet {
        let mut found = DetectorSet::default();
        self.each_name(text, 0, text.len(), |_, detectors| found.insert_all(&detectors));
        found
    }

    /// Calls `visit` with each place from `from` up to `to` where a word may begin, and whose it is.
    pub(super) fn each_name(&self, text: &[u8], from: usize, to: usize, mut visit: impl FnMut(usize, DetectorSet)) {
        each_word(text, from, to, |start, foreign| {
            let mut found = DetectorSet::default();
            if foreign {
                let first = text.get(start).copied().unwrap_or_default();
                if lowers_to_ascii(text, start) {
                    found.insert_all(&self.all);
                }
                let sets = self.foreign.iter().filter(|(known, _)| *known == first);
                sets.for_each(|(_, set)| found.insert_all(set));
            } else {
                let key = key_at(text, start);
                if !self.may_have(key) {
                    return;
                }
                let words = self.words.get(&key).into_iter().flatten();
                words.filter(|(_, word)| follows(text, start, word)).for_each(|&(detector, _)| found.insert(detector));
            }
            if !found.is_empty() {
                visit(start, found);
            }
        });
    }

    #[inline]
    fn may_have(&self, key: u32) -> bool {
        self.filter.get(slot(key) / 64).is_some_and(|bits| bits >> (slot(key) % 64) & 1 == 1)
    }
}

/// Calls `visit` with each place from `from` up to `to` where a word or a character outside ASCII begins, and which of both.
fn each_word(text: &[u8], from: usize, to: usize, mut visit: impl FnMut(usize, bool)) {
    let mut before = Block::default();
    for (number, bytes) in text.get(from..to).unwrap_or_default().chunks(BLOCK).enumerate() {
        let block = Block::of(bytes);
        for (mut bits, foreign) in [(block.word_starts(&before), false), (block.foreign, true)] {
            while bits != 0 {
                visit(from + number * BLOCK + bits.trailing_zeros() as usize, foreign);
                bits &= bits - 1;
            }
        }
        before = block;
    }
}

fn lowers_to_ascii(text: &[u8], start: usize) -> bool {
    let rest = text.get(start..).unwrap_or_default();
    LOWER_TO_ASCII.iter().any(|letter| rest.starts_with(letter))
}

fn lead_byte(character: char) -> u8 {
    let mut utf8 = [0; 4];
    character.encode_utf8(&mut utf8).as_bytes().first().copied().unwrap_or_default()
}

fn slot(key: u32) -> usize {
    (key.wrapping_mul(0x9E37_79B1) >> 20) as usize % FILTER_BITS
}

/// The first letters of the word that begins here, in lower case; a word ends where its letters do, or before a hump.
#[inline]
fn key_at(text: &[u8], start: usize) -> u32 {
    let mut key = 0;
    let mut was_lower = false;
    for (place, &byte) in text.get(start..).unwrap_or_default().iter().take(KEY_LETTERS).enumerate() {
        if !byte.is_ascii_alphabetic() || was_lower && byte.is_ascii_uppercase() {
            break;
        }
        was_lower = byte.is_ascii_lowercase();
        key |= u32::from(byte | 0x20) << (8 * place);
    }
    key
}

/// Whether the text goes on here with a word, as [`super::context::normalise`] would show it.
fn follows(text: &[u8], start: usize, word: &str) -> bool {
    let byte = |at: usize| text.get(at).copied().unwrap_or_default();
    let hump = |at: usize| at > 0 && byte(at - 1).is_ascii_lowercase() && byte(at).is_ascii_uppercase();
    let mut at = start;
    let mut begins = true;
    for wanted in word.bytes() {
        let here = byte(at);
        if !here.is_ascii() {
            return true;
        }
        if wanted == b' ' {
            let written = matches!(here, b' ' | b'_' | b'-');
            if !written && !hump(at) {
                return false;
            }
            at += usize::from(written);
        } else if here.eq_ignore_ascii_case(&wanted) && (begins || !hump(at)) {
            at += 1;
        } else {
            return false;
        }
        begins = wanted == b' ';
    }
    let ends_with_letter = word.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphabetic());
    !(ends_with_letter && byte(at).is_ascii_alphabetic()) || hump(at)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::detect::context::normalise;
    use proptest::prelude::*;

    fn texts() -> impl Strategy<Value = String> {
        let words: Vec<&str> = catalogue::detectors().iter().flat_map(|detector| detector.context).copied().collect();
        let word = proptest::sample::select(words).prop_flat_map(|word| {
            let humps: String = word
                .split(' ')
                .map(|part| {
                    part[..part.chars().next().map_or(0, char::len_utf8)].to_uppercase()
                        + &part[part.chars().next().map_or(0, char::len_utf8)..]
                })
                .collect();
            proptest::sample::select(vec![
                word.to_owned(),
                word.to_uppercase(),
                word.replace(' ', "_"),
                word.replace(' ', "-"),
                humps,
            ])
        });
        let glue = proptest::sample::select(vec!["", " ", "x", "X", "2", "_", "é", ": ", "谢", "s"]);
        proptest::collection::vec((word, glue), 1..5)
            .prop_map(|parts| parts.into_iter().map(|(word, glue)| word + glue).collect())
    }

    proptest! {
        #![proptest_config(crate::detect::tests::cases(2000))]

        #[test]
        fn no_word_is_missed(text in texts()) {
            let found = EVERY_WORD.detectors_in(text.as_bytes());
            let normalised = normalise(&text);
            for detector in 0..catalogue::detectors().len() as DetectorIndex {
                if words_of(detector).unwrap().are_in(&normalised) {
                    prop_assert!(found.has(detector), "{text}: {}", catalogue::detectors()[usize::from(detector)].id);
                } else if text.is_ascii() {
                    prop_assert!(!found.has(detector), "{text}: {}", catalogue::detectors()[usize::from(detector)].id);
                }
            }
            prop_assert_eq!(EVERY_WORD.occurs(text.as_bytes()), found != DetectorSet::default());
        }
    }
}
