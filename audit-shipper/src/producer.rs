//! The writing end: one per core, never shared.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::blob::RecordKey;
use crate::chunk;
use crate::commit::{Commit, CommitCell, Committed};
use crate::encode::{self, Item, Tallies};
use crate::error::{EvidenceError, Unavailable};
use crate::evidence::Durability;
use crate::id::RecordId;
use crate::keystore::{Scope, SubjectKey};
use crate::model::{Caller, Intent, Keep, Moment, Note, Outcome, PayloadChunk, Refusal, Role};
use crate::shared::{Lane, Shared};

/// Queue slots of a permit: intent and outcome.
const SLOTS_PER_CALL: usize = 2;
/// Disk space kept for each promised slot, in bytes.
const BYTES_PER_SLOT: u64 = 4 << 10;
/// Disk space below which nothing is admitted, in bytes, on top of what was promised.
const RESERVE_BYTES: u64 = 256 << 10;
/// A write that takes longer than this stops admission, in µs.
const STALLED_US: u64 = 5_000_000;
/// Most subject keys a producer remembers.
const MAX_REMEMBERED_KEYS: usize = 10_000;

/// A record that is on its way.
#[derive(Debug)]
pub struct Receipt {
    /// Its id.
    pub id: RecordId,
    /// When it is durable.
    pub commit: Commit,
}

impl Receipt {
    fn failed(id: RecordId, error: EvidenceError) -> Self {
        Self { id, commit: CommitCell::ready(Err(error)) }
    }
}

/// The right to write one call: queue slots and disk space for INTENT and OUTCOME are kept for it, so that an admitted
/// call can always be closed. Dropping it before the intent gives the slots back; dropping it after the intent and
/// without an outcome (a panic, a cancelled task) writes ABORTED.
pub struct Permit {
    shared: Arc<Shared>,
    lane: usize,
    id: RecordId,
    /// Promised slots that are not used yet. None are held by a permit that `observe` mode gave while the queue was full.
    slots: usize,
    /// Whether the call is left out of the log (`observe` mode, queue full).
    unrecorded: bool,
    scope: Option<Scope>,
    intent_written: bool,
    tallies: Tallies,
}

impl Permit {
    /// The id of the call, which will be the id of its intent. Good as `x-sallyport-request-id`.
    #[must_use]
    pub fn id(&self) -> RecordId {
        self.id
    }

    /// Queues a record into a promised slot.
    fn push_reserved(&mut self, item: Item) -> Result<(), EvidenceError> {
        let Some(lane) = self.shared.lanes.get(self.lane) else {
            return Err(EvidenceError::Closed);
        };
        let result = self.shared.push(lane, item);
        // Only now is the promise given back: until the record is in the queue, the slot must not go to another.
        let used = self.slots.min(1);
        self.slots -= used;
        release(&self.shared, lane, used);
        result
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.intent_written && self.slots > 0 {
            // Without this, a task that panics or is cancelled would leave the call open until the next start.
            let abort = self.shared.lanes.get(self.lane).map(|lane| lane.ids.next());
            let abort = abort.map(|id| encode::abort(id, self.id, &self.tallies, "dropped"));
            if let Some(Ok(item)) = abort
                && self.shared.poisoned().is_none()
            {
                let _ = self.push_reserved(item);
            }
        }
        if let Some(lane) = self.shared.lanes.get(self.lane) {
            release(&self.shared, lane, self.slots);
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Permit({})", self.id)
    }
}

fn release(shared: &Shared, lane: &Lane, slots: usize) {
    lane.reserved.fetch_sub(slots, Ordering::AcqRel);
    shared.promised.fetch_sub(slots as u64, Ordering::AcqRel);
}

/// Writes records: encodes, compresses and encrypts on the calling thread, then queues without blocking.
/// `Send`, not `Clone`: one per core.
pub struct Producer {
    shared: Arc<Shared>,
    lane: usize,
    keys: HashMap<Scope, Arc<SubjectKey>>,
    /// The keystore's generation when `keys` were taken from it.
    generation: u64,
    compressor: zstd::bulk::Compressor<'static>,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Producer({})", self.lane)
    }
}

impl Producer {
    pub(crate) fn new(shared: Arc<Shared>, lane: usize) -> Result<Self, EvidenceError> {
        let compressor = zstd::bulk::Compressor::new(chunk::COMPRESSION_LEVEL)
            .map_err(|error| EvidenceError::Malformed(format!("no compressor: {error}")))?;
        Ok(Self { shared, lane, keys: HashMap::new(), generation: 0, compressor })
    }

