//! A program ready to judge calls.

use super::NativeError;
use super::engine::{Layout, NativeCode, with_scratch};
use super::identity::IdentityFacts;
use super::needs::BodyRules;
use super::replay::{Divergence, compare, replay};
use crate::json::Paths;
use policy_lang::{
    Decision, Facts, Needs, Phase, Program, Trace, Truth, interpret, interpret_response, trace, with_risk,
};
use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How to compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileOptions {
    /// Make no native code at all.
    pub interpreter_only: bool,
    /// Which way rules are judged.
    pub layout: Layout,
    /// After this time the interpreter takes over and code generation stops; none waits for as long as it takes.
    pub deadline: Option<Duration>,
}

/// What judges the calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Machine code that agreed with the interpreter on every boundary request.
    Native,
    /// The reference interpreter.
    Interpreter {
        /// Why there is no native code, for people.
        reason: String,
    },
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Native => f.write_str("native code"),
            Self::Interpreter { reason } => write!(f, "interpreter ({reason})"),
        }
    }
}

/// A program ready to judge calls, on any number of threads at once. Its code is freed when the last owner drops it, so a call
/// that holds an `Arc` of it may finish on it after another set took its place.
///
/// Where callers come again, what the set makes of them is kept beside their token:
///
/// ```
/// use policy_compiler::compile;
/// use policy_lang::{Facts, Source, Verdict, load_sources};
///
/// let text = r#"policy "example" version 1
///     rule access.apps { when identity in group("ml-apps") and request.method == POST allow }"#;
/// let loaded = load_sources(vec![Source { name: "example.policy".to_owned(), text: text.to_owned() }]).unwrap();
/// let policy = compile(loaded.program);
/// let groups = ["ml-apps".to_owned()];
/// let mut facts = Facts { groups: &groups, ..Facts::empty() };
/// // Once per token and policy set; it reads the identity part of the facts alone.
/// let caller = policy.identity_facts(&facts);
/// // Once per call.
/// facts.strings[policy_lang::schema::StrField::Method as usize] = "POST";
/// assert_eq!(policy.decide_for(&caller, &facts).verdict, Verdict::Forward);
/// assert_eq!(caller.policy_generation(), policy.generation());
/// ```
pub struct CompiledPolicy {
    generation: u64,
    program: Arc<Program>,
    bodies: BodyRules,
    native: Option<NativeCode>,
    engine: Engine,
    divergence: Option<Divergence>,
    judges_answers: bool,
    paths: Paths,
}

/// Compiles a program with the default options. Never fails: without native code the interpreter judges, see [`CompiledPolicy::engine`].
///
/// Takes some 40 µs per rule, so it belongs on a thread that serves no calls.
#[must_use]
pub fn compile(program: Arc<Program>) -> CompiledPolicy {
    compile_with(program, CompileOptions::default())
}

/// Compiles a program. Never fails: without native code the interpreter judges, see [`CompiledPolicy::engine`]; and
/// [`CompiledPolicy::divergence`] tells when a set should not take the place of one that is in force.
#[must_use]
pub fn compile_with(program: Arc<Program>, options: CompileOptions) -> CompiledPolicy {
    let layout = options.layout;
    match options {
        CompileOptions { interpreter_only: true, .. } => CompiledPolicy::new(program, Err(Failure::asked_for())),
        CompileOptions { deadline: None, .. } => {
            compile_by(program, |program| NativeCode::compile(program, layout, &AtomicBool::new(false)))
        }
        CompileOptions { deadline: Some(deadline), .. } => {
            within(program, deadline, move |program, cancelled| NativeCode::compile(program, layout, cancelled))
        }
    }
}

