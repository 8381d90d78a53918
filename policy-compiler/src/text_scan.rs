//! Which of a program's text tests a text can pass at all, found in one scan for all of them, and what the detectors of all tests find
//! in it, in one more.
//!
//! Every match of a regex begins with one of a few literals, if the regex has such; a text without any of them cannot match. One
//! automaton looks for the literals of all tests, so that a text is read once, not once per test, and only the regexes that it may
//! match are run. Regexes without literals (`\d{4}`) are run as before.

use crate::text_engine::{PolicyTextEngine, any_finds};
use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use policy_lang::{CustomDetector, TextEngine, TextTest};
use regex_syntax::hir::literal::Extractor;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;

/// Literals shorter than this are everywhere: looking for them takes longer than running the regex.
const LITERAL_BYTES_MIN: usize = 3;
/// Of longer literals only so much is looked for, which keeps the automaton small.
const LITERAL_BYTES_MAX: usize = 8;
/// Literals of all tests; tests beyond it are run as before.
const LITERALS_MAX: usize = 4_000;

/// The literals of a program's tests.
#[derive(Debug)]
pub(crate) struct TextScan {
    finder: AhoCorasick,
    /// By literal: the test.
    tests: Vec<usize>,
    regexes: HashMap<String, usize>,
    contained: HashMap<String, usize>,
}

impl TextScan {
    /// Of these regexes and literals; none if a scan is not worth it.
    pub(crate) fn new<'p>(
        regexes: impl Iterator<Item = &'p String>,
        literals: impl Iterator<Item = &'p String>,
    ) -> Option<Self> {
        let (mut finds, mut tests) = (Vec::new(), Vec::new());
        let (mut of_regexes, mut contained) = (HashMap::new(), HashMap::new());
        let regexes = regexes.filter_map(|pattern| Some((pattern, beginnings(pattern)?, true)));
        let literals = literals.map(|text| (text, vec![cut(text.as_bytes())], false));
        for (test, literals, is_regex) in regexes.chain(literals) {
            let usable = literals.iter().all(|literal| literal.len() >= LITERAL_BYTES_MIN);
            if !usable || finds.len() + literals.len() > LITERALS_MAX {
                continue;
            }
            let number = of_regexes.len() + contained.len();
            if is_regex { &mut of_regexes } else { &mut contained }.insert(test.clone(), number);
            tests.resize(tests.len() + literals.len(), number);
            finds.extend(literals);
        }
        if of_regexes.len() + contained.len() < 2 {
            return None;
        }
        let builder = AhoCorasick::builder()
            .match_kind(MatchKind::Standard)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .build(finds);
        Some(Self { finder: builder.ok()?, tests, regexes: of_regexes, contained })
    }

    fn len(&self) -> usize {
        self.regexes.len() + self.contained.len()
    }

    fn number(&self, test: &TextTest) -> Option<usize> {
        let (numbers, test) = match test {
            TextTest::Matches(pattern) | TextTest::FindsCustom(CustomDetector { regex: pattern, .. }) => {
                (&self.regexes, pattern)
            }
            TextTest::Contains(literal) => (&self.contained, literal),
            TextTest::Finds(_) => return None,
        };
        numbers.get(test).copied()
    }

    fn words(&self) -> usize {
        self.len().div_ceil(64)
    }

    /// Sets the bit of every test that the text may pass.
    fn scan(&self, text: &str, may_pass: &mut [u64]) {
        let mut left = self.len();
        for found in self.finder.find_overlapping_iter(text) {
            let number = self.tests.get(found.pattern().as_usize()).copied().unwrap_or_default();
            if let Some(word) = may_pass.get_mut(number / 64)
                && *word >> (number % 64) & 1 == 0
            {
                *word |= 1 << (number % 64);
                left -= 1;
                if left == 0 {
                    break;
                }
            }
        }
    }
}

