//! Is there a text in some sets and not in others? Complete for literals; for globs by walking all of them at once.

use super::Budget;
use crate::glob::glob_match;
use crate::program::StrSet;
use std::collections::{HashSet, VecDeque};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Text(String),
    /// There is none.
    Nothing,
    /// The bound on work was hit, or the answer hangs on names that the walk does not tell apart.
    Unknown,
}

/// States of the walk; a policy that needs more is unusual.
const STATES_MAX: usize = 2_000;
/// Readable texts to try first where anything will do.
const ANYTHING: [&str; 4] = ["other", "another", "something-else", "x"];

/// A text that is in every set with `true` and in none with `false`.
pub(super) fn find(wanted: &[(&StrSet, bool)], may_be_empty: bool, budget: &mut Budget) -> Found {
    let fits = |text: &str| {
        (may_be_empty || !text.is_empty()) && wanted.iter().all(|(set, inside)| is_in(set, text) == *inside)
    };
    let positive = || wanted.iter().filter(|(_, inside)| *inside).map(|(set, _)| *set);
    let names = positive().filter(|set| set.globs.is_empty()).min_by_key(|set| set.literals.len());
    if let Some(names) = names {
        for literal in &names.literals {
            if !budget.spend(wanted.len()) {
                return Found::Unknown;
            }
            if fits(literal) {
                return Found::Text(literal.clone());
            }
        }
        return Found::Nothing;
    }
    // Every text that some set names, and what the globs stand for at their shortest.
    for set in positive() {
        for candidate in set.literals.iter().cloned().chain(set.globs.iter().flat_map(|glob| simplest(glob))) {
            if !budget.spend(wanted.len()) {
                return Found::Unknown;
            }
            if fits(&candidate) {
                return Found::Text(candidate);
            }
        }
    }
    if positive().next().is_none()
        && let Some(text) = ANYTHING.iter().find(|text| fits(text))
    {
        return Found::Text((*text).to_owned());
    }
    walk(wanted, &fits, budget)
}

/// As [`StrSet::contains`], using that the literals are sorted.
pub(super) fn is_in(set: &StrSet, text: &str) -> bool {
    set.literals.binary_search_by(|literal| literal.as_str().cmp(text)).is_ok()
        || set.globs.iter().any(|glob| glob_match(glob, text))
}

fn simplest(glob: &str) -> [String; 2] {
    [glob.replace(['*', '?'], "x"), glob.replace('*', "").replace('?', "x")]
}

/// Where a text so far stands in every glob: the positions it may have reached.
type State = Vec<Vec<usize>>;

/// Breadth first over texts of the characters that the globs name and two others. A state reached twice is looked at once, so literals
/// that are excluded may hide an answer: then nothing is claimed.
fn walk(wanted: &[(&StrSet, bool)], fits: &dyn Fn(&str) -> bool, budget: &mut Budget) -> Found {
    let globs: Vec<Vec<char>> =
        wanted.iter().flat_map(|(set, _)| &set.globs).map(|glob| glob.chars().collect()).collect();
    let mut alphabet: Vec<char> = globs.iter().flatten().copied().filter(|c| !matches!(c, '*' | '?')).collect();
    alphabet.sort_unstable();
    alphabet.dedup();
    let fresh = ('a'..='z').rev().chain('0'..='9').chain('\u{e000}'..).filter(|c| !alphabet.contains(c));
    let fresh: Vec<char> = fresh.take(2).collect();
    alphabet.extend(fresh);

    // Whether the globs alone accept, leaving excluded literals aside.
    let accepts = |state: &State| {
        let mut reached = state.iter().zip(&globs).map(|(at, glob)| at.contains(&glob.len()));
        wanted.iter().all(|(set, inside)| {
            let hit = reached.by_ref().take(set.globs.len()).fold(false, |any, one| any | one);
            hit == *inside
        })
    };
    let start: State = globs.iter().map(|glob| closure(glob, vec![0])).collect();
    if fits("") {
        return Found::Text(String::new());
    }
    let mut hidden = false;
    let mut seen = HashSet::from([start.clone()]);
    let mut open = VecDeque::from([(start, String::new())]);
    while let Some((state, text)) = open.pop_front() {
        for c in &alphabet {
            if seen.len() > STATES_MAX || !budget.spend(globs.len().max(1)) {
                return Found::Unknown;
            }
            let next: State = state.iter().zip(&globs).map(|(at, glob)| step(glob, at, *c)).collect();
            let longer = format!("{text}{c}");
            if accepts(&next) {
                match fits(&longer) {
                    true => return Found::Text(longer),
                    false => hidden = true,
                }
            }
            if seen.insert(next.clone()) {
                open.push_back((next, longer));
            }
        }
    }
    if hidden { Found::Unknown } else { Found::Nothing }
}

