//! What native code asks back for: at most once per call, never unwinding, and from inside another decision too.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::{CompiledPolicy, Engine, compile};
use policy_lang::{
    Atom, AtomId, Condition, Effect, Facts, HeaderView, Nothing, Program, Rule, TextEngine, TextTest, Truth,
};
use std::cell::Cell;
use std::sync::Arc;

/// Counts how often it is read.
struct Counting(Cell<u32>);

impl HeaderView for Counting {
    fn get(&self, _name: &str) -> Option<&str> {
        self.0.set(self.0.get() + 1);
        Some("ml")
    }
}

struct Panicking;

impl HeaderView for Panicking {
    fn get(&self, _name: &str) -> Option<&str> {
        panic!("a view that panics")
    }
}

/// Judges another policy in the middle of a decision.
struct Nested<'a>(&'a CompiledPolicy);

impl TextEngine for Nested<'_> {
    fn test(&self, _test: &TextTest, _text: &str) -> Option<bool> {
        let truths = self.0.trace(&facts(&Counting(Cell::new(0)), &Nothing)).truths;
        Some(truths.iter().all(|truth| *truth == Truth::True))
    }
}

#[test]
fn an_atom_is_judged_once_however_many_rules_read_it() {
    let policy = policy(vec![header()], 200);
    let counting = Counting(Cell::new(0));
    let truths = policy.trace(&facts(&counting, &Nothing)).truths;
    assert_eq!(truths, vec![Truth::True; 200]);
    assert_eq!(counting.0.get(), 1);
    // The next call asks again.
    let _ = policy.decide(&facts(&counting, &Nothing));
    assert_eq!(counting.0.get(), 2);
}

#[test]
fn an_atom_that_cannot_matter_is_not_judged() {
    let group = Atom::InGroup("nobody".to_owned());
    let atoms = vec![group, header()];
    let both = [1, 0].map(|id| Condition::Atom(AtomId(id)));
    let policy = compiled(atoms, vec![Condition::All(both.to_vec())]);
    let counting = Counting(Cell::new(0));
    let truths = policy.trace(&facts(&counting, &Nothing)).truths;
    assert_eq!(truths, vec![Truth::False]);
    assert_eq!(counting.0.get(), 0);
}

#[test]
fn a_panic_in_a_view_is_an_error_of_the_rule() {
    let policy = policy(vec![header()], 3);
    let truths = policy.trace(&facts(&Panicking, &Nothing)).truths;
    assert_eq!(truths, vec![Truth::Error; 3]);
    // The thread goes on judging.
    let counting = Counting(Cell::new(0));
    let truths = policy.trace(&facts(&counting, &Nothing)).truths;
    assert_eq!(truths, vec![Truth::True; 3]);
}

#[test]
fn a_decision_inside_a_decision_disturbs_neither() {
    let inner = policy(vec![header()], 100);
    let test = TextTest::Contains("x".to_owned());
    let outer = policy(vec![Atom::Text(test), header()], 100);
    let body = OneText(["x".into()]);
    let counting = Counting(Cell::new(0));
    let nested = Nested(&inner);
    let facts = Facts { body: &body, ..facts(&counting, &nested) };
    assert_eq!(outer.trace(&facts).truths, vec![Truth::True; 100]);
    assert_eq!(counting.0.get(), 1);
}

struct OneText([std::borrow::Cow<'static, str>; 1]);

impl policy_lang::BodyView for OneText {
    fn texts(&self) -> Result<&[std::borrow::Cow<'_, str>], policy_lang::Unreadable> {
        Ok(&self.0)
    }

    fn values(
        &self,
        _path: &policy_lang::JsonPath,
        _visit: &mut dyn FnMut(policy_lang::JsonValue<'_>) -> bool,
    ) -> Result<(), policy_lang::Unreadable> {
        Ok(())
    }
}

fn header() -> Atom {
    Atom::HeaderPresent("x-team".to_owned())
}

/// So many rules, each true when every atom is.
fn policy(atoms: Vec<Atom>, rules: usize) -> CompiledPolicy {
    let ids = 0..u32::try_from(atoms.len()).unwrap();
    let all = Condition::All(ids.map(|id| Condition::Atom(AtomId(id))).collect());
    compiled(atoms, vec![all; rules])
}

fn compiled(atoms: Vec<Atom>, conditions: Vec<Condition>) -> CompiledPolicy {
    let rule = |(number, condition)| Rule {
        name: format!("rule.{number:03}"),
        shadow: false,
        condition,
        effects: vec![Effect::Allow],
        ..Rule::default()
    };
    let policy = compile(Arc::new(Program {
        name: "callback".to_owned(),
        version: 1,
        digest: "00".to_owned(),
        rules: conditions.into_iter().enumerate().map(rule).collect(),
        atoms,
        ..Program::default()
    }));
    assert_eq!(policy.engine(), &Engine::Native);
    policy
}

fn facts<'a>(headers: &'a dyn HeaderView, text_engine: &'a dyn TextEngine) -> Facts<'a> {
    Facts { headers, text_engine, ..Facts::empty() }
}
