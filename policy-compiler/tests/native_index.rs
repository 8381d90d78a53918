//! When a set is indexed, what is known of a caller, what a call needs, and what decisions cost.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::{CompiledPolicy, Engine, bench, compile};
use policy_lang::schema::StrField;
use policy_lang::{
    Facts, HeaderView, Needs, Nothing, Source, TextEngine, TextTest, Unread, Verdict, interpret, load_sources,
};
use std::cell::{Cell, RefCell};
use std::time::Duration;

fn policy(rules: &str) -> CompiledPolicy {
    let text = format!("policy \"test\" version 1\n{rules}");
    let policy = match load_sources(vec![Source { name: "test.policy".to_owned(), text }]) {
        Ok(loaded) => compile(loaded.program),
        Err(found) => panic!("{}", found.render_all(false)),
    };
    assert_eq!(policy.engine(), &Engine::Native);
    policy
}

fn per_team(count: usize, condition: impl Fn(usize) -> String) -> CompiledPolicy {
    let rules = (0..count).map(|n| format!("rule team-{n:04}.use {{ when {} allow }}\n", condition(n)));
    policy(&rules.collect::<String>())
}

#[test]
fn the_layout_follows_the_estimate() {
    let one_team = |n| format!("identity in group(\"team-{n}\") and model == \"llama-{n}\"");
    assert_eq!(per_team(20, one_team).describe(), "native code (straight on, 1 functions)");
    // Every condition is settled by the index, so there is nothing left for code.
    assert_eq!(per_team(200, one_team).describe(), "native code (indexed, 0 functions)");
    let bounded = |n| format!("identity in group(\"team-{n}\") and model == \"llama-{n}\" and request.size < {n}KiB");
    assert_eq!(per_team(200, bounded).describe(), "native code (indexed, 4 functions)");
    // The same condition of many rules is one piece of code.
    let same_bound = |n| format!("identity in group(\"team-{n}\") and model == \"llama-{n}\" and request.size < 9KiB");
    assert_eq!(per_team(200, same_bound).describe(), "native code (indexed, 1 functions)");
    let either = |n| format!("(identity in group(\"team-{n}\") or model == \"llama-{n}\") and request.method == POST");
    assert_eq!(per_team(200, either).describe(), "native code (indexed, 0 functions)");
    let nothing_to_look_up = |n| format!("(model == \"llama-{n}\" or request.size > {n}KiB)");
    assert_eq!(per_team(200, nothing_to_look_up).describe(), "native code (straight on, 4 functions)");
}

#[test]
fn a_rule_that_holds_in_several_ways_fires_once() {
    let either =
        |n| format!("(identity in group(\"team-{n}\") or model == \"llama-{n}\" or request.host == \"h-{n}\")");
    let policy = per_team(100, either);
    let groups = ["team-7".to_owned(), "team-9".to_owned()];
    let mut facts = Facts { groups: &groups, ..Facts::empty() };
    facts.strings[StrField::Model as usize] = "llama-7";
    facts.strings[StrField::Host as usize] = "h-11";
    let decision = policy.decide(&facts);
    assert_eq!(decision.fired.iter().map(|rule| rule.0).collect::<Vec<_>>(), [7, 9, 11]);
    assert_eq!(decision, interpret(policy.program(), &facts));
}

#[test]
fn facts_of_another_policy_are_not_used() {
    let allows = |n: usize| format!("identity in group(\"team-{n}\")");
    let (first, second) = (per_team(100, allows), per_team(100, |n| allows(n + 50)));
    let groups = ["team-10".to_owned()];
    let facts = Facts { groups: &groups, ..Facts::empty() };
    let caller = first.identity_facts(&facts);
    assert_ne!(first.generation(), second.generation());
    assert_eq!(first.decide_for(&caller, &facts).verdict, Verdict::Forward);
    assert_eq!(second.decide_for(&caller, &facts), interpret(second.program(), &facts));
    assert!(matches!(second.decide_for(&caller, &facts).verdict, Verdict::Deny(_)));
    assert!(caller.heap_bytes() > 0);
}

