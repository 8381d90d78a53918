//! Rules judged natively: all of them straight on, or those that an index leaves.

use super::NativeError;
use super::code::{Call, Code, Form};
use super::identity::{CallerPlan, IdentityFacts};
use super::lower::{Job, RULES_PER_FUNCTION_MAX};
use super::plan::{Plan, Slots};
use crate::index::{Index, Slotted, bits, risk_points};
use crate::planted::planted;
use policy_lang::schema::IntField;
use policy_lang::{Condition, Decision, Facts, Outlines, Phase, Program, Rule, RuleId, Truth, conclude_hits};
use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::atomic::AtomicBool;

/// Which way rules are judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Whichever is estimated to be faster for the set.
    #[default]
    Estimated,
    /// Every rule, straight on.
    StraightLine,
    /// What an index leaves.
    Indexed,
}

/// The native form of one program.
#[derive(Debug)]
pub(super) struct NativeCode {
    pub(super) plan: Plan,
    caller: CallerPlan,
    pub(super) index: Option<Index>,
    pub(super) code: Code,
    /// Without an index, by rule: it adds to `request.risk`.
    risk: Vec<u64>,
    adds_risk: bool,
    outlines: Outlines,
    /// By slot of the index: which condition of `code` is left to judge, none where its bit says it all.
    left: Vec<u32>,
}

/// Buffers that are used again by the next call on this thread.
#[derive(Default)]
pub(super) struct Scratch {
    /// Truths of costly atoms, see [`Call::memo`].
    memo: Vec<u64>,
    epoch: u64,
    /// Rules that are true or errors, ascending once judged.
    pub(super) hits: Vec<(RuleId, Truth)>,
    /// The caller, where none was at hand.
    pub(super) caller: IdentityFacts,
}

thread_local! {
    static SCRATCH: Cell<Option<Box<Scratch>>> = const { Cell::new(None) };
}

/// Runs with this thread's buffers. A nested call (a text engine that asks a policy) finds them taken and gets new ones, as does a
/// dying thread.
#[inline]
pub(super) fn with_scratch<T>(run: impl FnOnce(&mut Scratch) -> T) -> T {
    /// Puts the buffers back; what `run` returns is large, so nothing is done with it on the way.
    struct Taken(Option<Box<Scratch>>);
    impl Drop for Taken {
        fn drop(&mut self) {
            let scratch = self.0.take();
            // On a dying thread the buffers are simply dropped.
            let _ = SCRATCH.try_with(|kept| kept.set(scratch));
        }
    }
    let mut taken = Taken(SCRATCH.try_with(Cell::take).ok().flatten());
    run(taken.0.get_or_insert_default())
}

impl NativeCode {
    /// Compiles every rule. Nothing stays mapped when it fails.
    ///
    /// # Errors
    /// Every [`NativeError`] but a divergence.
    pub(super) fn compile(program: &Program, layout: Layout, cancelled: &AtomicBool) -> Result<Self, NativeError> {
        let plan = Plan::new(program);
        let indexed = match layout {
            Layout::StraightLine => None,
            Layout::Estimated => Index::new(program, &plan, false),
            Layout::Indexed => Index::new(program, &plan, true),
        };
        let (index, left, code) = match indexed {
            Some((index, slotted)) => {
                let (left, words) = distinct(&plan, &slotted);
                (Some(index), left, Code::new(&plan, &words, Form::Each, cancelled)?)
            }
            None => (None, Vec::new(), Code::new(&plan, &straight(program, &plan), Form::All, cancelled)?),
        };
        let mut risk = vec![0; program.rules.len().div_ceil(64)];
        for (number, _) in program.rules.iter().enumerate().filter(|(_, rule)| risk_points(rule) > 0) {
            crate::index::set(&mut risk, number);
        }
        let adds_risk = risk.iter().any(|word| *word != 0);
        let outlines = Outlines::new(program);
        Ok(Self { caller: CallerPlan::new(&plan), plan, index, code, risk, adds_risk, outlines, left })
    }

    /// What this makes of a caller; `policy` is the generation of the policy that asks.
    pub(super) fn identity(&self, program: &Program, facts: &Facts<'_>, policy: u64, caller: &mut IdentityFacts) {
        caller.policy = policy;
        self.caller.judge(&self.plan, program, facts, caller);
        if let Some(index) = &self.index {
            index.narrow(&self.plan, caller);
        }
    }

    /// Judges every rule into `scratch.hits` and returns `request.risk`. `program` is the one this was compiled from, and `caller`
    /// was made by this.
    #[inline]
    pub(super) fn judge(
        &self,
        program: &Program,
        facts: &Facts<'_>,
        caller: &IdentityFacts,
        scratch: &mut ScratchParts<'_>,
    ) -> i64 {
        let mut slots = self.plan.slots(facts, &caller.members, &caller.claims);
        *scratch.epoch += 1;
        if scratch.memo.len() < self.plan.costly.len() {
            scratch.memo.resize(self.plan.costly.len(), 0);
        }
        let call = Call {
            program,
            facts,
            costly: &self.plan.costly,
            memo: Cell::from_mut(scratch.memo.as_mut_slice()).as_slice_of_cells(),
            epoch: *scratch.epoch,
            risk: Cell::new(facts.int(IntField::Risk)),
        };
        let mut sum = 0_i64;
        if self.adds_risk {
            self.each_hit(&slots, caller, &call, true, |rule, truth| {
                let points = program.rules.get(rule).map_or(0, risk_points);
                if truth == Truth::True && !planted!(RiskIsNotSummed) {
                    sum = sum.saturating_add(points);
                }
            });
        }
        call.risk.set(Some(sum));
        slots.ints[IntField::Risk as usize] = sum;
        slots.int_known[IntField::Risk as usize] = 1;
        scratch.hits.clear();
        self.each_hit(&slots, caller, &call, false, |rule, truth| {
            if !(planted!(ErrorsAreLost) && truth == Truth::Error) {
                scratch.hits.push((RuleId(rule as u32), truth));
            }
        });
        if self.index.is_some() && scratch.hits.len() > 1 && !planted!(HitsAreNotSorted) {
            // A rule is as true as the truest of its ways.
            scratch.hits.sort_unstable_by_key(|(rule, truth)| (*rule, Reverse(*truth)));
            if !planted!(WaysHitTwice) {
                scratch.hits.dedup_by_key(|(rule, _)| *rule);
            }
        }
        sum
    }

