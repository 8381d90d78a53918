//! The records of a log, opened as far as the keys reach.

use std::collections::HashMap;

use serde_json::Value;

use super::source::Log;
use super::walk::Spot;
use crate::blob::{self, Opened};
use crate::crypto::KEY_BYTES;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::keystore::KeyId;
use crate::wal::disk::Disk;
use crate::wal::format::{BlockHeader, Entries, EntryKind, HEADER_BYTES};
use crate::wal::scan::{Found, Scanner};
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

    /// The encrypted part.
    pub(super) fn open(&self, keys: &HashMap<KeyId, [u8; KEY_BYTES]>) -> Result<Opened, EvidenceError> {
        let id: RecordId = self.id().parse()?;
        let blob = self.blob.as_deref().ok_or_else(|| EvidenceError::Malformed("it has no blob".to_owned()))?;
        blob::open(keys, id, self.kind(), blob)
    }

    /// The encrypted part as JSON; null if it cannot be opened.
    pub(super) fn envelope(&self, keys: &HashMap<KeyId, [u8; KEY_BYTES]>) -> Value {
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

/// Calls `each` for every record that can be read; returns whether there were damaged ones.
pub(super) fn for_each(log: &Log, mut each: impl FnMut(Record)) -> Result<bool, EvidenceError> {
    let mut scanner = Scanner::new(&log.layout.wal());
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

/// The record at a place; none if there is another now.
pub(crate) fn at(log: &Log, spot: Spot) -> Result<Option<Record>, EvidenceError> {
    let Some(reader) = Files::new(&log.layout.wal()).reader(spot.segment)? else { return Ok(None) };
    let head = reader.read(spot.offset, HEADER_BYTES)?;
    let Some(header) = BlockHeader::decode(&head) else { return Ok(None) };
    let payload = reader.read(spot.offset + HEADER_BYTES as u64, header.payload_len as usize)?;
    let records = of_block(header.first_index, &payload);
    Ok(records.into_iter().find(|record| record.index == spot.index))
}
