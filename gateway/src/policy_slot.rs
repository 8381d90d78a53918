//! The active policy set: loaded and compiled off the path of calls, swapped whole, read by every core without a lock.

use arc_swap::{ArcSwap, ArcSwapOption};
use policy_compiler::redact::MaskPlan;
use policy_compiler::{BuiltInDetectors, CompileOptions, CompiledPolicy, IdentityFacts, PolicyTextEngine};
use policy_lang::{Cache, Decision, Diagnostics, Effect, Facts, Phase, Program, RecordBound, Side, Sources, interpret};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// A policy set that is ready to judge calls.
#[derive(Debug)]
pub struct Prepared {
    /// The program, in native code where the machine allows it.
    pub compiled: CompiledPolicy,
    /// Runs its regexes and detectors.
    pub text_engine: PolicyTextEngine,
    /// Its files, for the evidence.
    pub sources: Sources,
    /// What is probably not as meant.
    pub warnings: Warnings,
}

/// The warnings of a policy set.
#[derive(Debug)]
pub struct Warnings(Diagnostics);

impl Warnings {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.list.is_empty()
    }

    /// As people read them; empty when there are none.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        if self.is_empty() { String::new() } else { self.0.render_all(color) }
    }

    /// For machines.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        self.0.to_json()
    }
}

/// Why a policy set cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PolicyError {
    /// Something is wrong with the files.
    #[error("{0}")]
    Language(Diagnostics),
    /// A regex of the set is larger than the machine that runs it may be.
    #[error("{0}")]
    Regex(#[from] policy_compiler::TextEngineError),
    /// The language has it, this gateway does not carry it out: it would be a silent gap.
    #[error("{}", .0.join("; "))]
    NotEnforced(Vec<String>),
}

impl PolicyError {
    /// Everything that is wrong, with its places in the files.
    #[must_use]
    pub fn render(&self, color: bool) -> String {
        match self {
            Self::Language(diagnostics) => diagnostics.render_all(color),
            Self::Regex(error) => format!("error: {error}\n"),
            Self::NotEnforced(findings) => findings.iter().map(|finding| format!("error: {finding}\n")).collect(),
        }
    }
}

/// After this time a set is put in force with the interpreter judging: 10,000 rules take less than a second.
const COMPILE_MAX: Duration = Duration::from_secs(10);

/// The shortest time that `retain at most` may set: the records of an hour share a key.
const RETAIN_AT_MOST_MIN: Duration = Duration::from_hours(2);

/// Loads and compiles a file or a directory; `can_seal` tells whether there are keys to seal to. Takes some 40 µs per rule and reads the disk: not for a core.
///
/// # Errors
/// Everything that is wrong with the set, and what this gateway cannot enforce of it.
pub fn prepare(path: &Path, can_seal: bool) -> Result<Prepared, PolicyError> {
    prepare_cached(path, &mut Cache::default(), can_seal)
}

/// [`prepare`] for a set that was prepared with the same cache before: what has not changed is not parsed again.
///
/// # Errors
/// As [`prepare`].
pub fn prepare_cached(path: &Path, cache: &mut Cache, can_seal: bool) -> Result<Prepared, PolicyError> {
    let loaded = policy_lang::load_path_cached(path, cache).map_err(PolicyError::Language)?;
    let missing = not_enforced(&loaded.program, can_seal);
    if !missing.is_empty() {
        return Err(PolicyError::NotEnforced(missing));
    }
    let text_engine = PolicyTextEngine::new(&loaded.program, Arc::new(BuiltInDetectors))?;
    let warnings = Warnings(loaded.diagnostics());
    let options = CompileOptions { deadline: Some(COMPILE_MAX), ..CompileOptions::default() };
    let compiled = policy_compiler::compile_with(loaded.program, options);
    Ok(Prepared { compiled, text_engine, sources: loaded.sources, warnings })
}

