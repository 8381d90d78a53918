//! One call as it went over the wire, and everything about one person.

use std::io::Write;

use serde_json::Value;

use super::calls::{self, Call, Keys, Payload, for_each_call};
use super::export::whole;
use super::ids;
use super::query::Query;
use super::source::Source;
use super::text::line;
use crate::error::EvidenceError;
use crate::evidence::{VALUE_PURPOSE, plain_value, short};
use crate::id::RecordId;
use crate::keystore::{self, Person};
use crate::leaf::role_word;
use crate::model::{Frame, NoteKind, Role};
use crate::seal::{Original, Unsealer};

/// How every age file begins.
const AGE_HEADER: &[u8] = b"age-encryption.org/v1\n";

/// A recorded call, masked as it was recorded.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// HTTP method.
    pub method: String,
    /// Request target.
    pub path: String,
    /// `content-type` of the request.
    pub request_type: String,
    /// Body of the request.
    pub request: Vec<u8>,
    /// Status that the caller got; none if the call has no outcome.
    pub status: Option<u64>,
    /// What the caller got, in the pieces in which it got it, each with the time since the piece before it.
    pub response: Vec<Frame>,
}

/// Finds a call and what was recorded of its payload.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read, or the call's payload cannot: erased, or no key.
pub fn recorded(source: &Source, id: RecordId) -> Result<Option<Recorded>, EvidenceError> {
    let log = source.locate()?;
    let keys = source.subject_keys(&log)?;
    let Some(call) = calls::find(&log, &keys, id)? else { return Ok(None) };
    if let Some(error) = call.request.unreadable.as_ref().or(call.response.unreadable.as_ref()) {
        return Err(error.clone());
    }
    let text = |field: &str| call.envelope.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
    Ok(Some(Recorded {
        method: text("method"),
        path: text("path"),
        request_type: call.request.media_type.clone(),
        request: call.request.bytes(),
        status: call.row.status,
        response: call.response.frames,
    }))
}

/// The sealed originals of a call, each opened with the private key; of an answer that a crash cut off, what was sealed by then.
/// Reading one is to be written down as `access`.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read, the keystore's key is gone, or the private key is not the right one.
pub fn unsealed(source: &Source, id: RecordId, with: &Unsealer) -> Result<Vec<Original>, EvidenceError> {
    let log = source.locate()?;
    let keys: Keys = source.subject_keys(&log)?;
    let id = id.to_string();
    let mut originals: Vec<Payload> = Vec::new();
    for record in ids::records_of(&log, &id)? {
        if record.kind() == "payload" && record.text("call") == id && record.text("role") == role_word(Role::Sealed) {
            let mut piece = Payload::default();
            piece.add(&record, Role::Sealed, &keys);
            // The first piece of each original begins as every age file does.
            match originals.last_mut() {
                Some(original) if !piece.bytes().starts_with(AGE_HEADER) => {
                    original.frames.append(&mut piece.frames);
                    original.unreadable = original.unreadable.take().or(piece.unreadable);
                }
                _ => originals.push(piece),
            }
        }
    }
    let open = |original: Payload| match original.unreadable {
        Some(error) => Err(error),
        None => with.open(&original.bytes()),
    };
    originals.into_iter().map(open).collect()
}

/// Writes every call in which a value was masked, such as a person's number or address, one JSON object per line; returns how many.
/// Only those are found that were recorded while digests of masked values were kept.
///
/// # Errors
/// As [`dsar`].
pub fn dsar_value(source: &Source, value: &str, out: &mut dyn Write) -> Result<u64, EvidenceError> {
    let log = source.locate()?;
    let keys: Keys = source.subject_keys(&log)?;
    let plain = plain_value(value);
    if plain.is_empty() {
        return Err(EvidenceError::Malformed("the value has no letter and no digit".to_owned()));
    }
    let digest = keystore::mac_for_reading(&source.master_path(), VALUE_PURPOSE, &[plain.as_bytes()])?;
    let mut written = 0;
    for_each_call(source, &log, &keys, &Query::for_value(&short(&digest)), true, &mut |call| {
        written += 1;
        line(out, &whole(call).to_string())
    })?;
    Ok(written)
}

/// Writes everything that is recorded about a person who called, one JSON object per line (GDPR Art. 15); returns how many. What
/// was erased before is told by the erasure records, which come last and name the person by a keyed digest.
///
/// # Errors
/// [`EvidenceError`] if the log or the keystore cannot be read, or the output not be written.
pub fn dsar(source: &Source, tenant: &str, subject: &str, out: &mut dyn Write) -> Result<u64, EvidenceError> {
    let log = source.locate()?;
    let keys: Keys = source.subject_keys(&log)?;
    let person = Person::new(tenant, subject);
    let about = keystore::mac_for_reading(
        &source.master_path(),
        "erasure",
        &[person.tenant.as_bytes(), person.subject.as_bytes()],
    )?;
    let about = hex::encode(about);
    let mut written = 0;
    for_each_call(source, &log, &keys, &Query::for_person(tenant, subject), true, &mut |call| {
        if call.row.subject != subject || Person::new(&call.row.tenant, subject) != person {
            return Ok(());
        }
        written += 1;
        line(out, &whole(call).to_string())
    })?;
    for note in ids::notes_of(&log, NoteKind::Erasure)? {
        if note.leaf.pointer("/details/subject").and_then(Value::as_str) == Some(&about) {
            written += 1;
            line(out, &whole(&Call::begin(note, &keys)).to_string())?;
        }
    }
    Ok(written)
}
