//! Destroying keys: the keystore is written anew without them, under a new master key, so that older copies of the file
//! (a backup, blocks of the disk) open with nothing that is left.
//!
//! Two files change, and a crash may come between: the new ones are made beside the old ones, then the master key is
//! renamed, which decides it, then the keystore. [`finish`] completes or undoes what a crash left.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::{
    Entry, KeyId, Keystore, MAC_PREFIX, MAGIC, MASTER_PREFIX, encode, load, lookup, open_for_writing, read_master,
};
use crate::crypto::random;
use crate::error::EvidenceError;
use crate::layout;

impl Keystore {
    /// Destroys keys. Returns how many were there. When this returns, they are gone from the disk as far as it can be told.
    pub(crate) fn destroy(&self, ids: &HashSet<KeyId>) -> Result<u64, EvidenceError> {
        let mut keys = self.keys();
        let before = keys.by_scope.len();
        if !keys.by_scope.values().any(|key| ids.contains(&key.id)) {
            return Ok(0);
        }
        let mut tail = self.tail();
        let (master, store_id) = (random(), random());
        let mut bytes = MAGIC.to_vec();
        bytes.extend_from_slice(&store_id);
        let holds = keys.held.iter().map(|person| Entry::hold(person, true));
        let kept = keys.by_scope.iter().filter(|(_, key)| !ids.contains(&key.id));
        let mut entries = 0;
        for entry in holds.chain(kept.map(|(scope, key)| Entry::of(scope, key))) {
            bytes.extend_from_slice(&encode(&master, &store_id, &entry, entries)?);
            entries += 1;
        }
        let (next, next_master) = (beside(&self.path), beside(&self.master_path));
        write_anew(&next, &bytes)?;
        let text = format!("{MASTER_PREFIX}{}\n{MAC_PREFIX}{}\n", BASE64.encode(master), BASE64.encode(self.mac_root));
        write_anew(&next_master, text.as_bytes())?;
        replace_and_wipe(&next_master, &self.master_path)?;
        replace_and_wipe(&next, &self.path)?;
        // It is of the old keystore: nobody goes by it any more.
        let _ = fs::remove_file(lookup::list_path(&self.path));
        tail.file = open_for_writing(&self.path)?;
        (tail.offset, tail.entries) = (bytes.len() as u64, entries);
        (tail.master, tail.store_id) = (master, store_id);
        keys.by_scope.retain(|_, key| !ids.contains(&key.id));
        // Keys that were pending are in the new file already.
        keys.pending.clear();
        self.generation.fetch_add(1, Ordering::AcqRel);
        Ok((before - keys.by_scope.len()) as u64)
    }
}

/// Completes a rewriting that a crash cut off after its deciding step, or undoes it before that.
pub(super) fn finish(path: &Path, master_path: &Path) -> Result<(), EvidenceError> {
    let (next, next_master) = (beside(path), beside(master_path));
    let decided = next.exists() && load(&next, &read_master(master_path)?.seal).is_ok();
    if decided {
        tracing::warn!(keystore = %path.display(), "an erasure that was cut off is completed");
        replace_and_wipe(&next, path)?;
    }
    for left in [&next, &next_master, &old(path), &old(master_path)] {
        wipe(left)?;
    }
    Ok(())
}

fn beside(path: &Path) -> PathBuf {
    with_suffix(path, ".next")
}

