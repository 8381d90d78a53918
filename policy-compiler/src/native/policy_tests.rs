//! When native code is not to be had, or not to be trusted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::native::plan::Slots;
use policy_lang::schema::{IntField, StrField};
use policy_lang::{Atom, AtomId, CompareOp, Condition, Effect, Rule, StrSet, Verdict, conclude};
use std::ffi::c_void;

#[test]
fn native_code_judges_where_it_can() {
    let policy = compile(Arc::new(small()));
    assert_eq!(policy.engine(), &Engine::Native);
    assert_eq!(policy.engine().to_string(), "native code");
    assert_same_as_interpreter(&policy);
}

#[test]
fn the_interpreter_can_be_asked_for() {
    let options = CompileOptions { interpreter_only: true, ..CompileOptions::default() };
    let policy = compile_with(Arc::new(small()), options);
    assert_eq!(reason(&policy), "asked for");
    assert_same_as_interpreter(&policy);
}

#[test]
fn a_wrong_function_is_found_and_named_by_its_rule() {
    /// Says that every rule is an error. `a.broken` is one anyway.
    extern "C" fn wrong(_: *const Slots, _: *const c_void, out: *mut [u64; 2]) {
        // SAFETY: the contract gives two words.
        unsafe { *out = [0b01_01_01, 0] };
    }
    let policy = compile_by(Arc::new(small()), |program| {
        let mut native = NativeCode::compile(program, Layout::StraightLine, &AtomicBool::new(false))?;
        native.code.sabotage(wrong);
        Ok(native)
    });
    assert_eq!(
        reason(&policy),
        "native code disagrees with the interpreter on rule b.models: Error instead of False (boundary request 0)"
    );
    let divergence = policy.divergence().unwrap();
    assert_eq!((divergence.rule.as_deref(), divergence.request), (Some("b.models"), Some(0)));
    assert_same_as_interpreter(&policy);
}

#[test]
fn a_sampled_call_shows_a_function_that_went_wrong() {
    extern "C" fn wrong(_: *const Slots, _: *const c_void, out: *mut [u64; 2]) {
        // SAFETY: the contract gives two words.
        unsafe { *out = [0b10_10_01, 0] };
    }
    let program = Arc::new(small());
    let mut native = NativeCode::compile(&program, Layout::StraightLine, &AtomicBool::new(false)).unwrap();
    assert_eq!(CompiledPolicy::new(Arc::clone(&program), Ok(native)).check_sample(&Facts::empty()), None);
    native = NativeCode::compile(&program, Layout::StraightLine, &AtomicBool::new(false)).unwrap();
    native.code.sabotage(wrong);
    let policy = CompiledPolicy::new(program, Ok(native));
    let divergence = policy.check_sample(&Facts::empty()).unwrap();
    assert_eq!(
        divergence.to_string(),
        "native code disagrees with the interpreter on rule b.models: True instead of False"
    );
}

#[test]
fn past_its_deadline_the_interpreter_takes_over_and_the_compiler_is_told_to_stop() {
    let (stopped, told) = std::sync::mpsc::channel();
    let policy = within(Arc::new(small()), Duration::from_millis(1), move |_, cancelled| {
        while !cancelled.load(Ordering::Relaxed) {
            std::thread::yield_now();
        }
        stopped.send(()).unwrap();
        Err(NativeError::Deadline)
    });
    assert_eq!(reason(&policy), "native code could not be made in time");
    assert_eq!(policy.divergence(), None);
    assert_same_as_interpreter(&policy);
    told.recv().unwrap();
    let options = CompileOptions { deadline: Some(Duration::from_secs(600)), ..CompileOptions::default() };
    assert_eq!(compile_with(Arc::new(small()), options).engine(), &Engine::Native);
}

#[test]
fn a_panicking_code_generator_leaves_the_interpreter() {
    let policy = compile_by(Arc::new(small()), |_| {
        panic!("too many virtual registers");
    });
    assert_eq!(
        reason(&policy),
        "native code could not be made: the code generator panicked: too many virtual registers"
    );
    assert_same_as_interpreter(&policy);
}

#[test]
fn a_rule_too_large_or_too_deep_for_a_function_is_judged_by_the_interpreter_alone() {
    let mut program = small();
    let mut deep = Condition::Atom(AtomId(1));
    for _ in 0..300 {
        deep = Condition::Not(Box::new(deep));
    }
    program.rules.push(rule("y.deep", deep));
    program.rules.push(rule("z.huge", Condition::All(vec![Condition::Atom(AtomId(1)); 10_000])));
    for layout in [Layout::StraightLine, Layout::Indexed] {
        let options = CompileOptions { layout, ..CompileOptions::default() };
        let policy = compile_with(Arc::new(program.clone()), options);
        assert_eq!(policy.engine(), &Engine::Native);
        assert_same_as_interpreter(&policy);
    }
}

