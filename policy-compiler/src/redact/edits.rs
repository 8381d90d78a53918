//! Replacements in a text.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// Replacements in a text, by place.
#[derive(Clone, Debug, Default)]
pub(super) struct Edits {
    by_start: BTreeMap<usize, (usize, Vec<u8>)>,
}

impl Edits {
    /// Replaces a range. Ranges do not overlap, but one may hold others, which are void then.
    pub(super) fn add(&mut self, range: Range<usize>, text: Vec<u8>) {
        match self.by_start.get(&range.start) {
            Some((end, _)) if *end > range.end => {}
            _ => {
                self.by_start.insert(range.start, (range.end, text));
            }
        }
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_start.is_empty()
    }

    /// Whether a replacement holds this range.
    pub(super) fn cover(&self, range: &Range<usize>) -> bool {
        self.by_start.range(..=range.start).next_back().is_some_and(|(_, (end, _))| *end >= range.end)
    }

    /// The text with its replacements.
    pub(super) fn apply<'b>(&self, text: &'b [u8]) -> Cow<'b, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(text);
        }
        Cow::Owned(self.apply_within(text, 0..text.len()))
    }

    /// A range of the text with the replacements inside it.
    pub(super) fn apply_within(&self, text: &[u8], range: Range<usize>) -> Vec<u8> {
        let mut out = Vec::with_capacity(range.len() + 32);
        let mut at = range.start;
        for (&start, (end, replacement)) in self.by_start.range(range.clone()) {
            if start < at || *end > range.end {
                continue;
            }
            out.extend_from_slice(text.get(at..start).unwrap_or_default());
            out.extend_from_slice(replacement);
            at = *end;
        }
        out.extend_from_slice(text.get(at..range.end).unwrap_or_default());
        out
    }
}
