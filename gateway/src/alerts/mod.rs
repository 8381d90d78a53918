//! Alerts: what policies raise, and what the gateway itself watches for.
//!
//! Cores push small events of one size into a bounded queue without a lock; what finds no room is counted. The control plane
//! takes them out ([`Watch`]), keeps a history of each caller ([`history`]), and decides what people are told ([`desk`]): the same
//! alert once in a while, and not too many in an hour. All of it is per node and in memory; what came up is in the evidence.

mod desk;
mod history;
mod watch;

pub(crate) use desk::Verdict;
pub(crate) use watch::{Raised, Repeated, Watch};

use crate::identity::Identity;
use crate::metrics::Notices;
use crate::policy_slot::ActivePolicy;
use audit_shipper::RecordId;
use crossbeam::queue::ArrayQueue;
use policy_lang::RuleId;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;

/// Events that wait for the control plane.
pub(crate) const EVENTS_MAX: usize = 8192;
/// Bytes of names in an event; what is longer is cut.
const SUBJECT_BYTES_MAX: usize = 128;
const TENANT_BYTES_MAX: usize = 48;
const MODEL_BYTES_MAX: usize = crate::config::MODEL_PATTERN_BYTES_MAX;

/// Text of at most `N` bytes, in place.
#[derive(Clone, Copy)]
pub(crate) struct Short<const N: usize> {
    bytes: [u8; N],
    length: u8,
    cut: bool,
}

impl<const N: usize> Short<N> {
    pub(crate) fn new(text: &str) -> Self {
        const { assert!(N <= u8::MAX as usize) };
        let kept = text.get(..text.floor_char_boundary(N)).unwrap_or_default();
        let mut bytes = [0; N];
        for (slot, byte) in bytes.iter_mut().zip(kept.bytes()) {
            *slot = byte;
        }
        Self { bytes, length: u8::try_from(kept.len()).unwrap_or_default(), cut: kept.len() < text.len() }
    }

    /// The text, or its beginning.
    pub(crate) fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..usize::from(self.length)).unwrap_or_default();
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// The text, if all of it is here.
    pub(crate) fn whole(&self) -> Option<&str> {
        (!self.cut).then(|| self.as_str())
    }
}

impl<const N: usize> std::fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

/// A caller, as far as alerts need to know.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Who {
    /// The same for the same subject, issuer and tenant; differs between runs.
    pub(crate) key: u64,
    pub(crate) subject: Short<SUBJECT_BYTES_MAX>,
    pub(crate) tenant: Short<TENANT_BYTES_MAX>,
}

/// What a core or the control plane has to say.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A call was judged; only pushed where callers are watched.
    Call {
        who: Who,
        model: Short<MODEL_BYTES_MAX>,
        /// Whether policy refused it.
        denied: bool,
        /// Whether it was told of before, and is judged once more.
        counted: bool,
        trace: Option<[u8; 16]>,
    },
    /// A rule that held raises an alert.
    Policy { policy: Arc<ActivePolicy>, rule: RuleId, effect: u32, who: Who, trace: Option<[u8; 16]> },
    /// A call or an answer was cut or withheld because it could not be masked.
    Unmaskable { call: Option<RecordId> },
    /// Files were not taken.
    NotTaken(Files),
}

/// What is reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Files {
    Policy,
    Config,
}

/// Where events go.
#[derive(Debug)]
pub struct Alerts {
    queue: ArrayQueue<Event>,
    hasher: RandomState,
    notices: Arc<Notices>,
}

impl Alerts {
    /// An empty queue.
    #[must_use]
    pub fn new(notices: Arc<Notices>) -> Self {
        Self { queue: ArrayQueue::new(EVENTS_MAX), hasher: RandomState::new(), notices }
    }

    /// Never waits: an event that finds no room is counted and forgotten.
    pub(crate) fn push(&self, event: Event) {
        if self.queue.push(event).is_err() {
            self.notices.lost();
        }
    }

    pub(crate) fn pop(&self) -> Option<Event> {
        self.queue.pop()
    }

    pub(crate) fn who(&self, identity: &Identity) -> Who {
        Who {
            key: self.hasher.hash_one((&identity.subject, &identity.issuer, &identity.tenant)),
            subject: Short::new(&identity.subject),
            tenant: Short::new(&identity.tenant),
        }
    }
}

#[cfg(test)]
mod tests;