    /// Asks for the right to write one call.
    ///
    /// # Errors
    /// [`Unavailable`] if the queue is full of promises, the disk is, or the log is unhealthy. In `observe` mode a full
    /// queue or disk is no reason, and with [`crate::OnFailure::Continue`] nothing is: the call then goes unrecorded and is
    /// counted in a `gap` record.
    pub fn admit(&mut self) -> Result<Permit, Unavailable> {
        let unavailable = |reason: String, retry_after_s| Err(Unavailable { reason, retry_after_s });
        match self.shared.refusal() {
            Some(EvidenceError::Closed) => {
                return unavailable("the gateway is shutting down".to_owned(), 1);
            }
            Some(_) if self.shared.goes_on() => return Ok(self.permit(0)),
            Some(error) => return unavailable(error.to_string(), 30),
            None => {}
        }
        let full = if self.is_stalled() {
            Some(("the disk that holds the evidence does not answer", 5))
        } else if self.free_room() < SLOTS_PER_CALL as u64 * BYTES_PER_SLOT {
            Some(if self.shared.segment_failed.load(Ordering::Relaxed) {
                ("the disk that holds the evidence is full or cannot be written", 30)
            } else {
                ("room for more evidence is being made", 1)
            })
        } else if self.free_slots() < SLOTS_PER_CALL {
            Some(("the evidence queue is full", 1))
        } else {
            None
        };
        match full {
            Some((reason, retry_after_s)) if !self.shared.may_lose() => unavailable(reason.to_owned(), retry_after_s),
            Some(_) => Ok(self.permit(0)),
            None => Ok(self.permit(SLOTS_PER_CALL)),
        }
    }

    /// As [`Self::admit`], for a call that was given its id before ([`Self::new_id`]).
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn admit_as(&mut self, id: RecordId) -> Result<Permit, Unavailable> {
        let mut permit = self.admit()?;
        permit.id = id;
        Ok(permit)
    }

    /// An id for a refusal or anything else that has to be named before it is written.
    #[must_use]
    pub fn new_id(&self) -> RecordId {
        self.shared.lanes.get(self.lane).map_or(RecordId(0), |lane| lane.ids.next())
    }

    /// Writes INTENT under the permit's id. Forward only after its commit is good. A second intent under one permit fails.
    pub fn intent(&mut self, permit: &mut Permit, intent: &Intent) -> Receipt {
        let id = permit.id;
        if permit.intent_written {
            return Receipt::failed(id, EvidenceError::Malformed("a call has one intent".to_owned()));
        }
        let scope = scope_of(&intent.caller, intent.at, intent.keep);
        permit.scope = Some(scope.clone());
        if permit.unrecorded {
            return self.unrecorded(permit);
        }
        let key = self.record_key(id, &scope);
        let receipt = self.write(permit, id, encode::intent(&key, id, intent));
        permit.intent_written = !matches!(receipt.commit.peek(), Some(Err(_)));
        receipt
    }

    /// Writes OUTCOME, which ends the call. References to the payload written under the permit are added.
    pub fn outcome(&mut self, mut permit: Permit, outcome: &Outcome) -> Receipt {
        if permit.unrecorded {
            return self.unrecorded(&permit);
        }
        let id = self.new_id();
        if !permit.intent_written {
            let error = EvidenceError::Malformed("a call without intent has no outcome".to_owned());
            return Receipt::failed(id, error);
        }
        let scope = permit.scope.clone().unwrap_or_else(|| scope_of(&Caller::default(), outcome.at, Keep::default()));
        let key = self.record_key(id, &scope);
        let encoded = encode::outcome(&key, id, permit.id, outcome, &permit.tallies);
        self.write(&mut permit, id, encoded)
    }

    /// Writes a piece of payload of a call, after its intent (which tells whose key it is encrypted under). The producer
    /// keeps count, so that OUTCOME references what was written.
    ///
    /// # Errors
    /// [`EvidenceError::QueueFull`]: wait and offer the same chunk again (nothing was kept of it);
    /// [`EvidenceError::TooLarge`] above [`crate::MAX_CHUNK_BYTES`] of text or 16,384 frames;
    /// [`EvidenceError::Poisoned`] and [`EvidenceError::Closed`]. In `observe` mode a full queue drops the chunk and counts it.
    pub fn payload(&mut self, permit: &mut Permit, chunk: &PayloadChunk) -> Result<Receipt, EvidenceError> {
        if permit.unrecorded {
            return Ok(self.unrecorded(permit));
        }
        let Some(scope) = permit.scope.clone().filter(|_| permit.intent_written) else {
            return Err(EvidenceError::Malformed("payload is written after the intent".to_owned()));
        };
        let tally = match chunk.role {
            Role::Response => &mut permit.tallies.response,
            Role::Request => &mut permit.tallies.request,
            Role::Attachment | Role::Sealed => &mut permit.tallies.beside,
        };
        let written = self.write_chunk(permit.id, &scope, tally.chunks(), chunk)?;
        if let Some((bytes, digest)) = written.tallied {
            tally.add(bytes, &digest);
        }
        Ok(written.receipt)
    }

