//! A program ready to judge calls.

use super::NativeError;
use super::code::NativeCode;
use super::replay::replay;
use policy_lang::schema::IntField;
use policy_lang::{
    Decision, Effect, Facts, Needs, Phase, Program, Trace, conclude, interpret, interpret_response, trace, with_risk,
};
use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// How to compile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompileOptions {
    /// Make no native code at all.
    pub interpreter_only: bool,
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
pub struct CompiledPolicy {
    program: Arc<Program>,
    needs: Needs,
    native: Option<NativeCode>,
    engine: Engine,
    adds_risk: bool,
    judges_answers: bool,
}

/// What a policy set makes of a caller (subject, groups, scopes, claims): computed once per token and kept with it.
#[derive(Clone, Debug)]
pub struct IdentityFacts {}

/// Compiles a program with the default options. Never fails: without native code the interpreter judges, see [`CompiledPolicy::engine`].
///
/// Takes some 40 µs per rule, so it belongs on a thread that serves no calls.
#[must_use]
pub fn compile(program: Arc<Program>) -> CompiledPolicy {
    compile_with(program, CompileOptions::default())
}

/// Compiles a program. Never fails: without native code the interpreter judges, see [`CompiledPolicy::engine`].
#[must_use]
pub fn compile_with(program: Arc<Program>, options: CompileOptions) -> CompiledPolicy {
    if options.interpreter_only {
        return CompiledPolicy::new(program, Err("asked for".to_owned()));
    }
    compile_by(program, NativeCode::compile)
}

/// Takes what `generate` makes of the program if it agrees with the interpreter.
fn compile_by(
    program: Arc<Program>,
    generate: impl FnOnce(&Program) -> Result<NativeCode, NativeError>,
) -> CompiledPolicy {
    // Nothing outlives a panic here but the error made from it.
    let native = catch_unwind(AssertUnwindSafe(|| {
        let native = generate(&program)?;
        replay(&program, |facts, truths| native.judge(&program, facts, truths))?;
        Ok(native)
    }))
    .unwrap_or_else(|panic| Err(NativeError::Panic(panic_text(panic.as_ref()))));
    CompiledPolicy::new(program, native.map_err(|error| error.to_string()))
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "without a message".to_owned())
}

thread_local! {
    /// The trace buffer of the last decision on this thread.
    static TRACE: Cell<Trace> = const { Cell::new(Trace { truths: Vec::new() }) };
}

impl CompiledPolicy {
    fn new(program: Arc<Program>, native: Result<NativeCode, String>) -> Self {
        let (native, engine) = match native {
            Ok(native) => (Some(native), Engine::Native),
            Err(reason) => (None, Engine::Interpreter { reason }),
        };
        let effects = || program.rules.iter().flat_map(|rule| &rule.effects);
        Self {
            needs: program.needs(),
            adds_risk: effects().any(|effect| matches!(effect, Effect::Risk { .. })),
            judges_answers: program.rules.iter().any(|rule| rule.phase == Phase::Response),
            program,
            native,
            engine,
        }
    }

    /// Judges one call.
    #[must_use]
    pub fn decide(&self, facts: &Facts<'_>) -> Decision {
        let Some(native) = &self.native else {
            return interpret(&self.program, facts);
        };
        let mut trace = TRACE.try_with(Cell::take).unwrap_or_default();
        let facts = &self.with_risk(facts);
        native.judge(&self.program, facts, &mut trace.truths);
        let decision = conclude(&self.program, &trace, facts);
        // On a dying thread the buffer is simply dropped.
        let _ = TRACE.try_with(|kept| kept.set(trace));
        decision
    }

    /// What the set makes of a caller; see [`IdentityFacts`].
    #[must_use]
    pub fn identity_facts(&self, _facts: &Facts<'_>) -> IdentityFacts {
        IdentityFacts {}
    }

    /// Judges one call of a caller whose identity part is at hand.
    #[must_use]
    pub fn decide_for(&self, _caller: &IdentityFacts, facts: &Facts<'_>) -> Decision {
        self.decide(facts)
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

    /// `request.risk` is zero where no rule adds to it.
    fn with_risk<'a>(&self, facts: &Facts<'a>) -> Facts<'a> {
        if self.adds_risk {
            return with_risk(&self.program, facts);
        }
        let mut facts = *facts;
        if let Some(risk) = facts.ints.get_mut(IntField::Risk as usize) {
            *risk = Some(0);
        }
        facts
    }

    /// How every rule of the request phase came out, shadow rules included.
    #[must_use]
    pub fn trace(&self, facts: &Facts<'_>) -> Trace {
        let facts = &self.with_risk(facts);
        let Some(native) = &self.native else {
            return trace(&self.program, facts, Phase::Request);
        };
        let mut trace = Trace::default();
        native.judge(&self.program, facts, &mut trace.truths);
        trace
    }

    /// The program that was compiled; masks and texts are read from it.
    #[must_use]
    pub fn program(&self) -> &Arc<Program> {
        &self.program
    }

    /// What the program asks of a call.
    #[must_use]
    pub fn needs(&self) -> Needs {
        self.needs
    }

    /// What judges, and if it is not native code, why.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
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
