//! The bytes of a block. No I/O. `docs/evidence/record.md` describes the same in words.
//!
//! ```text
//! block: header (80 bytes) ‖ entries ‖ end mark (8 bytes) ‖ zeros up to a multiple of 4096
//! entry: kind (1) ‖ zeros (3) ‖ length (4) ‖ CRC-32C of kind, length and data (4) ‖ data
//! ```
//! All numbers are little-endian.

use crate::crypto::{Digest32, sha256};

/// Blocks begin at multiples of this, in bytes.
pub(crate) const BLOCK_ALIGN: usize = 4096;
/// Size of a block's header, in bytes.
pub(crate) const HEADER_BYTES: usize = 80;
/// Largest payload of a block, in bytes.
pub(crate) const MAX_BLOCK_PAYLOAD_BYTES: usize = 1 << 20;
/// Largest leaf, in bytes.
pub(crate) const MAX_LEAF_BYTES: usize = 16 << 10;
/// Largest blob, in bytes.
pub(crate) const MAX_BLOB_BYTES: usize = 256 << 10;
/// Smallest segment, in bytes: the largest record fits into half of it.
pub(crate) const MIN_SEGMENT_BYTES: u64 = 1 << 20;

const MAGIC: [u8; 8] = *b"SPWAL\r\n\x01";
pub(crate) const END_MARK: [u8; 8] = *b"SP-END\r\n";
pub(crate) const ENTRY_HEAD_BYTES: usize = 12;

/// What stands in front of a block's entries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// Counts the starts of the gateway.
    pub(crate) epoch: u32,
    /// The segment it was written to.
    pub(crate) segment: u32,
    /// Counts blocks, from 0.
    pub(crate) sequence: u64,
    /// Tree index of its first leaf.
    pub(crate) first_index: u64,
    /// Number of leaves.
    pub(crate) leaves: u32,
    /// Length of the entries, in bytes.
    pub(crate) payload_len: u32,
    /// [`chain_digest`] of the block before it.
    pub(crate) previous: Digest32,
    /// CRC-32C of the entries.
    pub(crate) payload_crc: u32,
}

impl BlockHeader {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&self.epoch.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&self.first_index.to_le_bytes());
        bytes.extend_from_slice(&self.leaves.to_le_bytes());
        bytes.extend_from_slice(&self.payload_len.to_le_bytes());
        bytes.extend_from_slice(&self.previous);
        bytes.extend_from_slice(&self.payload_crc.to_le_bytes());
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        let mut header = [0; HEADER_BYTES];
        header.copy_from_slice(&bytes);
        header
    }

    /// None unless magic, checksum and bounds are right.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut fields = Fields(bytes.get(..HEADER_BYTES)?);
        if fields.take::<8>()? != MAGIC {
            return None;
        }
        let header = Self {
            epoch: u32::from_le_bytes(fields.take()?),
            segment: u32::from_le_bytes(fields.take()?),
            sequence: u64::from_le_bytes(fields.take()?),
            first_index: u64::from_le_bytes(fields.take()?),
            leaves: u32::from_le_bytes(fields.take()?),
            payload_len: u32::from_le_bytes(fields.take()?),
            previous: fields.take()?,
            payload_crc: u32::from_le_bytes(fields.take()?),
        };
        let crc = u32::from_le_bytes(fields.take()?);
        let covered = bytes.get(..HEADER_BYTES - 4)?;
        (crc32c::crc32c(covered) == crc && header.payload_len as usize <= MAX_BLOCK_PAYLOAD_BYTES).then_some(header)
    }

    /// Bytes from the header's first to the end mark's last.
    pub(crate) fn content_bytes(&self) -> usize {
        HEADER_BYTES + self.payload_len as usize + END_MARK.len()
    }

    /// Bytes that the block takes in its segment.
    pub(crate) fn stored_bytes(&self) -> usize {
        self.content_bytes().next_multiple_of(BLOCK_ALIGN)
    }
}

struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }
}

