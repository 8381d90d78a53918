//! Everything about one call, on one page.

use std::io::Write;

use serde_json::Value;

use super::calls::{Keys, Payload};
use super::ids;
use super::records::Record;
use super::source::{Log, Source};
use super::text::{count, harmless, harmless_lines, line};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::model::Role;

/// Most payload printed in one direction, in bytes.
const MAX_PRINTED_BYTES: usize = 256 << 10;
/// Most mask hits printed.
const MAX_PRINTED_MASKS: usize = 100;

/// Prints everything about one call (or refusal, or note); returns whether it was found. The id of any record of a call
/// finds the call.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read or the output not be written.
pub fn show(source: &Source, id: RecordId, out: &mut dyn Write) -> Result<bool, EvidenceError> {
    let log = source.locate()?;
    let keys = source.subject_keys(&log);
    let Some(story) = Story::read(&log, &id.to_string())? else {
        line(out, &format!("there is no record {id}"))?;
        return Ok(false);
    };
    let no_keys = Keys::default();
    let page = Page { keys: keys.as_ref().unwrap_or(&no_keys), out };
    story.print(page)?;
    if let Err(error) = keys {
        line(out, &format!("encrypted fields cannot be shown: {error}"))?;
    }
    Ok(true)
}

/// The records that belong together.
pub(super) struct Story {
    pub(super) first: Record,
    pub(super) end: Option<Record>,
    pub(super) payload: Vec<Record>,
    pub(super) notes: Vec<Record>,
}

impl Story {
    pub(super) fn read(log: &Log, id: &str) -> Result<Option<Self>, EvidenceError> {
        let Some(named) = ids::records_of(log, id)?.into_iter().find(|record| record.id() == id) else {
            return Ok(None);
        };
        let subject = if named.text("call").is_empty() { id } else { named.text("call") };
        let (mut first, mut end, mut payload, mut notes) = (None, None, Vec::new(), Vec::new());
        let mut approval = String::new();
        for record in ids::records_of(log, subject)? {
            if record.id() == subject {
                approval = record.text("approval").to_owned();
                first = Some(record);
            } else if record.text("call") == subject {
                match record.kind() {
                    "payload" => payload.push(record),
                    _ => end = Some(record),
                }
            } else if record.text("about") == subject {
                notes.push(record);
            }
        }
        if !approval.is_empty() {
            // Asked, decided: what names the approval or is it.
            for record in ids::records_of(log, &approval)? {
                let known = notes.iter().any(|note| note.index == record.index);
                if !known && (record.id() == approval || record.text("about") == approval) {
                    notes.push(record);
                }
            }
        }
        notes.sort_by_key(|note| note.index);
        Ok(first.map(|first| Self { first, end, payload, notes }))
    }

    fn print(&self, mut page: Page<'_>) -> Result<(), EvidenceError> {
        let envelope = self.first.envelope(page.keys);
        let kind = if self.first.kind() == "intent" { "call" } else { self.first.kind() };
        page.title(&format!("{kind} {}", self.first.id()))?;
        page.record(&self.first)?;
        page.who(&envelope)?;
        page.what(&self.first, &envelope)?;
        page.verdict(&self.first, &envelope)?;
        for note in &self.notes {
            page.note(note)?;
        }
        page.masks("masked in the request", &self.first, &envelope)?;
        page.payload("request", Role::Request, &self.payload)?;
        page.payload("attachment", Role::Attachment, &self.payload)?;
        match &self.end {
            Some(end) => page.end(end)?,
            None if self.first.kind() == "intent" => page.field("ended", "not yet (no outcome so far)")?,
            None => {}
        }
        page.payload("answer", Role::Response, &self.payload)
    }
}

struct Page<'a> {
    keys: &'a Keys,
    out: &'a mut dyn Write,
}

