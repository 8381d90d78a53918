//! The right of one call to pass, from the moment it has it to the moment its INTENT is durable.

use super::ask::{Ask, CallKey};
use super::desk::State;
use audit_shipper::RecordId;
use std::cell::Cell;
use std::sync::{Arc, Mutex, PoisonError};

/// The approval that a call passed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApprovalRef {
    /// The request.
    pub id: String,
    /// The same, as evidence cites it.
    pub record: Option<RecordId>,
    /// Subjects of those who approved.
    pub approvers: Vec<String>,
}

/// A claimed approval. Dropped before [`Pass::writing`], it is given back and another identical call may have it; dropped
/// after, it is used up, since the INTENT that cites it may be durable.
#[derive(Debug)]
pub struct Pass {
    approval: ApprovalRef,
    key: CallKey,
    state: Arc<Mutex<State>>,
    next: Cell<Next>,
    call: Cell<Option<RecordId>>,
}

/// What becomes of the approval when the pass is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GiveBack,
    UseUp,
    Nothing,
}

impl Pass {
    pub(super) fn new(approval: ApprovalRef, key: CallKey, state: &Arc<Mutex<State>>) -> Self {
        Self { approval, key, state: Arc::clone(state), next: Cell::new(Next::GiveBack), call: Cell::new(None) }
    }

    /// What the INTENT cites.
    #[must_use]
    pub fn approval(&self) -> &ApprovalRef {
        &self.approval
    }

    /// Whether it is for this very call under these requirements.
    #[must_use]
    pub fn fits(&self, ask: &Ask) -> bool {
        self.key == ask.key()
    }

    /// The INTENT of this call, which cites the approval, is on its way to the disk.
    pub fn writing(&self, call: RecordId) {
        self.call.set(Some(call));
        self.next.set(Next::UseUp);
    }

    /// The INTENT is durable: the approval is used up.
    pub fn used(&self) {
        self.settle();
    }

    /// The INTENT could not be written, so the approval was not used.
    pub fn unused(&self) {
        if self.next.get() == Next::UseUp {
            self.next.set(Next::GiveBack);
        }
        self.settle();
    }

    fn settle(&self) {
        let next = self.next.replace(Next::Nothing);
        if next == Next::Nothing {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.settle(&self.approval.id, self.call.get().filter(|_| next == Next::UseUp));
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.settle();
    }
}
