//! Opening and closing a log; handing out producers.

use std::collections::VecDeque;
use std::fmt;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::queue::ArrayQueue;

use crate::checkpoint::SigningKey;
use crate::committer::Committer;
use crate::derived::{self, Derived};
use crate::encode::{self, Item, Tallies};
use crate::error::EvidenceError;
use crate::id::{IdMaker, RecordId};
use crate::keystore::Keystore;
use crate::layout::{self, Layout};
use crate::merkle::Tree;
use crate::model::ValueDigest;
use crate::producer::Producer;
use crate::read::{self, Source, forget};
use crate::recovery::{self, Recovered};
use crate::rotation;
use crate::shared::{Lane, Shared};
use crate::wal::disk::Disk;
use crate::wal::format::{BLOCK_ALIGN, MIN_SEGMENT_BYTES};
use crate::wal::segment::Files;
use crate::wal::supply::Supply;
use crate::wal::writer::{Position, Writer};

/// Most producers; the last shard number is the start's own.
const MAX_PRODUCERS: usize = 254;
/// Bounds of a queue, in slots: a call promises two.
const MIN_QUEUE_SLOTS: usize = 4;
const MAX_QUEUE_SLOTS: usize = 1 << 20;
/// Blocks that the derived work may be behind.
const DERIVED_BACKLOG_BLOCKS: usize = 64 << 10;
/// ABORTED and boot records per block; they are small.
const FIRST_RECORDS_PER_BLOCK: usize = 256;
const LOCK_TRIES: u32 = 10;
const LOCK_PAUSE: Duration = Duration::from_millis(20);

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

/// What happens to calls while records cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// None is admitted.
    #[default]
    Refuse,
    /// They pass unrecorded; how many records are missing is counted, and written as `gap` as soon as that can be done.
    Continue,
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
    /// What happens while nothing can be written.
    pub on_failure: OnFailure,
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
    /// What started, for the `boot` record: digests by name, such as that of the program and of its configuration.
    pub boot_digests: Vec<(&'static str, [u8; 32])>,
}

impl Options {
    /// The defaults: strict, one producer, both keys in `<dir>/keys/`, 4096 slots, segments of 64 MiB.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>, origin: impl Into<String>) -> Self {
        let dir = dir.into();
        Self {
            origin: origin.into(),
            durability: Durability::default(),
            on_failure: OnFailure::default(),
            producers: 1,
            log_key: dir.join("keys").join("log.key"),
            keystore: dir.join("keys").join("keystore.key"),
            queue_slots: 4096,
            segment_bytes: 64 << 20,
            boot_digests: Vec::new(),
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
    /// Records not written since the start, in `observe` mode or because calls go on while nothing can be written.
    pub lost: u64,
    /// Whether writes go around the page cache (`O_DIRECT`).
    pub direct_io: bool,
}

/// An open log. Share it in an `Arc`.
pub struct Evidence {
    shared: Arc<Shared>,
    layout: Layout,
    /// The same log, as readers see it.
    source: Source,
    verifier_key: String,
    producers: Mutex<Vec<Option<Producer>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    aborted_at_start: u64,
    torn_bytes_at_start: u64,
    direct_io: bool,
    /// Held for as long as the log is open; the lock goes with the file.
    _lock: File,
}

impl fmt::Debug for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Evidence({})", self.layout.log.display())
    }
}

impl Evidence {
    /// Locks the directory, recovers what is there, writes ABORTED for open calls and `boot`, and starts the threads.
    /// Blocks; makes directories and keys on the first start.
    ///
    /// # Errors
    /// [`EvidenceError::Locked`], [`EvidenceError::Damaged`], [`EvidenceError::RolledBack`], [`EvidenceError::Keys`],
    /// [`EvidenceError::Setting`], [`EvidenceError::Io`].
    pub fn open(options: Options) -> Result<Self, EvidenceError> {
        let wal = Layout::new(&options.dir, &options.origin)?.wal();
        Self::open_on(options, Arc::new(Files::new(&wal)))
    }

