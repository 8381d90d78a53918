//! Replacing the log's signing key. The old key signs the record that names the new one; then the new key signs the same
//! tree. Whoever knows either key can follow to the other (`verify` does).

use std::fs;
use std::path::{Path, PathBuf};

use crate::checkpoint::{Checkpoint, SigningKey, VerifierKey};
use crate::crypto::{Digest32, random, sha256};
use crate::derived;
use crate::error::EvidenceError;
use crate::evidence::{Evidence, Options, lock};
use crate::layout::{self, Layout};
use crate::model::{Caller, Detail, Note, NoteKind};
use crate::recovery;
use crate::wal::disk::Disk;
use crate::wal::segment::Files;

/// The two keys of a rotation, in C2SP form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rotation {
    /// Signed until now.
    pub old: String,
    /// Signs from now on.
    pub new: String,
}

/// Replaces the signing key of a log that no gateway is writing to. The old signing key is destroyed.
///
/// # Errors
/// [`EvidenceError::Locked`] if a gateway is running, and everything that [`Evidence::open`] says.
pub fn rotate_key(options: &Options, actor: &Caller, why: &str) -> Result<Rotation, EvidenceError> {
    let layout = Layout::new(&options.dir, &options.origin)?;
    let new = SigningKey::generate(&options.origin)?;
    let evidence = Evidence::open(Options { producers: 1, ..options.clone() })?;
    let old: VerifierKey = evidence.verifier_key().parse()?;
    let mut note = Note::new(NoteKind::Key, "rotated");
    note.actor = actor.clone();
    why.clone_into(&mut note.text);
    note.details =
        vec![("old".into(), Detail::Digest(digest(&old))), ("new".into(), Detail::Digest(digest(&new.verifier)))];
    let mut producer = evidence.producer(0).ok_or(EvidenceError::Closed)?;
    producer.note(&note).commit.wait_blocking()?;
    // The last checkpoint, by the old key, covers the record.
    evidence.close()?;
    drop((producer, evidence));
    let _lock = lock(&layout.lock())?;
    let disk: std::sync::Arc<dyn Disk> = std::sync::Arc::new(Files::new(&layout.wal()));
    let tree = recovery::recover(&layout, &disk, &old)?.tree;
    let next = next_key(&options.log_key);
    let _ = fs::remove_file(&next);
    layout::write_secret(&next, new.encode()?.as_bytes())?;
    remember_key(&layout, &new.verifier)?;
    // From here on the new key counts: a start finishes what is left.
    derived::publish(&layout, &new, &tree)?;
    finish(&layout, &options.log_key)?;
    Ok(Rotation { old: old.to_string(), new: new.verifier.to_string() })
}

/// All verifier keys of a log, in C2SP form, the one that signs now last.
///
/// # Errors
/// [`EvidenceError`] if they cannot be read.
pub fn verifier_keys(options: &Options) -> Result<Vec<String>, EvidenceError> {
    let layout = Layout::new(&options.dir, &options.origin)?;
    Ok(VerifierKey::load_all(&layout.verifier_key())?.iter().map(ToString::to_string).collect())
}

/// Completes a rotation that was cut off after the new key had signed; undoes it before that.
pub(crate) fn finish(layout: &Layout, log_key: &Path) -> Result<(), EvidenceError> {
    let next = next_key(log_key);
    if !next.exists() {
        return Ok(());
    }
    let new = VerifierKey::load(&next)?;
    let note = layout::read_if_there(&layout.last_signed())?.unwrap_or_default();
    let newest = layout::read_if_there(&layout.checkpoint())?.unwrap_or_default();
    if Checkpoint::open(&newest, &new).is_err() && Checkpoint::open(&note, &new).is_err() {
        return fs::remove_file(&next).map_err(|e| EvidenceError::io("remove", &next, &e));
    }
    // Both files carry the same checkpoint when a rotation is whole.
    for path in [layout.checkpoint(), layout.last_signed()] {
        layout::replace(&path, &newest)?;
    }
    fs::rename(&next, log_key).map_err(|e| EvidenceError::io("replace", log_key, &e))?;
    layout::sync_directory(log_key.parent().unwrap_or(Path::new(".")))
}

/// Adds a key to the list of all keys that have signed this log; the newest stands last.
pub(crate) fn remember_key(layout: &Layout, key: &VerifierKey) -> Result<(), EvidenceError> {
    let path = layout.verifier_key();
    let known = layout::read_if_there(&path)?.unwrap_or_default();
    let known = String::from_utf8_lossy(&known);
    let text = key.to_string();
    let mut lines: Vec<&str> = known.lines().filter(|line| !line.is_empty() && *line != text).collect();
    lines.push(&text);
    layout::replace(&path, format!("{}\n", lines.join("\n")).as_bytes())
}

/// What a key record names a key by.
pub(crate) fn digest(key: &VerifierKey) -> Digest32 {
    sha256(&[key.to_string().as_bytes()])
}

fn next_key(log_key: &Path) -> PathBuf {
    let mut name = log_key.as_os_str().to_owned();
    name.push(".next");
    PathBuf::from(name)
}

impl SigningKey {
    /// A fresh key.
    fn generate(name: &str) -> Result<Self, EvidenceError> {
        Self::from_seed(name.to_owned(), &random())
    }
}
