//! The keystore as readers need it: a key is found by the id that stands on the outside of a blob, without opening all the others.
//!
//! Beside the keystore lies a derived list of where each key's entry is. It covers the keystore up to a place; what is behind is
//! read when it is opened, and the list is brought up to date when that has become much. A list that is missing or belongs to
//! another keystore (an erasure writes it anew) costs time, never a key.
//!
//! ```text
//! list: magic (8) ‖ store id (16) ‖ offset that it covers up to (8) ‖ entries up to there (8) ‖ sorted: key id (16) ‖ offset (8) ‖ ordinal (8)
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{
    ENTRY_HEAD_BYTES, HEADER_BYTES, KeyId, MAGIC, MAX_ENTRY_BYTES, Parsed, STORE_ID_BYTES, entry_at, is_damaged_at,
    parse_entry, place, read_master,
};
use crate::crypto::{self, KEY_BYTES};
use crate::error::EvidenceError;
use crate::layout;

const LIST_MAGIC: &[u8; 8] = b"SPKEYI\r\n";
const LIST_HEAD_BYTES: usize = LIST_MAGIC.len() + STORE_ID_BYTES + 16;
const ITEM_BYTES: usize = 32;
/// The list is brought up to date when so many keys are behind it, or this share of those in it: each opening reads them, and each
/// time the list is written anew.
const BEHIND_KEYS: u64 = 200;
const BEHIND_SHARE: u64 = 200;
/// Most keys remembered of those that the list led to.
const REMEMBERED_KEYS: usize = 10_000;

type Item = [u8; ITEM_BYTES];
type Key = [u8; KEY_BYTES];

/// The keys that open blobs.
#[derive(Default)]
pub(crate) struct Keys {
    store: Option<Store>,
    /// Those behind the list.
    behind: HashMap<KeyId, Key>,
    /// Some that it led to.
    remembered: Mutex<HashMap<KeyId, Key>>,
}

struct Store {
    file: File,
    master: Key,
    store_id: [u8; STORE_ID_BYTES],
    list: Option<List>,
}

struct List {
    file: File,
    items: u64,
    covered: u64,
    entries: u64,
}

/// A key's entry in the keystore.
struct Entry {
    key: KeyId,
    offset: u64,
    ordinal: u64,
}

impl Keys {
    /// Opens the keystore for looking keys up.
    ///
    /// # Errors
    /// [`EvidenceError::Io`] and [`EvidenceError::Keys`]: missing, damaged, or of another master key.
    pub(crate) fn open(path: &Path, master_path: &Path) -> Result<Self, EvidenceError> {
        Self::read(path, master_path, &mut |_| {})
    }

    fn read(path: &Path, master_path: &Path, each: &mut dyn FnMut(Entry)) -> Result<Self, EvidenceError> {
        let master = read_master(master_path)?.seal;
        let io = |e: &std::io::Error| EvidenceError::io("read", path, e);
        let file = File::open(path).map_err(|e| io(&e))?;
        let damaged = |what: &str| EvidenceError::Keys(format!("{}: {what}", path.display()));
        let mut head = [0; HEADER_BYTES];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => return Err(io(&error)),
            _ => {}
        }
        let store_id = head.strip_prefix(MAGIC).and_then(|rest| rest.first_chunk::<STORE_ID_BYTES>());
        let store_id = *store_id.ok_or_else(|| damaged("this is not a keystore"))?;
        // A list that covers more is of a keystore that was put back from a backup, or lost its end.
        let length = file.metadata().map_err(|e| io(&e))?.len();
        let list = List::open(&list_path(path), &store_id).filter(|list| list.covered <= length);
        let (begin, mut ordinal) = list.as_ref().map_or((HEADER_BYTES as u64, 0), |list| (list.covered, list.entries));
        let bytes = read_from(&file, begin).map_err(|e| io(&e))?;
        let (mut behind, mut at) = (HashMap::new(), 0);
        while let Some((sealed, next)) = entry_at(&bytes, at) {
            let text = crypto::open(&master, &place(&store_id, ordinal), sealed).map_err(|_| {
                damaged("an entry does not open: it was changed, or the master key is not the one it was sealed with")
            })?;
            if let Parsed::Key(_, key) = parse_entry(&text).ok_or_else(|| damaged("an entry cannot be read"))? {
                behind.insert(key.id, key.key);
                each(Entry { key: key.id, offset: begin + at as u64, ordinal });
            }
            ordinal += 1;
            at = next;
        }
        if is_damaged_at(&bytes, at) {
            return Err(damaged("an entry is damaged; restore the keystore from its backup"));
        }
        let store = Store { file, master, store_id, list };
        Ok(Self { store: Some(store), behind, remembered: Mutex::default() })
    }

    /// One key alone.
    #[cfg(test)]
    pub(crate) fn of(key: &super::SubjectKey) -> Self {
        Self { behind: HashMap::from([(key.id, key.key)]), ..Self::default() }
    }

    /// The key of an id; none if it is not there (any more).
    pub(crate) fn get(&self, id: &KeyId) -> Option<Key> {
        if let Some(key) = self.behind.get(id) {
            return Some(*key);
        }
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = remembered.get(id) {
            return Some(*key);
        }
        let key = self.store.as_ref()?.look_up(id)?;
        if remembered.len() >= REMEMBERED_KEYS {
            remembered.clear();
        }
        remembered.insert(*id, key);
        Some(key)
    }
}