    /// As [`Self::open`], with everything that is derived made again from the records: without an index, a start reads them all.
    /// Also returns whether the index held what was said.
    ///
    /// # Errors
    /// As [`Self::open`]; where another process writes, nothing is dropped.
    pub fn open_anew(options: Options) -> Result<(Self, bool), EvidenceError> {
        let source = source_of(&options);
        let text = {
            let _only_one = lock(&Layout::new(&options.dir, &options.origin)?.lock())?;
            read::drop_index(&source)?
        };
        Ok((Self::open(options)?, text))
    }

    /// As [`Self::open`], with the segments on a given disk.
    pub(crate) fn open_on(options: Options, disk: Arc<dyn Disk>) -> Result<Self, EvidenceError> {
        let layout = Layout::new(&options.dir, &options.origin)?;
        check(&options, &layout)?;
        layout::make_directory(&layout.wal())?;
        layout::make_directory(&layout.keys)?;
        let lock = lock(&layout.lock())?;
        rotation::finish(&layout, &options.log_key)?;
        let is_new = disk.segments()?.is_empty();
        let was_signed = layout.checkpoint().exists() || layout.last_signed().exists();
        let key = SigningKey::load_or_create(&options.log_key, &options.origin, is_new && !was_signed)?;
        let keystore = Keystore::open(&layout.keystore(), &options.keystore, is_new)?;
        rotation::remember_key(&layout, &key.verifier)?;
        let recovered = recovery::recover(&layout, &disk, &key.verifier)?;
        if is_new {
            disk.create(recovered.position.segment, options.segment_bytes)?;
        }
        recovery::tidy_segments(disk.as_ref(), recovered.position.segment, options.segment_bytes)?;
        // What a record says was erased stays erased, also when an older keystore was put back or a crash came in between.
        if keystore.has_any(&recovered.erased) {
            forget::announce(&source_of(&options), &recovered.erased)?;
            keystore.destroy(&recovered.erased)?;
        }
        forget::forget(&source_of(&options), &recovered.erased)?;
        Self::start(&options, layout, disk, lock, key, keystore, recovered)
    }

    fn start(
        options: &Options,
        layout: Layout,
        disk: Arc<dyn Disk>,
        lock: File,
        key: SigningKey,
        keystore: Keystore,
        recovered: Recovered,
    ) -> Result<Self, EvidenceError> {
        let [a, b, ..] = key.verifier.hash();
        let node = u16::from_be_bytes([a, b]);
        let lanes = (0..options.producers)
            .map(|number| Lane {
                queue: ArrayQueue::new(options.queue_slots),
                reserved: AtomicUsize::new(0),
                lost: AtomicU64::new(0),
                ids: IdMaker::new(node, u8::try_from(number).unwrap_or(u8::MAX)),
            })
            .collect();
        let shared = Arc::new(Shared::new(lanes, options.durability, options.on_failure, keystore));
        let Recovered { position, mut tree, open_calls, torn_bytes, .. } = recovered;
        let first_segment = position.segment;
        let first = first_records(options, node, &position, &tree, &open_calls, torn_bytes)?;
        let woken = Arc::clone(&shared);
        let supply = Supply::start(Arc::clone(&disk), options.segment_bytes, move || {
            woken.segment_news.store(true, Ordering::SeqCst);
            woken.committer.wake();
        })?;
        let mut writer = Writer::new(Arc::clone(&disk), options.segment_bytes, options.durability, position, supply)?;
        let direct_io = writer.uses_direct_io();
        for items in first.chunks(FIRST_RECORDS_PER_BLOCK) {
            writer.make_way(items.iter().map(|item| item.entries.len()).sum())?;
            writer.append(items)?;
            for item in items {
                tree.push(item.leaf_hash, |id, hashes| {
                    if let Err(error) = derived::write_tile(&layout.tiles(), id, hashes) {
                        shared.remember(&error);
                    }
                });
            }
        }
        shared.durable.store(tree.size(), Ordering::Release);
        shared.room.store(writer.room().0, Ordering::Relaxed);
        let verifier_key = key.verifier.to_string();
        let (sender, receiver) = sync_channel(DERIVED_BACKLOG_BLOCKS);
        let mut derived = Derived {
            shared: Arc::clone(&shared),
            layout: layout.clone(),
            disk,
            key,
            tree,
            unsynced_from: first_segment,
        };
        // So that there is a signature from the first moment on, and a start that cannot sign fails.
        derived.sign(writer.segment())?;
        let committer = Committer {
            shared: Arc::clone(&shared),
            writer,
            derived: sender,
            wal: layout.wal(),
            gathered: VecDeque::new(),
            first_lane: 0,
            checked: Instant::now(),
        };
        let producers = (0..options.producers)
            .map(|number| Producer::new(Arc::clone(&shared), number).map(Some))
            .collect::<Result<_, _>>()?;
        let threads = vec![
            spawn("evidence-commit", move || committer.run())?,
            spawn("evidence-derived", move || derived.run(receiver))?,
        ];
        Ok(Self {
            shared,
            layout,
            source: source_of(options),
            verifier_key,
            producers: Mutex::new(producers),
            threads: Mutex::new(threads),
            aborted_at_start: open_calls.len() as u64,
            torn_bytes_at_start: torn_bytes,
            direct_io,
            _lock: lock,
        })
    }

