//! Notes by their kind, for whoever rebuilds a state from them.

use serde_json::Value;

use super::calls::Keys;
use super::ids;
use super::source::Source;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::model::NoteKind;

/// A note as it was written, as far as the keys open it.
#[derive(Clone, Debug, PartialEq)]
pub struct Noted {
    /// Its id.
    pub id: RecordId,
    /// Its index in the tree: notes come in this order.
    pub index: u64,
    /// What happened.
    pub action: String,
    /// When, in µs since 1970.
    pub unix_us: u64,
    /// The call or record it is about.
    pub about: Option<RecordId>,
    /// As [`crate::Note::details`]: numbers are numbers, all else is text or lists of texts (digests in hexadecimal).
    pub details: Value,
    /// Who did it: `subject`, `issuer`, `tenant`, `client`, `groups` and `text`, where the note has them; null if the encrypted
    /// part cannot be opened (erased, or no key).
    pub envelope: Value,
}

impl Noted {
    /// A text of the encrypted part; empty if it has none of this name.
    #[must_use]
    pub fn text(&self, field: &str) -> &str {
        self.envelope.get(field).and_then(Value::as_str).unwrap_or_default()
    }
}

/// All notes of a kind, oldest first. Reads their records and the end of the log that is not indexed yet, not the log.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read.
pub fn notes(source: &Source, kind: NoteKind) -> Result<Vec<Noted>, EvidenceError> {
    let log = source.locate()?;
    let keys = source.subject_keys(&log).unwrap_or_else(|_| Keys::default());
    let noted = |record: super::records::Record| {
        let time = record.text("time").parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_microsecond);
        Some(Noted {
            id: record.id().parse().ok()?,
            index: record.index,
            action: record.text("action").to_owned(),
            unix_us: u64::try_from(time).unwrap_or(0),
            about: record.text("about").parse().ok(),
            details: record.leaf.get("details").cloned().unwrap_or_default(),
            envelope: record.envelope(&keys),
        })
    };
    Ok(ids::notes_of(&log, kind)?.into_iter().filter_map(noted).collect())
}
