//! Streams of events: one text state per channel, events rewritten in place.

use super::body::slots_or_everything;
use super::document::{Changed, Masker, Part, mask_text, pointer_to};
use super::edits::Edits;
use super::event::{self, Items, Reading, StreamChannel};
use super::few::Few;
use super::frames::{Frame, Framer, Framing, RawEvent};
use super::heard::Heard;
use super::plan::MaskPlan;
use super::synthetic::{self, Pattern};
use super::text::{TextHit, TextRedactor};
use super::{ChannelCoverage, Coverage, Hit, RedactError};
use crate::dialect::{
    AnswerInfo, CHOICES_MAX, Marks, Operation, Slots, StreamTable, TextKind, name_of, slots_at, way_to,
};
use crate::json::{self, Document, Kind, NodeId, write_string};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Bytes that may come from the last choice's end on; they are all held at once.
pub const HELD_BYTES_MAX: usize = 8 << 20;
/// Text channels of one stream.
const CHANNELS_MAX: usize = 1024;

/// What a stream has released.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamOutput {
    /// May be sent now.
    pub ready: Vec<u8>,
    /// The event that ends the last choice and all after it: may be sent when the OUTCOME record is durable (DECISIONS 23).
    pub held: Vec<u8>,
}

/// Masks one stream.
#[derive(Debug)]
pub struct StreamRedactor {
    operation: Operation,
    table: Option<&'static StreamTable>,
    plan: MaskPlan,
    choices: u32,
    framing: Framing,
    framer: Framer,
    strips_usage: bool,
    channels: Few<StreamChannel, Channel>,
    finished: BTreeSet<u32>,
    holding: bool,
    held: usize,
    head: Vec<u8>,
    numbers: Numbers,
    items: Items,
    info: AnswerInfo,
    hits: Vec<Hit>,
    /// Places whose hits are known: what repeats them counts once.
    known: BTreeSet<String>,
    coverage: BTreeSet<(String, Coverage)>,
    failed: Option<RedactError>,
    heard: Option<Heard>,
}

/// The numbers of events, where the API numbers them.
#[derive(Debug, Default)]
struct Numbers {
    last: Option<u64>,
    /// How many events were put in.
    added: u64,
}

/// The state of one channel.
#[derive(Debug)]
struct Channel {
    redactor: TextRedactor,
    /// A high surrogate at the end of the last piece.
    carry: Option<u16>,
    pointer: String,
    name: String,
    ended: bool,
    /// Bytes that came and that went. Without a hit their difference is what is held.
    came: u64,
    went: u64,
    has_hits: bool,
    /// The rule that takes its text out.
    dropped: Option<Arc<str>>,
    pattern: Pattern,
}

impl Channel {
    /// Whether everything that came went on as it was.
    fn is_clean(&self) -> bool {
        !self.has_hits && self.came == self.went && self.carry.is_none()
    }
}

impl StreamRedactor {
    /// A stream of an operation that answers with `choices` choices.
    #[must_use]
    pub fn new(operation: Operation, plan: MaskPlan, choices: u32) -> Self {
        Self {
            operation,
            table: operation.stream_table(),
            plan,
            choices: choices.clamp(1, CHOICES_MAX),
            framing: Framing::Events,
            framer: Framer::default(),
            strips_usage: false,
            channels: Few::default(),
            finished: BTreeSet::new(),
            holding: false,
            held: 0,
            head: Vec::new(),
            numbers: Numbers::default(),
            items: Items::default(),
            info: AnswerInfo::default(),
            hits: Vec::new(),
            known: BTreeSet::new(),
            coverage: BTreeSet::new(),
            failed: None,
            heard: None,
        }
    }

    /// Its events are told apart so.
    #[must_use]
    pub fn framed(self, framing: Framing) -> Self {
        Self { framing, framer: Framer::new(framing), ..self }
    }

    /// Keeps what the stream says, unmasked, for rules that read answers.
    #[must_use]
    pub fn listening(self) -> Self {
        Self { heard: Some(Heard::default()), ..self }
    }

    /// What it said so far, if it is listened to.
    #[must_use]
    pub fn heard(&self) -> Option<&Heard> {
        self.heard.as_ref()
    }

    /// Takes the event out that only counts tokens, because the caller did not ask for it.
    #[must_use]
    pub fn without_usage(self) -> Self {
        Self { strips_usage: true, ..self }
    }

