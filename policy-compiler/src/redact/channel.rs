//! The core: masks one text that arrives in pieces, so that the result does not depend on the pieces (MASKING §1).
//!
//! What M(T) is: every pattern yields candidates. A built-in pattern yields, for each start that its left side admits, the
//! longest match that its right side and its check admit; a regex of a policy yields its leftmost-longest matches.
//! Overlapping candidates are united into one span; the most destructive transform among them wins (literal, label,
//! last4), then the earlier start, the longer match, the order of the plan. Two more starts make masking idempotent, since
//! a replacement shows its neighbours another side than the text it hides: the place right behind a span counts as a start
//! even where the raw byte before it forbids one, and so does the first character that `last4` keeps.
//!
//! Streaming: each pattern has a cursor that stops at its first undecided attempt. Nothing at or behind the smallest such
//! start is emitted, and no span that reaches across it. All of this is a function of the text alone.

use super::transform::{Transform, keep_from};
use crate::detect::{Attempt, CeilingExceeded, Outcome, Pattern, Window};
use std::sync::Arc;

/// One pattern and what is done with its hits.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    /// What is looked for.
    pub(crate) pattern: Arc<Pattern>,
    /// The rule that asked for it.
    pub(crate) rule: Arc<str>,
    /// The detector's name, or `regex`.
    pub(crate) detector: Arc<str>,
    /// Whether the detector validates.
    pub(crate) tier: super::Tier,
    /// What stands in the place of a hit.
    pub(crate) transform: Transform,
}

/// Where the core puts its result.
pub(crate) trait Sink {
    /// Text that stays.
    fn keep(&mut self, text: &[u8]);
    /// Text that goes.
    fn mask(&mut self, masked: Masked<'_>);
}

/// A span that is replaced.
#[derive(Debug)]
pub(crate) struct Masked<'a> {
    /// What is hidden.
    pub(crate) text: &'a [u8],
    /// Its offset in the channel's text.
    pub(crate) offset: u64,
    /// Whose transform it gets.
    pub(crate) by: &'a Use,
    /// The byte before it.
    pub(crate) before: Option<u8>,
    /// The byte behind it, if it is known.
    pub(crate) after: Option<u8>,
}

/// United candidates.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u64,
    end: u64,
    /// The candidate that names it: index of the use, start, end.
    winner: (usize, u64, u64),
}

/// The state of one text.
#[derive(Debug)]
pub(crate) struct Core {
    uses: Arc<[Use]>,
    text: Vec<u8>,
    base: u64,
    before: Option<u8>,
    cursors: Vec<Cursor>,
    /// Undecided attempts at starts that only a span made admissible.
    extras: Vec<(usize, Attempt)>,
    /// Sorted, disjoint, not yet emitted.
    spans: Vec<Span>,
    /// Extra starts below this offset were tried.
    extras_tried: u64,
    /// A span is only emitted when the byte behind it is known.
    wants_next: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// Starts below this offset are decided.
    at: u64,
    waits: Option<Attempt>,
}

impl Core {
    /// A text without content yet.
    pub(crate) fn new(uses: Arc<[Use]>) -> Self {
        let cursors = vec![Cursor::default(); uses.len()];
        Self {
            uses,
            text: Vec::new(),
            base: 0,
            before: None,
            cursors,
            extras: Vec::new(),
            spans: Vec::new(),
            extras_tried: 0,
            wants_next: false,
        }
    }

    /// From now on a span is only emitted when the byte behind it is known.
    pub(crate) fn want_next(&mut self) {
        self.wants_next = true;
    }

    /// Ends the text (everything comes out) and begins another one `gap` bytes further, without left context.
    pub(crate) fn restart(&mut self, gap: u64, wants_next: bool, sink: &mut impl Sink) -> Result<(), CeilingExceeded> {
        self.feed(&[], true, sink)?;
        self.base += gap;
        self.before = None;
        self.extras.clear();
        self.extras_tried = self.base;
        self.wants_next = wants_next;
        let base = self.base;
        for cursor in &mut self.cursors {
            *cursor = Cursor { at: base, waits: None };
        }
        Ok(())
    }

    /// Takes the next piece of the text; `last` says that no other follows.
    ///
    /// # Errors
    /// [`CeilingExceeded`]: the text must not be used any further.
    pub(crate) fn feed(&mut self, piece: &[u8], last: bool, sink: &mut impl Sink) -> Result<(), CeilingExceeded> {
        self.text.extend_from_slice(piece);
        for index in 0..self.uses.len() {
            self.scan(index, last)?;
        }
        self.run_extras(last)?;
        let limit = loop {
            let limit = self.undecided_from();
            if !self.try_extra_starts(limit, last)? {
                break limit;
            }
        };
        self.emit(limit, last, sink);
        Ok(())
    }

    /// Moves one pattern's cursor to its first undecided attempt.
    fn scan(&mut self, index: usize, last: bool) -> Result<(), CeilingExceeded> {
        let window = Window { text: &self.text, base: self.base, before: self.before, last };
        let end = self.base + self.text.len() as u64;
        let (Some(usage), Some(cursor)) = (self.uses.get(index), self.cursors.get_mut(index)) else {
            return Ok(());
        };
        loop {
            let attempt = match cursor.waits.take() {
                Some(attempt) => attempt,
                None => {
                    cursor.at = usage.pattern.next_start(window, cursor.at);
                    if cursor.at >= end {
                        return Ok(());
                    }
                    usage.pattern.attempt(window, cursor.at)
                }
            };
            match usage.pattern.run(window, attempt)? {
                Outcome::Waits(attempt) => {
                    cursor.waits = Some(attempt);
                    return Ok(());
                }
                Outcome::Decided(None) => cursor.at += 1,
                Outcome::Decided(Some(stop)) => {
                    unite(&mut self.spans, &self.uses, (index, cursor.at, stop));
                    cursor.at = if usage.pattern.every_start() { cursor.at + 1 } else { stop };
                }
            }
        }
    }

