//! What people are told about requests for approval, and what becomes of messages that cannot be sent.

use super::Control;
use super::approvals::Happening;
use crate::alerts::Watch;
use crate::approvals::{Status, View};
use crate::notify::slack_request::Seen;
use crate::notify::ticket::Tickets;
use crate::notify::{GivenUp, Message, Notifier, new_message_id, preview};
use crate::shared::Shared;
use audit_shipper::{Detail, Note, NoteKind};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;

/// Characters of names, and of a reason, in a message.
const NAME_CHARS_MAX: usize = 120;
const REASON_CHARS_MAX: usize = 300;
/// How long news of a decision is worth telling, in milliseconds.
const NEWS_FOR_MS: u64 = 3_600_000;
/// How long the end of the gateway waits for messages that were not tried yet.
const LAST_MESSAGES: Duration = Duration::from_secs(2);

/// Those who are told, and what they were told.
#[derive(Debug)]
pub(super) struct People {
    pub(super) notifier: Notifier,
    /// Requests of Slack that were here.
    pub(super) seen: Seen,
    /// What alerts are raised of.
    pub(super) watch: AsyncMutex<Watch>,
    given_up: AsyncMutex<mpsc::Receiver<GivenUp>>,
}

impl People {
    /// # Errors
    /// The file of used links cannot be read.
    pub(super) fn new(shared: &Arc<Shared>) -> std::io::Result<Self> {
        let admin = &shared.config.admin;
        let url = admin.url.clone().unwrap_or_else(|| format!("http://{}", admin.address));
        let key = shared.evidence.mac("links in mails", &[]);
        let used = shared.config.data.join("links-used");
        let tickets = Tickets::open(&key, Some(used), shared.clock.unix_s())?;
        let notices = &shared.metrics.notices;
        let (notifier, given_up) = Notifier::new(shared.clock.clone(), Arc::clone(notices), url, tickets);
        Ok(Self {
            notifier,
            seen: Seen::default(),
            watch: AsyncMutex::new(Watch::new(Arc::clone(notices))),
            given_up: AsyncMutex::new(given_up),
        })
    }
}

impl Control {
    /// Tells those who are configured to hear of approvals.
    pub(super) fn tell_of(&self, told: Happening, id: &str) {
        let live = self.shared.live.current();
        let approvals = &live.config.approvals;
        if approvals.notify.is_empty() {
            return;
        }
        let view = self.shared.approvals.view(id);
        if let Some(message) = view.and_then(|view| message(told, &view, self.shared.clock.unix_ms())) {
            self.people.notifier.send(message, &approvals.notify, approvals.slack.is_some());
        }
    }

    /// Lets messages go that were not tried yet, and writes down what is given up.
    pub(super) async fn end_notices(&self, recorder: JoinHandle<()>) {
        self.end_alerts().await;
        self.people.notifier.settle(LAST_MESSAGES).await;
        self.people.notifier.end();
        recorder.abort();
        let mut given_up = self.people.given_up.lock().await;
        while let Ok(one) = given_up.try_recv() {
            self.record_message_given_up(one).await;
        }
    }

    async fn record_message_given_up(&self, one: GivenUp) {
        let mut note = Note::new(NoteKind::Admin, "message_given_up");
        note.about = one.approval.as_ref().and_then(|id| id.parse().ok());
        note.details = vec![
            ("way".into(), Detail::Name(one.way.name().to_owned())),
            ("event".into(), Detail::Name(one.event.to_owned())),
            ("attempts".into(), Detail::Number(one.attempts.into())),
        ];
        note.text = format!("{} {}", one.message, one.why);
        if let Err(error) = self.journal.plain(&note).await {
            tracing::error!(%error, "a message that was given up could not be written to the evidence");
        }
    }
}

/// Writes down every message that is given up.
pub(super) async fn record_given_up(control: Arc<Control>) {
    let mut given_up = control.people.given_up.lock().await;
    while let Some(one) = given_up.recv().await {
        control.record_message_given_up(one).await;
    }
}

/// `None` where there is no news, as when more people are needed.
fn message(told: Happening, view: &View, now_ms: u64) -> Option<Message> {
    let name = |text: &str| preview::line(text, NAME_CHARS_MAX);
    let (subject, model, endpoint) = (name(&view.subject), name(&view.model), name(&view.endpoint));
    let needs = view.requirements.iter().map(|own| format!("{} of {}", own.by.max(1), own.groups.join(", ")));
    let mut facts = vec![
        ("Caller", subject.clone()),
        ("Model", model.clone()),
        ("Endpoint", endpoint.clone()),
        ("Rules", view.rules.join(", ")),
    ];
    let mut data = json!({
        "id": view.id,
        "status": view.status,
        "subject": subject,
        "model": model,
        "endpoint": endpoint,
        "rules": view.rules,
    });
    let mut add = |key: &str, value: serde_json::Value| {
        if let Some(members) = data.as_object_mut() {
            members.insert(key.to_owned(), value);
        }
    };
    let (event, title) = match (told, view.status) {
        (Happening::Asked, _) => {
            let until = time(view.expires_at_unix_ms);
            facts.extend([("Needs", needs.collect::<Vec<_>>().join(" and ")), ("Until", until.clone())]);
            add("groups", view.requirements.iter().flat_map(|own| own.groups.clone()).collect());
            add("expires_at", until.into());
            ("approval.asked", format!("{subject} asks for approval: {model}"))
        }
        (Happening::Expired, _) => ("approval.expired", format!("A request of {subject} for approval lapsed: {model}")),
        (Happening::Decided, Status::Pending) => return None,
        (Happening::Decided, status) => {
            // An approval may have been used before we look.
            let (by, verdict) = match (&view.denied_by, status) {
                (Some(by), _) => (by, "denied"),
                (None, Status::Approved | Status::Consumed) => (view.approvers.last()?, "approved"),
                _ => return None,
            };
            let by = name(by);
            facts.push(("Decided by", by.clone()));
            add("decision", verdict.into());
            add("decided_by", by.clone().into());
            if let Some(reason) = view.reasons.last().map(|reason| preview::line(reason, REASON_CHARS_MAX)) {
                facts.push(("Reason", reason.clone()));
                add("reason", reason.into());
            }
            ("approval.decided", format!("{by} {verdict} a request of {subject}: {model}"))
        }
    };
    let undecided = told == Happening::Asked;
    Some(Message {
        id: new_message_id()?,
        event,
        title,
        facts,
        preview: if undecided { preview::of_request(&view.preview) } else { None },
        approval: Some(view.id.clone()),
        undecided,
        at_unix_ms: now_ms,
        useful_until_unix_ms: if undecided { view.expires_at_unix_ms } else { now_ms.saturating_add(NEWS_FOR_MS) },
        data,
    })
}

/// RFC 3339, UTC.
pub(super) fn time(unix_ms: u64) -> String {
    let stamp = i64::try_from(unix_ms / 1000).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    stamp.unwrap_or(Timestamp::MAX).to_string()
}
