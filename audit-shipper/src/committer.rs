//! The committer: drains all queues, writes one block, acknowledges all of it. No timer: while one write is under way,
//! the next block gathers (natural group commit).

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use crate::commit::Committed;
use crate::crypto::Digest32;
use crate::encode::{self, Item};
use crate::error::EvidenceError;
use crate::evidence::Durability;
use crate::model::Moment;
use crate::shared::{Lane, Shared};
use crate::wal::writer::Writer;

/// How long the committer sleeps at most before it looks around by itself.
const LONGEST_SLEEP: Duration = Duration::from_secs(1);
/// Pause before a segment is asked for again that could not be made.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How long records gather in `observe` mode, where nobody waits for them, in steps: each block costs a system call, a piece of
/// the disk of its own, work that is derived from it, and a wake-up of this thread.
const GATHERING_STEP: Duration = Duration::from_millis(1);
const GATHERING_STEPS: usize = 5;
/// A queue that is full to one part in so many is not left to gather.
const FULL_PART: usize = 4;

/// How often it is checked that the file written to is still the file that a start would find.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// Leaves that were just written, for the derived work.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) segment: u32,
    pub(crate) hashes: Vec<Digest32>,
}

pub(crate) struct Committer {
    pub(crate) shared: Arc<Shared>,
    pub(crate) writer: Writer,
    pub(crate) derived: SyncSender<Written>,
    pub(crate) wal: PathBuf,
    /// Drained, but not written yet.
    pub(crate) gathered: VecDeque<Item>,
    /// The lane that is drained first; it moves on, so that none is preferred.
    pub(crate) first_lane: usize,
    /// When the file was last looked at.
    pub(crate) checked: Instant,
}

impl Committer {
    /// Runs until the evidence is closed and everything queued is written.
    pub(crate) fn run(mut self) {
        let _last = FailWhatIsLeft(Arc::clone(&self.shared));
        self.shared.committer.adopt_current_thread();
        loop {
            self.update_room();
            self.check_file();
            self.gather();
            if self.gathered.is_empty() {
                if self.shared.closing.load(Ordering::SeqCst) {
                    return;
                }
                let shared = &self.shared;
                shared.committer.park_unless(|| shared.has_work(), LONGEST_SLEEP);
                continue;
            }
            let block = self.next_block();
            if self.shared.poisoned().is_some() {
                self.fail(block);
                continue;
            }
            match self.write(&block) {
                Ok(first_index) => {
                    self.acknowledge(block, first_index);
                    self.let_gather();
                }
                Err(error) => {
                    self.shared.poison(&error);
                    self.fail(block);
                }
            }
        }
    }

    /// Leaves the queues alone for a moment where nobody waits for a record, unless they fill up.
    fn let_gather(&self) {
        let is_full = |lane: &Lane| lane.queue.len() >= lane.queue.capacity() / FULL_PART;
        for _ in 0..GATHERING_STEPS {
            let waits = self.shared.durability != Durability::Observe || self.shared.closing.load(Ordering::SeqCst);
            if waits || !self.gathered.is_empty() || self.shared.lanes.iter().any(is_full) {
                return;
            }
            std::thread::sleep(GATHERING_STEP);
        }
    }

    /// Takes what the queues hold, up to about a block.
    fn gather(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut bytes: usize = self.gathered.iter().map(|item| item.entries.len()).sum();
        let lanes = shared.lanes.len().max(1);
        self.first_lane = (self.first_lane + 1) % lanes;
        let (before, from) = shared.lanes.split_at(self.first_lane.min(shared.lanes.len()));
        for lane in from.iter().chain(before) {
            let lost = lane.lost.swap(0, Ordering::Relaxed);
            if lost > 0
                && let Ok(gap) =
                    encode::gap(lane.ids.next(), lost, if self.shared.goes_on() { "unavailable" } else { "queue_full" })
            {
                bytes += gap.entries.len();
                self.gathered.push_back(gap);
            }
            while bytes < self.writer.payload_limit() {
                let Some(item) = lane.queue.pop() else { break };
                bytes += item.entries.len();
                self.gathered.push_back(item);
            }
        }
    }

