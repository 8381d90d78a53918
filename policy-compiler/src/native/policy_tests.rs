//! When native code is not to be had, or not to be trusted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::native::plan::Slots;
use policy_lang::schema::{IntField, StrField};
use policy_lang::{Atom, AtomId, CompareOp, Condition, Effect, Rule, StrSet, Truth, Verdict};
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
    let options = CompileOptions { interpreter_only: true };
    let policy = compile_with(Arc::new(small()), options);
    assert_eq!(reason(&policy), "asked for");
    assert_same_as_interpreter(&policy);
}

#[test]
fn a_wrong_function_is_found_and_named_by_its_rule() {
    /// Writes nothing, so every rule stays an error. `a.broken` is one anyway.
    extern "C" fn wrong(_: *const Slots, _: *const c_void, _: *mut u8) {}
    let policy = compile_by(Arc::new(small()), |program| {
        let mut native = NativeCode::compile(program)?;
        native.chunks.first_mut().unwrap().entry = wrong;
        Ok(native)
    });
    assert_eq!(
        reason(&policy),
        "native code disagrees with the interpreter on rule b.models: Error instead of False (boundary request 0)"
    );
    assert_same_as_interpreter(&policy);
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
fn a_rule_larger_than_a_function_leaves_the_interpreter() {
    let mut program = small();
    let parts = vec![Condition::Atom(AtomId(1)); 10_000];
    program.rules.push(rule("z.huge", Condition::All(parts)));
    let policy = compile(Arc::new(program));
    assert_eq!(reason(&policy), "rule z.huge is too large for native code (10001 nodes, at most 8192)");
    assert_same_as_interpreter(&policy);
}

#[test]
fn a_rule_nested_too_deeply_leaves_the_interpreter() {
    let mut program = small();
    let mut condition = Condition::Atom(AtomId(1));
    for _ in 0..300 {
        condition = Condition::Not(Box::new(condition));
    }
    program.rules.push(rule("z.deep", condition));
    let policy = compile(Arc::new(program));
    assert_eq!(reason(&policy), "rule z.deep is nested too deeply for native code (more than 256 levels)");
    assert_same_as_interpreter(&policy);
}

/// The boundary requests are good enough to notice every small change of a program's meaning.
#[test]
fn every_mutant_is_noticed() {
    type Mutation = (&'static str, fn(&mut Program));
    let mutants: [Mutation; 9] = [
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
    for (name, mutate) in mutants {
        let mut mutant = small();
        mutate(&mut mutant);
        let found = replay(&original, |facts, truths| {
            *truths = trace(&mutant, facts, Phase::Request).truths;
        });
        assert!(found.is_err(), "not noticed: {name}");
    }
    replay(&original, |facts, truths| {
        *truths = trace(&original, facts, Phase::Request).truths;
    })
    .unwrap();
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
            rule("c.both", Condition::All(both)),
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