    fn run_extras(&mut self, last: bool) -> Result<(), CeilingExceeded> {
        for (index, attempt) in std::mem::take(&mut self.extras) {
            self.run_extra(index, attempt, last)?;
        }
        Ok(())
    }

    fn run_extra(&mut self, index: usize, attempt: Attempt, last: bool) -> Result<(), CeilingExceeded> {
        let window = Window { text: &self.text, base: self.base, before: self.before, last };
        let Some(usage) = self.uses.get(index) else {
            return Ok(());
        };
        match usage.pattern.run(window, attempt)? {
            Outcome::Waits(attempt) => self.extras.push((index, attempt)),
            Outcome::Decided(None) => {}
            Outcome::Decided(Some(stop)) => {
                unite(&mut self.spans, &self.uses, (index, attempt.start, stop));
            }
        }
        Ok(())
    }

    /// The first offset about which something is undecided.
    fn undecided_from(&self) -> u64 {
        let cursors = self.cursors.iter().map(|cursor| cursor.at);
        let extras = self.extras.iter().map(|(_, attempt)| attempt.start);
        cursors
            .chain(extras)
            .min()
            .unwrap_or(self.base + self.text.len() as u64)
            .min(self.base + self.text.len() as u64)
    }

    /// Begins the attempts that the first untried decided span makes possible; whether there was one.
    fn try_extra_starts(&mut self, limit: u64, last: bool) -> Result<bool, CeilingExceeded> {
        let untried = self.spans.iter().find_map(|span| {
            let start = self.extra_start(span)?;
            (span.end <= limit && start >= self.extras_tried).then_some(start)
        });
        let Some(start) = untried else {
            return Ok(false);
        };
        self.extras_tried = start + 1;
        let before = self.byte_before(start);
        for index in 0..self.uses.len() {
            let Some(usage) = self.uses.get(index) else {
                continue;
            };
            // Where the raw text admits the start, the cursor was or will be there.
            if !usage.pattern.every_start() || usage.pattern.may_follow(before) {
                continue;
            }
            let window = Window { text: &self.text, base: self.base, before: self.before, last };
            let attempt = usage.pattern.attempt(window, start);
            self.run_extra(index, attempt, last)?;
        }
        Ok(true)
    }

    /// Where a span's replacement opens a start that the raw text does not have: behind it, or where `last4` keeps text.
    fn extra_start(&self, span: &Span) -> Option<u64> {
        let usage = self.uses.get(span.winner.0)?;
        let kept = match usage.transform {
            Transform::Last4 => keep_from(self.slice(span.start, span.end)),
            Transform::Label(_) | Transform::Literal(_) => None,
        };
        Some(kept.map_or(span.end, |kept| span.start + kept as u64))
    }

    fn emit(&mut self, limit: u64, last: bool, sink: &mut impl Sink) {
        let end = self.base + self.text.len() as u64;
        let mut at = self.base;
        let mut stop = limit;
        let mut done = 0;
        for span in &self.spans {
            let next_unknown = self.wants_next && !last && span.end == end;
            if span.start < stop && (span.end > limit || next_unknown) {
                stop = span.start;
            }
            if span.end > stop {
                break;
            }
            done += 1;
            let Some(usage) = self.uses.get(span.winner.0) else {
                continue;
            };
            sink.keep(self.slice(at, span.start));
            sink.mask(Masked {
                text: self.slice(span.start, span.end),
                offset: span.start,
                by: usage,
                before: self.byte_before(span.start),
                after: self.slice(span.end, end).first().copied(),
            });
            at = span.end;
        }
        sink.keep(self.slice(at, stop));
        self.spans.drain(..done);
        if stop > self.base {
            self.before = self.byte_before(stop);
            let count = self.slice(self.base, stop).len();
            self.text.drain(..count);
            self.base = stop;
        }
    }

    fn slice(&self, start: u64, end: u64) -> &[u8] {
        let index = |offset: u64| usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX);
        self.text.get(index(start)..index(end)).unwrap_or_default()
    }

    fn byte_before(&self, offset: u64) -> Option<u8> {
        if offset <= self.base {
            return self.before;
        }
        self.slice(offset - 1, offset).first().copied()
    }
}

/// Adds a candidate to the disjoint sorted spans.
fn unite(spans: &mut Vec<Span>, uses: &[Use], candidate: (usize, u64, u64)) {
    let (_, start, end) = candidate;
    let first = spans.partition_point(|span| span.end <= start);
    let behind = spans.partition_point(|span| span.start < end);
    let mut united = Span { start, end, winner: candidate };
    for span in spans.get(first..behind).unwrap_or_default() {
        united.start = united.start.min(span.start);
        united.end = united.end.max(span.end);
        if rank(uses, span.winner) < rank(uses, united.winner) {
            united.winner = span.winner;
        }
    }
    spans.splice(first..behind.max(first), [united]);
}

/// The candidate with the smallest rank names a span.
fn rank(uses: &[Use], (index, start, end): (usize, u64, u64)) -> (u8, u64, u64, usize) {
    let mildness = uses.get(index).map_or(u8::MAX, |usage| usage.transform.mildness());
    (mildness, start, u64::MAX - (end - start), index)
}
