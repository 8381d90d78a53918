//! Runs the tests of a set: every expectation is judged, and what was found instead is said.

use super::call::Call;
use super::coverage::Coverage;
use super::host::Host;
use super::judge::{Outcome, judge, shown};
use super::{value, words};
use crate::decision::{Reason, ReasonKind, Truth, Verdict};
use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::explain;
use crate::facts::Facts;
use crate::interpreter::eval_atom;
use crate::load::Loaded;
use crate::program::{
    Atom, Condition, Effect, Expect, ExpectKind, ExpectedValue, ExpectedVerdict, PathSegment, Phase, PolicyTest,
    Program, RuleId, Side,
};
use crate::schema::IntField;
use serde_json::Value;
use std::collections::BTreeSet;

/// What came of the tests of a set.
#[derive(Clone, Debug)]
pub struct TestReport {
    /// One for each test that was run, in file order.
    pub results: Vec<TestResult>,
    /// What they showed of the rules.
    pub coverage: Coverage,
}

/// What came of one test.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// The test.
    pub name: String,
    /// Where it stands: index into [`crate::Sources::files`], and line.
    pub file: usize,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong; none when it passed.
    pub failure: Option<Diagnostic>,
    /// Rules that held, shadow rules included.
    pub fired: Vec<RuleId>,
}

impl TestReport {
    /// Whether every test passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.results.iter().all(|result| result.failure.is_none())
    }

    /// How many passed, and how many failed.
    #[must_use]
    pub fn counts(&self) -> (usize, usize) {
        let failed = self.results.iter().filter(|result| result.failure.is_some()).count();
        (self.results.len() - failed, failed)
    }
}

/// Runs every test of a set whose name contains `filter`.
#[must_use]
pub fn run_tests(loaded: &Loaded, host: &dyn Host, filter: &str) -> TestReport {
    let program = &*loaded.program;
    let mut coverage = Coverage::new(program);
    let chosen = program.tests.iter().filter(|test| test.name.contains(filter));
    let results = chosen.map(|test| run(loaded, host, test, &mut coverage)).collect();
    TestReport { results, coverage }
}

fn run(loaded: &Loaded, host: &dyn Host, test: &PolicyTest, coverage: &mut Coverage) -> TestResult {
    let program = &*loaded.program;
    let (line, _) = loaded.sources.position(test.place.file, test.place.span.start);
    let mut result =
        TestResult { name: test.name.clone(), file: test.place.file, line, failure: None, fired: Vec::new() };
    let call = match Call::new(&test.given) {
        Ok(call) => call,
        Err(error) => {
            result.failure = Some(failure(&test.name, "cannot be run", vec![label(test, error.to_string())], None));
            return result;
        }
    };
    let (mut unjudged, mut closest) = (Vec::new(), None);
    let outcome = judge(program, host, &call, &mut |phase, facts| {
        coverage.see(program, phase, facts);
        unjudged.extend(errors(program, phase, facts));
        if phase == Phase::Request {
            closest = explain::closest(program, facts);
        }
    });
    result.fired = fired(&outcome);
    let mut labels = Vec::new();
    for expect in &test.expects {
        if let Err(found) = meets(program, &outcome, expect) {
            labels.push(Label { file: expect.place.file, span: expect.place.span.clone(), text: found });
        }
    }
    if !labels.is_empty() {
        let what = match (labels.len(), test.expects.len()) {
            (1, 1) => "failed".to_owned(),
            (wrong, all) => format!("failed: {wrong} of {all} expectations are not met"),
        };
        let not_allowed = |reason: &Reason| reason.kind == ReasonKind::NotAllowed;
        if outcome.decisions().flat_map(|decision| &decision.reasons).any(not_allowed) {
            unjudged.extend(closest.map(|closest| closest.words(program)));
        }
        result.failure = Some(failure(&test.name, &what, labels, Some(background(program, &outcome, &unjudged))));
    }
    result
}

fn failure(name: &str, what: &str, labels: Vec<Label>, note: Option<String>) -> Diagnostic {
    Diagnostic {
        code: "test",
        severity: Severity::Error,
        message: format!("the test \"{name}\" {what}"),
        labels,
        note,
        help: None,
        witness: None,
        patch: None,
    }
}

fn label(test: &PolicyTest, text: String) -> Label {
    Label { file: test.place.file, span: test.place.span.clone(), text }
}

