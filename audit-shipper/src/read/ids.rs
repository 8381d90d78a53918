//! Where the records of an id are, and those of each kind of note, without reading the log: one sorted list per segment. Derived; a
//! list that is missing or wrong costs time, never a record.
//!
//! ```text
//! list: magic (8) ‖ entries, sorted: id (16, big-endian) ‖ place of the record (8) ‖ tree index (8)
//! ```
//! A record is listed under its own id, under that of the call or record that it belongs to, and a note under its kind: numbers
//! that are no ids, since their time is 0.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::index;
use super::records::{self, Record, Seen};
use super::rows::RowLeaf;
use super::source::Log;
use super::walk::{Place, Spot, Times};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::layout;
use crate::leaf::note_word;
use crate::model::NoteKind;
use crate::wal::scan::{Found, Resume, Scanner};

const MAGIC: &[u8; 8] = b"SPIDS\r\n\x03";
const HEAD_BYTES: usize = MAGIC.len();
const ENTRY_BYTES: usize = 32;
/// Below this there are kinds, not ids.
const FIRST_ID: u128 = 1 << 80;
/// Kinds of notes; the number of one is its place here, from 1 on, and never changes.
const KINDS: [NoteKind; 11] = [
    NoteKind::Approval,
    NoteKind::Policy,
    NoteKind::Config,
    NoteKind::Admin,
    NoteKind::Alert,
    NoteKind::Limit,
    NoteKind::DataLoad,
    NoteKind::Access,
    NoteKind::Export,
    NoteKind::Erasure,
    NoteKind::Key,
];

type Entry = [u8; ENTRY_BYTES];

/// The ids that a record has or belongs to.
fn links<'r>(leaf: &'r RowLeaf<'_>) -> impl Iterator<Item = RecordId> + 'r {
    let fields = [&leaf.id, &leaf.call, &leaf.about, &leaf.approval];
    fields.into_iter().filter_map(|field| if field.is_empty() { None } else { field.parse().ok() })
}

/// Gathers the ids of one segment.
#[derive(Debug)]
pub(super) struct IdList {
    entries: Vec<Entry>,
    times: Times,
}

impl Default for IdList {
    fn default() -> Self {
        Self { entries: Vec::new(), times: Times::NONE }
    }
}

impl IdList {
    pub(super) fn add(&mut self, record: &Seen<'_>) {
        let kind = number_of(|kind| note_word(kind) == record.leaf.t);
        for id in links(&record.leaf) {
            let ms = id.unix_ms();
            self.times = self.times.and(Times { first_id_ms: ms, last_id_ms: ms, newest_us: 0 });
            self.push(id, record.spot);
        }
        if let Some(kind) = kind {
            self.push(kind, record.spot);
        }
        if record.leaf.begins_row() {
            self.times.newest_us = self.times.newest_us.max(record.leaf.unix_us());
        }
    }

    fn push(&mut self, id: RecordId, spot: Spot) {
        let mut entry = [0; ENTRY_BYTES];
        let place = spot.in_segment().to_be_bytes();
        let parts = id.0.to_be_bytes().into_iter().chain(place).chain(spot.index.to_be_bytes());
        entry.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        self.entries.push(entry);
    }

    /// Adds what was gathered to the list of a segment; returns the times of what was gathered.
    pub(super) fn write(mut self, log: &Log, segment: u32) -> Result<Times, EvidenceError> {
        if let Some(list) = List::open(log, segment) {
            self.entries.extend(list.all());
        }
        self.entries.sort_unstable();
        self.entries.dedup();
        layout::replace(&path(log, segment), &[MAGIC.as_slice(), self.entries.as_flattened()].concat())?;
        Ok(self.times)
    }
}

/// The id under which the lists have the notes of the kind that is meant.
fn number_of(is_meant: impl Fn(NoteKind) -> bool) -> Option<RecordId> {
    KINDS.iter().position(|kind| is_meant(*kind)).map(|place| RecordId(place as u128 + 1))
}

fn path(log: &Log, segment: u32) -> PathBuf {
    log.layout.index().join("ids").join(format!("{segment:08}.ids"))
}

/// All records that have an id or belong to it, in order: from the lists, and from the log behind them.
pub(super) fn records_of(log: &Log, id: &str) -> Result<Vec<Record>, EvidenceError> {
    let wanted: RecordId = id.parse()?;
    find_all(log, wanted, &|leaf| links(leaf).any(|id| id == wanted))
}

/// All notes of a kind, in order.
pub(super) fn notes_of(log: &Log, kind: NoteKind) -> Result<Vec<Record>, EvidenceError> {
    let number = number_of(|known| known == kind).unwrap_or(RecordId(0));
    find_all(log, number, &|leaf| leaf.t == note_word(kind))
}

