//! Reads a log from its beginning, block by block, and tells good, torn and damaged apart.
//!
//! * A bad block with a good one behind it was acknowledged once: damage.
//! * A bad last block is *torn* if a write that never finished explains it: sectors of zeros in it, no end mark, or the
//!   file ends in it. Anything else is damage, too: no write leaves one wrong byte among right ones.
//!
//! * A block that the next segment writes again (same number, same predecessor) is a write that failed and was given up: it was
//!   never acknowledged there. The chain itself proves that nothing lies between.
//!
//! It may run beside the writer: whatever looks bad is read again once something later was found, since the writer
//! finishes one block before it begins the next.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::crypto::Digest32;
use crate::error::EvidenceError;
use crate::wal::disk::{Disk, ReadSegment};
use crate::wal::format::{BLOCK_ALIGN, BlockHeader, END_MARK, HEADER_BYTES, MAX_BLOCK_PAYLOAD_BYTES, chain_digest};
use crate::wal::segment::Files;

/// What a disk writes all or nothing of, in bytes.
const SECTOR_BYTES: usize = 512;
/// Pause before a bad block is looked at again.
const SECOND_LOOK_AFTER: Duration = Duration::from_millis(2);
/// How much is read at once when looking for the next good block, in bytes.
const SEARCH_STEP_BYTES: usize = 1 << 20;

/// What comes next in a log.
#[derive(Debug)]
pub(crate) enum Found {
    /// A block in order.
    Block(Block),
    /// A damaged stretch.
    Bad(Bad),
    /// The end.
    End(End),
}

/// A block whose checksums are right.
#[derive(Debug)]
pub(crate) struct Block {
    pub(crate) header: BlockHeader,
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) payload: Vec<u8>,
    digest: Digest32,
}

/// Where and why the log is not what was written.
#[derive(Debug)]
pub(crate) struct Bad {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    pub(crate) why: String,
    /// Index of the first leaf that should be here.
    pub(crate) first_index: u64,
    /// Index of the next leaf that can be read in order.
    pub(crate) next_index: Option<u64>,
    /// Whether its checksums are right and it only does not continue what is before it.
    pub(crate) only_out_of_order: bool,
    /// The entries, as far as they are there. Their own checksums tell which are good.
    pub(crate) payload: Vec<u8>,
}

/// The end of what was written.
#[derive(Clone, Debug)]
pub(crate) struct End {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    /// Length of what an unfinished write left behind the end, in bytes; 0 if nothing.
    pub(crate) torn_bytes: u64,
}

/// Where a reader goes on later.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Resume {
    pub(crate) segment: u32,
    pub(crate) offset: u64,
    expected: Expected,
}

impl Default for Resume {
    fn default() -> Self {
        Self { segment: 1, offset: 0, expected: Expected::default() }
    }
}

impl Resume {
    /// At the beginning of a segment, whose first block is taken as it stands.
    pub(crate) fn at_segment(first: &BlockHeader) -> Self {
        let expected = Expected {
            epoch: first.epoch,
            sequence: first.sequence,
            index: first.first_index,
            previous: first.previous,
        };
        Self { segment: first.segment, offset: 0, expected }
    }

    /// Index of the first leaf behind it.
    pub(crate) fn index(&self) -> u64 {
        self.expected.index
    }
}

/// What the next block must continue.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Expected {
    pub(crate) epoch: u32,
    pub(crate) sequence: u64,
    pub(crate) index: u64,
    pub(crate) previous: Digest32,
}

/// Walks over a log.
pub(crate) struct Scanner {
    disk: Arc<dyn Disk>,
    segment: u32,
    file: Option<Box<dyn ReadSegment>>,
    offset: u64,
    expected: Expected,
    ended: bool,
    /// Whether a writer may be at work: then what looks bad is looked at twice.
    beside_writer: bool,
    /// The first block of the segment behind the current one, once looked for.
    next_segment: Option<Option<BlockHeader>>,
    given_up: u64,
    /// See [`Scanner::trusting`].
    signed: Option<u64>,
}

enum Look {
    /// The whole alignment unit is zero, or the segment is over.
    Nothing,
    Good(Block),
    Broken {
        why: String,
        torn: bool,
        header: Option<BlockHeader>,
        payload: Vec<u8>,
        extent: u64,
    },
}

impl Scanner {
    /// Reads the segments of a directory, also beside its writer.
    pub(crate) fn new(wal: &Path) -> Self {
        Self { beside_writer: true, ..Self::alone(Arc::new(Files::new(wal))) }
    }

