//! A world so small that everything in it can be tried: two groups, two models, three sizes.

use super::calls::Call;
use super::{LAYOUTS, NativeCode, compare, judged_by};
use policy_lang::schema::{IntField, StrField};
use policy_lang::{
    ApprovalRequirement, Atom, AtomId, CompareOp, Condition, Effect, Facts, Program, Rule, Side, StrSet,
};
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Rules of one program: several functions and summaries.
const RULES: usize = 4_500;

fn atoms() -> Vec<Atom> {
    let model = |name: &str| Atom::StrIn {
        field: StrField::Model,
        set: StrSet { literals: vec![name.to_owned()], globs: Vec::new() },
    };
    let over = |value| Atom::Int { field: IntField::RequestSize, op: CompareOp::Gt, value };
    vec![Atom::InGroup("g1".to_owned()), Atom::InGroup("g2".to_owned()), model("m1"), model("m2"), over(0), over(1)]
}

/// Every caller and call: each subset of the groups, each model and another one, each size and none.
fn calls() -> Vec<Call> {
    let mut calls = Vec::new();
    for groups in [vec![], vec!["g1"], vec!["g2"], vec!["g1", "g2"]] {
        for model in ["m1", "m2", "m3", ""] {
            for size in [Some(0), Some(1), Some(2), None] {
                let mut call = Call::default();
                call.groups = groups.iter().map(ToString::to_string).collect();
                call.strings[StrField::Model as usize] = model.to_owned();
                call.ints[IntField::RequestSize as usize] = size;
                calls.push(call);
            }
        }
    }
    calls
}

/// An atom or its negation.
fn literals() -> Vec<Condition> {
    let atoms = (0..6).map(|id| Condition::Atom(AtomId(id)));
    atoms.flat_map(|atom| [atom.clone(), Condition::Not(Box::new(atom))]).collect()
}

/// Every `and` and `or` of two of these.
fn pairs(conditions: &[Condition]) -> impl Iterator<Item = Condition> {
    conditions.iter().enumerate().flat_map(move |(place, left)| {
        conditions[place..].iter().flat_map(move |right| {
            let both = || vec![left.clone(), right.clone()];
            [Condition::All(both()), Condition::Any(both())]
        })
    })
}

fn assert_agree(rules: Vec<Rule>, calls: &[Call]) {
    let name = |(number, rule)| Rule { name: format!("rule.{number:05}"), ..rule };
    let rules = rules.into_iter().enumerate().map(name).collect();
    let program = Program { rules, atoms: atoms(), ..Program::default() };
    for layout in LAYOUTS {
        let native = NativeCode::compile(&program, layout, &AtomicBool::new(false)).unwrap();
        for call in calls {
            let judge = |facts: &Facts<'_>| compare(&program, facts, judged_by(&native, &program, facts));
            assert_eq!(call.with_facts(judge), None, "{layout:?}, {call:?}");
        }
    }
}

/// All conditions up to two operators deep, not counting negations of atoms.
#[test]
fn every_condition_two_deep() {
    let calls = calls();
    let mut shallow = literals();
    shallow.extend(pairs(&literals()));
    let all: Vec<Condition> = shallow.iter().cloned().chain(pairs(&shallow)).collect();
    assert_eq!((shallow.len(), all.len()), (168, 28_560));
    for conditions in all.chunks(RULES) {
        let rule = |condition: &Condition| Rule {
            condition: condition.clone(),
            effects: vec![Effect::Allow],
            ..Rule::default()
        };
        assert_agree(conditions.iter().map(rule).collect(), &calls);
    }
}

/// All policies of two rules whose conditions are one literal deep, with four kinds of effects each.
#[test]
fn every_policy_of_two_rules() {
    let calls = calls();
    let minute = Duration::from_secs(60);
    let groups = vec!["leads".to_owned()];
    let effects = [
        Effect::Allow,
        Effect::Deny { text: "No.".to_owned(), status: 403, hold: false },
        Effect::RequireApproval(ApprovalRequirement { groups, by: 1, within: minute, valid: minute }),
        Effect::Seal(Side::Request),
    ];
    let conditions = literals().into_iter().chain([Condition::Const(true)]);
    let rules: Vec<Rule> = conditions
        .flat_map(|condition| {
            let rule = |effect: &Effect| Rule {
                condition: condition.clone(),
                effects: vec![effect.clone()],
                ..Rule::default()
            };
            effects.iter().map(rule).collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(rules.len(), 52);
    for (place, first) in rules.iter().enumerate() {
        for second in &rules[place..] {
            assert_agree(vec![first.clone(), second.clone()], &calls);
        }
    }
}