fn find_all(log: &Log, wanted: RecordId, is_it: &dyn Fn(&RowLeaf<'_>) -> bool) -> Result<Vec<Record>, EvidenceError> {
    let place = index::stored_place(&log.layout.index());
    // If a list is gone, the index is not to be trusted at all.
    let (mut found, behind) = match listed(log, &place, wanted)? {
        Some(found) => (found, place.resume),
        None => (Vec::new(), Resume::default()),
    };
    found.retain(|record| leaf_is(record, is_it));
    let mut scanner = Scanner::resume(&log.layout.wal(), &behind).trusting(log.signed_size());
    let mut spots = Vec::new();
    loop {
        match scanner.next()? {
            Found::Block(block) => records::see(&block, &mut |record| {
                if is_it(&record.leaf) {
                    spots.push(record.spot);
                }
            }),
            // What can be read of it is told; `verify` will name the rest.
            Found::Bad(bad) => {
                let readable = records::of_block(bad.first_index, &bad.payload).into_iter();
                found.extend(readable.filter(|record| leaf_is(record, is_it)));
            }
            Found::End(_) => break,
        }
    }
    for spot in spots {
        found.extend(records::at(log, spot)?);
    }
    found.sort_by_key(|record| record.index);
    found.dedup_by_key(|record| record.index);
    Ok(found)
}

fn leaf_is(record: &Record, is_it: &dyn Fn(&RowLeaf<'_>) -> bool) -> bool {
    serde_json::from_slice(&record.stored).is_ok_and(|leaf| is_it(&leaf))
}

/// The records that the lists up to a place know of an id; none if a list is missing.
pub(crate) fn listed(log: &Log, place: &Place, id: RecordId) -> Result<Option<Vec<Record>>, EvidenceError> {
    let mut found = Vec::new();
    for (segment, times) in &place.times {
        if id.0 >= FIRST_ID && !(times.first_id_ms..=times.last_id_ms).contains(&id.unix_ms()) {
            continue;
        }
        let Some(spots) = find(log, *segment, id) else { return Ok(None) };
        for spot in spots {
            found.extend(records::at(log, spot)?);
        }
    }
    Ok(Some(found))
}

/// The records of erasures that the lists up to a place know of; none if a list is missing.
pub(crate) fn listed_erasures(log: &Log, place: &Place) -> Result<Option<Vec<Record>>, EvidenceError> {
    let number = number_of(|known| known == NoteKind::Erasure).unwrap_or(RecordId(0));
    listed(log, place, number)
}

/// The records of an id in one segment; none if the segment has no list.
fn find(log: &Log, segment: u32, id: RecordId) -> Option<Vec<Spot>> {
    let list = List::open(log, segment)?;
    let mut spots = Vec::new();
    let wanted = id.0.to_be_bytes();
    // The first entry that is not below the id.
    let (mut low, mut high) = (0, list.entries);
    while low < high {
        let middle = low + (high - low) / 2;
        if *list.entry(middle)?.first_chunk::<16>()? < wanted { low = middle + 1 } else { high = middle }
    }
    for number in low..list.entries {
        let entry = list.entry(number)?;
        let (key, rest) = entry.split_first_chunk::<16>()?;
        if *key != wanted {
            break;
        }
        let (place, index) = rest.split_first_chunk::<8>()?;
        let index = u64::from_be_bytes(*index.first_chunk()?);
        spots.push(Spot::from_place(segment, u64::from_be_bytes(*place), index));
    }
    Some(spots)
}

struct List {
    file: File,
    entries: u64,
}

impl List {
    fn open(log: &Log, segment: u32) -> Option<Self> {
        let file = File::open(path(log, segment)).ok()?;
        let length = file.metadata().ok()?.len().checked_sub(HEAD_BYTES as u64)?;
        let mut magic = [0; HEAD_BYTES];
        file.read_exact_at(&mut magic, 0).ok()?;
        let fits = magic == *MAGIC && length.is_multiple_of(ENTRY_BYTES as u64);
        fits.then_some(Self { file, entries: length / ENTRY_BYTES as u64 })
    }

    fn entry(&self, number: u64) -> Option<Entry> {
        let mut entry = [0; ENTRY_BYTES];
        self.file.read_exact_at(&mut entry, HEAD_BYTES as u64 + number * ENTRY_BYTES as u64).ok()?;
        Some(entry)
    }

    fn all(&self) -> Vec<Entry> {
        let mut bytes = vec![0; usize::try_from(self.entries).unwrap_or(0) * ENTRY_BYTES];
        match self.file.read_exact_at(&mut bytes, HEAD_BYTES as u64) {
            Ok(()) => bytes.as_chunks::<ENTRY_BYTES>().0.to_vec(),
            Err(_) => Vec::new(),
        }
    }
}