fn old(path: &Path) -> PathBuf {
    with_suffix(path, ".old")
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn write_anew(path: &Path, content: &[u8]) -> Result<(), EvidenceError> {
    wipe(path)?;
    layout::write_secret(path, content)
}

/// Puts the new file in the place of the old one, then overwrites the old one's bytes.
fn replace_and_wipe(new: &Path, path: &Path) -> Result<(), EvidenceError> {
    let old = old(path);
    wipe(&old)?;
    let replace = || {
        fs::hard_link(path, &old)?;
        fs::rename(new, path)
    };
    replace().map_err(|e| EvidenceError::io("replace", path, &e))?;
    layout::sync_directory(path.parent().unwrap_or(Path::new(".")))?;
    wipe(&old)
}

/// Overwrites a file with zeros and removes it. File systems that write elsewhere keep the old bytes for a while; they open
/// with no key that is left.
fn wipe(path: &Path) -> Result<(), EvidenceError> {
    let wipe = || {
        let length = usize::try_from(fs::metadata(path)?.len()).unwrap_or(0);
        let mut file = fs::File::options().write(true).open(path)?;
        file.write_all(&vec![0; length])?;
        file.sync_all()?;
        fs::remove_file(path)
    };
    match wipe() {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(EvidenceError::io("wipe", path, &error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::{Person, Scope, Selection};
    use super::*;

    const NOW_US: u64 = 1_795_000_000_000_000;

    fn scope(subject: &str) -> Scope {
        Scope::new("", subject, NOW_US, crate::model::Keep::default())
    }

    fn open(dir: &Path) -> Keystore {
        Keystore::open(&dir.join("keys/log/keystore"), &dir.join("keys/master"), true).unwrap()
    }

    fn ids(store: &Keystore, subject: &str) -> HashSet<KeyId> {
        store.select(&Selection::Of(Person::new("", subject))).into_iter().collect()
    }

    #[test]
    fn a_destroyed_key_is_in_no_file_and_an_older_copy_of_the_store_opens_with_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let [alice, bob] = ["alice", "bob"].map(|subject| store.key_for(&scope(subject)));
        store.persist_pending(true).unwrap();
        let mac = store.mac("test", &[b"x"]);
        let copy = fs::read(dir.path().join("keys/log/keystore")).unwrap();
        assert_eq!(store.destroy(&ids(&store, "alice")).unwrap(), 1);
        assert_eq!(store.destroy(&HashSet::from([alice.id])).unwrap(), 0);
        assert_ne!(store.key_for(&scope("alice")).id, alice.id, "a later record gets a new key");
        assert_eq!(store.mac("test", &[b"x"]), mac);
        store.persist_pending(true).unwrap();
        drop(store);
        let store = open(dir.path());
        assert_eq!(store.key_for(&scope("bob")).id, bob.id);
        assert!(!ids(&store, "alice").contains(&alice.id));
        assert_eq!(store.mac("test", &[b"x"]), mac);
        drop(store);
        fs::write(dir.path().join("keys/log/keystore"), copy).unwrap();
        let error = Keystore::open(&dir.path().join("keys/log/keystore"), &dir.path().join("keys/master"), false);
        assert!(error.is_err(), "the old file does not open with the new master key");
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_old_keys_or_the_new_ones() {
        let base = tempfile::tempdir().unwrap();
        let store = open(base.path());
        for subject in ["alice", "bob"] {
            store.key_for(&scope(subject));
        }
        store.persist_pending(true).unwrap();
        let (keystore, master) = (base.path().join("keys/log/keystore"), base.path().join("keys/master"));
        let before = [&keystore, &master].map(|path| fs::read(path).unwrap());
        store.destroy(&ids(&store, "alice")).unwrap();
        drop(store);
        let after = [&keystore, &master].map(|path| fs::read(path).unwrap());
        // What stands under each name after each step: the store, its successor, the master key, its successor.
        let [old, new] = [&before, &after];
        let none = Vec::new();
        for (step, (at, next, key, next_key, alice_left)) in [
            (&old[0], &none, &old[1], &none, 1),
            (&old[0], &new[0], &old[1], &none, 1),
            (&old[0], &new[0], &old[1], &new[1], 1),
            (&old[0], &new[0], &new[1], &none, 0),
            (&new[0], &none, &new[1], &none, 0),
        ]
        .into_iter()
        .enumerate()
        {
            let dir = tempfile::tempdir().unwrap();
            let keys = dir.path().join("keys");
            fs::create_dir_all(keys.join("log")).unwrap();
            for (name, content) in
                [("log/keystore", at), ("log/keystore.next", next), ("master", key), ("master.next", next_key)]
            {
                if !content.is_empty() {
                    fs::write(keys.join(name), content).unwrap();
                }
            }
            let store = open(dir.path());
            assert_eq!(ids(&store, "alice").len(), alice_left, "step {step}");
            assert_eq!(ids(&store, "bob").len(), 1, "step {step}");
            assert_eq!(fs::read_dir(keys.join("log")).unwrap().count(), 1, "step {step}: nothing is left lying about");
            assert_eq!(fs::read_dir(&keys).unwrap().count(), 2, "step {step}");
        }
    }

    #[test]
    fn a_hold_is_kept_over_starts_and_erasures() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let [alice, carol] = ["alice", "carol"].map(|subject| Person::new("", subject));
        for person in [&alice, &carol] {
            store.key_for(&scope(&person.subject));
        }
        store.persist_pending(true).unwrap();
        store.set_hold(&alice, true).unwrap();
        store.set_hold(&carol, true).unwrap();
        store.set_hold(&carol, false).unwrap();
        let old_ones = Selection::EndedBefore { ended_s: NOW_US / 1_000_000 + 31 * 86_400, now_s: 0 };
        assert_eq!(store.select(&old_ones), ids(&store, "carol").into_iter().collect::<Vec<_>>());
        store.destroy(&ids(&store, "carol")).unwrap();
        drop(store);
        let store = open(dir.path());
        assert!(store.is_held(&alice) && !store.is_held(&carol));
        assert!(store.select(&old_ones).is_empty());
    }
}