    /// Takes the next bytes and appends what can be released.
    ///
    /// # Errors
    /// [`RedactError`]: the stream must be cut. What is in `out` may still be sent; every later call fails alike.
    pub fn push(&mut self, bytes: &[u8], out: &mut StreamOutput) -> Result<(), RedactError> {
        self.guarded(|this| {
            let mut frames = Vec::new();
            let framed = this.framer.push(bytes, &mut frames);
            for frame in frames {
                match frame {
                    Frame::LineFeed => this.write(b"\n", out)?,
                    Frame::Event(event) => {
                        this.event(&event, false, out)?;
                        this.framer.recycle(event);
                    }
                }
            }
            framed
        })
    }

    /// Ends the stream: everything comes out.
    ///
    /// # Errors
    /// [`RedactError`]
    pub fn finish(&mut self, out: &mut StreamOutput) -> Result<(), RedactError> {
        self.guarded(|this| {
            if let Some(event) = this.framer.finish() {
                return this.event(&event, true, out);
            }
            this.holding = true;
            let rest = this.flush(|_| true)?;
            this.write_synthetic(rest, out)
        })
    }

    /// What was masked so far.
    #[must_use]
    pub fn hits(&self) -> &[Hit] {
        &self.hits
    }

    /// What was looked at so far; empty with an empty plan.
    #[must_use]
    pub fn coverage(&self) -> Vec<ChannelCoverage> {
        let channels = self.channels.iter().map(|(_, channel)| (channel.name.clone(), Coverage::Scanned));
        let others =
            self.coverage.iter().filter(|(name, _)| !self.channels.iter().any(|(_, channel)| channel.name == *name));
        channels.chain(others.cloned()).map(|(channel, coverage)| ChannelCoverage { channel, coverage }).collect()
    }

    /// What the stream said about itself so far.
    #[must_use]
    pub fn info(&self) -> &AnswerInfo {
        &self.info
    }

