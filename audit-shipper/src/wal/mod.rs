//! The write-ahead log: pre-zeroed segments of checksummed, chained blocks. One per node, and the truth.

pub(crate) mod disk;
pub(crate) mod format;
pub(crate) mod scan;
pub(crate) mod segment;
pub(crate) mod supply;
pub(crate) mod writer;
