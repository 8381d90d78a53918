//! Record ids: 128 bits that sort by time and need no coordination.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::crypto;
use crate::error::EvidenceError;
use crate::model::Moment;

/// Characters of an id: Crockford's base 32 without look-alikes, lower case.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// Length of the printed form, in characters.
const PRINTED_CHARS: usize = 26;

/// The id of a record; the id of a call is the id of its intent.
///
/// Layout, most significant first: 48 bits Unix time in ms, 16 bits node, 8 bits shard (producer), 16 bits sequence,
/// 40 bits randomness. Printed as 26 lower-case characters that sort as the id does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId(pub u128);

impl RecordId {
    /// When the id was made, in ms since 1970.
    #[must_use]
    pub fn unix_ms(self) -> u64 {
        (self.0 >> 80) as u64
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [b'0'; PRINTED_CHARS];
        let mut rest = self.0;
        for slot in text.iter_mut().rev() {
            let digit = ALPHABET.get((rest & 31) as usize);
            *slot = digit.copied().unwrap_or(b'0');
            rest >>= 5;
        }
        f.write_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RecordId {
    type Err = EvidenceError;

    /// # Errors
    /// [`EvidenceError::Malformed`] unless the text is exactly what [`fmt::Display`] prints (upper case is accepted).
    fn from_str(text: &str) -> Result<Self, EvidenceError> {
        let malformed = || {
            EvidenceError::Malformed(format!(
                "{text:?} is not a record id: expected {PRINTED_CHARS} letters and digits"
            ))
        };
        if text.len() != PRINTED_CHARS {
            return Err(malformed());
        }
        let mut value: u128 = 0;
        for byte in text.bytes() {
            let byte = byte.to_ascii_lowercase();
            let digit = ALPHABET.iter().position(|&c| c == byte).ok_or_else(malformed)?;
            // 26 × 5 bits are two more than an id has: the first character is at most 7.
            value = value.checked_mul(32).ok_or_else(malformed)? | digit as u128;
        }
        Ok(Self(value))
    }
}

/// Makes the ids of one shard.
#[derive(Debug)]
pub(crate) struct IdMaker {
    node: u16,
    shard: u8,
    sequence: AtomicU32,
    /// The time of the newest id: ids go on in order while the clock goes back.
    newest_ms: AtomicU64,
}

impl IdMaker {
    pub(crate) fn new(node: u16, shard: u8) -> Self {
        Self { node, shard, sequence: AtomicU32::new(0), newest_ms: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> RecordId {
        self.next_at(Moment::now().unix_us / 1000)
    }

    fn next_at(&self, now_ms: u64) -> RecordId {
        let time_ms = self.newest_ms.fetch_max(now_ms, Ordering::Relaxed).max(now_ms);
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) as u16;
        let [a, b, c, d, e] = crypto::random::<5>();
        let random = u64::from_be_bytes([0, 0, 0, a, b, c, d, e]);
        let unix_ms = u128::from(time_ms) & 0xffff_ffff_ffff;
        RecordId(
            unix_ms << 80
                | u128::from(self.node) << 64
                | u128::from(self.shard) << 56
                | u128::from(sequence) << 40
                | u128::from(random),
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn ids_are_distinct_and_sort_by_time() {
        let maker = IdMaker::new(0xabcd, 3);
        let first = maker.next();
        let second = maker.next();
        assert_ne!(first, second);
        assert!(first.unix_ms() <= second.unix_ms());
        assert_eq!(first.to_string().len(), PRINTED_CHARS);
    }

    #[test]
    fn ids_go_on_in_order_while_the_clock_goes_back() {
        let maker = IdMaker::new(1, 0);
        let times = [5000, 4000, 1, 6000, 5999].map(|time_ms| maker.next_at(time_ms));
        assert_eq!(times.map(RecordId::unix_ms), [5000, 5000, 5000, 6000, 6000]);
        assert!(times.is_sorted());
    }

    #[test]
    fn what_is_not_an_id_is_refused() {
        for text in ["", "short", "8zzzzzzzzzzzzzzzzzzzzzzzzz", "0000000000000000000000000u", "éééééééééééée"]
        {
            assert!(text.parse::<RecordId>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn printing_and_parsing_are_inverse(value: u128, other: u128) {
            let id = RecordId(value);
            proptest::prop_assert_eq!(id.to_string().parse::<RecordId>().unwrap(), id);
            proptest::prop_assert_eq!(id.to_string().to_uppercase().parse::<RecordId>().unwrap(), id);
            proptest::prop_assert_eq!(value.cmp(&other), id.to_string().cmp(&RecordId(other).to_string()));
        }
    }
}
