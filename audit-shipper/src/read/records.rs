//! The records of a log, opened as far as the keys reach.

use serde_json::Value;

use super::rows::{RowEnvelope, RowLeaf};
use super::source::Log;
use super::walk::Spot;
use crate::blob::{self, Opened};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::keystore::{KeyId, SubjectKeys};
use crate::wal::disk::Disk;
use crate::wal::format::{
    BlockHeader, ENTRY_HEAD_BYTES, Entries, EntryKind, HEADER_BYTES, MAX_BLOB_BYTES, MAX_LEAF_BYTES,
};
use crate::wal::scan::{Block, Found, Resume, Scanner};
use crate::wal::segment::Files;

/// A record.
#[derive(Debug)]
pub(crate) struct Record {
    /// Its index in the tree.
    pub(super) index: u64,
    pub(super) leaf: Value,
    /// The leaf's bytes, as the tree commits to them.
    pub(crate) stored: Vec<u8>,
    blob: Option<Vec<u8>>,
}

impl Record {
    pub(crate) fn id(&self) -> &str {
        self.text("id")
    }

    pub(super) fn kind(&self) -> &str {
        self.text("t")
    }

    /// A text of the leaf; empty if it has none of this name.
    pub(super) fn text(&self, field: &str) -> &str {
        self.leaf.get(field).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn number(&self, field: &str) -> Option<u64> {
        self.leaf.get(field).and_then(Value::as_u64)
    }

    /// The key that it is encrypted under, as it says on its outside.
    pub(super) fn key_id(&self) -> Option<KeyId> {
        self.blob.as_deref().and_then(blob::key_id)
    }

    /// The encrypted part.
    pub(super) fn open(&self, keys: &SubjectKeys) -> Result<Opened, EvidenceError> {
        let id: RecordId = self.id().parse()?;
        let blob = self.blob.as_deref().ok_or_else(|| EvidenceError::Malformed("it has no blob".to_owned()))?;
        blob::open(keys, id, self.kind(), blob)
    }

    /// The encrypted part as JSON; null if it cannot be opened.
    pub(super) fn envelope(&self, keys: &SubjectKeys) -> Value {
        let opened = self.open(keys).ok();
        opened.and_then(|opened| serde_json::from_slice(&opened.text).ok()).unwrap_or(Value::Null)
    }
}

/// Calls `each` for every leaf with its index, in order, up to the first damage.
pub(super) fn for_each_leaf(log: &Log, mut each: impl FnMut(u64, &[u8])) -> Result<(), EvidenceError> {
    let mut scanner = Scanner::new(&log.layout.wal());
    while let Found::Block(block) = scanner.next()? {
        let leaves = Entries::new(&block.payload).filter(|entry| entry.kind == EntryKind::Leaf);
        (block.header.first_index..).zip(leaves).for_each(|(index, leaf)| each(index, leaf.data));
    }
    Ok(())
}

/// The beginning of a segment, if its first block can be read; else that of the log.
pub(super) fn begin_of_segment(log: &Log, number: u32) -> Result<Resume, EvidenceError> {
    let reader = Files::new(&log.layout.wal()).reader(number)?;
    let first = reader.map(|reader| reader.read(0, HEADER_BYTES)).transpose()?;
    let header = first.and_then(|first| BlockHeader::decode(&first)).filter(|header| header.segment == number);
    Ok(header.map_or_else(Resume::default, |header| Resume::at_segment(&header)))
}

/// Calls `each` for every record from a place on that can be read; returns whether there were damaged ones.
pub(super) fn for_each_from(log: &Log, from: &Resume, mut each: impl FnMut(Record)) -> Result<bool, EvidenceError> {
    let mut scanner = Scanner::resume(&log.layout.wal(), from).trusting(log.signed_size());
    let mut damaged = false;
    loop {
        let (first_index, payload) = match scanner.next()? {
            Found::Block(block) => (block.header.first_index, block.payload),
            Found::Bad(bad) => {
                damaged = true;
                (bad.first_index, bad.payload)
            }
            Found::End(_) => return Ok(damaged),
        };
        let (records, whole) = take_apart(first_index, &payload);
        damaged |= !whole;
        records.into_iter().for_each(&mut each);
    }
}

/// The records of a block that can be read.
pub(super) fn of_block(first_index: u64, payload: &[u8]) -> Vec<Record> {
    take_apart(first_index, payload).0
}

/// And whether that is all of them.
fn take_apart(first_index: u64, payload: &[u8]) -> (Vec<Record>, bool) {
    let (mut records, mut whole, mut index) = (Vec::new(), true, first_index);
    // Whether the last leaf could be read: else its blob belongs to nothing.
    let mut readable = false;
    for entry in Entries::new(payload) {
        match entry.kind {
            EntryKind::Leaf => {
                let leaf = serde_json::from_slice(entry.data).ok().filter(|_| entry.intact);
                readable = leaf.is_some();
                whole &= readable;
                records.extend(leaf.map(|leaf| Record { index, leaf, stored: entry.data.to_vec(), blob: None }));
                index += 1;
            }
            EntryKind::Blob if readable => {
                if let Some(record) = records.last_mut() {
                    record.blob = Some(entry.data.to_vec());
                }
            }
            EntryKind::Blob => {}
        }
    }
    (records, whole)
}

/// Read at once where a record is: most are smaller.
const FIRST_READ_BYTES: usize = 4 << 10;
/// The longest that a record can be.
const MAX_RECORD_BYTES: usize = 2 * ENTRY_HEAD_BYTES + MAX_LEAF_BYTES + MAX_BLOB_BYTES;

/// The record at a place; none if there is another now. Reads no more of its block than it takes.
pub(crate) fn at(log: &Log, spot: Spot) -> Result<Option<Record>, EvidenceError> {
    let Some(reader) = Files::new(&log.layout.wal()).reader(spot.segment)? else { return Ok(None) };
    let Some(header) = BlockHeader::decode(&reader.read(spot.offset, HEADER_BYTES)?) else { return Ok(None) };
    let leaves = header.first_index..header.first_index + u64::from(header.leaves);
    let Some(length) = (header.payload_len as usize).checked_sub(spot.entry as usize) else { return Ok(None) };
    if !leaves.contains(&spot.index) {
        return Ok(None);
    }
    let begin = spot.offset + HEADER_BYTES as u64 + u64::from(spot.entry);
    for at_once in [FIRST_READ_BYTES, MAX_RECORD_BYTES] {
        let bytes = reader.read(begin, length.min(at_once))?;
        let mut entries = Entries::new(&bytes);
        let Some(leaf) = entries.next() else { continue };
        let next = entries.next();
        // What the bytes end in may be the beginning of its blob.
        if next.is_none() && bytes.len() < length.min(MAX_RECORD_BYTES) {
            continue;
        }
        let Some(value) = serde_json::from_slice(leaf.data).ok().filter(|_| leaf.intact) else { return Ok(None) };
        let blob = next.filter(|next| next.kind == EntryKind::Blob).map(|blob| blob.data.to_vec());
        return Ok(Some(Record { index: spot.index, leaf: value, stored: leaf.data.to_vec(), blob }));
    }
    Ok(None)
}

/// A record of a block as the index needs it: nothing of it is copied.
pub(crate) struct Seen<'b> {
    pub(super) spot: Spot,
    pub(super) leaf: RowLeaf<'b>,
    blob: Option<&'b [u8]>,
}

