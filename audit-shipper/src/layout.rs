//! Where everything lies below the data directory, and how small files are written so that a crash leaves old or new.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::error::EvidenceError;

/// Longest origin, in bytes.
const MAX_ORIGIN_BYTES: usize = 200;

/// The paths of one log.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// `<data>/evidence/<origin>`: append-only.
    pub(crate) log: PathBuf,
    /// `<data>/keys/<origin>`: mutable, its own backup class.
    pub(crate) keys: PathBuf,
}

impl Layout {
    pub(crate) fn new(data: &Path, origin: &str) -> Result<Self, EvidenceError> {
        let name = directory_name(origin)?;
        Ok(Self { log: data.join("evidence").join(&name), keys: data.join("keys").join(&name) })
    }

    pub(crate) fn wal(&self) -> PathBuf {
        self.log.join("wal")
    }

    pub(crate) fn tiles(&self) -> PathBuf {
        self.log.join("tiles")
    }

    /// Derived, like the tiles.
    pub(crate) fn index(&self) -> PathBuf {
        self.log.join("index")
    }

    pub(crate) fn checkpoint(&self) -> PathBuf {
        self.log.join("checkpoint")
    }

    /// Every checkpoint ever signed, one after the other.
    pub(crate) fn checkpoint_log(&self) -> PathBuf {
        self.log.join("ckpt.log")
    }

    pub(crate) fn lock(&self) -> PathBuf {
        self.log.join("lock")
    }

    /// The log's verifier key, for whoever gets a copy of the directory.
    pub(crate) fn verifier_key(&self) -> PathBuf {
        self.log.join("log.vkey")
    }

    pub(crate) fn keystore(&self) -> PathBuf {
        self.keys.join("keystore")
    }

    /// The newest checkpoint once more, outside `evidence/`: an older copy of the evidence is noticed by it.
    pub(crate) fn last_signed(&self) -> PathBuf {
        self.keys.join("last-checkpoint")
    }
}

/// Name of a segment file.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{number:08}.seg")
}

/// The numbers of the segments in `wal`, in order. None if there is no directory.
pub(crate) fn segment_numbers(wal: &Path) -> Result<Vec<u32>, EvidenceError> {
    let entries = match fs::read_dir(wal) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(EvidenceError::io("list", wal, &error)),
    };
    let mut numbers = Vec::new();
    for entry in entries {
        let name = entry.map_err(|e| EvidenceError::io("list", wal, &e))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_suffix(".seg"));
        numbers.extend(number.and_then(|number| number.parse::<u32>().ok()));
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// `gw.example.com/ai` → `gw.example.com+ai`: a plus cannot be part of an origin, so this can be turned back.
pub(crate) fn directory_name(origin: &str) -> Result<String, EvidenceError> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/' | ':');
    if origin.is_empty() || origin.len() > MAX_ORIGIN_BYTES || origin.starts_with('.') || !origin.chars().all(allowed) {
        return Err(EvidenceError::Setting {
            what: "evidence origin",
            why: format!(
                "{origin:?} cannot be a log's name; use a host and a path without scheme, such as gw.example.com/ai"
            ),
        });
    }
    Ok(origin.replace('/', "+"))
}

/// The inverse of [`directory_name`].
pub(crate) fn origin_of_directory(name: &str) -> String {
    name.replace('+', "/")
}

pub(crate) fn make_directory(path: &Path) -> Result<(), EvidenceError> {
    fs::create_dir_all(path).map_err(|e| EvidenceError::io("make the directory", path, &e))
}

/// Makes a new entry of a directory survive power loss.
pub(crate) fn sync_directory(path: &Path) -> Result<(), EvidenceError> {
    File::open(path).and_then(|directory| directory.sync_all()).map_err(|e| EvidenceError::io("sync", path, &e))
}

/// Writes a new file that only its owner may read; fails if it exists.
pub(crate) fn write_secret(path: &Path, content: &[u8]) -> Result<(), EvidenceError> {
    let parent = parent_of(path);
    make_directory(parent)?;
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        file.write_all(content)?;
        file.sync_all()
    };
    write().map_err(|e| EvidenceError::io("create", path, &e))?;
    sync_directory(parent)
}

/// Makes a file, or empties it, that only its owner may read.
pub(crate) fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Replaces a file so that a crash leaves the old one or the new one.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), EvidenceError> {
    let parent = parent_of(path);
    make_directory(parent)?;
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| EvidenceError::io("write", path, &e))?;
    sync_directory(parent)
}

/// Reads a file; none if it is not there.
pub(crate) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>, EvidenceError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(EvidenceError::io("read", path, &error)),
    }
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn an_origin_and_its_directory_are_inverse() {
        let name = directory_name("gw.example.com/ai").unwrap();
        assert_eq!(name, "gw.example.com+ai");
        assert_eq!(origin_of_directory(&name), "gw.example.com/ai");
        for bad in ["", "..", "a b", "a+b", "a\nb", "../../etc", &"a".repeat(201)] {
            assert!(directory_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_secret_is_never_overwritten_and_only_for_its_owner() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/key");
        write_secret(&path, b"first").unwrap();
        assert!(write_secret(&path, b"second").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
