//! What one event of a stream carries.

use super::RedactError;
use crate::dialect::{
    AnswerInfo, Automaton, CHOICES_MAX, Ends, EventSpec, Found, Indices, Marks, Numbering, Role, Slot, SlotForm, Slots,
    StreamTable, Taken, TextKind, index, walk,
};
use crate::json::{Document, Kind, NodeId};

/// A text that comes in pieces: which of the table's, and the numbers of its choice, item or call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamChannel {
    /// Its number in the table.
    pub(crate) spec: u8,
    /// Its numbers.
    pub(crate) indices: Indices,
}

/// What an event carries.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Pieces of channels, in document order.
    pub(crate) pieces: Vec<(StreamChannel, NodeId)>,
    /// Texts and echoes of the event itself.
    pub(crate) slots: Slots,
    /// Parts of the whole form: where they stand in the event and in the form.
    pub(crate) parts: Vec<(NodeId, &'static str, Indices)>,
    /// Signatures of the channels with these numbers.
    pub(crate) signatures: Vec<(NodeId, Indices)>,
    /// Choices that end with this event.
    pub(crate) finished: Vec<u32>,
    /// What else ends with it.
    pub(crate) ends: Vec<Ended>,
}

/// What an event ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ended {
    /// One channel.
    Channel(StreamChannel),
    /// Every channel whose first numbers are these.
    Numbered(Indices),
    /// Every channel; the stream is at its end.
    All,
}

impl Ended {
    /// Whether this channel is meant.
    pub(crate) fn ends(self, channel: StreamChannel) -> bool {
        match self {
            Self::Channel(own) => own == channel,
            Self::Numbered(indices) => channel.indices.as_slice().starts_with(indices.as_slice()),
            Self::All => true,
        }
    }
}

impl Reading {
    /// Whether it ends this channel.
    pub(crate) fn ends(&self, channel: StreamChannel) -> bool {
        channel.indices.first().is_some_and(|choice| self.finished.contains(&choice))
            || self.ends.iter().any(|ended| ended.ends(channel))
    }

    /// Whether the stream is at its end.
    pub(crate) fn ends_stream(&self) -> bool {
        self.ends.contains(&Ended::All)
    }
}

/// The numbers of items whose server only gives them ids, by first appearance.
#[derive(Debug, Default)]
pub(crate) struct Items(Vec<Vec<u8>>);

impl Items {
    /// The number of the item that an event is about; 0 if it does not say.
    fn number(&mut self, document: &Document<'_>) -> Result<u32, RedactError> {
        let at = |names: &[&str]| document.descend(document.root(), names).map_err(|_| RedactError::Duplicate);
        let id = match at(&["item_id"])? {
            Some(id) => Some(id),
            None => at(&["item", "id"])?,
        };
        let Some(id) = id.and_then(|id| document.raw_string(id)) else { return Ok(0) };
        let known = self.0.iter().position(|known| known == id);
        let number = known.unwrap_or_else(|| {
            self.0.push(id.to_vec());
            self.0.len() - 1
        });
        u32::try_from(number).ok().filter(|&number| number < CHOICES_MAX).ok_or(RedactError::Member("item_id"))
    }
}

/// Reads an event.
pub(crate) fn read(
    document: &Document<'_>,
    table: &'static StreamTable,
    items: &mut Items,
    info: &mut AnswerInfo,
) -> Result<Reading, RedactError> {
    let mut reading = Reading::default();
    let root = document.root();
    let name = document.get(root, "type").map_err(|_| RedactError::Duplicate)?.and_then(|node| document.string(node));
    let is_error = document
        .get(root, "error")
        .map_err(|_| RedactError::Duplicate)?
        .is_some_and(|node| document.kind(node) != Kind::Null);
    if is_error {
        reading.ends.push(Ended::All);
    }
    match table.event(name.as_deref()) {
        Some(known) => read_known(document, table, known, items, info, &mut reading)?,
        // A kind that came after this was written: its strings are looked at, but pieces of a text cannot be.
        None if name.is_some_and(|name| name.ends_with(".delta") || name.ends_with("_delta")) => {
            return Err(RedactError::UnknownPiece);
        }
        None => {
            for node in document.subtree(root).filter(|node| document.kind(*node) == Kind::String) {
                let form = SlotForm::String(TextKind::Plain);
                reading.slots.texts.push(Slot { node, form, channel: "event".to_owned(), group: None });
            }
        }
    }
    Ok(reading)
}

