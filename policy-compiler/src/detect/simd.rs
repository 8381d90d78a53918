//! The classes of blocks on x86-64. Nothing else in this crate's detectors needs `unsafe`; `bits` has the same without.

use super::bits::{BLOCK, Block};

/// The classes of 64 bytes.
pub(super) fn of_block(block: &[u8; BLOCK]) -> Block {
    // SAFETY: SSE2 is a part of x86-64.
    unsafe { sse2::classes(block) }
}

/// The classes of several blocks.
pub(super) fn of_blocks(blocks: &[[u8; BLOCK]], into: &mut Vec<Block>) {
    if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { avx2::extend(blocks, into) }
    } else {
        // SAFETY: SSE2 is a part of x86-64.
        unsafe { sse2::extend(blocks, into) }
    }
}

/// The bytes of a block that lie in one of these ranges.
pub(super) fn in_ranges(block: &[u8; BLOCK], ranges: &[(u8, u8)]) -> u64 {
    // SAFETY: SSE2 is a part of x86-64.
    unsafe { sse2::ranges_of(block, ranges) }
}

/// The same for both widths of registers.
macro_rules! classes {
    ($feature:literal, $bytes:literal) => {
        /// The classes of several blocks.
        #[target_feature(enable = $feature)]
        pub(super) fn extend(blocks: &[[u8; BLOCK]], into: &mut Vec<Block>) {
            into.reserve(blocks.len() + 1);
            for block in blocks {
                into.push(classes(block));
            }
        }

        /// The classes of 64 bytes.
        #[inline]
        #[target_feature(enable = $feature)]
        pub(super) fn classes(block: &[u8; BLOCK]) -> Block {
            let mut found = Block::NONE;
            for (lane, bytes) in block.as_chunks::<$bytes>().0.iter().enumerate() {
                let text = load(bytes);
                let folded = or(text, all(0x20));
                let shift = $bytes * lane;
                let letter = within(folded, b'a', b'z');
                let underscore = is(text, b'_');
                let marks = or(within(text, b'+', b'='), or(underscore, is(text, b'~')));
                let blank = or(is(text, b' '), or(underscore, within(text, b'-', b'/')));
                let assigns = or(is(text, b':'), is(text, b'='));
                found.digit |= bits(within(text, b'0', b'9')) << shift;
                found.letter |= bits(letter) << shift;
                found.upper |= bits(within(text, b'A', b'Z')) << shift;
                found.long |= bits(or(letter, marks)) << shift;
                found.separator |= bits(blank) << shift;
                found.strong |= bits(or(assigns, or(is(text, b'@'), is(text, b'%')))) << shift;
                found.letter_c |= bits(is(folded, b'c')) << shift;
                found.foreign |= bits(text) << shift;
            }
            found
        }
    };
}

mod sse2 {
    use super::{BLOCK, Block};
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128, _mm_set_epi64x, _mm_set1_epi8,
        _mm_sub_epi8,
    };

    classes!("sse2", 16);

    /// The bytes of a block that lie in one of these ranges.
    #[target_feature(enable = "sse2")]
    pub(super) fn ranges_of(block: &[u8; BLOCK], ranges: &[(u8, u8)]) -> u64 {
        let mut found = 0;
        for (lane, bytes) in block.as_chunks::<16>().0.iter().enumerate() {
            let text = load(bytes);
            let mut set = all(0);
            for &(first, last) in ranges {
                set = or(set, within(text, first, last));
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

    #[inline]
    #[target_feature(enable = "sse2")]
    fn all(byte: u8) -> __m128i {
        _mm_set1_epi8(byte.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn or(one: __m128i, other: __m128i) -> __m128i {
        _mm_or_si128(one, other)
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
        _mm_cmpeq_epi8(text, all(byte))
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn within(text: __m128i, first: u8, last: u8) -> __m128i {
        let offset = _mm_sub_epi8(text, all(first));
        _mm_cmpeq_epi8(_mm_min_epu8(offset, all(last - first)), offset)
    }
}

mod avx2 {
    use super::{BLOCK, Block};
    use std::arch::x86_64::{
        __m256i, _mm256_cmpeq_epi8, _mm256_min_epu8, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set_epi64x,
        _mm256_set1_epi8, _mm256_sub_epi8,
    };

    classes!("avx2", 32);

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; 32]) -> __m256i {
        let mut quarters = [0; 4];
        for (quarter, bytes) in quarters.iter_mut().zip(bytes.as_chunks::<8>().0) {
            *quarter = i64::from_le_bytes(*bytes);
        }
        let [first, second, third, fourth] = quarters;
        _mm256_set_epi64x(fourth, third, second, first)
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn all(byte: u8) -> __m256i {
        _mm256_set1_epi8(byte.cast_signed())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn or(one: __m256i, other: __m256i) -> __m256i {
        _mm256_or_si256(one, other)
    }

    /// The highest bits of the bytes.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn bits(set: __m256i) -> u64 {
        u64::from(_mm256_movemask_epi8(set).cast_unsigned())
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn is(text: __m256i, byte: u8) -> __m256i {
        _mm256_cmpeq_epi8(text, all(byte))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn within(text: __m256i, first: u8, last: u8) -> __m256i {
        let offset = _mm256_sub_epi8(text, all(first));
        _mm256_cmpeq_epi8(_mm256_min_epu8(offset, all(last - first)), offset)
    }
}
