//! The reference interpreter: the executable meaning of a program. Plain code; the native code is compared against it.

use crate::decision::{Decision, Trace, Truth, conclude, conclude_response};
use crate::facts::{BodyView, ClaimView, Facts, JsonValue, Unreadable};
use crate::glob::glob_match;
use crate::program::{
    Atom, AtomId, Claim, ClaimTest, ClaimValue, CompareOp, Condition, Effect, JsonPath, JsonTest, Phase, Program, Rule,
    StrSet, TextTest,
};
use crate::schema::IntField;
use std::cell::Cell;

/// Judges one call before it goes in.
#[must_use]
pub fn interpret(program: &Program, facts: &Facts<'_>) -> Decision {
    let facts = with_risk(program, facts);
    conclude(program, &trace(program, &facts, Phase::Request), &facts)
}

/// Judges the answer: response-phase rules alone.
#[must_use]
pub fn interpret_response(program: &Program, facts: &Facts<'_>) -> Decision {
    let facts = with_risk(program, facts);
    conclude_response(program, &trace(program, &facts, Phase::Response), &facts)
}

/// How every rule of the phase came out, shadow rules included; rules of the other phase are false. Each atom is judged at most once,
/// and only when a rule still depends on it. `request.risk` is read from the facts: see [`with_risk`].
#[must_use]
pub fn trace(program: &Program, facts: &Facts<'_>, phase: Phase) -> Trace {
    let judge = Judge::new(program, facts);
    let truth = |rule: &Rule| match rule.phase == phase {
        true => judge.condition(&rule.condition),
        false => Truth::False,
    };
    Trace { truths: program.rules.iter().map(truth).collect() }
}

/// The facts with `request.risk`: the points of all enforced risk rules that hold (DECISIONS 13). A risk rule that cannot be judged adds
/// nothing here and denies the call by itself.
#[must_use]
pub fn with_risk<'a>(program: &Program, facts: &Facts<'a>) -> Facts<'a> {
    let mut facts = *facts;
    let judge = Judge::new(program, &facts);
    let mut sum = 0_i64;
    for rule in program.rules.iter().filter(|rule| !rule.shadow) {
        let points = rule.effects.iter().map(|effect| match effect {
            Effect::Risk { points, .. } => i64::from(*points),
            _ => 0,
        });
        let points: i64 = points.sum();
        if points > 0 && judge.condition(&rule.condition) == Truth::True {
            sum = sum.saturating_add(points);
        }
    }
    facts.ints[IntField::Risk as usize] = Some(sum);
    facts
}

struct Judge<'a> {
    program: &'a Program,
    facts: &'a Facts<'a>,
    known: Vec<Cell<Option<Truth>>>,
}

impl<'a> Judge<'a> {
    fn new(program: &'a Program, facts: &'a Facts<'a>) -> Self {
        Self { program, facts, known: vec![Cell::new(None); program.atoms.len()] }
    }

    fn condition(&self, condition: &Condition) -> Truth {
        eval_condition(condition, &mut |id| self.atom(id))
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

/// The meaning of a condition, given that of its atoms: strong Kleene logic over false < error < true. It stops early where that
/// cannot change a minimum or a maximum, so `atom` is asked only for what a part still depends on.
pub fn eval_condition(condition: &Condition, atom: &mut dyn FnMut(AtomId) -> Truth) -> Truth {
    match condition {
        Condition::Const(value) => truth(*value),
        Condition::Atom(id) => atom(*id),
        Condition::Not(inner) => not(eval_condition(inner, atom)),
        Condition::All(parts) => {
            let mut all = Truth::True;
            for part in parts {
                all = all.min(eval_condition(part, atom));
                if all == Truth::False {
                    break;
                }
            }
            all
        }
        Condition::Any(parts) => {
            let mut any = Truth::False;
            for part in parts {
                any = any.max(eval_condition(part, atom));
                if any == Truth::True {
                    break;
                }
            }
            any
        }
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
        Atom::IntPresent(field) => truth(facts.int(*field).is_some()),
        Atom::Bool(field) => facts.bools.get(*field as usize).copied().flatten().map_or(Truth::Error, truth),
        Atom::HeaderPresent(name) => truth(facts.headers.get(name).is_some()),
        Atom::HeaderIn { name, set } => truth(facts.headers.get(name).is_some_and(|text| set.contains(text))),
        Atom::ToolIn(set) => eval_tools(set, facts.body),
        Atom::Claim { claim, test } => eval_claim(claim, test, facts.claims),
        Atom::ClaimPresent(key) => facts.claims.claim(key).map_or(Truth::Error, |value| truth(value.is_some())),
        Atom::EnvIn { name, set } => facts.env.env(name).map_or(Truth::Error, |text| truth(set.contains(text))),
        Atom::Text(test) => eval_texts(test, facts.body, facts),
        Atom::JsonPresent(path) => eval_present(path, facts.body),
        Atom::Json { path, test } => eval_json(path, test, facts.body, facts),
        Atom::ResponseText(test) => facts.response.map_or(Truth::Error, |body| eval_texts(test, body, facts)),
        Atom::ResponseJsonPresent(path) => facts.response.map_or(Truth::Error, |body| eval_present(path, body)),
        Atom::ResponseJson { path, test } => {
            facts.response.map_or(Truth::Error, |body| eval_json(path, test, body, facts))
        }
    }
}

/// True if any channel passes.
fn eval_texts(test: &TextTest, body: &dyn BodyView, facts: &Facts<'_>) -> Truth {
    match body.texts() {
        Ok(texts) => texts.iter().map(|text| eval_text(test, text, facts)).max().unwrap_or(Truth::False),
        Err(_) => Truth::Error,
    }
}

fn eval_tools(set: &StrSet, body: &dyn BodyView) -> Truth {
    let mut found = false;
    let read = body.tools(&mut |name| {
        found = set.contains(name);
        !found
    });
    read.map_or(Truth::Error, |()| truth(found))
}

fn eval_claim(claim: &Claim, test: &ClaimTest, claims: &dyn ClaimView) -> Truth {
    let value = match claims.claim(&claim.key) {
        Ok(found) => found.or_else(|| claim.default.clone()),
        Err(Unreadable) => return Truth::Error,
    };
    match (test, value) {
        (ClaimTest::Bool(wanted), Some(ClaimValue::Bool(found))) => truth(*wanted == found),
        (ClaimTest::Int { op, value }, Some(ClaimValue::Int(found))) => truth(op.holds(&found, value)),
        (ClaimTest::StrIn(set), Some(ClaimValue::Str(found))) => truth(set.contains(&found)),
        (ClaimTest::ListIn(set), Some(ClaimValue::List(found))) => truth(found.iter().any(|entry| set.contains(entry))),
        _ => Truth::Error,
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
fn eval_json(path: &JsonPath, test: &JsonTest, body: &dyn BodyView, facts: &Facts<'_>) -> Truth {
    let mut best: Option<Truth> = None;
    let read = body.values(path, &mut |value| {
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