impl Store {
    fn look_up(&self, id: &KeyId) -> Option<Key> {
        let (offset, ordinal) = self.list.as_ref()?.find(id)?;
        let mut bytes = vec![0; ENTRY_HEAD_BYTES + MAX_ENTRY_BYTES];
        let length = self.file.read_at(&mut bytes, offset).ok()?;
        let (sealed, _) = entry_at(bytes.get(..length)?, 0)?;
        let text = crypto::open(&self.master, &place(&self.store_id, ordinal), sealed).ok()?;
        match parse_entry(&text)? {
            Parsed::Key(_, key) if key.id == *id => Some(key.key),
            _ => None,
        }
    }
}

impl List {
    /// None unless it belongs to this keystore.
    fn open(path: &Path, store_id: &[u8; STORE_ID_BYTES]) -> Option<Self> {
        let file = File::open(path).ok()?;
        let length = file.metadata().ok()?.len().checked_sub(LIST_HEAD_BYTES as u64)?;
        let mut head = [0; LIST_HEAD_BYTES];
        file.read_exact_at(&mut head, 0).ok()?;
        let (id, rest) = head.strip_prefix(LIST_MAGIC)?.split_first_chunk::<STORE_ID_BYTES>()?;
        let (covered, entries) = rest.split_first_chunk::<8>()?;
        let (covered, entries) = (u64::from_be_bytes(*covered), u64::from_be_bytes(*entries.first_chunk()?));
        let fits = id == store_id && length.is_multiple_of(ITEM_BYTES as u64);
        fits.then_some(Self { file, items: length / ITEM_BYTES as u64, covered, entries })
    }

    fn find(&self, id: &KeyId) -> Option<(u64, u64)> {
        let (mut low, mut high) = (0, self.items);
        while low < high {
            let middle = low + (high - low) / 2;
            let mut item = [0; ITEM_BYTES];
            self.file.read_exact_at(&mut item, LIST_HEAD_BYTES as u64 + middle * ITEM_BYTES as u64).ok()?;
            let (found, rest) = item.split_first_chunk::<16>()?;
            match found.cmp(id) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => {
                    let (offset, ordinal) = rest.split_first_chunk::<8>()?;
                    return Some((u64::from_be_bytes(*offset), u64::from_be_bytes(*ordinal.first_chunk()?)));
                }
            }
        }
        None
    }
}

/// Brings the list up to date if much is behind it.
///
/// # Errors
/// As [`Keys::open`], and if the list cannot be written.
pub(crate) fn keep_list(path: &Path, master_path: &Path) -> Result<(), EvidenceError> {
    let mut new: Vec<Item> = Vec::new();
    let mut end = (0, 0);
    let keys = Keys::read(path, master_path, &mut |entry| {
        new.push(item(&entry));
        end = (entry.offset, entry.ordinal + 1);
    })?;
    let Some(store) = keys.store else { return Ok(()) };
    let listed = store.list.as_ref().map_or(0, |list| list.items);
    if (new.len() as u64) < BEHIND_KEYS.max(listed / BEHIND_SHARE) {
        return Ok(());
    }
    // The entry that was read last is covered as well: its length stands in front of it.
    let mut length = [0; 4];
    store.file.read_exact_at(&mut length, end.0).map_err(|e| EvidenceError::io("read", path, &e))?;
    let covered = end.0 + ENTRY_HEAD_BYTES as u64 + u64::from(u32::from_le_bytes(length));
    new.sort_unstable();
    let list = list_path(path);
    let temporary = list.with_extension("tmp");
    merge(&store, new, covered, end.1, &temporary, &list).map_err(|e| EvidenceError::io("write", &list, &e))
}

