//! Bit-vectors of slots: one row per class of an attribute, packed, so that a row of few slots among thousands fits a cache line.
//!
//! A row is a summary, one bit per word of slots that is not zero, and behind it those words alone. Ten thousand rules are 157 words
//! of slots and three of summary; a model that eight of them name has a row of at most eleven words.

/// Memory of the rows of one attribute, in 64-bit words (32 MiB); beyond it classes share rows.
const ROW_WORDS_MAX: usize = 4 << 20;

/// The rows of one attribute.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    rows: usize,
    /// Whether classes share rows: then a row may have bits of other classes.
    pub(crate) shared: bool,
    /// By row: where it begins and ends in `words`. Rows without a slot of their own are one and the same.
    places: Vec<(u32, u32)>,
    words: Vec<u64>,
}

/// A packed row. The empty one has no slots.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Row<'a>(pub(crate) &'a [u64]);

impl Rows {
    /// How many rows there will be for so many classes of so many words at most; fewer than classes when they must share.
    pub(crate) fn affordable(classes: usize, words: usize) -> usize {
        classes.min(ROW_WORDS_MAX / words.max(1)).max(1)
    }

    /// Rows that have the slots of `always`, and for each pair of class and slot that slot in the row of that class.
    pub(crate) fn new(classes: usize, always: &[u64], pairs: impl Iterator<Item = (u32, u32)>) -> Self {
        let rows = Self::affordable(classes, always.len());
        let mut pairs: Vec<(usize, usize)> =
            pairs.map(|(class, slot)| (class as usize % rows, slot as usize)).collect();
        pairs.sort_unstable();
        let mut words = Vec::new();
        pack(always, &mut words);
        let mut places = vec![(0, words.len() as u32); rows];
        let mut row = always.to_vec();
        for own in pairs.chunk_by(|(left, _), (right, _)| left == right) {
            let start = words.len() as u32;
            own.iter().for_each(|(_, slot)| super::set(&mut row, *slot));
            pack(&row, &mut words);
            if let Some(place) = own.first().and_then(|(number, _)| places.get_mut(*number)) {
                *place = (start, words.len() as u32);
            }
            for word in own.iter().map(|(_, slot)| slot / 64) {
                if let (Some(word), Some(always)) = (row.get_mut(word), always.get(word)) {
                    *word = *always;
                }
            }
        }
        Self { rows, shared: rows < classes, places, words }
    }

    /// The row of a class.
    #[inline]
    pub(crate) fn row(&self, class: u32) -> Row<'_> {
        let row = if self.shared { class as usize % self.rows } else { class as usize };
        let (start, end) = self.places.get(row).copied().unwrap_or_default();
        Row(self.words.get(start as usize..end as usize).unwrap_or_default())
    }
}

/// Words of summary over so many words of slots.
pub(crate) fn summaries(words: usize) -> usize {
    words.div_ceil(64)
}

/// Appends the packed form of a row of slots.
pub(crate) fn pack(row: &[u64], into: &mut Vec<u64>) {
    let summary = row.chunks(64).map(|words| {
        words.iter().enumerate().fold(0, |summary, (place, word)| summary | u64::from(*word != 0) << place)
    });
    into.extend(summary);
    into.extend(row.iter().filter(|word| **word != 0));
}

impl Row<'_> {
    /// One word of the summary.
    #[inline]
    pub(crate) fn summary(self, place: usize) -> u64 {
        self.0.get(place).copied().unwrap_or_default()
    }

    /// The word of slots that `bit` of the summary at `place` stands for; `summaries` is the number of words of summary.
    #[inline]
    pub(crate) fn word(self, place: usize, bit: u32, summaries: usize) -> u64 {
        let summary = self.summary(place);
        if summary >> bit & 1 == 0 {
            return 0;
        }
        let before = self.0.get(..place).unwrap_or_default();
        let before: u32 = before.iter().map(|summary| summary.count_ones()).sum();
        let rank = before + (summary & !(u64::MAX << bit)).count_ones();
        self.0.get(summaries + rank as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn unpacked(row: Row<'_>, words: usize) -> Vec<u64> {
        (0..words).map(|word| row.word(word / 64, (word % 64) as u32, summaries(words))).collect()
    }

    proptest! {
        #[test]
        fn rows_say_what_was_put_into_them(
            always in prop::collection::vec(prop_oneof![Just(0), any::<u64>()], 1..200),
            pairs in prop::collection::vec((0..5_u32, 0..12_800_u32), 0..40),
        ) {
            let words = always.len();
            let pairs: Vec<_> = pairs.into_iter().filter(|(_, slot)| (*slot as usize) < words * 64).collect();
            let rows = Rows::new(5, &always, pairs.iter().copied());
            for class in 0..5 {
                let mut expected = always.clone();
                pairs.iter().filter(|pair| pair.0 == class).for_each(|pair| super::super::set(&mut expected, pair.1 as usize));
                prop_assert_eq!(unpacked(rows.row(class), words), expected);
            }
            prop_assert_eq!(unpacked(rows.row(5), words), vec![0; words]);
        }
    }

    #[test]
    fn rows_of_few_slots_are_short() {
        let rows = Rows::new(2_000, &[0; 157], (0..8).map(|n| (7, n * 1_000)));
        assert_eq!(rows.row(7).0.len(), 3 + 8);
        assert_eq!(rows.words.len(), 3 + 3 + 8);
    }
}
