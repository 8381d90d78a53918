//! Classes of the texts of one field.

use super::constants::{Constants, UNKNOWN};
use crate::planted::planted;
use policy_lang::{StrSet, glob_match};
use std::collections::HashMap;

/// Pairs of a text and a glob that are matched at compile time; beyond it globs are asked for at run time.
const RESOLVED_PAIRS_MAX: usize = 4_000_000;

/// The literals and globs that a program compares one field with.
#[derive(Debug, Default)]
pub(crate) struct TextClasses {
    literals: Constants,
    prefixes: Affixes,
    suffixes: Affixes,
    /// Whether the globs of each literal are known: see [`ClassSet`].
    resolved: bool,
    /// By glob: the literals that it matches; only of globs that match any.
    literals_of_glob: HashMap<Box<str>, Vec<u32>>,
}

/// Which classes are in a set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassSet {
    /// Ids of [`TextClasses::class`], sorted.
    pub(crate) classes: Vec<u32>,
    /// Ids of [`TextClasses::suffix`], sorted.
    pub(crate) suffixes: Vec<u32>,
    /// The set has globs that classes do not settle: they must be asked for…
    pub(crate) asks: bool,
    /// …also of texts that are literals of the program.
    pub(crate) asks_of_literals: bool,
}

impl TextClasses {
    /// Takes in what a condition compares the field with.
    pub(crate) fn add(&mut self, set: &StrSet) {
        for literal in &set.literals {
            // An absent field reads "" and is in no set: the empty text has no class.
            if !literal.is_empty() {
                self.literals.insert(literal);
            }
        }
        for glob in &set.globs {
            match Shape::of(glob) {
                Shape::Prefix(prefix) => self.prefixes.add(prefix),
                Shape::Suffix(suffix) => self.suffixes.add(suffix),
                Shape::Other => {}
            }
        }
    }

    /// Once all sets are taken in: which literal each glob matches. `globs` are the distinct ones of this field.
    pub(crate) fn finish(&mut self, globs: &[&str]) {
        self.prefixes.finish(false);
        self.suffixes.finish(true);
        let others: Vec<&str> = globs.iter().copied().filter(|glob| matches!(Shape::of(glob), Shape::Other)).collect();
        let lengths = self.prefixes.lengths.len() + self.suffixes.lengths.len();
        self.resolved = self.literals.len().saturating_mul(others.len() + lengths) <= RESOLVED_PAIRS_MAX;
        if !self.resolved {
            return;
        }
        for (literal, id) in self.literals.iter() {
            let (prefixes, suffixes) = (self.prefixes.all_of(literal, false), self.suffixes.all_of(literal, true));
            let prefixes = prefixes.map(|prefix| format!("{prefix}*"));
            let suffixes = suffixes.map(|suffix| format!("*{suffix}"));
            let others = others.iter().filter(|glob| glob_match(glob, literal)).map(ToString::to_string);
            for glob in prefixes.chain(suffixes).chain(others) {
                self.literals_of_glob.entry(glob.into()).or_default().push(id);
            }
        }
    }

    /// Number of classes; ids are `0..count`.
    pub(crate) fn class_count(&self) -> usize {
        1 + self.literals.len() + self.prefixes.names.len()
    }

    /// Number of suffix classes; ids are `0..count`.
    pub(crate) fn suffix_count(&self) -> usize {
        1 + self.suffixes.names.len()
    }

    /// Whether the class is that of a literal.
    #[inline]
    pub(crate) fn literal_max(&self) -> u32 {
        self.literals.len() as u32
    }

    /// The class of a text: its literal, else the longest prefix that it has, else 0.
    #[inline]
    pub(crate) fn class(&self, text: &str) -> u32 {
        match self.literals.id(text) {
            UNKNOWN if self.prefixes.names.is_empty() => UNKNOWN,
            UNKNOWN if text.is_empty() && !planted!(EmptyTextIsKnown) => UNKNOWN,
            UNKNOWN => match self.prefixes.longest(text, false) {
                UNKNOWN => UNKNOWN,
                prefix => self.literal_max() + prefix,
            },
            literal => literal,
        }
    }

