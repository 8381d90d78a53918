//! What can go wrong, and whose fault it is.

use std::path::{Path, PathBuf};

/// Why evidence could not be opened, written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EvidenceError {
    /// Another process holds the log. There is one writer.
    #[error("{path} is in use by another process; stop it, or use its admin socket")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The operating system said no.
    #[error("could not {action} {path}: {reason}")]
    Io {
        /// What was attempted, as a verb: "read", "write", …
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        reason: String,
    },
    /// A setting cannot be used.
    #[error("{what}: {why}")]
    Setting {
        /// The setting.
        what: &'static str,
        /// What is wrong with it, and what would be right.
        why: String,
    },
    /// Records that had been acknowledged are damaged. The log is not opened, so that nothing covers the damage up.
    #[error(
        "acknowledged evidence is damaged: {0}. Restore the file from a backup, or keep this directory aside and start with another origin"
    )]
    Damaged(String),
    /// The log is shorter than, or differs from, what was signed before.
    #[error(
        "the log does not contain what it signed before: {0}. An older copy was put in place, or records were removed; nothing is signed on this origin any more. Restore the newest copy, or start with another origin"
    )]
    RolledBack(String),
    /// The keystore, or a key, cannot be used.
    #[error("keys: {0}")]
    Keys(String),
    /// The committer stopped after a failed write; nothing is acknowledged any more.
    #[error("evidence cannot be written any more: {0}")]
    Poisoned(String),
    /// A person's data are on legal hold.
    #[error("these data are on legal hold; release the hold first (audit hold --release)")]
    Held,
    /// The record did not fit into the queue.
    #[error("the evidence queue is full")]
    QueueFull,
    /// A record is larger than its bound.
    #[error("{what} has {actual} bytes, the limit is {limit}")]
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// Its size.
        actual: usize,
        /// The bound.
        limit: usize,
    },
    /// The evidence was closed.
    #[error("the evidence is closed")]
    Closed,
    /// Stored bytes, a query or an id do not parse.
    #[error("{0}")]
    Malformed(String),
}

impl EvidenceError {
    /// Wraps an error of the operating system with what was attempted on which file.
    pub(crate) fn io(action: &'static str, path: &Path, error: &std::io::Error) -> Self {
        Self::Io { action, path: path.to_owned(), reason: error.to_string() }
    }
}

/// Why no call may be admitted just now. The gateway answers 503 with `Retry-After`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// For the operator; holds nothing about the caller.
    pub reason: String,
    /// Suggested pause, in seconds.
    pub retry_after_s: u32,
}