/// Both are sorted, so that the old list is never in memory whole.
fn merge(
    store: &Store,
    new: Vec<Item>,
    covered: u64,
    entries: u64,
    temporary: &Path,
    list: &Path,
) -> std::io::Result<()> {
    let mut out = BufWriter::new(layout::create_private(temporary)?);
    out.write_all(LIST_MAGIC)?;
    out.write_all(&store.store_id)?;
    out.write_all(&covered.to_be_bytes())?;
    out.write_all(&entries.to_be_bytes())?;
    let mut new = new.into_iter().peekable();
    if let Some(old) = &store.list {
        let mut reader = BufReader::new(&old.file);
        reader.read_exact(&mut [0; LIST_HEAD_BYTES])?;
        for _ in 0..old.items {
            let mut item = [0; ITEM_BYTES];
            reader.read_exact(&mut item)?;
            while let Some(smaller) = new.next_if(|new| *new < item) {
                out.write_all(&smaller)?;
            }
            out.write_all(&item)?;
        }
    }
    for item in new {
        out.write_all(&item)?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_data()?;
    std::fs::rename(temporary, list)
}

fn item(entry: &Entry) -> Item {
    let mut item = [0; ITEM_BYTES];
    let parts = entry.key.into_iter().chain(entry.offset.to_be_bytes()).chain(entry.ordinal.to_be_bytes());
    item.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    item
}

/// Removes a list that covers more than the keystore has: what is appended from now on would not be what it knows.
pub(super) fn drop_list_beyond(path: &Path, store_id: &[u8; STORE_ID_BYTES], end: u64) -> std::io::Result<()> {
    match List::open(&list_path(path), store_id) {
        Some(list) if list.covered > end => std::fs::remove_file(list_path(path)),
        _ => Ok(()),
    }
}

/// Where the list of a keystore is.
pub(super) fn list_path(path: &Path) -> PathBuf {
    path.with_extension("list")
}

fn read_from(file: &File, begin: u64) -> std::io::Result<Vec<u8>> {
    let length = file.metadata()?.len().saturating_sub(begin);
    let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..)
        && !rest.is_empty()
    {
        match file.read_at(rest, begin + filled as u64)? {
            0 => break,
            more => filled += more,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::super::{Keystore, Person, Scope, Selection};
    use super::*;
    use crate::model::Keep;
    use std::collections::HashSet;

    #[test]
    fn every_key_is_found_with_a_list_and_without_and_none_that_was_destroyed() {
        let dir = tempfile::tempdir().unwrap();
        let (path, master) = (dir.path().join("keys/log/keystore"), dir.path().join("keys/master"));
        let store = Keystore::open(&path, &master, true).unwrap();
        let scope = |number: usize| Scope::new("", &format!("person-{number}"), 1_795_000_000_000_000, Keep::default());
        let mut known = Vec::new();
        let add = |from: usize, to: usize, known: &mut Vec<_>| {
            known.extend((from..to).map(|number| store.key_for(&scope(number))));
            store.persist_pending(false).unwrap();
        };
        let agree = |known: &[std::sync::Arc<crate::keystore::SubjectKey>], listed: bool| {
            let keys = Keys::open(&path, &master).unwrap();
            assert_eq!(keys.store.as_ref().unwrap().list.is_some(), listed);
            assert!(known.iter().all(|key| keys.get(&key.id) == Some(key.key)));
            assert_eq!(keys.get(&[7; 16]), None);
            keys.behind.len()
        };
        add(0, 50, &mut known);
        keep_list(&path, &master).unwrap();
        assert_eq!(agree(&known, false), 50, "too few for a list");
        add(50, 1500, &mut known);
        store.set_hold(&Person::new("", "person-3"), true).unwrap();
        keep_list(&path, &master).unwrap();
        // The hold stands behind the last key.
        assert_eq!(agree(&known, true), 0);
        add(1500, 1600, &mut known);
        assert_eq!(agree(&known, true), 100);
        add(1600, 2700, &mut known);
        keep_list(&path, &master).unwrap();
        assert_eq!(agree(&known, true), 0);
        let gone: HashSet<_> = store.select(&Selection::Of(Person::new("", "person-5"))).into_iter().collect();
        assert_eq!(store.destroy(&gone).unwrap(), 1);
        let erased = known.remove(5);
        assert_eq!(agree(&known, false), 2699, "the list was of the old keystore");
        keep_list(&path, &master).unwrap();
        assert_eq!(agree(&known, true), 0);
        assert_eq!(Keys::open(&path, &master).unwrap().get(&erased.id), None);
        // A list that leads astray opens nothing.
        let mut bytes = std::fs::read(list_path(&path)).unwrap();
        let entries = bytes.len();
        bytes[LIST_HEAD_BYTES + 16..entries].chunks_mut(ITEM_BYTES).for_each(|item| item[..8].fill(0));
        std::fs::write(list_path(&path), bytes).unwrap();
        assert_eq!(Keys::open(&path, &master).unwrap().get(&known[0].id), None);
    }
}
