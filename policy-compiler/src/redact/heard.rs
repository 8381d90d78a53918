//! The unmasked text of a stream, kept for the rules that read answers: conditions judge what the model said, not what is left of it
//! (DECISIONS 11).

use super::document::text_of;
use super::event::{Reading, StreamChannel};
use super::plan::{fits, leads_to};
use crate::dialect::{AnswerInfo, Operation, StreamTable, Taken, slots_at, way_to};
use crate::json::{self, Document};
use policy_lang::{BodyView, JsonPath, JsonValue, Unreadable};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Bytes of text that are kept of one stream; beyond them its rules cannot be judged.
const HEARD_BYTES_MAX: usize = 8 << 20;

/// What a stream said so far.
#[derive(Debug, Default)]
pub struct Heard {
    channels: BTreeMap<StreamChannel, Channel>,
    /// Texts that came whole.
    others: Vec<String>,
    bytes: usize,
    /// Something could not be read or kept.
    lost: bool,
}

#[derive(Debug)]
struct Channel {
    way: Vec<Taken>,
    text: Vec<u8>,
    carry: Option<u16>,
}

impl Heard {
    /// Bytes of text so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// An event could not be read.
    pub(super) fn lose(&mut self) {
        self.lost = true;
    }

    pub(super) fn take(
        &mut self,
        document: &Document<'_>,
        operation: Operation,
        table: Option<&'static StreamTable>,
        reading: &Reading,
    ) {
        for &(id, node) in &reading.pieces {
            let raw = document.raw_string(node).unwrap_or_default();
            let spec = table.and_then(|table| table.channels.get(usize::from(id.spec)));
            let channel = self.channels.entry(id).or_insert_with(|| Channel {
                way: spec.map(|spec| way_to(spec.whole, id.indices)).unwrap_or_default(),
                text: Vec::new(),
                carry: None,
            });
            let before = channel.text.len();
            json::unescape_carrying(raw, &mut channel.carry, &mut channel.text);
            self.bytes += channel.text.len() - before;
        }
        let mut whole: Vec<_> = reading.slots.texts.iter().map(|slot| slot.node).collect();
        let mut hidden = !reading.slots.hidden.is_empty();
        for &(node, place, indices) in &reading.parts {
            let Some(table) = operation.answer_table() else { continue };
            match slots_at(document, table, (node, place, indices), &mut AnswerInfo::default()) {
                Ok(slots) => {
                    hidden |= !slots.hidden.is_empty();
                    whole.extend(slots.texts.iter().map(|slot| slot.node));
                }
                Err(_) => hidden = true,
            }
        }
        for node in whole {
            let text = String::from_utf8_lossy(&text_of(document, node)).into_owned();
            self.bytes += text.len();
            self.others.push(text);
        }
        self.lost |= hidden || self.bytes > HEARD_BYTES_MAX;
        if self.lost {
            self.channels.clear();
            self.others = Vec::new();
        }
    }

    /// The answer as rules read it: with `ended`, as the whole answer that it is; before, nothing is said of what is not there.
    #[must_use]
    pub fn answer(&self, operation: Operation, ended: bool) -> HeardAnswer<'_> {
        let channels = self.channels.values().map(|channel| String::from_utf8_lossy(&channel.text));
        let mut texts: Vec<Cow<'_, str>> =
            channels.chain(self.others.iter().map(|text| Cow::Borrowed(text.as_str()))).collect();
        if !ended {
            // Of no text at all a test would know that it fails.
            texts.push(Cow::Borrowed(""));
        }
        HeardAnswer { heard: self, operation, ended, texts }
    }
}

/// The texts of a stream as policies read them.
#[derive(Debug)]
pub struct HeardAnswer<'h> {
    heard: &'h Heard,
    operation: Operation,
    ended: bool,
    texts: Vec<Cow<'h, str>>,
}

impl BodyView for HeardAnswer<'_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        if self.heard.lost { Err(Unreadable) } else { Ok(&self.texts) }
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        if self.heard.lost || !self.ended || !streams_carry(self.operation, path) {
            return Err(Unreadable);
        }
        let at = |channel: &&Channel| {
            channel.way.len() == path.segments.len()
                && path.segments.iter().zip(&channel.way).all(|(segment, step)| fits(segment, *step))
        };
        for channel in self.heard.channels.values().filter(at) {
            if !visit(JsonValue::Str(String::from_utf8_lossy(&channel.text))) {
                break;
            }
        }
        Ok(())
    }
}

/// Whether a stream of the operation carries what the path selects in the whole answer (DECISIONS 9).
#[must_use]
pub fn streams_carry(operation: Operation, path: &JsonPath) -> bool {
    let channels = operation.stream_table().map_or(&[][..], |table| table.channels);
    channels.iter().any(|channel| leads_to(path, channel.whole))
}
