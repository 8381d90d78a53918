//! Where candidates may begin: only around bytes that make them possible, so that clean text costs next to nothing.

use super::classes::{is_boundary, next_trigger};
use super::kinds::{Candidate, Finds, is_filler, recognise};
use super::probe::Probe;
use super::set::{DetectorSet, LONG};

/// Bytes before a trigger in which a match can have begun.
const REACH: usize = 96;
/// Letters and digits in a row that may be a key, an address or a token.
const LONG_RUN: usize = 12;
/// Bytes before a trigger that are counted with it.
const BACK: usize = 48;
/// And behind it; a trigger nearer to the end is never harmless, since more may come.
const AHEAD: usize = 96;
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
    let only_long = set.is_within(&LONG);
    while let Some(trigger) = next_trigger(text, from) {
        from = trigger + 1;
        if only_long && (last || trigger + AHEAD < text.len()) && is_harmless(text, trigger) {
            continue;
        }
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

/// Whether no long match lies around this trigger. A long match has four digits, or a run of [`LONG_RUN`] letters and digits, or one of the
/// bytes that are never harmless, or one of the few forms that are looked for here by name.
fn is_harmless(text: &[u8], trigger: usize) -> bool {
    let byte = |at: usize| text.get(at).copied().unwrap_or_default();
    if !byte(trigger).is_ascii_alphanumeric() {
        return false;
    }
    let window = text.get(trigger.saturating_sub(BACK)..(trigger + AHEAD).min(text.len())).unwrap_or_default();
    let (digits, strong) = window.iter().fold((0_u8, false), |(digits, strong), &byte| {
        (
            digits + u8::from(byte.is_ascii_digit()),
            strong | (byte == b'@') | (byte == b':') | (byte == b'=') | (byte == b'_') | (byte >= 0x80),
        )
    });
    if digits >= 4 || strong {
        return false;
    }
    let mut start = trigger;
    while start > 0 && trigger - start < LONG_RUN && byte(start - 1).is_ascii_alphanumeric() {
        start -= 1;
    }
    let mut end = trigger + 1;
    while end < text.len() && end - start < LONG_RUN && byte(end).is_ascii_alphanumeric() {
        end += 1;
    }
    // `-----BEGIN`, `PuTTY-User-Key-File`, `aa-bb-cc-dd-ee-f1`, `aabb.ccdd.eef1`, `SG.`, `P<UTO`, `Basic YTpi`, `Bearer a.1`, `GI75 NWBK`.
    let before = start.checked_sub(1).map_or(0, byte);
    let glued = |byte: u8| matches!(byte, b'-' | b'<' | b'/' | b'+' | b'~' | b'%');
    let dotted = |dot: u8, behind: u8| dot == b'.' && behind.is_ascii_alphabetic();
    let second = start.checked_sub(2).map_or(0, byte);
    let harmful = end - start >= LONG_RUN
        || glued(before)
        || glued(byte(end))
        || dotted(byte(end), byte(end + 1))
        || dotted(before, second)
        || before == b' ' && matches!(second, b'c' | b'C' | b'r' | b'R')
        || matches!(text.get(start..end), Some([b'A'..=b'Z', b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9']));
    !harmful
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
