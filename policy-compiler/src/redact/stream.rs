//! Streams of server-sent events: one text state per channel, events rewritten in place.

use super::body::{Edits, mask_document, mask_text, slots_or_everything};
use super::event::{self, Delta};
use super::paths::StreamChannel;
use super::plan::MaskPlan;
use super::sse::{Frame, Framer, RawEvent};
use super::text::TextRedactor;
use super::{ChannelCoverage, Coverage, Hit, RedactError};
use crate::dialect::{AnswerInfo, CHOICES_MAX, Operation, TextKind, answer_slots};
use crate::json::{self, Document, Kind, NodeId, write_string};
use std::collections::{BTreeMap, BTreeSet};

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
    plan: MaskPlan,
    choices: u32,
    framer: Framer,
    channels: BTreeMap<StreamChannel, Channel>,
    finished: BTreeSet<u32>,
    holding: bool,
    held: usize,
    head: Vec<u8>,
    info: AnswerInfo,
    hits: Vec<Hit>,
    opaque: BTreeSet<String>,
    failed: Option<RedactError>,
}

/// The state of one channel.
#[derive(Debug)]
struct Channel {
    redactor: TextRedactor,
    /// A high surrogate at the end of the last piece.
    carry: Option<u16>,
    pointer: String,
    name: String,
}

impl StreamRedactor {
    /// A stream of an operation that answers with `choices` choices.
    #[must_use]
    pub fn new(operation: Operation, plan: MaskPlan, choices: u32) -> Self {
        // Chat completions is the only operation that streams so far.
        let _ = operation;
        Self {
            plan,
            choices: choices.clamp(1, CHOICES_MAX),
            framer: Framer::default(),
            channels: BTreeMap::new(),
            finished: BTreeSet::new(),
            holding: false,
            held: 0,
            head: Vec::new(),
            info: AnswerInfo::default(),
            hits: Vec::new(),
            opaque: BTreeSet::new(),
            failed: None,
        }
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
                    Frame::Event(event) => this.event(&event, false, out)?,
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
            this.write_synthetic(&rest, out)
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
        let scanned = self.channels.values().map(|channel| (&channel.name, Coverage::Scanned));
        let opaque = self.opaque.iter().map(|name| (name, Coverage::Opaque));
        scanned
            .chain(opaque)
            .map(|(channel, coverage)| ChannelCoverage { channel: channel.clone(), coverage })
            .collect()
    }

    /// What the stream said about itself so far.
    #[must_use]
    pub fn info(&self) -> &AnswerInfo {
        &self.info
    }

