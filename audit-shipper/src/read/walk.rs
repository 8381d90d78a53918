//! Going through the log from a place to its end, again and again: what the index, its tail, a start and `--follow` share.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::calls::Keys;
use super::records::{self, Record};
use super::rows::Row;
use super::source::Log;
use crate::error::EvidenceError;
use crate::wal::scan::{Found, Resume, Scanner};

/// Most pieces of payload of open calls that a stored place may name; with more it is not stored.
const MAX_STORED_SPOTS: usize = 200_000;

/// Where a record is: its block, and its index in the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Spot {
    pub(crate) segment: u32,
    /// Offset of the block, in bytes.
    pub(crate) offset: u64,
    pub(crate) index: u64,
}

/// What ended: a call with its end, or a record that stands for itself.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) row: Row,
    pub(super) first: Spot,
    pub(super) end: Option<Spot>,
    pub(super) payload: Vec<Spot>,
}

/// A call without an end so far.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct OpenSpots {
    pub(crate) first: Spot,
    pub(crate) payload: Vec<Spot>,
}

/// A place in the log, with the calls that are open there. Nothing in it is personal: it may be stored.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Place {
    pub(crate) resume: Resume,
    pub(crate) open: Vec<OpenSpots>,
    /// Whether what was said is indexed up to here.
    #[serde(default)]
    pub(crate) text: bool,
    /// Of each day that has a shard: the largest index in it. Clocks go back at times, so days alone give no order.
    #[serde(default)]
    pub(super) days: BTreeMap<u64, u64>,
}

impl Place {
    /// Index of the first record behind it.
    pub(crate) fn index(&self) -> u64 {
        self.resume.index()
    }
}

/// How far a walk goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    pub(super) last_segment: u32,
    /// No block with a record that is not before this index.
    pub(super) before: u64,
}

impl Bound {
    /// To what is the end of the log now.
    pub(super) const END: Self = Self { last_segment: u32::MAX, before: u64::MAX };
}

/// A walk along the log.
pub(super) struct Walk {
    resume: Resume,
    open: HashMap<String, (Row, OpenSpots)>,
    text: bool,
}

impl Walk {
    /// Goes on from a place; reads the beginnings of the calls that were open there.
    pub(super) fn from(place: &Place, log: &Log, keys: &Keys) -> Result<Self, EvidenceError> {
        let mut open = HashMap::new();
        for spots in &place.open {
            if let Some(record) = records::at(log, spots.first)? {
                let row = Row::begin(&record, &record.envelope(keys));
                open.insert(record.id().to_owned(), (row, spots.clone()));
            }
        }
        Ok(Self { resume: place.resume.clone(), open, text: place.text })
    }

    /// Where it is, without days; none if too much is open to be stored.
    pub(super) fn place(&self) -> Option<Place> {
        let spots: usize = self.open.values().map(|(_, open)| 1 + open.payload.len()).sum();
        let open = || self.open.values().map(|(_, open)| open.clone()).collect();
        let days = BTreeMap::new();
        (spots <= MAX_STORED_SPOTS).then(|| Place { resume: self.resume.clone(), open: open(), text: self.text, days })
    }

    /// The calls that are open here.
    pub(super) fn open(&self) -> impl Iterator<Item = (&Row, &OpenSpots)> {
        self.open.values().map(|(row, open)| (row, open))
    }

    /// Goes on to the bound, or to what is the end of the log now. `seen` is told of every record, `ended` of every row. Returns
    /// whether it got there: it stops at damage, which `verify` will name.
    pub(super) fn go_on(
        &mut self,
        log: &Log,
        keys: &Keys,
        bound: Bound,
        seen: &mut dyn FnMut(&Record, Spot),
        ended: &mut dyn FnMut(Ended),
    ) -> Result<bool, EvidenceError> {
        let mut scanner = Scanner::resume(&log.layout.wal(), &self.resume);
        loop {
            let block = match scanner.next()? {
                Found::Block(block) if block.segment > bound.last_segment => return Ok(true),
                Found::Block(block) => block,
                found => return Ok(!matches!(found, Found::Bad(_))),
            };
            if block.header.first_index + u64::from(block.header.leaves) > bound.before {
                return Ok(true);
            }
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
            "payload" => {
                if let Some((_, open)) = self.open.get_mut(record.text("call")) {
                    open.payload.push(spot);
                }
            }
            "intent" => {
                let row = Row::begin(record, &record.envelope(keys));
                self.open.insert(record.id().to_owned(), (row, OpenSpots { first: spot, payload: Vec::new() }));
            }
            "outcome" | "abort" => {
                if let Some((mut row, OpenSpots { first, payload })) = self.open.remove(record.text("call")) {
                    row.end(record, &record.envelope(keys));
                    ended(Ended { row, first, end: Some(spot), payload });
                }
            }
            _ => {
                let row = Row::begin(record, &record.envelope(keys));
                ended(Ended { row, first: spot, end: None, payload: Vec::new() });
            }
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
