//! Laws of the language over random policies and calls.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use policy_lang::schema::StrField;
use policy_lang::{Decision, Verdict, interpret};
use proptest::prelude::*;
use world::{Body, World, load};

const LEAVES: [&str; 12] = [
    r#"model == "a""#,
    r#"model in { "b", ~"c*" }"#,
    r#"identity in group("g")"#,
    r#""s" in identity.scopes"#,
    "request.ip in { 10.0.0.0/8 }",
    "request.size > 1KiB",
    "request.stream",
    r#"(request.header("x") is present and request.header("x") == "1")"#,
    r#"request.text contains "x""#,
    "request.text finds detect(phone)",
    "(request $.n is present and request $.n < 3)",
    "request $.n is present",
];

fn condition() -> impl Strategy<Value = String> {
    prop::sample::select(LEAVES.as_slice()).prop_map(str::to_owned).prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("not ({c})")),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner, 1..4).prop_map(|parts| format!("({})", parts.join(" or "))),
        ]
    })
}

fn effects() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "allow",
        "allow",
        "allow",
        r#"deny "No." status 404"#,
        r#"deny "No, really.""#,
        "mask response text with detect(us_ssn)",
        "allow mask request text with /[0-9]+/ as last4",
        "record at most metadata",
        "record at least full",
        r#"allow require approval from group("g") by 2"#,
        r#"require approval from group("h") within 5m"#,
    ])
}

/// Bodies of rules, without names.
fn bodies() -> impl Strategy<Value = Vec<String>> {
    let body = (prop::option::of(condition()), prop::option::of(condition()), effects()).prop_map(
        |(when, unless, effects)| {
            let clause =
                |word: &str, condition: Option<String>| condition.map_or_else(String::new, |c| format!("{word} {c} "));
            format!("{{ {}{}{effects} }}", clause("when", when), clause("unless", unless))
        },
    );
    prop::collection::vec(body, 1..6)
}

fn world() -> impl Strategy<Value = World> {
    (
        prop::sample::select(vec!["", "a", "b", "cc"]),
        any::<[bool; 3]>(),
        prop::option::of(prop::sample::select(vec!["10.0.0.1", "192.0.2.1"])),
        prop::option::of(prop::sample::select(vec![10_i64, 10_000])),
        any::<Option<bool>>(),
        prop::sample::select(vec![
            Body::None,
            Body::Malformed,
            Body::Json(serde_json::json!({ "n": 2, "messages": [{ "content": "x" }] })),
            Body::Json(serde_json::json!({ "n": "2" })),
        ]),
    )
        .prop_map(|(model, [group, scope, header], ip, size, stream, body)| {
            World {
                groups: group.then(|| "g".to_owned()).into_iter().collect(),
                scopes: scope.then(|| "s".to_owned()).into_iter().collect(),
                headers: header.then(|| ("x".to_owned(), "1".to_owned())).into_iter().collect(),
                ip: ip.map(|ip| ip.parse().unwrap()),
                size,
                stream,
                body,
                ..World::default()
            }
            .with(StrField::Model, model)
        })
}

fn named(bodies: &[String], prefix: &str) -> String {
    let rules = bodies.iter().enumerate();
    rules.map(|(n, body)| format!("rule {prefix}{n:03} {body}\n")).collect()
}

fn decide(policy: &str, world: &World) -> Decision {
    let program = load(policy).program;
    world.see(|facts| interpret(&program, facts))
}

/// Forward < pending < deny.
fn strictness(verdict: &Verdict) -> u8 {
    match verdict {
        Verdict::Forward => 0,
        Verdict::Pending(_) => 1,
        Verdict::Deny(_) => 2,
    }
}

/// The verdict without the names of rules in it.
fn outcome(verdict: &Verdict) -> (u8, Option<(u16, bool)>) {
    match verdict {
        Verdict::Deny(denial) => (2, Some((denial.status, denial.rule.is_some()))),
        other => (strictness(other), None),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The same rules in another order of the file.
    #[test]
    fn order_never_matters(bodies in bodies(), world in world(), seed in any::<u64>()) {
        let policy = named(&bodies, "r");
        let mut lines: Vec<&str> = policy.lines().collect();
        let steps = usize::try_from(seed % 7).unwrap() % lines.len();
        lines.rotate_left(steps);
        lines.reverse();
        prop_assert_eq!(decide(&policy, &world), decide(&lines.join("\n"), &world));
    }

    /// The same rules once more under other names.
    #[test]
    fn duplicates_never_matter(bodies in bodies(), world in world()) {
        let once = named(&bodies, "r");
        let twice = format!("{once}{}", named(&bodies, "s"));
        let (once, twice) = (decide(&once, &world), decide(&twice, &world));
        prop_assert_eq!(outcome(&once.verdict), outcome(&twice.verdict));
        prop_assert_eq!(once.obligations.record, twice.obligations.record);
        if let (Verdict::Pending(a), Verdict::Pending(b)) = (&once.verdict, &twice.verdict) {
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn a_deny_is_never_more_permissive(bodies in bodies(), world in world(), when in condition()) {
        let before = named(&bodies, "r");
        let after = format!("{before}rule x {{ when {when} deny \"No.\" }}");
        let (before, after) = (decide(&before, &world), decide(&after, &world));
        prop_assert!(strictness(&after.verdict) >= strictness(&before.verdict));
    }

    #[test]
    fn an_allow_never_removes_an_obligation(bodies in bodies(), world in world(), when in condition()) {
        let before = named(&bodies, "r");
        let after = format!("{before}rule x {{ when {when} allow }}");
        let (before, after) = (decide(&before, &world), decide(&after, &world));
        prop_assert_eq!(before.obligations.masks.len(), after.obligations.masks.len());
        prop_assert_eq!(before.obligations.record, after.obligations.record);
        if let Verdict::Pending(_) = before.verdict {
            prop_assert_eq!(before.verdict, after.verdict);
        }
    }

    #[test]
    fn a_shadow_rule_never_changes_a_verdict(bodies in bodies(), world in world(), shadow in bodies()) {
        let before = named(&bodies, "r");
        // Sorted behind all others, so that the ids of the enforced rules stay.
        let rules = shadow.iter().enumerate();
        let shadows: String = rules.map(|(n, body)| format!("rule z{n:03} shadow {body}\n")).collect();
        let after = decide(&format!("{before}{shadows}"), &world);
        let before = decide(&before, &world);
        prop_assert_eq!(&before.verdict, &after.verdict);
        prop_assert_eq!(&before.fired, &after.fired);
        prop_assert_eq!(&before.obligations, &after.obligations);
    }
}