/// What the enforced rules of a set ask for and this gateway cannot do, as findings for people. Fail closed: such a set is not
/// taken rather than half obeyed (DESIGN §4).
#[must_use]
pub fn not_enforced(program: &Program, can_seal: bool) -> Vec<String> {
    let mut findings = Vec::new();
    for rule in program.rules.iter().filter(|rule| !rule.shadow) {
        let cannot = rule.effects.iter().find_map(|effect| match effect {
            // The key that all of a call is written under is chosen by how long it is kept, before the call goes in.
            Effect::Retain { .. } if rule.phase == Phase::Response => Some(
                "reads the answer and says how long the call is kept, which is settled before it goes in, with the key that it is \
                 written under; put `retain` into a rule about the request, or mark the rule `shadow`",
            ),
            Effect::Seal(_) if !can_seal => Some(
                "seals originals, but there are no keys to seal to; set `[evidence] seal_to = [\"age1…\"]` (`age-keygen` makes a key)",
            ),
            Effect::Retain { bound: RecordBound::AtMost, time } if *time < RETAIN_AT_MOST_MIN => {
                Some("retains for at most less than two hours; the records of an hour lapse together, so write `2h` or more")
            }
            _ => None,
        });
        findings.extend(cannot.map(|why| format!("the rule `{}` {why}", rule.name)));
    }
    let masks = program.rules.iter().flat_map(|rule| {
        rule.effects.iter().filter_map(|effect| match effect {
            Effect::Mask(mask) => Some((rule.name.as_str(), mask)),
            _ => None,
        })
    });
    let masks: Vec<_> = masks.collect();
    for side in [Side::Request, Side::Response] {
        let plans = [MaskPlan::new(side, masks.iter().copied()), MaskPlan::recorded(side, masks.iter().copied())];
        findings.extend(plans.into_iter().filter_map(Result::err).map(|error| error.to_string()));
    }
    findings.dedup();
    findings
}

/// One activated policy set.
#[derive(Debug)]
pub struct ActivePolicy {
    /// Grows by one with every activation; 1 is the set loaded at start-up.
    pub generation: u64,
    /// The program.
    pub compiled: CompiledPolicy,
    /// Runs its regexes and detectors.
    pub text_engine: PolicyTextEngine,
    /// Its files.
    pub sources: Sources,
    /// Native code was seen to judge wrongly.
    distrusted: AtomicBool,
}

impl ActivePolicy {
    fn new(generation: u64, prepared: Prepared) -> Self {
        let Prepared { compiled, text_engine, sources, warnings: _ } = prepared;
        Self { generation, compiled, text_engine, sources, distrusted: AtomicBool::new(false) }
    }

    /// Judges one call of a caller of whom this set's compiled form made `caller`.
    #[must_use]
    pub fn decide_for(&self, caller: &IdentityFacts, facts: &Facts<'_>) -> Decision {
        match self.is_distrusted() {
            true => interpret(self.compiled.program(), facts),
            false => self.compiled.decide_for(caller, facts),
        }
    }

    /// What judges, for people.
    #[must_use]
    pub fn engine(&self) -> String {
        match self.is_distrusted() {
            true => "interpreter (native code was seen to judge wrongly)".to_owned(),
            false => self.compiled.engine().to_string(),
        }
    }

    /// From now on the interpreter judges.
    pub fn distrust_native_code(&self) {
        self.distrusted.store(true, Ordering::Relaxed);
    }

    /// Whether native code was seen to judge wrongly.
    #[must_use]
    pub fn is_distrusted(&self) -> bool {
        self.distrusted.load(Ordering::Relaxed)
    }

    /// SHA-256 of names and texts of its files, hex.
    #[must_use]
    pub fn digest(&self) -> &str {
        &self.compiled.program().digest
    }
}

/// Holds the active set and what went wrong with the last reload. One thread, the control plane's, replaces it.
#[derive(Debug)]
pub struct PolicySlot {
    generation: AtomicU64,
    current: ArcSwap<ActivePolicy>,
    last_error: ArcSwapOption<String>,
}

impl PolicySlot {
    /// A slot with the first set, generation 1.
    #[must_use]
    pub fn new(first: Prepared) -> Self {
        Self {
            generation: AtomicU64::new(1),
            current: ArcSwap::from_pointee(ActivePolicy::new(1, first)),
            last_error: ArcSwapOption::empty(),
        }
    }

    /// The generation of the active set: one atomic load. A core that holds an older [`ActivePolicy`] fetches
    /// [`PolicySlot::current`] between two requests.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// The active set.
    #[must_use]
    pub fn current(&self) -> Arc<ActivePolicy> {
        self.current.load_full()
    }

    /// Activates a set, forgets the last error and returns the new generation.
    pub fn replace(&self, next: Prepared) -> u64 {
        let generation = self.current.load().generation + 1;
        self.current.store(Arc::new(ActivePolicy::new(generation, next)));
        // After the set itself, so that who sees the new number finds at least that set.
        self.generation.store(generation, Ordering::Release);
        self.last_error.store(None);
        generation
    }

    /// Keeps the active set and remembers why its successor was not taken.
    pub fn reject(&self, diagnostics: String) {
        self.last_error.store(Some(Arc::new(diagnostics)));
    }

    /// The files on disk are the active set again.
    pub fn confirm(&self) {
        self.last_error.store(None);
    }

    /// Why the newest files on disk are not the active set, as people read it; none when they are.
    #[must_use]
    pub fn last_error(&self) -> Option<Arc<String>> {
        self.last_error.load_full()
    }
}
