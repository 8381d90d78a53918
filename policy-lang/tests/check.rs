//! No semantic finding is ever false: random rules, random calls, and the interpreter as the judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use policy_lang::schema::StrField;
use policy_lang::{Decision, Diagnostic, Loaded, Phase, Truth, Verdict, interpret, trace};
use proptest::prelude::*;
use world::{Body, World, load};

const LEAVES: [&str; 24] = [
    r#"model == "a""#,
    r#"model in { "a", "b" }"#,
    r#"model in { "b", ~"c*" }"#,
    r#"model == ~"*c""#,
    r#"model not in { ~"c?", "b" }"#,
    r#"model is present"#,
    r#"identity in group("g")"#,
    r#"identity in group("g", "h")"#,
    r#""s" in identity.scopes"#,
    "request.ip in { 10.0.0.0/8 }",
    "request.ip in { 10.1.0.0/16, 192.0.2.0/24 }",
    "request.ip not in { 10.0.0.0/9 }",
    "request.size > 1KiB",
    "request.size <= 1024",
    "request.size != 1024",
    "request.stream",
    r#"request.header("x") is present"#,
    r#"(request.header("x") is present and request.header("x") == "1")"#,
    r#"request.text contains "x""#,
    r#"request.text matches /y+/"#,
    "(request $.n is present and request $.n < 3)",
    "(request $.n is present and request $.n >= 2)",
    r#"(request $.n is present and request $.n == "2")"#,
    "request $.n is present",
];

fn condition() -> impl Strategy<Value = String> {
    prop::sample::select(LEAVES.as_slice()).prop_map(str::to_owned).prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("not ({c})")),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner, 1..4).prop_map(|parts| format!("({})", parts.join(" or "))),
        ]
    })
}

fn rules() -> impl Strategy<Value = String> {
    let effects = prop::sample::select(vec![
        "allow",
        "allow",
        "deny \"No.\" status 404",
        "deny \"No, really.\"",
        "mask response text with detect(us_ssn)",
        "mask response text with detect(us_ssn, credit_card) as \"-\"",
        "drop response $.usage",
        "mask response $.usage.user as hash",
        "record at most metadata",
        "record at least full",
        "retain at least 6y",
        "retain at least 1y",
        "require approval from group(\"g\") by 2",
    ]);
    let rule = (prop::option::weighted(0.9, condition()), prop::option::weighted(0.3, condition()), effects).prop_map(
        |(when, unless, effect)| {
            let clause =
                |word: &str, condition: Option<String>| condition.map_or_else(String::new, |c| format!("{word} {c} "));
            format!("{{ {}{}{effect} }}", clause("when", when), clause("unless", unless))
        },
    );
    prop::collection::vec(rule, 1..7).prop_map(|rules| {
        let rules = rules.iter().enumerate();
        rules.map(|(n, rule)| format!("rule r{n:03} {rule}\n")).collect()
    })
}

fn world() -> impl Strategy<Value = World> {
    (
        prop::sample::select(vec!["", "a", "b", "c", "cc", "xc", "d"]),
        any::<[bool; 3]>(),
        prop::option::of(prop::sample::select(vec!["1", "2"])),
        prop::option::of(prop::sample::select(vec!["10.0.0.1", "10.1.0.1", "10.200.0.1", "192.0.2.1", "2001:db8::1"])),
        prop::option::of(prop::sample::select(vec![10_i64, 1_024, 10_000])),
        any::<Option<bool>>(),
        prop::sample::select(vec![
            Body::None,
            Body::Malformed,
            Body::Json(serde_json::json!({ "n": 2, "messages": [{ "content": "x" }] })),
            Body::Json(serde_json::json!({ "n": 2.5, "messages": [{ "content": "yyy" }, { "content": "x" }] })),
            Body::Json(serde_json::json!({ "n": 7, "messages": [{ "content": "none" }] })),
            Body::Json(serde_json::json!({ "n": "2" })),
        ]),
    )
        .prop_map(|(model, [g, h, scope], header, ip, size, stream, body)| {
            let groups = [(g, "g"), (h, "h")];
            World {
                groups: groups.iter().filter(|(is, _)| *is).map(|(_, name)| (*name).to_owned()).collect(),
                scopes: scope.then(|| "s".to_owned()).into_iter().collect(),
                headers: header.map(|value| ("x".to_owned(), value.to_owned())).into_iter().collect(),
                ip: ip.map(|ip| ip.parse().unwrap()),
                size,
                stream,
                body,
                ..World::default()
            }
            .with(StrField::Model, model)
        })
}

/// The rules whose names or clauses a finding shows, in the order of its labels.
fn rules_of(loaded: &Loaded, found: &Diagnostic) -> Vec<usize> {
    let rule = |at: usize| loaded.program.rules.iter().position(|rule| rule.place.span.contains(&at)).unwrap();
    found.labels.iter().map(|label| rule(label.span.start)).collect()
}

