//! Bit-vectors: one row of slots per class of an attribute, and a summary that says which words of a row are not zero.

/// Memory of the rows of one attribute, in 64-bit words (32 MiB); beyond it classes share rows.
const ROW_WORDS_MAX: usize = 4 << 20;

/// The rows of one attribute.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    words: usize,
    summaries: usize,
    rows: usize,
    /// Whether classes share rows: then a row may have bits of other classes.
    pub(crate) shared: bool,
    bits: Vec<u64>,
    summary: Vec<u64>,
}

/// One row.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row<'a> {
    /// The slots.
    pub(crate) bits: &'a [u64],
    /// The words of `bits` that are not zero.
    pub(crate) summary: &'a [u64],
}

impl Rows {
    /// How many rows there will be for so many classes; fewer than classes when they must share.
    pub(crate) fn affordable(classes: usize, words: usize) -> usize {
        classes.min(ROW_WORDS_MAX / words.max(1)).max(1)
    }

    /// Rows that have the slots of `always`, and for each pair of class and slot that slot in the row of that class.
    pub(crate) fn new(classes: usize, always: &[u64], pairs: impl Iterator<Item = (u32, u32)>) -> Self {
        let words = always.len();
        let rows = Self::affordable(classes, words);
        let mut bits = Vec::with_capacity(rows * words);
        for _ in 0..rows {
            bits.extend_from_slice(always);
        }
        for (class, slot) in pairs {
            let row = class as usize % rows;
            if let Some(word) = bits.get_mut(row * words + slot as usize / 64) {
                *word |= 1 << (slot % 64);
            }
        }
        let summaries = words.div_ceil(64);
        let summary = bits.chunks(words.max(1)).flat_map(summarise).collect();
        Self { words, summaries, rows, shared: rows < classes, bits, summary }
    }

    /// The row of a class.
    #[inline]
    pub(crate) fn row(&self, class: u32) -> Row<'_> {
        let row = if self.shared { class as usize % self.rows } else { class as usize };
        Row {
            bits: self.bits.get(row * self.words..(row + 1) * self.words).unwrap_or_default(),
            summary: self.summary.get(row * self.summaries..(row + 1) * self.summaries).unwrap_or_default(),
        }
    }
}

/// One bit per word: it is not zero.
pub(crate) fn summarise(words: &[u64]) -> impl Iterator<Item = u64> + '_ {
    words.chunks(64).map(|words| {
        words.iter().enumerate().fold(0, |summary, (place, word)| summary | u64::from(*word != 0) << place)
    })
}
