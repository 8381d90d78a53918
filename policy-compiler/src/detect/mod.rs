//! Detectors: what personal data looks like, decided on whole texts and on texts that arrive in pieces.
//!
//! A detector is one or more patterns. A pattern is an anchored automaton with a set of bytes that may not stand before a
//! match, a set that may not stand behind it, and a check of the matched text (Luhn). Whether an unfinished text could
//! still become or grow into a match is read off the automaton itself, so the streaming redactor holds back exactly what
//! it must and no hand-written "safe cut" exists.

mod automaton;
mod builtin;
mod pattern;

pub use pattern::CEILING;

pub(crate) use builtin::{Builtin, builtin_named, builtins};
pub(crate) use pattern::{Attempt, CeilingExceeded, Outcome, Pattern, Rules, Window};

use std::ops::Range;

/// One detection in a whole text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The detector's name.
    pub detector: &'static str,
    /// Which bytes.
    pub range: Range<usize>,
}

/// Whether the built-in detector `name` finds anything in the text; `None` if there is no such detector.
#[must_use]
pub fn finds(name: &str, text: &str) -> Option<bool> {
    let builtin = builtin_named(name)?;
    Some(builtin.patterns.iter().any(|pattern| matches(pattern, text.as_bytes()).next().is_some()))
}

/// Everything that the named built-in detector matches, in order of the start. Ranges may overlap; the redactor unites
/// them. `None` if there is no such detector.
#[must_use]
pub fn find(name: &str, text: &str) -> Option<Vec<Finding>> {
    let builtin = builtin_named(name)?;
    let mut findings: Vec<Finding> = builtin
        .patterns
        .iter()
        .flat_map(|pattern| matches(pattern, text.as_bytes()))
        .map(|range| Finding { detector: builtin.name, range })
        .collect();
    findings.sort_by_key(|finding| (finding.range.start, finding.range.end));
    findings.dedup();
    Some(findings)
}

/// The names of the built-in detectors.
pub fn names() -> impl Iterator<Item = &'static str> {
    builtins().iter().map(|builtin| builtin.name)
}

/// Every match of a built-in pattern in a whole text. Built-in patterns are bounded far below the ceiling.
fn matches<'t>(pattern: &'t Pattern, text: &'t [u8]) -> impl Iterator<Item = Range<usize>> + 't {
    let window = Window { text, base: 0, before: None, last: true };
    let mut from = 0_u64;
    std::iter::from_fn(move || {
        loop {
            let start = pattern.next_start(window, from);
            if start >= text.len() as u64 {
                return None;
            }
            from = start + 1;
            if let Ok(Outcome::Decided(Some(end))) = pattern.run(window, pattern.attempt(window, start)) {
                let (start, end) = (usize::try_from(start).ok()?, usize::try_from(end).ok()?);
                return Some(start..end);
            }
        }
    })
}