impl Page<'_> {
    fn title(&mut self, text: &str) -> Result<(), EvidenceError> {
        line(self.out, text)
    }

    /// One aligned line; nothing if there is nothing to say.
    fn field(&mut self, name: &str, value: &str) -> Result<(), EvidenceError> {
        if value.is_empty() { Ok(()) } else { line(self.out, &format!("  {name:<12} {}", harmless(value))) }
    }

    fn record(&mut self, record: &Record) -> Result<(), EvidenceError> {
        self.field("time", record.text("time"))?;
        self.field("tree index", &record.index.to_string())?;
        self.field("trace", record.text("trace"))?;
        self.field("parent", record.text("parent"))
    }

    fn who(&mut self, envelope: &Value) -> Result<(), EvidenceError> {
        let groups: Vec<&str> = list(envelope.get("groups")).filter_map(Value::as_str).collect();
        self.field("subject", text(envelope, "subject"))?;
        self.field("groups", &groups.join(", "))?;
        self.field("tenant", text(envelope, "tenant"))?;
        self.field("client", text(envelope, "client"))?;
        self.field("issuer", text(envelope, "issuer"))?;
        self.field("token", text(envelope, "token"))?;
        self.field("address", text(envelope, "address"))?;
        for (name, member) in [("purpose", "purpose"), ("basis", "basis"), ("about", "data_subject")] {
            if let Some(said) = envelope.get(member) {
                self.field(name, &format!("{} (by {})", text(said, "value"), text(said, "by")))?;
            }
        }
        Ok(())
    }

    fn what(&mut self, record: &Record, envelope: &Value) -> Result<(), EvidenceError> {
        let parts = [text(envelope, "method"), text(envelope, "host"), text(envelope, "path")];
        let request: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        self.field("request", &request.join(" "))?;
        self.field("operation", format!("{} {}", record.text("dialect"), record.text("op")).trim())?;
        self.field("model", text(envelope, "model"))?;
        self.field("upstream", record.text("upstream"))?;
        self.field("text", text(envelope, "text"))
    }

    fn verdict(&mut self, record: &Record, envelope: &Value) -> Result<(), EvidenceError> {
        self.field("decision", record.text("decision"))?;
        self.field("action", record.text("action"))?;
        if let Some(Value::Object(details)) = record.leaf.get("details") {
            for (name, value) in details {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                self.field(name, &value)?;
            }
        }
        self.fired(record, envelope)?;
        if let Some(policy) = record.leaf.get("policy") {
            let digest: String = text(policy, "sha256").chars().take(16).collect();
            self.field("policy", &format!("{} {} (sha256 {digest}…)", text(policy, "name"), text(policy, "version")))?;
        }
        if record.kind() == "refusal" {
            let status = record.number("status").unwrap_or(0);
            self.field("answered", &format!("{status} {}", record.text("code")))?;
            self.field("because", text(envelope, "reason"))?;
            if let Some(more @ 2..) = record.number("count") {
                self.field("stands for", &format!("{more} refusals"))?;
            }
        }
        self.field("approval", record.text("approval"))?;
        self.coverage(record)
    }

    fn fired(&mut self, record: &Record, envelope: &Value) -> Result<(), EvidenceError> {
        let fired = list(record.leaf.get("fired").or(envelope.get("fired"))).filter_map(Value::as_str);
        self.field("rules", &fired.collect::<Vec<_>>().join(", "))
    }

    fn coverage(&mut self, record: &Record) -> Result<(), EvidenceError> {
        if let Some(Value::Object(channels)) = record.leaf.get("coverage") {
            let words = channels.iter().map(|(channel, how)| format!("{channel} {}", how.as_str().unwrap_or_default()));
            self.field("coverage", &words.collect::<Vec<_>>().join(", "))?;
        }
        Ok(())
    }

    fn note(&mut self, note: &Record) -> Result<(), EvidenceError> {
        let envelope = note.envelope(self.keys);
        let who = text(&envelope, "subject");
        let by = if who.is_empty() { String::new() } else { format!(" by {who}") };
        let why = text(&envelope, "text");
        let why = if why.is_empty() { String::new() } else { format!(": {why}") };
        self.field(
            note.kind(),
            &format!("{}{by} at {}{why} (record {})", note.text("action"), note.text("time"), note.id()),
        )
    }

    fn masks(&mut self, title: &str, record: &Record, envelope: &Value) -> Result<(), EvidenceError> {
        let Some(number) = record.number("mask_count") else {
            return Ok(());
        };
        line(self.out, &format!("  {title}: {}", count(number, "place")))?;
        for hit in list(record.leaf.get("masks").or(envelope.get("masks"))).take(MAX_PRINTED_MASKS) {
            let number = |field| hit.get(field).and_then(Value::as_u64).unwrap_or(0);
            let rule = if text(hit, "rule").is_empty() { "(recorded copy)" } else { text(hit, "rule") };
            let place = format!("{} bytes {}..{}", text(hit, "ptr"), number("off"), number("off") + number("len"));
            let what = format!("    {} {} by {rule} at {place}", text(hit, "detector"), text(hit, "action"));
            line(self.out, &harmless(&what))?;
        }
        Ok(())
    }

    fn end(&mut self, end: &Record) -> Result<(), EvidenceError> {
        let envelope = end.envelope(self.keys);
        if end.kind() == "abort" {
            return self.field("ended", &format!("ABORTED at {} ({})", end.text("time"), end.text("why")));
        }
        let status = end.number("status").unwrap_or(0);
        self.field("ended", &format!("{} with status {status} at {}", end.text("ended_by"), end.text("time")))?;
        self.field("tree index", &end.index.to_string())?;
        let finish = if end.text("finish") == "other" { text(&envelope, "finish") } else { end.text("finish") };
        self.field("finish", finish)?;
        self.field("model", text(&envelope, "model"))?;
        self.field("endpoint", end.text("endpoint"))?;
        self.field("error", text(&envelope, "error"))?;
        self.fired(end, &envelope)?;
        if let Some(Value::Object(usage)) = end.leaf.get("usage") {
            let tokens = usage.iter().map(|(name, number)| format!("{number} {name}"));
            self.field("tokens", &tokens.collect::<Vec<_>>().join(", "))?;
        }
        let ms = |us: u64| format!("{}.{:03} ms", us / 1000, us % 1000);
        let first = end.number("ttfb_us").map_or(String::new(), |us| format!(", first byte after {}", ms(us)));
        self.field("took", &format!("{}{first}", ms(end.number("duration_us").unwrap_or(0))))?;
        let (bytes_in, bytes_out) = (end.number("bytes_in").unwrap_or(0), end.number("bytes_out").unwrap_or(0));
        self.field("bytes", &format!("{bytes_in} in, {bytes_out} out"))?;
        self.coverage(end)?;
        self.masks("masked in the answer", end, &envelope)
    }

    fn payload(&mut self, title: &str, role: Role, records: &[Record]) -> Result<(), EvidenceError> {
        let mut all = Payload::default();
        let mut chunks = 0;
        for record in records.iter().filter(|record| record.text("role") == crate::leaf::role_word(role)) {
            chunks += 1;
            all.add(record, role, self.keys);
        }
        let (bytes, frames, media_type) = (all.bytes(), all.frames.len() as u64, &all.media_type);
        if chunks == 0 {
            return Ok(());
        }
        let size = format!("{}, {}", count(bytes.len() as u64, "byte"), count(frames, "event"));
        line(self.out, &format!("  {title} ({}, {size}, {})", harmless(media_type), count(chunks, "record")))?;
        if let Some(error) = &all.unreadable {
            line(self.out, &format!("    not all of it can be read: {error}"))?;
        }
        let shown = bytes.get(..bytes.len().min(MAX_PRINTED_BYTES)).unwrap_or_default();
        for text in harmless_lines(&String::from_utf8_lossy(shown)).trim_end().split('\n') {
            line(self.out, format!("    {text}").trim_end())?;
        }
        if bytes.len() > shown.len() {
            line(self.out, &format!("    … and {} more", count((bytes.len() - shown.len()) as u64, "byte")))?;
        }
        Ok(())
    }
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn list(value: Option<&Value>) -> impl Iterator<Item = &Value> {
    value.and_then(Value::as_array).into_iter().flatten()
}