    /// The producer with this number; each can be taken once.
    #[must_use]
    pub fn producer(&self, number: usize) -> Option<Producer> {
        let mut producers = self.producers.lock().unwrap_or_else(PoisonError::into_inner);
        producers.get_mut(number)?.take()
    }

    /// Whether records can be written. Cheaper than [`Self::status`].
    #[must_use]
    pub fn is_healthy(&self) -> bool {
        self.shared.poisoned().is_none()
    }

    /// How the log is. Cheap.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            durable: self.shared.durable.load(Ordering::Acquire),
            tree_size: self.shared.signed.load(Ordering::Relaxed),
            healthy: self.shared.poisoned().is_none(),
            last_error: self.shared.last_error(),
            aborted_at_start: self.aborted_at_start,
            torn_bytes_at_start: self.torn_bytes_at_start,
            lost: self.shared.lost_total.load(Ordering::Relaxed),
            direct_io: self.direct_io,
        }
    }

    /// An HMAC-SHA-256 under a key derived from the keystore's master key, for what must be recognised again without being
    /// guessable: bindings of approvals, pseudonyms. `purpose` separates uses; parts are length-prefixed.
    #[must_use]
    pub fn mac(&self, purpose: &str, parts: &[&[u8]]) -> [u8; 32] {
        self.shared.keystore.mac(purpose, parts)
    }

    /// The keyed digest by which a masked value is found again by whoever knows it (DECISIONS 26). Case, spaces and punctuation do
    /// not matter.
    #[must_use]
    pub fn value_digest(&self, value: &str) -> ValueDigest {
        short(&self.mac(VALUE_PURPOSE, &[plain_value(value).as_bytes()]))
    }

    /// Where readers find it.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// The keys of the people whose records are here.
    pub(crate) fn keystore(&self) -> &Keystore {
        &self.shared.keystore
    }

    /// Where the log lies.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.layout.log
    }

    /// The log's verifier key, in C2SP form: `name+hash+key`.
    #[must_use]
    pub fn verifier_key(&self) -> &str {
        &self.verifier_key
    }

    /// Writes everything queued, signs a last checkpoint, stops the threads. Later calls of producers fail. Idempotent;
    /// dropping does the same.
    ///
    /// # Errors
    /// The error that kept the end from being written.
    pub fn close(&self) -> Result<(), EvidenceError> {
        self.shared.closing.store(true, Ordering::SeqCst);
        self.shared.committer.wake();
        // In order: the derived work ends when the committer has.
        for thread in self.threads.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            let _ = thread.join();
        }
        match self.shared.poisoned() {
            Some(reason) => Err(EvidenceError::Poisoned(reason.to_owned())),
            None if self.shared.signed.load(Ordering::Relaxed) < self.shared.durable.load(Ordering::Relaxed) => {
                let why = self.shared.last_error().unwrap_or_else(|| "the last checkpoint is missing".to_owned());
                Err(EvidenceError::Poisoned(why))
            }
            None => Ok(()),
        }
    }
}

