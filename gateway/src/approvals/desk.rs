//! The map of all requests, and how calls pass by it.

use super::ask::CallKey;
use super::request::Request;
use super::{
    ApprovalRef, Ask, Deadline, Kind, Now, Pass, REMEMBERED, REQUESTS_MAX, Stage, WAITING_PER_SUBJECT_MAX, Waiter,
};
use crate::clock::Clock;
use audit_shipper::RecordId;
use aws_lc_rs::hmac;
use std::collections::HashMap;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Whether a call may pass.
#[derive(Debug)]
pub enum Gate {
    /// It may, once: it has the approval in its hands.
    Passed(Pass),
    /// The caller has access.
    Granted(ApprovalRef),
    /// Someone said no, or took the approval or the grant back.
    Refused {
        /// The request.
        id: String,
        /// Who said so.
        by: String,
        /// Why.
        reason: String,
        /// Whether it was taken back after it was approved.
        revoked: bool,
    },
    /// Nobody decided in time.
    Expired {
        /// The request.
        id: String,
    },
    /// It waits.
    Waiting(Waiter),
    /// Another call used the approval up: it has to be asked for anew.
    Again,
    /// Too many wait already (for this caller, or on this node).
    TooMany,
    /// The question could not be written down, so it was not asked.
    Unrecorded,
}

/// What happened, for the evidence. Sent in the order in which it happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A call asks; nobody sees it before [`Approvals::recorded`].
    Asked(Arc<Ask>, String),
    /// Nobody decided in time, nobody used the approval in time, or the time of a grant is over.
    Expired(String),
}

/// The requests of one node.
#[derive(Debug)]
pub struct Approvals {
    pub(super) clock: Clock,
    key: hmac::Key,
    events: mpsc::Sender<Event>,
    state: Arc<Mutex<State>>,
    /// Bytes of the calls that are held open.
    pub(super) held: Arc<AtomicUsize>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) requests: HashMap<String, Request>,
    /// The newest request of each exact call.
    pub(super) newest: HashMap<CallKey, String>,
}

