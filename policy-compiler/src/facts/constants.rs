//! A fixed table from the program's own constants to dense ids.

/// What the table answers for a text that the program does not name.
pub(crate) const UNKNOWN: u32 = 0;

/// Constants of one kind, numbered from 1 in the order of their first insertion.
///
/// The hash is fast and not keyed. That is safe here: callers only look up, nothing they send is ever inserted, so they cannot make
/// a chain of collisions grow.
#[derive(Debug, Default)]
pub(crate) struct Constants {
    /// Open addressing with linear probing, a power of two of places, at most half of them taken.
    places: Vec<Place>,
    /// By id − 1: where its text ends; it begins where the one before ends.
    ends: Vec<usize>,
    texts: Vec<u8>,
}

/// The upper half of the hash beside the id, so that most strangers are turned away without a look at their text. Id 0 is free.
#[derive(Clone, Copy, Debug, Default)]
struct Place {
    tag: u32,
    id: u32,
}

impl Constants {
    /// The id of the constant, given out if it is new.
    pub(crate) fn insert(&mut self, text: &str) -> u32 {
        let known = self.id(text);
        if known != UNKNOWN {
            return known;
        }
        self.texts.extend_from_slice(text.as_bytes());
        self.ends.push(self.texts.len());
        let id = u32::try_from(self.ends.len()).unwrap_or(u32::MAX);
        if self.ends.len() * 2 > self.places.len() {
            self.grow();
        } else {
            self.put(hash(text.as_bytes()), id);
        }
        id
    }

    /// The id of the text, [`UNKNOWN`] when the program does not name it.
    #[inline]
    pub(crate) fn id(&self, text: &str) -> u32 {
        self.id_of_bytes(text.as_bytes())
    }

    /// The same of a part of a text.
    #[inline]
    pub(crate) fn id_of_bytes(&self, text: &[u8]) -> u32 {
        let Some(mask) = self.places.len().checked_sub(1) else {
            return UNKNOWN;
        };
        let hash = hash(text);
        let (mut place, tag) = (hash as usize & mask, (hash >> 32) as u32);
        // Half of the places are free, so this ends.
        while let Some(found) = self.places.get(place) {
            if found.id == UNKNOWN || (found.tag == tag && same(self.bytes(found.id), text)) {
                return found.id;
            }
            place = (place + 1) & mask;
        }
        UNKNOWN
    }

    /// Every constant with its id.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, u32)> {
        (1..=self.ends.len() as u32).map(|id| (std::str::from_utf8(self.bytes(id)).unwrap_or_default(), id))
    }

    /// Number of constants; ids are `1..=len`.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether the program names none.
    pub(crate) fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    #[inline]
    fn bytes(&self, id: u32) -> &[u8] {
        let index = id as usize;
        let start = index.checked_sub(2).and_then(|before| self.ends.get(before)).copied().unwrap_or(0);
        let end = index.checked_sub(1).and_then(|own| self.ends.get(own)).copied().unwrap_or(0);
        self.texts.get(start..end).unwrap_or_default()
    }

    fn grow(&mut self) {
        self.places = vec![Place::default(); (self.ends.len() * 4).next_power_of_two()];
        for id in 1..=self.ends.len() as u32 {
            self.put(hash(self.bytes(id)), id);
        }
    }

    fn put(&mut self, hash: u64, id: u32) {
        let mask = self.places.len().wrapping_sub(1);
        let mut place = hash as usize & mask;
        while let Some(here) = self.places.get_mut(place) {
            if here.id == UNKNOWN {
                *here = Place { tag: (hash >> 32) as u32, id };
                return;
            }
            place = (place + 1) & mask;
        }
    }
}

/// Multiply and fold, eight bytes at a time; the last eight may overlap the ones before.
#[inline]
fn hash(bytes: &[u8]) -> u64 {
    let mut state = bytes.len() as u64;
    if let Some((_, last)) = bytes.split_last_chunk::<8>() {
        let (words, _) = bytes.as_chunks::<8>();
        for word in words {
            state = mix(state, u64::from_le_bytes(*word));
        }
        return mix(state, u64::from_le_bytes(*last));
    }
    if let (Some((first, _)), Some((_, last))) = (bytes.split_first_chunk::<4>(), bytes.split_last_chunk::<4>()) {
        let both = u64::from(u32::from_le_bytes(*first)) << 32 | u64::from(u32::from_le_bytes(*last));
        return mix(state, both);
    }
    let word = bytes.iter().fold(0_u64, |word, byte| word << 8 | u64::from(*byte));
    mix(state, word)
}

/// Equality without a call: texts are short and of any length, which is where memcmp spends its time on setting out.
#[inline]
fn same(left: &[u8], right: &[u8]) -> bool {
    if left.len() != right.len() {
        return false;
    }
    let (Some((_, left_last)), Some((_, right_last))) = (left.split_last_chunk::<8>(), right.split_last_chunk::<8>())
    else {
        return left.iter().zip(right).all(|(left, right)| left == right);
    };
    let ((left, _), (right, _)) = (left.as_chunks::<8>(), right.as_chunks::<8>());
    left_last == right_last && left.iter().zip(right).all(|(left, right)| left == right)
}

#[inline]
fn mix(state: u64, word: u64) -> u64 {
    let product = u128::from(state ^ word ^ 0x2545_F491_4F6C_DD1D) * u128::from(0x9E37_79B9_7F4A_7C15_u64);
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_dense_and_stable() {
        let mut table = Constants::default();
        assert!(table.is_empty());
        assert_eq!(table.id("a"), UNKNOWN);
        assert_eq!(table.insert("a"), 1);
        assert_eq!(table.insert("bb"), 2);
        assert_eq!(table.insert("a"), 1);
        assert_eq!(table.insert(""), 3);
        assert_eq!((table.id("a"), table.id("bb"), table.id(""), table.id("c")), (1, 2, 3, UNKNOWN));
        assert_eq!(table.len(), 3);
        assert_eq!(table.iter().collect::<Vec<_>>(), [("a", 1), ("bb", 2), ("", 3)]);
    }

    #[test]
    fn equality_looks_at_every_byte() {
        let text = b"0123456789abcdefghijklmnopqrstuvwxyz";
        for length in 0..text.len() {
            let own = &text[..length];
            assert!(same(own, own) && !same(own, &text[..=length]));
            for place in 0..length {
                let mut other = own.to_vec();
                other[place] ^= 1;
                assert!(!same(own, &other), "byte {place} of {length}");
            }
        }
    }

    #[test]
    fn many_similar_texts_are_kept_apart() {
        let mut table = Constants::default();
        for number in 0..20_000 {
            assert_eq!(table.insert(&format!("model-{number}")), number + 1);
        }
        for number in 0..20_000 {
            assert_eq!(table.id(&format!("model-{number}")), number + 1);
            assert_eq!(table.id(&format!("nodel-{number}")), UNKNOWN);
        }
        let mut hashes: Vec<u64> = (0..20_000).map(|number| hash(format!("model-{number}").as_bytes())).collect();
        hashes.sort_unstable();
        hashes.dedup();
        assert_eq!(hashes.len(), 20_000);
    }
}
