//! The reference interpreter: the executable meaning of a program. Plain code; the native code is compared against it.

use crate::decision::{Decision, Trace, Truth, conclude};
use crate::facts::{BodyView, Facts, JsonValue};
use crate::glob::glob_match;
use crate::program::{Atom, AtomId, CompareOp, Condition, JsonPath, JsonTest, Program, StrSet, TextTest};
use std::cell::Cell;

/// Judges one call.
#[must_use]
pub fn interpret(program: &Program, facts: &Facts<'_>) -> Decision {
    conclude(program, &trace(program, facts))
}

/// How every rule came out, shadow rules included. Each atom is judged at most once, and only when a rule still depends on it.
#[must_use]
pub fn trace(program: &Program, facts: &Facts<'_>) -> Trace {
    let judge = Judge { program, facts, known: vec![Cell::new(None); program.atoms.len()] };
    Trace { truths: program.rules.iter().map(|rule| judge.condition(&rule.condition)).collect() }
}

struct Judge<'a> {
    program: &'a Program,
    facts: &'a Facts<'a>,
    known: Vec<Cell<Option<Truth>>>,
}

impl Judge<'_> {
    /// Strong Kleene logic over false < error < true: stopping early cannot change a minimum or a maximum.
    fn condition(&self, condition: &Condition) -> Truth {
        match condition {
            Condition::Const(value) => truth(*value),
            Condition::Atom(id) => self.atom(*id),
            Condition::Not(inner) => not(self.condition(inner)),
            Condition::All(parts) => {
                let mut all = Truth::True;
                for part in parts {
                    all = all.min(self.condition(part));
                    if all == Truth::False {
                        break;
                    }
                }
                all
            }
            Condition::Any(parts) => {
                let mut any = Truth::False;
                for part in parts {
                    any = any.max(self.condition(part));
                    if any == Truth::True {
                        break;
                    }
                }
                any
            }
        }
    }

    fn atom(&self, id: AtomId) -> Truth {
        let slot = id.0 as usize;
        let (Some(atom), Some(known)) = (self.program.atoms.get(slot), self.known.get(slot)) else {
            return Truth::Error;
        };
        let value = known.get().unwrap_or_else(|| eval_atom(atom, self.facts));
        known.set(Some(value));
        value
    }
}

/// The meaning of one leaf condition.
#[must_use]
pub fn eval_atom(atom: &Atom, facts: &Facts<'_>) -> Truth {
    match atom {
        Atom::StrIn { field, set } => {
            let text = facts.strings.get(*field as usize).copied().unwrap_or("");
            // What is absent reads "" and is in no set, not even in { ~"*" }.
            truth(!text.is_empty() && set.contains(text))
        }
        Atom::InGroup(group) => truth(facts.groups.contains(group)),
        Atom::HasScope(scope) => truth(facts.scopes.contains(scope)),
        Atom::IpIn(nets) => facts.ip.map_or(Truth::Error, |ip| {
            // An IPv4 caller on a dual-stack listener shows as ::ffff:a.b.c.d and is meant by a.b.c.d.
            let ip = ip.to_canonical();
            truth(nets.iter().any(|net| net.contains(&ip)))
        }),
        Atom::Int { field, op, value } => facts
            .ints
            .get(*field as usize)
            .copied()
            .flatten()
            .map_or(Truth::Error, |found| truth(op.holds(&found, value))),
        Atom::Bool(field) => facts.bools.get(*field as usize).copied().flatten().map_or(Truth::Error, truth),
        Atom::HeaderPresent(name) => truth(facts.headers.get(name).is_some()),
        Atom::HeaderIn { name, set } => truth(facts.headers.get(name).is_some_and(|text| set.contains(text))),
        Atom::Text(test) => match facts.body.texts() {
            Ok(texts) => texts.iter().map(|text| eval_text(test, text, facts)).max().unwrap_or(Truth::False),
            Err(_) => Truth::Error,
        },
        Atom::JsonPresent(path) => eval_present(path, facts.body),
        Atom::Json { path, test } => eval_json(path, test, facts),
    }
}

fn eval_text(test: &TextTest, text: &str, facts: &Facts<'_>) -> Truth {
    facts.text_engine.test(test, text).map_or(Truth::Error, truth)
}

fn eval_present(path: &JsonPath, body: &dyn BodyView) -> Truth {
    let mut present = false;
    let read = body.values(path, &mut |_| {
        present = true;
        false
    });
    match read {
        Ok(()) => truth(present),
        Err(_) => Truth::Error,
    }
}

/// True if any value passes; otherwise an error if there was none or one had the wrong type.
fn eval_json(path: &JsonPath, test: &JsonTest, facts: &Facts<'_>) -> Truth {
    let mut best: Option<Truth> = None;
    let read = facts.body.values(path, &mut |value| {
        best = best.max(Some(eval_value(test, &value, facts)));
        best != Some(Truth::True)
    });
    match read {
        Ok(()) => best.unwrap_or(Truth::Error),
        Err(_) => Truth::Error,
    }
}

fn eval_value(test: &JsonTest, value: &JsonValue<'_>, facts: &Facts<'_>) -> Truth {
    match (test, value) {
        (JsonTest::StrIn(set), JsonValue::Str(text)) => truth(set.contains(text)),
        (JsonTest::Text(test), JsonValue::Str(text)) => eval_text(test, text, facts),
        (JsonTest::Bool(wanted), JsonValue::Bool(found)) => truth(wanted == found),
        // Literals in policies are at most 2^53 away from zero, so the conversion is exact.
        (JsonTest::Int { op, value }, JsonValue::Number(found)) => truth(op.holds(found, &(*value as f64))),
        _ => Truth::Error,
    }
}

impl StrSet {
    /// Whether the text equals a literal or matches a glob.
    #[must_use]
    pub fn contains(&self, text: &str) -> bool {
        self.literals.iter().any(|literal| literal == text) || self.globs.iter().any(|glob| glob_match(glob, text))
    }
}

impl CompareOp {
    /// Whether `left op right`.
    pub fn holds<T: PartialOrd>(self, left: &T, right: &T) -> bool {
        match self {
            Self::Eq => left == right,
            Self::Lt => left < right,
            Self::Le => left <= right,
            Self::Gt => left > right,
            Self::Ge => left >= right,
        }
    }
}

fn truth(value: bool) -> Truth {
    if value { Truth::True } else { Truth::False }
}

fn not(value: Truth) -> Truth {
    match value {
        Truth::False => Truth::True,
        Truth::Error => Truth::Error,
        Truth::True => Truth::False,
    }
}