impl Approvals {
    /// An empty map, and the other end of its events: what is read from there belongs into the evidence. `key` binds
    /// requests to calls.
    #[must_use]
    pub fn new(clock: Clock, key: &[u8; 32]) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(2 * REQUESTS_MAX);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        (Self { clock, key, events, state: Arc::default(), held: Arc::default() }, receiver)
    }

    /// What binds a request to one exact call: HMAC-SHA-256 over the parts, each behind its length.
    #[must_use]
    pub fn binding(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut binding = [0; 32];
        binding.copy_from_slice(context.sign().as_ref());
        binding
    }

    /// Asks for a call: attaches to the pending request of the same call, claims its unused approval, tells of its
    /// standing denial, or makes a new request.
    pub fn ask(&self, ask: Ask) -> Gate {
        let now = self.now();
        let mut state = self.lock();
        let key = ask.key();
        if let Some(gate) = self.gate_of(&mut state, &key, now) {
            return gate;
        }
        if !state.has_room_for(&ask, now) {
            return Gate::TooMany;
        }
        let ask = Arc::new(ask.bounded());
        let Some(id) = new_id(now.unix_ms) else { return Gate::TooMany };
        let id = id.to_string();
        // Without its record a question is not asked.
        if self.events.try_send(Event::Asked(Arc::clone(&ask), id.clone())).is_err() {
            return Gate::TooMany;
        }
        let lapses = Deadline::after(now, ask.within());
        let request = Request::new(ask, now.unix_ms, lapses, Stage::Asking);
        let waiter = Waiter::new(id.clone(), request.stage.subscribe());
        state.newest.insert(key, id.clone());
        state.requests.insert(id, request);
        Gate::Waiting(waiter)
    }

    /// The next gate of a call whose [`Waiter`] resolved. Only one waiting call has an approval; the others ask again.
    pub fn resume(&self, waiter: Waiter) -> Gate {
        let now = self.now();
        let mut state = self.lock();
        let id = waiter.id().to_owned();
        let Some(request) = state.requests.get(&id) else {
            return if waiter.stage() == Stage::Unrecorded { Gate::Unrecorded } else { Gate::Expired { id } };
        };
        let key = request.ask.key();
        self.lapse(&id, request, now);
        match request.stage() {
            Stage::Expired => Gate::Expired { id },
            Stage::Consumed => Gate::Again,
            _ => self.gate_at(&mut state, id, key, now).unwrap_or(Gate::Again),
        }
    }

    /// The question is in the evidence, at this place of the log: people may see it.
    pub fn recorded(&self, id: &str, index: Option<u64>) {
        if let Some(request) = self.lock().requests.get_mut(id) {
            request.index = index;
            if request.stage() == Stage::Asking {
                request.move_to(Stage::Pending);
            }
        }
    }

    /// It could not be written: nobody is asked.
    pub fn unrecorded(&self, id: &str) {
        let mut state = self.lock();
        if let Some(request) = state.requests.remove(id) {
            state.newest.remove(&request.ask.key());
            request.move_to(Stage::Unrecorded);
        }
    }

    /// How many requests wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lock().requests.values().filter(|request| request.is_pending()).count()
    }

    /// How many grants are in force.
    #[must_use]
    pub fn granted(&self) -> usize {
        self.lock().requests.values().filter(|own| own.is_grant() && own.stage() == Stage::Approved).count()
    }

    /// Lets lapse what is due (which wakes those who wait) and forgets what has been over for a while. The control plane
    /// calls this every second.
    pub fn sweep(&self) {
        let now = self.now();
        let mut state = self.lock();
        for (id, request) in &state.requests {
            self.lapse(id, request, now);
        }
        state.forget(now, REMEMBERED);
    }

    /// The gate of the newest request of this exact call; `None` if people have to be asked.
    fn gate_of(&self, state: &mut State, key: &CallKey, now: Now) -> Option<Gate> {
        let id = state.newest.get(key)?.clone();
        self.lapse(&id, state.requests.get(&id)?, now);
        self.gate_at(state, id, key.clone(), now)
    }

    fn gate_at(&self, state: &mut State, id: String, key: CallKey, now: Now) -> Option<Gate> {
        let request = state.requests.get_mut(&id)?;
        match request.stage() {
            Stage::Asking | Stage::Pending | Stage::Claimed => {
                Some(Gate::Waiting(Waiter::new(id, request.stage.subscribe())))
            }
            Stage::Approved if request.is_grant() => Some(Gate::Granted(request.reference(&id))),
            Stage::Approved => {
                request.move_to(Stage::Claimed);
                Some(Gate::Passed(Pass::new(request.reference(&id), key, &self.state)))
            }
            Stage::Denied | Stage::Revoked if request.stands(now) => {
                let (by, reason) =
                    request.ended.as_ref().map(|made| (made.subject.clone(), made.reason.clone())).unwrap_or_default();
                Some(Gate::Refused { id, by, reason, revoked: request.stage() == Stage::Revoked })
            }
            Stage::Denied | Stage::Revoked | Stage::Consumed | Stage::Expired | Stage::Unrecorded => None,
        }
    }

    pub(super) fn lapse(&self, id: &str, request: &Request, now: Now) {
        if request.lapse(now) {
            // If this one event finds no room, the question and its lapse time are in the evidence already.
            let _ = self.events.try_send(Event::Expired(id.to_owned()));
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { unix_ms: self.clock.unix_ms(), mono_ms: self.clock.mono_ms() }
    }

    /// A panic elsewhere leaves the map whole (every change is one assignment), so a poisoned lock is taken all the same.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The call that had an approval in its hands has used it up, or gives it back.
    pub(super) fn settle(&mut self, id: &str, used_by: Option<RecordId>) {
        if let Some(request) = self.requests.get_mut(id).filter(|request| request.stage() == Stage::Claimed) {
            request.used_by = used_by;
            request.move_to(if used_by.is_some() { Stage::Consumed } else { Stage::Approved });
        }
    }

    fn has_room_for(&mut self, ask: &Ask, now: Now) -> bool {
        if self.requests.len() >= REQUESTS_MAX {
            self.forget(now, Duration::ZERO);
        }
        let own = |request: &&Request| {
            request.is_pending() && request.ask.subject == ask.subject && request.ask.issuer == ask.issuer
        };
        self.requests.len() < REQUESTS_MAX && self.requests.values().filter(own).count() < WAITING_PER_SUBJECT_MAX
    }

    /// Forgets requests that have been over for longer than `remembered`.
    pub(super) fn forget(&mut self, now: Now, remembered: Duration) {
        let Self { requests, newest } = self;
        requests.retain(|id, request| {
            let keep = request.stage().is_open() || !request.lapses.later(remembered).is_over(now);
            if !keep {
                let key = request.ask.key();
                if newest.get(&key) == Some(id) {
                    newest.remove(&key);
                }
            }
            keep
        });
    }
}

impl Kind {
    /// As people read it.
    #[must_use]
    pub fn noun(self) -> &'static str {
        match self {
            Self::Call => "approval",
            Self::Grant => "grant",
        }
    }
}

/// A record id, so that the evidence can cite it: 48 bits of time, then randomness.
fn new_id(now_ms: u64) -> Option<RecordId> {
    let mut random = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    Some(RecordId((u128::from(now_ms) << 80) | (u128::from_be_bytes(random) >> 48)))
}