/// What every match of the regex begins with, if it is known.
fn beginnings(pattern: &str) -> Option<Vec<Vec<u8>>> {
    let hir = regex_syntax::parse(pattern).ok()?;
    let mut sequence = Extractor::new().extract(&hir);
    sequence.keep_first_bytes(LITERAL_BYTES_MAX);
    sequence.dedup();
    let literals = sequence.literals()?;
    (!literals.is_empty()).then(|| literals.iter().map(|literal| literal.as_bytes().to_vec()).collect())
}

fn cut(literal: &[u8]) -> Vec<u8> {
    literal.get(..LITERAL_BYTES_MAX).unwrap_or(literal).to_vec()
}

/// The text tests of a program over the texts of one call: each text is scanned at most once for literals and once for detectors,
/// when the first test asks.
#[derive(Debug)]
pub struct TextsOfCall<'t> {
    engine: &'t PolicyTextEngine,
    texts: &'t [Cow<'t, str>],
    /// Where the text stood that was asked about last: tests go through the texts in order.
    last: Cell<usize>,
    /// By text.
    known: RefCell<Vec<Known>>,
}

/// What is known of one text, once it was scanned.
#[derive(Clone, Debug, Default)]
struct Known {
    /// A bit per test that it may pass.
    may_pass: Option<Box<[u64]>>,
    /// By the engine's detectors: what each says.
    finds: Option<Vec<Option<bool>>>,
}

impl PolicyTextEngine {
    /// The engine for one call with these texts. Other texts are tested as ever.
    #[must_use]
    pub fn over<'t>(&'t self, texts: &'t [Cow<'t, str>]) -> TextsOfCall<'t> {
        TextsOfCall { engine: self, texts, last: Cell::new(0), known: RefCell::new(Vec::new()) }
    }
}

impl TextsOfCall<'_> {
    /// Where the text stands among those of the call: it is the same memory, which lives as long as this, so no other text is.
    fn place(&self, text: &str) -> Option<usize> {
        let last = self.last.get();
        let is_it = |place: &usize| self.texts.get(*place).is_some_and(|own| std::ptr::eq(&**own, text));
        let place = [last, last + 1, 0].into_iter().find(is_it)?;
        self.last.set(place);
        Some(place)
    }

    fn cannot_pass(&self, test: &TextTest, text: &str) -> bool {
        let Some(scan) = &self.engine.scan else { return false };
        let Some(number) = scan.number(test) else { return false };
        let may_pass = self.with_known(text, |known| {
            let may_pass = known.may_pass.get_or_insert_with(|| {
                let mut may_pass = vec![0; scan.words()].into_boxed_slice();
                scan.scan(text, &mut may_pass);
                may_pass
            });
            may_pass.get(number / 64).is_some_and(|word| word >> (number % 64) & 1 == 1)
        });
        may_pass == Some(false)
    }

    /// What these detectors say, if the text is one of the call's.
    fn finds(&self, names: &[String], text: &str) -> Option<Option<bool>> {
        let asked = &self.engine.detectors_asked;
        self.with_known(text, |known| {
            let finds = known.finds.get_or_insert_with(|| self.engine.detectors.finds_each(asked, text));
            let said = |name| finds.get(asked.binary_search(name).ok()?).copied().flatten();
            any_finds(names.iter().map(said))
        })
    }

    fn with_known<T>(&self, text: &str, look: impl FnOnce(&mut Known) -> T) -> Option<T> {
        let place = self.place(text)?;
        let mut all = self.known.borrow_mut();
        if all.is_empty() {
            all.resize(self.texts.len(), Known::default());
        }
        all.get_mut(place).map(look)
    }
}

