//! The register of controls: what a policy set demands, for auditors, with the place and the tests of every rule.

mod html;
mod markdown;

pub use html::html;
pub use markdown::markdown;

use crate::load::Loaded;
use crate::parse::docs_before;
use crate::program::{InvariantKind, Phase, Program, Rule, RuleId};
use crate::scanner::scan;
use crate::source::Sources;
use crate::testing::{TestReport, words};

/// What a register says.
#[derive(Clone, Debug)]
pub struct Register {
    /// The set.
    pub name: String,
    /// Its version.
    pub version: u64,
    /// SHA-256 of its files, hex; every record of the evidence carries it.
    pub digest: String,
    /// The `///` lines of the header.
    pub docs: String,
    /// Every rule, in name order.
    pub controls: Vec<Control>,
    /// What the set promises of itself.
    pub promises: Vec<Promise>,
    /// Sets, conditions, detectors and claims, in file order, imported ones included.
    pub definitions: Vec<Definition>,
    /// Every test that was run.
    pub tests: Vec<TestEntry>,
}

/// A rule.
#[derive(Clone, Debug)]
pub struct Control {
    /// Its name.
    pub name: String,
    /// Judged and recorded, never enforced.
    pub shadow: bool,
    /// Judged when the answer is there.
    pub of_answer: bool,
    /// The `///` lines before it.
    pub docs: String,
    /// When it holds: definitions put in their place. Empty where it always does.
    pub condition: String,
    /// What it does.
    pub effects: Vec<String>,
    /// As written.
    pub source: String,
    /// `policies/chat.policy:12`
    pub place: String,
    /// Tests in which it held.
    pub tests: Vec<String>,
}

/// An invariant.
#[derive(Clone, Debug)]
pub struct Promise {
    /// In words.
    pub name: String,
    /// `never allow when …`
    pub promise: String,
    /// Where it stands.
    pub place: String,
}

/// A set, condition, detector or claim.
#[derive(Clone, Debug)]
pub struct Definition {
    /// The `///` lines before it.
    pub docs: String,
    /// As written.
    pub source: String,
    /// Where it stands.
    pub place: String,
}

/// A test.
#[derive(Clone, Debug)]
pub struct TestEntry {
    /// What it shows.
    pub name: String,
    /// Whether it passed.
    pub passed: bool,
    /// Where it stands.
    pub place: String,
}

impl Register {
    /// Puts the register of a set together from the set and what came of its tests.
    #[must_use]
    pub fn new(loaded: &Loaded, tests: &TestReport) -> Self {
        let (program, sources) = (&*loaded.program, &loaded.sources);
        let controls = program.rules.iter().enumerate().map(|(index, rule)| {
            let id = RuleId(u32::try_from(index).unwrap_or(u32::MAX));
            control(program, sources, rule, id, tests)
        });
        let promises = program.invariants.list.iter().map(|invariant| {
            let when = words::condition(&invariant.condition, &program.invariants.atoms);
            let promise = match invariant.kind {
                InvariantKind::NeverAllow => format!("never allow when {when}"),
                InvariantKind::AlwaysDeny => format!("always deny when {when}"),
            };
            let place = place(sources, invariant.place.file, invariant.place.span.start);
            Promise { name: invariant.name.clone(), promise, place }
        });
        let entries = tests.results.iter().map(|result| TestEntry {
            name: result.name.clone(),
            passed: result.failure.is_none(),
            place: format!("{}:{}", sources.display_name(result.file), result.line),
        });
        Self {
            name: program.name.clone(),
            version: program.version,
            digest: program.digest.clone(),
            docs: program.docs.clone(),
            controls: controls.collect(),
            promises: promises.collect(),
            definitions: definitions(sources),
            tests: entries.collect(),
        }
    }
}

fn control(program: &Program, sources: &Sources, rule: &Rule, id: RuleId, tests: &TestReport) -> Control {
    let source = sources.files().get(rule.place.file).and_then(|file| file.text.get(rule.place.span.clone()));
    let held = tests.results.iter().filter(|result| result.fired.contains(&id));
    Control {
        name: rule.name.clone(),
        shadow: rule.shadow,
        of_answer: rule.phase == Phase::Response,
        docs: rule.docs.clone(),
        condition: words::condition(&rule.condition, &program.atoms),
        effects: rule.effects.iter().map(words::effect).collect(),
        source: source.unwrap_or_default().to_owned(),
        place: place(sources, rule.place.file, rule.place.span.start),
        tests: held.map(|result| result.name.clone()).collect(),
    }
}

fn definitions(sources: &Sources) -> Vec<Definition> {
    let mut found = Vec::new();
    for (file, source) in sources.files().iter().enumerate() {
        let items = scan(file, &source.text, &mut Vec::new());
        for raw in items.iter().filter(|raw| ["set", "let", "detector", "claim"].contains(&raw.word)) {
            found.push(Definition {
                docs: docs_before(&source.text, raw.span.start),
                source: source.text.get(raw.span.range()).unwrap_or_default().to_owned(),
                place: place(sources, file, raw.span.start),
            });
        }
    }
    found
}

fn place(sources: &Sources, file: usize, offset: usize) -> String {
    format!("{}:{}", sources.display_name(file), sources.position(file, offset).0)
}
