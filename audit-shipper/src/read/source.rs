//! Where to read, and with which keys.

use std::fs::{File, TryLockError};
use std::path::PathBuf;

use crate::checkpoint::VerifierKey;
use crate::error::EvidenceError;
use crate::evidence::Options;
use crate::keystore::SubjectKeys;
use crate::layout::{self, Layout};

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
        Self { dir: dir.into(), origin: None, keystore: None, log_key: None }
    }

    /// How the log would be opened for writing to it.
    ///
    /// # Errors
    /// [`EvidenceError`] if there is no log, or several and none is named.
    pub fn options(&self) -> Result<Options, EvidenceError> {
        let mut options = Options::new(&self.dir, self.locate()?.origin);
        options.keystore = self.master_path();
        if let Some(key) = &self.log_key {
            options.log_key.clone_from(key);
        }
        Ok(options)
    }

    /// Finds the log.
    pub(super) fn locate(&self) -> Result<Log, EvidenceError> {
        let origin = match &self.origin {
            Some(origin) => origin.clone(),
            None => self.only_origin()?,
        };
        let layout = Layout::new(&self.dir, &origin)?;
        if !layout.log.is_dir() {
            return Err(EvidenceError::Malformed(format!("there is no log at {}", layout.log.display())));
        }
        Ok(Log { origin, layout })
    }

    fn only_origin(&self) -> Result<String, EvidenceError> {
        let evidence = self.dir.join("evidence");
        let entries = std::fs::read_dir(&evidence).map_err(|e| EvidenceError::io("list", &evidence, &e))?;
        let mut origins: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().is_dir())
            .filter_map(|entry| Some(layout::origin_of_directory(entry.file_name().to_str()?)))
            .collect();
        origins.sort();
        match (origins.pop(), origins.is_empty()) {
            (Some(origin), true) => Ok(origin),
            (None, _) => Err(EvidenceError::Malformed(format!("there is no log in {}", evidence.display()))),
            (Some(last), false) => Err(EvidenceError::Malformed(format!(
                "{} holds several logs ({}, {last}); say which one",
                evidence.display(),
                origins.join(", ")
            ))),
        }
    }

    /// The keys that open blobs, or why there are none.
    pub(super) fn subject_keys(&self, log: &Log) -> Result<SubjectKeys, EvidenceError> {
        SubjectKeys::open(&log.layout.keystore(), &self.master_path())
    }

    /// Where the keystore's master key is.
    pub(super) fn master_path(&self) -> PathBuf {
        self.keystore.clone().unwrap_or_else(|| self.dir.join("keys").join("keystore.key"))
    }

    /// The key that checkpoints are checked with, and whether it came from the log itself (and so proves less).
    pub(super) fn verifier_key(&self, log: &Log) -> Result<(VerifierKey, bool), EvidenceError> {
        if let Some(path) = &self.log_key {
            return Ok((VerifierKey::load(path)?, false));
        }
        let usual = self.dir.join("keys").join("log.key");
        if usual.exists() {
            return Ok((VerifierKey::load(&usual)?, false));
        }
        Ok((VerifierKey::load(&log.layout.verifier_key())?, true))
    }
}

/// A log that was found.
pub(crate) struct Log {
    pub(crate) origin: String,
    pub(crate) layout: Layout,
}

impl Log {
    /// Whether a gateway writes to it now. Asking takes the lock for a moment; a starting gateway tries again.
    pub(super) fn is_running(&self) -> bool {
        let Ok(file) = File::open(self.layout.lock()) else {
            return false;
        };
        matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
    }

    /// Leaves of the newest signed tree; none if there is no checkpoint. Its signature is not looked at: nothing is proved by it.
    pub(super) fn signed_size(&self) -> Option<u64> {
        let note = layout::read_if_there(&self.layout.checkpoint()).ok()??;
        std::str::from_utf8(&note).ok()?.lines().nth(1)?.parse().ok()
    }
}
