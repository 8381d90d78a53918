//! The writing end: one per core, never shared.

use crate::commit::Commit;
use crate::error::{EvidenceError, Unavailable};
use crate::id::RecordId;
use crate::model::{Intent, Note, Outcome, PayloadChunk, Refusal};

/// A record that is on its way.
#[derive(Debug)]
pub struct Receipt {
    /// Its id.
    pub id: RecordId,
    /// When it is durable.
    pub commit: Commit,
}

/// The right to write one call: queue slots and disk space for INTENT and OUTCOME are kept for it, so that an admitted
/// call can always be closed. Dropping it before the intent gives the slots back; dropping it after the intent and
/// without an outcome (a panic, a cancelled task) writes ABORTED.
#[derive(Debug)]
pub struct Permit;

impl Permit {
    /// The id of the call, which will be the id of its intent. Good as `x-sallyport-request-id`.
    #[must_use]
    pub fn id(&self) -> RecordId {
        todo!()
    }
}

/// Writes records: encodes, compresses and encrypts on the calling thread, then queues without blocking.
/// `Send`, not `Clone`: one per core.
#[derive(Debug)]
pub struct Producer;

impl Producer {
    /// Asks for the right to write one call.
    ///
    /// # Errors
    /// [`Unavailable`] if the queue is full of promises, the disk is, or the log is unhealthy. Not in `observe` mode.
    pub fn admit(&mut self) -> Result<Permit, Unavailable> {
        todo!()
    }

    /// An id for a refusal or anything else that has to be named before it is written.
    #[must_use]
    pub fn new_id(&self) -> RecordId {
        todo!()
    }

    /// Writes INTENT under the permit's id. Forward only after its commit is good. A second intent under one permit fails.
    pub fn intent(&mut self, _permit: &mut Permit, _intent: &Intent) -> Receipt {
        todo!()
    }

    /// Writes OUTCOME, which ends the call. References to the payload written under the permit are added.
    pub fn outcome(&mut self, _permit: Permit, _outcome: &Outcome) -> Receipt {
        todo!()
    }

    /// Writes a piece of payload of a call. The producer keeps count, so that INTENT and OUTCOME reference what was written.
    ///
    /// # Errors
    /// [`EvidenceError::QueueFull`]: wait and offer the same chunk again (nothing was kept of it);
    /// [`EvidenceError::TooLarge`] above [`crate::MAX_CHUNK_BYTES`]; [`EvidenceError::Poisoned`].
    pub fn payload(
        &mut self,
        _permit: &mut Permit,
        _chunk: &PayloadChunk,
    ) -> Result<Receipt, EvidenceError> {
        todo!()
    }

    /// Writes a refusal. If it could not be queued, the commit is an error at once. `id` names it; see [`Self::new_id`].
    pub fn refusal(&mut self, _id: RecordId, _refusal: &Refusal) -> Receipt {
        todo!()
    }

    /// Writes a note. If it could not be queued, the commit is an error at once.
    pub fn note(&mut self, _note: &Note) -> Receipt {
        todo!()
    }

    /// Writes material that belongs to a note, as payload with the role Attachment.
    ///
    /// # Errors
    /// As [`Self::payload`].
    pub fn attach(
        &mut self,
        _note: RecordId,
        _chunk: &PayloadChunk,
    ) -> Result<Receipt, EvidenceError> {
        todo!()
    }
}