#[test]
fn a_call_that_no_rule_about_bodies_can_concern_needs_none() {
    let rules = r#"
        rule a.little { record at most metadata }
        rule b.embed { when request.endpoint == "/v1/embeddings" and identity in group("apps") allow }
        rule c.chat { when request.endpoint == "/v1/chat/completions" and identity in group("apps") allow
                      mask response text with detect(email) }
        rule d.probe { when request.endpoint == "/v1/chat/completions" and request.text contains "weights" deny "No." }
        rule e.audit { when identity in group("watched") record at least full }
    "#;
    // As it stands it is straight on; with many more rules it is indexed. Both say the same.
    let more: String = (0..200)
        .map(|n| format!("rule z{n:03}.x {{ when model == \"m{n}\" and identity in group(\"g{n}\") allow }}\n"))
        .collect();
    for policy in [policy(rules), policy(&format!("{rules}{more}"))] {
        let needs = |endpoint, group: &str| {
            let groups = [group.to_owned()];
            let mut facts = Facts { groups: &groups, body: &Unread, ..Facts::empty() };
            facts.strings[StrField::Endpoint as usize] = endpoint;
            policy.needs_for(&policy.identity_facts(&facts), &facts)
        };
        let (nothing, both) = (Needs::default(), Needs { request_body: true, response_body: true });
        assert_eq!(policy.needs(), both);
        assert_eq!(needs("/v1/embeddings", "apps"), nothing);
        assert_eq!(needs("/v1/chat/completions", "apps"), both);
        assert_eq!(needs("/v1/chat/completions", "others"), Needs { request_body: true, response_body: false });
        assert_eq!(needs("/v1/embeddings", "watched"), both);
        assert_eq!(policy.needs_for(&policy.identity_facts(&Facts::empty()), &Facts::empty()), nothing);
    }
    assert_eq!(
        policy(&more).needs_for(&policy(&more).identity_facts(&Facts::empty()), &Facts::empty()),
        policy(&more).needs()
    );
}

/// Notes in which order it is asked.
struct Asked(RefCell<Vec<&'static str>>);

impl HeaderView for Asked {
    fn get(&self, _name: &str) -> Option<&str> {
        self.0.borrow_mut().push("header");
        Some("ml")
    }
}

impl TextEngine for Asked {
    fn test(&self, test: &TextTest, _text: &str) -> Option<bool> {
        self.0.borrow_mut().push(match test {
            TextTest::Matches(_) => "regex",
            TextTest::Contains(_) => "literal",
            _ => "detector",
        });
        Some(true)
    }
}

struct OneText;

impl policy_lang::BodyView for OneText {
    fn texts(&self) -> Result<&[std::borrow::Cow<'_, str>], policy_lang::Unreadable> {
        Ok(&[std::borrow::Cow::Borrowed("text")])
    }

    fn values(
        &self,
        _: &policy_lang::JsonPath,
        _: &mut dyn FnMut(policy_lang::JsonValue<'_>) -> bool,
    ) -> Result<(), policy_lang::Unreadable> {
        Ok(())
    }
}

#[test]
fn the_cheapest_is_asked_first() {
    let policy = policy(
        "rule a.b { when request.text finds detect(us_ssn) and request.text matches /x/ and request.text contains \"y\" and \
         request.header(\"x-team\") is present and request.header(\"x-team\") == \"ml\" allow }",
    );
    let asked = Asked(RefCell::default());
    let facts = Facts { headers: &asked, text_engine: &asked, body: &OneText, ..Facts::empty() };
    assert_eq!(policy.decide(&facts).verdict, Verdict::Forward);
    assert_eq!(*asked.0.borrow(), ["header", "header", "literal", "regex", "detector"]);
}

#[test]
fn measuring_counts_and_times_by_the_clock_that_it_is_given() {
    let policy = policy("rule a.b { when model == \"m\" allow }\nrule c.d { when request.size > 1KiB deny \"No.\" }");
    let mut large = Facts { text_engine: &Nothing, ..Facts::empty() };
    large.strings[StrField::Model as usize] = "m";
    large.ints[policy_lang::schema::IntField::RequestSize as usize] = Some(4_096);
    let mut small = large;
    small.ints[policy_lang::schema::IntField::RequestSize as usize] = Some(1);
    let ticks = Cell::new(0);
    let clock = || {
        ticks.set(ticks.get() + 1);
        Duration::from_nanos(ticks.get() * 300)
    };
    let options = bench::Options { rounds: 5, per_rule: true };
    let report = bench::measure(&policy, &[small, large, Facts::empty()], options, clock);
    assert_eq!((report.decisions, report.p50_ns, report.mean_ns), (15, 100.0, 100.0));
    assert_eq!((report.forwarded, report.pending, report.denied), (1, 0, 2));
    let rules: Vec<_> =
        report.rules.iter().map(|rule| (rule.name.as_str(), rule.fired, rule.errors, rule.ns)).collect();
    assert_eq!(rules, [("a.b", 2, 0, Some(100.0)), ("c.d", 1, 1, Some(100.0))]);
}
