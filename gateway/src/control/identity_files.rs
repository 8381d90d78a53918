//! The revocation list and the file of API keys: read at the start, read again when they change, written to the evidence
//! before they count. A broken file changes nothing and says so.

use super::Control;
use crate::identity::{ApiKeys, Revocations};
use audit_shipper::{Detail, EvidenceError, Note, NoteKind};
use aws_lc_rs::digest::{SHA256, digest};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How often the files are looked at: they are small, and revoking must not wait for an editor's or a kubelet's habits.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Bytes of the largest file.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The file of API keys, unless the configuration names another.
pub(crate) const API_KEYS_FILE: &str = "api-keys.json";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    ApiKeys,
    Revocations,
}

/// One file, and what it last held.
#[derive(Debug)]
struct Watched {
    kind: Kind,
    path: PathBuf,
    /// `None` before the first look.
    last: Option<Vec<u8>>,
    last_error: String,
}

/// The files that this gateway has.
#[derive(Debug)]
pub(super) struct IdentityFiles(Vec<Watched>);

/// Why a file was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityFileError {
    /// It cannot be read.
    #[error("{}: {cause}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// It says something wrong.
    #[error("{}: {words}", path.display())]
    Broken {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        words: String,
    },
    /// What it says could not be written down.
    #[error("the evidence: {0}")]
    Evidence(#[from] EvidenceError),
}

impl IdentityFiles {
    pub(super) fn new(control: &Control) -> Self {
        let config = &control.shared.config;
        let api_keys = config.identity.api_keys.clone().unwrap_or_else(|| config.data.join(API_KEYS_FILE));
        let watched = |kind, path| Watched { kind, path, last: None, last_error: String::new() };
        let mut files = vec![watched(Kind::ApiKeys, api_keys)];
        files.extend(config.identity.revoked.clone().map(|path| watched(Kind::Revocations, path)));
        Self(files)
    }

    /// The first look: what is broken now ends the start, since nobody would notice what is not revoked.
    pub(super) async fn load(&mut self, control: &Control) -> Result<(), IdentityFileError> {
        for file in &mut self.0 {
            file.look(control).await?;
        }
        Ok(())
    }

    /// Looks again and again.
    pub(super) async fn watch(mut self, control: Arc<Control>) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            for file in &mut self.0 {
                if let Err(error) = file.look(&control).await {
                    file.complain(&control, &error.to_string()).await;
                } else {
                    file.last_error.clear();
                }
            }
        }
    }
}

impl Watched {
    async fn look(&mut self, control: &Control) -> Result<(), IdentityFileError> {
        let bytes = self.read()?;
        if self.last.as_ref() == Some(&bytes) {
            return Ok(());
        }
        let broken = |words| IdentityFileError::Broken { path: self.path.clone(), words };
        match self.kind {
            Kind::ApiKeys => {
                let keys =
                    if bytes.is_empty() { ApiKeys::default() } else { ApiKeys::parse(&bytes).map_err(broken)? };
                // A gateway that never had a key has nothing to say about them.
                if self.last.is_some() || !keys.is_empty() {
                    self.record(control, "api-keys", &bytes, keys.len(), Vec::new()).await?;
                }
                control.shared.verifier.replace_api_keys(keys);
            }
            Kind::Revocations => {
                let text = String::from_utf8(bytes.clone()).map_err(|_| broken("is not UTF-8".to_owned()))?;
                let list = Revocations::parse(&text).map_err(broken)?;
                self.record(control, "revocations", &bytes, list.len(), vec![("application/toml", text)]).await?;
                control.shared.verifier.replace_revocations(list);
            }
        }
        self.last = Some(bytes);
        Ok(())
    }

    /// Without a file there are no API keys; a revocation list that is configured must be there.
    fn read(&self) -> Result<Vec<u8>, IdentityFileError> {
        match read_bounded(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && self.kind == Kind::ApiKeys => Ok(Vec::new()),
            read => read.map_err(|cause| IdentityFileError::Read { path: self.path.clone(), cause }),
        }
    }

    async fn record(
        &self,
        control: &Control,
        what: &'static str,
        bytes: &[u8],
        entries: usize,
        attachments: Vec<(&'static str, String)>,
    ) -> Result<(), EvidenceError> {
        let mut note = Note::new(NoteKind::Config, "loaded");
        let sha256 = <[u8; 32]>::try_from(digest(&SHA256, bytes).as_ref()).unwrap_or_default();
        note.details = vec![
            ("what".into(), Detail::Name(what.to_owned())),
            ("entries".into(), Detail::Number(entries as u64)),
            ("sha256".into(), Detail::Digest(sha256)),
        ];
        tracing::info!(what, entries, "read again");
        control.journal.note(&note, attachments).await.map(drop)
    }

    /// The same words, again and again, are no news.
    async fn complain(&mut self, control: &Control, words: &str) {
        if self.last_error == words {
            return;
        }
        tracing::error!("not taken, what was read before still counts: {words}");
        let mut note = Note::new(NoteKind::Config, "refused");
        words.clone_into(&mut note.text);
        if let Err(error) = control.journal.note(&note, Vec::new()).await {
            tracing::error!(%error, "a refused file could not be written to the evidence");
        }
        words.clone_into(&mut self.last_error);
    }
}

fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(std::io::Error::other("is larger than 16 MiB"));
    }
    std::fs::read(path)
}
