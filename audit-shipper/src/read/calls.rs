//! Whole calls, one after the other: intent, payload and end put together; refusals and notes stand for themselves.

use std::collections::HashMap;

use serde_json::Value;

use super::filter::Filter;
use super::ids;
use super::index;
use super::query::Query;
use super::records::{self, Record};
use super::rows::Row;
use super::source::{Log, Source};
use super::spoken;
use super::walk::{Bound, Spot, Walk};
use crate::chunk;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::leaf::{rfc3339, role_word};
use crate::model::{Frame, Role};
use crate::wal::scan::Resume;

pub(super) use crate::keystore::SubjectKeys as Keys;

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
    pub(super) fn begin(record: Record, keys: &Keys) -> Self {
        let envelope = record.envelope(keys);
        let row = Row::of(&record, &envelope);
        let (request, response) = (Payload::default(), Payload::default());
        Self { row, first: record, envelope, end: None, request, response }
    }

    fn close(&mut self, record: Record, keys: &Keys) {
        let envelope = record.envelope(keys);
        self.row.end_with(&record, &envelope);
        self.end = Some((record, envelope));
    }

    /// Whether it is what a query asks for, whose `since` is given as text.
    pub(super) fn is_asked_for(&self, query: &Query, since: &str) -> bool {
        self.row.matches(query, since) && query.texts().all(|text| self.says(text))
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
    Ok(assemble(ids::records_of(log, &id)?, &id, keys))
}

/// Of the records that belong to an id, in order.
fn assemble(records: Vec<Record>, id: &str, keys: &Keys) -> Option<Call> {
    let mut call: Option<Call> = None;
    for record in records {
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
    call
}

/// Whether a record is not just a part of a call.
pub(super) fn stands_for_itself(record: &Record) -> bool {
    !matches!(record.kind(), "outcome" | "abort" | "payload")
}

/// Candidates are read one by one only if they are at most this share of the log: reading on is faster than jumping.
const JUMPING_PAYS_BELOW: u64 = 20;

/// Calls `each` for what matches. Where the index tells that it is little, only that is read, in the order in which it began;
/// else the log is, from where the query's time begins, in the order in which it ended. What is open comes last. Memory is
/// bounded by the calls that are open at once, and some bytes for each of what the index found. Returns whether some records
/// are damaged.
pub(super) fn for_each_call(
    source: &Source,
    log: &Log,
    keys: &Keys,
    query: &Query,
    with_payload: bool,
    each: &mut dyn FnMut(&Call) -> Result<(), EvidenceError>,
) -> Result<bool, EvidenceError> {
    if let Some(id) = query.one_id() {
        let call = find(log, keys, id)?.filter(|call| stands_for_itself(&call.first));
        let call = call.filter(|call| call.is_asked_for(query, &since_text(query)));
        return call.map_or(Ok(()), |call| each(&call)).map(|()| false);
    }
    let place = index::stored_place(&log.layout.index());
    let can_tell = place.index() > 0 && query.terms.iter().any(|term| !term.value.ends_with('*'));
    if !can_tell || (query.asks_for_text() && !place.text) {
        return scan_calls(log, keys, query, with_payload, each);
    }
    let mut found = match index::candidates(source, log, &place, query) {
        Ok(found) if found.len() as u64 * JUMPING_PAYS_BELOW <= place.index() => found,
        Ok(_) => return scan_calls(log, keys, query, with_payload, each),
        Err(error) => {
            tracing::warn!(%error, "the log is read without the index");
            return scan_calls(log, keys, query, with_payload, each);
        }
    };
    let since = since_text(query);
    // What ended behind the index, and what has not. The index may have got further meanwhile: then this is what counts.
    let mut behind: Vec<(Spot, Option<Spot>, Vec<Spot>)> = Vec::new();
    let mut walk = Walk::from(&place, log, keys)?;
    let mut filter = Filter::new(query, &since);
    let is_whole = walk.go_on(log, keys, Bound::END, &mut |record| filter.may_match(record, keys), &mut |ended| {
        found.remove(&ended.first.index);
        if ended.row.matches(query, &since) {
            behind.push((ended.first, ended.end, ended.payload));
        }
    })?;
    for (row, spots) in walk.open() {
        found.remove(&spots.first.index);
        if row.matches(query, &since) {
            behind.push((spots.first, None, spots.payload.clone()));
        }
    }
    found.retain(|index, _| *index < place.index());
    let mut offer = |call: &Call| match call.is_asked_for(query, &since) {
        true => each(call),
        false => Ok(()),
    };
    let mut is_damaged = !is_whole;
    for spot in found.values() {
        let Some(record) = records::at(log, *spot)? else {
            is_damaged = true;
            continue;
        };
        let Some(listed) = ids::listed(log, &place, record.id().parse()?)? else {
            return Err(EvidenceError::Malformed(
                "a part of the search index is missing; `audit rebuild` makes it again".to_owned(),
            ));
        };
        if let Some(call) = assemble(listed, record.id(), keys) {
            offer(&call)?;
        }
    }
    for (first, end, payload) in behind {
        let Some(record) = records::at(log, first)? else {
            is_damaged = true;
            continue;
        };
        let mut call = Call::begin(record, keys);
        for spot in payload.iter().filter(|_| with_payload || query.asks_for_text()) {
            records::at(log, *spot)?.iter().for_each(|record| call.take_payload(record, keys));
        }
        if let Some(end) = end.map(|end| records::at(log, end)).transpose()?.flatten() {
            call.close(end, keys);
        }
        offer(&call)?;
    }
    Ok(is_damaged)
}

fn since_text(query: &Query) -> String {
    if query.since_us == 0 { String::new() } else { rfc3339(query.since_us) }
}

/// As [`for_each_call`], by reading the log from where the query's time begins. Payload is read only if asked for.
pub(super) fn scan_calls(
    log: &Log,
    keys: &Keys,
    query: &Query,
    with_payload: bool,
    each: &mut dyn FnMut(&Call) -> Result<(), EvidenceError>,
) -> Result<bool, EvidenceError> {
    let with_payload = with_payload || query.asks_for_text();
    let since = since_text(query);
    let mut open: HashMap<String, Call> = HashMap::new();
    let mut failed = None;
    let mut offer = |call: &Call| {
        if failed.is_none() && call.is_asked_for(query, &since) {
            failed = each(call).err();
        }
    };
    let damaged = records::for_each_from(log, &begin_of(log, query)?, |record| match record.kind() {
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

/// The beginning of the first segment that has something as new as the query asks for, as far as the index knows.
fn begin_of(log: &Log, query: &Query) -> Result<Resume, EvidenceError> {
    let place = index::stored_place(&log.layout.index());
    let first = place.times.iter().find(|(_, times)| times.newest_us >= query.since_us).map(|(segment, _)| *segment);
    // Behind what is indexed, all may be new.
    let first = if query.since_us == 0 { 1 } else { first.unwrap_or(place.resume.segment) };
    records::begin_of_segment(log, first)
}
