//! The classes of a block on x86-64. Nothing else in this crate's detectors needs `unsafe`; `bits` has the same without.

use super::bits::{BLOCK, Block};
use std::arch::x86_64::{
    __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
    _mm_setzero_si128, _mm_sub_epi8,
};

/// The classes of 64 bytes.
pub(super) fn of_block(block: &[u8; BLOCK]) -> Block {
    // SAFETY: SSE2 is a part of x86-64.
    unsafe { classes(block) }
}

/// The bytes of a block that lie in one of these ranges.
pub(super) fn in_ranges(block: &[u8; BLOCK], ranges: &[(u8, u8)]) -> u64 {
    // SAFETY: SSE2 is a part of x86-64.
    unsafe { ranges_of(block, ranges) }
}

#[target_feature(enable = "sse2")]
fn classes(block: &[u8; BLOCK]) -> Block {
    let mut found = Block::default();
    for (lane, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
        let text = load(bytes);
        let folded = _mm_or_si128(text, _mm_set1_epi8(0x20));
        let put = |into: &mut u64, set: __m128i| *into |= bits(set) << (16 * lane);
        let letter = within(folded, b'a', b'z');
        let underscore = is(text, b'_');
        put(&mut found.digit, within(text, b'0', b'9'));
        put(&mut found.letter, letter);
        put(&mut found.upper, within(text, b'A', b'Z'));
        let marks = _mm_or_si128(within(text, b'+', b'='), _mm_or_si128(underscore, is(text, b'~')));
        put(&mut found.long, _mm_or_si128(letter, marks));
        let separator = _mm_or_si128(is(text, b' '), _mm_or_si128(underscore, within(text, b'-', b'/')));
        put(&mut found.separator, separator);
        let assigns = _mm_or_si128(is(text, b':'), is(text, b'='));
        put(&mut found.strong, _mm_or_si128(assigns, _mm_or_si128(is(text, b'@'), is(text, b'%'))));
        put(&mut found.letter_c, is(folded, b'c'));
        put(&mut found.foreign, text);
    }
    found
}

#[target_feature(enable = "sse2")]
fn ranges_of(block: &[u8; BLOCK], ranges: &[(u8, u8)]) -> u64 {
    let mut found = 0;
    for (lane, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
        let text = load(bytes);
        let mut set = _mm_setzero_si128();
        for &(first, last) in ranges {
            set = _mm_or_si128(set, within(text, first, last));
        }
        found |= bits(set) << (16 * lane);
    }
    found
}

#[inline]
#[target_feature(enable = "sse2")]
fn load(bytes: &[u8; 16]) -> __m128i {
    let text = u128::from_le_bytes(*bytes);
    _mm_set_epi64x(((text >> 64) as u64).cast_signed(), (text as u64).cast_signed())
}

/// The highest bits of the bytes.
#[inline]
#[target_feature(enable = "sse2")]
fn bits(set: __m128i) -> u64 {
    u64::from(_mm_movemask_epi8(set).cast_unsigned())
}

#[inline]
#[target_feature(enable = "sse2")]
fn is(text: __m128i, byte: u8) -> __m128i {
    _mm_cmpeq_epi8(text, _mm_set1_epi8(byte.cast_signed()))
}

#[inline]
#[target_feature(enable = "sse2")]
fn within(text: __m128i, first: u8, last: u8) -> __m128i {
    let offset = _mm_sub_epi8(text, _mm_set1_epi8(first.cast_signed()));
    _mm_cmpeq_epi8(_mm_min_epu8(offset, _mm_set1_epi8((last - first).cast_signed())), offset)
}
