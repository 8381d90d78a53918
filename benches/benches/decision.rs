//! One decision, facts included: native code beside the interpreter, at 20 to 10,000 rules; the caller's part is at hand.
//!
//! The set is of the common kind: most rules look at the model, the endpoint, groups and the size; one in five also at a header or
//! a glob, which native code asks back for. Each round judges the next of 64 different calls.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use policy_compiler::{CompileOptions, Engine, compile, compile_with};
use policy_lang::schema::{IntField, StrField};
use policy_lang::{Atom, AtomId, CompareOp, Condition, Effect, Facts, HeaderView, Program, Rule, StrSet};
use std::hint::black_box;
use std::sync::Arc;

const RULES: [u32; 4] = [20, 200, 1_000, 10_000];
const CALLS: u32 = 64;

fn decisions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decision");
    for rules in RULES {
        let program = Arc::new(program(rules));
        let native = compile(Arc::clone(&program));
        assert_eq!(native.engine(), &Engine::Native);
        let options = CompileOptions { interpreter_only: true, ..CompileOptions::default() };
        let interpreter = compile_with(program, options);
        let callers: Vec<Caller> = (0..CALLS).map(|number| Caller::new(number, rules)).collect();
        for (engine, policy) in [("native", native), ("interpreter", interpreter)] {
            let known: Vec<_> = callers.iter().map(|caller| policy.identity_facts(&caller.facts())).collect();
            let mut next = callers.iter().zip(&known).cycle();
            group.bench_function(BenchmarkId::new(engine, rules), |bencher| {
                bencher.iter(|| {
                    let (caller, known) = next.next().unwrap();
                    black_box(policy.decide_for(known, &caller.facts()))
                });
            });
        }
    }
    group.finish();
}

fn compilation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("compile");
    group.sample_size(10);
    for rules in RULES {
        let program = Arc::new(program(rules));
        group.bench_function(BenchmarkId::new("native", rules), |bencher| {
            bencher.iter(|| black_box(compile(Arc::clone(&program))));
        });
    }
    group.finish();
}

criterion_group!(benches, decisions, compilation);
criterion_main!(benches);

/// Four atoms of its own per rule; every fifth rule asks for one that is costly.
fn program(count: u32) -> Program {
    let mut atoms = Vec::new();
    let mut rules = Vec::new();
    for number in 0..count {
        let first = u32::try_from(atoms.len()).unwrap();
        atoms.push(Atom::StrIn {
            field: StrField::Model,
            set: set((0..4).map(|offset| format!("model-{}", number + offset)).collect()),
        });
        atoms.push(Atom::InGroup(format!("group-{}", number % 100)));
        atoms.push(Atom::StrIn { field: StrField::Endpoint, set: set(vec![format!("/v1/operation-{}", number % 10)]) });
        atoms.push(match number % 10 {
            0 => Atom::HeaderPresent(format!("x-team-{}", number % 20)),
            5 => Atom::StrIn {
                field: StrField::Subject,
                set: StrSet { literals: Vec::new(), globs: vec![format!("svc-{number}-*")] },
            },
            _ => Atom::Int { field: IntField::RequestSize, op: CompareOp::Gt, value: i64::from(number) * 100 },
        });
        let [model, group, endpoint, last] = [0, 1, 2, 3].map(|n| Condition::Atom(AtomId(first + n)));
        let condition = Condition::All(vec![Condition::Any(vec![model, endpoint]), Condition::Any(vec![group, last])]);
        rules.push(Rule {
            name: format!("rule.{number:05}"),
            shadow: false,
            condition,
            effects: vec![if number % 4 == 0 {
                Effect::Deny { text: "Not here.".to_owned(), status: 403, hold: false }
            } else {
                Effect::Allow
            }],
            ..Rule::default()
        });
    }
    Program { name: "bench".to_owned(), version: 1, digest: "00".to_owned(), rules, atoms, ..Program::default() }
}

fn set(literals: Vec<String>) -> StrSet {
    StrSet { literals, globs: Vec::new() }
}

struct Caller {
    model: String,
    endpoint: String,
    subject: String,
    groups: Vec<String>,
    size: i64,
}

impl Caller {
    fn new(number: u32, rules: u32) -> Self {
        Self {
            model: format!("model-{}", number * rules / CALLS),
            endpoint: format!("/v1/operation-{}", number % 12),
            subject: format!("svc-{}-agent", number * 5),
            groups: (0..8).map(|n| format!("group-{}", number + n * 13)).collect(),
            size: i64::from(number) * 64,
        }
    }

    fn facts(&self) -> Facts<'_> {
        let mut strings = [""; StrField::ALL.len()];
        strings[StrField::Model as usize] = &self.model;
        strings[StrField::Endpoint as usize] = &self.endpoint;
        strings[StrField::Subject as usize] = &self.subject;
        strings[StrField::Method as usize] = "POST";
        let mut ints = [None; IntField::COUNT];
        ints[IntField::RequestSize as usize] = Some(self.size);
        ints[IntField::Hour as usize] = Some(12);
        Facts { strings, ints, bools: [Some(true)], groups: &self.groups, headers: self, ..Facts::empty() }
    }
}

impl HeaderView for Caller {
    fn get(&self, name: &str) -> Option<&str> {
        (name == "x-team-10").then_some("ml")
    }
}
