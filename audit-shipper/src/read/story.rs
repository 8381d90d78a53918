//! Everything about one call as JSON: what [`super::show`] prints, for machines.

use serde_json::{Value, json};

use super::calls::{Keys, Payload};
use super::records::Record;
use super::show::Story;
use super::source::Source;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::leaf::role_word;
use crate::model::Role;

/// Most payload given in one direction, in bytes; of longer ones the beginning.
const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Everything about one call (or refusal, or note): its first record, its end, the notes about it, and what went either way, frame by
/// frame with the microseconds since the frame before. The id of any record of a call finds the call; `None` if there is no such record.
///
/// Each record is `{"id", "index", "kind", "leaf", "envelope"}`; the envelope is null where it cannot be opened.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read.
pub fn story(source: &Source, id: RecordId) -> Result<Option<Value>, EvidenceError> {
    let log = source.locate()?;
    let keys = source.subject_keys(&log).unwrap_or_default();
    let Some(story) = Story::read(&log, &id.to_string())? else { return Ok(None) };
    let way = |role| payload(&story.payload, role, &keys);
    Ok(Some(json!({
        "id": story.first.id(),
        "kind": if story.first.kind() == "intent" { "call" } else { story.first.kind() },
        "time": story.first.text("time"),
        "first": record(&story.first, &keys),
        "end": story.end.as_ref().map(|end| record(end, &keys)),
        "notes": story.notes.iter().map(|note| record(note, &keys)).collect::<Vec<_>>(),
        "request": way(Role::Request),
        "response": way(Role::Response),
        "attachment": way(Role::Attachment),
    })))
}

fn record(record: &Record, keys: &Keys) -> Value {
    json!({
        "id": record.id(),
        "index": record.index,
        "kind": record.kind(),
        "leaf": record.leaf,
        "envelope": record.envelope(keys),
    })
}

/// What went one way; null if nothing was recorded.
fn payload(records: &[Record], role: Role, keys: &Keys) -> Value {
    let mut all = Payload::default();
    let mut chunks = 0;
    for record in records.iter().filter(|record| record.text("role") == role_word(role)) {
        chunks += 1;
        all.add(record, role, keys);
    }
    if chunks == 0 {
        return Value::Null;
    }
    let bytes: usize = all.frames.iter().map(|frame| frame.bytes.len()).sum();
    let mut left = MAX_PAYLOAD_BYTES;
    let mut frames = Vec::new();
    for frame in &all.frames {
        let shown = frame.bytes.get(..frame.bytes.len().min(left)).unwrap_or_default();
        left -= shown.len();
        frames.push(json!({ "dt_us": frame.dt_us, "text": String::from_utf8_lossy(shown) }));
        if left == 0 {
            break;
        }
    }
    json!({
        "media_type": all.media_type,
        "bytes": bytes,
        "truncated": bytes > MAX_PAYLOAD_BYTES,
        "unreadable": all.unreadable.map(|error| error.to_string()),
        "frames": frames,
    })
}
