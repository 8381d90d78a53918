//! From candidates to spans: context words, what only looks like a value, overlaps, and starts that a span opens.
//!
//! Everything here goes from left to right, since what stands before a value may be masked: a masked span and a placeholder count as
//! nothing between a context word and a value, so that masking twice is masking once.

use super::behind::Behind;
use super::context::{Words, is_placeholder, normalise, words_of};
use super::fold::View;
use super::ids::Form;
use super::kinds::Candidate;
use super::left::Left;
use super::lexicon::EVERY_WORD;
use super::probe::Probe;
use super::scan::{self, Scan, scan};
use super::set::{DetectorIndex, DetectorSet, KNOWN};
use super::triggers::Wanted;
use std::collections::VecDeque;
use std::slice;

/// Bytes of the longest placeholder.
pub(super) const PLACEHOLDER_MAX: usize = 64;
/// Bytes that a hexadecimal text has at least to count as a digest.
const DIGEST_MIN: usize = 32;
/// Bytes that are looked at on each side for a digest or a UUID.
const DIGEST_REACH: usize = 64;

/// What a text is searched for, beside what regexes found.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    /// The text that is not released yet.
    pub(crate) text: &'a [u8],
    /// What stood before it.
    pub(crate) behind: &'a Behind,
    /// No more will come.
    pub(crate) last: bool,
    /// Which detectors run.
    pub(crate) set: &'a DetectorSet,
    /// The name of the JSON member that holds the text.
    pub(crate) key: Option<&'a str>,
    /// Regexes are undecided from here on.
    pub(crate) undecided: usize,
    /// What lies within something that was found is of no interest.
    pub(crate) outermost: bool,
    /// Places before this one were looked at and hold nothing, see [`Answer::looked`].
    pub(crate) looked: usize,
}

/// A match of a regex.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Match<'a> {
    /// The first byte.
    pub(crate) start: usize,
    /// The byte behind the last.
    pub(crate) end: usize,
    /// Its number among the uses.
    pub(crate) regex: usize,
    /// Words of which one must stand before it.
    pub(crate) near: Option<&'a Words>,
}

/// Who found something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Finder {
    /// A built-in detector.
    Detector(DetectorIndex),
    /// A regex, by its number.
    Regex(usize),
}

/// Something found, with its place in the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Find {
    /// The first byte.
    pub(crate) start: usize,
    /// The byte behind the last.
    pub(crate) end: usize,
    /// Who found it.
    pub(crate) by: Finder,
    /// Whether a context word was needed.
    pub(crate) by_context: bool,
}

/// United finds.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// The first byte.
    pub(crate) start: usize,
    /// The byte behind the last.
    pub(crate) end: usize,
    /// All that it unites, in the order in which they were accepted.
    pub(crate) finds: Vec<Find>,
    finished: bool,
}

/// How a span will be shown, as far as that matters for what follows it.
pub(crate) trait Shown {
    /// Where the part begins that stays, if one does (`last4`).
    fn kept_from(&self, span: &Span) -> Option<usize>;
}

/// What was found.
#[derive(Debug)]
pub(crate) struct Answer {
    /// Disjoint, in order.
    pub(crate) spans: Vec<Span>,
    /// What begins here or behind it may depend on text that has not arrived.
    pub(crate) undecided: usize,
    /// Nothing begins before this place whatever comes, as far as detectors go and as long as nothing before it is masked.
    pub(crate) looked: usize,
}

/// Finds what is decided about a text.
pub(crate) fn find(question: Question<'_>, matches: &[Match<'_>], shown: &impl Shown) -> Answer {
    find_by(question, matches, shown, scan)
}

/// The same with every place tried, whatever the triggers say.
#[cfg(test)]
pub(super) fn find_everywhere(question: Question<'_>, shown: &impl Shown) -> Answer {
    find_by(question, &[], shown, |probe, wanted| scan::scan_everywhere(probe, wanted.set))
}

fn find_by(
    question: Question<'_>,
    matches: &[Match<'_>],
    shown: &impl Shown,
    scan: impl Fn(&Probe<'_>, &Wanted<'_>) -> Scan,
) -> Answer {
    let folded = View::folded(question.text, question.last);
    match View::decoded(question.text, question.last) {
        None => Resolver::new(question, slice::from_ref(&folded), matches, scan).run(shown),
        Some(decoded) => Resolver::new(question, &[folded, decoded], matches, scan).run(shown),
    }
}

#[derive(Clone, Copy, Debug)]
struct Item<'a> {
    find: Find,
    view: usize,
    place: usize,
    place_end: usize,
    form: Form,
    near: Option<&'a Words>,
}