    /// Reads a log that nobody writes to.
    pub(crate) fn alone(disk: Arc<dyn Disk>) -> Self {
        Self {
            disk,
            segment: 1,
            file: None,
            offset: 0,
            expected: Expected::default(),
            ended: false,
            beside_writer: false,
            next_segment: None,
            given_up: 0,
            signed: None,
        }
    }

    /// Goes on where another one was, in a log that nobody writes to.
    pub(crate) fn resume_alone(disk: Arc<dyn Disk>, from: &Resume) -> Self {
        Self { segment: from.segment, offset: from.offset, expected: from.expected.clone(), ..Self::alone(disk) }
    }

    /// Goes on where another one was.
    pub(crate) fn resume(wal: &Path, from: &Resume) -> Self {
        Self { segment: from.segment, offset: from.offset, expected: from.expected.clone(), ..Self::new(wal) }
    }

    /// For readers: once all leaves of a signed tree were read, zeros are the end. Without that, what is left of the segment is read
    /// at each end, since zeros in place of records are damage.
    pub(crate) fn trusting(self, signed: Option<u64>) -> Self {
        Self { signed, ..self }
    }

    /// Where it is.
    pub(crate) fn place(&self) -> Resume {
        Resume { segment: self.segment, offset: self.offset, expected: self.expected.clone() }
    }

    /// Failed writes that were given up, so far.
    pub(crate) fn given_up(&self) -> u64 {
        self.given_up
    }

    pub(crate) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The next block, the next damage, or the end. After the end it stays the end.
    pub(crate) fn next(&mut self) -> Result<Found, EvidenceError> {
        if self.ended {
            return Ok(self.end_here(0));
        }
        let mut look = self.look(self.offset)?;
        if self.is_given_up(&look)? {
            self.given_up += 1;
            self.move_to(self.segment + 1, 0);
            return self.next();
        }
        let nothing_at_first = matches!(look, Look::Nothing);
        if nothing_at_first && self.signed.is_some_and(|signed| self.expected.index >= signed) {
            let (sequence, index) = (self.expected.sequence, self.expected.index);
            match self.next_segment()? {
                None => return Ok(self.end_here(0)),
                Some(next) if next.sequence == sequence && next.first_index == index => {
                    self.move_to(self.segment + 1, 0);
                    return self.next();
                }
                Some(_) => {}
            }
        }
        let mut later = None;
        if !matches!(look, Look::Good(_)) {
            later = self.find_later()?;
            if self.beside_writer && matches!(look, Look::Broken { torn: false, .. }) {
                // Beside a writer, a block may be seen half-way.
                std::thread::sleep(SECOND_LOOK_AFTER);
            }
            if later.is_some() || matches!(look, Look::Broken { torn: false, .. }) {
                look = self.look(self.offset)?;
            }
        }
        match (look, later) {
            // The log grew while it was read. Stop at what was its end: a reader must not chase a busy writer for ever.
            (Look::Good(_), Some(_)) if nothing_at_first => Ok(self.end_here(0)),
            (Look::Good(block), _) => Ok(self.accept(block)),
            (Look::Nothing, Some((segment, offset, header))) if self.follows(segment, offset, &header)? => {
                self.move_to(segment, offset);
                self.next()
            }
            (Look::Nothing, Some(later)) => {
                Ok(self.skip("there are only zeros where records were".to_owned(), Vec::new(), Some(later)))
            }
            (Look::Broken { why, payload, .. }, Some(later)) => Ok(self.skip(why, payload, Some(later))),
            (Look::Broken { why, torn: false, payload, header, extent }, None) => {
                let next = header.map(|header| header.first_index + u64::from(header.leaves));
                let mut found = self.skip(why, payload, None);
                if let Found::Bad(bad) = &mut found {
                    bad.next_index = next;
                }
                self.offset += extent;
                self.ended = true;
                Ok(found)
            }
            (Look::Broken { torn: true, .. } | Look::Nothing, None) => {
                let torn_bytes = self.written_behind()?;
                Ok(self.end_here(torn_bytes))
            }
        }
    }

    fn end_here(&mut self, torn_bytes: u64) -> Found {
        self.ended = true;
        Found::End(End { segment: self.segment, offset: self.offset, torn_bytes })
    }

