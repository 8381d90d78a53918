//! The search index: tantivy, one shard per day. Derived: it can be deleted at any time.
//!
//! It holds no text. What is searched for are blind tokens, HMACs of field and value (or of the words that were said, if that is
//! asked for) under a key derived from the keystore's, so that the index tells nothing to whoever has no keys; rows are read from
//! the log and opened with the keys. It covers the log up to a stored place; the rest, some seconds, is read from the log itself,
//! so that a record is found as soon as it is acknowledged. The place is never behind the newest checkpoint, so that a start can go
//! on from it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tantivy::collector::TopDocs;
use tantivy::query::{AllQuery, BooleanQuery, Occur, Query as TantivyQuery, RangeQuery, TermQuery};
use tantivy::schema::{FAST, Field as TantivyField, INDEXED, IndexRecordOption, STRING, Schema};
use tantivy::{Index, IndexWriter, Order, TantivyDocument, Term as TantivyTerm};

use super::calls::{Keys, Payload};
use super::ids::IdList;
use super::query::{Field, Query};
use super::rows::Row;
use super::source::{Log, Source};
use super::spoken;
use super::walk::{Bound, Ended, Place, Spot, Walk, row_at};
use crate::crypto;
use crate::derived;
use crate::error::EvidenceError;
use crate::keystore;
use crate::layout;
use crate::model::Role;
use crate::wal::disk::Disk;
use crate::wal::format::{BlockHeader, HEADER_BYTES};
use crate::wal::segment::Files;

/// Memory of a shard's writer, in bytes: tantivy's least.
const WRITER_BYTES: usize = 15_000_000;
/// The index is brought up to date when so many records are new, or so long after the last time: what it does not cover yet is
/// read from the log by every search, and each time costs the disk some synchronous writes.
const UPDATE_RECORDS: u64 = 2000;
const UPDATE_AFTER: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Candidates read from a shard at once.
const BATCH: usize = 200;
/// Held while the index of any log of this process changes: an update that still knows keys which are being destroyed must be
/// over before the index is dropped.
static CHANGING: Mutex<()> = Mutex::new(());
/// A row without an end, where an index is wanted.
const NO_END: u64 = u64::MAX;
const DAY_US: u64 = 86_400_000_000;

struct Fields {
    token: TantivyField,
    index: TantivyField,
    time_us: TantivyField,
    segment: TantivyField,
    offset: TantivyField,
    end_segment: TantivyField,
    end_offset: TantivyField,
    end_index: TantivyField,
}

fn schema() -> (Schema, Fields) {
    let mut schema = Schema::builder();
    let fields = Fields {
        token: schema.add_text_field("token", STRING),
        index: schema.add_u64_field("index", FAST | INDEXED),
        time_us: schema.add_u64_field("time_us", FAST | INDEXED),
        segment: schema.add_u64_field("segment", FAST),
        offset: schema.add_u64_field("offset", FAST),
        end_segment: schema.add_u64_field("end_segment", FAST),
        end_offset: schema.add_u64_field("end_offset", FAST),
        end_index: schema.add_u64_field("end_index", FAST),
    };
    (schema.build(), fields)
}

/// Makes blind tokens.
struct Blind([u8; 32]);

impl Blind {
    fn of(source: &Source) -> Result<Self, EvidenceError> {
        keystore::mac_for_reading(&source.master_path(), "index", &[]).map(Self)
    }

    fn token(&self, field: &str, value: &str) -> String {
        let digest = crypto::mac(&self.0, &[field.as_bytes(), value.to_lowercase().as_bytes()]);
        hex::encode(digest.get(..10).unwrap_or_default())
    }

    fn tokens(&self, row: &Row) -> Vec<String> {
        let status = row.status.map(|status| status.to_string()).unwrap_or_default();
        let class = status.get(..1).map(|class| format!("{class}xx")).unwrap_or_default();
        let tenant = if row.tenant.is_empty() { "default" } else { &row.tenant };
        let single = [
            ("subject", row.subject.as_str()),
            ("tenant", tenant),
            ("model", &row.model),
            ("operation", &row.operation),
            ("decision", &row.decision),
            ("kind", &row.kind),
            ("status", &status),
            ("status", &class),
            ("id", &row.id),
            ("trace", &row.trace),
        ];
        let rules = row.rules.iter().map(|rule| ("rule", rule.as_str()));
        let values = row.values.iter().map(|value| ("value", value.as_str()));
        let masks = row.masks.iter().map(|mask| ("masked", mask.as_str()));
        let all = single.into_iter().chain(rules).chain(values).chain(masks).filter(|(_, value)| !value.is_empty());
        all.map(|(field, value)| self.token(field, value)).collect()
    }
}

