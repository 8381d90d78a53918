//! The text tests of a program, ready to run: [`TextEngine`] over compiled regexes, literal search and detectors.

use crate::detect::Words;
use crate::text_scan::TextScan;
use memchr::memmem::Finder;
use policy_lang::{Atom, CustomDetector, JsonTest, Program, TextEngine, TextTest};
use regex_automata::meta::Regex;
use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

/// Memory of one compiled regex (its NFA), in bytes.
const REGEX_NFA_BYTES_MAX: usize = 4 << 20;
/// Memory of one pass over a regex's lazily built automaton, in bytes; when it is full the automaton starts anew.
const REGEX_CACHE_BYTES_MAX: usize = 2 << 20;

/// Finds what the built-in detectors look for.
pub trait DetectorScan: Send + Sync {
    /// Whether the detector (a name from [`policy_lang::catalogue`]) finds anything in the text; `None` when it is not known.
    fn finds(&self, detector: &str, text: &str) -> Option<bool>;

    /// The same of several detectors, in their order. Who can reads the text once for all of them.
    fn finds_each(&self, detectors: &[String], text: &str) -> Vec<Option<bool>> {
        detectors.iter().map(|detector| self.finds(detector, text)).collect()
    }
}

/// The detectors that every policy has.
#[derive(Clone, Copy, Debug, Default)]
pub struct BuiltInDetectors;

impl DetectorScan for BuiltInDetectors {
    fn finds(&self, detector: &str, text: &str) -> Option<bool> {
        crate::detect::finds(detector, text)
    }

    fn finds_each(&self, detectors: &[String], text: &str) -> Vec<Option<bool>> {
        crate::detect::finds_each(detectors, text)
    }
}

/// Knows no detector, so every `finds` is an error.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDetectors;

impl DetectorScan for NoDetectors {
    fn finds(&self, _detector: &str, _text: &str) -> Option<bool> {
        None
    }
}

/// Why a program's text tests cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum TextEngineError {
    /// A regex does not compile within its bounds. The language checks regexes, so this means that the two disagree.
    #[error("the regex /{pattern}/ cannot be compiled: {reason}")]
    Regex {
        /// Its source.
        pattern: String,
        /// What the regex compiler says.
        reason: String,
    },
}

/// Every text test of one program. Shared by all threads; tests that the program does not have are errors (`None`).
pub struct PolicyTextEngine {
    regexes: HashMap<String, Regex>,
    literals: HashMap<String, Finder<'static>>,
    /// The words of each `near` list.
    near: HashMap<Vec<String>, Words>,
    pub(crate) detectors: Arc<dyn DetectorScan>,
    /// The built-in detectors of all tests, sorted.
    pub(crate) detectors_asked: Vec<String>,
    /// Of the regexes and literals above: see [`PolicyTextEngine::over`].
    pub(crate) scan: Option<TextScan>,
}

impl PolicyTextEngine {
    /// Compiles each regex of the program once.
    ///
    /// # Errors
    /// [`TextEngineError::Regex`] for the first regex that does not compile.
    pub fn new(program: &Program, detectors: Arc<dyn DetectorScan>) -> Result<Self, TextEngineError> {
        let mut engine = Self {
            regexes: HashMap::new(),
            literals: HashMap::new(),
            near: HashMap::new(),
            detectors,
            detectors_asked: Vec::new(),
            scan: None,
        };
        for test in program.atoms.iter().filter_map(text_test) {
            if let TextTest::FindsCustom(CustomDetector { near, .. }) = test
                && !engine.near.contains_key(near)
            {
                engine.near.insert(near.clone(), Words::near(near.iter().map(String::as_str)));
            }
            match test {
                TextTest::Matches(pattern) | TextTest::FindsCustom(CustomDetector { regex: pattern, .. })
                    if !engine.regexes.contains_key(pattern) =>
                {
                    let regex = compile(pattern)?;
                    engine.regexes.insert(pattern.clone(), regex);
                }
                TextTest::Contains(literal) if !engine.literals.contains_key(literal) => {
                    let finder = Finder::new(literal).into_owned();
                    engine.literals.insert(literal.clone(), finder);
                }
                TextTest::Finds(names) => engine.detectors_asked.extend(names.iter().cloned()),
                _ => {}
            }
        }
        engine.detectors_asked.sort_unstable();
        engine.detectors_asked.dedup();
        engine.scan = TextScan::new(engine.regexes.keys(), engine.literals.keys());
        Ok(engine)
    }
}

