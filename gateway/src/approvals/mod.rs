//! Calls that wait for people.
//!
//! One map for the node, in memory: a restart forgets what was waiting (callers simply ask again), and each node has
//! its own. Every question and every decision is also written to the evidence by the control plane.
//!
//! The way of one call: [`Approvals::ask`] gives a [`Gate`]. `Waiting` carries a [`Waiter`]; once it resolves,
//! [`Approvals::resume`] gives the next gate. An identical call that is pending attaches to the same request. An approval
//! is good for exactly one call: whichever of the waiting calls comes first consumes it, and the others wait for a new one.

mod decide;
mod waiter;

pub use decide::{DecideError, Decided};
pub use waiter::Waiter;

use crate::clock::Clock;
use crate::identity::Identity;
use audit_shipper::RecordId;
use aws_lc_rs::hmac;
use decide::is_asked;
use policy_lang::ApprovalRequirement;
use serde::Serialize;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Requests kept at a time, waiting or decided; above, calls that need a person are turned away.
pub const REQUESTS_MAX: usize = 10_000;
/// Requests that one caller may have waiting.
pub const WAITING_PER_SUBJECT_MAX: usize = 100;
/// Bytes of a preview that are kept.
pub const PREVIEW_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a reason.
pub const REASON_BYTES_MAX: usize = 2000;
/// How long a request that is over is still shown.
const REMEMBERED: Duration = Duration::from_mins(15);

/// What a call asks people.
#[derive(Clone, Debug)]
pub struct Ask {
    /// HMAC over the exact call, made by the data plane: an approval is good for this call and no other.
    pub binding: [u8; 32],
    /// Who calls.
    pub subject: String,
    /// Whose token that is.
    pub issuer: String,
    /// The caller's tenant; only people of the same tenant see the request or decide on it.
    pub tenant: String,
    /// The model asked for.
    pub model: String,
    /// The operation's path.
    pub endpoint: String,
    /// Names of the rules that require approval.
    pub rules: Vec<String>,
    /// What the rules require; never empty. All of it must be met.
    pub requirements: Vec<ApprovalRequirement>,
    /// The masked request, for people to read; cut at [`PREVIEW_BYTES_MAX`].
    pub preview: String,
}

/// Whether a call may pass.
#[derive(Debug)]
pub enum Gate {
    /// It may, once: the approval is consumed.
    Passed(ApprovalRef),
    /// Someone said no.
    Refused {
        /// The request.
        id: String,
        /// Who said so.
        by: String,
        /// Why.
        reason: String,
    },
    /// Nobody decided in time.
    Expired {
        /// The request.
        id: String,
    },
    /// It waits.
    Waiting(Waiter),
    /// Too many wait already (for this caller, or on this node).
    TooMany,
}

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

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for people.
    Pending,
    /// Enough people approved; one call may pass.
    Approved,
    /// A call passed by it.
    Consumed,
    /// Someone said no.
    Denied,
    /// Nobody decided in time, or nobody used the approval in time.
    Expired,
}

/// A request as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Its id.
    pub id: String,
    /// Where it stands.
    pub status: Status,
    /// Who asks.
    pub subject: String,
    /// The model asked for.
    pub model: String,
    /// The operation's path.
    pub endpoint: String,
    /// The rules that require approval.
    pub rules: Vec<String>,
    /// What they require.
    pub requirements: Vec<RequirementView>,
    /// Those who approved.
    pub approvers: Vec<String>,
    /// Who said no, if someone did.
    pub denied_by: Option<String>,
    /// Why it was approved or denied.
    pub reasons: Vec<String>,
    /// Milliseconds since 1970.
    pub asked_at_unix_ms: u64,
    /// When the question (or, once approved, the approval) lapses; milliseconds since 1970.
    pub expires_at_unix_ms: u64,
    /// The masked request.
    pub preview: String,
}

/// One requirement as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct RequirementView {
    /// Members of one of these may approve.
    pub groups: Vec<String>,
    /// How many distinct people.
    pub by: u32,
    /// How many of them have.
    pub approved: u32,
}

/// What happened, for the evidence. Sent in the order in which it happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A call asks.
    Asked(Box<Ask>, String),
    /// Nobody decided in time, or nobody used the approval in time.
    Expired(String),
}

/// The requests of one node.
#[derive(Debug)]
pub struct Approvals {
    clock: Clock,
    key: hmac::Key,
    events: mpsc::Sender<Event>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    requests: HashMap<String, Request>,
    /// The newest request of each exact call.
    newest: HashMap<CallKey, String>,
}

