//! A whole program as one file.

use super::effects::write_effect;
use super::values::{json, quoted, regex};
use super::{ClaimNames, Place, write_condition};
use crate::program::{
    Atom, Claim, ClaimTest, Condition, CustomDetector, Effect, InvariantKind, JsonTest, LimitKey, Matcher, PolicyTest,
    Program, Rule, TextTest,
};
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// The program as the text of one policy file: with every name put in its place, rules sorted by name, without comments.
///
/// Loading the text gives an equal program, places and digest apart, as long as a claim or detector of one name means one thing in the
/// whole set (files may otherwise differ in what they call by a name).
#[must_use]
pub fn print(program: &Program) -> String {
    fmt::from_fn(|f| write_program(f, program)).to_string()
}

fn write_program(f: &mut fmt::Formatter<'_>, program: &Program) -> fmt::Result {
    let mut names = Names::default();
    names.collect(program);
    write_docs(f, &program.docs)?;
    writeln!(f, "policy {} version {}", quoted(&program.name), program.version)?;
    for (name, (key, kind, default)) in &names.claims {
        write!(f, "claim {name} : {kind}")?;
        if key != name {
            write!(f, " from {}", quoted(key))?;
        }
        if let Some(default) = default {
            write!(f, " default {default}")?;
        }
        f.write_char('\n')?;
    }
    for (name, detector) in &names.detectors {
        write!(f, "detector {name} = {}", regex(&detector.regex))?;
        if !detector.near.is_empty() {
            let words: Vec<String> = detector.near.iter().map(|word| quoted(word)).collect();
            write!(f, " near {{ {} }}", words.join(", "))?;
        }
        f.write_char('\n')?;
    }
    for rule in &program.rules {
        write_rule(f, rule, &program.atoms, &names.by_key)?;
    }
    for invariant in &program.invariants.list {
        let promise = match invariant.kind {
            InvariantKind::NeverAllow => "never allow",
            InvariantKind::AlwaysDeny => "always deny",
        };
        write!(f, "invariant {} {{ {promise} when ", quoted(&invariant.name))?;
        write_condition(f, &invariant.condition, &program.invariants.atoms, &names.by_key, Place::Top)?;
        f.write_str(" }\n")?;
    }
    program.tests.iter().try_for_each(|test| write_test(f, test, &program.rules))
}

impl Rule {
    /// The rule over its program's atoms, as a policy would write it.
    pub fn display<'a>(&'a self, atoms: &'a [Atom]) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| write_rule(f, self, atoms, &ClaimNames::new()))
    }
}

fn write_rule(f: &mut fmt::Formatter<'_>, rule: &Rule, atoms: &[Atom], claims: &ClaimNames) -> fmt::Result {
    write_docs(f, &rule.docs)?;
    writeln!(f, "rule {}{} {{", rule.name, if rule.shadow { " shadow" } else { "" })?;
    if rule.condition != Condition::Const(true) {
        f.write_str("    when ")?;
        write_condition(f, &rule.condition, atoms, claims, Place::Top)?;
        f.write_char('\n')?;
    }
    for effect in &rule.effects {
        f.write_str("    ")?;
        write_effect(f, effect, claims)?;
        f.write_char('\n')?;
    }
    f.write_str("}\n")
}

fn write_docs(f: &mut fmt::Formatter<'_>, docs: &str) -> fmt::Result {
    if docs.is_empty() {
        return Ok(());
    }
    docs.split('\n').try_for_each(|line| match line.is_empty() {
        true => f.write_str("///\n"),
        false => writeln!(f, "/// {line}"),
    })
}

fn write_test(f: &mut fmt::Formatter<'_>, test: &PolicyTest, rules: &[Rule]) -> fmt::Result {
    writeln!(f, "test {} {{", quoted(&test.name))?;
    let given = &test.given;
    let parts = [
        ("identity", Some(&given.identity).filter(|members| !members.is_empty())),
        ("request", Some(&given.request).filter(|members| !members.is_empty())),
        ("response", given.response.as_ref()),
        ("time", Some(&given.time).filter(|members| !members.is_empty())),
        ("env", Some(&given.env).filter(|members| !members.is_empty())),
    ];
    for (what, members) in parts {
        if let Some(members) = members {
            writeln!(f, "    given {what} {}", json(&serde_json::Value::Object(members.clone())))?;
        }
    }
    for expect in &test.expects {
        writeln!(f, "    {}", expect.display(rules))?;
    }
    f.write_str("}\n")
}

/// The definitions that the text needs.
#[derive(Default)]
struct Names<'p> {
    /// By name: key in the token, type, default as written.
    claims: BTreeMap<String, (String, &'static str, Option<String>)>,
    by_key: ClaimNames,
    detectors: BTreeMap<&'p str, &'p CustomDetector>,
}

impl<'p> Names<'p> {
    fn collect(&mut self, program: &'p Program) {
        let atoms = || program.atoms.iter().chain(&program.invariants.atoms);
        let effects = || program.rules.iter().flat_map(|rule| &rule.effects);
        for atom in atoms() {
            match atom {
                Atom::Claim { claim, test } => self.claim(claim, test),
                Atom::Text(TextTest::FindsCustom(detector))
                | Atom::ResponseText(TextTest::FindsCustom(detector))
                | Atom::Json { test: JsonTest::Text(TextTest::FindsCustom(detector)), .. }
                | Atom::ResponseJson { test: JsonTest::Text(TextTest::FindsCustom(detector)), .. } => {
                    self.detector(detector);
                }
                _ => {}
            }
        }
        // What is only asked for by its key takes any type; it comes last, so that it finds the name that tests of the value use.
        for atom in atoms() {
            if let Atom::ClaimPresent(key) = atom {
                self.claim_by_key(key);
            }
        }
        for effect in effects() {
            match effect {
                Effect::LimitRate(limit) => limit.keys.iter().for_each(|key| {
                    if let LimitKey::Claim(key) = key {
                        self.claim_by_key(key);
                    }
                }),
                Effect::Mask(mask) => mask.matchers.iter().for_each(|matcher| {
                    if let Matcher::Custom(detector) = matcher {
                        self.detector(detector);
                    }
                }),
                _ => {}
            }
        }
    }

    fn detector(&mut self, detector: &'p CustomDetector) {
        self.detectors.entry(&detector.name).or_insert(detector);
    }

    fn claim(&mut self, claim: &Claim, test: &ClaimTest) {
        let kind = match test {
            ClaimTest::Bool(_) => "bool",
            ClaimTest::Int { .. } => "number",
            ClaimTest::StrIn(_) => "string",
            ClaimTest::ListIn(_) => "list",
        };
        let default = claim.default.as_ref().map(ToString::to_string);
        self.claims.entry(claim.name.clone()).or_insert((claim.key.clone(), kind, default));
        self.by_key.entry(claim.key.clone()).or_insert_with(|| claim.name.clone());
    }

    fn claim_by_key(&mut self, key: &str) {
        if self.by_key.contains_key(key) {
            return;
        }
        let mut number = self.claims.len();
        let mut name = format!("claim-{number}");
        while self.claims.contains_key(&name) {
            number += 1;
            name = format!("claim-{number}");
        }
        self.claims.insert(name.clone(), (key.to_owned(), "string", None));
        self.by_key.insert(key.to_owned(), name);
    }
}
