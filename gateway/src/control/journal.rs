//! The control plane's own notes in the evidence.

use super::Control;
use super::error::ApiError;
use crate::approvals::{Ask, Decided, Event, asked_text};
use crate::identity::{CallerKind, Identity};
use crate::policy_slot::{ActivePolicy, Prepared};
use crate::recorded_text::masked;
use audit_shipper::{
    Caller, Decision, Detail, EvidenceError, Frame, MAX_CHUNK_BYTES, Moment, Note, NoteKind, PayloadChunk, Producer,
    Receipt, RecordId, Refusal, RequestInfo, Role,
};
use policy_lang::Sources;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// Pause before a full queue is tried again, and how often that is done: two seconds in all.
const QUEUE_PAUSE: Duration = Duration::from_millis(5);
const QUEUE_TRIES_MAX: u32 = 400;

/// The control plane's writing end.
#[derive(Debug)]
pub(super) struct Journal {
    /// Held only while a record is queued, never while it is awaited.
    producer: Mutex<Producer>,
}

impl Journal {
    pub(super) fn new(producer: Producer) -> Self {
        Self { producer: Mutex::new(producer) }
    }

    /// Writes a note, and what belongs to it; resolves when all of it is durable.
    pub(super) async fn note(
        &self,
        note: &Note,
        attachments: Vec<(&'static str, String)>,
    ) -> Result<RecordId, EvidenceError> {
        // Free text of people and of callers is masked like everything that is stored.
        let note = Note { text: masked(&note.text), ..note.clone() };
        let receipt = self.queue(&note).await;
        receipt.commit.await?;
        for (ordinal, chunk) in (0..).zip(chunks(&attachments)) {
            let mut tries = 0;
            let attached = loop {
                match self.with(|producer| producer.attach(receipt.id, ordinal, &chunk)) {
                    Err(EvidenceError::QueueFull) if tries < QUEUE_TRIES_MAX => {
                        tries += 1;
                        tokio::time::sleep(QUEUE_PAUSE).await;
                    }
                    other => break other?,
                }
            };
            attached.commit.await?;
        }
        Ok(receipt.id)
    }

    /// Queues a note, waiting while the queue is full; its receipt says when it is durable.
    async fn queue(&self, note: &Note) -> Receipt {
        let mut tries = 0;
        loop {
            let receipt = self.with(|producer| producer.note(note));
            if !matches!(receipt.commit.peek(), Some(Err(EvidenceError::QueueFull))) || tries == QUEUE_TRIES_MAX {
                return receipt;
            }
            tries += 1;
            tokio::time::sleep(QUEUE_PAUSE).await;
        }
    }

    /// An id for a record that is to be written later.
    pub(super) fn new_id(&self) -> RecordId {
        self.with(|producer| producer.new_id())
    }

    /// Writes a refusal under an id that was given out before.
    pub(super) async fn refusal(&self, id: RecordId, refusal: &Refusal) -> Result<(), EvidenceError> {
        let receipt = self.with(|producer| producer.refusal(id, refusal));
        receipt.commit.await.map(drop)
    }

    /// Writes a note; resolves when it is durable.
    pub(super) async fn plain(&self, note: &Note) -> Result<RecordId, EvidenceError> {
        self.note(note, Vec::new()).await
    }

    fn with<T>(&self, write: impl FnOnce(&mut Producer) -> T) -> T {
        write(&mut self.producer.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Control {
    /// The configuration and the policy set that the gateway starts with.
    pub(super) async fn record_start(&self) -> Result<(), EvidenceError> {
        let note = Note::new(NoteKind::Config, "loaded");
        let config = crate::config::redacted(&self.shared.config).to_string();
        self.journal.note(&note, vec![("application/json", config)]).await?;
        let first = self.shared.policy.current();
        self.record_activation(&first, Caller::default()).await
    }

    async fn record_activation(&self, policy: &ActivePolicy, actor: Caller) -> Result<(), EvidenceError> {
        let program = policy.compiled.program();
        self.record_policy("activated", &program.name, program.version, &program.digest, &policy.sources, actor).await
    }

    /// A set that is about to be active.
    pub(super) async fn record_next(&self, next: &Prepared, actor: Caller) -> Result<(), EvidenceError> {
        let program = next.compiled.program();
        self.record_policy("activated", &program.name, program.version, &program.digest, &next.sources, actor).await
    }

    async fn record_policy(
        &self,
        action: &'static str,
        name: &str,
        version: u64,
        digest: &str,
        sources: &Sources,
        actor: Caller,
    ) -> Result<(), EvidenceError> {
        let mut note = Note::new(NoteKind::Policy, action);
        note.actor = actor;
        note.details = vec![
            ("name".into(), Detail::Name(name.to_owned())),
            ("version".into(), Detail::Number(version)),
            ("sha256".into(), Detail::Digest(digest_bytes(digest))),
        ];
        let texts =
            sources.files().iter().map(|file| ("text/plain", format!("# {}\n{}", file.name, file.text))).collect();
        self.journal.note(&note, texts).await.map(drop)
    }

    /// A set that was not taken, and why.
    pub(super) async fn record_rejection(&self, diagnostics: &str, actor: Caller) -> Result<(), EvidenceError> {
        let mut note = Note::new(NoteKind::Policy, "refused");
        note.actor = actor;
        self.journal.note(&note, vec![("text/plain", diagnostics.to_owned())]).await.map(drop)
    }

    /// A person's decision, before it counts.
    pub(super) async fn record_decision(
        &self,
        decided: &Decided,
        approver: &Identity,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<RecordId, EvidenceError> {
        self.record_decided(decided, approver, if approve { "approved" } else { "denied" }, reason).await
    }

    /// Likewise of any kind.
    pub(super) async fn record_decided(
        &self,
        decided: &Decided,
        approver: &Identity,
        action: &'static str,
        reason: Option<&str>,
    ) -> Result<RecordId, EvidenceError> {
        let mut note = Note::new(NoteKind::Approval, action);
        note.actor = caller(approver);
        note.about = decided.id.parse().ok();
        note.details = vec![
            ("binding".into(), Detail::Digest(decided.binding)),
            ("groups".into(), Detail::Names(decided.groups.clone())),
            ("kind".into(), Detail::Name(decided.kind.noun().to_owned())),
        ];
        reason.unwrap_or_default().clone_into(&mut note.text);
        self.journal.note(&note, Vec::new()).await
    }
}

impl Control {
    /// Someone signed in or out, or tried to. Whether it could be written.
    pub(super) async fn record_admin(&self, action: &'static str, who: Option<&Identity>, text: String) -> bool {
        let mut note = Note::new(NoteKind::Admin, action);
        note.actor = who.map(caller).unwrap_or_default();
        note.text = text;
        let written = self.journal.note(&note, Vec::new()).await;
        if let Err(error) = &written {
            tracing::error!(%error, action, "could not be written to the evidence");
        }
        written.is_ok()
    }

    /// A request to the admin port that was turned away; those of unknown askers are summarised like those of callers.
    pub(super) async fn record_admin_refusal(
        &self,
        who: Option<&Identity>,
        peer: IpAddr,
        path: &str,
        error: &ApiError,
    ) {
        let (failures, now_ms) = (&self.shared.identification.failures, self.shared.clock.unix_ms());
        if who.is_none() && failures.summarise(peer, now_ms, || self.journal.new_id()).is_some() {
            return;
        }
        self.record_admin("refused", who, format!("{peer} {path}: {} {}", error.status.as_u16(), error.message)).await;
    }

    /// Refusals that were counted instead of written one by one (DECISIONS 22).
    pub(super) async fn record_summaries(&self) {
        for (address, summary) in self.shared.identification.failures.take_summaries() {
            let refusal = Refusal {
                at: Moment::now(),
                request: RequestInfo { address: address.to_string(), ..RequestInfo::default() },
                decision: Decision::Reject,
                code: "summarised".into(),
                reason: "refusals of one address above the rate that is written one by one".to_owned(),
                count: summary.count,
                ..Refusal::default()
            };
            if let Err(error) = self.journal.refusal(summary.id, &refusal).await {
                tracing::error!(%error, count = summary.count, "refusals could not be written to the evidence");
            }
        }
    }
}

/// Events about approvals that are written at once, and then awaited together: so that thousands of questions cost one sync.
const EVENTS_AT_ONCE: usize = 512;

/// Writes down what happens to requests for approval, in order. Of what is durable, [`super::approvals::happened`] is told.
pub(super) async fn record_approvals(control: Arc<Control>, mut events: mpsc::Receiver<Event>) {
    let mut batch = Vec::new();
    while events.recv_many(&mut batch, EVENTS_AT_ONCE).await > 0 {
        let mut written = Vec::with_capacity(batch.len());
        for event in batch.drain(..) {
            let note = match &event {
                Event::Asked(ask, id) => asked(id, ask),
                Event::Expired(id) => {
                    let mut note = Note::new(NoteKind::Approval, "expired");
                    note.about = id.parse().ok();
                    note
                }
            };
            written.push((event, control.journal.queue(&note).await));
        }
        for (event, receipt) in written {
            let index = receipt.commit.await.map(|committed| committed.index);
            if let Err(error) = &index {
                tracing::error!(%error, "a request for approval could not be written to the evidence");
            }
            super::approvals::recorded(&control, &event, index.ok());
        }
    }
}

/// A question, with all that a start needs to ask it again. Not attached but in the note itself: so it lies under the caller's
/// key, and goes when the caller is erased.
fn asked(id: &str, ask: &Ask) -> Note {
    let mut note = Note::new(NoteKind::Approval, "asked");
    let (subject, issuer, tenant) = (ask.subject.clone(), ask.issuer.clone(), ask.tenant.clone());
    note.actor = Caller { subject, issuer, tenant, ..Caller::default() };
    note.about = id.parse().ok();
    let at_unix_ms = note.about.map_or(0, RecordId::unix_ms);
    let groups = ask.requirements.iter().flat_map(|own| own.groups.iter().cloned());
    note.details = vec![
        ("asked_ms".into(), Detail::Number(at_unix_ms)),
        ("binding".into(), Detail::Digest(ask.binding)),
        ("groups".into(), Detail::Names(groups.collect())),
        ("kind".into(), Detail::Name(ask.kind.noun().to_owned())),
        ("rules".into(), Detail::Names(ask.rules.clone())),
    ];
    note.text = asked_text(ask);
    note.keep = ask.keep;
    note
}

fn chunks(attachments: &[(&'static str, String)]) -> Vec<PayloadChunk> {
    let mut chunks = Vec::new();
    for (media_type, text) in attachments {
        chunks.extend(text.as_bytes().chunks(MAX_CHUNK_BYTES).map(|piece| PayloadChunk {
            role: Role::Attachment,
            media_type: (*media_type).to_owned(),
            frames: vec![Frame { dt_us: 0, bytes: piece.to_vec() }],
        }));
    }
    chunks
}

/// A verified person as the evidence names them.
pub(super) fn caller(identity: &Identity) -> Caller {
    Caller {
        subject: identity.subject.clone(),
        issuer: identity.issuer.clone(),
        client: identity.client_id.clone().unwrap_or_default(),
        kind: match identity.kind {
            CallerKind::User => audit_shipper::CallerKind::User,
            CallerKind::Service => audit_shipper::CallerKind::Service,
        },
        groups: identity.groups.clone(),
        tenant: identity.tenant.clone(),
        token_id: identity.token_id.clone().unwrap_or_default(),
    }
}

fn digest_bytes(hex_digest: &str) -> [u8; 32] {
    let mut bytes = [0; 32];
    // A digest of ours is 64 hex digits; anything else stays zero and would show in the evidence.
    let _ = hex::decode_to_slice(hex_digest, &mut bytes);
    bytes
}