impl TextEngine for PolicyTextEngine {
    fn test(&self, test: &TextTest, text: &str) -> Option<bool> {
        match test {
            TextTest::FindsCustom(detector) if !detector.near.is_empty() => {
                let regex = self.regexes.get(&detector.regex)?;
                Some(finds_near(regex, self.near.get(&detector.near)?, text))
            }
            TextTest::FindsCustom(CustomDetector { regex: pattern, .. }) | TextTest::Matches(pattern) => {
                Some(self.regexes.get(pattern)?.is_match(text))
            }
            TextTest::Contains(literal) => {
                let found = self.literals.get(literal)?.find(text.as_bytes());
                Some(found.is_some())
            }
            TextTest::Finds(names) => any_finds(names.iter().map(|name| self.detectors.finds(name, text))),
        }
    }
}

/// True if any detector finds something; otherwise unknown if any is unknown.
pub(crate) fn any_finds(said: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut every_one_known = true;
    for finds in said {
        match finds {
            Some(true) => return Some(true),
            Some(false) => {}
            None => every_one_known = false,
        }
    }
    every_one_known.then_some(false)
}

/// Judges a text of which more is to come: a test either holds whatever comes, or nothing is known.
#[derive(Debug)]
pub struct SoFar<'e>(pub &'e PolicyTextEngine);

impl TextEngine for SoFar<'_> {
    fn test(&self, test: &TextTest, text: &str) -> Option<bool> {
        let holds = match test {
            TextTest::Contains(_) => self.0.test(test, text)?,
            TextTest::Matches(pattern) | TextTest::FindsCustom(CustomDetector { regex: pattern, .. }) => {
                !looks_around(pattern) && self.0.test(test, text)?
            }
            TextTest::Finds(names) => names.iter().any(|name| crate::detect::finds_surely(name, text)),
        };
        holds.then_some(true)
    }
}

/// Whether a match may depend on what stands behind it: only then can more text undo it.
fn looks_around(pattern: &str) -> bool {
    pattern.contains('$') || ["\\b", "\\B", "\\z", "\\Z"].iter().any(|assertion| pattern.contains(assertion))
}

/// Whether a match stands behind one of the words, within their reach.
fn finds_near(regex: &Regex, words: &Words, text: &str) -> bool {
    regex.find_iter(text).any(|found| words.end(text.get(..found.start()).unwrap_or_default()))
}

impl fmt::Debug for PolicyTextEngine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyTextEngine")
            .field("regexes", &self.regexes.len())
            .field("literals", &self.literals.len())
            .finish_non_exhaustive()
    }
}

fn text_test(atom: &Atom) -> Option<&TextTest> {
    match atom {
        Atom::Text(test)
        | Atom::ResponseText(test)
        | Atom::Json { test: JsonTest::Text(test), .. }
        | Atom::ResponseJson { test: JsonTest::Text(test), .. } => Some(test),
        _ => None,
    }
}

fn compile(pattern: &str) -> Result<Regex, TextEngineError> {
    let config = Regex::config().nfa_size_limit(Some(REGEX_NFA_BYTES_MAX)).hybrid_cache_capacity(REGEX_CACHE_BYTES_MAX);
    Regex::builder()
        .configure(config)
        .build(pattern)
        .map_err(|error| TextEngineError::Regex { pattern: pattern.to_owned(), reason: reason(&error) })
}