/// Rules that held in either phase, shadow rules included, by id.
fn fired(outcome: &Outcome) -> Vec<RuleId> {
    let all: BTreeSet<RuleId> =
        outcome.decisions().flat_map(|decision| decision.fired.iter().chain(&decision.shadow_fired)).copied().collect();
    all.into_iter().collect()
}

/// What a reader needs to see why: the verdict, the rules behind it, and what else there is to say.
fn background(program: &Program, outcome: &Outcome, more: &[String]) -> String {
    let mut text = words::verdict(program, outcome);
    let held = fired(outcome);
    text += &match held.is_empty() {
        true => "; no rule held".to_owned(),
        false => {
            let names: Vec<&str> = held.iter().map(|rule| words::rule_name(program, *rule)).collect();
            format!("; rules that held: {}", names.join(", "))
        }
    };
    for line in more {
        text += "\n";
        text += line;
    }
    text
}

/// For every rule of the phase that could not be judged: which of its tests failed to be one.
fn errors(program: &Program, phase: Phase, facts: &Facts<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for rule in program.rules.iter().filter(|rule| rule.phase == phase) {
        let mut found = Vec::new();
        if walk(program, &rule.condition, facts, &mut |_, atom, truth| {
            if truth == Truth::Error {
                let give = given_by(atom).map_or_else(String::new, |part| format!(": give it with `{part}`"));
                found.push(format!("`{}`, because {}{give}", words::atom(atom), value::found(atom, facts)));
            }
        }) == Truth::Error
        {
            lines.push(format!("`{}` could not be judged: {}", rule.name, found.join("; ")));
        }
    }
    lines
}

/// The part of a test that makes known what this leaf did not know.
fn given_by(atom: &Atom) -> Option<&'static str> {
    match atom {
        Atom::Int { field: IntField::Hour, .. } => Some("given time { \"hour\": 9 }"),
        Atom::Int { field: IntField::Date, .. } => Some("given time { \"date\": \"2027-03-31\" }"),
        Atom::IpIn(_) => Some("given request { \"ip\": \"10.1.2.3\" }"),
        Atom::EnvIn { .. } => Some("given env { … }"),
        _ => None,
    }
}

/// Judges a condition from left to right, as a reader would: what cannot matter any more is not looked at. `see` gets every leaf that
/// was, by its place among the leaves of the condition.
pub(super) fn walk(
    program: &Program,
    condition: &Condition,
    facts: &Facts<'_>,
    see: &mut dyn FnMut(usize, &Atom, Truth),
) -> Truth {
    let mut place = 0;
    Walk { program, facts, see }.condition(condition, true, &mut place)
}

struct Walk<'w> {
    program: &'w Program,
    facts: &'w Facts<'w>,
    see: &'w mut dyn FnMut(usize, &Atom, Truth),
}

impl Walk<'_> {
    fn condition(&mut self, condition: &Condition, live: bool, place: &mut usize) -> Truth {
        match condition {
            Condition::Const(true) => Truth::True,
            Condition::Const(false) => Truth::False,
            Condition::Atom(id) => {
                let mine = *place;
                *place += 1;
                let Some(atom) = self.program.atoms.get(id.0 as usize).filter(|_| live) else {
                    return Truth::Error;
                };
                let truth = eval_atom(atom, self.facts);
                (self.see)(mine, atom, truth);
                truth
            }
            Condition::Not(inner) => match self.condition(inner, live, place) {
                Truth::True => Truth::False,
                Truth::False => Truth::True,
                Truth::Error => Truth::Error,
            },
            Condition::All(parts) => {
                let mut all = Truth::True;
                for part in parts {
                    let truth = self.condition(part, live && all != Truth::False, place);
                    if all != Truth::False {
                        all = all.min(truth);
                    }
                }
                all
            }
            Condition::Any(parts) => {
                let mut any = Truth::False;
                for part in parts {
                    let truth = self.condition(part, live && any != Truth::True, place);
                    if any != Truth::True {
                        any = any.max(truth);
                    }
                }
                any
            }
        }
    }
}

/// What was found instead, if the expectation is not met.
fn meets(program: &Program, outcome: &Outcome, expect: &Expect) -> Result<(), String> {
    match &expect.kind {
        ExpectKind::Verdict { verdict, by, status } => meets_verdict(program, outcome, *verdict, *by, *status),
        ExpectKind::Fires { rule, wanted } => {
            let found = fired(outcome).contains(rule);
            match (found == *wanted, found) {
                (true, _) => Ok(()),
                (false, true) => Err("found: it holds".to_owned()),
                (false, false) => Err("found: it does not hold".to_owned()),
            }
        }
        ExpectKind::Value { record, side, path, wanted } => {
            let bodies = &outcome.bodies;
            let body = match (record, side) {
                (false, Side::Request) => &bodies.request,
                (false, Side::Response) => &bodies.response,
                (true, Side::Request) => &bodies.recorded_request,
                (true, Side::Response) => &bodies.recorded_response,
            };
            meets_value(outcome, *record, body.as_deref(), &path.segments, wanted)
        }
    }
}