    /// Whether what is here was written once more, to the next segment, because this write failed.
    fn is_given_up(&mut self, look: &Look) -> Result<bool, EvidenceError> {
        let sequence = match look {
            Look::Nothing => return Ok(false),
            Look::Good(block) => block.header.sequence,
            Look::Broken { .. } => self.expected.sequence,
        };
        let expected = self.expected.clone();
        Ok(self.next_segment()?.is_some_and(|again| {
            sequence == again.sequence
                && sequence == expected.sequence
                && again.previous == expected.previous
                && again.first_index == expected.index
        }))
    }

    /// The first block of the segment behind this one, looked for once.
    fn next_segment(&mut self) -> Result<Option<&BlockHeader>, EvidenceError> {
        if self.next_segment.is_none() {
            let reader = self.disk.reader(self.segment + 1)?;
            let first = reader.map(|reader| reader.read(0, BLOCK_ALIGN)).transpose()?;
            self.next_segment = Some(first.and_then(|first| BlockHeader::decode(&first)));
        }
        Ok(self.next_segment.as_ref().and_then(Option::as_ref))
    }

    /// Takes a block whose checksums are right, if it also continues the chain.
    fn accept(&mut self, block: Block) -> Found {
        let header = &block.header;
        if header.sequence > self.expected.sequence && header.first_index > self.expected.index {
            let why = format!("block {} is here, block {} should be", header.sequence, self.expected.sequence);
            return self.skip(why, Vec::new(), Some((block.segment, block.offset, header.clone())));
        }
        let why = self.break_of_chain(&block);
        let first_index = self.expected.index;
        self.offset = block.offset + block.header.stored_bytes() as u64;
        self.expected = Expected {
            epoch: block.header.epoch,
            sequence: block.header.sequence + 1,
            index: block.header.first_index + u64::from(block.header.leaves),
            previous: block.digest,
        };
        match why {
            None => Found::Block(block),
            Some(why) => Found::Bad(Bad {
                segment: block.segment,
                offset: block.offset,
                why,
                first_index,
                next_index: Some(self.expected.index),
                only_out_of_order: true,
                payload: block.payload,
            }),
        }
    }

    fn break_of_chain(&self, block: &Block) -> Option<String> {
        let (header, expected) = (&block.header, &self.expected);
        if header.segment != block.segment {
            return Some(format!("it was written to segment {}", header.segment));
        }
        if header.sequence != expected.sequence || header.first_index != expected.index {
            return Some(format!(
                "block {} with record #{} is here, block {} with record #{} should be",
                header.sequence, header.first_index, expected.sequence, expected.index
            ));
        }
        if header.previous != expected.previous {
            return Some("it does not continue the block before it: that one was changed, or this one".to_owned());
        }
        (header.epoch < expected.epoch).then(|| "it is from an earlier start than the block before it".to_owned())
    }

    fn skip(&mut self, why: String, payload: Vec<u8>, later: Option<(u32, u64, BlockHeader)>) -> Found {
        let bad = Bad {
            segment: self.segment,
            offset: self.offset,
            why,
            first_index: self.expected.index,
            next_index: later.as_ref().map(|(_, _, header)| header.first_index),
            only_out_of_order: false,
            payload,
        };
        if let Some((segment, offset, header)) = later {
            self.move_to(segment, offset);
            self.expected = Expected {
                epoch: header.epoch,
                sequence: header.sequence,
                index: header.first_index,
                previous: header.previous,
            };
        }
        Found::Bad(bad)
    }

    fn move_to(&mut self, segment: u32, offset: u64) {
        if self.segment != segment {
            self.segment = segment;
            self.file = None;
            self.next_segment = None;
        }
        self.offset = offset;
    }

    /// Whether a later block is simply the next one: at the beginning of the next segment, with only zeros in between.
    fn follows(&mut self, segment: u32, offset: u64, header: &BlockHeader) -> Result<bool, EvidenceError> {
        let next = segment == self.segment + 1 && offset == 0 && header.sequence == self.expected.sequence;
        Ok(next && self.written_behind()? == 0)
    }

