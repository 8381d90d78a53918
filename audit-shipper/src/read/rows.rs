//! One row per call, refusal or note: what a search looks at and prints.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::query::{Field, Query};
use super::records::Record;
use crate::leaf::rfc3339;

/// The fields of a leaf that a row is made of, and those that join records to each other.
#[derive(Debug, Default, Deserialize)]
pub(super) struct RowLeaf<'b> {
    #[serde(borrow)]
    pub(super) t: Cow<'b, str>,
    #[serde(borrow)]
    pub(super) id: Cow<'b, str>,
    #[serde(borrow, default)]
    pub(super) call: Cow<'b, str>,
    #[serde(borrow, default)]
    pub(super) about: Cow<'b, str>,
    #[serde(borrow, default)]
    pub(super) approval: Cow<'b, str>,
    #[serde(borrow, default)]
    time: Cow<'b, str>,
    #[serde(borrow, default)]
    decision: Cow<'b, str>,
    #[serde(borrow, default)]
    action: Cow<'b, str>,
    #[serde(borrow, default)]
    op: Cow<'b, str>,
    #[serde(borrow, default)]
    trace: Cow<'b, str>,
    #[serde(borrow, default)]
    ended_by: Cow<'b, str>,
    status: Option<u64>,
    mask_count: Option<u64>,
    fired: Option<Vec<String>>,
    masks: Option<Vec<Hit>>,
}

impl RowLeaf<'_> {
    /// Whether it begins a row: all but what belongs to a call that began before.
    pub(super) fn begins_row(&self) -> bool {
        !matches!(self.t.as_ref(), "payload" | "outcome" | "abort")
    }

    /// When, in µs since 1970.
    pub(super) fn unix_us(&self) -> u64 {
        unix_us(&self.time)
    }

    /// Whether a row that begins with it may be what a query asks for, whose `since` is given as text, as far as the leaf tells.
    pub(super) fn may_match(&self, query: &Query, since: &str) -> bool {
        *self.time >= *since
            && (query.until_us == 0 || *self.time <= *rfc3339(query.until_us))
            && query.terms.iter().all(|term| match term.field {
                Field::Operation => term.matches(&self.op),
                Field::Decision => term.matches(self.decided()),
                Field::Kind => term.matches(self.kind()),
                _ => true,
            })
    }

    fn kind(&self) -> &str {
        if self.t == "intent" { "call" } else { &self.t }
    }

    fn decided(&self) -> &str {
        if self.decision.is_empty() { &self.action } else { &self.decision }
    }
}

impl RowEnvelope {
    /// Whether it is of somebody whom a query asks for.
    pub(super) fn is_of(&self, query: &Query) -> bool {
        query.terms.iter().all(|term| match term.field {
            Field::Subject => term.matches(&self.subject),
            Field::Tenant => term.matches(tenant_name(&self.tenant)),
            _ => true,
        })
    }
}

/// The tenant that an empty one stands for.
pub(super) fn tenant_name(tenant: &str) -> &str {
    if tenant.is_empty() { "default" } else { tenant }
}

/// A time as leaves have it, in µs since 1970.
pub(super) fn unix_us(time: &str) -> u64 {
    let time = time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_microsecond);
    u64::try_from(time).unwrap_or(0)
}

/// And those of its encrypted part.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RowEnvelope {
    subject: String,
    tenant: String,
    model: String,
    values: Vec<String>,
    fired: Option<Vec<String>>,
    masks: Option<Vec<Hit>>,
}

#[derive(Debug, Default, Deserialize)]
struct Hit {
    #[serde(default)]
    detector: String,
}

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
    pub(super) fn begin(leaf: &RowLeaf<'_>, envelope: RowEnvelope, index: u64) -> Self {
        let mut row = Self {
            time: leaf.time.as_ref().to_owned(),
            id: leaf.id.as_ref().to_owned(),
            kind: leaf.kind().to_owned(),
            decision: leaf.decided().to_owned(),
            operation: leaf.op.as_ref().to_owned(),
            status: leaf.status,
            trace: leaf.trace.as_ref().to_owned(),
            index,
            ..Self::default()
        };
        row.add_masks(leaf, &envelope);
        row.rules = leaf.fired.clone().or(envelope.fired).unwrap_or_default();
        (row.subject, row.tenant, row.model) = (envelope.subject, envelope.tenant, envelope.model);
        row.values = envelope.values;
        row
    }

    /// Adds what the end of a call tells.
    pub(super) fn end(&mut self, leaf: &RowLeaf<'_>, envelope: RowEnvelope) {
        self.status = leaf.status;
        self.ended_by = if leaf.t == "abort" { "aborted" } else { leaf.ended_by.as_ref() }.to_owned();
        self.add_masks(leaf, &envelope);
        self.rules.extend(leaf.fired.clone().or(envelope.fired).unwrap_or_default());
        self.values.extend(envelope.values);
    }

    /// As [`Self::begin`], of a record whose encrypted part was opened.
    pub(super) fn of(record: &Record, envelope: &Value) -> Self {
        Self::begin(&leaf_of(record), envelope_of(envelope), record.index)
    }

    /// As [`Self::end`].
    pub(super) fn end_with(&mut self, record: &Record, envelope: &Value) {
        self.end(&leaf_of(record), envelope_of(envelope));
    }

    fn add_masks(&mut self, leaf: &RowLeaf<'_>, envelope: &RowEnvelope) {
        self.mask_count += leaf.mask_count.unwrap_or(0);
        for hit in leaf.masks.iter().chain(&envelope.masks).flatten() {
            if !self.masks.contains(&hit.detector) {
                self.masks.push(hit.detector.clone());
            }
        }
    }

    pub(super) fn matches(&self, query: &Query, since: &str) -> bool {
        self.time.as_str() >= since
            && (query.until_us == 0 || self.time <= rfc3339(query.until_us))
            && query.terms.iter().all(|term| match term.field {
                Field::Subject => term.matches(&self.subject),
                Field::Tenant => term.matches(tenant_name(&self.tenant)),
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

fn leaf_of(record: &Record) -> RowLeaf<'_> {
    serde_json::from_slice(&record.stored).unwrap_or_default()
}

fn envelope_of(envelope: &Value) -> RowEnvelope {
    RowEnvelope::deserialize(envelope).unwrap_or_default()
}
