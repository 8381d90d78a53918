//! Dropped policies give their pages back. A test binary of its own, since it counts the mappings of the whole process.
#![cfg(target_os = "linux")]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::{CompileOptions, CompiledPolicy, Engine, Layout, compile_with};
use policy_lang::{Atom, AtomId, Condition, Effect, Program, Rule};
use std::fs::read_to_string;
use std::sync::Arc;

/// What 200 leaked policies would exceed: each maps at least two functions of a page (4 KiB) or more.
const GROWTH_KIB_MAX: u64 = 1_024;

#[test]
fn two_hundred_policies_come_and_go() {
    let program = Arc::new(program());
    let come_and_go = |times| {
        for _ in 0..times {
            assert_eq!(compiled(&program).engine(), &Engine::Native);
        }
    };
    // The first ones warm up the allocator.
    come_and_go(20);
    let (mappings, size_kib) = (executable_mappings(), size_kib());
    let kept = compiled(&program);
    assert!(executable_mappings() > mappings, "the count sees native code");
    assert_eq!(writable_and_executable(), Vec::<String>::new());
    drop(kept);
    come_and_go(200);
    assert_eq!(executable_mappings(), mappings);
    let growth = self::size_kib().saturating_sub(size_kib);
    assert!(growth <= GROWTH_KIB_MAX, "grew by {growth} KiB");
}

/// Straight on, so that no two rules share code.
fn compiled(program: &Arc<Program>) -> CompiledPolicy {
    compile_with(Arc::clone(program), CompileOptions { layout: Layout::StraightLine, ..CompileOptions::default() })
}

/// Mappings that could be written and run: there are to be none.
fn writable_and_executable() -> Vec<String> {
    let maps = read_to_string("/proc/self/maps").unwrap();
    let rights = |line: &str| line.split_whitespace().nth(1).unwrap_or_default().to_owned();
    let both = maps.lines().filter(|line| rights(line).contains('w') && rights(line).contains('x'));
    both.map(str::to_owned).collect()
}

/// Anonymous executable mappings of this process: native code has no file.
fn executable_mappings() -> usize {
    let maps = read_to_string("/proc/self/maps").unwrap();
    let fields = maps.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[1].contains('x') && fields.len() == 5).count()
}

/// Address space of this process.
fn size_kib() -> u64 {
    let status = read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn program() -> Program {
    let rule = |number: u32| Rule {
        name: format!("rule.{number:03}"),
        shadow: false,
        condition: Condition::Atom(AtomId(number % 2)),
        effects: vec![Effect::Allow],
        ..Rule::default()
    };
    Program {
        name: "pages".to_owned(),
        version: 1,
        digest: "00".to_owned(),
        rules: (0..80).map(rule).collect(),
        atoms: vec![Atom::InGroup("g".to_owned()), Atom::HeaderPresent("x-team".to_owned())],
        ..Program::default()
    }
}
