//! Many threads decide while the policy is replaced: each call is judged by one whole policy, the one it started with.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::{CompiledPolicy, Engine, compile};
use policy_lang::{Atom, AtomId, Condition, Effect, Facts, Program, Rule, Verdict, interpret};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

const DECIDING_THREADS: usize = 4;
const SWAPS: u64 = 100;

#[test]
fn four_threads_decide_while_a_fifth_swaps() {
    let current = Mutex::new(policy(0));
    let done = AtomicBool::new(false);
    let judged = AtomicU64::new(0);
    thread::scope(|scope| {
        for thread in 0..DECIDING_THREADS {
            let (current, done, judged) = (&current, &done, &judged);
            scope.spawn(move || {
                let groups = [format!("group-{thread}")];
                let facts = facts(&groups);
                while !done.load(Ordering::Relaxed) {
                    let policy = Arc::clone(&current.lock().unwrap());
                    let decision = policy.decide(&facts);
                    assert_eq!(decision, interpret(policy.program(), &facts));
                    let Verdict::Deny(denial) = decision.verdict else {
                        panic!("every version denies");
                    };
                    let version = policy.program().version;
                    assert_eq!(denial.text, format!("version {version}, group-{thread}"));
                    judged.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for version in 1..=SWAPS {
            let next = policy(version);
            // The lock is released before the old policy is dropped; its code goes when the last call on it has ended.
            let old = std::mem::replace(&mut *current.lock().unwrap(), next);
            drop(old);
        }
        while judged.load(Ordering::Relaxed) < SWAPS {
            thread::yield_now();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// One deny per group, with the version in its text.
fn policy(version: u64) -> Arc<CompiledPolicy> {
    let numbers = 0..u32::try_from(DECIDING_THREADS).unwrap();
    let rules = numbers.clone().map(|number| Rule {
        name: format!("deny.{number}"),
        shadow: false,
        condition: Condition::All(vec![
            Condition::Atom(AtomId(number)),
            // Asks back, so that the callback runs on every thread.
            Condition::Not(Box::new(Condition::Atom(AtomId(4)))),
        ]),
        effects: vec![Effect::Deny { text: format!("version {version}, group-{number}"), status: 403, hold: false }],
        ..Rule::default()
    });
    let groups = numbers.clone().map(|number| Atom::InGroup(format!("group-{number}")));
    let policy = compile(Arc::new(Program {
        name: "swapped".to_owned(),
        version,
        digest: version.to_string(),
        rules: rules.collect(),
        atoms: groups.chain([Atom::HeaderPresent("x-team".to_owned())]).collect(),
        ..Program::default()
    }));
    assert_eq!(policy.engine(), &Engine::Native);
    Arc::new(policy)
}

fn facts(groups: &[String]) -> Facts<'_> {
    Facts { groups, ..Facts::empty() }
}
