//! Where the records of an id are, and those of each kind of note, without reading the log: one sorted list per segment. Derived; a
//! list that is missing or wrong costs time, never a record.
//!
//! ```text
//! list: magic (8) ‖ smallest id (16) ‖ largest id (16) ‖ entries, sorted: id (16, big-endian) ‖ offset of the block (8) ‖ tree index (8)
//! ```
//! A record is listed under its own id, under that of the call or record that it belongs to, and a note under its kind: numbers
//! that are no ids, since their time is 0.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::calls::Keys;
use super::index;
use super::records::{self, Record};
use super::source::Log;
use super::walk::{Bound, Place, Spot, Walk};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::layout;
use crate::leaf::note_word;
use crate::model::NoteKind;

const MAGIC: &[u8; 8] = b"SPIDS\r\n\x02";
const HEAD_BYTES: usize = MAGIC.len() + 32;
const ENTRY_BYTES: usize = 32;
/// Below this there are kinds, not ids.
const FIRST_ID: u128 = 1 << 80;
/// The fields by which a record belongs to an id.
const LINKS: [&str; 4] = ["id", "call", "about", "approval"];
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

/// Gathers the ids of one segment.
#[derive(Debug, Default)]
pub(super) struct IdList(Vec<Entry>);

impl IdList {
    pub(super) fn add(&mut self, record: &Record, spot: Spot) {
        let linked = LINKS.iter().filter_map(|field| record.text(field).parse::<RecordId>().ok());
        let kind = KINDS.iter().position(|kind| note_word(*kind) == record.kind());
        let ids = linked.chain(kind.map(number_of)).collect::<Vec<_>>();
        for id in ids {
            let mut entry = [0; ENTRY_BYTES];
            let parts = id.0.to_be_bytes().into_iter().chain(spot.offset.to_be_bytes()).chain(spot.index.to_be_bytes());
            entry.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
            self.0.push(entry);
        }
    }

    /// Adds what was gathered to the list of a segment, and begins anew.
    pub(super) fn write(&mut self, log: &Log, segment: u32) -> Result<(), EvidenceError> {
        let mut entries = std::mem::take(&mut self.0);
        if let Some(list) = List::open(log, segment) {
            entries.extend((0..list.entries).map_while(|number| list.entry(number)));
        }
        entries.sort_unstable();
        entries.dedup();
        let ids = || {
            entries
                .iter()
                .filter_map(|entry| entry.first_chunk::<16>())
                .filter(|id| u128::from_be_bytes(**id) >= FIRST_ID)
        };
        let smallest = ids().next().copied().unwrap_or([0xff; 16]);
        let largest = ids().next_back().copied().unwrap_or_default();
        layout::replace(&path(log, segment), &[MAGIC.as_slice(), &smallest, &largest, entries.as_flattened()].concat())
    }
}

fn number_of(place: usize) -> RecordId {
    RecordId(place as u128 + 1)
}

fn path(log: &Log, segment: u32) -> PathBuf {
    log.layout.index().join("ids").join(format!("{segment:08}.ids"))
}

/// All records that have an id or belong to it, in order: from the lists, and from the log behind them.
pub(super) fn records_of(log: &Log, id: &str) -> Result<Vec<Record>, EvidenceError> {
    let wanted: RecordId = id.parse()?;
    find_all(log, wanted, &|record| LINKS.iter().any(|field| record.text(field) == id))
}

fn find_all(log: &Log, wanted: RecordId, is_it: &dyn Fn(&Record) -> bool) -> Result<Vec<Record>, EvidenceError> {
    let place = index::stored_place(&log.layout.index());
    let mut found = match listed(log, &place, wanted)? {
        Some(found) => found,
        // A list is gone: the index is not to be trusted at all.
        None => return scan(log, is_it),
    };
    found.retain(is_it);
    found.sort_by_key(|record| record.index);
    found.dedup_by_key(|record| record.index);
    // What is open there does not matter here.
    let behind = Place { open: Vec::new(), ..place };
    let mut walk = Walk::from(&behind, log, &Keys::new())?;
    let mut spots = Vec::new();
    let mut seen = |record: &Record, spot| {
        if is_it(record) {
            spots.push(spot);
        }
    };
    walk.go_on(log, &Keys::new(), Bound::END, &mut seen, &mut |_| {})?;
    for spot in spots {
        found.extend(records::at(log, spot)?);
    }
    Ok(found)
}

/// The records that the lists up to a place know of an id; none if a list is missing.
pub(crate) fn listed(log: &Log, place: &Place, id: RecordId) -> Result<Option<Vec<Record>>, EvidenceError> {
    let mut found = Vec::new();
    if place.index() == 0 {
        return Ok(Some(found));
    }
    for segment in 1..=place.resume.segment {
        let Some(spots) = find(log, segment, id) else { return Ok(None) };
        for spot in spots {
            found.extend(records::at(log, spot)?);
        }
    }
    Ok(Some(found))
}

/// The records of erasures that the lists up to a place know of; none if a list is missing.
pub(crate) fn listed_erasures(log: &Log, place: &Place) -> Result<Option<Vec<Record>>, EvidenceError> {
    let number = KINDS.iter().position(|known| *known == NoteKind::Erasure).map_or(RecordId(0), number_of);
    listed(log, place, number)
}

fn scan(log: &Log, is_it: &dyn Fn(&Record) -> bool) -> Result<Vec<Record>, EvidenceError> {
    let mut found = Vec::new();
    records::for_each(log, |record| {
        if is_it(&record) {
            found.push(record);
        }
    })?;
    Ok(found)
}

/// The records of an id in one segment; none if the segment has no list.
fn find(log: &Log, segment: u32, id: RecordId) -> Option<Vec<Spot>> {
    let list = List::open(log, segment)?;
    let mut spots = Vec::new();
    if id.0 >= FIRST_ID && !(list.smallest..=list.largest).contains(&id.0) {
        return Some(spots);
    }
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
        let (offset, index) = rest.split_first_chunk::<8>()?;
        let index = u64::from_be_bytes(*index.first_chunk()?);
        spots.push(Spot { segment, offset: u64::from_be_bytes(*offset), index });
    }
    Some(spots)
}

struct List {
    file: File,
    entries: u64,
    smallest: u128,
    largest: u128,
}

impl List {
    fn open(log: &Log, segment: u32) -> Option<Self> {
        let file = File::open(path(log, segment)).ok()?;
        let length = file.metadata().ok()?.len().checked_sub(HEAD_BYTES as u64)?;
        let mut head = [0; HEAD_BYTES];
        file.read_exact_at(&mut head, 0).ok()?;
        let (smallest, largest) = head.strip_prefix(MAGIC)?.split_first_chunk::<16>()?;
        let (smallest, largest) = (u128::from_be_bytes(*smallest), u128::from_be_bytes(*largest.first_chunk()?));
        length.is_multiple_of(ENTRY_BYTES as u64).then_some(Self {
            file,
            entries: length / ENTRY_BYTES as u64,
            smallest,
            largest,
        })
    }

    fn entry(&self, number: u64) -> Option<Entry> {
        let mut entry = [0; ENTRY_BYTES];
        self.file.read_exact_at(&mut entry, HEAD_BYTES as u64 + number * ENTRY_BYTES as u64).ok()?;
        Some(entry)
    }
}