    /// After an error nothing may come out any more.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<(), RedactError>) -> Result<(), RedactError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = step(self);
        self.failed = result.clone().err();
        result
    }

    /// One event; `end` says that the stream ends with it.
    fn event(&mut self, event: &RawEvent, end: bool, out: &mut StreamOutput) -> Result<(), RedactError> {
        let Some(data) = event.data() else {
            if end {
                self.terminate(out)?;
            }
            return self.write_event(event, None, out);
        };
        if data.trim_ascii() == b"[DONE]" {
            self.terminate(out)?;
            return self.write(event.bytes(), out);
        }
        let document = match Document::parse(&data) {
            Ok(document) => document,
            Err(error) => return self.unparsable(event, &data, error, end, out),
        };
        let read = match self.table {
            Some(table) => event::read(&document, table, &mut self.items, &mut self.info),
            None if self.plan.is_empty() => {
                self.not_heard();
                Ok(Reading::default())
            }
            None => Err(RedactError::Hidden),
        };
        let mut reading = match read {
            Ok(reading) => reading,
            // Pieces of a text that nobody knows cannot be masked, so they are not recorded.
            Err(RedactError::UnknownPiece | RedactError::Hidden) if self.plan.everywhere() => {
                return self.write_event(event, Some(NOT_RECORDED), out);
            }
            Err(_) if self.plan.is_empty() || self.plan.everywhere() => {
                self.not_heard();
                Reading::default()
            }
            Err(_) if self.plan.restores() => {
                if end {
                    self.terminate(out)?;
                }
                return self.write(event.bytes(), out);
            }
            Err(error) => return Err(error),
        };
        if end {
            reading.ends.push(event::Ended::All);
        }
        if let Some(heard) = &mut self.heard {
            heard.take(&document, self.operation, self.table, &reading);
        }
        if self.strips_usage && only_counts(&document) {
            self.read_parts(&document, &reading)?;
            return Ok(());
        }
        if self.plan.is_empty() {
            self.read_parts(&document, &reading)?;
            self.end_choices(&reading);
            return self.write(event.bytes(), out);
        }
        if self.head.is_empty() && !self.plan.everywhere() {
            self.head = synthetic::head(&document);
        }
        let mut edits = Edits::default();
        let mut changed = Changed::new();
        let mut taken_out = Vec::new();
        let rest = self.mask_pieces(&document, &reading, &mut changed, &mut taken_out, &mut edits)?;
        self.mask_rest(&document, &mut reading, taken_out, &mut changed, &mut edits)?;
        self.remember(event, &document, &reading, &edits);
        self.write_synthetic(rest, out)?;
        self.end_choices(&reading);
        self.renumber(&document, &mut edits);
        let edited = (!edits.is_empty()).then(|| edits.apply(&data));
        self.write_event(event, edited.as_deref(), out)
    }

    fn not_heard(&mut self) {
        if let Some(heard) = &mut self.heard {
            heard.lose();
        }
    }

    /// Runs the pieces of an event through their channels and ends those that end. What is left over has no member in the
    /// event.
    fn mask_pieces(
        &mut self,
        document: &Document<'_>,
        reading: &Reading,
        changed: &mut Changed,
        taken_out: &mut Vec<NodeId>,
        edits: &mut Edits,
    ) -> Result<BTreeMap<StreamChannel, Vec<u8>>, RedactError> {
        let has_rest = self.has_rest(reading);
        let unclean = |channels: &Few<StreamChannel, Channel>, changed: &mut Changed| {
            if !has_rest {
                // Nothing repeats a text.
                return;
            }
            let unclean = channels.iter().filter(|(_, channel)| !channel.ended && !channel.is_clean());
            changed.extend(unclean.map(|(id, _)| id.indices.first()));
        };
        unclean(&self.channels, changed);
        let mut released: Vec<(StreamChannel, NodeId, Vec<u8>, bool)> = Vec::new();
        for &(id, node) in &reading.pieces {
            let raw = document.raw_string(node).unwrap_or_default();
            let finished = id.indices.first().is_some_and(|choice| self.finished.contains(&choice));
            let channel = self.channel(id)?;
            if !raw.is_empty() && (finished || channel.ended) {
                return Err(RedactError::TextAfterFinish);
            }
            if let Some(rule) = &channel.dropped {
                let first = !std::mem::replace(&mut channel.has_hits, true);
                let hit = TextHit::whole(rule, raw.len(), "drop").at(&channel.pointer, &channel.name);
                if first {
                    self.hits.push(hit);
                }
                changed.insert(id.indices.first());
                taken_out.push(node);
                continue;
            }
            let carried = channel.carry.is_some();
            let text = json::unescaped_carrying(raw, &mut channel.carry);
            let mut out = Vec::with_capacity(text.len());
            channel.redactor.push(&text, &mut out)?;
            channel.came += text.len() as u64;
            channel.went += out.len() as u64;
            let changed = carried || channel.carry.is_some() || out != *text;
            released.push((id, node, out, changed));
        }
        self.take_hits();
        unclean(&self.channels, changed);
        let mut rest = self.flush(|id| reading.ends(id))?;
        for (id, _, out, changed) in released.iter_mut().rev() {
            if let Some(text) = rest.remove(id) {
                out.extend(text);
                *changed = true;
            }
        }
        for (_, node, out, changed) in released {
            let raw = document.raw_string(node).unwrap_or_default();
            let same = !raw.contains(&b'\\') && raw == out;
            if changed && !same {
                let mut quoted = Vec::with_capacity(out.len() + 2);
                write_string(&out, &mut quoted);
                edits.add(document.range(node), quoted);
            }
        }
        for &(node, indices) in &reading.signatures {
            let signed = |id: &StreamChannel| id.indices.as_slice().starts_with(indices.as_slice());
            if self.channels.iter().any(|(id, channel)| signed(id) && channel.has_hits) {
                edits.add(document.range(node), b"\"\"".to_vec());
            }
        }
        Ok(rest)
    }

    fn take_hits(&mut self) {
        for (_, channel) in self.channels.iter_mut() {
            let hits = channel.redactor.take_hits();
            channel.has_hits |= !hits.is_empty();
            self.hits.extend(hits.into_iter().map(|hit| hit.at(&channel.pointer, &channel.name)));
        }
    }

    /// Whether an event carries anything beside its pieces.
    fn has_rest(&self, reading: &Reading) -> bool {
        !reading.slots.is_empty() || !reading.parts.is_empty() || self.plan.everywhere()
    }

    /// Masks what an event carries beside its pieces: parts of the whole form, errors, echoes, and for the recorded copy
    /// anything.
    fn mask_rest(
        &mut self,
        document: &Document<'_>,
        reading: &mut Reading,
        taken_out: Vec<NodeId>,
        changed: &mut Changed,
        edits: &mut Edits,
    ) -> Result<(), RedactError> {
        if !self.has_rest(reading) && taken_out.is_empty() {
            return Ok(());
        }
        let plan = self.plan.clone();
        let mut masker = Masker::new(&plan, self.operation, document);
        let slots = std::mem::take(&mut reading.slots);
        self.cover(&slots);
        masker.add_slots(slots);
        for &(node, place, indices) in &reading.parts {
            let Some(table) = self.operation.answer_table() else { continue };
            let found = slots_at(document, table, (node, place, indices), &mut self.info);
            let slots = slots_or_everything(&plan, found)?;
            self.cover(&slots);
            masker.add_part(Part { node, way: way_to(place, indices) }, slots)?;
        }
        if plan.everywhere() {
            masker.add_everything();
        }
        masker.take_out(taken_out);
        masker.leave(reading.pieces.iter().map(|&(_, node)| node));
        let mut hits = Vec::new();
        masker.run(changed, edits, &mut hits)?;
        // What repeats a text repeats its hits.
        let is_new = |hit: &Hit| {
            let streamed = self.channels.iter().any(|(_, channel)| channel.pointer == hit.pointer);
            !(streamed || self.known.contains(&hit.pointer)) || reading.parts.is_empty()
        };
        hits.retain(is_new);
        if !reading.parts.is_empty() {
            self.known.extend(hits.iter().map(|hit| hit.pointer.clone()));
        }
        self.hits.extend(hits);
        Ok(())
    }

    /// Reads what the parts of an event say about the answer, where nothing is masked.
    fn read_parts(&mut self, document: &Document<'_>, reading: &Reading) -> Result<(), RedactError> {
        for &(node, place, indices) in &reading.parts {
            if let Some(table) = self.operation.answer_table() {
                // Nothing is masked, so what cannot be read does not matter.
                let _ = slots_at(document, table, (node, place, indices), &mut self.info);
            }
        }
        Ok(())
    }

    fn cover(&mut self, slots: &Slots) {
        let known = super::body::coverage(slots);
        self.coverage.extend(known.into_iter().map(|known| (known.channel, known.coverage)));
    }

    fn channel(&mut self, id: StreamChannel) -> Result<&mut Channel, RedactError> {
        if self.channels.len() >= CHANNELS_MAX && self.channels.get(&id).is_none() {
            return Err(RedactError::Channels);
        }
        let spec = self.table.and_then(|table| table.channels.get(usize::from(id.spec)));
        let plan = &self.plan;
        Ok(self.channels.get_or_insert_with(id, || {
            let way = spec.map(|spec| way_to(spec.whole, id.indices)).unwrap_or_default();
            Channel {
                redactor: TextRedactor::new(spec.map_or(TextKind::Plain, |spec| spec.kind), &plan.of_channel(&way)),
                carry: None,
                pointer: pointer_to(&way),
                name: name_of(&way),
                ended: false,
                came: 0,
                went: 0,
                has_hits: false,
                dropped: plan.drops_channel(&way),
                pattern: Pattern::default(),
            }
        }))
    }

    /// Ends channels; what they held back.
    fn flush(
        &mut self,
        which: impl Fn(StreamChannel) -> bool,
    ) -> Result<BTreeMap<StreamChannel, Vec<u8>>, RedactError> {
        let mut rest = BTreeMap::new();
        for (id, channel) in self.channels.iter_mut() {
            if channel.ended || !which(*id) {
                continue;
            }
            channel.ended = true;
            let mut out = Vec::new();
            let mut surrogate = Vec::new();
            json::finish_carry(&mut channel.carry, &mut surrogate);
            channel.redactor.push(&surrogate, &mut out)?;
            channel.redactor.finish(&mut out)?;
            if !out.is_empty() {
                rest.insert(*id, out);
            }
        }
        self.take_hits();
        Ok(rest)
    }

    /// Everything that is held back comes out, then whatever comes is held for the gateway.
    fn terminate(&mut self, out: &mut StreamOutput) -> Result<(), RedactError> {
        let rest = self.flush(|_| true)?;
        self.write_synthetic(rest, out)?;
        self.holding = true;
        Ok(())
    }

    fn end_choices(&mut self, reading: &Reading) {
        self.finished.extend(&reading.finished);
        let by_choice = self.table.is_some_and(|table| table.marks == Marks::Finish);
        if reading.ends_stream() || (by_choice && self.finished.len() >= self.choices as usize) {
            self.holding = true;
        }
    }

    /// Keeps the event as the pattern of another one, where a channel holds text back.
    fn remember(&mut self, event: &RawEvent, document: &Document<'_>, reading: &Reading, edits: &Edits) {
        if !self.table.is_some_and(StreamTable::has_types) {
            return;
        }
        for (id, node) in &reading.pieces {
            if let Some(channel) = self.channels.get_mut(id)
                && !channel.is_clean()
                && !channel.ended
            {
                let number = document.get(document.root(), NUMBER).ok().flatten();
                let mut alone = edits.clone();
                for (_, other) in reading.pieces.iter().filter(|(_, other)| other != node) {
                    // What another channel said is not said again.
                    alone.add(document.range(*other), b"\"\"".to_vec());
                }
                channel.pattern.remember(event, document, *node, number, &alone);
            }
        }
    }

    /// Later events count on from the ones that were put in.
    fn renumber(&mut self, document: &Document<'_>, edits: &mut Edits) {
        if !self.table.is_some_and(StreamTable::has_types) {
            return;
        }
        let Ok(Some(node)) = document.get(document.root(), NUMBER) else { return };
        let Some(number) = std::str::from_utf8(document.raw(node)).ok().and_then(|text| text.parse::<u64>().ok())
        else {
            return;
        };
        let number = number.saturating_add(self.numbers.added);
        self.numbers.last = Some(number);
        if self.numbers.added > 0 {
            edits.add(document.range(node), number.to_string().into_bytes());
        }
    }

    /// Data that is no JSON: passes if nothing is masked, is masked as text for the recorded copy, else is an error.
    fn unparsable(
        &mut self,
        event: &RawEvent,
        data: &[u8],
        error: json::JsonError,
        end: bool,
        out: &mut StreamOutput,
    ) -> Result<(), RedactError> {
        if end {
            self.terminate(out)?;
        }
        self.not_heard();
        if self.plan.is_empty() || self.plan.restores() {
            return self.write(event.bytes(), out);
        }
        if !self.plan.everywhere() {
            return Err(RedactError::Event(error));
        }
        let masks = self.plan.of_text(true, &[]);
        let (masked, hits) = mask_text(TextKind::Plain, &masks, data)?;
        self.hits.extend(hits.into_iter().map(|hit| hit.at("", "event")));
        self.write_event(event, masked.as_deref(), out)
    }

    /// Writes an event, with other data if given. For the recorded copy, comments and other fields are text too.
    fn write_event(
        &mut self,
        event: &RawEvent,
        data: Option<&[u8]>,
        out: &mut StreamOutput,
    ) -> Result<(), RedactError> {
        if data.is_none() && !self.plan.everywhere() {
            return self.write(event.bytes(), out);
        }
        let everywhere = self.plan.everywhere();
        if let (false, Some((before, behind))) = (everywhere, data.and_then(|data| event.around_data(data))) {
            return self.write_parts([before, data.unwrap_or_default(), behind], out);
        }
        let masks = self.plan.of_text(true, &[]);
        let hits = &mut self.hits;
        let bytes = event.rewritten(data, |lines| {
            if !everywhere {
                return Ok(lines.to_vec());
            }
            let (masked, found) = mask_text(TextKind::Plain, &masks, lines)?;
            hits.extend(found.into_iter().map(|hit| hit.at("", "event")));
            Ok(masked.unwrap_or_else(|| lines.to_vec()))
        })?;
        self.write(&bytes, out)
    }

    fn write_synthetic(
        &mut self,
        texts: BTreeMap<StreamChannel, Vec<u8>>,
        out: &mut StreamOutput,
    ) -> Result<(), RedactError> {
        let Some(table) = self.table else { return Ok(()) };
        for (id, text) in texts {
            let Some(spec) = table.channels.get(usize::from(id.spec)) else { continue };
            let event = if table.has_types() {
                let number = self.numbers.last.map_or(0, |last| last + 1);
                self.numbers.last = Some(number);
                self.numbers.added += 1;
                self.channels.get(&id).map(|channel| channel.pattern.event(&text, number)).unwrap_or_default()
            } else {
                synthetic::event(&self.head, table, id, spec, &text, self.framing)
            };
            self.write(&event, out)?;
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8], out: &mut StreamOutput) -> Result<(), RedactError> {
        self.write_parts([bytes], out)
    }

    fn write_parts<const N: usize>(&mut self, parts: [&[u8]; N], out: &mut StreamOutput) -> Result<(), RedactError> {
        let to = if self.holding {
            self.held += parts.iter().map(|part| part.len()).sum::<usize>();
            if self.held > HELD_BYTES_MAX {
                return Err(RedactError::HeldTooLong);
            }
            &mut out.held
        } else {
            &mut out.ready
        };
        parts.iter().for_each(|part| to.extend_from_slice(part));
        Ok(())
    }
}

/// Stands in the recorded copy for an event that cannot be looked into.
const NOT_RECORDED: &[u8] = br#"{"type":"unscannable"}"#;

/// The member that numbers events.
const NUMBER: &str = "sequence_number";

/// Whether an event carries the count of tokens and no choice.
fn only_counts(document: &Document<'_>) -> bool {
    let get = |name| document.get(document.root(), name).ok().flatten();
    let counts = get("usage").is_some_and(|usage| document.kind(usage) == Kind::Object);
    counts
        && get("choices")
            .is_some_and(|choices| document.kind(choices) == Kind::Array && document.children(choices).next().is_none())
}