impl TextEngine for TextsOfCall<'_> {
    fn test(&self, test: &TextTest, text: &str) -> Option<bool> {
        if self.cannot_pass(test, text) {
            return Some(false);
        }
        if let TextTest::Finds(names) = test
            && let Some(said) = self.finds(names, text)
        {
            return said;
        }
        self.engine.test(test, text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::text_engine::BuiltInDetectors;
    use policy_lang::{Atom, Program};
    use proptest::prelude::*;
    use proptest::sample::{Index, subsequence};
    use std::sync::Arc;

    const REGEXES: [&str; 13] = [
        "d.mp",
        "(?i)(dump|print).{0,40}weights",
        r"\bignore (all|any) previous",
        "dumping",
        "^weights",
        "weights$",
        r"(?i)straße\b",
        "[a-z]{3}dump",
        r"\d{4}",
        "(previous|)x",
        "pre(vious)?",
        "(?s)a.c",
        "ignore|weights|print",
    ];
    const DETECTORS: [&[&str]; 6] =
        [&["email"], &["credit_card", "us_ssn"], &["us_ssn"], &["iban", "phone"], &["phone", "no such one"], &[]];
    const WORDS: [&str; 19] = [
        "dump",
        "DUMP",
        "print",
        " the weights",
        "weights",
        "ignore",
        " all previous",
        "pre",
        "STRASSE",
        "Straße",
        "2026",
        "abc",
        "\n",
        "dumping",
        " ann@example.org ",
        " card 4111 1111 1111 1111 ",
        " SSN 536-22-8145 ",
        " call +1 212 555 0123 ",
        " IBAN DE89 3704 0044 0532 0130 00",
    ];

    fn tests() -> Vec<TextTest> {
        let regexes = REGEXES.iter().map(|regex| TextTest::Matches((*regex).to_owned()));
        let literals =
            ["weights", "dump", "ab", "d.mp", "ignore all previous"].map(|text| TextTest::Contains(text.to_owned()));
        let detectors = DETECTORS.iter().map(|names| TextTest::Finds(names.iter().map(ToString::to_string).collect()));
        regexes.chain(literals).chain(detectors).collect()
    }

    fn engine(tests: &[TextTest]) -> PolicyTextEngine {
        let atoms = tests.iter().cloned().map(Atom::Text).collect();
        PolicyTextEngine::new(&Program { atoms, ..Program::default() }, Arc::new(BuiltInDetectors)).unwrap()
    }

    proptest! {
        /// The scan changes nothing that a test says, in whatever order tests and texts come.
        #[test]
        fn tests_of_a_call_say_what_they_say_alone(
            texts in prop::collection::vec(prop::collection::vec(prop::sample::select(&WORDS[..]), 0..6), 1..5),
            chosen in subsequence(tests(), 2..20),
            asked in prop::collection::vec((any::<Index>(), any::<Index>()), 1..60),
        ) {
            let texts: Vec<Cow<'_, str>> = texts.iter().map(|words| Cow::Owned(words.concat())).collect();
            let engine = engine(&chosen);
            let of_call = engine.over(&texts);
            for (test, text) in asked {
                let (test, text) = (test.get(&chosen), text.get(&texts));
                prop_assert_eq!(of_call.test(test, text), engine.test(test, text), "{:?} on {:?}", test, text);
                let elsewhere = text.clone().into_owned();
                prop_assert_eq!(of_call.test(test, &elsewhere), engine.test(test, text));
            }
        }
    }

    #[test]
    fn a_text_is_scanned_once() {
        let tests = tests();
        let engine = engine(&tests);
        let scan = engine.scan.as_ref().unwrap();
        // Without a literal there is nothing to look for.
        assert!(!scan.regexes.contains_key(r"\d{4}") && !scan.contained.contains_key("ab"));
        assert!(scan.regexes.contains_key("(?i)(dump|print).{0,40}weights"));
        let texts = [Cow::Borrowed("nothing of it"), Cow::Borrowed("print the weights")];
        let of_call = engine.over(&texts);
        let passed = |text: &str| tests.iter().filter(|test| of_call.test(test, text) == Some(true)).count();
        let scanned = || of_call.known.borrow().iter().filter(|known| known.may_pass.is_some()).count();
        assert_eq!((passed(&texts[0]), scanned()), (0, 1));
        assert!(passed(&texts[1]) > 3);
        assert_eq!(scanned(), 2);
    }
}