fn meets_verdict(
    program: &Program,
    outcome: &Outcome,
    wanted: ExpectedVerdict,
    by: Option<RuleId>,
    status: Option<u16>,
) -> Result<(), String> {
    let found = match &outcome.verdict {
        Verdict::Forward => ExpectedVerdict::Allow,
        Verdict::Pending(_) => ExpectedVerdict::Pending,
        Verdict::Deny(_) => ExpectedVerdict::Deny,
    };
    if found != wanted {
        return Err(format!("found: {}", words::verdict(program, outcome)));
    }
    if let (Some(wanted), Verdict::Deny(denial)) = (status, &outcome.verdict)
        && denial.status != wanted
    {
        return Err(format!("found: the status is {}", denial.status));
    }
    let Some(by) = by else {
        return Ok(());
    };
    let part_of = |effect: &Effect| match wanted {
        ExpectedVerdict::Allow => *effect == Effect::Allow,
        ExpectedVerdict::Pending => matches!(effect, Effect::RequireApproval(_) | Effect::RequireGrant(_)),
        ExpectedVerdict::Deny => false,
    };
    let led_there = match wanted {
        ExpectedVerdict::Deny => {
            outcome.decisions().flat_map(|decision| &decision.reasons).any(|reason| reason.rule == Some(by))
        }
        _ => {
            let effects = program.rules.get(by.0 as usize).map(|rule| rule.effects.as_slice()).unwrap_or_default();
            outcome.decisions().any(|decision| decision.fired.contains(&by)) && effects.iter().any(part_of)
        }
    };
    match led_there {
        true => Ok(()),
        false => Err(format!("found: {}", words::verdict(program, outcome))),
    }
}

fn meets_value(
    outcome: &Outcome,
    record: bool,
    body: Option<&[u8]>,
    path: &[PathSegment],
    wanted: &ExpectedValue,
) -> Result<(), String> {
    let Some(body) = body else {
        let denied = matches!(outcome.verdict, Verdict::Deny(_));
        return match (denied, record, wanted) {
            (true, ..) => Err("found: the call is refused, so nothing goes on".to_owned()),
            // `record at most metadata`: nothing is there, which may be what is wanted.
            (false, true, ExpectedValue::Absent) => Ok(()),
            (false, true, _) => Err("found: no payload is recorded".to_owned()),
            (false, false, _) => Err("found: there is no such body".to_owned()),
        };
    };
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return Err(format!("found: a body that is no JSON: {}", shown(body).chars().take(80).collect::<String>()));
    };
    let mut values = Vec::new();
    select(&json, path, &mut values);
    let listed = || values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    match wanted {
        ExpectedValue::Present if values.is_empty() => Err("found: nothing is there".to_owned()),
        ExpectedValue::Absent if !values.is_empty() => Err(format!("found: {}", listed())),
        ExpectedValue::Equal(_) if values.is_empty() => Err("found: nothing is there".to_owned()),
        ExpectedValue::Equal(wanted) if !values.iter().all(|found| equal(found, wanted)) => {
            Err(format!("found: {}", listed()))
        }
        _ => Ok(()),
    }
}

fn select<'v>(value: &'v Value, path: &[PathSegment], found: &mut Vec<&'v Value>) {
    let Some((first, rest)) = path.split_first() else {
        found.push(value);
        return;
    };
    match (first, value) {
        (PathSegment::Key(key), Value::Object(members)) => {
            if let Some(member) = members.get(key) {
                select(member, rest, found);
            }
        }
        (PathSegment::Index(index), Value::Array(elements)) => {
            if let Some(element) = elements.get(*index as usize) {
                select(element, rest, found);
            }
        }
        (PathSegment::Wildcard, Value::Array(elements)) => {
            elements.iter().for_each(|element| select(element, rest, found));
        }
        (PathSegment::Wildcard, Value::Object(members)) => {
            members.values().for_each(|member| select(member, rest, found));
        }
        _ => {}
    }
}

/// 1 and 1.0 are one number.
fn equal(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| equal(a, b)))
        }
        _ => one == other,
    }
}
