//! One bit per byte for each class that triggers are made of: clean text is skipped 64 bytes at a time.

/// Bytes of a block.
pub(super) const BLOCK: usize = 64;

/// The classes of 64 bytes, the first byte in the lowest bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Block {
    /// `0`–`9`
    pub(super) digit: u64,
    /// `A`–`Z`, `a`–`z`
    pub(super) letter: u64,
    /// `A`–`Z`
    pub(super) upper: u64,
    /// What keys, addresses and long codes are made of: letters, digits, `_`, `~`, and everything from `+` to `=`.
    pub(super) long: u64,
    /// A blank, `-`, `.`, `/`, `_`
    pub(super) separator: u64,
    /// `@`, `:`, `=`, `%`
    pub(super) strong: u64,
    /// `c`, `C`
    pub(super) letter_c: u64,
    /// No ASCII.
    pub(super) foreign: u64,
}

impl Block {
    /// No bytes.
    pub(super) const NONE: Self =
        Self { digit: 0, letter: 0, upper: 0, long: 0, separator: 0, strong: 0, letter_c: 0, foreign: 0 };

    /// The classes of up to 64 bytes; of what is missing there is none.
    pub(super) fn of(bytes: &[u8]) -> Self {
        match bytes.first_chunk::<BLOCK>() {
            Some(block) => of_block(block),
            None => of_block(&padded(bytes)),
        }
    }

    /// Words begin here: at letters behind anything else, and at capitals behind small letters. `before` is the block before.
    pub(super) fn word_starts(&self, before: &Self) -> u64 {
        let lower = self.letter & !self.upper;
        let lower_before = before.letter & !before.upper;
        let (behind_letter, behind_lower) = (behind(self.letter, before.letter), behind(lower, lower_before));
        self.letter & !behind_letter | self.upper & behind_lower
    }
}

fn padded(bytes: &[u8]) -> [u8; BLOCK] {
    let mut block = [0; BLOCK];
    for (slot, byte) in block.iter_mut().zip(bytes) {
        *slot = *byte;
    }
    block
}

/// The classes of a text, block by block.
pub(super) fn blocks_of(text: &[u8], into: &mut Vec<Block>) {
    into.clear();
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    #[cfg(target_arch = "x86_64")]
    super::simd::of_blocks(blocks, into);
    #[cfg(not(target_arch = "x86_64"))]
    into.extend(blocks.iter().map(of_bytes));
    if !rest.is_empty() {
        into.push(Block::of(rest));
    }
}

/// The bits of what stands behind a set byte.
#[inline]
pub(super) fn behind(now: u64, before: u64) -> u64 {
    now << 1 | before >> 63
}

/// The bits where runs of so many set bytes begin, as far as they begin in `now`. At most 64.
#[inline]
pub(super) fn runs(now: u64, next: u64, length: u32) -> u64 {
    let mut run = u128::from(now) | u128::from(next) << 64;
    let mut covered = 1;
    while covered < length {
        let step = covered.min(length - covered);
        run &= run >> step;
        covered += step;
    }
    // The low half: what begins in the first block.
    run as u64
}

#[cfg(target_arch = "x86_64")]
fn of_block(block: &[u8; BLOCK]) -> Block {
    super::simd::of_block(block)
}

#[cfg(not(target_arch = "x86_64"))]
fn of_block(block: &[u8; BLOCK]) -> Block {
    of_bytes(block)
}

/// The bytes of a block that lie in one of these ranges.
pub(super) fn in_ranges(block: &[u8; BLOCK], ranges: &[(u8, u8)]) -> u64 {
    #[cfg(target_arch = "x86_64")]
    return super::simd::in_ranges(block, ranges);
    #[cfg(not(target_arch = "x86_64"))]
    {
        let within = |byte: u8| ranges.iter().any(|&(first, last)| (first..=last).contains(&byte));
        block.iter().enumerate().fold(0, |found, (place, &byte)| found | u64::from(within(byte)) << place)
    }
}

/// The same, byte by byte: for other processors, and to compare with.
#[cfg(any(test, not(target_arch = "x86_64")))]
fn of_bytes(block: &[u8; BLOCK]) -> Block {
    let mut found = Block::default();
    for (place, &byte) in block.iter().enumerate() {
        let put = |into: &mut u64, is: bool| *into |= u64::from(is) << place;
        put(&mut found.digit, byte.is_ascii_digit());
        put(&mut found.letter, byte.is_ascii_alphabetic());
        put(&mut found.upper, byte.is_ascii_uppercase());
        let long = byte.is_ascii_alphabetic() || (b'+'..=b'=').contains(&byte) || byte == b'_' || byte == b'~';
        put(&mut found.long, long);
        put(&mut found.separator, b" -./_".contains(&byte));
        put(&mut found.strong, b"@:=%".contains(&byte));
        put(&mut found.letter_c, byte.eq_ignore_ascii_case(&b'c'));
        put(&mut found.foreign, !byte.is_ascii());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_what_their_bytes_are() {
        for first in 0..=255_u8 {
            let block: [u8; BLOCK] = std::array::from_fn(|place| first.wrapping_add((place as u8).wrapping_mul(7)));
            assert_eq!(of_block(&block), of_bytes(&block));
        }
        let text: Vec<u8> = (0..=255).cycle().take(3 * BLOCK + 5).collect();
        let mut blocks = Vec::new();
        blocks_of(&text, &mut blocks);
        assert!(blocks.iter().zip(text.chunks(BLOCK)).all(|(block, bytes)| *block == of_bytes(&padded(bytes))));
        assert_eq!(blocks.len(), 4);
        assert_eq!(Block::of(b"a1").letter, 1);
        assert_eq!(Block::of(b"a1").digit, 2);
    }

    #[test]
    fn ranges_hold_their_bytes() {
        let block: [u8; BLOCK] = std::array::from_fn(|place| (place as u8).wrapping_mul(37));
        let ranges = [(b'0', b'9'), (b'P', b'P'), (0xF0, 0xFF)];
        let slow = |byte: u8| byte.is_ascii_digit() || byte == b'P' || byte >= 0xF0;
        let found = in_ranges(&block, &ranges);
        assert!(block.iter().enumerate().all(|(place, &byte)| (found >> place & 1 == 1) == slow(byte)));
    }

    #[test]
    fn runs_begin_where_enough_follows() {
        assert_eq!(runs(0b1110_1111, 0, 4), 0b1);
        assert_eq!(runs(u64::MAX << 60, 0b111, 7), 1 << 60);
        assert_eq!(runs(u64::MAX, 0, 64), 1);
    }

    #[test]
    fn words_begin_behind_other_bytes_and_at_humps() {
        let text = b"dateOfBirth x_y SSNs 2ab";
        let starts = Block::of(text).word_starts(&Block::default());
        let words: Vec<usize> = (0..64).filter(|place| starts >> place & 1 == 1).collect();
        assert_eq!(words, [0, 4, 6, 12, 14, 16, 22]);
    }
}