/// Brings the index up to the newest checkpoint; returns how many rows were added. One at a time. `text` says whether what was said
/// is indexed; where that changes, everything is indexed anew. Without it, things stay as they were.
///
/// # Errors
/// [`EvidenceError`] if the log or the keystore cannot be read, or the index not be written.
pub fn update_index(source: &Source, text: Option<bool>) -> Result<u64, EvidenceError> {
    let _one_at_a_time = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let log = source.locate()?;
    let directory = log.layout.index();
    let mut place = stored_place(&directory);
    if text.is_some_and(|text| text != place.text) {
        if place.index() > 0 {
            remove(&directory)?;
        }
        place = Place { text: text.unwrap_or_default(), ..Place::default() };
    }
    let before = signed_size(&log).unwrap_or(u64::MAX);
    if place.index() >= before {
        return Ok(0);
    }
    let newest = newest_segment(&log)?;
    let keys: Keys = source.subject_keys(&log)?;
    let blind = Blind::of(source)?;
    let mut added = 0;
    for segment in place.resume.segment..=newest {
        let bound = Bound { last_segment: segment, before };
        let mut walk = Walk::from(&place, &log, &keys)?;
        let mut shards = Shards { directory: directory.clone(), writers: BTreeMap::new(), newest: BTreeMap::new() };
        let (mut ids, mut failed) = (IdList::default(), None);
        walk.go_on(&log, &keys, bound, &mut |record, spot| ids.add(record, spot), &mut |ended| {
            added += 1;
            let words = if place.text { words_of(&log, &keys, &ended.payload) } else { Ok(BTreeSet::new()) };
            let done = words.and_then(|words| shards.add(&blind, &ended, &words));
            failed = failed.take().or(done.err());
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let Some(mut next) = walk.place() else { return Ok(added) };
        next.days.clone_from(&place.days);
        for (day, index) in &shards.newest {
            let known = next.days.entry(*day).or_default();
            *known = (*known).max(*index);
        }
        if next.index() == place.index() && segment == newest {
            return Ok(added);
        }
        shards.commit()?;
        ids.write(&log, segment)?;
        place = next;
        let text = serde_json::to_vec(&place).map_err(|e| EvidenceError::Malformed(e.to_string()))?;
        layout::replace(&directory.join("place"), &text)?;
    }
    Ok(added)
}

/// Keeps the index up to date until `over`, on this thread, which yields to all others from now on. `text` as in [`update_index`].
pub fn keep_index(source: &Source, text: bool, over: impl Fn() -> bool) {
    derived::lower_priority();
    let mut updated = Instant::now();
    loop {
        let ending = over();
        let is_due =
            || new_records(source).is_none_or(|new| new >= UPDATE_RECORDS) || updated.elapsed() >= UPDATE_AFTER;
        if !ending && !is_due() {
            std::thread::sleep(LOOK_EVERY);
            continue;
        }
        match update_index(source, Some(text)) {
            Ok(0) => {}
            Ok(rows) => tracing::debug!(rows, "the search index has grown"),
            Err(error) => tracing::warn!(%error, "the search index was not brought up to date; searches read the log"),
        }
        if ending {
            return;
        }
        updated = Instant::now();
    }
}

/// Records that were signed since the index was brought up to date; none if that cannot be told.
fn new_records(source: &Source) -> Option<u64> {
    let log = source.locate().ok()?;
    Some(signed_size(&log)?.saturating_sub(stored_place(&log.layout.index()).index()))
}

/// What was said in these pieces of payload, as far as it can be read.
pub(super) fn said(log: &Log, keys: &Keys, pieces: &[Spot]) -> Result<Vec<String>, EvidenceError> {
    let [mut request, mut response] = [Payload::default(), Payload::default()];
    for spot in pieces {
        let Some(record) = super::records::at(log, *spot)? else { continue };
        match record.text("role") {
            "request" => request.add(&record, Role::Request, keys),
            "response" => response.add(&record, Role::Response, keys),
            _ => {}
        }
    }
    Ok([request, response].iter().flat_map(spoken::texts).collect())
}

fn words_of(log: &Log, keys: &Keys, pieces: &[Spot]) -> Result<BTreeSet<String>, EvidenceError> {
    Ok(said(log, keys, pieces)?.iter().flat_map(|text| spoken::words(text).collect::<Vec<_>>()).collect())
}

/// Size of the newest signed tree; none if there is no checkpoint. Nothing rests on its signature here.
fn signed_size(log: &Log) -> Option<u64> {
    let note = layout::read_if_there(&log.layout.checkpoint()).ok()??;
    std::str::from_utf8(&note).ok()?.lines().nth(1)?.parse().ok()
}

/// Removes everything that is indexed: after an erasure nothing of it may be left, not even blind. It is made again from
/// what can still be read. Returns whether it held what was said.
///
/// # Errors
/// [`EvidenceError`] if files cannot be removed.
pub fn drop_index(source: &Source) -> Result<bool, EvidenceError> {
    let _one_at_a_time = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let directory = source.locate()?.layout.index();
    let text = stored_place(&directory).text;
    remove(&directory)?;
    Ok(text)
}

/// The place first: what is left of the rest then counts for nothing.
fn remove(directory: &Path) -> Result<(), EvidenceError> {
    let there = |error: &std::io::Error| error.kind() != std::io::ErrorKind::NotFound;
    for removed in [std::fs::remove_file(directory.join("place")), std::fs::remove_dir_all(directory)] {
        if let Err(error) = removed
            && there(&error)
        {
            return Err(EvidenceError::io("remove", directory, &error));
        }
    }
    Ok(())
}

/// How far the index is; the beginning if there is none.
pub(crate) fn stored_place(directory: &Path) -> Place {
    let stored = layout::read_if_there(&directory.join("place")).ok().flatten();
    stored.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default()
}

/// The newest segment that something was written to.
fn newest_segment(log: &Log) -> Result<u32, EvidenceError> {
    let files = Files::new(&log.layout.wal());
    for number in files.segments()?.into_iter().rev() {
        let first = files.reader(number)?.map(|reader| reader.read(0, HEADER_BYTES)).transpose()?;
        if first.is_some_and(|first| BlockHeader::decode(&first).is_some()) {
            return Ok(number);
        }
    }
    Ok(0)
}

/// The writers of the days that a segment touches.
struct Shards {
    directory: PathBuf,
    writers: BTreeMap<u64, (IndexWriter, Fields)>,
    /// The largest index that was added to each.
    newest: BTreeMap<u64, u64>,
}

impl Shards {
    fn add(&mut self, blind: &Blind, ended: &Ended, words: &BTreeSet<String>) -> Result<(), EvidenceError> {
        let time_us = unix_us(&ended.row);
        let day = time_us / DAY_US;
        let newest = self.newest.entry(day).or_default();
        *newest = (*newest).max(ended.first.index);
        if !self.writers.contains_key(&day) {
            let shard = open_shard(&self.directory.join(day.to_string()), true)?;
            let writer = shard.writer_with_num_threads(1, WRITER_BYTES).map_err(index_error)?;
            self.writers.insert(day, (writer, schema().1));
        }
        let Some((writer, fields)) = self.writers.get(&day) else { return Ok(()) };
        let mut document = TantivyDocument::new();
        for token in blind.tokens(&ended.row) {
            document.add_text(fields.token, token);
        }
        for word in words {
            document.add_text(fields.token, blind.token("text", word));
        }
        let end = ended.end.unwrap_or(Spot { index: NO_END, ..Spot::default() });
        for (field, number) in [
            (fields.index, ended.first.index),
            (fields.time_us, time_us),
            (fields.segment, u64::from(ended.first.segment)),
            (fields.offset, ended.first.offset),
            (fields.end_segment, u64::from(end.segment)),
            (fields.end_offset, end.offset),
            (fields.end_index, end.index),
        ] {
            document.add_u64(field, number);
        }
        writer.add_document(document).map(drop).map_err(index_error)
    }

    fn commit(self) -> Result<(), EvidenceError> {
        for (mut writer, _) in self.writers.into_values() {
            writer.commit().map_err(index_error)?;
            writer.wait_merging_threads().map_err(index_error)?;
        }
        Ok(())
    }
}

fn unix_us(row: &Row) -> u64 {
    let time = row.time.parse::<jiff::Timestamp>().map_or(0, jiff::Timestamp::as_microsecond);
    u64::try_from(time).unwrap_or(0)
}

fn open_shard(directory: &Path, make: bool) -> Result<Index, EvidenceError> {
    if make && !directory.join("meta.json").exists() {
        layout::make_directory(directory)?;
        return Index::create_in_dir(directory, schema().0).map_err(index_error);
    }
    Index::open_in_dir(directory).map_err(index_error)
}

fn index_error(error: impl std::fmt::Display) -> EvidenceError {
    EvidenceError::Malformed(format!("the search index: {error}; it can be deleted and is made again"))
}

/// What a page of a search shows.
pub(super) struct Wanted<'q> {
    pub(super) query: &'q Query,
    /// Rows below this index.
    pub(super) before: u64,
    pub(super) limit: usize,
}

/// The newest rows of the indexed part that match and whose index is below `before`, newest first. None if the query asks for
/// what is not indexed.
pub(super) fn newest(
    source: &Source,
    log: &Log,
    keys: &Keys,
    place: &Place,
    &Wanted { query, before, limit }: &Wanted<'_>,
    matches: &dyn Fn(&Row) -> bool,
) -> Result<Vec<Row>, EvidenceError> {
    let directory = log.layout.index();
    let blind = Blind::of(source)?;
    let mut days: Vec<(u64, u64)> = place.days.iter().map(|(day, newest)| (*newest, *day)).collect();
    days.sort_unstable();
    let until_us = if query.until_us == 0 { u64::MAX } else { query.until_us };
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    let asked_for = query.since_us / DAY_US..=until_us / DAY_US;
    for (newest, day) in days.into_iter().rev().filter(|(_, day)| asked_for.contains(day)) {
        // Enough, and none of this day is newer.
        if rows.keys().rev().nth(limit.saturating_sub(1)).is_some_and(|least| *least > newest) {
            break;
        }
        let shard = open_shard(&directory.join(day.to_string()), false)?;
        let searcher = shard.reader().map_err(index_error)?.searcher();
        let (mut before, mut found_here) = (before, 0);
        loop {
            let asked = terms(&blind, query, before);
            let top = TopDocs::with_limit(BATCH).order_by_fast_field::<u64>("index", Order::Desc);
            let found = searcher.search(&asked, &top).map_err(index_error)?;
            let number = found.len();
            for (index, address) in found {
                before = before.min(index.unwrap_or(0));
                let spots = spots(searcher.segment_reader(address.segment_ord), address.doc_id)?;
                if let Some(row) = row_at(log, keys, spots.0, spots.1)?
                    && matches(&row)
                {
                    rows.insert(row.index, row);
                    found_here += 1;
                }
                if found_here >= limit {
                    break;
                }
            }
            if number < BATCH || found_here >= limit {
                break;
            }
        }
    }
    Ok(rows.into_values().rev().collect())
}

fn terms(blind: &Blind, query: &Query, before: u64) -> BooleanQuery {
    let (_, fields) = schema();
    let mut parts: Vec<(Occur, Box<dyn TantivyQuery>)> = vec![(Occur::Must, Box::new(AllQuery))];
    let below = std::ops::Bound::Excluded(TantivyTerm::from_field_u64(fields.index, before));
    parts.push((Occur::Must, Box::new(RangeQuery::new(std::ops::Bound::Unbounded, below))));
    for term in query.terms.iter().filter(|term| term.field != Field::Text && !term.value.ends_with('*')) {
        let token = blind.token(field_name(term.field), &term.value);
        let term = TantivyTerm::from_field_text(fields.token, &token);
        parts.push((Occur::Must, Box::new(TermQuery::new(term, IndexRecordOption::Basic))));
    }
    for word in query.texts().flat_map(spoken::whole_words) {
        let term = TantivyTerm::from_field_text(fields.token, &blind.token("text", &word));
        parts.push((Occur::Must, Box::new(TermQuery::new(term, IndexRecordOption::Basic))));
    }
    BooleanQuery::new(parts)
}

fn field_name(field: Field) -> &'static str {
    match field {
        Field::Subject => "subject",
        Field::Tenant => "tenant",
        Field::Model => "model",
        Field::Operation => "operation",
        Field::Decision => "decision",
        Field::Kind => "kind",
        Field::Status => "status",
        Field::Rule => "rule",
        Field::Masked => "masked",
        Field::Id => "id",
        Field::Trace => "trace",
        Field::Text => "text",
        Field::Value => "value",
    }
}

fn spots(segment: &tantivy::SegmentReader, document: tantivy::DocId) -> Result<(Spot, Option<Spot>), EvidenceError> {
    let number = |field: &str| {
        let column = segment.fast_fields().u64(field).map_err(index_error)?;
        Ok::<u64, EvidenceError>(column.first(document).unwrap_or(0))
    };
    let segment_number = |field| Ok::<u32, EvidenceError>(u32::try_from(number(field)?).unwrap_or(0));
    let first = Spot { segment: segment_number("segment")?, offset: number("offset")?, index: number("index")? };
    let end_index = number("end_index")?;
    let end = Spot { segment: segment_number("end_segment")?, offset: number("end_offset")?, index: end_index };
    Ok((first, (end_index != NO_END).then_some(end)))
}