struct Resolver<'a> {
    question: Question<'a>,
    views: &'a [View<'a>],
    items: VecDeque<Item<'a>>,
    spans: Vec<Span>,
    undecided: usize,
    looked: usize,
    /// What stands before the place that was asked about last: several detectors ask about one place.
    left: Left,
    /// The detectors whose words are in the name of the member.
    named: Option<DetectorSet>,
}

enum Verdict {
    Yes {
        by_context: bool,
    },
    No,
    /// It depends on text that has not arrived.
    Unknown,
}

impl<'a> Resolver<'a> {
    fn new(
        question: Question<'a>,
        views: &'a [View<'a>],
        matches: &[Match<'a>],
        scan: impl Fn(&Probe<'_>, &Wanted<'_>) -> Scan,
    ) -> Self {
        let mut undecided = question.undecided.min(question.text.len());
        let mut items = Vec::new();
        let mut looked = 0;
        let masked = matches.iter().map(|found| found.end - found.start).sum();
        for (number, view) in views.iter().enumerate() {
            if question.set.is_empty() {
                undecided = undecided.min(view.raw_start(view.text.len()));
                continue;
            }
            let behind = question.behind.masked(number);
            let plain = number == 0 && view.is_plain();
            let from = if plain { question.looked.min(view.text.len()) } else { 0 };
            let masked_ends: Vec<usize> = matches.iter().map(|found| view.place_of(found.end)).collect();
            let (set, key, masked_ends) = (question.set, question.key, masked_ends.as_slice());
            let wanted = Wanted { set, behind, key, masked, masked_ends, from };
            let found = scan(&probe(question, view, number, None), &wanted);
            if plain && found.candidates.is_empty() {
                looked = found.undecided;
            }
            undecided = undecided.min(view.raw_start(found.undecided));
            items.extend(found.candidates.iter().filter_map(|candidate| item(view, number, candidate)));
        }
        if let Some(view) = views.first() {
            items.extend(matches.iter().map(|found| Item {
                find: Find {
                    start: found.start,
                    end: found.end,
                    by: Finder::Regex(found.regex),
                    by_context: found.near.is_some(),
                },
                view: 0,
                place: view.place_of(found.start),
                place_end: view.place_of(found.end),
                form: if found.near.is_some() { Form::Context } else { Form::Sure },
                near: found.near,
            }));
        }
        items.sort_unstable_by_key(|item| (item.find.start, item.find.by, item.find.end, item.form));
        let (spans, left) = (Vec::new(), Left::default());
        Self { question, views, items: items.into(), spans, undecided, looked, left, named: None }
    }

    fn run(mut self, shown: &impl Shown) -> Answer {
        loop {
            let next = self.items.front().map(|item| item.find.start).filter(|&start| start < self.undecided);
            if let Some(span) = self.spans.last_mut()
                && !span.finished
                && span.end <= self.undecided
                && next.is_none_or(|start| start >= span.end)
            {
                span.finished = true;
                let opened = shown.kept_from(span).unwrap_or(span.end);
                self.open(opened);
                continue;
            }
            if next.is_none() {
                break;
            }
            let Some(item) = self.items.pop_front() else {
                break;
            };
            if self.question.outermost && self.is_within_span(&item.find) {
                continue;
            }
            match self.judge(&item) {
                Verdict::Yes { by_context } => self.unite(Find { by_context, ..item.find }),
                Verdict::No => {}
                Verdict::Unknown => self.undecided = self.undecided.min(item.find.start),
            }
        }
        // A decoded character is released as a whole, else the rest of it would mean something else.
        let undecided = self.views.iter().fold(self.undecided, |at, view| view.before_decoded(at));
        self.spans.retain(|span| span.start < undecided);
        Answer { spans: self.spans, undecided, looked: self.looked }
    }

    /// Tries the start that a span opens: its replacement shows what follows another left side than the text it hides.
    fn open(&mut self, raw: usize) {
        if raw >= self.undecided || self.question.set.is_empty() {
            return;
        }
        for (number, view) in self.views.iter().enumerate() {
            let place = view.place_of(raw);
            let probe = probe(self.question, view, number, Some(place));
            let Some(candidates) = scan::at(&probe, place, self.question.set) else {
                self.undecided = self.undecided.min(view.raw_start(place));
                continue;
            };
            for candidate in &candidates {
                let Some(item) = item(view, number, candidate) else {
                    continue;
                };
                let at = self.items.partition_point(|other| other.find.start < item.find.start);
                let same = self.items.iter().skip(at).take_while(|other| other.find.start == item.find.start);
                if !same.clone().any(|other| other.find == item.find) {
                    self.items.insert(at, item);
                }
            }
        }
    }

