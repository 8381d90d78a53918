//! The keystore: one key per (tenant, subject, month, bounds of how long it is kept), sealed under a master key, outside the evidence.
//!
//! Erasing a person means deleting keys here ([`rewrite`]); no stored record changes. The file is a header (magic and a
//! random store id) and sealed entries, each with length and CRC-32C; the seal binds an entry to its place. An entry is a
//! key, or the beginning or end of a legal hold.
//!
//! Invariant: a new key is on disk before the first record that uses it. A producer puts the key on the pending list
//! before it queues the record; the committer writes the list after draining the queues and before writing the block.

mod lookup;
mod period;
mod rewrite;

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

use crate::crypto::{self, Cipher, KEY_BYTES, random};
use crate::error::EvidenceError;
use crate::layout;
use crate::model::Keep;
pub(crate) use lookup::{Keys as SubjectKeys, keep_list};
use period::{Bounds, Period};

const MAGIC: &[u8; 8] = b"SPKEYS1\n";
const STORE_ID_BYTES: usize = 16;
const HEADER_BYTES: usize = MAGIC.len() + STORE_ID_BYTES;
const ENTRY_HEAD_BYTES: usize = 8;
/// Largest entry, in bytes.
const MAX_ENTRY_BYTES: usize = 4 << 10;
/// Longest subject or tenant kept as it is, in bytes; longer ones are kept as their SHA-256.
const MAX_NAME_BYTES: usize = 512;
const MASTER_PREFIX: &str = "sallyport-keystore-1:";
/// Starts the second line of a master key file that an erasure has rewritten: digests go on under the first key.
const MAC_PREFIX: &str = "mac:";

/// What names a key on the outside of what it encrypts.
pub(crate) type KeyId = [u8; 16];

/// Whose records a key covers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Scope {
    tenant: String,
    subject: String,
    period: Period,
    bounds: Bounds,
}

impl Scope {
    pub(crate) fn new(tenant: &str, subject: &str, unix_us: u64, keep: Keep) -> Self {
        let bounded = |name: &str| {
            if name.len() <= MAX_NAME_BYTES {
                name.to_owned()
            } else {
                format!("sha256:{}", hex::encode(crypto::sha256(&[name.as_bytes()])))
            }
        };
        let bounds = Bounds::of(keep);
        Self {
            tenant: bounded(if tenant.is_empty() { "default" } else { tenant }),
            subject: bounded(subject),
            period: Period::of(unix_us, bounds),
            bounds,
        }
    }
}

/// A person, as scopes name them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Person {
    pub(crate) tenant: String,
    pub(crate) subject: String,
}

impl Person {
    pub(crate) fn new(tenant: &str, subject: &str) -> Self {
        let Scope { tenant, subject, .. } = Scope::new(tenant, subject, 0, Keep::default());
        Self { tenant, subject }
    }
}

/// Which keys are meant.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// All of a person's.
    Of(Person),
    /// Everybody's of the periods that ended before this time (seconds since 1970), but for those that a policy wants kept until
    /// later than now.
    EndedBefore { ended_s: u64, now_s: u64 },
    /// Everybody's whose time has come.
    Lapsed {
        now_s: u64,
        /// For how long records are kept that no policy says anything about; none is for ever.
        kept_s: Option<u64>,
    },
}

/// One key.
pub(crate) struct SubjectKey {
    pub(crate) id: KeyId,
    pub(crate) key: [u8; KEY_BYTES],
    ready: OnceLock<Cipher>,
}

impl SubjectKey {
    pub(crate) fn new(id: KeyId, key: [u8; KEY_BYTES]) -> Self {
        Self { id, key, ready: OnceLock::new() }
    }

