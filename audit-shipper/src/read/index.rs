//! The search index: tantivy, one shard per day. Derived: it can be deleted at any time.
//!
//! It holds no text. What is searched for are blind tokens, HMACs of field and value (or of the words that were said, if that is
//! asked for) under a key derived from the keystore's, so that the index tells nothing to whoever has no keys; rows are read from
//! the log and opened with the keys. It covers the log up to a stored place; the rest, some seconds, is read from the log itself,
//! so that a record is found as soon as it is acknowledged. The place is never behind the newest checkpoint, so that a start can go
//! on from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::blind::Blind;
use super::calls::{Keys, Payload};
use super::forget;
use super::ids::IdList;
use super::query::{Field, Query};
use super::records::{self, Seen};
use super::rows::{self, Row};
use super::shard::{Enough, Listed, Shard, ShardWriter};
use super::source::{Log, Source};
use super::spoken;
use super::walk::{Bound, Ended, FORMAT, Place, Spot, Times, Walk, ended_at};
use crate::derived;
use crate::error::EvidenceError;
use crate::keystore;
use crate::layout;
use crate::model::Role;
use crate::wal::disk::Disk;
use crate::wal::format::{BlockHeader, HEADER_BYTES};
use crate::wal::segment::Files;

/// The index is brought up to date when so many records are new, or so long after the last time: what it does not cover yet is
/// read from the log by every search, and each time costs the disk some synchronous writes.
const UPDATE_RECORDS: u64 = 10_000;
const UPDATE_AFTER: Duration = Duration::from_secs(5);
/// How often that is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Held while the index of any log of this process changes: an update that still knows keys which are being destroyed must be
/// over before what is under them is taken out.
pub(super) static CHANGING: Mutex<()> = Mutex::new(());
const DAY_US: u64 = 86_400_000_000;

/// Brings the index up to the newest checkpoint; returns how many rows were added. One at a time. `text` says whether what was said
/// is indexed; where that changes, everything is indexed anew. Without it, things stay as they were.
///
/// # Errors
/// [`EvidenceError`] if the log or the keystore cannot be read, or the index not be written.
pub fn update_index(source: &Source, text: Option<bool>) -> Result<u64, EvidenceError> {
    let added = update(source, text)?;
    if added > 0 {
        keystore::keep_list(&source.locate()?.layout.keystore(), &source.master_path())?;
    }
    Ok(added)
}

fn update(source: &Source, text: Option<bool>) -> Result<u64, EvidenceError> {
    let _one_at_a_time = CHANGING.lock().unwrap_or_else(PoisonError::into_inner);
    let log = source.locate()?;
    let directory = log.layout.index();
    let mut place = stored_place(&directory);
    if place.index() == 0 || text.is_some_and(|text| text != place.text) {
        // There may be something of another format.
        remove(&directory)?;
        place = Place { text: text.unwrap_or_default(), ..Place::default() };
    }
    forget::forget_announced(source, &log)?;
    let before = log.signed_size().unwrap_or(u64::MAX);
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
        let mut list = |record: &Seen<'_>| {
            ids.add(record);
            true
        };
        walk.go_on(&log, &keys, bound, &mut list, &mut |ended| {
            added += 1;
            let mut tokens = blind.of_row(&ended.row);
            tokens.extend(ended.keys.iter().flatten().map(|key| blind.key(key)));
            let words = if place.text { add_words(&log, &keys, &blind, &ended.payload, &mut tokens) } else { Ok(()) };
            let done = words.and_then(|()| shards.add(&ended, tokens));
            failed = failed.take().or(done.err());
        })?;
        if let Some(error) = failed {
            return Err(error);
        }
        let Some(mut next) = walk.place() else { return Ok(added) };
        next.days.clone_from(&place.days);
        next.times.clone_from(&place.times);
        for (day, index) in &shards.newest {
            let known = next.days.entry(*day).or_default();
            *known = (*known).max(*index);
        }
        if next.index() == place.index() && segment == newest {
            return Ok(added);
        }
        shards.commit()?;
        let seen = ids.write(&log, segment)?;
        let times = next.times.entry(segment).or_insert(Times::NONE);
        *times = times.and(seen);
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
    Some(log.signed_size()?.saturating_sub(stored_place(&log.layout.index()).index()))
}

/// What was said in these pieces of payload, as far as it can be read.
pub(super) fn said(log: &Log, keys: &Keys, pieces: &[Spot]) -> Result<Vec<String>, EvidenceError> {
    let [mut request, mut response] = [Payload::default(), Payload::default()];
    for spot in pieces {
        let Some(record) = records::at(log, *spot)? else { continue };
        match record.text("role") {
            "request" => request.add(&record, Role::Request, keys),
            "response" => response.add(&record, Role::Response, keys),
            _ => {}
        }
    }
    Ok([request, response].iter().flat_map(spoken::texts).collect())
}

/// Adds the words of these pieces of payload.
fn add_words(
    log: &Log,
    keys: &Keys,
    blind: &Blind,
    pieces: &[Spot],
    tokens: &mut Vec<u64>,
) -> Result<(), EvidenceError> {
    for text in said(log, keys, pieces)? {
        tokens.extend(blind.words(&text));
    }
    Ok(())
}