impl Drop for Evidence {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "the evidence was not closed well");
        }
    }
}

fn source_of(options: &Options) -> Source {
    Source {
        origin: Some(options.origin.clone()),
        keystore: Some(options.keystore.clone()),
        log_key: Some(options.log_key.clone()),
        ..Source::new(&options.dir)
    }
}

/// What the digests of masked values are made for.
pub(crate) const VALUE_PURPOSE: &str = "masked value";

/// A value as its digest sees it.
pub(crate) fn plain_value(value: &str) -> String {
    value.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

pub(crate) fn short(digest: &[u8; 32]) -> ValueDigest {
    digest.first_chunk().copied().unwrap_or_default()
}

/// ABORTED for every call that the last run left open, then `boot`.
fn first_records(
    options: &Options,
    node: u16,
    position: &Position,
    tree: &Tree,
    open_calls: &[(RecordId, Tallies)],
    torn_bytes: u64,
) -> Result<Vec<Item>, EvidenceError> {
    let ids = IdMaker::new(node, u8::MAX);
    let durability = match options.durability {
        Durability::Strict => "strict",
        Durability::Crash => "crash",
        Durability::Observe => "observe",
    };
    let mut items = Vec::with_capacity(open_calls.len() + 1);
    for (call, tallies) in open_calls {
        items.push(encode::abort(ids.next(), *call, tallies, "restart")?);
    }
    let (size, root) = (tree.size(), tree.root());
    items.push(encode::boot(ids.next(), position.epoch, size, root, torn_bytes, durability, &options.boot_digests)?);
    Ok(items)
}

fn check(options: &Options, layout: &Layout) -> Result<(), EvidenceError> {
    let setting = |what, why: &str| Err(EvidenceError::Setting { what, why: why.to_owned() });
    if !(1..=MAX_PRODUCERS).contains(&options.producers) {
        return setting("evidence producers", "between 1 and 254 are possible");
    }
    if !(MIN_QUEUE_SLOTS..=MAX_QUEUE_SLOTS).contains(&options.queue_slots) {
        return setting("evidence queue", "between 4 and 1048576 slots are possible");
    }
    if options.segment_bytes < MIN_SEGMENT_BYTES || !options.segment_bytes.is_multiple_of(BLOCK_ALIGN as u64) {
        return setting("evidence segment size", "it must be a multiple of 4096 and at least 1 MiB");
    }
    let evidence = layout.log.parent().unwrap_or(&layout.log);
    for (what, path) in [("log key", &options.log_key), ("keystore", &options.keystore)] {
        if path.starts_with(evidence) {
            return setting(what, "it must not lie inside evidence/: whoever copies the evidence would have the key");
        }
    }
    Ok(())
}

/// There is one writer. A reader that looks whether there is one holds the lock for a moment, hence the second tries.
pub(crate) fn lock(path: &Path) -> Result<File, EvidenceError> {
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)
        .map_err(|e| EvidenceError::io("open", path, &e))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK_PAUSE),
            Err(TryLockError::Error(error)) => return Err(EvidenceError::io("lock", path, &error)),
        }
    }
    Err(EvidenceError::Locked { path: path.to_owned() })
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, EvidenceError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(body)
        .map_err(|e| EvidenceError::io("start a thread for", Path::new(name), &e))
}