/// The innermost cause says what is wrong; the outer ones only say where it was noticed.
fn reason(error: &(dyn std::error::Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(cause) = innermost.source() {
        innermost = cause;
    }
    innermost.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use policy_lang::JsonPath;

    struct Digits;

    impl DetectorScan for Digits {
        fn finds(&self, detector: &str, text: &str) -> Option<bool> {
            (detector == "us_ssn").then(|| text.contains("536-22-8145"))
        }
    }

    fn engine(tests: &[TextTest]) -> Result<PolicyTextEngine, TextEngineError> {
        let mut atoms: Vec<Atom> = tests.iter().cloned().map(Atom::Text).collect();
        if let Some(Atom::Text(last)) = atoms.pop() {
            let path = JsonPath { segments: Vec::new() };
            atoms.push(Atom::Json { path, test: JsonTest::Text(last) });
        }
        let program = Program { name: "texts".to_owned(), atoms, ..Program::default() };
        PolicyTextEngine::new(&program, Arc::new(Digits))
    }

    #[test]
    fn runs_the_tests_that_the_program_has() {
        let regex = TextTest::Matches("(?i)(dump|print).{0,40}weights".to_owned());
        let literal = TextTest::Contains("ignore previous".to_owned());
        let engine = engine(&[regex.clone(), literal.clone()]).unwrap();
        assert_eq!(engine.test(&regex, "please DUMP all the weights"), Some(true));
        assert_eq!(engine.test(&regex, "please lift the weights"), Some(false));
        assert_eq!(engine.test(&literal, "now ignore previous orders"), Some(true));
        assert_eq!(engine.test(&literal, "now ignore"), Some(false));
        let other = TextTest::Contains("something else".to_owned());
        assert_eq!(engine.test(&other, "something else"), None);
    }

    #[test]
    fn of_a_text_that_goes_on_only_what_stays_is_said() {
        let tests = [r"\bdump", "dump(ing)?", "dump$"].map(|regex| TextTest::Matches(regex.to_owned()));
        let literal = TextTest::Contains("dump".to_owned());
        let all: Vec<TextTest> = tests.iter().cloned().chain([literal.clone()]).collect();
        let engine = engine(&all).unwrap();
        let so_far = SoFar(&engine);
        assert_eq!(tests.each_ref().map(|test| so_far.test(test, "a dump")), [None, Some(true), None]);
        assert_eq!((so_far.test(&literal, "a dump"), so_far.test(&literal, "a dum")), (Some(true), None));
        let ssn = TextTest::Finds(vec!["us_ssn".to_owned()]);
        for (text, said) in
            [("536-22-8145 is", Some(true)), ("536-22-8145", None), ("536-22-81456", None), ("nothing", None)]
        {
            assert_eq!(so_far.test(&ssn, text), said, "{text}");
        }
    }

    #[test]
    fn a_detector_of_the_policy_may_ask_for_a_word_nearby() {
        let own = |near: &[&str]| {
            TextTest::FindsCustom(CustomDetector {
                name: "mrn".to_owned(),
                regex: "[A-Z]{2}[0-9]{7}".to_owned(),
                near: near.iter().map(ToString::to_string).collect(),
            })
        };
        let engine = engine(&[own(&["patient"]), own(&[])]).unwrap();
        assert_eq!(engine.test(&own(&["patient"]), "the Patient AB1234567"), Some(true));
        assert_eq!(engine.test(&own(&["patient"]), "order AB1234567 of a patient"), Some(false));
        assert_eq!(engine.test(&own(&["patient"]), &format!("patient {} AB1234567", "x".repeat(80))), Some(false));
        assert_eq!(engine.test(&own(&[]), "order AB1234567"), Some(true));
    }

    #[test]
    fn an_unknown_detector_is_an_error_unless_another_one_finds_something() {
        let engine = engine(&[]).unwrap();
        let finds = |names: &[&str], text| {
            let names = names.iter().map(ToString::to_string).collect();
            engine.test(&TextTest::Finds(names), text)
        };
        assert_eq!(finds(&["us_ssn"], "SSN 536-22-8145"), Some(true));
        assert_eq!(finds(&["us_ssn"], "no number"), Some(false));
        assert_eq!(finds(&["nonsense", "us_ssn"], "SSN 536-22-8145"), Some(true));
        assert_eq!(finds(&["nonsense", "us_ssn"], "no number"), None);
        assert_eq!(finds(&[], "anything"), Some(false));
    }

    #[test]
    fn a_regex_past_its_bounds_is_an_error_with_its_source() {
        let error = engine(&[TextTest::Matches(r"(\w{500}){500}".to_owned())]).unwrap_err();
        assert!(error.to_string().contains(r"(\w{500}){500}"), "{error}");
        let error = engine(&[TextTest::Matches("(".to_owned())]).unwrap_err();
        assert!(error.to_string().contains("unclosed group"), "{error}");
    }
}
