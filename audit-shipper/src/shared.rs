//! What producers, committer and status share: queues, counters, flags. No lock on the path of a record.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use crossbeam::queue::ArrayQueue;

use crate::commit::{Committed, Parker};
use crate::encode::Item;
use crate::error::EvidenceError;
use crate::evidence::{Durability, OnFailure};
use crate::id::IdMaker;
use crate::keystore::Keystore;

/// One producer's queue.
pub(crate) struct Lane {
    pub(crate) queue: ArrayQueue<Item>,
    /// Slots promised to admitted calls.
    pub(crate) reserved: AtomicUsize,
    /// Records that `observe` mode dropped and no `gap` record counts yet.
    pub(crate) lost: AtomicU64,
    pub(crate) ids: IdMaker,
}

pub(crate) struct Shared {
    pub(crate) lanes: Vec<Lane>,
    pub(crate) durability: Durability,
    on_failure: OnFailure,
    pub(crate) keystore: Keystore,
    pub(crate) committer: Parker,
    /// Set when closing begins: nothing new is taken.
    pub(crate) closing: AtomicBool,
    /// Set when the committer has ended: what is still queued will not be written.
    pub(crate) ended: AtomicBool,
    poison: OnceLock<String>,
    last_error: Mutex<Option<String>>,
    /// Leaves acknowledged.
    pub(crate) durable: AtomicU64,
    /// Size of the newest signed tree.
    pub(crate) signed: AtomicU64,
    pub(crate) lost_total: AtomicU64,
    /// Bytes left in the segments that are ready.
    pub(crate) room: AtomicU64,
    /// Set when a segment was made or could not be made, until the committer has looked.
    pub(crate) segment_news: AtomicBool,
    /// Whether the last try to make a segment failed.
    pub(crate) segment_failed: AtomicBool,
    /// Slots promised on all lanes.
    pub(crate) promised: AtomicU64,
    /// When the write now under way began, in µs of the monotonic clock; 0 if there is none.
    pub(crate) write_began_us: AtomicU64,
}

impl Shared {
    pub(crate) fn new(lanes: Vec<Lane>, durability: Durability, on_failure: OnFailure, keystore: Keystore) -> Self {
        Self {
            lanes,
            durability,
            on_failure,
            keystore,
            committer: Parker::new(),
            closing: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            poison: OnceLock::new(),
            last_error: Mutex::new(None),
            durable: AtomicU64::new(0),
            signed: AtomicU64::new(0),
            lost_total: AtomicU64::new(0),
            room: AtomicU64::new(0),
            segment_news: AtomicBool::new(false),
            segment_failed: AtomicBool::new(false),
            promised: AtomicU64::new(0),
            write_began_us: AtomicU64::new(0),
        }
    }

    /// Whether calls pass although their records cannot be written.
    pub(crate) fn may_lose(&self) -> bool {
        self.durability == Durability::Observe || self.goes_on()
    }

    /// Whether calls go on when the log has failed.
    pub(crate) fn goes_on(&self) -> bool {
        self.on_failure == OnFailure::Continue
    }

    /// What becomes of a record that could not be written.
    pub(crate) fn not_written(&self, lane: Option<&Lane>, error: EvidenceError) -> Result<Committed, EvidenceError> {
        if !self.goes_on() || matches!(error, EvidenceError::Closed | EvidenceError::Malformed(_)) {
            return Err(error);
        }
        if let Some(lane) = lane {
            lane.lost.fetch_add(1, Ordering::Relaxed);
        }
        self.lost_total.fetch_add(1, Ordering::Relaxed);
        Ok(Committed { index: None })
    }

    /// Stops acknowledging, for good.
    pub(crate) fn poison(&self, error: &EvidenceError) {
        let _ = self.poison.set(error.to_string());
        self.remember(error);
        tracing::error!(%error, "evidence cannot be written any more; calls are refused from now on");
    }

    pub(crate) fn poisoned(&self) -> Option<&str> {
        self.poison.get().map(String::as_str)
    }

    /// Keeps an error for the status.
    pub(crate) fn remember(&self, error: &EvidenceError) {
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    pub(crate) fn last_error(&self) -> Option<String> {
        self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The error that a record gets now.
    pub(crate) fn refusal(&self) -> Option<EvidenceError> {
        if let Some(reason) = self.poisoned() {
            return Some(EvidenceError::Poisoned(reason.to_owned()));
        }
        self.closing.load(Ordering::Relaxed).then_some(EvidenceError::Closed)
    }

    /// Whether the committer has something to do.
    pub(crate) fn has_work(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
            || self.lanes.iter().any(|lane| !lane.queue.is_empty() || lane.lost.load(Ordering::Relaxed) > 0)
    }

    /// Queues a record. None if it went in; else why not.
    pub(crate) fn push(&self, lane: &Lane, item: Item) -> Result<(), EvidenceError> {
        lane.queue.push(item).map_err(|_| EvidenceError::QueueFull)?;
        self.committer.wake();
        // The committer may have looked for the last time before the record went in.
        if self.ended.load(Ordering::SeqCst) {
            self.fail_queued(lane);
        }
        Ok(())
    }

    /// Tells everything queued that it will not be written.
    pub(crate) fn fail_queued(&self, lane: &Lane) {
        while let Some(item) = lane.queue.pop() {
            if let Some(cell) = item.cell {
                cell.resolve(self.not_written(None, self.refusal().unwrap_or(EvidenceError::Closed)));
            }
        }
    }
}
