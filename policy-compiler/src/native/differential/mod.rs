//! The interpreter beside straight-line code beside index and code, on random policies and calls: decision, fired rules,
//! obligations and errors are equal. Planted bugs show that a wrong compiler would be found.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod calls;
mod programs;
mod small_world;

use super::engine::{Layout, NativeCode};
use super::policy::{CompileOptions, compile_with, judged_by};
use super::replay::compare;
use crate::planted::{Bug, with};
use calls::Call;
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{Effect, Facts, Program, RecordBound, RecordLevel, Rule, Unread, Verdict, interpret};
use programs::{ATOM_KINDS, EFFECT_KINDS, Random, kinds, program};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

const LAYOUTS: [Layout; 2] = [Layout::StraightLine, Layout::Indexed];
/// Calls that each policy judges.
const CALLS: usize = 100;
/// Policies in the suites; more with `SALLYPORT_DIFFERENTIAL_POLICIES`.
const POLICIES: u64 = 800;
/// Policies within which every planted bug must be found.
const POLICIES_UNTIL_FOUND: u64 = 600;

/// The first difference on the policy of this seed.
fn difference(seed: u64, mut seen: impl FnMut(&Program, &Call)) -> Option<String> {
    let mut random = Random(seed.wrapping_mul(0x1_0000_0001));
    let program = program(&mut random);
    let natives = LAYOUTS.map(|layout| {
        (layout, NativeCode::compile(&program, layout, &AtomicBool::new(false)).expect("every random program compiles"))
    });
    for number in 0..CALLS {
        let call = Call::random(&mut random);
        seen(&program, &call);
        for (layout, native) in &natives {
            let judge = |facts: &Facts<'_>| compare(&program, facts, judged_by(native, &program, facts));
            if let Some(divergence) = call.with_facts(judge) {
                return Some(format!("policy {seed}, call {number}, {layout:?}: {divergence}"));
            }
        }
    }
    None
}

#[test]
fn interpreter_straight_line_and_index_say_the_same() {
    let policies = std::env::var("SALLYPORT_DIFFERENTIAL_POLICIES").ok();
    let policies = policies.map_or(POLICIES, |text| text.parse().expect("a number of policies"));
    let first = std::env::var("SALLYPORT_SEED").map_or(1, |text| text.parse().expect("a seed"));
    let mut verdicts = [0_u64; 3];
    let (mut atoms, mut effects) = (HashSet::new(), HashSet::new());
    for seed in first..first + policies {
        let found = difference(seed, |program, call| {
            let place = match call.with_facts(|facts| interpret(program, facts)).verdict {
                Verdict::Forward => 0,
                Verdict::Pending(_) => 1,
                Verdict::Deny(_) => 2,
            };
            verdicts[place] += 1;
            let (own_atoms, own_effects) = kinds(program);
            if atoms.len() < ATOM_KINDS || effects.len() < EFFECT_KINDS {
                atoms.extend(own_atoms);
                effects.extend(own_effects);
            }
        });
        assert_eq!(found, None);
    }
    let cases: u64 = verdicts.iter().sum();
    println!("{cases} cases over {policies} policies: {verdicts:?} forward, pending, denied");
    assert!(verdicts.iter().all(|count| count * 10 >= cases), "{verdicts:?}: each verdict in a tenth of the cases");
    assert_eq!((atoms.len(), effects.len()), (ATOM_KINDS, EFFECT_KINDS), "every kind of atom and of effect");
}

#[test]
fn every_planted_bug_is_found() {
    let missed: Vec<Bug> = Bug::ALL
        .iter()
        .copied()
        .filter(|bug| with(*bug, || (1..=POLICIES_UNTIL_FOUND).all(|seed| difference(seed, |_, _| {}).is_none())))
        .collect();
    assert_eq!(missed, [], "not found");
    assert!(Bug::ALL.len() >= 30);
}

/// Where the set asks for no body, the decision does not depend on it.
#[test]
fn a_body_that_is_not_needed_changes_nothing() {
    let mut spared = 0;
    for seed in 1..=200 {
        let mut random = Random(seed);
        let mut program = program(&mut random);
        // Where every payload is recorded, every body is read.
        let effects = vec![Effect::Record { bound: RecordBound::AtMost, level: RecordLevel::Metadata }];
        program.rules.push(Rule { name: "zz".to_owned(), effects, ..Rule::default() });
        let program = Arc::new(program);
        for layout in LAYOUTS {
            let policy = compile_with(Arc::clone(&program), CompileOptions { layout, ..CompileOptions::default() });
            for _ in 0..20 {
                let call = Call::random(&mut random);
                call.with_facts(|facts| {
                    let mut head = Facts { body: &Unread, bools: [None; BoolField::COUNT], ..*facts };
                    head.strings[StrField::Model as usize] = "";
                    for field in [IntField::RequestSize, IntField::TokensRequested, IntField::ImageCount] {
                        head.ints[field as usize] = None;
                    }
                    let caller = policy.identity_facts(&head);
                    let needs = policy.needs_for(&caller, &head);
                    if !needs.request_body {
                        spared += 1;
                        assert_eq!(
                            policy.decide_for(&caller, &head),
                            policy.decide_for(&caller, facts),
                            "policy {seed}"
                        );
                    }
                });
            }
        }
    }
    assert!(spared > 100, "{spared} calls were spared their body");
}
