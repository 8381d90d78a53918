//! Appends blocks. Knows nothing of queues or threads.

use std::sync::Arc;

use crate::crypto::Digest32;
use crate::encode::Item;
use crate::error::EvidenceError;
use crate::evidence::Durability;
use crate::wal::disk::{Disk, WriteSegment};
use crate::wal::format::{BLOCK_ALIGN, BlockHeader, END_MARK, HEADER_BYTES, MAX_BLOCK_PAYLOAD_BYTES, chain_digest};
use crate::wal::segment::AlignedBuffer;
use crate::wal::supply::Supply;

/// Where the next block goes and what it continues.
#[derive(Clone, Debug, Default)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
    pub(crate) index: u64,
    pub(crate) previous: Digest32,
}

/// What a write did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Appended {
    pub(crate) first_index: u64,
    pub(crate) segment: u32,
}

/// The one writer of a log.
pub(crate) struct Writer {
    disk: Arc<dyn Disk>,
    durability: Durability,
    at: Position,
    segment: Box<dyn WriteSegment>,
    supply: Supply,
    buffer: AlignedBuffer,
    payload_limit: usize,
    /// Offset, length and CRC-32C of the last block written to this segment.
    last: Option<(u64, usize, u32)>,
    /// The newest failed write whose segment was given up.
    abandoned: Option<EvidenceError>,
}

impl Writer {
    /// Continues at a position whose segment exists and is zero from there on.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        segment_bytes: u64,
        durability: Durability,
        at: Position,
        mut supply: Supply,
    ) -> Result<Self, EvidenceError> {
        let segment = disk.writer(at.segment, durability, at.offset)?;
        if durability == Durability::Strict && !segment.is_direct() {
            tracing::info!(
                "this file system has no O_DIRECT: evidence goes through the page cache, each write synchronous"
            );
        }
        supply.order(at.segment + 1);
        let overhead = HEADER_BYTES + END_MARK.len() + BLOCK_ALIGN;
        let half = usize::try_from(segment_bytes / 2).unwrap_or(usize::MAX);
        let payload_limit = MAX_BLOCK_PAYLOAD_BYTES.min(half.saturating_sub(overhead));
        let buffer = AlignedBuffer::new(payload_limit + overhead);
        Ok(Self { disk, durability, at, segment, supply, buffer, payload_limit, last: None, abandoned: None })
    }

    /// Most bytes of entries that one block takes.
    pub(crate) fn payload_limit(&self) -> usize {
        self.payload_limit
    }

    /// Number of the segment that is written to.
    pub(crate) fn segment(&self) -> u32 {
        self.at.segment
    }

    pub(crate) fn uses_direct_io(&self) -> bool {
        self.segment.is_direct()
    }

    /// Bytes left in segments that exist, and why the next one could not be made, if a try just failed.
    pub(crate) fn room(&mut self) -> (u64, Option<EvidenceError>) {
        let left = self.segment.bytes().saturating_sub(self.at.offset);
        match self.supply.poll() {
            Ok(true) => (left + self.segment.bytes(), None),
            Ok(false) => {
                self.supply.order(self.at.segment + 1);
                (left, None)
            }
            Err(error) => (left, Some(error)),
        }
    }

    /// Writes the items as one block; when this returns they are as durable as was asked for. A segment whose write failed is
    /// given up (nothing is known of what reached the disk, and a sync is never tried again): the block goes to the next
    /// segment. After an error the writer must not be used again.
    pub(crate) fn append(&mut self, items: &[Item]) -> Result<Appended, EvidenceError> {
        match self.try_append(items) {
            Err(error @ EvidenceError::Io { .. }) => {
                tracing::error!(%error, segment = self.at.segment, "a write of evidence failed; its segment is given up");
                self.abandoned = Some(error);
                self.next_segment()?;
                self.try_append(items)
            }
            other => other,
        }
    }

    /// The newest write error that was survived, once.
    pub(crate) fn take_abandoned(&mut self) -> Option<EvidenceError> {
        self.abandoned.take()
    }

    /// Whether the file is still the file that a start would find.
    pub(crate) fn check_file(&self) -> Result<(), EvidenceError> {
        self.segment.check(self.last)
    }

    fn try_append(&mut self, items: &[Item]) -> Result<Appended, EvidenceError> {
        let payload_len: usize = items.iter().map(|item| item.entries.len()).sum();
        let too_large = || EvidenceError::TooLarge { what: "a block", actual: payload_len, limit: self.payload_limit };
        let content_len = HEADER_BYTES + payload_len + END_MARK.len();
        let stored_len = content_len.next_multiple_of(BLOCK_ALIGN);
        if payload_len > self.payload_limit || self.at.offset + stored_len as u64 > self.segment.bytes() {
            return Err(too_large());
        }
        let error = too_large();
        let block = self.buffer.get_mut(stored_len).ok_or(error)?;
        let (header_bytes, rest) = block.split_at_mut(HEADER_BYTES);
        let mut at = 0;
        for item in items {
            if let Some(slot) = rest.get_mut(at..at + item.entries.len()) {
                slot.copy_from_slice(&item.entries);
            }
            at += item.entries.len();
        }
        let payload_crc = crc32c::crc32c(rest.get(..at).unwrap_or_default());
        let (_, tail) = rest.split_at_mut(at);
        tail.fill(0);
        if let Some(mark) = tail.first_chunk_mut() {
            *mark = END_MARK;
        }
        let header = BlockHeader {
            epoch: self.at.epoch,
            segment: self.at.segment,
            sequence: self.at.sequence,
            first_index: self.at.index,
            leaves: u32::try_from(items.len()).unwrap_or(u32::MAX),
            payload_len: u32::try_from(payload_len).unwrap_or(u32::MAX),
            previous: self.at.previous,
            payload_crc,
        };
        header_bytes.copy_from_slice(&header.encode());
        self.segment.write(block, self.at.offset)?;
        self.last = Some((self.at.offset, stored_len, crc32c::crc32c(block)));
        self.at.previous = chain_digest(block.get(..content_len).unwrap_or_default());
        self.at.offset += stored_len as u64;
        self.at.sequence += 1;
        self.at.index += items.len() as u64;
        Ok(Appended { first_index: header.first_index, segment: header.segment })
    }

    /// Goes to the next segment if this many bytes of entries do not fit into the current one. Waits for the segment if it
    /// is still being made. After an error it may be tried again.
    pub(crate) fn make_way(&mut self, payload_len: usize) -> Result<(), EvidenceError> {
        let stored = (HEADER_BYTES + payload_len + END_MARK.len()).next_multiple_of(BLOCK_ALIGN) as u64;
        if self.at.offset + stored <= self.segment.bytes() {
            return Ok(());
        }
        self.next_segment()
    }

    fn next_segment(&mut self) -> Result<(), EvidenceError> {
        self.supply.order(self.at.segment + 1);
        let number = self.supply.take()?;
        self.segment = self.disk.writer(number, self.durability, 0)?;
        self.at.segment = number;
        self.at.offset = 0;
        self.last = None;
        self.supply.order(number + 1);
        Ok(())
    }
}