/// What a caller and the records see of a decision.
fn outcome(loaded: &Loaded, decision: &Decision) -> (String, String) {
    let masks: std::collections::BTreeSet<String> =
        decision.obligations.resolve(&loaded.program).map(|(_, mask)| format!("{mask:?}")).collect();
    let verdict = match &decision.verdict {
        Verdict::Deny(denial) => format!("{} {}", denial.status, denial.text),
        other => format!("{other:?}"),
    };
    let kept = &decision.obligations;
    (verdict, format!("{:?} {:?} {:?} {masks:?}", kept.record, kept.retain_at_least, kept.retain_at_most))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_finding_is_false(text in rules(), worlds in prop::collection::vec(world(), 60)) {
        let loaded = load(&text);
        for found in loaded.check() {
            let rules = rules_of(&loaded, &found);
            let first = rules[0];
            let name = &loaded.program.rules[first].name;
            let without = text.lines().filter(|line| !line.starts_with(&format!("rule {name} "))).collect::<Vec<_>>();
            let without = (found.code == "SP0915").then(|| load(&without.join("\n")));
            for world in &worlds {
                let truths = world.see(|facts| trace(&loaded.program, facts, Phase::Request)).truths;
                let decision = world.see(|facts| interpret(&loaded.program, facts));
                let holds = truths[first] == Truth::True;
                let fine = match found.code {
                    "SP0911" | "SP0913" => !holds || found.message.contains("exception"),
                    "SP0912" => truths[first] != Truth::False || text.lines().nth(first).unwrap().contains("unless"),
                    "SP0914" => !matches!(&decision.verdict, Verdict::Deny(denial) if holds && denial.rule.is_some_and(|rule| rule.0 as usize == first)),
                    "SP0916" => !holds || matches!(decision.verdict, Verdict::Deny(_)),
                    "SP0917" | "SP0918" => !holds || truths[rules[1]] == Truth::True,
                    "SP0915" => {
                        let less = without.as_ref().unwrap();
                        let other = world.see(|facts| interpret(&less.program, facts));
                        let denied = |decision: &Decision| matches!(decision.verdict, Verdict::Deny(_));
                        match decision.errors.is_empty() {
                            true => outcome(&loaded, &decision) == outcome(less, &other),
                            // A rule that could not be judged denies with a text of its own.
                            false => denied(&decision) == denied(&other),
                        }
                    }
                    "SP0511" | "SP0919" | "SP0920" => true,
                    code => panic!("{code} is not judged here"),
                };
                prop_assert!(fine, "{world:?}\n{}", found.render(&loaded.sources, false));
            }
        }
    }
}

/// A finding with a call: both conditions hold on it, by the interpreter.
#[test]
fn witnesses_are_calls_that_show_it() {
    let loaded = load(
        "rule a { when model == ~\"x-*\" and request.size > 1KiB record at least full }\n\
         rule b { when identity in group(\"g\") unless model == \"x-x\" record at most metadata }\n\
         rule z { allow }",
    );
    let found = loaded.check();
    let (call, _) = found[0].witness.as_ref().unwrap();
    let mut world = World { size: call["request"]["size"].as_i64(), ..World::default() }
        .with(StrField::Model, call["request"]["model"].as_str().unwrap());
    world.groups = vec![call["identity"]["groups"][0].as_str().unwrap().to_owned()];
    let truths = world.see(|facts| trace(&loaded.program, facts, Phase::Request)).truths;
    assert_eq!(truths, [Truth::True; 3], "{call}");
}

/// An error never rests on what a text is assumed to hold.
#[test]
fn contradictions_by_text_are_warnings() {
    let severities = |text: &str| -> Vec<String> {
        let found = load(&format!("{text}\nrule z {{ allow }}")).check();
        found.iter().filter(|d| d.code == "SP0511").map(|d| format!("{:?}", d.severity)).collect()
    };
    let full = "rule a { when request.text contains \"x\" record at least full }";
    assert_eq!(severities(&format!("{full} rule b {{ record at most metadata }}")), ["Warning"]);
    assert_eq!(
        severities(&format!("{full} rule b {{ when not request.text contains \"x\" record at most metadata }}")),
        Vec::<String>::new()
    );
    assert_eq!(severities("rule a { record at least full } rule b { record at most metadata }"), ["Error"]);
}

/// What is shown to others has no findings itself.
#[test]
fn examples_have_no_findings() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples");
    let loaded = policy_lang::load_path(&root.join("quickstart.policy")).unwrap();
    let mut found = loaded.diagnostics();
    found.list.extend(loaded.check());
    assert!(found.list.is_empty(), "{}", found.render_all(false));
}