impl Seen<'_> {
    pub(super) fn key_id(&self) -> Option<KeyId> {
        blob::key_id(self.blob?)
    }

    /// What its encrypted part says; nothing if it cannot be opened.
    pub(super) fn envelope(&self, keys: &SubjectKeys) -> RowEnvelope {
        let opened = self.leaf.id.parse().ok().zip(self.blob);
        let opened = opened.and_then(|(id, blob)| blob::open(keys, id, &self.leaf.t, blob).ok());
        opened.and_then(|opened| serde_json::from_slice(&opened.text).ok()).unwrap_or_default()
    }
}

/// Tells `each` of the records of a block that can be read.
pub(super) fn see(block: &Block, each: &mut dyn FnMut(&Seen<'_>)) {
    let mut entries = Entries::new(&block.payload).peekable();
    let mut index = block.header.first_index;
    while let Some(entry) = entries.next() {
        if entry.kind != EntryKind::Leaf {
            continue;
        }
        let blob = entries.next_if(|next| next.kind == EntryKind::Blob).map(|blob| blob.data);
        if let Some(leaf) = serde_json::from_slice(entry.data).ok().filter(|_| entry.intact) {
            let place = u32::try_from(entry.offset).unwrap_or(u32::MAX);
            let spot = Spot { segment: block.segment, offset: block.offset, entry: place, index };
            each(&Seen { spot, leaf, blob });
        }
        index += 1;
    }
}