/// What the next block's header carries: SHA-256 of header, entries and end mark.
pub(crate) fn chain_digest(content: &[u8]) -> Digest32 {
    sha256(&[content])
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A leaf of the tree; it begins a record.
    Leaf = 1,
    /// The encrypted part of the record whose leaf is before it.
    Blob = 2,
}

/// Appends an entry.
pub(crate) fn push_entry(to: &mut Vec<u8>, kind: EntryKind, data: &[u8]) {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    to.extend_from_slice(&[kind as u8, 0, 0, 0]);
    to.extend_from_slice(&length.to_le_bytes());
    to.extend_from_slice(&entry_crc(kind as u8, length, data).to_le_bytes());
    to.extend_from_slice(data);
}

fn entry_crc(kind: u8, length: u32, data: &[u8]) -> u32 {
    let [a, b, c, d] = length.to_le_bytes();
    crc32c::crc32c_append(crc32c::crc32c(&[kind, a, b, c, d]), data)
}

/// An entry as found.
#[derive(Clone, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) kind: EntryKind,
    pub(crate) data: &'a [u8],
    /// Where the entry begins, counted from the first entry of the block.
    pub(crate) offset: usize,
    /// Whether checksum and reserved bytes are right.
    pub(crate) intact: bool,
}

/// Walks over the entries of a block. Stops where a length makes no sense; [`Entries::rest`] tells whether it did.
#[derive(Clone, Debug)]
pub(crate) struct Entries<'a> {
    payload: &'a [u8],
    at: usize,
}

impl<'a> Entries<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self { payload, at: 0 }
    }

    /// Bytes that were not understood.
    pub(crate) fn rest(&self) -> usize {
        self.payload.len() - self.at
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let offset = self.at;
        let mut fields = Fields(self.payload.get(offset..)?);
        let [kind_byte, zeros @ ..] = fields.take::<4>()?;
        let length = u32::from_le_bytes(fields.take()?);
        let crc = u32::from_le_bytes(fields.take()?);
        let (kind, limit) = match kind_byte {
            1 => (EntryKind::Leaf, MAX_LEAF_BYTES),
            2 => (EntryKind::Blob, MAX_BLOB_BYTES),
            _ => return None,
        };
        if length as usize > limit {
            return None;
        }
        let data = fields.0.get(..length as usize)?;
        self.at = offset + ENTRY_HEAD_BYTES + data.len();
        let intact = zeros == [0; 3] && entry_crc(kind_byte, length, data) == crc;
        Some(Entry { kind, data, offset, intact })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn header() -> BlockHeader {
        BlockHeader {
            epoch: 1,
            segment: 2,
            sequence: 3,
            first_index: 4,
            leaves: 5,
            payload_len: 6,
            previous: [7; 32],
            payload_crc: 8,
        }
    }

    #[test]
    fn a_header_comes_back_and_shows_every_flipped_bit() {
        let bytes = header().encode();
        assert_eq!(BlockHeader::decode(&bytes), Some(header()));
        for bit in 0..HEADER_BYTES * 8 {
            let mut changed = bytes;
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(BlockHeader::decode(&changed), None, "bit {bit}");
        }
    }

    #[test]
    fn entries_come_back_and_show_every_flipped_bit() {
        let mut payload = Vec::new();
        push_entry(&mut payload, EntryKind::Leaf, b"leaf");
        push_entry(&mut payload, EntryKind::Blob, b"blob data");
        let walk = |payload: &[u8]| {
            let mut entries = Entries::new(payload);
            let all = entries.by_ref().all(|entry| entry.intact);
            all && entries.rest() == 0
        };
        assert!(walk(&payload));
        for bit in 0..payload.len() * 8 {
            let mut changed = payload.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(!walk(&changed), "bit {bit}");
        }
    }

    proptest::proptest! {
        #[test]
        fn random_bytes_are_never_trouble(bytes: Vec<u8>) {
            let _ = BlockHeader::decode(&bytes);
            let mut entries = Entries::new(&bytes);
            while entries.next().is_some() {}
            proptest::prop_assert!(entries.rest() <= bytes.len());
        }
    }
}
