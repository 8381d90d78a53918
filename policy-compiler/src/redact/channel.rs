//! The core: masks one text that arrives in pieces, so that the result does not depend on the pieces (MASKING §1).
//!
//! What M(T) is: [`crate::detect`] says which spans of the text so far are decided, and from where on nothing is. A regex of a policy yields
//! its leftmost-longest matches. Overlapping finds are united into one span; the most destructive transform among them wins
//! (literal, label, hash, token, last4), then the earlier start, the longer match, the order of the plan.
//!
//! Streaming: nothing at or behind the first undecided place is emitted, and no span that reaches across it. What is held is searched
//! again with the next piece; all of this is a function of the text alone.

use super::transform::{Transform, keep_from};
use crate::detect::{
    Attempt, BEHIND_READ, Behind, CeilingExceeded, DetectorIndex, DetectorSet, Finder, Match, Outcome, Pattern, Places,
    Question, Shown, Span, Starts, TOGETHER_MAX, Window, Words, find_spans,
};
use std::sync::Arc;

/// Bytes of text that built-in detectors may hold back: their finds are shorter, unless somebody writes them with invisible characters.
const HELD_MAX: usize = 64 * 1024;

/// What is looked for.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// What a built-in detector finds.
    Detector(DetectorIndex),
    /// The matches of a regex, perhaps only behind a context word.
    Regex(Arc<Pattern>, Option<Arc<Words>>),
}

impl Wanted {
    /// Whether both find the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Detector(ours), Self::Detector(theirs)) => ours == theirs,
            (Self::Regex(ours, near), Self::Regex(theirs, other)) => Arc::ptr_eq(ours, theirs) && near == other,
            _ => false,
        }
    }
}

/// One thing that is looked for and what is done with its hits.
#[derive(Clone, Debug)]
pub(crate) struct Use {
    /// What is looked for.
    pub(crate) wanted: Wanted,
    /// The rule that asked for it.
    pub(crate) rule: Arc<str>,
    /// The detector's name, or `regex`.
    pub(crate) detector: Arc<str>,
    /// How sure it is.
    pub(crate) tier: super::Tier,
    /// What stands in the place of a hit.
    pub(crate) transform: Transform,
}

/// All that is looked for in one text.
#[derive(Debug)]
pub(crate) struct UseSet {
    uses: Vec<Use>,
    detectors: DetectorSet,
    /// The place of a detector among the uses.
    places: Vec<(DetectorIndex, usize)>,
    /// The places of the regexes among the uses.
    regexes: Vec<usize>,
    /// How their matches begin; `None` without regexes.
    starts: Option<Starts>,
    /// All hits are shown in the same way, so that only where a span begins decides which of its finds names it.
    alike: bool,
}

impl UseSet {
    /// Things to look for. Of two that find the same, the more destructive transform counts.
    pub(crate) fn new(wanted: impl IntoIterator<Item = Use>) -> Arc<Self> {
        let mut uses: Vec<Use> = Vec::new();
        for usage in wanted {
            match uses.iter_mut().find(|known| known.wanted.is_same(&usage.wanted)) {
                Some(known) if usage.transform.mildness() < known.transform.mildness() => *known = usage,
                Some(_) => {}
                None => uses.push(usage),
            }
        }
        let mut places = Vec::new();
        let mut regexes = Vec::new();
        for (place, usage) in uses.iter().enumerate() {
            match usage.wanted {
                Wanted::Detector(index) => places.push((index, place)),
                Wanted::Regex(..) => regexes.push(place),
            }
        }
        places.sort_unstable();
        let detectors = places.iter().map(|&(index, _)| index).collect();
        let patterns = uses.iter().filter_map(|usage| match &usage.wanted {
            Wanted::Regex(pattern, _) => Some(&**pattern),
            Wanted::Detector(_) => None,
        });
        let starts = (!regexes.is_empty()).then(|| Starts::new(patterns));
        let shown = uses.first().map(|usage| usage.transform.mildness());
        let alike = uses.iter().all(|usage| {
            matches!(usage.transform, Transform::Label(_) | Transform::Literal(_))
                && Some(usage.transform.mildness()) == shown
        });
        Arc::new(Self { uses, detectors, places, regexes, starts, alike })
    }

