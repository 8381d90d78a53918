//! Opening and closing a log; handing out producers.

use std::path::{Path, PathBuf};

use crate::error::EvidenceError;
use crate::producer::Producer;

/// When a record counts as written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// When the synchronous write returned. Survives `kill -9`, panic and power loss.
    #[default]
    Strict,
    /// When `write()` returned. Survives `kill -9` and panic.
    Crash,
    /// When it was queued. Promises nothing; what a full queue drops is counted in a `gap` record.
    Observe,
}

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory; the log is `evidence/<origin>` below it, the keystore `keys/<origin>`.
    pub dir: PathBuf,
    /// The log's name: host and path without scheme, such as `gw.example.com/ai`.
    pub origin: String,
    /// When a record counts as written.
    pub durability: Durability,
    /// Number of producers: one per core and one for the control plane. At most 255.
    pub producers: usize,
    /// The log's signing key (a C2SP signer key), made on first start with mode 0600.
    pub log_key: PathBuf,
    /// The master key that the keystore is sealed under, made on first start with mode 0600; never inside `evidence/`.
    pub keystore: PathBuf,
    /// Queue slots per producer.
    pub queue_slots: usize,
    /// Size of a segment in bytes, a multiple of 4096. Segments are zeroed ahead, so this much disk is taken twice at once.
    pub segment_bytes: u64,
}

impl Options {
    /// The defaults: strict, one producer, both keys in `<dir>/keys/`, 4096 slots, segments of 64 MiB.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        let dir = dir.into();
        Self {
            origin: origin.into(),
            durability: Durability::default(),
            producers: 1,
            log_key: dir.join("keys").join("log.key"),
            keystore: dir.join("keys").join("keystore.key"),
            queue_slots: 4096,
            segment_bytes: 64 << 20,
            dir,
        }
    }
}

/// How the log is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Leaves acknowledged as durable.
    pub durable: u64,
    /// Size of the tree in the newest signed checkpoint.
    pub tree_size: u64,
    /// False once a write failed: nothing is admitted or acknowledged any more.
    pub healthy: bool,
    /// The newest thing that went wrong, also where it did not make the log unhealthy.
    pub last_error: Option<String>,
    /// Calls found open at the start, for which ABORTED was written.
    pub aborted_at_start: u64,
    /// Bytes of a torn, never acknowledged write that were cut off at the start.
    pub torn_bytes_at_start: u64,
    /// Records lost in `observe` mode since the start.
    pub lost: u64,
    /// Whether writes go around the page cache (`O_DIRECT`).
    pub direct_io: bool,
}

/// An open log. Share it in an `Arc`.
#[derive(Debug)]
pub struct Evidence;

impl Evidence {
    /// Locks the directory, recovers what is there, writes ABORTED for open calls and `boot`, and starts the threads.
    /// Blocks; makes directories and keys on the first start.
    ///
    /// # Errors
    /// [`EvidenceError::Locked`], [`EvidenceError::Damaged`], [`EvidenceError::RolledBack`], [`EvidenceError::Keys`],
    /// [`EvidenceError::Setting`], [`EvidenceError::Io`].
    pub fn open(_options: Options) -> Result<Self, EvidenceError> {
        todo!()
    }

    /// The producer with this number; each can be taken once.
    #[must_use]
    pub fn producer(&self, _number: usize) -> Option<Producer> {
        todo!()
    }

    /// How the log is. Cheap.
    #[must_use]
    pub fn status(&self) -> Status {
        todo!()
    }

    /// An HMAC-SHA-256 under a key derived from the keystore's master key, for what must be recognised again without being
    /// guessable: bindings of approvals, pseudonyms. `purpose` separates uses; parts are length-prefixed.
    #[must_use]
    pub fn mac(&self, _purpose: &str, _parts: &[&[u8]]) -> [u8; 32] {
        todo!()
    }

    /// Where the log lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        todo!()
    }

    /// The log's verifier key, in C2SP form: `name+hash+key`.
    #[must_use]
    pub fn verifier_key(&self) -> &str {
        todo!()
    }

    /// Writes everything queued, signs a last checkpoint, stops the threads. Later calls of producers fail. Idempotent;
    /// dropping does the same.
    ///
    /// # Errors
    /// The error that kept the end from being written.
    pub fn close(&self) -> Result<(), EvidenceError> {
        todo!()
    }
}
