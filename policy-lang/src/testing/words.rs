//! Decisions in words.

use super::judge::Outcome;
use crate::decision::{Decision, Reason, ReasonKind, Verdict};
use crate::program::{Atom, Condition, Effect, Program, RuleId};

/// A leaf condition as a policy would write it.
pub(crate) fn atom(atom: &Atom) -> String {
    as_written(&atom.to_string())
}

/// A condition over its atoms; empty where it always holds.
pub(crate) fn condition(condition: &Condition, atoms: &[Atom]) -> String {
    match condition {
        Condition::Const(true) => String::new(),
        condition => as_written(&condition.display(atoms).to_string()),
    }
}

/// An effect as a policy would write it.
pub(crate) fn effect(effect: &Effect) -> String {
    as_written(&effect.to_string())
}

/// Expressions are kept with ASCII word boundaries spelt out; people write and read `\b`.
fn as_written(text: &str) -> String {
    text.replace(r"(?-u:\b)", r"\b").replace(r"(?-u:\B)", r"\B")
}

pub(crate) fn rule_name(program: &Program, rule: RuleId) -> &str {
    program.rules.get(rule.0 as usize).map_or("?", |rule| rule.name.as_str())
}

/// What happens to the call, and by whose word.
pub(crate) fn verdict(program: &Program, outcome: &Outcome) -> String {
    match &outcome.verdict {
        Verdict::Forward => {
            let by = outcome.decisions().flat_map(|decision| responsible(program, decision, &|e| *e == Effect::Allow));
            format!("allowed by {}", by.collect::<Vec<_>>().join(", "))
        }
        Verdict::Pending(_) => {
            let asks = |effect: &Effect| matches!(effect, Effect::RequireApproval(_) | Effect::RequireGrant(_));
            let by = outcome.decisions().flat_map(|decision| responsible(program, decision, &asks));
            format!("pending because of {}", by.collect::<Vec<_>>().join(", "))
        }
        Verdict::Deny(denial) => match &outcome.refused {
            Some(why) => format!("refused with status {} whatever the rules say: {why}", denial.status),
            None => {
                let reasons: Vec<String> = outcome
                    .decisions()
                    .flat_map(|decision| &decision.reasons)
                    .map(|reason| self::reason(program, reason))
                    .collect();
                format!("denied with status {}: {}", denial.status, reasons.join("; "))
            }
        },
    }
}

/// One thing that stood against a call.
pub(crate) fn reason(program: &Program, reason: &Reason) -> String {
    let rule = reason.rule.map_or("", |rule| rule_name(program, rule));
    match reason.kind {
        ReasonKind::Denied => format!("{rule} denies"),
        ReasonKind::Unjudged => format!("{rule} could not be judged"),
        ReasonKind::NotAllowed => "no rule allows it".to_owned(),
        ReasonKind::Purpose => format!("{rule} asks for a purpose that was not declared"),
        ReasonKind::Limit => format!("{rule} bounds a number that is over it"),
    }
}

fn responsible<'p>(program: &'p Program, decision: &Decision, wanted: &dyn Fn(&Effect) -> bool) -> Vec<&'p str> {
    let held = decision.fired.iter().filter_map(|rule| program.rules.get(rule.0 as usize));
    held.filter(|rule| rule.effects.iter().any(wanted)).map(|rule| rule.name.as_str()).collect()
}
