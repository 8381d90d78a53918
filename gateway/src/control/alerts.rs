//! Takes out what the cores have to say, looks at the evidence, and records and tells what came up.

use super::Control;
use super::notices::time;
use crate::alerts::{Raised, Repeated, Verdict};
use crate::metrics::severity_name;
use crate::notify::{Message, new_message_id, preview};
use audit_shipper::{Caller, Detail, Note, NoteKind, RecordId};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// How often events are taken out.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Characters of names in a message.
const NAME_CHARS_MAX: usize = 120;
/// How long an alert is worth telling, in milliseconds.
const NEWS_FOR_MS: u64 = 3_600_000;

/// Watches until the gateway ends.
pub(super) async fn watch(control: Arc<Control>) {
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut generation = 0;
    loop {
        look.tick().await;
        let live = control.shared.live.current();
        if live.generation != generation {
            generation = live.generation;
            let targets: Vec<_> = live.config.approvals.notify.iter().chain(&live.config.alerts.notify).collect();
            control.people.notifier.keep(&targets);
        }
        let (raised, repeated) = control.look_at_alerts().await;
        if !raised.is_empty() || !repeated.is_empty() {
            // Writing waits for the disk; the queue must not.
            let control = Arc::clone(&control);
            tokio::spawn(async move { control.settle_alerts(raised, repeated).await });
        }
    }
}

impl Control {
    /// What came up since the last time.
    async fn look_at_alerts(&self) -> (Vec<Raised>, Vec<Repeated>) {
        let (shared, mut watch) = (&self.shared, self.people.watch.lock().await);
        let (live, now_ms) = (shared.live.current(), shared.clock.unix_ms());
        let config = &live.config.alerts;
        let repeated = watch.repeated(now_ms, config);
        let mut raised = Vec::new();
        // As many as there can be at once: who pushes on meanwhile is looked at next time.
        for _ in 0..crate::alerts::EVENTS_MAX {
            let Some(event) = shared.alerts.pop() else { break };
            raised.extend(watch.see(event, now_ms, config));
        }
        let status = shared.evidence.status();
        raised.extend(watch.look_at_evidence(status.healthy, status.lost, now_ms, config));
        (raised, repeated)
    }

    async fn settle_alerts(&self, raised: Vec<Raised>, repeated: Vec<Repeated>) {
        for one in repeated {
            let mut note = Note::new(NoteKind::Alert, "repeated");
            note.details = vec![
                ("kind".into(), Detail::Name(one.kind.name().to_owned())),
                ("times".into(), Detail::Number(one.times)),
            ];
            note.text = one.name;
            self.record_alert(&note).await;
        }
        for one in raised {
            let record = self.record_alert(&self.note_of_alert(&one)).await;
            tracing::warn!(
                kind = one.kind.name(),
                severity = severity_name(one.severity),
                name = one.name,
                "an alert: {}",
                one.text
            );
            let live = self.shared.live.current();
            let notify = &live.config.alerts.notify;
            if one.verdict == Verdict::Tell
                && !notify.is_empty()
                && let Some(message) = self.message_of_alert(&one, record)
            {
                self.people.notifier.send(message, notify, false);
            }
        }
    }

    /// Takes out what is left when the gateway ends.
    pub(super) async fn end_alerts(&self) {
        let (raised, repeated) = self.look_at_alerts().await;
        self.settle_alerts(raised, repeated).await;
    }

    async fn record_alert(&self, note: &Note) -> Option<RecordId> {
        match self.journal.plain(note).await {
            Ok(id) => Some(id),
            Err(error) => {
                tracing::error!(%error, "an alert could not be written to the evidence");
                None
            }
        }
    }

    fn note_of_alert(&self, raised: &Raised) -> Note {
        let mut note = Note::new(NoteKind::Alert, "raised");
        note.about = raised.call;
        note.details = vec![
            ("kind".into(), Detail::Name(raised.kind.name().to_owned())),
            ("severity".into(), Detail::Name(severity_name(raised.severity).to_owned())),
            ("told".into(), Detail::Number((raised.verdict == Verdict::Tell).into())),
        ];
        let names =
            [("name", raised.name.clone()), ("rule", raised.rule.clone()), ("trace", raised.trace.map(hex::encode))];
        let names = names.into_iter().filter_map(|(key, value)| Some((key.into(), Detail::Name(value?))));
        note.details.extend(names);
        note.text.clone_from(&raised.text);
        if let Some(model) = &raised.model {
            note.text = format!("{} {}", note.text, preview::line(model, NAME_CHARS_MAX));
        }
        if let Some(who) = &raised.who {
            match (who.subject.whole(), who.tenant.whole()) {
                (Some(subject), Some(tenant)) => {
                    note.actor = Caller { subject: subject.to_owned(), tenant: tenant.to_owned(), ..Caller::default() };
                }
                // Half a name would lie under the key of somebody else.
                _ => note.details.push(("name_cut".into(), Detail::Number(1))),
            }
        }
        note
    }

    fn message_of_alert(&self, raised: &Raised, record: Option<RecordId>) -> Option<Message> {
        let now_ms = self.shared.clock.unix_ms();
        let (kind, severity) = (raised.kind.name(), severity_name(raised.severity));
        let line = |text: &str| preview::line(text, NAME_CHARS_MAX);
        let caller = raised.who.map(|who| line(who.subject.as_str()));
        let model = raised.model.as_deref().map(line);
        let trace = raised.trace.map(hex::encode);
        let evidence = record.map(|id| id.to_string());
        let facts = [
            ("What", Some(raised.text.clone())),
            ("Rule", raised.rule.clone()),
            ("Caller", caller.clone()),
            ("Model", model.clone()),
            ("Trace", trace.clone()),
            ("Call", raised.call.map(|id| id.to_string())),
            ("Evidence", evidence.clone()),
            ("At", Some(time(now_ms))),
        ];
        Some(Message {
            id: new_message_id()?,
            event: "alert.raised",
            title: format!("Alert ({severity}): {}", raised.name.as_deref().unwrap_or(kind)),
            facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
            preview: None,
            approval: None,
            undecided: false,
            at_unix_ms: now_ms,
            useful_until_unix_ms: now_ms.saturating_add(NEWS_FOR_MS),
            data: json!({
                "kind": kind,
                "severity": severity,
                "name": raised.name,
                "rule": raised.rule,
                "text": raised.text,
                "subject": caller,
                "model": model,
                "trace": trace,
                "call": raised.call.map(|id| id.to_string()),
                "record": evidence,
            }),
        })
    }
}
