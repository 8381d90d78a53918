//! Where candidates may begin: only around bytes that make them possible, so that clean text costs next to nothing.

use super::classes::{is_boundary, next_trigger};
use super::kinds::{Candidate, Finds, is_filler, recognise};
use super::probe::Probe;
use super::set::DetectorSet;

/// Bytes before a trigger in which a match can have begun.
const REACH: usize = 96;
/// Bytes between `:` or `=` and the value behind it.
const FILLER_MAX: usize = 8;

/// What stands in a text so far.
#[derive(Debug)]
pub(super) struct Scan {
    /// In order of their start, each before `undecided`.
    pub(super) candidates: Vec<Candidate>,
    /// What begins here or behind it may depend on text that has not arrived.
    pub(super) undecided: usize,
}

/// Finds all candidates that are decided.
pub(super) fn scan(probe: &Probe<'_>, set: &DetectorSet) -> Scan {
    let (text, last) = (probe.text(), probe.is_last());
    let mut finds = Finds { set, candidates: Vec::new() };
    let mut done = 0;
    let mut from = 0;
    while let Some(trigger) = next_trigger(text, from) {
        from = trigger + 1;
        let mut end = from;
        if matches!(text.get(trigger), Some(b':' | b'=')) {
            let filler =
                text.iter().skip(from).take(FILLER_MAX).take_while(|&&byte| is_filler(byte) || byte == b'/').count();
            end = from + filler + 1;
        }
        let start = walk_back(text, trigger).max(done);
        if let Some(undecided) = places(probe, start, end.min(text.len()), &mut finds) {
            return Scan { candidates: finds.candidates, undecided };
        }
        done = done.max(end.min(text.len()));
        from = from.max(done);
    }
    if !last {
        let start = walk_back(text, text.len()).max(done);
        if let Some(undecided) = places(probe, start, text.len(), &mut finds) {
            return Scan { candidates: finds.candidates, undecided };
        }
    }
    Scan { candidates: finds.candidates, undecided: text.len() }
}

/// Tries every place from `start` up to `end`; the first one that needs more text, if any.
fn places(probe: &Probe<'_>, start: usize, end: usize, finds: &mut Finds<'_>) -> Option<usize> {
    for place in start..end {
        if !is_boundary(probe.before(place), probe.at(place)) {
            continue;
        }
        let found = finds.candidates.len();
        recognise(probe, place, finds);
        if probe.take_starved() {
            finds.candidates.truncate(found);
            return Some(place);
        }
    }
    None
}

/// The beginning of the word before the one that the trigger stands in.
fn walk_back(text: &[u8], trigger: usize) -> usize {
    let stop = trigger.saturating_sub(REACH);
    let mut at = trigger;
    let mut words = 0;
    while at > stop {
        let byte = text.get(at - 1).copied().unwrap_or_default();
        if byte.is_ascii_whitespace() {
            words += 1;
            if words > 1 {
                break;
            }
        }
        at -= 1;
    }
    at
}

/// Everything that begins at one place. `None`: it needs more text.
pub(super) fn at(probe: &Probe<'_>, place: usize, set: &DetectorSet) -> Option<Vec<Candidate>> {
    let mut finds = Finds { set, candidates: Vec::new() };
    recognise(probe, place, &mut finds);
    (!probe.take_starved()).then_some(finds.candidates)
}

/// Every place tried, whatever the triggers say: the meaning of [`scan`], to compare it with.
#[cfg(test)]
pub(super) fn scan_everywhere(probe: &Probe<'_>, set: &DetectorSet) -> Scan {
    let text = probe.text();
    let mut finds = Finds { set, candidates: Vec::new() };
    let undecided = places(probe, 0, text.len(), &mut finds).unwrap_or(text.len());
    Scan { candidates: finds.candidates, undecided }
}