    /// Writes a refusal. If it could not be queued, the commit is an error at once. `id` names it; see [`Self::new_id`].
    ///
    /// The caller must be empty unless the token was verified: its subject chooses a key that is kept.
    pub fn refusal(&mut self, id: RecordId, refusal: &Refusal) -> Receipt {
        let key = self.record_key(id, &scope_of(&refusal.caller, refusal.at, refusal.keep));
        self.write_unreserved(id, encode::refusal(&key, id, refusal))
    }

    /// Writes a note. If it could not be queued, the commit is an error at once.
    pub fn note(&mut self, note: &Note) -> Receipt {
        let id = self.new_id();
        let key = self.record_key(id, &scope_of(&note.actor, note.at, note.keep));
        self.write_unreserved(id, encode::note(&key, id, note))
    }

    /// Writes material that belongs to a note, as payload with the role Attachment. `ordinal` counts its chunks from 0.
    ///
    /// # Errors
    /// As [`Self::payload`].
    pub fn attach(&mut self, note: RecordId, ordinal: u64, chunk: &PayloadChunk) -> Result<Receipt, EvidenceError> {
        let scope = scope_of(&Caller::default(), Moment::now(), Keep::default());
        let chunk = PayloadChunk { role: Role::Attachment, ..chunk.clone() };
        Ok(self.write_chunk(note, &scope, ordinal, &chunk)?.receipt)
    }

    fn write_chunk(
        &mut self,
        call: RecordId,
        scope: &Scope,
        ordinal: u64,
        chunk: &PayloadChunk,
    ) -> Result<Written, EvidenceError> {
        let text: usize = chunk.frames.iter().map(|frame| frame.bytes.len()).sum();
        for (what, actual, limit) in [
            ("a payload chunk", text, crate::MAX_CHUNK_BYTES),
            ("a payload chunk's list of frames", chunk.frames.len(), chunk::MAX_EVENTS),
        ] {
            if actual > limit {
                return Err(EvidenceError::TooLarge { what, actual, limit });
            }
        }
        let id = self.new_id();
        if let Some(error) = self.shared.refusal() {
            let lane = self.shared.lanes.get(self.lane);
            let commit = CommitCell::ready(Ok(self.shared.not_written(lane, error)?));
            return Ok(Written { receipt: Receipt { id, commit }, tallied: None });
        }
        if self.free_slots() == 0 || self.free_room() < 2 * text as u64 + BYTES_PER_SLOT {
            if self.shared.durability == Durability::Observe {
                self.count_lost(1);
                return Ok(Written { receipt: acknowledged(id), tallied: None });
            }
            return Err(EvidenceError::QueueFull);
        }
        let compressed = self
            .compressor
            .compress(&chunk::pack(chunk))
            .map_err(|error| EvidenceError::Malformed(format!("compression failed: {error}")))?;
        let key = self.record_key(id, scope);
        let (item, bytes, digest) = encode::payload(&key, id, call, ordinal, chunk, &compressed)?;
        let (item, commit) = self.with_commit(item);
        let lane = self.shared.lanes.get(self.lane).ok_or(EvidenceError::Closed)?;
        self.shared.push(lane, item)?;
        Ok(Written { receipt: Receipt { id, commit }, tallied: Some((bytes, digest)) })
    }

    /// Writes a record of a call into one of its promised slots.
    fn write(&self, permit: &mut Permit, id: RecordId, encoded: Result<Item, EvidenceError>) -> Receipt {
        let item = match self.shared.poisoned() {
            Some(reason) => Err(EvidenceError::Poisoned(reason.to_owned())),
            None => encoded,
        };
        match item {
            Err(error) => self.not_written(id, error),
            Ok(item) => {
                let (item, commit) = self.with_commit(item);
                match permit.push_reserved(item) {
                    Ok(()) => Receipt { id, commit },
                    Err(error) => self.not_written(id, error),
                }
            }
        }
    }