/// Removes everything that is indexed, to be made again. Returns whether it held what was said.
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
pub(super) fn remove(directory: &Path) -> Result<(), EvidenceError> {
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
    let place: Option<Place> = stored.and_then(|text| serde_json::from_slice(&text).ok());
    place.filter(|place| place.format == FORMAT).unwrap_or_default()
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
    writers: BTreeMap<u64, ShardWriter>,
    /// The largest index that was added to each.
    newest: BTreeMap<u64, u64>,
}

impl Shards {
    fn add(&mut self, ended: &Ended, mut tokens: Vec<u64>) -> Result<(), EvidenceError> {
        let time_us = rows::unix_us(&ended.row.time);
        let day = time_us / DAY_US;
        let newest = self.newest.entry(day).or_default();
        *newest = (*newest).max(ended.first.index);
        if !self.writers.contains_key(&day) {
            let shard = Shard::open_or_make(&self.directory.join(day.to_string()))?;
            self.writers.insert(day, shard.writer()?);
        }
        let Some(writer) = self.writers.get(&day) else { return Ok(()) };
        tokens.sort_unstable();
        tokens.dedup();
        writer.add(&Listed { time_us, first: ended.first, end: ended.end }, &tokens)
    }

    fn commit(self) -> Result<(), EvidenceError> {
        self.writers.into_values().try_for_each(ShardWriter::commit)
    }
}

/// The days that the query asks for, those with the newest rows first, and the newest index in each.
fn days_of(place: &Place, query: &Query) -> Vec<(u64, u64)> {
    let asked_for = query.since_us / DAY_US..=until_us(query) / DAY_US;
    let days = place.days.iter().filter(|(day, _)| asked_for.contains(day));
    let mut days: Vec<(u64, u64)> = days.map(|(day, newest)| (*newest, *day)).collect();
    days.sort_unstable();
    days.reverse();
    days
}

fn until_us(query: &Query) -> u64 {
    if query.until_us == 0 { u64::MAX } else { query.until_us }
}

/// What a page of a search shows.
pub(super) struct Wanted<'q> {
    pub(super) query: &'q Query,
    /// Rows below this index.
    pub(super) before: u64,
    pub(super) limit: usize,
}

/// The newest rows of the indexed part that match and whose index is below `before`, newest first.
pub(super) fn newest(
    source: &Source,
    log: &Log,
    keys: &Keys,
    place: &Place,
    &Wanted { query, before, limit }: &Wanted<'_>,
    matches: &dyn Fn(&Row) -> bool,
) -> Result<Vec<Row>, EvidenceError> {
    let tokens = tokens(&Blind::of(source)?, query);
    let times = query.since_us..=until_us(query);
    let mut rows: BTreeMap<u64, Row> = BTreeMap::new();
    for (newest, day) in days_of(place, query) {
        // Enough, and none of this day is newer.
        if rows.keys().rev().nth(limit.saturating_sub(1)).is_some_and(|least| *least > newest) {
            break;
        }
        let mut found_here = 0;
        let shard = Shard::open(&log.layout.index().join(day.to_string()))?;
        shard.ok_or_else(missing)?.finder()?.find(&tokens, before, &mut |listed| {
            if times.contains(&listed.time_us)
                && let Some(Ended { row, .. }) = ended_at(log, keys, listed.first, listed.end)?
                && matches(&row)
            {
                // What a crash let be added twice counts once.
                found_here += usize::from(rows.insert(row.index, row).is_none());
            }
            Ok(if found_here >= limit { Enough::Yes } else { Enough::No })
        })?;
    }
    Ok(rows.into_values().rev().collect())
}

/// Where everything is in the indexed part that may match, by its index: rows have still to be read and compared.
pub(super) fn candidates(
    source: &Source,
    log: &Log,
    place: &Place,
    query: &Query,
) -> Result<BTreeMap<u64, Spot>, EvidenceError> {
    let tokens = tokens(&Blind::of(source)?, query);
    let times = query.since_us..=until_us(query);
    let mut found = BTreeMap::new();
    for (_, day) in days_of(place, query) {
        let shard = Shard::open(&log.layout.index().join(day.to_string()))?;
        shard.ok_or_else(missing)?.finder()?.find(&tokens, u64::MAX, &mut |listed| {
            if times.contains(&listed.time_us) {
                found.insert(listed.first.index, listed.first);
            }
            Ok(Enough::No)
        })?;
    }
    Ok(found)
}

fn missing() -> EvidenceError {
    EvidenceError::Malformed("a day of the search index is missing; `audit rebuild` makes it again".to_owned())
}

/// The tokens of what the index can tell. An id is not among it, nor the beginning of a word.
fn tokens(blind: &Blind, query: &Query) -> Vec<u64> {
    let exact = query.terms.iter().filter_map(|term| Some((field_name(term.field)?, term.value.as_str())));
    let exact = exact.filter(|(_, value)| !value.is_empty() && !value.ends_with('*'));
    let mut tokens: Vec<u64> = exact.map(|(field, value)| blind.token(field, value)).collect();
    tokens.extend(query.texts().flat_map(spoken::whole_words).map(|word| blind.word(&word)));
    tokens
}

/// None if the index is not asked for it like that.
fn field_name(field: Field) -> Option<&'static str> {
    Some(match field {
        Field::Subject => "subject",
        Field::Tenant => "tenant",
        Field::Model => "model",
        Field::Operation => "operation",
        Field::Decision => "decision",
        Field::Kind => "kind",
        Field::Status => "status",
        Field::Rule => "rule",
        Field::Masked => "masked",
        Field::Trace => "trace",
        Field::Value => "value",
        Field::Id | Field::Text => return None,
    })
}
