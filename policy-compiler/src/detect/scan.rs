//! Where candidates may begin: only around bytes that make them possible, so that clean text costs next to nothing.

use super::classes::is_boundary;
use super::kinds::{Candidate, Finds, recognise};
use super::probe::Probe;
use super::set::DetectorSet;
use super::triggers::{AHEAD, Reach, Triggers, Wanted};
use std::cell::RefCell;

/// What stands in a text so far.
#[derive(Debug)]
pub(super) struct Scan {
    /// In order of their start, each before `undecided`.
    pub(super) candidates: Vec<Candidate>,
    /// What begins here or behind it may depend on text that has not arrived.
    pub(super) undecided: usize,
}

/// Finds all candidates that are decided; those that need a context word may be left out where there is none.
pub(super) fn scan(probe: &Probe<'_>, wanted: &Wanted<'_>) -> Scan {
    thread_local! {
        // As large as a segment, so it is not kept per stream.
        static TRIGGERS: RefCell<Triggers> = RefCell::default();
    }
    let (text, set) = (probe.text(), wanted.set);
    let mut finds = Finds::new(set);
    let limit = if probe.is_last() { text.len() } else { text.len().saturating_sub(AHEAD) };
    let marked = (limit > wanted.from).then(|| {
        TRIGGERS.with_borrow_mut(|triggers| {
            triggers.each(text, limit, wanted, |place, reach| try_marked(probe, place, reach, &mut finds))
        })
    });
    finds.context = Some(*set);
    let undecided = marked
        .flatten()
        .or_else(|| (limit.max(wanted.from)..text.len()).find_map(|place| try_place(probe, place, &mut finds)));
    Scan { candidates: finds.candidates, undecided: undecided.unwrap_or(text.len()) }
}

/// The same for a place that is far from an end that may go on: where a context word is asked for and none is near, it is left out.
fn try_marked(probe: &Probe<'_>, place: usize, reach: &mut Reach, finds: &mut Finds<'_>) -> Option<usize> {
    let before = finds.candidates.len();
    (finds.context, finds.asked) = (None, DetectorSet::default());
    let mut starved = try_place(probe, place, finds);
    if starved.is_none() && !finds.asked.is_empty() {
        let named = reach.named(probe.text(), place);
        if named.meets(&finds.asked) {
            finds.candidates.truncate(before);
            finds.context = Some(named);
            starved = try_place(probe, place, finds);
        }
    }
    let found = finds.candidates.get(before..).unwrap_or_default();
    if !found.is_empty() {
        reach.stretch(probe.text(), place, found.iter().map(|found| found.end));
    }
    starved
}

/// Tries one place; gives it back if it needs more text.
#[inline]
fn try_place(probe: &Probe<'_>, place: usize, finds: &mut Finds<'_>) -> Option<usize> {
    if !is_boundary(probe.before(place), probe.at(place)) {
        return None;
    }
    let found = finds.candidates.len();
    recognise(probe, place, finds);
    if probe.take_starved() {
        finds.candidates.truncate(found);
        return Some(place);
    }
    None
}

/// Everything that begins at one place. `None`: it needs more text.
pub(super) fn at(probe: &Probe<'_>, place: usize, set: &DetectorSet) -> Option<Vec<Candidate>> {
    let mut finds = Finds::new(set);
    recognise(probe, place, &mut finds);
    (!probe.take_starved()).then_some(finds.candidates)
}

/// Every place tried, whatever the triggers say: the meaning of [`scan`], to compare it with.
#[cfg(test)]
pub(super) fn scan_everywhere(probe: &Probe<'_>, set: &DetectorSet) -> Scan {
    let text = probe.text();
    let mut finds = Finds::new(set);
    let undecided = (0..text.len()).find_map(|place| try_place(probe, place, &mut finds)).unwrap_or(text.len());
    Scan { candidates: finds.candidates, undecided }
}
