//! `test "…" { … }`: names resolved, calls put together. Running them needs dialects and masks: see [`crate::testing`].

use super::Lowerer;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::TESTS_MAX;
use crate::program::{Expect, ExpectKind, ExpectedValue, ExpectedVerdict, Place, PolicyTest, RuleId, TestCall};
use crate::source::{Span, Spanned};
use crate::syntax::{ExpectSyntax, Given, TestItem, Text, Wanted};
use crate::testing::Call;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

impl<'s> Lowerer<'s, '_> {
    pub(super) fn tests(&mut self, items: &[&'s TestItem], rules: &BTreeMap<&str, usize>) -> Vec<PolicyTest> {
        if let Some(extra) = items.get(TESTS_MAX) {
            self.error(
                Diagnostic::error(Code::TooManyTests, format!("the set has more than {TESTS_MAX} tests"))
                    .label(extra.name.span, "with this one"),
            );
            return Vec::new();
        }
        let mut names: BTreeMap<&str, Span> = BTreeMap::new();
        let mut tests = Vec::new();
        for item in items {
            let _ = self.not_empty(&item.name);
            if let Some(first) = names.insert(&item.name.node, item.name.span) {
                self.error(
                    Diagnostic::error(Code::DuplicateName, format!("there are two tests named \"{}\"", item.name.node))
                        .label(item.name.span, "the second")
                        .label(first, "the first"),
                );
            }
            if item.expects.is_empty() {
                self.error(
                    Diagnostic::error(Code::NoExpectation, "this test expects nothing")
                        .label(item.name.span, "")
                        .help("say what is to happen: `expect allow`, `expect deny by rule.name`, `expect response $.path == …`"),
                );
            }
            let given = self.test_call(&item.givens);
            self.check_call(item, &given);
            let expects = item.expects.iter().filter_map(|expect| self.expect(expect, &given, rules)).collect();
            let place = Place { file: item.span.file, span: item.span.range() };
            tests.push(PolicyTest { name: item.name.node.clone(), given, expects, place });
        }
        tests
    }

    fn test_call(&mut self, givens: &[Spanned<Given>]) -> TestCall {
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        let mut call = TestCall::default();
        for given in givens {
            let what = &given.node.what;
            if let Some(first) = seen.insert(&what.node, what.span) {
                self.error(
                    Diagnostic::error(Code::ClauseTwice, format!("`given {}` stands twice", what.node))
                        .label(what.span, "the second")
                        .label(first, "the first"),
                );
            }
            let object: Map<String, Value> = given.node.value.as_object().cloned().unwrap_or_default();
            match what.node.as_str() {
                "identity" => call.identity = object,
                "request" => call.request = object,
                "response" => call.response = Some(object),
                "time" => call.time = object,
                _ => call.env = object,
            }
        }
        call
    }

    /// A test that cannot be run is a mistake like any other.
    fn check_call(&mut self, item: &TestItem, given: &TestCall) {
        let Err(error) = Call::new(given) else {
            return;
        };
        let part = item.givens.iter().find(|given| error.part() == Some(given.node.what.node.as_str()));
        let span = part.map_or(item.name.span, |given| given.node.what.span);
        self.error(Diagnostic::error(Code::BadJson, error.to_string()).label(span, ""));
    }

    fn expect(
        &mut self,
        expect: &Spanned<ExpectSyntax>,
        given: &TestCall,
        rules: &BTreeMap<&str, usize>,
    ) -> Option<Expect> {
        let kind = match &expect.node {
            ExpectSyntax::Verdict { verdict, by, status } => {
                let verdict = match verdict.node.as_str() {
                    "allow" => ExpectedVerdict::Allow,
                    "deny" => ExpectedVerdict::Deny,
                    _ => ExpectedVerdict::Pending,
                };
                let by = match by {
                    Some(name) => Some(self.rule_named(name, rules)?),
                    None => None,
                };
                let status = match status {
                    Some(written) if verdict == ExpectedVerdict::Deny => Some(self.status(written)?),
                    Some(written) => {
                        self.out_of_range(written.span, "part of a denial: only `expect deny` has a status");
                        return None;
                    }
                    None => None,
                };
                ExpectKind::Verdict { verdict, by, status }
            }
            ExpectSyntax::Fires { negated, rule } => {
                ExpectKind::Fires { rule: self.rule_named(rule, rules)?, wanted: !negated }
            }
            ExpectSyntax::Value { record, side, path, wanted } => {
                if *side == crate::program::Side::Response && given.response.is_none() {
                    self.error(
                        Diagnostic::error(Code::NoExpectation, "this test has no answer to look at")
                            .label(expect.span, "")
                            .help("give it one with `given response { … }`"),
                    );
                    return None;
                }
                ExpectKind::Value {
                    record: *record,
                    side: *side,
                    path: path.clone(),
                    wanted: match wanted {
                        Wanted::Present(true) => ExpectedValue::Present,
                        Wanted::Present(false) => ExpectedValue::Absent,
                        Wanted::Equal(value) => ExpectedValue::Equal(value.clone()),
                    },
                }
            }
        };
        Some(Expect { kind, place: Place { file: expect.span.file, span: expect.span.range() } })
    }

    fn rule_named(&mut self, name: &Text, rules: &BTreeMap<&str, usize>) -> Option<RuleId> {
        let found = rules.get(name.node.as_str());
        if found.is_none() {
            self.error(
                Diagnostic::error(Code::UnknownRule, format!("there is no rule `{}`", name.node))
                    .label(name.span, "")
                    .suggest(&name.node, name.span, rules.keys().copied()),
            );
        }
        Some(RuleId(u32::try_from(*found?).ok()?))
    }
}
