//! The `allow` that is nearest to holding, and what is missing for it.

use crate::decision::Truth;
use crate::facts::Facts;
use crate::interpreter::eval_atom;
use crate::program::{Atom, AtomId, Condition, Effect, Phase, Program, RuleId};
use crate::schema::StrField;
use crate::testing::{value, words};

/// What is missing for one rule to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closest {
    /// The rule.
    pub rule: RuleId,
    /// What would have to be otherwise, each in words; all of it.
    pub missing: Vec<String>,
}

impl Closest {
    /// In one line.
    pub(crate) fn words(&self, program: &Program) -> String {
        format!("closest allow: {} — missing {}", words::rule_name(program, self.rule), self.missing.join("; "))
    }
}

/// The nearest of the enforced rules that allow. Each condition is taken for itself: whether two of them can be met together is not
/// asked.
pub(crate) fn closest(program: &Program, facts: &Facts<'_>) -> Option<Closest> {
    let mut best: Option<(u32, Closest)> = None;
    for (index, rule) in program.rules.iter().enumerate() {
        let allows = rule.effects.contains(&Effect::Allow) && rule.phase == Phase::Request && !rule.shadow;
        let Some(steps) = allows.then(|| repair(program, facts, &rule.condition, true)).flatten() else {
            continue;
        };
        let distance = steps.iter().map(|step| step.weight).sum();
        if best.as_ref().is_none_or(|(known, _)| distance < *known) {
            let missing = steps.iter().map(|step| step.words(program, facts)).collect();
            best = Some((distance, Closest { rule: RuleId(u32::try_from(index).ok()?), missing }));
        }
    }
    best.map(|(_, closest)| closest)
}

/// One thing that would have to be otherwise; any of the leaves will do.
struct Step {
    leaves: Vec<(AtomId, bool)>,
    weight: u32,
}

/// The lightest way to make a condition come out as wanted; `None` if there is none.
fn repair(program: &Program, facts: &Facts<'_>, condition: &Condition, wanted: bool) -> Option<Vec<Step>> {
    match condition {
        Condition::Const(value) => (*value == wanted).then(Vec::new),
        Condition::Atom(id) => {
            let atom = program.atoms.get(id.0 as usize)?;
            let met = eval_atom(atom, facts) == if wanted { Truth::True } else { Truth::False };
            Some(if met { Vec::new() } else { vec![Step { leaves: vec![(*id, wanted)], weight: weight(atom) }] })
        }
        Condition::Not(inner) => repair(program, facts, inner, !wanted),
        Condition::All(parts) if wanted => every(program, facts, parts, wanted),
        Condition::Any(parts) if !wanted => every(program, facts, parts, wanted),
        Condition::All(parts) | Condition::Any(parts) => one(program, facts, parts, wanted),
    }
}

fn every(program: &Program, facts: &Facts<'_>, parts: &[Condition], wanted: bool) -> Option<Vec<Step>> {
    let mut steps: Vec<Step> = Vec::new();
    for part in parts {
        for step in repair(program, facts, part, wanted)? {
            if !steps.iter().any(|known| known.leaves == step.leaves) {
                steps.push(step);
            }
        }
    }
    Some(steps)
}

/// The lightest part; where several need one step of the same weight, any of them will do.
fn one(program: &Program, facts: &Facts<'_>, parts: &[Condition], wanted: bool) -> Option<Vec<Step>> {
    let mut best: Option<Vec<Step>> = None;
    for part in parts {
        let Some(steps) = repair(program, facts, part, wanted) else {
            continue;
        };
        let sum = |steps: &[Step]| steps.iter().map(|step| step.weight).sum::<u32>();
        match best.as_deref_mut() {
            Some([known]) if steps.len() == 1 && sum(&steps) == known.weight => {
                known.leaves.extend(steps.into_iter().flat_map(|step| step.leaves));
            }
            Some(known) if sum(&steps) >= sum(known) => {}
            _ => best = Some(steps),
        }
    }
    best
}

/// What the caller wants (model, operation) is farther away than who he is and how he asks.
fn weight(atom: &Atom) -> u32 {
    match atom {
        Atom::StrIn { field, .. } => match field {
            StrField::Model | StrField::Method | StrField::Path | StrField::Endpoint | StrField::Dialect => 4,
            StrField::Host | StrField::Upstream | StrField::Subject | StrField::Issuer | StrField::Kind => 3,
            _ => 1,
        },
        Atom::Text(_) | Atom::Json { .. } | Atom::JsonPresent(_) | Atom::ToolIn(_) => 2,
        _ => 1,
    }
}

impl Step {
    fn words(&self, program: &Program, facts: &Facts<'_>) -> String {
        let atoms = || self.leaves.iter().filter_map(|(id, wanted)| Some((program.atoms.get(id.0 as usize)?, *wanted)));
        let groups: Vec<&str> = atoms()
            .filter_map(|(atom, wanted)| match atom {
                Atom::InGroup(group) if wanted => Some(group.as_str()),
                _ => None,
            })
            .collect();
        if groups.len() == self.leaves.len() {
            return format!("group {}", groups.join(" or "));
        }
        let one = |(atom, wanted): (&Atom, bool)| {
            let found = value::found(atom, facts);
            match (atom, wanted) {
                (Atom::HasScope(scope), true) => format!("scope {scope}"),
                (atom, true) => format!("{} ({found})", words::atom(atom)),
                (atom, false) => format!("not {} ({found})", words::atom(atom)),
            }
        };
        atoms().map(one).collect::<Vec<_>>().join(", or ")
    }
}