/// What makes two calls the same call: the same bytes from the same caller under the same requirements (DECISIONS 12).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CallKey {
    binding: [u8; 32],
    issuer: String,
    subject: String,
    requirements: Vec<ApprovalRequirement>,
}

#[derive(Debug)]
struct Request {
    ask: Ask,
    asked_at_ms: u64,
    /// While pending: when the question lapses. Approved: when the approval does. Denied: until when the denial stands.
    lapses_at_ms: u64,
    status: watch::Sender<Status>,
    approvers: Vec<Approver>,
    denial: Option<(String, String)>,
}

#[derive(Clone, Debug)]
struct Approver {
    identity: Identity,
    reason: Option<String>,
}

impl Approvals {
    /// An empty map, and the other end of its events: what is read from there belongs into the evidence. `key` binds
    /// requests to calls.
    #[must_use]
    pub fn new(clock: Clock, key: &[u8; 32]) -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(2 * REQUESTS_MAX);
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        (Self { clock, key, events, state: Mutex::default() }, receiver)
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

    /// Asks for a call: attaches to the pending request of the same call, consumes its unused approval, tells of its
    /// standing denial, or makes a new request.
    pub fn ask(&self, ask: Ask) -> Gate {
        let now = self.clock.unix_ms();
        self.gate(&mut self.lock(), ask, now)
    }

    /// The next gate of a call whose [`Waiter`] resolved. Only one waiting call consumes an approval; the others make a
    /// new request and wait again.
    pub fn resume(&self, waiter: Waiter) -> Gate {
        let now = self.clock.unix_ms();
        let mut state = self.lock();
        let id = waiter.id().to_owned();
        let Some(request) = state.requests.get_mut(&id) else { return Gate::Expired { id } };
        self.lapse(&id, request, now);
        let status = *request.status.borrow();
        match status {
            Status::Pending => Gate::Waiting(waiter),
            Status::Approved => Gate::Passed(request.consume(id)),
            Status::Denied => request.refused(id),
            Status::Expired => Gate::Expired { id },
            Status::Consumed => {
                let ask = request.ask.clone();
                self.gate(&mut state, ask, now)
            }
        }
    }

    /// Every request that a person of this tenant may see, the oldest first.
    #[must_use]
    pub fn list(&self, viewer: &Identity) -> Vec<View> {
        self.sweep();
        let state = self.lock();
        let own = state.requests.iter().filter(|(_, request)| request.ask.tenant == viewer.tenant);
        let mut views: Vec<View> = own.map(|(id, request)| request.view(id)).collect();
        views.sort_by(|a, b| (a.asked_at_unix_ms, &a.id).cmp(&(b.asked_at_unix_ms, &b.id)));
        views
    }

    /// One request, if a person of this tenant may see it.
    #[must_use]
    pub fn show(&self, id: &str, viewer: &Identity) -> Option<View> {
        self.sweep();
        let state = self.lock();
        state.requests.get(id).filter(|request| request.ask.tenant == viewer.tenant).map(|request| request.view(id))
    }

    /// One request, whoever asks: for the gateway's own messages.
    #[must_use]
    pub fn view(&self, id: &str) -> Option<View> {
        self.lock().requests.get(id).map(|request| request.view(id))
    }