    /// Whether a find begins and ends within the last span. It would change neither its ends nor, beginning later, its name.
    fn is_within_span(&self, find: &Find) -> bool {
        self.spans.last().is_some_and(|span| span.start < find.start && find.end <= span.end)
    }

    fn unite(&mut self, find: Find) {
        // Starts come in order, but the part that `last4` keeps lies inside the span before.
        let mut united = Span { start: find.start, end: find.end, finds: vec![find], finished: false };
        while let Some(span) = self.spans.pop_if(|span| span.end > united.start) {
            let mut finds = span.finds;
            let grew = united.end > span.end || united.start < span.start;
            finds.append(&mut united.finds);
            united = Span {
                start: span.start.min(united.start),
                end: span.end.max(united.end),
                finds,
                finished: span.finished && !grew,
            };
        }
        self.spans.push(united);
    }

    fn judge(&mut self, item: &Item<'_>) -> Verdict {
        if let Some(view) = self.views.get(item.view) {
            let at = (item.view, item.place, item.find.start);
            self.left.look(at, view, &self.spans, self.question.behind.masked(item.view));
        }
        match self.is_inside_placeholder(item) {
            None => return Verdict::Unknown,
            Some(true) => return Verdict::No,
            Some(false) => {}
        }
        let mut form = item.form;
        if let Finder::Detector(detector) = item.find.by {
            match self.fits_left(item, detector) {
                None => return Verdict::No,
                Some(true) => {}
                Some(false) => form = Form::Context,
            }
            match self.is_part_of_digest(item) {
                None => return Verdict::Unknown,
                Some(true) => return Verdict::No,
                Some(false) => {}
            }
        }
        let has_context = form == Form::Context && self.has_context(item);
        if form == Form::Sure || has_context { Verdict::Yes { by_context: has_context } } else { Verdict::No }
    }

    fn has_context(&mut self, item: &Item<'_>) -> bool {
        let key = self.question.key;
        let in_key = |words: &Words| key.is_some_and(|key| words.are_in(&normalise(key)));
        let Finder::Detector(detector) = item.find.by else {
            return item.near.is_some_and(|words| in_key(words) || self.is_near(item, words));
        };
        let Some(words) = words_of(detector) else {
            return false;
        };
        let named = *self.named.get_or_insert_with(|| match key {
            Some(key) => EVERY_WORD.detectors_in(key.as_bytes()),
            None => DetectorSet::default(),
        });
        if named.has(detector) && in_key(words) {
            return true;
        }
        let names = self.left.names().or_else(|| {
            self.look_far(item);
            self.left.names()
        });
        let names = names.unwrap_or_default();
        names.within(words.reach).has(detector) && (names.sure || self.is_near(item, words))
    }

    fn look_far(&mut self, item: &Item<'_>) {
        if let Some(view) = self.views.get(item.view) {
            self.left.look_far(view, &self.spans, self.question.behind.masked(item.view));
        }
    }

    fn is_near(&mut self, item: &Item<'_>, words: &Words) -> bool {
        self.look_far(item);
        words.are_behind_first(self.left.before(words.reach))
    }

    /// Whether what stands before a find leaves it what it is: `Some(false)` if it needs a context word then, `None` if it is nothing.
    fn fits_left(&self, item: &Item<'_>, detector: DetectorIndex) -> Option<bool> {
        let mut left = self.left.bytes();
        let before = left.next();
        let second = left.next();
        let known = &*KNOWN;
        if detector == known.ipv4 {
            let longer = before == Some(b'.') && second.is_some_and(|byte| byte.is_ascii_digit());
            let version = before.is_some_and(|byte| byte.eq_ignore_ascii_case(&b'v'));
            return (!longer).then_some(!version);
        }
        if detector == known.ipv6 {
            return (!matches!(before, Some(b':' | b'_' | b'.'))).then_some(true);
        }
        if detector == known.mac_address {
            return (!matches!(before, Some(b':' | b'-'))).then_some(true);
        }
        // The decimals of a fraction below one.
        let fraction = before == Some(b'.')
            && second == Some(b'0')
            && !left.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && self.view_text(item).iter().all(u8::is_ascii_digit);
        (!fraction).then_some(true)
    }

    fn view_text(&self, item: &Item<'_>) -> &[u8] {
        self.views.get(item.view).and_then(|view| view.text.get(item.place..item.place_end)).unwrap_or_default()
    }