    /// The decision that follows from the hits.
    #[inline]
    pub(super) fn conclude(
        &self,
        program: &Program,
        hits: &[(RuleId, Truth)],
        facts: &Facts<'_>,
        risk: i64,
    ) -> Decision {
        conclude_hits(program, &self.outlines, hits, facts, Some(risk))
    }

    /// Calls `hit` for each rule that is true or an error, of those that add risk or of all.
    #[inline]
    fn each_hit(
        &self,
        slots: &Slots,
        caller: &IdentityFacts,
        call: &Call<'_>,
        risk_only: bool,
        mut hit: impl FnMut(usize, Truth),
    ) {
        let Some(index) = &self.index else {
            for (word, risk) in self.risk.iter().enumerate() {
                let wanted = if risk_only { *risk } else { u64::MAX };
                self.code.judge_word(word, wanted, slots, call, |place, truth| hit(word * 64 + place, truth));
            }
            return;
        };
        index.candidates(slots, caller, |word, mut candidates| {
            if risk_only {
                candidates &= index.risk.get(word).copied().unwrap_or_default();
            }
            let rules = index.rules.get(word * 64..).unwrap_or_default();
            let rule = |place: usize| rules.get(place).copied().unwrap_or(u32::MAX) as usize;
            let exact = index.exact.get(word).copied().unwrap_or_default();
            bits(candidates & exact).for_each(|place| hit(rule(place), Truth::True));
            let left = self.left.get(word * 64..).unwrap_or_default();
            // Rules alike stand side by side, so their conditions are often one and the same.
            let mut judged = (u32::MAX, Truth::False);
            for place in bits(candidates & !exact) {
                let condition = left.get(place).copied().unwrap_or(u32::MAX - 1);
                if condition != judged.0 {
                    judged = (condition, self.code.judge_one(condition, slots, call));
                }
                if judged.1 != Truth::False {
                    hit(rule(place), judged.1);
                }
            }
        });
    }
}

impl std::fmt::Display for NativeCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let layout = if self.index.is_some() { "indexed" } else { "straight on" };
        write!(f, "{layout}, {} functions", self.code.functions())
    }
}

/// The parts of [`Scratch`] that judging needs beside the caller.
pub(super) struct ScratchParts<'s> {
    memo: &'s mut Vec<u64>,
    epoch: &'s mut u64,
    pub(super) hits: &'s mut Vec<(RuleId, Truth)>,
}

impl Scratch {
    /// The buffers, and the place for a caller.
    pub(super) fn parts(&mut self) -> (ScratchParts<'_>, &mut IdentityFacts) {
        (ScratchParts { memo: &mut self.memo, epoch: &mut self.epoch, hits: &mut self.hits }, &mut self.caller)
    }
}

/// Every rule in its own slot, by word of slots.
fn straight<'p>(program: &'p Program, plan: &Plan) -> Vec<Vec<Job<'p>>> {
    let words = program.rules.chunks(RULES_PER_FUNCTION_MAX).enumerate().map(|(word, rules)| {
        // The interpreter judges the others once the answer is there.
        let judged = |rule: &Rule| rule.phase == Phase::Request || planted!(ResponseRulesAreJudged);
        let jobs = rules.iter().enumerate().filter(|(_, rule)| judged(rule));
        let jobs = jobs
            .map(|(place, rule)| Job::new(plan, place, word * RULES_PER_FUNCTION_MAX + place, vec![&rule.condition]));
        jobs.collect()
    });
    words.collect()
}

/// The distinct conditions that the index leaves, as jobs of functions, and by slot which of them it is.
fn distinct<'p>(plan: &Plan, slotted: &[Slotted<'p>]) -> (Vec<u32>, Vec<Vec<Job<'p>>>) {
    // A condition too large for code is judged as part of its rule.
    let mut known: HashMap<(Option<usize>, &[&Condition]), u32> = HashMap::new();
    let mut jobs: Vec<Job<'p>> = Vec::new();
    let left = slotted.iter().map(|slot| {
        if slot.left.is_empty() {
            return u32::MAX;
        }
        let next = jobs.len();
        let job = Job::new(plan, next % RULES_PER_FUNCTION_MAX, slot.rule, slot.left.clone());
        let key = (job.is_asked().then_some(slot.rule), slot.left.as_slice());
        *known.entry(key).or_insert_with(|| {
            jobs.push(job);
            if planted!(SecondConditionIsTheFirst) && next == 1 { 0 } else { next as u32 }
        })
    });
    let left = left.collect();
    let mut words: Vec<Vec<Job<'p>>> = Vec::new();
    for job in jobs {
        if job.position == 0 {
            words.push(Vec::new());
        }
        words.last_mut().into_iter().for_each(|word| word.push(job.clone()));
    }
    (left, words)
}
