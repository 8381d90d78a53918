//! Payload chunks: wire events with their timing, compressed.
//!
//! ```text
//! chunk: zstd( version (1) ‖ length of the media type (2) ‖ media type ‖ events )
//! event: Δt in µs (varint) ‖ direction (1: 0 towards the upstream, 1 towards the caller) ‖ length (varint) ‖ bytes
//! ```

use crate::error::EvidenceError;
use crate::leaf::clip;
use crate::model::{Frame, PayloadChunk, Role};

const VERSION: u8 = 1;
/// zstd's level: 1 costs about 2 µs per KiB, and streamed text has little more to give.
pub(crate) const COMPRESSION_LEVEL: i32 = 1;
/// Longest media type kept, in bytes.
const MAX_MEDIA_TYPE_BYTES: usize = 256;
/// Most events in a chunk.
pub(crate) const MAX_EVENTS: usize = 16 << 10;
/// Most bytes a chunk may unpack to.
const MAX_UNPACKED_BYTES: usize = crate::MAX_CHUNK_BYTES + MAX_EVENTS * 16 + 1024;

/// The events of a chunk, not yet compressed.
pub(crate) fn pack(chunk: &PayloadChunk) -> Vec<u8> {
    let text: usize = chunk.frames.iter().map(|frame| frame.bytes.len()).sum();
    let mut packed = Vec::with_capacity(text + 16 * chunk.frames.len() + 64);
    let media_type = clip(&chunk.media_type, MAX_MEDIA_TYPE_BYTES);
    packed.push(VERSION);
    packed.extend_from_slice(&u16::try_from(media_type.len()).unwrap_or(0).to_le_bytes());
    packed.extend_from_slice(media_type.as_bytes());
    let direction = u8::from(chunk.role == Role::Response);
    for frame in &chunk.frames {
        push_varint(&mut packed, frame.dt_us);
        packed.push(direction);
        push_varint(&mut packed, frame.bytes.len() as u64);
        packed.extend_from_slice(&frame.bytes);
    }
    packed
}

/// The inverse of [`pack`] and compression.
pub(crate) fn unpack(compressed: &[u8], role: Role) -> Result<PayloadChunk, EvidenceError> {
    let malformed = || EvidenceError::Malformed("the payload cannot be unpacked".to_owned());
    let packed = zstd::bulk::decompress(compressed, MAX_UNPACKED_BYTES).map_err(|_| malformed())?;
    let rest = packed.strip_prefix(&[VERSION]).ok_or_else(malformed)?;
    let (length, rest) = rest.split_first_chunk::<2>().ok_or_else(malformed)?;
    let (media_type, mut rest) = rest.split_at_checked(u16::from_le_bytes(*length) as usize).ok_or_else(malformed)?;
    let mut frames = Vec::new();
    while !rest.is_empty() {
        let dt_us = take_varint(&mut rest).ok_or_else(malformed)?;
        let (_direction, after) = rest.split_first().ok_or_else(malformed)?;
        rest = after;
        let length = take_varint(&mut rest).and_then(|length| usize::try_from(length).ok()).ok_or_else(malformed)?;
        let (bytes, after) = rest.split_at_checked(length).ok_or_else(malformed)?;
        rest = after;
        frames.push(Frame { dt_us, bytes: bytes.to_vec() });
    }
    Ok(PayloadChunk { role, media_type: String::from_utf8_lossy(media_type).into_owned(), frames })
}

fn push_varint(to: &mut Vec<u8>, value: u64) {
    let mut value = value;
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

fn take_varint(from: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = from.split_first()?;
        *from = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn chunks_come_back(
            frames in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..300)), 0..20),
            media_type in "[a-z/;= ]{0,40}",
        ) {
            let frames = frames.into_iter().map(|(dt_us, bytes)| Frame { dt_us, bytes }).collect();
            let chunk = PayloadChunk { role: Role::Response, media_type, frames };
            let compressed = zstd::bulk::compress(&pack(&chunk), COMPRESSION_LEVEL).unwrap();
            prop_assert_eq!(unpack(&compressed, Role::Response).unwrap(), chunk);
        }

        #[test]
        fn random_bytes_are_never_trouble(bytes: Vec<u8>) {
            let _ = unpack(&bytes, Role::Request);
            let _ = unpack(&zstd::bulk::compress(&bytes, 1).unwrap(), Role::Request);
        }
    }
}