    /// The key, ready for use; kept ready.
    pub(crate) fn cipher(&self) -> Result<&Cipher, EvidenceError> {
        match self.ready.get() {
            Some(cipher) => Ok(cipher),
            None => {
                let cipher = Cipher::new(&self.key)?;
                Ok(self.ready.get_or_init(|| cipher))
            }
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Entry {
    /// Begins or ends a legal hold; such an entry has no key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hold: Option<bool>,
    id: String,
    key: String,
    /// Months since year 0; of a share that is smaller, zero.
    month: u32,
    /// Days since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    day: u32,
    /// Hours since 1970.
    #[serde(default, skip_serializing_if = "is_zero")]
    hour: u32,
    /// Seconds that it must be kept, and may be.
    #[serde(default, skip_serializing_if = "is_zero")]
    least: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    most: u64,
    subject: String,
    tenant: String,
}

fn is_zero<T: Default + PartialEq>(number: &T) -> bool {
    *number == T::default()
}

/// The keys of a log, and the file they are in.
pub(crate) struct Keystore {
    path: PathBuf,
    master_path: PathBuf,
    mac_root: [u8; KEY_BYTES],
    /// Locked before `file` where both are.
    keys: Mutex<Keys>,
    file: Mutex<Tail>,
    /// Counts erasures: what producers remember of keys is good for one generation.
    generation: AtomicU64,
}

#[derive(Default)]
struct Keys {
    by_scope: HashMap<Scope, Arc<SubjectKey>>,
    pending: Vec<(Scope, Arc<SubjectKey>)>,
    held: HashSet<Person>,
}

struct Tail {
    file: File,
    offset: u64,
    entries: u64,
    master: [u8; KEY_BYTES],
    store_id: [u8; STORE_ID_BYTES],
}

impl Keystore {
    /// Opens the keystore. Makes it, and the master key, if `may_create` and they are not there.
    pub(crate) fn open(path: &Path, master_path: &Path, may_create: bool) -> Result<Self, EvidenceError> {
        let exists = path.exists();
        let missing = |what: &Path| {
            EvidenceError::Keys(format!(
                "{} is missing, but there is evidence that was encrypted with it; put it back, or start with another origin",
                what.display()
            ))
        };
        if !master_path.exists() {
            if exists || !may_create {
                return Err(missing(master_path));
            }
            let text = format!("{MASTER_PREFIX}{}\n", BASE64.encode(random::<KEY_BYTES>()));
            layout::write_secret(master_path, text.as_bytes())?;
        }
        if !exists {
            if !may_create {
                return Err(missing(path));
            }
            let mut header = MAGIC.to_vec();
            header.extend_from_slice(&random::<STORE_ID_BYTES>());
            layout::write_secret(path, &header)?;
        }
        rewrite::finish(path, master_path)?;
        let master = read_master(master_path)?;
        let loaded = load(path, &master.seal)?;
        let file = open_for_writing(path)?;
        // What follows the last good entry was torn by a crash before any record could use it.
        file.set_len(loaded.end).and_then(|()| file.sync_all()).map_err(|e| EvidenceError::io("truncate", path, &e))?;
        let Loaded { store_id, keys, held, entries, end } = loaded;
        lookup::drop_list_beyond(path, &store_id, end).map_err(|e| EvidenceError::io("remove", path, &e))?;
        let by_scope = keys.into_iter().map(|(scope, key)| (scope, Arc::new(key))).collect();
        Ok(Self {
            path: path.to_owned(),
            master_path: master_path.to_owned(),
            mac_root: master.mac,
            keys: Mutex::new(Keys { by_scope, pending: Vec::new(), held }),
            file: Mutex::new(Tail { file, offset: end, entries, master: master.seal, store_id }),
            generation: AtomicU64::new(0),
        })
    }

    /// Changes when keys were destroyed.
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The ids of the keys that are meant, but for those on legal hold.
    pub(crate) fn select(&self, selection: &Selection) -> Vec<KeyId> {
        let keys = self.keys();
        let meant = |scope: &Scope| match selection {
            Selection::Of(person) => scope.person() == *person,
            Selection::EndedBefore { ended_s, now_s } => {
                scope.period.end_s() <= *ended_s && !scope.must_be_kept(*now_s) && !keys.held.contains(&scope.person())
            }
            Selection::Lapsed { now_s, kept_s } => {
                scope.bounds.due_s(scope.period, *kept_s).is_some_and(|due_s| due_s <= *now_s)
                    && !keys.held.contains(&scope.person())
            }
        };
        let mut ids: Vec<KeyId> =
            keys.by_scope.iter().filter(|(scope, _)| meant(scope)).map(|(_, key)| key.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Whether one of these keys is there.
    pub(crate) fn has_any(&self, ids: &HashSet<KeyId>) -> bool {
        !ids.is_empty() && self.keys().by_scope.values().any(|key| ids.contains(&key.id))
    }

    /// How many of a person's keys a policy wants kept until later than this, in seconds since 1970.
    pub(crate) fn must_be_kept(&self, person: &Person, now_s: u64) -> u64 {
        let keys = self.keys();
        keys.by_scope.keys().filter(|scope| scope.person() == *person && scope.must_be_kept(now_s)).count() as u64
    }

    /// Whether a person's keys are on legal hold.
    pub(crate) fn is_held(&self, person: &Person) -> bool {
        self.keys().held.contains(person)
    }

    /// Begins or ends a legal hold, durably.
    pub(crate) fn set_hold(&self, person: &Person, held: bool) -> Result<(), EvidenceError> {
        let mut keys = self.keys();
        let entry = Entry::hold(person, held);
        let mut tail = self.tail();
        let bytes = encode(&tail.master, &tail.store_id, &entry, tail.entries)?;
        tail.append(&self.path, &bytes, 1, true)?;
        if held {
            keys.held.insert(person.clone())
        } else {
            keys.held.remove(person)
        };
        Ok(())
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tail(&self) -> MutexGuard<'_, Tail> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key of a scope; a new one goes on the pending list.
    pub(crate) fn key_for(&self, scope: &Scope) -> Arc<SubjectKey> {
        let mut keys = self.keys();
        if let Some(key) = keys.by_scope.get(scope) {
            return Arc::clone(key);
        }
        let key = Arc::new(SubjectKey::new(random(), random()));
        keys.by_scope.insert(scope.clone(), Arc::clone(&key));
        keys.pending.push((scope.clone(), Arc::clone(&key)));
        key
    }

    /// Writes the pending keys; with `durable`, also to the disk itself.
    pub(crate) fn persist_pending(&self, durable: bool) -> Result<(), EvidenceError> {
        let pending = std::mem::take(&mut self.keys().pending);
        if pending.is_empty() {
            return Ok(());
        }
        let mut tail = self.tail();
        let mut bytes = Vec::new();
        for (entry, ordinal) in pending.iter().map(|(scope, key)| Entry::of(scope, key)).zip(tail.entries..) {
            bytes.extend_from_slice(&encode(&tail.master, &tail.store_id, &entry, ordinal)?);
        }
        tail.append(&self.path, &bytes, pending.len() as u64, durable)
    }

    /// Brings what was written to the disk itself.
    pub(crate) fn sync(&self) -> Result<(), EvidenceError> {
        self.tail().file.sync_data().map_err(|e| EvidenceError::io("sync", &self.path, &e))
    }

    /// A digest under a key that only this keystore has.
    pub(crate) fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        let key = crypto::mac(&self.mac_root, &[b"sallyport mac v1", purpose.as_bytes()]);
        crypto::mac(&key, parts)
    }
}

impl Scope {
    fn person(&self) -> Person {
        Person { tenant: self.tenant.clone(), subject: self.subject.clone() }
    }

    /// Whether a policy wants what lies under its key to be there still.
    fn must_be_kept(&self, now_s: u64) -> bool {
        self.bounds.at_least_s > 0 && self.bounds.kept_until_s(self.period) > now_s
    }
}

impl Entry {
    fn of(scope: &Scope, key: &SubjectKey) -> Self {
        let (month, day, hour) = match scope.period {
            Period::Month(month) => (month, 0, 0),
            Period::Day(day) => (0, day, 0),
            Period::Hour(hour) => (0, 0, hour),
        };
        Self {
            hold: None,
            id: hex::encode(key.id),
            key: BASE64.encode(key.key),
            month,
            day,
            hour,
            least: scope.bounds.at_least_s,
            most: scope.bounds.at_most_s,
            subject: scope.subject.clone(),
            tenant: scope.tenant.clone(),
        }
    }

    /// Begins or ends a legal hold.
    fn hold(person: &Person, held: bool) -> Self {
        Self {
            hold: Some(held),
            id: String::new(),
            key: String::new(),
            month: 0,
            day: 0,
            hour: 0,
            least: 0,
            most: 0,
            subject: person.subject.clone(),
            tenant: person.tenant.clone(),
        }
    }
}

impl Tail {
    fn append(&mut self, path: &Path, bytes: &[u8], entries: u64, durable: bool) -> Result<(), EvidenceError> {
        self.file
            .write_all_at(bytes, self.offset)
            .and_then(|()| if durable { self.file.sync_data() } else { Ok(()) })
            .map_err(|e| EvidenceError::io("write", path, &e))?;
        self.offset += bytes.len() as u64;
        self.entries += entries;
        Ok(())
    }
}

fn open_for_writing(path: &Path) -> Result<File, EvidenceError> {
    OpenOptions::new().write(true).mode(0o600).open(path).map_err(|e| EvidenceError::io("open", path, &e))
}

fn encode(
    master: &[u8; KEY_BYTES],
    store_id: &[u8; STORE_ID_BYTES],
    entry: &Entry,
    ordinal: u64,
) -> Result<Vec<u8>, EvidenceError> {
    let text = serde_json::to_vec(entry).map_err(|e| EvidenceError::Keys(e.to_string()))?;
    let sealed = crypto::seal(master, &place(store_id, ordinal), &text)?;
    let length = u32::try_from(sealed.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_le_bytes().to_vec();
    bytes.extend_from_slice(&crc32c::crc32c(&sealed).to_le_bytes());
    bytes.extend_from_slice(&sealed);
    Ok(bytes)
}

/// A digest under a key that only the keystore has, for readers: see [`Keystore::mac`].
pub(crate) fn mac_for_reading(master_path: &Path, purpose: &str, parts: &[&[u8]]) -> Result<[u8; 32], EvidenceError> {
    let key = crypto::mac(&read_master(master_path)?.mac, &[b"sallyport mac v1", purpose.as_bytes()]);
    Ok(crypto::mac(&key, parts))
}

/// The master key file: what entries are sealed under, and what digests are made with.
struct Master {
    seal: [u8; KEY_BYTES],
    mac: [u8; KEY_BYTES],
}

fn read_master(path: &Path) -> Result<Master, EvidenceError> {
    let text = std::fs::read_to_string(path).map_err(|e| EvidenceError::io("read", path, &e))?;
    let mut lines = text.lines();
    let mut key = |prefix: &str| -> Option<[u8; KEY_BYTES]> {
        BASE64.decode(lines.next()?.trim().strip_prefix(prefix)?).ok()?.try_into().ok()
    };
    let seal = key(MASTER_PREFIX)
        .ok_or_else(|| EvidenceError::Keys(format!("{} is not a keystore master key", path.display())))?;
    Ok(Master { seal, mac: key(MAC_PREFIX).unwrap_or(seal) })
}

struct Loaded {
    store_id: [u8; STORE_ID_BYTES],
    keys: Vec<(Scope, SubjectKey)>,
    held: HashSet<Person>,
    entries: u64,
    /// Where the last good entry ends.
    end: u64,
}

fn load(path: &Path, master: &[u8; KEY_BYTES]) -> Result<Loaded, EvidenceError> {
    let bytes = std::fs::read(path).map_err(|e| EvidenceError::io("read", path, &e))?;
    let damaged = |what: &str| EvidenceError::Keys(format!("{}: {what}", path.display()));
    let store_id = bytes
        .strip_prefix(MAGIC.as_slice())
        .and_then(|rest| rest.first_chunk::<STORE_ID_BYTES>())
        .ok_or_else(|| damaged("this is not a keystore"))?;
    let (mut keys, mut held, mut entries) = (Vec::new(), HashSet::new(), 0);
    let mut at = HEADER_BYTES;
    while let Some((sealed, next)) = entry_at(&bytes, at) {
        let text = crypto::open(master, &place(store_id, entries), sealed).map_err(|_| {
            damaged("an entry does not open: it was changed, or the master key is not the one it was sealed with")
        })?;
        match parse_entry(&text).ok_or_else(|| damaged("an entry cannot be read"))? {
            Parsed::Key(scope, key) => keys.push((scope, key)),
            Parsed::Hold(person, true) => drop(held.insert(person)),
            Parsed::Hold(person, false) => drop(held.remove(&person)),
        }
        entries += 1;
        at = next;
    }
    if is_damaged_at(&bytes, at) {
        return Err(damaged("an entry is damaged; restore the keystore from its backup"));
    }
    Ok(Loaded { store_id: *store_id, keys, held, entries, end: at as u64 })
}

/// Whether what stands where no good entry stands was damaged: a torn append ends before the length it announces; an entry that is
/// all there, but wrong, was damaged later.
fn is_damaged_at(bytes: &[u8], at: usize) -> bool {
    is_whole(bytes, at) || (at + 1..bytes.len()).any(|position| entry_at(bytes, position).is_some())
}

/// Whether all the bytes are there that the length at this position announces.
fn is_whole(bytes: &[u8], at: usize) -> bool {
    let head = bytes.get(at..).and_then(|rest| rest.first_chunk::<4>());
    head.is_some_and(|length| {
        let length = u32::from_le_bytes(*length) as usize;
        length > 0 && length <= bytes.len().saturating_sub(at + ENTRY_HEAD_BYTES)
    })
}

/// The sealed bytes of the entry at a position, if its checksum is right, and where the next one starts.
fn entry_at(bytes: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let (head, rest) = bytes.get(at..)?.split_first_chunk::<ENTRY_HEAD_BYTES>()?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = *head;
    let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
    if !(crypto::SEAL_OVERHEAD_BYTES..=MAX_ENTRY_BYTES).contains(&length) {
        return None;
    }
    let sealed = rest.get(..length)?;
    let good = crc32c::crc32c(sealed) == u32::from_le_bytes([c0, c1, c2, c3]);
    good.then_some((sealed, at + ENTRY_HEAD_BYTES + length))
}

enum Parsed {
    Key(Scope, SubjectKey),
    Hold(Person, bool),
}

fn parse_entry(text: &[u8]) -> Option<Parsed> {
    let entry: Entry = serde_json::from_slice(text).ok()?;
    if let Some(held) = entry.hold {
        return Some(Parsed::Hold(Person { tenant: entry.tenant, subject: entry.subject }, held));
    }
    let key =
        SubjectKey::new(hex::decode(entry.id).ok()?.try_into().ok()?, BASE64.decode(entry.key).ok()?.try_into().ok()?);
    let period = match (entry.day, entry.hour) {
        (0, 0) => Period::Month(entry.month),
        (day, 0) => Period::Day(day),
        (_, hour) => Period::Hour(hour),
    };
    let bounds = Bounds { at_least_s: entry.least, at_most_s: entry.most };
    Some(Parsed::Key(Scope { tenant: entry.tenant, subject: entry.subject, period, bounds }, key))
}

fn place(store_id: &[u8; STORE_ID_BYTES], ordinal: u64) -> Vec<u8> {
    [store_id.as_slice(), &ordinal.to_le_bytes()].concat()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use std::time::Duration;

    const NOVEMBER_2026_US: u64 = 1_795_000_000_000_000;

    fn scope(subject: &str, unix_us: u64) -> Scope {
        Scope::new("", subject, unix_us, Keep::default())
    }

    struct Bench {
        dir: tempfile::TempDir,
    }

    impl Bench {
        fn new() -> Self {
            Self { dir: tempfile::tempdir().unwrap() }
        }
        fn file(&self) -> PathBuf {
            self.dir.path().join("keys/log/keystore")
        }
        fn open(&self, may_create: bool) -> Result<Keystore, EvidenceError> {
            Keystore::open(&self.file(), &self.dir.path().join("keys/master"), may_create)
        }
    }

    #[test]
    fn keys_come_back_and_are_one_per_month() {
        let bench = Bench::new();
        let now = scope("alice", NOVEMBER_2026_US);
        let next_month = scope("alice", NOVEMBER_2026_US + 31 * 86_400_000_000);
        let store = bench.open(true).unwrap();
        let key = store.key_for(&now);
        assert_eq!(store.key_for(&now).id, key.id);
        assert_ne!(store.key_for(&next_month).id, key.id);
        store.persist_pending(true).unwrap();
        drop(store);
        let store = bench.open(false).unwrap();
        assert_eq!(store.key_for(&now).key, key.key);
        assert!(store.keys.lock().unwrap().pending.is_empty());
        let file = std::fs::read(bench.file()).unwrap();
        assert!(!file.windows(5).any(|window| window == b"alice"));
    }

    #[test]
    fn records_that_are_kept_differently_have_keys_of_their_own_and_each_lapses_in_its_time() {
        let bench = Bench::new();
        let store = bench.open(true).unwrap();
        const DAY: Duration = Duration::from_hours(24);
        let keep = |least: Option<u32>, most: Option<u32>| Keep {
            at_least: least.map(|days| DAY * days),
            at_most: most.map(|days| DAY * days),
        };
        let kinds = [keep(None, None), keep(Some(90), None), keep(None, Some(10)), keep(Some(90), Some(300))];
        let ids = kinds.map(|keep| store.key_for(&Scope::new("", "alice", NOVEMBER_2026_US, keep)).id);
        assert_eq!(ids.iter().collect::<HashSet<_>>().len(), 4);
        store.persist_pending(true).unwrap();
        drop(store);
        let store = bench.open(false).unwrap();
        let days_later = |days: u64| NOVEMBER_2026_US / 1_000_000 + days * 86_400;
        let lapsed = |days: u64, kept: Option<u64>| {
            let kept_s = kept.map(|days| days * 86_400);
            let lapsed = store.select(&Selection::Lapsed { now_s: days_later(days), kept_s });
            ids.map(|id| lapsed.contains(&id))
        };
        assert_eq!(lapsed(8, Some(30)), [false; 4]);
        assert_eq!(lapsed(10, None), [false, false, true, false]);
        assert_eq!(lapsed(45, Some(30)), [true, false, true, false]);
        assert_eq!(lapsed(103, Some(30)), [true, true, true, true]);
        assert_eq!(lapsed(103, None), [false, false, true, false]);
        assert_eq!(lapsed(400, None), [false, false, true, true]);
        // By hand, what must be kept is left as well.
        let by_hand = |days: u64| {
            let now_s = days_later(days);
            let ended = store.select(&Selection::EndedBefore { ended_s: now_s, now_s });
            ids.map(|id| ended.contains(&id))
        };
        assert_eq!(by_hand(40), [true, false, true, false]);
        assert_eq!(by_hand(103), [true; 4]);
        assert_eq!(store.must_be_kept(&Person::new("", "alice"), days_later(40)), 2);
    }

    #[test]
    fn a_torn_append_is_cut_and_damage_before_it_refused() {
        let bench = Bench::new();
        let store = bench.open(true).unwrap();
        for subject in ["a", "b", "c"] {
            store.key_for(&scope(subject, NOVEMBER_2026_US));
            store.persist_pending(true).unwrap();
        }
        drop(store);
        let whole = std::fs::read(bench.file()).unwrap();
        let third = entry_at(&whole, entry_at(&whole, HEADER_BYTES).unwrap().1).unwrap().1;
        for cut in (third..whole.len()).step_by(7) {
            std::fs::write(bench.file(), &whole[..cut]).unwrap();
            let store = bench.open(false).unwrap();
            assert_eq!(store.keys.lock().unwrap().by_scope.len(), 2, "cut at {cut}");
        }
        for position in (0..third).step_by(5) {
            let mut changed = whole.clone();
            changed[position] ^= 0x10;
            std::fs::write(bench.file(), &changed).unwrap();
            assert!(bench.open(false).is_err(), "byte {position}");
        }
    }

    #[test]
    fn a_lost_master_key_is_not_replaced() {
        let bench = Bench::new();
        drop(bench.open(true).unwrap());
        std::fs::remove_file(bench.dir.path().join("keys/master")).unwrap();
        let error = bench.open(true).err().unwrap().to_string();
        assert!(error.contains("is missing"), "{error}");
    }
}
