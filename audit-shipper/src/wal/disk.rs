//! What the log asks of a disk. The real one is [`super::segment::Files`]; tests put a simulated one in its place, which
//! tears, reorders, fails and loses what a real disk may.

use crate::error::EvidenceError;
use crate::evidence::Durability;

/// A directory of segments.
pub(crate) trait Disk: Send + Sync {
    /// The numbers of the segments, in order; none if there is nothing yet.
    fn segments(&self) -> Result<Vec<u32>, EvidenceError>;

    /// Opens a segment for reading; none if it is not there.
    fn reader(&self, number: u32) -> Result<Option<Box<dyn ReadSegment>>, EvidenceError>;

    /// Opens a segment for appending. `probe_at` is an offset that is still free: direct I/O may be tried out there.
    fn writer(
        &self,
        number: u32,
        durability: Durability,
        probe_at: u64,
    ) -> Result<Box<dyn WriteSegment>, EvidenceError>;

    /// Makes a segment of zeros. It appears only when it is whole and durable.
    fn create(&self, number: u32, bytes: u64) -> Result<(), EvidenceError>;

    /// Overwrites a stretch with zeros, durably.
    fn zero(&self, number: u32, from: u64, until: u64) -> Result<(), EvidenceError>;

    /// Brings a segment to at least this size, durably.
    fn extend(&self, number: u32, bytes: u64) -> Result<(), EvidenceError>;

    /// Removes a segment.
    fn remove(&self, number: u32) -> Result<(), EvidenceError>;

    /// Brings everything written to a segment to the disk itself.
    fn sync(&self, number: u32) -> Result<(), EvidenceError>;
}

/// A segment being read.
pub(crate) trait ReadSegment: Send {
    /// Up to `length` bytes; fewer where the segment ends.
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, EvidenceError>;
}

/// A segment being appended to.
pub(crate) trait WriteSegment: Send {
    /// Its size, in bytes.
    fn bytes(&self) -> u64;

    /// Whether writes go around the page cache.
    fn is_direct(&self) -> bool;

    /// Writes a block in one call, as durable as was asked for when it returns. After an error nothing may be known about
    /// what reached the disk.
    fn write(&self, block: &[u8], offset: u64) -> Result<(), EvidenceError>;

    /// Whether the file that is written to is still the one that a start would find, and still holds this block.
    fn check(&self, block: Option<(u64, usize, u32)>) -> Result<(), EvidenceError>;
}