    /// Looks at the place where a block should begin.
    fn look(&mut self, offset: u64) -> Result<Look, EvidenceError> {
        let head = self.read(offset, BLOCK_ALIGN)?;
        if is_zero(&head) {
            return Ok(Look::Nothing);
        }
        let broken = |why: &str, torn, header, payload, extent: usize| {
            let extent = extent.next_multiple_of(BLOCK_ALIGN) as u64;
            Ok(Look::Broken { why: why.to_owned(), torn, header, payload, extent })
        };
        let Some(header) = BlockHeader::decode(&head) else {
            let torn = head.len() < BLOCK_ALIGN || is_zero(head.get(..SECTOR_BYTES).unwrap_or_default());
            let mut payload = self.read(offset, HEADER_BYTES + MAX_BLOCK_PAYLOAD_BYTES)?;
            payload.drain(..HEADER_BYTES.min(payload.len()));
            return broken("the block's header is damaged", torn, None, payload, BLOCK_ALIGN);
        };
        let mut bytes = self.read(offset, header.stored_bytes())?;
        let whole = bytes.len() == header.stored_bytes();
        bytes.resize(header.stored_bytes(), 0);
        // Entries (JSON, compressed, encrypted) and the end mark never have so many zeros in a row.
        let torn_sector = bytes.get(..header.content_bytes()).unwrap_or_default().chunks(SECTOR_BYTES).any(is_zero);
        let padding = bytes.split_off(header.content_bytes());
        let mark = bytes.split_off(header.content_bytes() - END_MARK.len());
        let payload = bytes.split_off(HEADER_BYTES);
        let extent = header.stored_bytes();
        let torn = !whole || torn_sector;
        if crc32c::crc32c(&payload) != header.payload_crc {
            return broken("the block's checksum is wrong", torn, Some(header), payload, extent);
        }
        if mark != END_MARK {
            return broken("the block's end mark is damaged", torn, Some(header), payload, extent);
        }
        if !is_zero(&padding) {
            return broken("there is something in the padding behind the block", false, Some(header), payload, extent);
        }
        bytes.extend_from_slice(&payload);
        bytes.extend_from_slice(&END_MARK);
        let digest = chain_digest(&bytes);
        Ok(Look::Good(Block { header, segment: self.segment, offset, payload, digest }))
    }

    /// The next good header behind the current place, in this segment or a later one.
    fn find_later(&mut self) -> Result<Option<(u32, u64, BlockHeader)>, EvidenceError> {
        let newest = self.disk.segments()?.last().copied().unwrap_or(0);
        let (segment, offset) = (self.segment, self.offset);
        let mut found = None;
        let mut from = offset + BLOCK_ALIGN as u64;
        for number in segment..=newest {
            self.move_to(number, from);
            found = self.find_header(from)?;
            if found.is_some() {
                break;
            }
            from = 0;
        }
        self.move_to(segment, offset);
        Ok(found)
    }

    fn find_header(&mut self, from: u64) -> Result<Option<(u32, u64, BlockHeader)>, EvidenceError> {
        let mut at = from;
        loop {
            let bytes = self.read(at, SEARCH_STEP_BYTES)?;
            for (number, unit) in bytes.chunks(BLOCK_ALIGN).enumerate() {
                if let Some(header) = BlockHeader::decode(unit)
                    && header.sequence >= self.expected.sequence
                    && header.first_index >= self.expected.index
                {
                    return Ok(Some((self.segment, at + (number * BLOCK_ALIGN) as u64, header)));
                }
            }
            if bytes.len() < SEARCH_STEP_BYTES {
                return Ok(None);
            }
            at += SEARCH_STEP_BYTES as u64;
        }
    }

    /// How far behind the current place the last byte of this segment lies that is not zero.
    fn written_behind(&mut self) -> Result<u64, EvidenceError> {
        let (from, mut at, mut last) = (self.offset, self.offset, 0);
        loop {
            let bytes = self.read(at, SEARCH_STEP_BYTES)?;
            if !is_zero(&bytes)
                && let Some(position) = bytes.iter().rposition(|&byte| byte != 0)
            {
                last = at - from + position as u64 + 1;
            }
            if bytes.len() < SEARCH_STEP_BYTES {
                return Ok(last);
            }
            at += SEARCH_STEP_BYTES as u64;
        }
    }

    /// Up to `length` bytes of the current segment; fewer where it ends, none where it is not.
    fn read(&mut self, offset: u64, length: usize) -> Result<Vec<u8>, EvidenceError> {
        if self.file.is_none() {
            self.file = self.disk.reader(self.segment)?;
        }
        self.file.as_ref().map_or_else(|| Ok(Vec::new()), |file| file.read(offset, length))
    }
}

/// Compared piece by piece with zeros, which is a good deal faster than byte by byte.
fn is_zero(bytes: &[u8]) -> bool {
    const ZEROS: [u8; BLOCK_ALIGN] = [0; BLOCK_ALIGN];
    bytes.chunks(BLOCK_ALIGN).all(|piece| ZEROS.get(..piece.len()) == Some(piece))
}
