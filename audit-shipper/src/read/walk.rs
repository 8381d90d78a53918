//! Going through the log from a place to its end, again and again: what the index, its tail, a start and `--follow` share.

use std::collections::{BTreeMap, HashMap};

use serde::{Deserialize, Serialize};

use super::calls::Keys;
use super::records::{self, Seen};
use super::rows::Row;
use super::source::Log;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::keystore::KeyId;
use crate::wal::format::{BLOCK_ALIGN, MAX_BLOCK_PAYLOAD_BYTES};
use crate::wal::scan::{Found, Resume, Scanner};

/// Most pieces of payload of open calls that a stored place may name; with more it is not stored.
const MAX_STORED_SPOTS: usize = 200_000;

/// The format of the index; counts up with each change.
pub(super) const FORMAT: u32 = 2;

/// Where a record is: its block, and its index in the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Spot {
    pub(crate) segment: u32,
    /// Offset of the block, in bytes.
    pub(crate) offset: u64,
    /// Offset of the leaf's entry in the block's payload, in bytes.
    pub(crate) entry: u32,
    pub(crate) index: u64,
}

/// Bits of a packed place that are the entry's: a block's payload is not longer.
const ENTRY_BITS: u32 = MAX_BLOCK_PAYLOAD_BYTES.trailing_zeros();

impl Spot {
    /// Where it is in its segment, as one number.
    pub(super) fn in_segment(self) -> u64 {
        (self.offset / BLOCK_ALIGN as u64) << ENTRY_BITS | u64::from(self.entry)
    }

    /// The inverse of [`Self::in_segment`].
    pub(super) fn from_place(segment: u32, place: u64, index: u64) -> Self {
        let entry = u32::try_from(place & ((1 << ENTRY_BITS) - 1)).unwrap_or(0);
        Self { segment, offset: (place >> ENTRY_BITS) * BLOCK_ALIGN as u64, entry, index }
    }
}

/// What ended: a call with its end, or a record that stands for itself.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) row: Row,
    pub(super) first: Spot,
    pub(super) end: Option<Spot>,
    pub(super) payload: Vec<Spot>,
    /// The keys that its encrypted parts are under.
    pub(super) keys: [Option<KeyId>; 2],
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
    /// Of everything below the index's directory; another one is made anew.
    #[serde(default)]
    pub(super) format: u32,
    pub(crate) resume: Resume,
    pub(crate) open: Vec<OpenSpots>,
    /// Whether what was said is indexed up to here.
    #[serde(default)]
    pub(crate) text: bool,
    /// Of each day that has a shard: the largest index in it. Clocks go back at times, so days alone give no order.
    #[serde(default)]
    pub(super) days: BTreeMap<u64, u64>,
    /// Of each segment that was gone through.
    #[serde(default)]
    pub(super) times: BTreeMap<u32, Times>,
}

/// What times a segment spans.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Times {
    /// In its smallest id, and in its largest, in ms since 1970.
    pub(super) first_id_ms: u64,
    pub(super) last_id_ms: u64,
    /// Of its newest row, in µs since 1970. A call may get its id long before it is let in.
    pub(super) newest_us: u64,
}

impl Times {
    /// Of a segment in which nothing was seen so far.
    pub(super) const NONE: Self = Self { first_id_ms: u64::MAX, last_id_ms: 0, newest_us: 0 };

    pub(super) fn and(self, other: Self) -> Self {
        Self {
            first_id_ms: self.first_id_ms.min(other.first_id_ms),
            last_id_ms: self.last_id_ms.max(other.last_id_ms),
            newest_us: self.newest_us.max(other.newest_us),
        }
    }
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

struct OpenCall {
    row: Row,
    spots: OpenSpots,
    key: Option<KeyId>,
}

/// A walk along the log.
pub(super) struct Walk {
    resume: Resume,
    open: HashMap<RecordId, OpenCall>,
    text: bool,
}

impl Walk {
    /// Goes on from a place; reads the beginnings of the calls that were open there.
    pub(super) fn from(place: &Place, log: &Log, keys: &Keys) -> Result<Self, EvidenceError> {
        let mut open = HashMap::new();
        for spots in &place.open {
            if let Some(record) = records::at(log, spots.first)?
                && let Ok(id) = record.id().parse()
            {
                let row = Row::of(&record, &record.envelope(keys));
                open.insert(id, OpenCall { row, spots: spots.clone(), key: record.key_id() });
            }
        }
        Ok(Self { resume: place.resume.clone(), open, text: place.text })
    }