fn read_known(
    document: &Document<'_>,
    table: &'static StreamTable,
    (spec, automaton): (&'static EventSpec, &'static Automaton),
    items: &mut Items,
    info: &mut AnswerInfo,
    reading: &mut Reading,
) -> Result<(), RedactError> {
    let root = document.root();
    let mut base = Indices::default();
    for name in spec.indices {
        let number = match index(document, root, name)? {
            None if *name == "output_index" => items.number(document)?,
            number => number.unwrap_or_default(),
        };
        base.push(number);
    }
    let prefix: Vec<Taken> = base.as_slice().iter().map(|number| Taken::At(*number)).collect();
    let with_base = |found: &Found<'_>| {
        let mut indices = base;
        for number in found.indices().as_slice() {
            indices.push(*number);
        }
        indices
    };
    let Reading { pieces, slots, parts, signatures, finished, ends } = reading;
    walk(document, automaton, (root, 0, None), Numbering::ByIndex, &mut |found| match found.role {
        // A token that is no part of the text, such as the one that ends it.
        Role::Piece(_) if is_special(document, found.node) => {
            let form = SlotForm::String(TextKind::Plain);
            slots.texts.push(Slot { node: found.node, form, channel: "token".to_owned(), group: None });
        }
        Role::Piece(spec) => {
            let channel = StreamChannel { spec, indices: with_base(&found) };
            // A string, or the strings of a list of parts.
            for node in document.subtree(found.node) {
                let is_type = node != found.node && document.key(node).as_deref() == Some("type");
                if document.kind(node) == Kind::String && !is_type {
                    pieces.push((channel, node));
                }
            }
        }
        Role::Whole(place) if document.kind(found.node) != Kind::Null => {
            parts.push((found.node, place, with_base(&found)));
        }
        // It is of all that came before, so nothing of that comes behind it.
        Role::Signature => {
            ends.push(Ended::Numbered(with_base(&found)));
            signatures.push((found.node, with_base(&found)));
        }
        Role::Finish => {
            info.note(document, found.node, Role::Finish);
            let said = document.raw_string(found.node).is_some_and(|raw| !raw.is_empty());
            if said && table.marks == Marks::Finish {
                finished.extend(with_base(&found).first());
            }
        }
        _ => slots.take(document, &prefix, &found, info),
    })?;
    match spec.ends {
        Ends::Nothing => {}
        Ends::Channel(spec) => ends.push(Ended::Channel(StreamChannel { spec, indices: base })),
        Ends::Numbered => ends.push(Ended::Numbered(base)),
        Ends::Stream => ends.push(Ended::All),
        Ends::StreamIf(member) => {
            let there = document.get(root, member).map_err(|_| RedactError::Duplicate)?;
            if there.is_some_and(|node| document.kind(node) != Kind::Null) {
                ends.push(Ended::All);
            }
        }
    }
    if finished.iter().any(|choice| *choice >= CHOICES_MAX) {
        return Err(RedactError::Member("index"));
    }
    Ok(())
}

fn is_special(document: &Document<'_>, node: NodeId) -> bool {
    let Some(token) = document.parent(node) else { return false };
    document.raw_key(token) == Some(b"token")
        && document.get(token, "special").ok().flatten().is_some_and(|special| document.kind(special) == Kind::True)
}