/// The boundary requests are good enough to notice every small change of a program's meaning.
#[test]
fn every_mutant_is_noticed() {
    type Mutation = (&'static str, fn(&mut Program));
    let mutants: [Mutation; 11] = [
        ("a deny for an allow", |p| {
            p.rules[1].effects = vec![Effect::Deny { text: String::new(), status: 403, hold: false }]
        }),
        ("an obligation less", |p| {
            p.rules[2].effects.truncate(1);
        }),
        ("another literal", |p| set_of(p).literals[0] = "b".to_owned()),
        ("a literal less", |p| {
            set_of(p).literals.pop();
        }),
        ("no glob", |p| set_of(p).globs.clear()),
        ("another group", |p| {
            p.atoms[1] = Atom::InGroup("g2".to_owned());
        }),
        ("> for >=", |p| p.atoms[2] = size(CompareOp::Gt, 100)),
        ("one more", |p| p.atoms[2] = size(CompareOp::Ge, 101)),
        ("or for and", |p| {
            let Condition::All(parts) = p.rules[2].condition.clone() else {
                panic!("c.both is a conjunction");
            };
            p.rules[2].condition = Condition::Any(parts);
        }),
        ("not", |p| {
            let condition = p.rules[2].condition.clone();
            p.rules[2].condition = Condition::Not(Box::new(condition));
        }),
        ("an error for false", |p| {
            p.rules[2].condition = Condition::All(vec![Condition::Atom(AtomId(99)), p.rules[2].condition.clone()]);
        }),
    ];
    let original = small();
    let judge = |program: &Program, facts: &Facts<'_>| {
        let facts = with_risk(program, facts);
        let trace = trace(program, &facts, Phase::Request);
        let decision = conclude(program, &trace, &facts);
        (trace, decision)
    };
    for (name, mutate) in mutants {
        let mut mutant = small();
        mutate(&mut mutant);
        assert!(replay(&original, |facts| judge(&mutant, facts)).is_err(), "not noticed: {name}");
    }
    replay(&original, |facts| judge(&original, facts)).unwrap();
}

/// `a.broken` reads an atom that does not exist; `b.models`; `c.both` joins a group and a size.
fn small() -> Program {
    let both = vec![Condition::Atom(AtomId(1)), Condition::Atom(AtomId(2))];
    Program {
        name: "small".to_owned(),
        version: 1,
        digest: "00".to_owned(),
        rules: vec![
            rule("a.broken", Condition::Atom(AtomId(99))),
            rule("b.models", Condition::Atom(AtomId(0))),
            Rule {
                effects: vec![Effect::Allow, Effect::Seal(policy_lang::Side::Request)],
                ..rule("c.both", Condition::All(both))
            },
        ],
        atoms: vec![
            Atom::StrIn {
                field: StrField::Model,
                set: StrSet { literals: vec!["a".to_owned(), "c".to_owned()], globs: vec!["x*".to_owned()] },
            },
            Atom::InGroup("g1".to_owned()),
            size(CompareOp::Ge, 100),
        ],
        ..Program::default()
    }
}

fn size(op: CompareOp, value: i64) -> Atom {
    Atom::Int { field: IntField::RequestSize, op, value }
}

fn set_of(program: &mut Program) -> &mut StrSet {
    match program.atoms.first_mut() {
        Some(Atom::StrIn { set, .. }) => set,
        other => panic!("atom 0 is {other:?}"),
    }
}

fn rule(name: &str, condition: Condition) -> Rule {
    Rule { name: name.to_owned(), shadow: false, condition, effects: vec![Effect::Allow], ..Rule::default() }
}

fn reason(policy: &CompiledPolicy) -> &str {
    match policy.engine() {
        Engine::Interpreter { reason } => reason,
        Engine::Native => panic!("native code is used"),
    }
}

fn assert_same_as_interpreter(policy: &CompiledPolicy) {
    let groups = ["g1".to_owned()];
    let mut facts = Facts { groups: &groups, ..Facts::empty() };
    facts.ints[IntField::RequestSize as usize] = Some(100);
    for model in ["a", "xyz", "other", ""] {
        facts.strings[StrField::Model as usize] = model;
        assert_eq!(
            policy.trace(&facts),
            trace(policy.program(), &policy_lang::with_risk(policy.program(), &facts), policy_lang::Phase::Request)
        );
        assert_eq!(policy.decide(&facts), interpret(policy.program(), &facts));
        assert_eq!(policy.decide(&facts).verdict, Verdict::Forward);
        assert_eq!(policy.trace(&facts).truths[0], Truth::Error);
    }
}
