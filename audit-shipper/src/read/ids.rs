//! Where the records of an id are, without reading the log: one sorted list per finished segment. Derived; a list that is
//! missing or wrong costs time, never a record.
//!
//! ```text
//! list: magic (8) ‖ entries, sorted: id (16, big-endian) ‖ offset of the block (8) ‖ tree index (8)
//! ```
//! A record is listed under its own id, and under that of the call or record that it belongs to.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::calls::Keys;
use super::index;
use super::records::{self, Record};
use super::source::Log;
use super::walk::{Spot, Walk};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::layout;
use crate::wal::disk::Disk;
use crate::wal::segment::Files;

const MAGIC: &[u8; 8] = b"SPIDS\r\n\x01";
const ENTRY_BYTES: usize = 32;

/// Gathers the ids of one segment.
#[derive(Debug, Default)]
pub(super) struct IdList(Vec<[u8; ENTRY_BYTES]>);

impl IdList {
    pub(super) fn add(&mut self, record: &Record, spot: Spot) {
        for field in ["id", "call", "about", "approval"] {
            if let Ok(id) = record.text(field).parse::<RecordId>() {
                let mut entry = [0; ENTRY_BYTES];
                let parts =
                    id.0.to_be_bytes().into_iter().chain(spot.offset.to_be_bytes()).chain(spot.index.to_be_bytes());
                entry.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
                self.0.push(entry);
            }
        }
    }

    /// Writes the list of a finished segment and begins a new one.
    pub(super) fn write(&mut self, log: &Log, segment: u32) -> Result<(), EvidenceError> {
        let mut entries = std::mem::take(&mut self.0);
        entries.sort_unstable();
        layout::replace(&path(log, segment), &[MAGIC, entries.as_flattened()].concat())
    }
}

fn path(log: &Log, segment: u32) -> PathBuf {
    log.layout.index().join("ids").join(format!("{segment:08}.ids"))
}

/// All records that have an id or belong to it, in order: from the lists, and from the segments that have none.
pub(super) fn records_of(log: &Log, id: &str) -> Result<Vec<Record>, EvidenceError> {
    let wanted: RecordId = id.parse()?;
    let mut found = Vec::new();
    let files = Files::new(&log.layout.wal());
    let covered = index::stored_place(&log.layout.index()).segment;
    for segment in files.segments()?.into_iter().filter(|segment| *segment <= covered) {
        match find(log, segment, wanted) {
            Some(spots) => {
                for spot in spots {
                    found.extend(records::at(log, spot)?);
                }
            }
            // The list is gone: the index is not to be trusted at all.
            None => return scan(log, id),
        }
    }
    let belongs = |record: &Record| ["id", "call", "about", "approval"].iter().any(|field| record.text(field) == id);
    found.retain(belongs);
    found.dedup_by_key(|record| record.index);
    if covered == 0 {
        return scan(log, id);
    }
    let mut walk = Walk::from(&index::stored_place(&log.layout.index()), log, &Keys::new())?;
    let mut spots = Vec::new();
    walk.go_on(
        log,
        &Keys::new(),
        u32::MAX,
        &mut |record, spot| {
            if belongs(record) {
                spots.push(spot);
            }
        },
        &mut |_| {},
    )?;
    for spot in spots {
        found.extend(records::at(log, spot)?);
    }
    Ok(found)
}

fn scan(log: &Log, id: &str) -> Result<Vec<Record>, EvidenceError> {
    let mut found = Vec::new();
    records::for_each(log, |record| {
        if ["id", "call", "about", "approval"].iter().any(|field| record.text(field) == id) {
            found.push(record);
        }
    })?;
    Ok(found)
}

/// The records of an id in one segment; none if the segment has no list.
pub(super) fn find(log: &Log, segment: u32, id: RecordId) -> Option<Vec<Spot>> {
    let list = List::open(log, segment)?;
    let wanted = id.0.to_be_bytes();
    // The first entry that is not below the id.
    let (mut low, mut high) = (0, list.entries);
    while low < high {
        let middle = low + (high - low) / 2;
        if *list.entry(middle)?.first_chunk::<16>()? < wanted { low = middle + 1 } else { high = middle }
    }
    let mut spots = Vec::new();
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
}

impl List {
    fn open(log: &Log, segment: u32) -> Option<Self> {
        let file = File::open(path(log, segment)).ok()?;
        let length = file.metadata().ok()?.len().checked_sub(MAGIC.len() as u64)?;
        let mut magic = [0; MAGIC.len()];
        file.read_exact_at(&mut magic, 0).ok()?;
        (magic == *MAGIC && length.is_multiple_of(ENTRY_BYTES as u64))
            .then_some(Self { file, entries: length / ENTRY_BYTES as u64 })
    }

    fn entry(&self, number: u64) -> Option<[u8; ENTRY_BYTES]> {
        let mut entry = [0; ENTRY_BYTES];
        self.file.read_exact_at(&mut entry, MAGIC.len() as u64 + number * ENTRY_BYTES as u64).ok()?;
        Some(entry)
    }
}
