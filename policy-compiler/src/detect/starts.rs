//! Where any of several regexes may begin, found in one pass over a text.

use super::bits::{BLOCK, in_ranges};
use super::pattern::Pattern;

/// Regexes that are looked for together; more look for themselves.
pub(crate) const TOGETHER_MAX: usize = 64;
/// Ranges of bytes that blocks are compared with.
const RANGES_MAX: usize = 8;

/// A place where some of the regexes may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    /// The place in the text.
    pub(crate) place: usize,
    /// Which of them, by bit.
    pub(crate) regexes: u64,
}

/// How the matches of some regexes begin.
#[derive(Debug)]
pub(crate) struct Starts {
    /// By byte, the regexes that can begin with it, and those that can go on with it.
    first: Box<[u64; 256]>,
    second: Box<[u64; 256]>,
    /// All first bytes; `None` if they are scattered.
    ranges: Option<Vec<(u8, u8)>>,
}

impl Starts {
    /// Of the first [`TOGETHER_MAX`] of these.
    pub(crate) fn new<'p>(patterns: impl Iterator<Item = &'p Pattern>) -> Self {
        let (mut first, mut second) = (Box::new([0_u64; 256]), Box::new([0_u64; 256]));
        for (number, pattern) in patterns.take(TOGETHER_MAX).enumerate() {
            for byte in 0..=255_u8 {
                let (begins, goes_on) = pattern.begins(byte, byte);
                if let Some(regexes) = first.get_mut(usize::from(byte)) {
                    *regexes |= u64::from(begins) << number;
                }
                if let Some(regexes) = second.get_mut(usize::from(byte)) {
                    *regexes |= u64::from(goes_on) << number;
                }
            }
        }
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        for (byte, _) in (0..=255_u8).zip(first.iter()).filter(|(_, regexes)| **regexes != 0) {
            match ranges.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(byte) => *last = byte,
                _ => ranges.push((byte, byte)),
            }
        }
        Self { first, second, ranges: (ranges.len() <= RANGES_MAX).then_some(ranges) }
    }

    /// The places from `from` on, in order.
    pub(crate) fn find(&self, text: &[u8], from: usize) -> Vec<Start> {
        let mut found = Vec::new();
        let mut add = |place: usize| {
            let of = |set: &[u64; 256], byte: u8| set.get(usize::from(byte)).copied().unwrap_or_default();
            let first = text.get(place).map_or(0, |&byte| of(&self.first, byte));
            let regexes = first & text.get(place + 1).map_or(u64::MAX, |&byte| of(&self.second, byte));
            if regexes != 0 {
                found.push(Start { place, regexes });
            }
        };
        let rest = text.get(from..).unwrap_or_default();
        let (blocks, tail) = rest.as_chunks::<BLOCK>();
        match &self.ranges {
            Some(ranges) => {
                for (number, block) in blocks.iter().enumerate() {
                    let mut bits = in_ranges(block, ranges);
                    while bits != 0 {
                        add(from + number * BLOCK + bits.trailing_zeros() as usize);
                        bits &= bits - 1;
                    }
                }
                (text.len() - tail.len()..text.len()).for_each(add);
            }
            None => (from..text.len()).for_each(add),
        }
        found
    }
}