    /// Where it is, without days and times; none if too much is open to be stored.
    pub(super) fn place(&self) -> Option<Place> {
        let spots: usize = self.open.values().map(|call| 1 + call.spots.payload.len()).sum();
        let open = || self.open.values().map(|call| call.spots.clone()).collect();
        (spots <= MAX_STORED_SPOTS).then(|| Place {
            format: FORMAT,
            resume: self.resume.clone(),
            open: open(),
            text: self.text,
            ..Place::default()
        })
    }

    /// The calls that are open here.
    pub(super) fn open(&self) -> impl Iterator<Item = (&Row, &OpenSpots)> {
        self.open.values().map(|call| (&call.row, &call.spots))
    }

    /// Goes on to the bound, or to what is the end of the log now. `seen` is told of every record and says whether a row
    /// that begins with it is wanted, `ended` is told of every such row. Returns whether it got there: it stops at damage, which
    /// `verify` will name.
    pub(super) fn go_on(
        &mut self,
        log: &Log,
        keys: &Keys,
        bound: Bound,
        seen: &mut dyn FnMut(&Seen<'_>) -> bool,
        ended: &mut dyn FnMut(Ended),
    ) -> Result<bool, EvidenceError> {
        let mut scanner = Scanner::resume(&log.layout.wal(), &self.resume).trusting(log.signed_size());
        loop {
            let block = match scanner.next()? {
                Found::Block(block) if block.segment > bound.last_segment => return Ok(true),
                Found::Block(block) => block,
                found => return Ok(!matches!(found, Found::Bad(_))),
            };
            if block.header.first_index + u64::from(block.header.leaves) > bound.before {
                return Ok(true);
            }
            records::see(&block, &mut |record| {
                if seen(record) {
                    self.take(record, keys, ended);
                }
            });
            self.resume = scanner.place();
        }
    }

    fn take(&mut self, record: &Seen<'_>, keys: &Keys, ended: &mut dyn FnMut(Ended)) {
        let (leaf, spot) = (&record.leaf, record.spot);
        match leaf.t.as_ref() {
            "payload" => {
                if let Some(call) = leaf.call.parse().ok().and_then(|call: RecordId| self.open.get_mut(&call)) {
                    call.spots.payload.push(spot);
                }
            }
            "intent" => {
                let row = Row::begin(leaf, record.envelope(keys), spot.index);
                let spots = OpenSpots { first: spot, payload: Vec::new() };
                if let Ok(id) = leaf.id.parse() {
                    self.open.insert(id, OpenCall { row, spots, key: record.key_id() });
                }
            }
            "outcome" | "abort" => {
                let call = leaf.call.parse().ok().and_then(|call: RecordId| self.open.remove(&call));
                if let Some(OpenCall { mut row, spots: OpenSpots { first, payload }, key }) = call {
                    row.end(leaf, record.envelope(keys));
                    let keys = [key, record.key_id().filter(|other| key != Some(*other))];
                    ended(Ended { row, first, end: Some(spot), payload, keys });
                }
            }
            _ => {
                let row = Row::begin(leaf, record.envelope(keys), spot.index);
                ended(Ended { row, first: spot, end: None, payload: Vec::new(), keys: [record.key_id(), None] });
            }
        }
    }
}

/// The row of what was found at these places, and the keys that its encrypted parts are under.
pub(super) fn ended_at(log: &Log, keys: &Keys, first: Spot, end: Option<Spot>) -> Result<Option<Ended>, EvidenceError> {
    let Some(record) = records::at(log, first)? else { return Ok(None) };
    let mut row = Row::of(&record, &record.envelope(keys));
    let (key, mut other) = (record.key_id(), None);
    if let Some(end) = end
        && let Some(record) = records::at(log, end)?
    {
        row.end_with(&record, &record.envelope(keys));
        other = record.key_id().filter(|other| key != Some(*other));
    }
    Ok(Some(Ended { row, first, end, payload: Vec::new(), keys: [key, other] }))
}
