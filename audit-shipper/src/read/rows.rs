//! One row per call, refusal or note: what a search looks at and prints.

use serde::Serialize;
use serde_json::Value;

use super::query::{Field, Query};
use super::records::Record;
use crate::leaf::rfc3339;

/// A row.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct Row {
    pub(super) time: String,
    pub(super) id: String,
    pub(super) kind: String,
    pub(super) decision: String,
    pub(super) subject: String,
    pub(super) tenant: String,
    pub(super) model: String,
    pub(super) operation: String,
    pub(super) status: Option<u64>,
    pub(super) ended_by: String,
    pub(super) rules: Vec<String>,
    /// Detectors that masked something, each once.
    pub(super) masks: Vec<String>,
    pub(super) mask_count: u64,
    pub(super) trace: String,
    /// Digests of masked values.
    #[serde(skip)]
    pub(super) values: Vec<String>,
    pub(super) index: u64,
}

impl Row {
    /// A row of an intent, a refusal, a note or any other record that stands for itself.
    pub(super) fn begin(record: &Record, envelope: &Value) -> Self {
        let text = |field: &str| envelope.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let kind = if record.kind() == "intent" { "call" } else { record.kind() };
        let decision = if record.text("decision").is_empty() { record.text("action") } else { record.text("decision") };
        let mut row = Self {
            time: record.text("time").to_owned(),
            id: record.id().to_owned(),
            kind: kind.to_owned(),
            decision: decision.to_owned(),
            subject: text("subject"),
            tenant: text("tenant"),
            model: text("model"),
            operation: record.text("op").to_owned(),
            status: record.number("status"),
            rules: names(record.leaf.get("fired").or(envelope.get("fired"))),
            trace: record.text("trace").to_owned(),
            index: record.index,
            ..Self::default()
        };
        row.add_masks(record, envelope);
        row.values = names(envelope.get("values"));
        row
    }

    /// Adds what the end of a call tells.
    pub(super) fn end(&mut self, record: &Record, envelope: &Value) {
        self.status = record.number("status");
        self.ended_by = if record.kind() == "abort" { "aborted" } else { record.text("ended_by") }.to_owned();
        self.add_masks(record, envelope);
        self.rules.extend(names(record.leaf.get("fired").or(envelope.get("fired"))));
        self.values.extend(names(envelope.get("values")));
    }

    fn add_masks(&mut self, record: &Record, envelope: &Value) {
        self.mask_count += record.number("mask_count").unwrap_or(0);
        let hits = record.leaf.get("masks").or(envelope.get("masks")).and_then(Value::as_array);
        for hit in hits.into_iter().flatten() {
            let detector = hit.get("detector").and_then(Value::as_str).unwrap_or_default();
            if !self.masks.iter().any(|known| known == detector) {
                self.masks.push(detector.to_owned());
            }
        }
    }

    pub(super) fn matches(&self, query: &Query, since: &str) -> bool {
        self.time.as_str() >= since
            && (query.until_us == 0 || self.time <= rfc3339(query.until_us))
            && query.terms.iter().all(|term| match term.field {
                Field::Subject => term.matches(&self.subject),
                Field::Tenant => term.matches(if self.tenant.is_empty() { "default" } else { &self.tenant }),
                Field::Operation => term.matches(&self.operation),
                // Looked for in the payload, by whoever has it.
                Field::Text => true,
                Field::Model => term.matches(&self.model),
                Field::Decision => term.matches(&self.decision),
                Field::Kind => term.matches(&self.kind),
                Field::Status => self.status.is_some_and(|status| term.matches(&status.to_string())),
                Field::Rule => self.rules.iter().any(|rule| term.matches(rule)),
                Field::Value => self.values.iter().any(|value| term.matches(value)),
                Field::Masked => self.masks.iter().any(|detector| term.matches(detector)),
                Field::Id => term.matches(&self.id),
                Field::Trace => term.matches(&self.trace),
            })
    }

    /// The status column: the number, or how a call without one stands.
    pub(super) fn status_text(&self) -> String {
        match (self.status, self.ended_by.as_str()) {
            (_, "aborted") => "aborted".to_owned(),
            (Some(status), "" | "complete") => status.to_string(),
            (Some(status), ended_by) => format!("{status} {ended_by}"),
            (None, _) if self.kind == "call" => "open".to_owned(),
            (None, _) => String::new(),
        }
    }
}

fn names(list: Option<&Value>) -> Vec<String> {
    let list = list.and_then(Value::as_array);
    list.into_iter().flatten().filter_map(|name| name.as_str().map(str::to_owned)).collect()
}
