//! What a gateway reads of its own log: notes of one kind, and which calls used what they are about. All of them when it starts,
//! later those about one record.

use serde_json::Value;

use super::calls::Keys;
use super::ids;
use super::records::{self, Record};
use super::source::{Log, Source};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::leaf::note_word;
use crate::model::{Caller, NoteKind};
use crate::wal::disk::Disk;
use crate::wal::format::{BLOCK_ALIGN, BlockHeader};
use crate::wal::scan::{Found, Resume, Scanner};
use crate::wal::segment::Files;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Past {
    /// A note.
    Note(Box<PastNote>),
    /// A call that cites a record as its approval.
    Used {
        /// The call.
        call: RecordId,
        /// What it cites.
        approval: RecordId,
        /// Its index in the tree.
        index: u64,
    },
}

/// A note, as far as the keys reach.
#[derive(Clone, Debug)]
pub struct PastNote {
    /// Its index in the tree.
    pub index: u64,
    /// What happened.
    pub action: String,
    /// What it is about.
    pub about: Option<RecordId>,
    /// When, in ms since 1970.
    pub unix_ms: u64,
    /// What may be read without a key.
    pub details: Value,
    /// Who did it, and the free text; `None` if the key is gone.
    pub opened: Option<(Caller, String)>,
}

/// Tells `each` of every note of a kind and every call that cites an approval, in order, from the segment on that holds the
/// leaf `from`. Returns whether it got to the end: it stops at damage, which `verify` will name.
///
/// # Errors
/// [`EvidenceError`] if the log or the keystore cannot be read.
pub fn history(source: &Source, kind: NoteKind, from: u64, each: &mut dyn FnMut(Past)) -> Result<bool, EvidenceError> {
    let log = source.locate()?;
    let keys = source.subject_keys(&log)?;
    let mut scanner = Scanner::resume(&log.layout.wal(), &segment_of(&log, from)?).trusting(log.signed_size());
    loop {
        let block = match scanner.next()? {
            Found::Block(block) => block,
            Found::Bad(_) => return Ok(false),
            Found::End(_) => return Ok(true),
        };
        for record in records::of_block(block.header.first_index, &block.payload) {
            past(&record, kind, &keys).into_iter().for_each(&mut *each);
        }
    }
}

/// What happened to one record: the notes of a kind about it, and the calls that cite it, in order. Found by its id, without
/// reading the log but for its end that is not indexed yet.
///
/// # Errors
/// [`EvidenceError`] if the log or the keystore cannot be read.
pub fn history_of(source: &Source, kind: NoteKind, about: RecordId) -> Result<Vec<Past>, EvidenceError> {
    let log = source.locate()?;
    let keys = source.subject_keys(&log)?;
    let records = ids::records_of(&log, &about.to_string())?;
    let is_about = |past: &Past| match past {
        Past::Note(note) => note.about == Some(about),
        Past::Used { approval, .. } => *approval == about,
    };
    Ok(records.iter().filter_map(|record| past(record, kind, &keys)).filter(is_about).collect())
}

fn past(record: &Record, kind: NoteKind, keys: &Keys) -> Option<Past> {
    if record.kind() == note_word(kind) {
        return Some(Past::Note(Box::new(note(record, keys))));
    }
    let cites = (record.kind() == "intent").then(|| record.text("approval").parse())?;
    Some(Past::Used { call: record.id().parse().ok()?, approval: cites.ok()?, index: record.index })
}

/// The beginning of the last segment whose first leaf is not behind `from`.
fn segment_of(log: &Log, from: u64) -> Result<Resume, EvidenceError> {
    let files = Files::new(&log.layout.wal());
    for number in files.segments()?.into_iter().rev() {
        let Some(reader) = files.reader(number)? else { continue };
        if let Some(header) = BlockHeader::decode(&reader.read(0, BLOCK_ALIGN)?)
            && header.segment == number
            && header.first_index <= from
        {
            return Ok(Resume::at_segment(&header));
        }
    }
    Ok(Resume::default())
}

fn note(record: &Record, keys: &Keys) -> PastNote {
    let opened = record.open(keys).ok().and_then(|opened| serde_json::from_slice::<Value>(&opened.text).ok());
    let id: Option<RecordId> = record.id().parse().ok();
    PastNote {
        index: record.index,
        action: record.text("action").to_owned(),
        about: record.text("about").parse().ok(),
        unix_ms: id.map_or(0, RecordId::unix_ms),
        details: record.leaf.get("details").cloned().unwrap_or_default(),
        opened: opened.map(|envelope| (caller(&envelope), text(&envelope, "text"))),
    }
}

fn caller(envelope: &Value) -> Caller {
    let groups = envelope.get("groups").and_then(Value::as_array);
    Caller {
        subject: text(envelope, "subject"),
        issuer: text(envelope, "issuer"),
        client: text(envelope, "client"),
        groups: groups.into_iter().flatten().filter_map(|group| group.as_str().map(str::to_owned)).collect(),
        tenant: text(envelope, "tenant"),
        token_id: text(envelope, "token"),
        ..Caller::default()
    }
}

fn text(envelope: &Value, field: &str) -> String {
    envelope.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
}