    /// Whether nothing is looked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.uses.is_empty()
    }

    /// Each of them.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Use> {
        self.uses.iter()
    }

    fn place(&self, finder: Finder) -> usize {
        match finder {
            Finder::Regex(place) => place,
            Finder::Detector(index) => self
                .places
                .binary_search_by_key(&index, |&(index, _)| index)
                .ok()
                .and_then(|at| self.places.get(at))
                .map_or(usize::MAX, |&(_, place)| place),
        }
    }

    /// The find that names a span: its transform, start, length, proof and place decide.
    fn winner(&self, span: &Span) -> Option<(&Use, bool)> {
        let rank = |found: &&crate::detect::Find| {
            let place = self.place(found.by);
            let mildness = self.uses.get(place).map_or(u8::MAX, |usage| usage.transform.mildness());
            (mildness, found.start, usize::MAX - (found.end - found.start), found.by_context, place)
        };
        let found = span.finds.iter().min_by_key(rank)?;
        Some((self.uses.get(self.place(found.by))?, found.by_context))
    }
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
    /// Whether a context word decided.
    pub(crate) by_context: bool,
    /// The byte before it.
    pub(crate) before: Option<u8>,
    /// The byte behind it, if it is known.
    pub(crate) after: Option<u8>,
}

/// The state of one text.
#[derive(Debug)]
pub(crate) struct Core {
    uses: Arc<UseSet>,
    text: Vec<u8>,
    base: u64,
    before: Option<u8>,
    behind: Behind,
    /// Of each regex.
    cursors: Vec<Cursor>,
    /// Of regexes, not yet emitted.
    matches: Vec<(usize, u64, u64)>,
    /// Detectors find nothing that begins before this offset.
    looked: u64,
    /// The name of the JSON member that holds the text.
    key: Option<Arc<str>>,
    /// A span is only emitted when the byte behind it is known.
    wants_next: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cursor {
    /// Starts below this offset are decided.
    at: u64,
    waits: Option<Attempt>,
}

/// Which part of a span its transform leaves.
struct Kept<'a> {
    uses: &'a UseSet,
    text: &'a [u8],
}

impl Shown for Kept<'_> {
    fn kept_from(&self, span: &Span) -> Option<usize> {
        if self.uses.alike {
            return None;
        }
        let (usage, _) = self.uses.winner(span)?;
        let text = self.text.get(span.start..span.end)?;
        matches!(usage.transform, Transform::Last4).then(|| keep_from(text)).flatten().map(|kept| span.start + kept)
    }
}

impl Core {
    /// A text without content yet.
    pub(crate) fn new(uses: Arc<UseSet>) -> Self {
        let cursors = vec![Cursor::default(); uses.regexes.len()];
        Self {
            uses,
            text: Vec::new(),
            base: 0,
            before: None,
            behind: Behind::default(),
            cursors,
            matches: Vec::new(),
            looked: 0,
            key: None,
            wants_next: false,
        }
    }

    /// From now on a span is only emitted when the byte behind it is known.
    pub(crate) fn want_next(&mut self) {
        self.wants_next = true;
    }

    /// The name of the JSON member that holds the text, before its first piece: it is context for what needs some.
    pub(crate) fn set_key(&mut self, key: Option<Arc<str>>) {
        self.key = key;
    }

    /// Ends the text (everything comes out) and begins another one `gap` bytes further, without left context.
    pub(crate) fn restart(&mut self, gap: u64, wants_next: bool, sink: &mut impl Sink) -> Result<(), CeilingExceeded> {
        self.feed(&[], true, sink)?;
        self.base += gap;
        self.before = None;
        self.behind.clear();
        self.matches.clear();
        self.looked = 0;
        self.key = None;
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
        let mut undecided = self.text.len();
        // Those that wait ask for no start, and mostly the others are done with what was there before.
        let asks = self.cursors.iter().filter(|cursor| cursor.waits.is_none()).map(|cursor| self.index(cursor.at));
        let mut places = Places::from(asks.min().unwrap_or_default());
        for number in 0..self.cursors.len() {
            self.search(number, &mut places, last)?;
            let at = self.cursors.get(number).map_or(0, |cursor| cursor.at);
            undecided = undecided.min(self.index(at));
        }
        let uses = Arc::clone(&self.uses);
        let matches: Vec<Match<'_>> = self
            .matches
            .iter()
            .map(|&(place, start, end)| Match {
                start: self.index(start),
                end: self.index(end),
                regex: place,
                near: match uses.uses.get(place).map(|usage| &usage.wanted) {
                    Some(Wanted::Regex(_, near)) => near.as_deref(),
                    _ => None,
                },
            })
            .collect();
        let question = Question {
            text: &self.text,
            behind: &self.behind,
            last,
            set: &uses.detectors,
            key: self.key.as_deref(),
            undecided,
            outermost: uses.alike,
            // What a match hides may make what follows it findable.
            looked: if matches.is_empty() { self.index(self.looked) } else { 0 },
        };
        let answer = find_spans(question, &matches, &Kept { uses: &uses, text: &self.text });
        // Behind a masked span things may begin that did not before.
        self.looked = if answer.spans.is_empty() { self.base + answer.looked as u64 } else { 0 };
        self.emit(&answer.spans, answer.undecided, last, sink);
        if self.text.len() > HELD_MAX {
            return Err(CeilingExceeded);
        }
        Ok(())
    }