    /// Whether hexadecimal digits are a part of a UUID or of a hexadecimal digest. `None`: that depends on text that has not arrived.
    fn is_part_of_digest(&self, item: &Item<'_>) -> Option<bool> {
        let text = self.view_text(item);
        let part = |byte: u8| byte.is_ascii_hexdigit() || byte == b'-';
        if !text.iter().all(|&byte| part(byte)) {
            return Some(false);
        }
        let before = self.left.bytes().take(DIGEST_REACH).take_while(|&byte| part(byte)).count();
        let view = self.views.get(item.view)?;
        let behind = view.text.get(item.place_end..).unwrap_or_default();
        let glued = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_hexdigit() || *byte == b'-');
        if before == 0 && !glued(behind.first()) && (!behind.is_empty() || self.question.last) {
            return Some(false);
        }
        let right = behind.iter().take(DIGEST_REACH).take_while(|&&byte| part(byte)).count();
        if right == behind.len() && right < DIGEST_REACH && !self.question.last {
            // Whether it is one could still change, unless it is too short and too far to become one.
            return None;
        }
        let start = before;
        let mut token: Vec<u8> = self.left.bytes().take(before).collect();
        token.reverse();
        token.extend_from_slice(text);
        token.extend(behind.iter().take(right));
        Some(is_in_digest(&token, start, start + text.len()))
    }

    /// Whether a find lies inside one of our placeholders. `None`: that depends on text that has not arrived.
    fn is_inside_placeholder(&self, item: &Item<'_>) -> Option<bool> {
        let inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let count = self.left.bytes().take(PLACEHOLDER_MAX).take_while(|&byte| inner(byte)).count();
        let opened = self.left.bytes().take(PLACEHOLDER_MAX).nth(count);
        let closed = match opened {
            Some(b'[') => b']',
            Some(b'<') => b'>',
            _ => return Some(false),
        };
        let mut inside: Vec<u8> = self.left.bytes().take(count).collect();
        inside.reverse();
        let view = self.views.get(item.view)?;
        let rest = view.text.get(item.place..).unwrap_or_default();
        let length = rest.iter().take(PLACEHOLDER_MAX).take_while(|&&byte| inner(byte)).count();
        inside.extend(rest.iter().take(length));
        match rest.get(length) {
            None if length < PLACEHOLDER_MAX && !self.question.last => None,
            Some(&byte) if byte == closed => Some(is_placeholder(&inside)),
            _ => Some(false),
        }
    }
}

fn probe<'a>(question: Question<'a>, view: &'a View<'_>, number: usize, opened: Option<usize>) -> Probe<'a> {
    let last = question.last && view.complete == question.text.len();
    let opened = opened.or(question.behind.ends_masked().then_some(0));
    Probe::new(&view.text, question.behind.raw(number), opened, last)
}

fn item<'a>(view: &View<'_>, number: usize, candidate: &Candidate) -> Option<Item<'a>> {
    let (start, end) = (view.raw_start(candidate.start), view.raw_end(candidate.end));
    // What holds nothing decoded, the first view finds too.
    if number > 0 && !view.has_decoded(start, end) {
        return None;
    }
    let find =
        Find { start, end, by: Finder::Detector(candidate.detector), by_context: candidate.form == Form::Context };
    Some(Item {
        find,
        view: number,
        place: candidate.start,
        place_end: candidate.end,
        form: candidate.form,
        near: None,
    })
}

/// Whether a range lies in a UUID, or in a run of hexadecimal digits as long as a digest and with a letter in it.
fn is_in_digest(token: &[u8], start: usize, end: usize) -> bool {
    const UUID: [usize; 5] = [8, 4, 4, 4, 12];
    let is_uuid = |from: usize| {
        let mut at = from;
        UUID.iter().enumerate().all(|(number, &size)| {
            let dashed = number == 0 || token.get(at) == Some(&b'-');
            at += usize::from(number > 0);
            let good = token.get(at..at + size).is_some_and(|group| group.iter().all(u8::is_ascii_hexdigit));
            at += size;
            dashed && good
        }) && !token.get(at).is_some_and(u8::is_ascii_hexdigit)
            && (from == 0 || !token.get(from - 1).is_some_and(u8::is_ascii_hexdigit))
    };
    let uuid_bytes = 36;
    let from = end.saturating_sub(uuid_bytes);
    if (from..=start).any(|from| from + uuid_bytes >= end && is_uuid(from)) {
        return true;
    }
    let run_start = token.iter().take(start).rposition(|&byte| byte == b'-').map_or(0, |dash| dash + 1);
    let run_end = token.iter().skip(end).position(|&byte| byte == b'-').map_or(token.len(), |dash| end + dash);
    let run = token.get(run_start..run_end).unwrap_or_default();
    run.len() >= DIGEST_MIN && run.iter().any(u8::is_ascii_alphabetic) && !run.contains(&b'-')
}