    fn not_written(&self, id: RecordId, error: EvidenceError) -> Receipt {
        let lane = self.shared.lanes.get(self.lane);
        Receipt { id, commit: CommitCell::ready(self.shared.not_written(lane, error)) }
    }

    fn write_unreserved(&mut self, id: RecordId, encoded: Result<Item, EvidenceError>) -> Receipt {
        if let Some(error) = self.shared.refusal() {
            return self.not_written(id, error);
        }
        let item = match encoded {
            Ok(item) => item,
            Err(error) => return Receipt::failed(id, error),
        };
        let Some(lane) = self.shared.lanes.get(self.lane) else {
            return Receipt::failed(id, EvidenceError::Closed);
        };
        if self.free_slots() == 0 || self.free_room() < item.entries.len() as u64 {
            if self.shared.durability == Durability::Observe {
                self.count_lost(1);
                return acknowledged(id);
            }
            return self.not_written(id, EvidenceError::QueueFull);
        }
        let (item, commit) = self.with_commit(item);
        match self.shared.push(lane, item) {
            Ok(()) => Receipt { id, commit },
            Err(error) => self.not_written(id, error),
        }
    }

    fn with_commit(&self, mut item: Item) -> (Item, Commit) {
        if self.shared.durability == Durability::Observe {
            return (item, CommitCell::ready(Ok(Committed { index: None })));
        }
        let (cell, commit) = CommitCell::pair();
        item.cell = Some(cell);
        (item, commit)
    }

    fn permit(&self, slots: usize) -> Permit {
        if let Some(lane) = self.shared.lanes.get(self.lane) {
            lane.reserved.fetch_add(slots, Ordering::AcqRel);
            self.shared.promised.fetch_add(slots as u64, Ordering::AcqRel);
        }
        Permit {
            shared: Arc::clone(&self.shared),
            lane: self.lane,
            id: self.new_id(),
            slots,
            unrecorded: slots == 0,
            scope: None,
            intent_written: false,
            tallies: Tallies::default(),
        }
    }

    fn unrecorded(&self, permit: &Permit) -> Receipt {
        self.count_lost(1);
        acknowledged(permit.id)
    }

    fn count_lost(&self, records: u64) {
        if let Some(lane) = self.shared.lanes.get(self.lane) {
            lane.lost.fetch_add(records, Ordering::Relaxed);
            self.shared.lost_total.fetch_add(records, Ordering::Relaxed);
            self.shared.committer.wake();
        }
    }

    /// Slots that are neither filled nor promised. Only this producer and its permits take slots, so this is a lower bound.
    fn free_slots(&self) -> usize {
        self.shared.lanes.get(self.lane).map_or(0, |lane| {
            let reserved = lane.reserved.load(Ordering::Acquire);
            lane.queue.capacity().saturating_sub(lane.queue.len()).saturating_sub(reserved)
        })
    }

    /// Bytes of disk that nobody was promised.
    fn free_room(&self) -> u64 {
        let promised = self.shared.promised.load(Ordering::Relaxed).saturating_mul(BYTES_PER_SLOT);
        self.shared.room.load(Ordering::Relaxed).saturating_sub(RESERVE_BYTES).saturating_sub(promised)
    }

    fn is_stalled(&self) -> bool {
        let began = self.shared.write_began_us.load(Ordering::Relaxed);
        began != 0 && Moment::now().mono_us.saturating_sub(began) > STALLED_US
    }

    fn record_key(&mut self, id: RecordId, scope: &Scope) -> RecordKey {
        let generation = self.shared.keystore.generation();
        if generation != self.generation {
            // Somebody was erased: what comes now gets a new key.
            self.keys.clear();
            self.generation = generation;
        }
        if let Some(key) = self.keys.get(scope) {
            return RecordKey::new(id, Arc::clone(key));
        }
        if self.keys.len() >= MAX_REMEMBERED_KEYS {
            self.keys.clear();
        }
        let key = self.shared.keystore.key_for(scope);
        self.keys.insert(scope.clone(), Arc::clone(&key));
        RecordKey::new(id, key)
    }
}

struct Written {
    receipt: Receipt,
    /// Bytes of text and digest of the blob; none if `observe` mode dropped the chunk.
    tallied: Option<(u64, [u8; 32])>,
}

fn acknowledged(id: RecordId) -> Receipt {
    Receipt { id, commit: CommitCell::ready(Ok(Committed { index: None })) }
}

fn scope_of(caller: &Caller, at: Moment, keep: Keep) -> Scope {
    Scope::new(&caller.tenant, &caller.subject, at.unix_us, keep)
}