    /// Moves one regex's cursor to its first undecided attempt.
    fn search(&mut self, number: usize, places: &mut Places, last: bool) -> Result<(), CeilingExceeded> {
        let window = Window { text: &self.text, base: self.base, before: self.before, last };
        let end = self.base + self.text.len() as u64;
        let starts = self.uses.starts.as_ref().filter(|_| number < TOGETHER_MAX);
        let mut next_start = |pattern: &Pattern, from: u64| match starts {
            Some(starts) => {
                let from = usize::try_from(from.saturating_sub(window.base)).unwrap_or(usize::MAX);
                places.next(starts, window.text, from, number).map_or(end, |place| window.base + place as u64)
            }
            None => pattern.next_start(window, from),
        };
        let place = self.uses.regexes.get(number).copied().unwrap_or_default();
        let (Some(Use { wanted: Wanted::Regex(pattern, _), .. }), Some(cursor)) =
            (self.uses.uses.get(place), self.cursors.get_mut(number))
        else {
            return Ok(());
        };
        loop {
            let attempt = match cursor.waits.take() {
                Some(attempt) => attempt,
                None => {
                    cursor.at = next_start(pattern, cursor.at);
                    if cursor.at >= end {
                        return Ok(());
                    }
                    pattern.attempt(window, cursor.at)
                }
            };
            match pattern.run(window, attempt)? {
                Outcome::Waits(attempt) => {
                    cursor.waits = Some(attempt);
                    return Ok(());
                }
                Outcome::Decided(None) => cursor.at += 1,
                Outcome::Decided(Some(stop)) => {
                    self.matches.push((place, cursor.at, stop));
                    cursor.at = stop;
                }
            }
        }
    }

    /// Releases what is decided: everything before `limit` but a span that reaches across it.
    fn emit(&mut self, spans: &[Span], limit: usize, last: bool, sink: &mut impl Sink) {
        let mut at = 0;
        let mut stop = limit;
        let mut masked = 0;
        for span in spans {
            let next_unknown = self.wants_next && !last && span.end == self.text.len();
            if span.start < stop && (span.end > limit || next_unknown) {
                stop = span.start;
            }
            if span.end > stop {
                break;
            }
            masked += 1;
            let Some((usage, by_context)) = self.uses.winner(span) else {
                continue;
            };
            sink.keep(self.text.get(at..span.start).unwrap_or_default());
            sink.mask(Masked {
                text: self.text.get(span.start..span.end).unwrap_or_default(),
                offset: self.base + span.start as u64,
                by: usage,
                by_context,
                before: match span.start.checked_sub(1) {
                    Some(before) => self.text.get(before).copied(),
                    None => self.before,
                },
                after: self.text.get(span.end).copied(),
            });
            at = span.end;
        }
        sink.keep(self.text.get(at..stop).unwrap_or_default());
        if stop > 0 {
            self.remember(spans.get(..masked).unwrap_or_default(), stop);
            self.before = self.text.get(stop - 1).copied();
            self.text.drain(..stop);
            self.base += stop as u64;
            let base = self.base;
            self.matches.retain(|&(_, start, _)| start >= base);
        }
    }

    /// Remembers what is released: the text up to `stop`, in which these spans are masked.
    fn remember(&mut self, spans: &[Span], stop: usize) {
        // Only its end is of use.
        let mut kept = 0;
        let mut first = spans.len();
        let mut end = stop;
        while let Some(span) = first.checked_sub(1).and_then(|before| spans.get(before))
            && kept <= BEHIND_READ
        {
            kept += end.saturating_sub(span.end);
            end = span.start;
            first -= 1;
        }
        let mut at = if kept > BEHIND_READ { end } else { 0 };
        for span in spans.get(first..).unwrap_or_default() {
            self.behind.push_kept(self.text.get(at..span.start).unwrap_or_default());
            self.behind.push_masked(self.text.get(span.start..span.end).unwrap_or_default());
            at = span.end;
        }
        self.behind.push_kept(self.text.get(at..stop).unwrap_or_default());
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }
}