    /// As many of the gathered records as fit into one block.
    fn next_block(&mut self) -> Vec<Item> {
        let mut bytes = 0;
        let mut count = 0;
        for item in &self.gathered {
            bytes += item.entries.len();
            if count > 0 && bytes > self.writer.payload_limit() {
                break;
            }
            count += 1;
        }
        self.gathered.drain(..count).collect()
    }

    fn write(&mut self, block: &[Item]) -> Result<u64, EvidenceError> {
        let durability = self.shared.durability;
        self.shared.write_began_us.store(Moment::now().mono_us.max(1), Ordering::Relaxed);
        self.shared.keystore.persist_pending(durability == Durability::Strict)?;
        self.make_way(block.iter().map(|item| item.entries.len()).sum())?;
        let appended = self.writer.append(block)?;
        self.shared.write_began_us.store(0, Ordering::Relaxed);
        if let Some(survived) = self.writer.take_abandoned() {
            self.shared.remember(&survived);
        }
        let hashes = block.iter().map(|item| item.leaf_hash).collect();
        if self.derived.try_send(Written { segment: appended.segment, hashes }).is_err() {
            self.shared.remember(&EvidenceError::Poisoned(
                "tiles and checkpoints are behind and were stopped; the next start makes them good".to_owned(),
            ));
        }
        Ok(appended.first_index)
    }

    /// Waits for room as long as it takes: what is promised must be written. Admission stops meanwhile, by the clock of the
    /// write that is under way. Only closing ends the waiting.
    fn make_way(&mut self, payload_len: usize) -> Result<(), EvidenceError> {
        loop {
            match self.writer.make_way(payload_len) {
                Ok(()) => return Ok(()),
                Err(error) if self.shared.closing.load(Ordering::SeqCst) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, directory = %self.wal.display(), "no room for evidence; waiting");
                    self.shared.remember(&error);
                    std::thread::sleep(RETRY_PAUSE);
                }
            }
        }
    }

    fn acknowledge(&mut self, block: Vec<Item>, first_index: u64) {
        self.shared.durable.store(first_index + block.len() as u64, Ordering::Release);
        for (index, item) in (first_index..).zip(block) {
            if let Some(cell) = item.cell {
                cell.resolve(Ok(Committed { index: Some(index) }));
            }
        }
    }

    fn fail(&self, block: Vec<Item>) {
        let reason = self.shared.poisoned().unwrap_or("the committer stopped").to_owned();
        for item in block {
            if let Some(cell) = item.cell {
                cell.resolve(self.shared.not_written(None, EvidenceError::Poisoned(reason.clone())));
            }
        }
    }

    /// A file that was deleted, replaced or overwritten behind our back takes acknowledged records with it: nothing more is
    /// acknowledged then.
    fn check_file(&mut self) {
        if self.checked.elapsed() < CHECK_EVERY || self.shared.poisoned().is_some() {
            return;
        }
        self.checked = Instant::now();
        if let Err(error) = self.writer.check_file() {
            self.shared.poison(&error);
        }
    }

    fn update_room(&mut self) {
        let news = self.shared.segment_news.swap(false, Ordering::SeqCst);
        let (room, error) = self.writer.room();
        self.shared.room.store(room, Ordering::Relaxed);
        if news || error.is_some() {
            self.shared.segment_failed.store(error.is_some(), Ordering::Relaxed);
        }
        if let Some(error) = error {
            tracing::warn!(%error, "the next segment could not be made; it will be tried again");
            self.shared.remember(&error);
        }
    }
}

/// However the committer ends, also by a panic: whoever waits is told, and nobody waits after that.
struct FailWhatIsLeft(Arc<Shared>);

impl Drop for FailWhatIsLeft {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.poison(&EvidenceError::Poisoned("the committer panicked".to_owned()));
        }
        self.0.ended.store(true, Ordering::SeqCst);
        for lane in &self.0.lanes {
            self.0.fail_queued(lane);
        }
    }
}
