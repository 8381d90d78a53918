//! Whole calls, one after the other: intent, payload and end put together; refusals and notes stand for themselves.

use std::collections::HashMap;

use serde_json::Value;

use super::ids;
use super::query::Query;
use super::records::{self, Record};
use super::rows::Row;
use super::source::Log;
use super::spoken;
use crate::chunk;
use crate::crypto::KEY_BYTES;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::keystore::KeyId;
use crate::leaf::{rfc3339, role_word};
use crate::model::{Frame, Role};

/// The keys that open blobs, by their id.
pub(super) type Keys = HashMap<KeyId, [u8; KEY_BYTES]>;

/// What went one way.
#[derive(Debug, Default)]
pub(super) struct Payload {
    pub(super) media_type: String,
    pub(super) frames: Vec<Frame>,
    /// Why some of it cannot be read.
    pub(super) unreadable: Option<EvidenceError>,
}

impl Payload {
    pub(super) fn bytes(&self) -> Vec<u8> {
        self.frames.iter().flat_map(|frame| frame.bytes.iter().copied()).collect()
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).into_owned()
    }

    /// Adds a payload record. Its text must be the one that the record commits to.
    pub(super) fn add(&mut self, record: &Record, role: Role, keys: &Keys) {
        let opened = record.open(keys).and_then(|opened| {
            let chunk = chunk::unpack(&opened.text, role)?;
            let parts: Vec<&[u8]> = chunk.frames.iter().map(|frame| frame.bytes.as_slice()).collect();
            if hex::encode(opened.commitment("payload", &parts)) == record.text("mac") {
                return Ok(chunk);
            }
            Err(EvidenceError::Damaged("the text is not the one that the record commits to".to_owned()))
        });
        match opened {
            Ok(chunk) => {
                self.media_type = chunk.media_type;
                self.frames.extend(chunk.frames);
            }
            Err(error) => self.unreadable = Some(error),
        }
    }
}

/// A call, a refusal or a note.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) row: Row,
    pub(super) first: Record,
    pub(super) envelope: Value,
    /// The outcome or the abort.
    pub(super) end: Option<(Record, Value)>,
    pub(super) request: Payload,
    pub(super) response: Payload,
}

impl Call {
    fn begin(record: Record, keys: &Keys) -> Self {
        let envelope = record.envelope(keys);
        let row = Row::begin(&record, &envelope);
        let (request, response) = (Payload::default(), Payload::default());
        Self { row, first: record, envelope, end: None, request, response }
    }

    fn close(&mut self, record: Record, keys: &Keys) {
        let envelope = record.envelope(keys);
        self.row.end(&record, &envelope);
        self.end = Some((record, envelope));
    }

    /// Whether a phrase stands in what went either way.
    pub(super) fn says(&self, phrase: &str) -> bool {
        let texts = [&self.request, &self.response].into_iter().flat_map(spoken::texts);
        texts.into_iter().any(|text| spoken::says(&text, phrase))
    }

    fn take_payload(&mut self, record: &Record, keys: &Keys) {
        match record.text("role") {
            role if role == role_word(Role::Response) => self.response.add(record, Role::Response, keys),
            role if role == role_word(Role::Request) => self.request.add(record, Role::Request, keys),
            _ => {}
        }
    }
}

/// A call with its payload, or a record that stands for itself; found without reading the log.
pub(super) fn find(log: &Log, keys: &Keys, id: RecordId) -> Result<Option<Call>, EvidenceError> {
    let id = id.to_string();
    let mut call: Option<Call> = None;
    for record in ids::records_of(log, &id)? {
        if record.id() == id {
            call = Some(Call::begin(record, keys));
        } else if let Some(call) = call.as_mut().filter(|_| record.text("call") == id) {
            match record.kind() {
                "payload" => call.take_payload(&record, keys),
                "outcome" | "abort" => call.close(record, keys),
                _ => {}
            }
        }
    }
    Ok(call)
}

/// Calls `each` for what matches, in the order in which it ended; what is open comes last. Payload is read only if asked for:
/// it is held for the calls that are open at once. Returns whether some records are damaged.
pub(super) fn for_each_call(
    log: &Log,
    keys: &Keys,
    query: &Query,
    with_payload: bool,
    each: &mut dyn FnMut(&Call) -> Result<(), EvidenceError>,
) -> Result<bool, EvidenceError> {
    let with_payload = with_payload || query.asks_for_text();
    let since = if query.since_us == 0 { String::new() } else { rfc3339(query.since_us) };
    let mut open: HashMap<String, Call> = HashMap::new();
    let mut failed = None;
    let mut offer = |call: &Call| {
        if failed.is_none() && call.row.matches(query, &since) && query.texts().all(|text| call.says(text)) {
            failed = each(call).err();
        }
    };
    let damaged = records::for_each(log, |record| match record.kind() {
        "payload" => {
            if with_payload && let Some(call) = open.get_mut(record.text("call")) {
                call.take_payload(&record, keys);
            }
        }
        "intent" => {
            open.insert(record.id().to_owned(), Call::begin(record, keys));
        }
        "outcome" | "abort" => {
            if let Some(mut call) = open.remove(record.text("call")) {
                call.close(record, keys);
                offer(&call);
            }
        }
        _ => offer(&Call::begin(record, keys)),
    })?;
    let mut left: Vec<Call> = open.into_values().collect();
    left.sort_by_key(|call| call.row.index);
    left.iter().for_each(&mut offer);
    failed.map_or(Ok(damaged), Err)
}