/// Compiles on a thread of its own. Past the deadline that thread is told to stop and its result is dropped.
fn within(
    program: Arc<Program>,
    deadline: Duration,
    generate: impl FnOnce(&Program, &AtomicBool) -> Result<NativeCode, NativeError> + Send + 'static,
) -> CompiledPolicy {
    let cancelled = Arc::new(AtomicBool::new(false));
    let (done, result) = mpsc::channel();
    let (theirs, stop) = (Arc::clone(&program), Arc::clone(&cancelled));
    let compiling = std::thread::Builder::new().name("policy-compile".to_owned()).spawn(move || {
        // Nobody listens any more when the deadline has passed.
        let _ = done.send(compile_by(theirs, |program| generate(program, &stop)));
    });
    let too_late = match compiling {
        Ok(_) => result.recv_timeout(deadline).map_err(|_| NativeError::Deadline.to_string()),
        Err(error) => Err(format!("no thread to compile on: {error}")),
    };
    too_late.unwrap_or_else(|reason| {
        cancelled.store(true, Ordering::Relaxed);
        CompiledPolicy::new(program, Err(Failure { reason, divergence: None }))
    })
}

/// Takes what `generate` makes of the program if it agrees with the interpreter.
fn compile_by(
    program: Arc<Program>,
    generate: impl FnOnce(&Program) -> Result<NativeCode, NativeError>,
) -> CompiledPolicy {
    // Nothing outlives a panic here but the error made from it.
    let native = catch_unwind(AssertUnwindSafe(|| {
        let native = generate(&program)?;
        replay(&program, |facts| judged_by(&native, &program, facts))?;
        Ok(native)
    }))
    .unwrap_or_else(|panic| Err(NativeError::Panic(panic_text(panic.as_ref()))));
    CompiledPolicy::new(program, native.map_err(Failure::from))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Why there is no native code.
struct Failure {
    reason: String,
    divergence: Option<Divergence>,
}

impl Failure {
    fn asked_for() -> Self {
        Self { reason: "asked for".to_owned(), divergence: None }
    }
}

impl From<NativeError> for Failure {
    fn from(error: NativeError) -> Self {
        let reason = error.to_string();
        let divergence = if let NativeError::Divergence(divergence) = error { Some(divergence) } else { None };
        Self { reason, divergence }
    }
}

/// Trace and decision of native code, whoever the caller is.
pub(super) fn judged_by(native: &NativeCode, program: &Program, facts: &Facts<'_>) -> (Trace, Decision) {
    with_scratch(|scratch| {
        let (mut buffers, caller) = scratch.parts();
        native.identity(program, facts, 0, caller);
        let risk = native.judge(program, facts, caller, &mut buffers);
        let mut truths = vec![Truth::False; program.rules.len()];
        for (rule, truth) in buffers.hits.iter() {
            if let Some(slot) = truths.get_mut(rule.0 as usize) {
                *slot = *truth;
            }
        }
        (Trace { truths }, native.conclude(program, buffers.hits, facts, risk))
    })
}

/// Numbers the policies of this process; 0 is none.
static GENERATION: AtomicU64 = AtomicU64::new(1);

impl CompiledPolicy {
    fn new(program: Arc<Program>, native: Result<NativeCode, Failure>) -> Self {
        let (native, engine, divergence) = match native {
            Ok(native) => (Some(native), Engine::Native, None),
            Err(Failure { reason, divergence }) => (None, Engine::Interpreter { reason }, divergence),
        };
        Self {
            generation: GENERATION.fetch_add(1, Ordering::Relaxed),
            bodies: BodyRules::new(&program),
            paths: Paths::of_requests(&program),
            judges_answers: program.rules.iter().any(|rule| rule.phase == Phase::Response),
            program,
            native,
            engine,
            divergence,
        }
    }

    /// A number that no other policy of this process has: what [`IdentityFacts`] are kept by.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// What this set makes of a caller: computed once per token, good for every call with it. Reads subject, issuer, client, kind,
    /// groups, scopes and claims of the facts, and nothing else.
    #[must_use]
    pub fn identity_facts(&self, facts: &Facts<'_>) -> IdentityFacts {
        let mut caller = IdentityFacts { policy: self.generation, ..IdentityFacts::default() };
        if let Some(native) = &self.native {
            native.identity(&self.program, facts, self.generation, &mut caller);
        }
        caller
    }

    /// Judges one call.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        self.judge(None, facts)
    }

    /// Judges one call of a caller whose [`CompiledPolicy::identity_facts`] are at hand. Those of another policy are not used.
    #[must_use]
    pub fn decide_for(&self, caller: &IdentityFacts, facts: &Facts<'_>) -> Decision {
        self.judge(Some(caller).filter(|caller| caller.policy == self.generation), facts)
    }

    #[inline]
    fn judge(&self, caller: Option<&IdentityFacts>, facts: &Facts<'_>) -> Decision {
        let Some(native) = &self.native else {
            return interpret(&self.program, facts);
        };
        with_scratch(|scratch| {
            let (mut buffers, own) = scratch.parts();
            let caller = match caller {
                Some(caller) => caller,
                None => {
                    native.identity(&self.program, facts, self.generation, own);
                    own
                }
            };
            let risk = native.judge(&self.program, facts, caller, &mut buffers);
            native.conclude(&self.program, buffers.hits, facts, risk)
        })
    }

    /// Judges an answer by the rules that read it. They are few and run once per answer, so the interpreter does it.
    #[must_use]
    pub fn decide_response(&self, facts: &Facts<'_>) -> Decision {
        interpret_response(&self.program, facts)
    }

    /// Whether any rule reads the answer: if not, [`CompiledPolicy::decide_response`] need not be asked.
    #[must_use]
    pub fn judges_answers(&self) -> bool {
        self.judges_answers
    }

    /// How every rule of the request phase came out, shadow rules included.
    #[must_use]
    pub fn trace(&self, facts: &Facts<'_>) -> Trace {
        match &self.native {
            Some(native) => judged_by(native, &self.program, facts).0,
            None => trace(&self.program, &with_risk(&self.program, facts), Phase::Request),
        }
    }

    /// Judges a call by native code and by the interpreter, to be asked now and then while running (POLICY-LANGUAGE §5: one call
    /// in 10,000). None when they agree, or when there is no native code.
    #[must_use]
    pub fn check_sample(&self, facts: &Facts<'_>) -> Option<Divergence> {
        let native = self.native.as_ref()?;
        compare(&self.program, facts, judged_by(native, &self.program, facts))
    }

    /// Where native code differed from the interpreter when it was compiled, so that the interpreter judges. A set with one should
    /// not take the place of one that is in force: the compiler has a bug, and people should know.
    #[must_use]
    pub fn divergence(&self) -> Option<&Divergence> {
        self.divergence.as_ref()
    }

    /// The paths of request bodies that conditions read, for [`Request::before`](crate::dialect::Request::before).
    #[must_use]
    pub fn paths(&self) -> &Paths {
        &self.paths
    }

    /// The program that was compiled; masks and texts are read from it.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// What the program asks of a call, whichever it is.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.bodies.of_set
    }

    /// What the program asks of this call, given what its head and its caller tell: the body and what only it tells (size, stream,
    /// tokens, images, and the model unless it is given) is not looked at. Never less than the decision turns out to need.
    #[must_use]
    pub fn needs_for(&self, caller: &IdentityFacts, facts: &Facts<'_>) -> Needs {
        let native = self.native.as_ref().filter(|_| caller.policy == self.generation);
        self.bodies.of_call(&self.program, native.map(|native| (native, caller)), facts)
    }

    /// What judges, and if it is not native code, why.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// How the rules are judged, for people.
    #[must_use]
    pub fn describe(&self) -> String {
        match &self.native {
            Some(native) => format!("{} ({native})", self.engine),
            None => self.engine.to_string(),
        }
    }
}

impl fmt::Debug for CompiledPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompiledPolicy")
            .field("name", &self.program.name)
            .field("digest", &self.program.digest)
            .field("engine", &self.engine)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
