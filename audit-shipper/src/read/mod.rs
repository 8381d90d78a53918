//! Reading a log: search, show, verify. Works beside a running gateway, up to what is durable.

use std::io::Write;
use std::path::PathBuf;

use crate::error::EvidenceError;
use crate::id::RecordId;

/// Where to read.
#[derive(Clone, Debug)]
pub struct Source {
    /// The data directory.
    pub dir: PathBuf,
    /// The log's name; may be left out if the directory holds one log.
    pub origin: Option<String>,
    /// The keystore's master key; `<dir>/keys/keystore.key` if left out. Without it, encrypted fields stay unreadable.
    pub keystore: Option<PathBuf>,
    /// File with the log's signing or verifier key; `<dir>/keys/log.key` if left out.
    pub log_key: Option<PathBuf>,
}

impl Source {
    /// The defaults for a data directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            origin: None,
            keystore: None,
            log_key: None,
        }
    }
}

/// What to look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {}

impl Query {
    /// Reads terms separated by spaces: `subject: model: decision: kind: status: since: rule: masked: id: trace:`. All must hold.
    ///
    /// # Errors
    /// [`EvidenceError::Malformed`] naming the term and what would be right.
    pub fn parse(_text: &str) -> Result<Self, EvidenceError> {
        todo!()
    }
}

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchOptions {
    /// One JSON object per line instead of a table.
    pub json: bool,
    /// At most this many rows, the newest ones.
    pub limit: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self {
            json: false,
            limit: 50,
        }
    }
}

/// Prints the records that match, newest last; returns how many rows.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read or the output not be written.
pub fn search(
    _source: &Source,
    _query: &Query,
    _options: SearchOptions,
    _out: &mut dyn Write,
) -> Result<usize, EvidenceError> {
    todo!()
}

/// Prints everything about one call (or refusal, or note); returns whether it was found.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read or the output not be written.
pub fn show(_source: &Source, _id: RecordId, _out: &mut dyn Write) -> Result<bool, EvidenceError> {
    todo!()
}

/// What [`verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is there and unchanged.
    Sound,
    /// Something was changed or removed.
    Tampered,
    /// It cannot be told: a key or a file is missing, or a killed gateway has not been started again.
    CannotTell,
}

impl Verdict {
    /// The exit code of the command: 0, 1, 3.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Sound => 0,
            Self::Tampered => 1,
            Self::CannotTell => 3,
        }
    }
}

/// Checks the whole log and prints a short report.
///
/// # Errors
/// Only if the output cannot be written; everything else is a verdict.
pub fn verify(_source: &Source, _out: &mut dyn Write) -> Result<Verdict, EvidenceError> {
    todo!()
}
