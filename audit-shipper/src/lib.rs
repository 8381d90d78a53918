//! Sallyport's evidence: every call is written down before it goes in and again before its last byte comes out.
//!
//! ```text
//! Producer (one per core) ── encode, compress, encrypt ──→ queue ──→ committer ──→ wal/NNNN.seg ──→ Commit resolves
//!                                                                        └──→ derived work: tiles/, checkpoint
//! ```
//!
//! * [`Evidence::open`] recovers a log and starts its threads; [`Evidence::producer`] hands out the writing ends.
//! * [`Producer::admit`] → [`Producer::intent`] → (forward) → [`Producer::payload`]… → [`Producer::outcome`] is the way of a
//!   call; [`Producer::refusal`] and [`Producer::note`] write what is no forwarded call. Each gives a [`Commit`] to wait on.
//! * [`read`] searches, shows and verifies, also beside a running gateway.
//!
//! The formats are described in `docs/evidence/record.md`. This crate knows nothing of policies, sockets or runtimes:
//! names of rules and operations come in as strings.

#![deny(unsafe_code)]

mod blob;
mod checkpoint;
mod chunk;
mod commit;
mod committer;
mod crypto;
mod derived;
mod encode;
mod erasure;
mod error;
mod evidence;
mod id;
mod keystore;
mod layout;
mod leaf;
mod merkle;
mod model;
mod producer;
pub mod read;
mod recovery;
mod rotation;
mod seal;
mod shared;
#[cfg(test)]
mod tests;
mod wal;

pub use commit::{Commit, Committed};
pub use erasure::{Erasure, ErasurePlan};
pub use error::{EvidenceError, Unavailable};
pub use evidence::{Durability, Evidence, OnFailure, Options, Status};
pub use id::RecordId;
pub use model::{
    Caller, CallerKind, Coverage, Decision, Declared, Detail, EndedBy, Frame, Intent, Keep, MaskHit, Moment, Note,
    NoteKind, Outcome, PayloadChunk, PolicyRef, Refusal, RequestBody, RequestInfo, Role, Said, Usage, ValueDigest,
};
pub use producer::{Permit, Producer, Receipt};
pub use rotation::{Rotation, rotate_key, verifier_keys};
pub use seal::{Original, Sealer, Sealing, Unsealer};

/// Most text that one [`PayloadChunk`] may hold, in bytes.
pub const MAX_CHUNK_BYTES: usize = 64 << 10;
