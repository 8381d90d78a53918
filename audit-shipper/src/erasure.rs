//! Erasing a person's data, letting old months lapse, and legal hold. The record comes first, then the keys go: a start
//! completes what a crash cut off, since records say which keys are to be gone.

use std::collections::HashSet;
use std::time::Duration;

use crate::error::EvidenceError;
use crate::evidence::Evidence;
use crate::keystore::{KeyId, Person, Selection};
use crate::model::{Caller, Detail, Moment, Note, NoteKind};
use crate::producer::Producer;
use crate::read::forget;

/// Keys named in one record: they fit into a leaf.
const KEYS_PER_RECORD: usize = 256;
/// Seconds in a day.
const DAY_S: u64 = 86_400;

/// What is to be erased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// All of a person's records.
    Subject {
        /// The tenant; empty means `default`.
        tenant: String,
        /// The `sub` claim.
        subject: String,
    },
    /// Everybody's records of the months that ended more than so many days ago, but for those on legal hold, and those that a
    /// policy wants kept until later than now.
    OlderThan {
        /// The time that records are kept, in days.
        days: u32,
    },
    /// Everybody's records whose time has come: by the policy that judged them, else after this time (for ever, if there is
    /// none). Those on legal hold stay.
    Lapsed {
        /// For how long records are kept that no policy bounds.
        kept: Option<Duration>,
    },
}

/// An erasure that was examined: first its notes are written, then [`Evidence::carry_out`] destroys the keys.
#[derive(Debug)]
pub struct ErasurePlan {
    /// To be durable before the keys are destroyed.
    pub notes: Vec<Note>,
    keys: HashSet<KeyId>,
}

impl ErasurePlan {
    /// How many keys it destroys: one per person and month.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.keys.len()
    }
}

impl Evidence {
    /// Examines an erasure. `basis` says why it is lawful, and is kept encrypted under the actor's key.
    ///
    /// # Errors
    /// [`EvidenceError::Held`] for a person on legal hold, [`EvidenceError::Malformed`] without a basis.
    pub fn plan_erasure(&self, what: &Erasure, actor: &Caller, basis: &str) -> Result<ErasurePlan, EvidenceError> {
        if basis.trim().is_empty() {
            return Err(EvidenceError::Malformed("an erasure needs a basis: why is it lawful?".to_owned()));
        }
        let now_s = Moment::now().unix_us / 1_000_000;
        let mut details = Vec::new();
        let (selection, action) = match what {
            Erasure::Subject { tenant, subject } => {
                let person = Person::new(tenant, subject);
                if self.keystore().is_held(&person) {
                    return Err(EvidenceError::Held);
                }
                let about = self.mac("erasure", &[person.tenant.as_bytes(), person.subject.as_bytes()]);
                details.push(("subject", Detail::Digest(about)));
                // A basis weighs more than a policy's minimum, but that it did is told (DECISIONS 26).
                let before_their_time = self.keystore().must_be_kept(&person, now_s);
                if before_their_time > 0 {
                    details.push(("before_minimum", Detail::Number(before_their_time)));
                }
                (Selection::Of(person), "erased")
            }
            Erasure::OlderThan { days } => {
                details.push(("days", Detail::Number(u64::from(*days))));
                let ended_s = now_s.saturating_sub(u64::from(*days) * DAY_S);
                (Selection::EndedBefore { ended_s, now_s }, "expired")
            }
            Erasure::Lapsed { kept } => {
                let kept_s = kept.map(|kept| kept.as_secs());
                details.extend(kept_s.map(|kept_s| ("days", Detail::Number(kept_s / DAY_S))));
                (Selection::Lapsed { now_s, kept_s }, "lapsed")
            }
        };
        let ids = self.keystore().select(&selection);
        let note = |keys: &[KeyId]| {
            let mut note = Note::new(NoteKind::Erasure, action);
            note.actor = actor.clone();
            basis.clone_into(&mut note.text);
            note.details = vec![("keys".into(), Detail::Names(keys.iter().map(hex::encode).collect()))];
            note.details.extend(details.iter().map(|(name, detail)| ((*name).into(), detail.clone())));
            note
        };
        Ok(ErasurePlan { notes: ids.chunks(KEYS_PER_RECORD).map(note).collect(), keys: ids.into_iter().collect() })
    }

    /// Destroys the keys of a plan whose notes are durable, and takes what was under them out of the search index; returns how
    /// many keys. Old proofs stay valid, the encrypted parts can never be read again. Blocks.
    ///
    /// # Errors
    /// [`EvidenceError`] if the keystore or the index cannot be written; the next start does it then.
    pub fn carry_out(&self, plan: &ErasurePlan) -> Result<u64, EvidenceError> {
        forget::announce(self.source(), &plan.keys)?;
        let destroyed = self.keystore().destroy(&plan.keys)?;
        forget::forget(self.source(), &plan.keys)?;
        Ok(destroyed)
    }

    /// Plans an erasure, writes it down, carries it out. Blocks. Returns the number of keys destroyed.
    ///
    /// # Errors
    /// As [`Self::plan_erasure`], [`Self::carry_out`] and [`Producer::note`].
    pub fn erase(
        &self,
        producer: &mut Producer,
        what: &Erasure,
        actor: &Caller,
        basis: &str,
    ) -> Result<u64, EvidenceError> {
        let plan = self.plan_erasure(what, actor, basis)?;
        for note in &plan.notes {
            producer.note(note).commit.wait_blocking()?;
        }
        self.carry_out(&plan)
    }

    /// Begins or ends a legal hold on a person's data; returns the note that has to be written about it. While it lasts,
    /// nothing of that person is erased or lapses.
    ///
    /// # Errors
    /// [`EvidenceError`] if the keystore cannot be written.
    pub fn hold(
        &self,
        tenant: &str,
        subject: &str,
        held: bool,
        actor: &Caller,
        basis: &str,
    ) -> Result<Note, EvidenceError> {
        let person = Person::new(tenant, subject);
        self.keystore().set_hold(&person, held)?;
        let about = self.mac("erasure", &[person.tenant.as_bytes(), person.subject.as_bytes()]);
        let mut note = Note::new(NoteKind::Erasure, if held { "hold_began" } else { "hold_ended" });
        note.actor = actor.clone();
        basis.clone_into(&mut note.text);
        note.details = vec![("subject".into(), Detail::Digest(about))];
        Ok(note)
    }
}
