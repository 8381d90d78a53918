//! What the tests of a set showed of its rules: each one holding and not holding, each of its conditions true and false.

use super::run::walk;
use super::words;
use crate::decision::Truth;
use crate::facts::Facts;
use crate::program::{AtomId, Condition, Phase, Program};
use crate::source::Sources;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// What was seen of every rule, in name order.
#[derive(Clone, Debug)]
pub struct Coverage {
    /// One for each rule of the program.
    pub rules: Vec<RuleCoverage>,
}

/// What was seen of one rule.
#[derive(Clone, Debug)]
pub struct RuleCoverage {
    /// Its name.
    pub name: String,
    /// Index into [`Sources::files`], and bytes from its start.
    place: (usize, usize),
    /// How the rule came out.
    pub rule: Seen,
    /// Its leaf conditions from left to right: as text, and how they came out.
    pub conditions: Vec<(String, Seen)>,
}

/// How often something was true, false, and not to be judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Times true.
    pub truths: u32,
    /// Times false.
    pub falses: u32,
    /// Times an error.
    pub errors: u32,
}

impl Seen {
    fn count(&mut self, truth: Truth) {
        match truth {
            Truth::True => self.truths += 1,
            Truth::False => self.falses += 1,
            Truth::Error => self.errors += 1,
        }
    }
}

impl Coverage {
    pub(super) fn new(program: &Program) -> Self {
        let conditions = |condition: &Condition| {
            let mut leaves = Vec::new();
            collect(condition, &mut leaves);
            let text = |id: AtomId| program.atoms.get(id.0 as usize).map(words::atom).unwrap_or_default();
            leaves.into_iter().map(|id| (text(id), Seen::default())).collect()
        };
        let rules = program.rules.iter().map(|rule| RuleCoverage {
            name: rule.name.clone(),
            place: (rule.place.file, rule.place.span.start),
            rule: Seen::default(),
            conditions: conditions(&rule.condition),
        });
        Self { rules: rules.collect() }
    }

    /// Counts one call of one phase.
    pub(super) fn see(&mut self, program: &Program, phase: Phase, facts: &Facts<'_>) {
        for (rule, covered) in program.rules.iter().zip(&mut self.rules) {
            if rule.phase != phase {
                continue;
            }
            let truth = walk(program, &rule.condition, facts, &mut |place, _, truth| {
                if let Some((_, seen)) = covered.conditions.get_mut(place) {
                    seen.count(truth);
                }
            });
            covered.rule.count(truth);
        }
    }

    /// How many rules held in some test, and how many there are.
    #[must_use]
    pub fn rules_held(&self) -> (usize, usize) {
        (self.rules.iter().filter(|rule| rule.rule.truths > 0).count(), self.rules.len())
    }

    /// How many outcomes of conditions were seen, and how many there could be: each condition has two, true and false.
    #[must_use]
    pub fn outcomes_seen(&self) -> (usize, usize) {
        let conditions = || self.rules.iter().flat_map(|rule| &rule.conditions);
        let seen = conditions().map(|(_, seen)| usize::from(seen.truths > 0) + usize::from(seen.falses > 0)).sum();
        (seen, 2 * conditions().count())
    }

    /// As people read it: the sums, then what is missing.
    #[must_use]
    pub fn to_text(&self, sources: &Sources) -> String {
        let (held, rules) = self.rules_held();
        let (seen, outcomes) = self.outcomes_seen();
        let mut out = format!(
            "rules that held in some test       {}\nconditions seen both true and false {}\n",
            ratio(held, rules),
            ratio(seen, outcomes)
        );
        for rule in &self.rules {
            let gaps: Vec<String> = rule.gaps().collect();
            if gaps.is_empty() {
                continue;
            }
            let (line, _) = sources.position(rule.place.0, rule.place.1);
            let _ = writeln!(out, "\n{}  {}:{line}", rule.name, sources.display_name(rule.place.0));
            for gap in gaps {
                let _ = writeln!(out, "    {gap}");
            }
        }
        out
    }

    /// For machines: the sums, and every rule with every condition.
    #[must_use]
    pub fn to_json(&self, sources: &Sources) -> Value {
        let (held, rules) = self.rules_held();
        let (seen, outcomes) = self.outcomes_seen();
        let counts = |seen: &Seen| json!({ "true": seen.truths, "false": seen.falses, "error": seen.errors });
        let rule = |rule: &RuleCoverage| {
            let conditions: Vec<Value> =
                rule.conditions.iter().map(|(text, seen)| json!({ "condition": text, "seen": counts(seen) })).collect();
            json!({
                "rule": rule.name,
                "file": sources.display_name(rule.place.0),
                "line": sources.position(rule.place.0, rule.place.1).0,
                "seen": counts(&rule.rule),
                "conditions": conditions,
            })
        };
        json!({
            "rules": { "held": held, "all": rules, "percent": percent(held, rules) },
            "outcomes": { "seen": seen, "all": outcomes, "percent": percent(seen, outcomes) },
            "by_rule": self.rules.iter().map(rule).collect::<Vec<_>>(),
        })
    }
}

impl RuleCoverage {
    fn gaps(&self) -> impl Iterator<Item = String> {
        let rule = (self.rule.truths == 0).then(|| match self.rule.errors {
            0 => "never held".to_owned(),
            _ => "never held; in some test it could not be judged".to_owned(),
        });
        let conditions = self.conditions.iter().filter_map(|(text, seen)| {
            let missing = match (seen.truths, seen.falses) {
                (0, 0) => "never looked at",
                (0, _) => "never true",
                (_, 0) => "never false",
                _ => return None,
            };
            Some(format!("{missing}: {text}"))
        });
        rule.into_iter().chain(conditions)
    }
}

/// Whole percents, rounded down, so that 100 means all; nothing to cover counts as covered.
#[must_use]
pub fn percent(part: usize, whole: usize) -> usize {
    (part * 100).checked_div(whole).unwrap_or(100)
}

fn ratio(part: usize, whole: usize) -> String {
    format!("{:>3} %  ({part} of {whole})", percent(part, whole))
}

fn collect(condition: &Condition, leaves: &mut Vec<AtomId>) {
    match condition {
        Condition::Const(_) => {}
        Condition::Atom(id) => leaves.push(*id),
        Condition::Not(inner) => collect(inner, leaves),
        Condition::All(parts) | Condition::Any(parts) => parts.iter().for_each(|part| collect(part, leaves)),
    }
}
