//! Going through the log from a place to its end, again and again: what the index, its tail and `--follow` share.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::Keys;
use super::records::{self, Record};
use super::rows::Row;
use super::source::Log;
use crate::error::EvidenceError;
use crate::wal::scan::{Found, Resume, Scanner};

/// Where a record is: its block, and its index in the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spot {
    pub(super) segment: u32,
    /// Offset of the block, in bytes.
    pub(super) offset: u64,
    pub(super) index: u64,
}

/// What ended: a call with its end, or a record that stands for itself.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) row: Row,
    pub(super) first: Spot,
    pub(super) end: Option<Spot>,
}

/// A place in the log, with the calls that are open there. Nothing in it is personal: it may be stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Place {
    resume: Resume,
    open: Vec<Spot>,
    /// All segments up to this one are behind it.
    pub(super) segment: u32,
}

/// A walk along the log.
pub(super) struct Walk {
    resume: Resume,
    open: HashMap<String, (Row, Spot)>,
}

impl Walk {
    /// Goes on from a place; reads the beginnings of the calls that were open there.
    pub(super) fn from(place: &Place, log: &Log, keys: &Keys) -> Result<Self, EvidenceError> {
        let mut open = HashMap::new();
        for spot in &place.open {
            if let Some(record) = records::at(log, *spot)? {
                open.insert(record.id().to_owned(), (Row::begin(&record, &record.envelope(keys)), *spot));
            }
        }
        Ok(Self { resume: place.resume.clone(), open })
    }

    /// Where it is, at the end of a segment.
    pub(super) fn place(&self, segment: u32) -> Place {
        Place { resume: self.resume.clone(), open: self.open.values().map(|(_, spot)| *spot).collect(), segment }
    }

    /// The calls that are open here.
    pub(super) fn open_rows(&self) -> impl Iterator<Item = &Row> {
        self.open.values().map(|(row, _)| row)
    }

    /// Goes to what is the end of the log now, or of this segment. `seen` is told of every record, `ended` of every row. Returns whether it got there: it stops at damage, which
    /// `verify` will name.
    pub(super) fn go_on(
        &mut self,
        log: &Log,
        keys: &Keys,
        last_segment: u32,
        seen: &mut dyn FnMut(&Record, Spot),
        ended: &mut dyn FnMut(Ended),
    ) -> Result<bool, EvidenceError> {
        let mut scanner = Scanner::resume(&log.layout.wal(), &self.resume);
        loop {
            let block = match scanner.next()? {
                Found::Block(block) if block.segment <= last_segment => block,
                found => return Ok(!matches!(found, Found::Bad(_))),
            };
            for record in records::of_block(block.header.first_index, &block.payload) {
                let spot = Spot { segment: block.segment, offset: block.offset, index: record.index };
                seen(&record, spot);
                self.take(&record, spot, keys, ended);
            }
            self.resume = scanner.place();
        }
    }

    fn take(&mut self, record: &Record, spot: Spot, keys: &Keys, ended: &mut dyn FnMut(Ended)) {
        match record.kind() {
            "payload" => {}
            "intent" => {
                let row = Row::begin(record, &record.envelope(keys));
                self.open.insert(record.id().to_owned(), (row, spot));
            }
            "outcome" | "abort" => {
                if let Some((mut row, first)) = self.open.remove(record.text("call")) {
                    row.end(record, &record.envelope(keys));
                    ended(Ended { row, first, end: Some(spot) });
                }
            }
            _ => ended(Ended { row: Row::begin(record, &record.envelope(keys)), first: spot, end: None }),
        }
    }
}

/// The row of what was found at these places.
pub(super) fn row_at(log: &Log, keys: &Keys, first: Spot, end: Option<Spot>) -> Result<Option<Row>, EvidenceError> {
    let Some(record) = records::at(log, first)? else { return Ok(None) };
    let envelope: Value = record.envelope(keys);
    let mut row = Row::begin(&record, &envelope);
    if let Some(end) = end
        && let Some(record) = records::at(log, end)?
    {
        row.end(&record, &record.envelope(keys));
    }
    Ok(Some(row))
}
