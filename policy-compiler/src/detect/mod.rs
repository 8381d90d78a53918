//! Detectors: what personal data and secrets look like, decided on whole texts and on texts that arrive in pieces.
//!
//! How a text is searched: `fold` shows it as detectors see it; `triggers` marks the places where something may begin, by the `bits` of
//! 64 bytes at a time, and short numbers only near a word of the `lexicon`; `scan` asks the recognisers of `kinds` there; these read
//! through a `probe` that notes when they need text that has not arrived; `resolve` goes over what they found from left to right, looks for
//! context words in what stands `left` of it, and unites overlaps. Whether something is undecided is therefore
//! never said by a detector: it is what its reading shows, so the streaming redactor holds back what it must and no more.
//!
//! `ids` and `checksums` hold the identifiers, `automaton` and `pattern` the regexes of policies, which `starts` finds
//! the beginnings of.

mod automaton;
mod behind;
mod bits;
mod checksums;
mod classes;
mod context;
mod fold;
mod ids;
mod kinds;
mod left;
mod lexicon;
mod pattern;
mod probe;
mod resolve;
mod scan;
mod set;
#[cfg(target_arch = "x86_64")]
mod simd;
mod starts;
mod triggers;

#[cfg(test)]
pub(crate) mod tests;

pub use pattern::CEILING;

pub(crate) use behind::{BEHIND_READ, Behind};
pub(crate) use context::Words;
pub(crate) use pattern::{Attempt, CeilingExceeded, Outcome, Pattern, Window};
pub(crate) use resolve::{Find, Finder, Match, Question, Shown, Span, find as find_spans};
pub(crate) use set::{DetectorIndex, DetectorSet, index_of};
pub(crate) use starts::{Places, Starts, TOGETHER_MAX};

use policy_lang::catalogue::{self, Detector, DetectorTier};
use std::ops::Range;
use std::sync::LazyLock;

/// Digits of the shortest number that a detector of tier V takes by itself, an American telephone number.
pub(crate) const NUMBER_BYTES_MIN: usize = 8;

/// One detection in a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The detector's name.
    pub detector: &'static str,
    /// Which bytes.
    pub range: Range<usize>,
    /// How sure it is: of a detector of tier V, what needed a context word counts as tier C.
    pub tier: DetectorTier,
}

/// Whether the built-in detector `name` finds anything in the text; `None` if there is no such detector.
#[must_use]
pub fn finds(name: &str, text: &str) -> Option<bool> {
    find(name, text).map(|found| !found.is_empty())
}

/// What [`finds`] says of each of these detectors, from one scan of the text.
pub(crate) fn finds_each(names: &[String], text: &str) -> Vec<Option<bool>> {
    let set = names.iter().filter_map(|name| index_of(name)).collect();
    let found = find_all(&set, text, None);
    let finds = |name: &String| found.iter().any(|finding| finding.detector == name);
    names.iter().map(|name| index_of(name).map(|_| finds(name))).collect()
}

/// Whether the built-in detector `name` finds something that stays a find whatever comes behind the text.
#[must_use]
pub(crate) fn finds_surely(name: &str, text: &str) -> bool {
    let Some(index) = index_of(name) else { return false };
    let (set, behind) = (std::iter::once(index).collect(), Behind::default());
    let text = text.as_bytes();
    let question = Question {
        text,
        behind: &behind,
        last: false,
        set: &set,
        key: None,
        undecided: text.len(),
        outermost: false,
        looked: 0,
    };
    let answer = find_spans(question, &[], &AllGone);
    answer.spans.iter().any(|span| span.end <= answer.undecided)
}

/// Everything that the named built-in detector finds, in order of the start. Ranges may overlap; the redactor unites
/// them. `None` if there is no such detector.
#[must_use]
pub fn find(name: &str, text: &str) -> Option<Vec<Finding>> {
    let set = std::iter::once(index_of(name)?).collect();
    Some(find_all(&set, text, None))
}

/// Everything that any detector of tier V finds, in order of the start: what the recorded copy is masked by.
#[must_use]
pub fn find_validated(text: &str) -> Vec<Finding> {
    find_all(&validated(), text, None)
}

/// As [`find`], for a text that is the value of a JSON member: its name counts as context.
#[must_use]
pub fn find_in_member(name: &str, key: &str, text: &str) -> Option<Vec<Finding>> {
    let set = std::iter::once(index_of(name)?).collect();
    Some(find_all(&set, text, Some(key)))
}

/// The names of the built-in detectors.
pub fn names() -> impl Iterator<Item = &'static str> {
    catalogue::detectors().iter().map(|detector| detector.id)
}

/// The detectors of tier V.
pub(crate) fn validated() -> DetectorSet {
    // Every text that is written down is looked at with it, so it is not looked up by its names each time.
    static VALIDATED: LazyLock<DetectorSet> = LazyLock::new(|| {
        let all = catalogue::detectors().iter();
        all.filter(|detector| detector.tier == DetectorTier::Validated)
            .filter_map(|detector| index_of(detector.id))
            .collect()
    });
    *VALIDATED
}

/// The detector of an index.
pub(crate) fn detector(index: DetectorIndex) -> Option<&'static Detector> {
    catalogue::detectors().get(usize::from(index))
}

/// Placeholders as they are: no part of a span stays.
struct AllGone;

impl Shown for AllGone {
    fn kept_from(&self, _: &Span) -> Option<usize> {
        None
    }
}

fn find_all(set: &DetectorSet, text: &str, key: Option<&str>) -> Vec<Finding> {
    let behind = Behind::default();
    let question = Question {
        text: text.as_bytes(),
        behind: &behind,
        last: true,
        set,
        key,
        undecided: text.len(),
        outermost: false,
        looked: 0,
    };
    let answer = find_spans(question, &[], &AllGone);
    let mut findings: Vec<Finding> = answer
        .spans
        .iter()
        .flat_map(|span| &span.finds)
        .filter_map(|found| {
            let Finder::Detector(index) = found.by else {
                return None;
            };
            let detector = detector(index)?;
            let by_context = found.by_context && detector.tier == DetectorTier::Validated;
            let tier = if by_context { DetectorTier::Context } else { detector.tier };
            Some(Finding { detector: detector.id, range: found.start..found.end, tier })
        })
        .collect();
    findings.sort_by_key(|finding| (finding.range.start, finding.range.end));
    findings.dedup();
    findings
}
