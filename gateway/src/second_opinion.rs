//! Never trust the compiler blindly: one call in so many is judged by the interpreter, too, which is what the language means, once it
//! has its answer.
//! Where the two differ the interpreter is right; the difference is counted, told, and written to the evidence.

use crate::policy_slot::ActivePolicy;
use crossbeam::queue::ArrayQueue;
use policy_compiler::Engine;
use policy_lang::{Decision, Facts, RuleId, Rules, interpret};
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Differences that wait to be written to the evidence; more of them are counted only.
const FOUND_MAX: usize = 64;

/// What is done about native code that was seen to be wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDivergence {
    /// The interpreter judges every further call of this policy set.
    #[default]
    Interpret,
    /// It goes on judging.
    Warn,
}

/// How often native code is checked, and what came of it.
#[derive(Debug)]
pub struct SecondOpinion {
    every: u64,
    on_divergence: OnDivergence,
    same: AtomicU64,
    different: AtomicU64,
    found: ArrayQueue<Divergence>,
}

/// A call that native code and interpreter judged differently.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// Name of the policy set.
    pub policy: String,
    /// SHA-256 of its files, hex.
    pub digest: String,
    /// The rules that came out differently; none if only the conclusion did.
    pub rules: Vec<String>,
}

impl SecondOpinion {
    /// One call in `every` is looked at twice; 0 is none.
    #[must_use]
    pub fn new(every: u64, on_divergence: OnDivergence) -> Self {
        Self {
            every,
            on_divergence,
            same: AtomicU64::new(0),
            different: AtomicU64::new(0),
            found: ArrayQueue::new(FOUND_MAX),
        }
    }

    /// Whether the next call of a core is to be looked at; `calls` is the core's own count.
    pub fn is_due(&self, calls: &Cell<u64>) -> bool {
        let count = calls.get() + 1;
        let due = self.every != 0 && count >= self.every;
        calls.set(if due { 0 } else { count });
        due
    }

    /// Judges the call again and returns the decision that should have counted.
    #[must_use]
    pub fn check(&self, policy: &ActivePolicy, facts: &Facts<'_>, native: Decision) -> Decision {
        if policy.compiled.engine() != &Engine::Native {
            return native;
        }
        let interpreted = interpret(policy.compiled.program(), facts);
        if interpreted == native {
            self.same.fetch_add(1, Relaxed);
            return native;
        }
        self.different.fetch_add(1, Relaxed);
        let program = policy.compiled.program();
        let name = |id: &RuleId| program.rules.get(id.0 as usize).map(|rule| rule.name.clone());
        let divergence = Divergence {
            policy: program.name.clone(),
            digest: program.digest.clone(),
            rules: differing(&native, &interpreted).iter().filter_map(name).collect(),
        };
        let rules = divergence.rules.join(", ");
        tracing::error!(
            digest = divergence.digest,
            rules,
            "native code and interpreter judged a call differently; the call had been decided by native code"
        );
        // A full queue has enough of them.
        let _ = self.found.push(divergence);
        if self.on_divergence == OnDivergence::Interpret {
            policy.distrust_native_code();
        }
        interpreted
    }

    /// How many calls came out the same, and how many did not.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (self.same.load(Relaxed), self.different.load(Relaxed))
    }

    /// What was found since this was asked last.
    pub fn take_found(&self) -> Vec<Divergence> {
        std::iter::from_fn(|| self.found.pop()).collect()
    }
}

/// The rules that held or erred in one decision and not in the other.
fn differing(one: &Decision, other: &Decision) -> Vec<RuleId> {
    let lists = [(&one.fired, &other.fired), (&one.shadow_fired, &other.shadow_fired), (&one.errors, &other.errors)];
    let mut rules: Vec<RuleId> = lists
        .into_iter()
        .flat_map(|(a, b)| {
            let only = |x: &'_ Rules, y: &'_ Rules| -> Vec<RuleId> {
                x.iter().filter(|id| !y.contains(id)).copied().collect()
            };
            only(a, b).into_iter().chain(only(b, a))
        })
        .collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::policy_slot::{PolicySlot, prepare};
    use policy_lang::Verdict;
    use std::sync::Arc;

    fn active(text: &str) -> Arc<ActivePolicy> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.policy");
        std::fs::write(&path, text).unwrap();
        PolicySlot::new(prepare(&path, false).unwrap()).current()
    }

    #[test]
    fn every_nth_call_of_a_core_is_due() {
        let calls = Cell::new(0);
        let due = |opinion: &SecondOpinion| (0..9).map(|_| opinion.is_due(&calls)).filter(|due| *due).count();
        assert_eq!(due(&SecondOpinion::new(3, OnDivergence::Warn)), 3);
        assert_eq!(due(&SecondOpinion::new(1, OnDivergence::Warn)), 9);
        assert_eq!(due(&SecondOpinion::new(0, OnDivergence::Warn)), 0);
    }

    #[test]
    fn a_wrong_decision_is_counted_told_and_overruled() {
        let policy =
            active("policy \"p\" version 1\nrule a { allow }\nrule b { when model == \"secret\" deny \"No.\" }\n");
        if policy.compiled.engine() != &Engine::Native {
            // Nothing to check on machines that forbid native code.
            return;
        }
        let facts = Facts::empty();
        let caller = policy.compiled.identity_facts(&facts);
        let right = policy.decide_for(&caller, &facts);
        assert_eq!(right.verdict, Verdict::Forward);
        let opinion = SecondOpinion::new(1, OnDivergence::Warn);
        assert_eq!(opinion.check(&policy, &facts, right.clone()), right);
        assert_eq!((opinion.counts(), opinion.take_found()), ((1, 0), Vec::new()));

        // As a miscompiled set would decide: the rule that denies held.
        let mut wrong = right.clone();
        wrong.fired = vec![RuleId(0), RuleId(1)].into();
        assert_eq!(opinion.check(&policy, &facts, wrong.clone()), right, "the interpreter's decision counts");
        assert_eq!(opinion.counts(), (1, 1));
        let found = opinion.take_found();
        assert_eq!(found.iter().map(|found| found.rules.join(" ")).collect::<Vec<_>>(), ["b"]);
        assert!(!policy.is_distrusted());

        let strict = SecondOpinion::new(1, OnDivergence::Interpret);
        assert_eq!(strict.check(&policy, &facts, wrong), right);
        assert!(policy.is_distrusted());
        assert_eq!(policy.decide_for(&caller, &facts), right);
    }
}