fn step(glob: &[char], at: &[usize], c: char) -> Vec<usize> {
    let moved = at.iter().filter_map(|&position| match glob.get(position) {
        Some('*') => Some(position),
        Some('?') => Some(position + 1),
        Some(wanted) if *wanted == c => Some(position + 1),
        _ => None,
    });
    closure(glob, moved.collect())
}

/// A star may also stand for nothing.
fn closure(glob: &[char], mut at: Vec<usize>) -> Vec<usize> {
    let mut next = 0;
    while let Some(&position) = at.get(next) {
        if glob.get(position) == Some(&'*') && !at.contains(&(position + 1)) {
            at.push(position + 1);
        }
        next += 1;
    }
    at.sort_unstable();
    at.dedup();
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn set(entries: &[&str]) -> StrSet {
        let (globs, literals): (Vec<&str>, Vec<&str>) = entries.iter().partition(|entry| entry.contains(['*', '?']));
        let owned = |mut list: Vec<&str>| {
            list.sort_unstable();
            list.into_iter().map(str::to_owned).collect()
        };
        StrSet { literals: owned(literals), globs: owned(globs) }
    }

    fn search(wanted: &[(&[&str], bool)]) -> Found {
        let sets: Vec<(StrSet, bool)> = wanted.iter().map(|(entries, inside)| (set(entries), *inside)).collect();
        let wanted: Vec<(&StrSet, bool)> = sets.iter().map(|(set, inside)| (set, *inside)).collect();
        find(&wanted, false, &mut Budget::new(100_000))
    }

    #[test]
    fn table() {
        let text = |text: &str| Found::Text(text.to_owned());
        for (wanted, expected) in [
            (vec![(["a", "b"].as_slice(), true), (&["b", "c"], true)], text("b")),
            (vec![(&["a"], true), (&["b"], true)], Found::Nothing),
            (vec![(&["a"], false), (&["b"], false)], text("other")),
            (vec![(&["tiny-*"], true), (&["*-large"], true)], text("tiny-large")),
            (vec![(&["tiny-*"], true), (&["large-*"], true)], Found::Nothing),
            (vec![(&["tiny-*"], true), (&["tiny*"], false)], Found::Nothing),
            (vec![(&["tiny*"], true), (&["tiny-*", "tiny"], false)], text("tinyx")),
            (vec![(&["*"], true), (&["a*"], false), (&["*b"], false)], text("x")),
            (vec![(&["??"], true), (&["a*"], true), (&["*b"], true)], text("ab")),
            (vec![(&["?"], true), (&["??"], true)], Found::Nothing),
            (vec![(&["*"], false)], Found::Nothing),
        ] {
            assert_eq!(search(&wanted), expected, "{wanted:?}");
        }
    }

    proptest! {
        /// Against every short text.
        #[test]
        fn as_defined(
            sets in prop::collection::vec((prop::collection::vec("[ab*?]{1,4}", 1..4), any::<bool>()), 1..4),
            texts in prop::collection::vec("[abcx]{1,5}", 50),
        ) {
            let sets: Vec<(StrSet, bool)> = sets
                .iter()
                .map(|(entries, inside)| (set(&entries.iter().map(String::as_str).collect::<Vec<_>>()), *inside))
                .collect();
            let wanted: Vec<(&StrSet, bool)> = sets.iter().map(|(set, inside)| (set, *inside)).collect();
            let fits = |text: &str| wanted.iter().all(|(set, inside)| set.contains(text) == *inside);
            match find(&wanted, false, &mut Budget::new(1_000_000)) {
                Found::Text(text) => prop_assert!(fits(&text)),
                Found::Nothing => prop_assert!(!texts.iter().any(|text| fits(text))),
                Found::Unknown => {}
            }
        }
    }
}
