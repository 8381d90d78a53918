//! Native code means what the interpreter means: random programs over random facts, and fixed programs that need several functions.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod native_support;

use native_support::{Call, calls, engine, model, program, programs};
use policy_compiler::{CompileOptions, CompiledPolicy, Engine, Layout, compile_with};
use policy_lang::schema::{IntField, StrField};
use policy_lang::{
    Atom, AtomId, CompareOp, Condition, Effect, Facts, Program, Rule, StrSet, TextTest, interpret, trace,
};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, TestRunner};
use std::sync::Arc;

proptest! {
    #![proptest_config(Config { cases: 256, ..Config::default() })]

    #[test]
    fn on_random_programs(program in programs(24), calls in prop::collection::vec(calls(), 12)) {
        for layout in [Layout::StraightLine, Layout::Indexed] {
            let policy = native_by(program.clone(), layout);
            let engine = engine(policy.program());
            for call in &calls {
                agree(&policy, &call.facts(&engine))?;
            }
        }
    }
}

#[test]
fn on_three_hundred_random_rules() {
    let mut runner = TestRunner::deterministic();
    let mut program = program(Vec::new(), Vec::new());
    // Rules of many small programs in one: their atoms follow each other.
    while program.rules.len() < 300 {
        let part = programs(24).new_tree(&mut runner).unwrap().current();
        let first = u32::try_from(program.atoms.len()).unwrap();
        for mut rule in part.rules {
            renumber(&mut rule.condition, first);
            rule.name = format!("rule.{:04}", program.rules.len());
            program.rules.push(rule);
        }
        program.atoms.extend(part.atoms);
    }
    for layout in [Layout::StraightLine, Layout::Indexed] {
        let policy = native_by(program.clone(), layout);
        let engine = engine(policy.program());
        for _ in 0..100 {
            let call = calls().new_tree(&mut runner).unwrap().current();
            agree(&policy, &call.facts(&engine)).unwrap();
        }
    }
}

/// Large sets become bitmaps, more groups than slots have bits ask back, and so does every text.
#[test]
fn on_a_thousand_models_and_groups() {
    let mut atoms = Vec::new();
    for number in 0..600 {
        atoms.push(Atom::InGroup(format!("group-{number}")));
    }
    for number in 0..40 {
        let literals = (number..1_000).step_by(number + 2).map(model).collect();
        let set = StrSet { literals, globs: Vec::new() };
        atoms.push(Atom::StrIn { field: StrField::Model, set });
    }
    let rules = (0..atoms.len()).map(|id| {
        let atom = Condition::Atom(AtomId(u32::try_from(id).unwrap()));
        rule(id, if id % 2 == 0 { atom } else { Condition::Not(Box::new(atom)) })
    });
    let policy = native(program(rules.collect(), atoms));
    for number in 0..1_000 {
        let mut call = Call::default();
        call.strings[StrField::Model as usize] = model(number);
        call.groups = vec![format!("group-{number}"), format!("group-{}", number / 2)];
        agree_on(&policy, &call);
    }
}

#[test]
fn at_the_edges_of_numbers() {
    let mut atoms = Vec::new();
    let edges = [i64::MIN, i64::MIN + 1, -1, 0, 1, i64::MAX - 1, i64::MAX];
    for value in edges {
        for op in [CompareOp::Eq, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge] {
            atoms.push(Atom::Int { field: IntField::RequestSize, op, value });
        }
    }
    let rules = (0..atoms.len()).map(|id| rule(id, Condition::Atom(AtomId(u32::try_from(id).unwrap())))).collect();
    let policy = native(program(rules, atoms));
    for value in edges {
        let mut call = Call::default();
        call.ints[IntField::RequestSize as usize] = Some(value);
        agree_on(&policy, &call);
    }
    agree_on(&policy, &Call::default());
}

#[test]
fn a_program_without_rules_denies() {
    let policy = native(program(Vec::new(), Vec::new()));
    agree_on(&policy, &Call::default());
}

#[test]
fn a_condition_of_thousands_of_parts_is_compiled() {
    let texts = TextTest::Contains("ab".to_owned());
    let atoms = vec![Atom::InGroup("g1".to_owned()), Atom::Text(texts)];
    let parts: Vec<Condition> = (0..4_000).map(|number| Condition::Atom(AtomId(number % 2))).collect();
    let rules = vec![rule(0, Condition::Any(parts.clone())), rule(1, Condition::All(parts))];
    let policy = native(program(rules, atoms));
    for groups in [vec![], vec!["g1".to_owned()]] {
        let call = Call { groups, ..Call::default() };
        agree_on(&policy, &call);
    }
}

fn native(program: Program) -> CompiledPolicy {
    native_by(program, Layout::Estimated)
}

fn native_by(program: Program, layout: Layout) -> CompiledPolicy {
    let policy = compile_with(Arc::new(program), CompileOptions { layout, ..CompileOptions::default() });
    assert_eq!(policy.engine(), &Engine::Native);
    policy
}

fn agree_on(policy: &CompiledPolicy, call: &Call) {
    agree(policy, &call.facts(&engine(policy.program()))).unwrap();
}

fn agree(policy: &CompiledPolicy, facts: &Facts<'_>) -> Result<(), TestCaseError> {
    prop_assert_eq!(
        policy.trace(facts),
        trace(policy.program(), &policy_lang::with_risk(policy.program(), facts), policy_lang::Phase::Request)
    );
    let decision = interpret(policy.program(), facts);
    prop_assert_eq!(&policy.decide_for(&policy.identity_facts(facts), facts), &decision);
    prop_assert_eq!(policy.decide(facts), decision);
    Ok(())
}

fn rule(number: usize, condition: Condition) -> Rule {
    Rule {
        name: format!("rule.{number:04}"),
        shadow: false,
        condition,
        effects: vec![Effect::Allow],
        ..Rule::default()
    }
}

fn renumber(condition: &mut Condition, first: u32) {
    match condition {
        Condition::Const(_) => {}
        Condition::Atom(id) => id.0 += first,
        Condition::Not(inner) => renumber(inner, first),
        Condition::All(parts) | Condition::Any(parts) => {
            for part in parts {
                renumber(part, first);
            }
        }
    }
}
