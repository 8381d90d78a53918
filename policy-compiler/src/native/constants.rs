//! A fixed table from the program's own constants to dense ids.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// What the table answers for a text that the program does not name.
pub(super) const UNKNOWN: u32 = 0;

/// Constants of one kind, numbered from 1 in the order of their first insertion.
///
/// The hash is fast and not keyed. That is safe here: callers only look up, nothing they send is ever inserted, so they cannot make
/// a chain of collisions grow.
#[derive(Debug, Default)]
pub(super) struct Constants {
    ids: HashMap<Box<str>, u32, BuildHasherDefault<ConstantHasher>>,
}

impl Constants {
    /// The id of the constant, given out if it is new.
    pub(super) fn insert(&mut self, text: &str) -> u32 {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = u32::try_from(self.ids.len() + 1).unwrap_or(u32::MAX);
        self.ids.insert(text.into(), id);
        id
    }

    /// The id of the text, [`UNKNOWN`] when the program does not name it.
    pub(super) fn id(&self, text: &str) -> u32 {
        self.ids.get(text).copied().unwrap_or(UNKNOWN)
    }

    /// Number of constants; ids are `1..=len`.
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether the program names none.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

/// Multiply and fold, eight bytes at a time.
#[derive(Debug, Default)]
struct ConstantHasher(u64);

impl ConstantHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(0x9E37_79B9_7F4A_7C15_u64);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for ConstantHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let mut last = [0; 8];
            for (to, from) in last.iter_mut().zip(rest) {
                *to = *from;
            }
            self.mix(u64::from_le_bytes(last) ^ ((bytes.len() as u64) << 56));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.mix(u64::from(byte));
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_stable() {
        let mut table = Constants::default();
        assert!(table.is_empty());
        assert_eq!(table.insert("a"), 1);
        assert_eq!(table.insert("bb"), 2);
        assert_eq!(table.insert("a"), 1);
        assert_eq!((table.id("a"), table.id("bb"), table.id("c")), (1, 2, UNKNOWN));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn similar_texts_hash_apart() {
        use std::hash::{BuildHasher, BuildHasherDefault};
        let hasher = BuildHasherDefault::<ConstantHasher>::default();
        let mut hashes: Vec<u64> = (0..10_000).map(|n| hasher.hash_one(format!("model-{n}"))).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 10_000);
    }
}