    /// How many requests wait.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.lock().requests.values().filter(|request| request.is_pending()).count()
    }

    /// Lets lapse what is due (which wakes those who wait) and forgets what has been over for a while. The control plane
    /// calls this every second.
    pub fn sweep(&self) {
        let now = self.clock.unix_ms();
        let mut state = self.lock();
        for (id, request) in &mut state.requests {
            self.lapse(id, request, now);
        }
        state.forget(now, REMEMBERED);
    }

    fn gate(&self, state: &mut State, mut ask: Ask, now: u64) -> Gate {
        let key = CallKey::of(&ask);
        if let Some(id) = state.newest.get(&key).cloned()
            && let Some(request) = state.requests.get_mut(&id)
        {
            self.lapse(&id, request, now);
            let status = *request.status.borrow();
            match status {
                Status::Pending => return Gate::Waiting(Waiter::new(id, request.status.subscribe())),
                Status::Approved => return Gate::Passed(request.consume(id)),
                Status::Denied if now < request.lapses_at_ms => return request.refused(id),
                Status::Denied | Status::Consumed | Status::Expired => {}
            }
        }
        if !state.has_room_for(&ask, now) {
            return Gate::TooMany;
        }
        truncate(&mut ask.preview, PREVIEW_BYTES_MAX);
        let Some(id) = new_id(now) else { return Gate::TooMany };
        let id = id.to_string();
        // Without its record a question is not asked.
        if self.events.try_send(Event::Asked(Box::new(ask.clone()), id.clone())).is_err() {
            return Gate::TooMany;
        }
        let within = ask.requirements.iter().map(|requirement| requirement.within).min().unwrap_or_default();
        let request = Request {
            asked_at_ms: now,
            lapses_at_ms: after(now, within),
            status: watch::Sender::new(Status::Pending),
            approvers: Vec::new(),
            denial: None,
            ask,
        };
        let waiter = Waiter::new(id.clone(), request.status.subscribe());
        state.newest.insert(key, id.clone());
        state.requests.insert(id, request);
        Gate::Waiting(waiter)
    }

    fn lapse(&self, id: &str, request: &mut Request, now: u64) {
        let open = matches!(*request.status.borrow(), Status::Pending | Status::Approved);
        if open && now >= request.lapses_at_ms {
            request.status.send_replace(Status::Expired);
            // If this one event finds no room, the question and its lapse time are in the evidence already.
            let _ = self.events.try_send(Event::Expired(id.to_owned()));
        }
    }

    /// A panic elsewhere leaves the map whole (every change is one assignment), so a poisoned lock is taken all the same.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room_for(&mut self, ask: &Ask, now: u64) -> bool {
        if self.requests.len() >= REQUESTS_MAX {
            self.forget(now, Duration::ZERO);
        }
        let own = |request: &&Request| {
            request.is_pending() && request.ask.subject == ask.subject && request.ask.issuer == ask.issuer
        };
        self.requests.len() < REQUESTS_MAX && self.requests.values().filter(own).count() < WAITING_PER_SUBJECT_MAX
    }

    /// Forgets requests that have been over for longer than `remembered`.
    fn forget(&mut self, now: u64, remembered: Duration) {
        let Self { requests, newest } = self;
        requests.retain(|id, request| {
            let open = matches!(*request.status.borrow(), Status::Pending | Status::Approved);
            let keep = open || now < after(request.lapses_at_ms, remembered);
            if !keep {
                let key = CallKey::of(&request.ask);
                if newest.get(&key) == Some(id) {
                    newest.remove(&key);
                }
            }
            keep
        });
    }
}

impl CallKey {
    fn of(ask: &Ask) -> Self {
        Self {
            binding: ask.binding,
            issuer: ask.issuer.clone(),
            subject: ask.subject.clone(),
            requirements: ask.requirements.clone(),
        }
    }
}

impl Request {
    fn is_pending(&self) -> bool {
        *self.status.borrow() == Status::Pending
    }

    fn consume(&mut self, id: String) -> ApprovalRef {
        self.status.send_replace(Status::Consumed);
        ApprovalRef { record: id.parse().ok(), id, approvers: self.approver_names() }
    }

    fn refused(&self, id: String) -> Gate {
        let (by, reason) = self.denial.clone().unwrap_or_default();
        Gate::Refused { id, by, reason }
    }

    fn approver_names(&self) -> Vec<String> {
        self.approvers.iter().map(|approver| approver.identity.subject.clone()).collect()
    }

    fn approved(&self, requirement: &ApprovalRequirement) -> u32 {
        let count = self.approvers.iter().filter(|approver| is_asked(&approver.identity, requirement)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    fn view(&self, id: &str) -> View {
        let requirement_view = |requirement: &ApprovalRequirement| RequirementView {
            groups: requirement.groups.clone(),
            by: requirement.by,
            approved: self.approved(requirement),
        };
        let approvals = self.approvers.iter().filter_map(|approver| approver.reason.clone());
        View {
            id: id.to_owned(),
            status: *self.status.borrow(),
            subject: self.ask.subject.clone(),
            model: self.ask.model.clone(),
            endpoint: self.ask.endpoint.clone(),
            rules: self.ask.rules.clone(),
            requirements: self.ask.requirements.iter().map(requirement_view).collect(),
            approvers: self.approver_names(),
            denied_by: self.denial.as_ref().map(|(by, _)| by.clone()),
            reasons: approvals.chain(self.denial.iter().map(|(_, reason)| reason.clone())).collect(),
            asked_at_unix_ms: self.asked_at_ms,
            expires_at_unix_ms: self.lapses_at_ms,
            preview: self.ask.preview.clone(),
        }
    }
}

/// Cuts at a character boundary.
fn truncate(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

fn after(ms: u64, duration: Duration) -> u64 {
    ms.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A record id, so that the evidence can cite it: 48 bits of time, then randomness.
fn new_id(now_ms: u64) -> Option<RecordId> {
    let mut random = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut random).ok()?;
    Some(RecordId((u128::from(now_ms) << 80) | (u128::from_be_bytes(random) >> 48)))
}

#[cfg(test)]
mod tests;