    /// After an error nothing may come out any more.
    fn guarded(&mut self, step: impl FnOnce(&mut Self) -> Result<(), RedactError>) -> Result<(), RedactError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let result = step(self);
        self.failed = result.err();
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
        self.info.read(&document);
        let delta = match event::read(&document) {
            Ok(delta) => delta,
            Err(_) if self.plan.is_empty() => Delta::default(),
            Err(error) => return Err(error),
        };
        let error = document
            .get(document.root(), "error")
            .or_else(|error| if self.plan.is_empty() { Ok(None) } else { Err(error) })?
            .is_some_and(|node| document.kind(node) != Kind::Null);
        if self.plan.is_empty() {
            self.end_choices(&delta, error || end);
            return self.write(event.bytes(), out);
        }
        if self.head.is_empty() && !self.plan.everywhere() {
            self.head = event::head(&document);
        }
        let mut edits = Edits::default();
        let rest = self.mask_delta(&document, &delta, error || end, &mut edits)?;
        self.mask_rest(&document, &delta, &mut edits)?;
        self.write_synthetic(&rest, out)?;
        self.end_choices(&delta, error || end);
        let edited = (!edits.is_empty()).then(|| edits.apply(&data));
        self.write_event(event, edited.as_deref(), out)
    }

    /// Runs the pieces of an event through their channels and ends those that end. What is left over has no member in the
    /// event.
    fn mask_delta(
        &mut self,
        document: &Document<'_>,
        delta: &Delta,
        all_end: bool,
        edits: &mut Edits,
    ) -> Result<BTreeMap<StreamChannel, Vec<u8>>, RedactError> {
        let mut released: Vec<(StreamChannel, NodeId, Vec<u8>, bool)> = Vec::new();
        for &(id, node) in &delta.pieces {
            let raw = document.raw_string(node).unwrap_or_default();
            if !raw.is_empty() && self.finished.contains(&id.choice) {
                return Err(RedactError::TextAfterFinish);
            }
            let channel = self.channel(id)?;
            let carried = channel.carry.is_some();
            let mut text = Vec::with_capacity(raw.len());
            json::unescape_carrying(raw, &mut channel.carry, &mut text);
            let mut out = Vec::with_capacity(text.len());
            channel.redactor.push(&text, &mut out)?;
            let changed = carried || channel.carry.is_some() || out != text;
            released.push((id, node, out, changed));
        }
        let mut rest = self.flush(|id| all_end || delta.finished.contains(&id.choice))?;
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
        for channel in self.channels.values_mut() {
            let hits = channel.redactor.take_hits();
            self.hits.extend(hits.into_iter().map(|hit| hit.at(&channel.pointer, &channel.name)));
        }
        Ok(rest)
    }

    /// Masks what an event carries beside its deltas: whole messages, errors, echoes, and for the recorded copy anything.
    fn mask_rest(&mut self, document: &Document<'_>, delta: &Delta, edits: &mut Edits) -> Result<(), RedactError> {
        let slots = slots_or_everything(&self.plan, answer_slots(document))?;
        let done = delta.pieces.iter().map(|&(_, node)| node).collect();
        self.opaque.extend(delta.opaque.iter().cloned());
        mask_document(&self.plan, document, &slots, &done, edits, &mut self.hits)
    }

    fn channel(&mut self, id: StreamChannel) -> Result<&mut Channel, RedactError> {
        if self.channels.len() >= CHANNELS_MAX && !self.channels.contains_key(&id) {
            return Err(RedactError::Channels);
        }
        let plan = &self.plan;
        Ok(self.channels.entry(id).or_insert_with(|| Channel {
            redactor: TextRedactor::new(id.field.kind(), &plan.of_channel(&id)),
            carry: None,
            pointer: id.pointer(),
            name: id.name(),
        }))
    }

    /// Ends channels; what they held back.
    fn flush(
        &mut self,
        which: impl Fn(&StreamChannel) -> bool,
    ) -> Result<BTreeMap<StreamChannel, Vec<u8>>, RedactError> {
        let mut rest = BTreeMap::new();
        for (id, channel) in &mut self.channels {
            if !which(id) {
                continue;
            }
            let mut out = Vec::new();
            let mut surrogate = Vec::new();
            json::finish_carry(&mut channel.carry, &mut surrogate);
            channel.redactor.push(&surrogate, &mut out)?;
            channel.redactor.finish(&mut out)?;
            let hits = channel.redactor.take_hits();
            self.hits.extend(hits.into_iter().map(|hit| hit.at(&channel.pointer, &channel.name)));
            if !out.is_empty() {
                rest.insert(*id, out);
            }
        }
        Ok(rest)
    }

    /// Everything that is held back comes out, then whatever comes is held for the gateway.
    fn terminate(&mut self, out: &mut StreamOutput) -> Result<(), RedactError> {
        let rest = self.flush(|_| true)?;
        self.write_synthetic(&rest, out)?;
        self.holding = true;
        Ok(())
    }

    fn end_choices(&mut self, delta: &Delta, all: bool) {
        self.finished.extend(&delta.finished);
        if all || self.finished.len() >= self.choices as usize {
            self.holding = true;
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
        if self.plan.is_empty() {
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
        texts: &BTreeMap<StreamChannel, Vec<u8>>,
        out: &mut StreamOutput,
    ) -> Result<(), RedactError> {
        if texts.is_empty() {
            return Ok(());
        }
        let event = event::synthetic(&self.head, texts);
        self.write(&event, out)
    }

    fn write(&mut self, bytes: &[u8], out: &mut StreamOutput) -> Result<(), RedactError> {
        if !self.holding {
            out.ready.extend_from_slice(bytes);
            return Ok(());
        }
        self.held += bytes.len();
        if self.held > HELD_BYTES_MAX {
            return Err(RedactError::HeldTooLong);
        }
        out.held.extend_from_slice(bytes);
        Ok(())
    }
}