    /// The class of the text's end: the longest suffix that it has, else 0. 0 for literals, whose globs are known.
    #[inline]
    pub(crate) fn suffix(&self, text: &str, class: u32) -> u32 {
        let is_literal = self.resolved && class != UNKNOWN && class <= self.literal_max();
        if self.suffixes.names.is_empty() || is_literal || text.is_empty() {
            return UNKNOWN;
        }
        self.suffixes.longest(text, true)
    }

    /// The classes of a set. `expand_max` bounds the number of ids; `None` beyond it.
    pub(crate) fn set(&self, set: &StrSet, expand_max: usize) -> Option<ClassSet> {
        let mut found = ClassSet::default();
        for literal in set.literals.iter().filter(|literal| !literal.is_empty()) {
            found.classes.push(self.literals.id(literal));
        }
        for glob in &set.globs {
            if let Some(literals) = self.literals_of_glob.get(glob.as_str())
                && !planted!(LiteralsIgnoreGlobs)
            {
                found.classes.extend(literals);
            }
            match Shape::of(glob) {
                Shape::Prefix(prefix) => {
                    let classes = self.prefixes.below(prefix);
                    found.classes.extend(classes.map(|id| self.literal_max() + id));
                }
                Shape::Suffix(_) if planted!(SuffixesAreForgotten) => {}
                Shape::Suffix(suffix) => found.suffixes.extend(self.suffixes.below(suffix)),
                Shape::Other => found.asks = true,
            }
            found.asks |= !self.resolved;
            found.asks_of_literals |= !self.resolved;
            if found.classes.len() + found.suffixes.len() > expand_max {
                return None;
            }
        }
        for ids in [&mut found.classes, &mut found.suffixes] {
            ids.sort_unstable();
            ids.dedup();
        }
        Some(found)
    }
}

