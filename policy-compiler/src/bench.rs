//! What decisions cost: nanoseconds per decision over given calls, and cost and count of each rule.
//!
//! This crate reads no clock, so the caller brings one; the CPU time of the thread is the best, since what else runs on the
//! machine does not count.

use crate::native::{CompiledPolicy, IdentityFacts};
use policy_lang::{AtomId, Facts, Program, Rule, Truth, Verdict, eval_atom, eval_condition};
use std::hint::black_box;
use std::time::Duration;

/// Decisions timed together: reading a clock takes longer than a decision.
const BATCH: usize = 64;
/// Calls that one rule is timed on; more would take seconds for large sets.
const RULE_CALLS_MAX: usize = 64;

/// How much to measure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// How often all calls are judged; the first round warms up and is not counted.
    pub rounds: usize,
    /// Whether each rule is timed by itself.
    pub per_rule: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 20, per_rule: true }
    }
}

/// What was measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Decisions that were timed.
    pub decisions: u64,
    /// Mean nanoseconds of a decision.
    pub mean_ns: f64,
    /// Median over batches of 64 decisions, in nanoseconds per decision.
    pub p50_ns: f64,
    /// Of 1,000 batches the slowest but one, in nanoseconds per decision.
    pub p999_ns: f64,
    /// Calls that go forward.
    pub forwarded: u64,
    /// Calls that wait for people.
    pub pending: u64,
    /// Calls that are refused.
    pub denied: u64,
    /// By [`policy_lang::RuleId`].
    pub rules: Vec<RuleReport>,
}

/// What was measured of one rule.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuleReport {
    /// Its name.
    pub name: String,
    /// Calls for which it held.
    pub fired: u64,
    /// Calls for which it could not be judged.
    pub errors: u64,
    /// Nanoseconds of the reference interpreter for its condition alone, mean over the calls: comparable between rules, and an
    /// upper bound of what it costs natively. `None` unless asked for.
    pub ns: Option<f64>,
}

/// Judges the calls again and again. `clock` is read a few times per 64 decisions; it must not go back.
///
/// The identity part of each call's facts is made once, as where tokens are remembered; the rest is made in every decision.
///
/// ```
/// use policy_compiler::{bench, compile};
/// use policy_lang::{Facts, Source, load_sources};
/// use std::time::Instant;
///
/// let text = "policy \"example\" version 1\nrule all.pass { allow }".to_owned();
/// let loaded = load_sources(vec![Source { name: "example.policy".to_owned(), text }]).unwrap();
/// let start = Instant::now();
/// let report = bench::measure(&compile(loaded.program), &[Facts::empty()], bench::Options::default(), || start.elapsed());
/// assert_eq!((report.forwarded, report.rules[0].fired), (1, 1));
/// ```
pub fn measure(
    policy: &CompiledPolicy,
    calls: &[Facts<'_>],
    options: Options,
    mut clock: impl FnMut() -> Duration,
) -> Report {
    let mut report = count(policy, calls);
    if calls.is_empty() {
        return report;
    }
    let callers: Vec<IdentityFacts> = calls.iter().map(|facts| policy.identity_facts(facts)).collect();
    let calls_with_callers: Vec<(&Facts<'_>, &IdentityFacts)> = calls.iter().zip(&callers).collect();
    let mut batches = Vec::new();
    for round in 0..=options.rounds {
        for batch in calls_with_callers.chunks(BATCH) {
            let start = clock();
            for (facts, caller) in batch {
                black_box(policy.decide_for(caller, facts));
            }
            let taken = clock().saturating_sub(start);
            if round > 0 {
                report.decisions += batch.len() as u64;
                batches.push(taken.as_nanos() as f64 / batch.len() as f64);
            }
        }
    }
    batches.sort_unstable_by(f64::total_cmp);
    report.mean_ns = batches.iter().sum::<f64>() / batches.len().max(1) as f64;
    report.p50_ns = quantile(&batches, 0.5);
    report.p999_ns = quantile(&batches, 0.999);
    if options.per_rule {
        time_rules(policy, calls, &mut report, &mut clock);
    }
    report
}

/// Verdicts, and how often each rule held.
fn count(policy: &CompiledPolicy, calls: &[Facts<'_>]) -> Report {
    let rules = policy.program().rules.iter();
    let rules = rules.map(|rule| RuleReport { name: rule.name.clone(), ..RuleReport::default() }).collect();
    let mut report = Report { rules, ..Report::default() };
    for facts in calls {
        match policy.decide(facts).verdict {
            Verdict::Forward => report.forwarded += 1,
            Verdict::Pending(_) => report.pending += 1,
            Verdict::Deny(_) => report.denied += 1,
        }
        for (rule, truth) in report.rules.iter_mut().zip(policy.trace(facts).truths) {
            match truth {
                Truth::False => {}
                Truth::Error => rule.errors += 1,
                Truth::True => rule.fired += 1,
            }
        }
    }
    report
}

fn time_rules(policy: &CompiledPolicy, calls: &[Facts<'_>], report: &mut Report, clock: &mut impl FnMut() -> Duration) {
    // Spread over all calls, so that no kind of call is left out.
    let step = calls.len().div_ceil(RULE_CALLS_MAX).max(1);
    let sample: Vec<_> = calls.iter().step_by(step).collect();
    let program = policy.program();
    for (rule, measured) in program.rules.iter().zip(&mut report.rules) {
        let start = clock();
        for facts in &sample {
            black_box(judge_rule(program, rule, facts));
        }
        let taken = clock().saturating_sub(start);
        measured.ns = Some(taken.as_nanos() as f64 / sample.len() as f64);
    }
}

fn judge_rule(program: &Program, rule: &Rule, facts: &Facts<'_>) -> Truth {
    let mut atom = |id: AtomId| program.atoms.get(id.0 as usize).map_or(Truth::Error, |atom| eval_atom(atom, facts));
    eval_condition(&rule.condition, &mut atom)
}

/// Of sorted values.
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = (sorted.len() as f64 * share) as usize;
    sorted.get(place.min(sorted.len().saturating_sub(1))).copied().unwrap_or_default()
}