/// What kind of glob it is.
enum Shape<'a> {
    /// `x*`, also `*` alone.
    Prefix(&'a str),
    /// `*x`
    Suffix(&'a str),
    /// With `?`, an inner or several `*`, or none at all.
    Other,
}

impl<'a> Shape<'a> {
    fn of(glob: &'a str) -> Self {
        let plain = |text: &str| !text.contains(['*', '?']);
        match (glob.strip_suffix('*'), glob.strip_prefix('*')) {
            (Some(prefix), _) if plain(prefix) => Self::Prefix(prefix),
            (_, Some(suffix)) if plain(suffix) => Self::Suffix(suffix),
            _ => Self::Other,
        }
    }
}

/// Prefixes (or suffixes) by length, longest first, so that a text costs one look-up per length.
#[derive(Debug, Default)]
struct Affixes {
    names: Constants,
    lengths: Vec<usize>,
    /// By id: the affixes that extend it, itself among them.
    below: Vec<Vec<u32>>,
}

impl Affixes {
    fn add(&mut self, affix: &str) {
        self.names.insert(affix);
        if !self.lengths.contains(&affix.len()) {
            self.lengths.push(affix.len());
        }
    }

    fn finish(&mut self, at_end: bool) {
        self.lengths.sort_unstable_by(|left, right| right.cmp(left));
        self.below = vec![Vec::new(); self.names.len() + 1];
        for (affix, id) in self.names.iter() {
            for length in self.lengths.iter().filter(|length| **length <= affix.len()) {
                if planted!(PrefixChainIsCut) && *length < affix.len() {
                    break;
                }
                let part = part(affix, *length, at_end);
                let outer = part.map_or(UNKNOWN, |part| self.names.id_of_bytes(part));
                if outer != UNKNOWN
                    && let Some(below) = self.below.get_mut(outer as usize)
                {
                    below.push(id);
                }
            }
        }
    }

    #[inline]
    fn longest(&self, text: &str, at_end: bool) -> u32 {
        let mut found = UNKNOWN;
        for length in &self.lengths {
            if let Some(part) = part(text, *length, at_end) {
                let id = self.names.id_of_bytes(part);
                if id != UNKNOWN {
                    found = id;
                    if !planted!(ShortestPrefixWins) {
                        break;
                    }
                }
            }
        }
        found
    }

    /// All affixes that a text has.
    fn all_of<'a>(&'a self, text: &'a str, at_end: bool) -> impl Iterator<Item = &'a str> {
        let parts = self.lengths.iter().filter_map(move |length| match at_end {
            true => text.get(text.len().checked_sub(*length)?..),
            false => text.get(..*length),
        });
        parts.filter(|part| self.names.id(part) != UNKNOWN)
    }

    fn below(&self, affix: &str) -> impl Iterator<Item = u32> {
        self.below.get(self.names.id(affix) as usize).into_iter().flatten().copied()
    }
}

#[inline]
fn part(text: &str, length: usize, at_end: bool) -> Option<&[u8]> {
    let bytes = text.as_bytes();
    if at_end { bytes.get(bytes.len().checked_sub(length)?..) } else { bytes.get(..length) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;
    use proptest::sample::subsequence;

    fn classes(sets: &[StrSet]) -> TextClasses {
        let mut classes = TextClasses::default();
        let mut globs: Vec<&str> = Vec::new();
        for set in sets {
            classes.add(set);
            globs.extend(set.globs.iter().map(String::as_str));
        }
        globs.sort_unstable();
        globs.dedup();
        classes.finish(&globs);
        classes
    }

    fn set(literals: &[&str], globs: &[&str]) -> StrSet {
        let owned = |texts: &[&str]| texts.iter().map(ToString::to_string).collect();
        StrSet { literals: owned(literals), globs: owned(globs) }
    }

    #[test]
    fn a_text_is_classed_by_literal_then_by_the_longest_prefix() {
        let texts = classes(&[set(&["llama-3"], &[]), set(&[], &["llama-*", "ll*"]), set(&[], &["*-instruct"])]);
        assert_eq!((texts.class_count(), texts.suffix_count()), (4, 2));
        let literal = texts.class("llama-3");
        assert_eq!((literal, texts.suffix("llama-3", literal)), (1, 0));
        assert_eq!((texts.class("llama-4"), texts.class("llave"), texts.class("other"), texts.class("")), (2, 3, 0, 0));
        assert_eq!((texts.suffix("llama-4-instruct", 2), texts.suffix("other-instruct", 0)), (1, 1));
        // What the shorter prefix covers the longer one does, and so does the literal that both match.
        let short = texts.set(&set(&[], &["ll*"]), 100).unwrap();
        assert_eq!((short.classes, short.asks), (vec![1, 2, 3], false));
        let long = texts.set(&set(&[], &["llama-*"]), 100).unwrap();
        assert_eq!(long.classes, [1, 2]);
        assert_eq!(texts.set(&set(&[], &["ll*"]), 2), None);
    }

    #[test]
    fn globs_that_no_class_settles_are_asked_for_except_of_literals() {
        let texts = classes(&[set(&["abc", "x"], &[]), set(&[], &["a?c"])]);
        let found = texts.set(&set(&[], &["a?c"]), 100).unwrap();
        assert_eq!((found.classes, found.asks, found.asks_of_literals), (vec![1], true, false));
    }

    const LITERALS: [&str; 7] = ["a", "ab", "abc", "ü", "*", "b", "aüb"];
    const GLOBS: [&str; 10] = ["*", "a*", "ab*", "*b", "*ab", "*üb", "?b", "a*b", "ü", "**"];

    fn sets() -> impl Strategy<Value = StrSet> {
        (subsequence(LITERALS.to_vec(), 0..5), subsequence(GLOBS.to_vec(), 0..4))
            .prop_map(|(literals, globs)| set(&literals, &globs))
    }

    proptest! {
        /// Classes say what the set itself says, or leave it open.
        #[test]
        fn classes_are_as_exact_as_sets(sets in prop::collection::vec(sets(), 1..5), text in "[abcü*]{0,4}") {
            let texts = classes(&sets);
            let class = texts.class(&text);
            let suffix = texts.suffix(&text, class);
            for set in &sets {
                let found = texts.set(set, 1_000).unwrap();
                let hit = found.classes.contains(&class) || found.suffixes.contains(&suffix);
                let is_literal = class != 0 && class <= texts.literal_max();
                let open = found.asks && (!is_literal || found.asks_of_literals);
                let expected = !text.is_empty() && set.contains(&text);
                if hit || !open {
                    prop_assert_eq!(hit, expected, "{:?} in {:?}", text, set);
                }
            }
        }
    }
}
