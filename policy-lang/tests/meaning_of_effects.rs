//! What effects mean beyond allow and deny: purposes, risk, grants, bounds, end dates, answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use policy_lang::schema::StrField;
use policy_lang::{
    ClaimValue, Date, Decision, Denial, ReasonKind, RecordLevel, SourceKind, Verdict, interpret, interpret_response,
};
use std::time::Duration;
use world::{World, load};

fn decide(policy: &str, world: &World) -> Decision {
    let program = load(policy).program;
    world.see(|facts| interpret(&program, facts))
}

fn denial(decision: Decision) -> Denial {
    match decision.verdict {
        Verdict::Deny(denial) => denial,
        other => panic!("not denied but {other:?}"),
    }
}

#[test]
fn a_purpose_must_be_declared_by_whom_the_rule_trusts() {
    let policy = r#"rule a { allow require purpose in { "triage", "care" } with basis in { "consent" } }"#;
    let declared = |purpose: &str, basis: &str, source| World {
        purposes: vec![(purpose.to_owned(), basis.to_owned(), source)],
        ..World::default()
    };
    let good = decide(policy, &declared("triage", "consent", SourceKind::Claim));
    assert_eq!(good.verdict, Verdict::Forward);
    let recorded = good.obligations.purpose.unwrap();
    assert_eq!(
        (recorded.purpose.as_str(), recorded.basis.as_str(), recorded.source),
        ("triage", "consent", SourceKind::Claim)
    );

    for (purpose, basis, source) in [
        ("triage", "contract", SourceKind::Claim),
        ("billing", "consent", SourceKind::Claim),
        // A caller's own header proves little.
        ("triage", "consent", SourceKind::Header),
    ] {
        let refused = decide(policy, &declared(purpose, basis, source));
        assert_eq!(refused.reasons[0].kind, ReasonKind::Purpose);
        let denial = denial(refused);
        assert_eq!(denial.text, "This call needs a declared purpose: care, triage (on the basis of consent).");
    }
    let trusting = r#"rule a { allow require purpose in { "triage" } from header or claim }"#;
    assert_eq!(decide(trusting, &declared("triage", "", SourceKind::Header)).verdict, Verdict::Forward);
    let given = r#"
        rule a { allow require purpose in { "triage" } }
        rule b { when identity in group("er") purpose "triage" basis "vital_interest" }
    "#;
    assert!(matches!(decide(given, &World::default()).verdict, Verdict::Deny(_)));
    let er = World { groups: vec!["er".to_owned()], ..World::default() };
    let decision = decide(given, &er);
    assert_eq!(decision.verdict, Verdict::Forward);
    assert_eq!(decision.obligations.purpose.unwrap().source, SourceKind::Policy);
}

#[test]
fn risk_is_the_sum_of_the_rules_that_hold() {
    let policy = r#"
        rule a { allow }
        rule r.exports { when model == "big" risk 40 "exports many records" }
        rule r.night { when time.hour < 6 risk 30 }
        rule r.trial shadow { risk 1000 }
        rule s { when request.risk >= 70 require approval from group("leads", "owners") }
    "#;
    let call = |model: &str, hour| World { hour: Some(hour), ..World::default() }.with(StrField::Model, model);
    assert_eq!(decide(policy, &call("big", 12)).verdict, Verdict::Forward);
    let Verdict::Pending(required) = decide(policy, &call("big", 3)).verdict else { panic!("not pending") };
    assert_eq!(required.approvals[0].groups, ["leads", "owners"]);
    // A risk rule that cannot be judged restricts.
    let unknown = World::default().with(StrField::Model, "big");
    assert!(matches!(decide(policy, &unknown).verdict, Verdict::Deny(_)));
}

#[test]
fn a_grant_is_asked_for_like_an_approval() {
    let policy = r#"rule a { allow require grant from group("ml-leads") within 15m for 1h }"#;
    let Verdict::Pending(required) = decide(policy, &World::default()).verdict else { panic!("not pending") };
    assert!(required.approvals.is_empty());
    assert_eq!(required.grants[0].lasting, Duration::from_hours(1));
}

#[test]
fn numbers_over_a_bound_or_left_open_are_refused() {
    let policy = "rule a { allow limit request.size to 1KiB }";
    let sized = |size| World { size, ..World::default() };
    assert_eq!(decide(policy, &sized(Some(1024))).verdict, Verdict::Forward);
    let large = denial(decide(policy, &sized(Some(1025))));
    assert_eq!((large.status, large.text.as_str()), (413, "request.size is over the limit of 1024."));
    assert_eq!(denial(decide(policy, &sized(None))).status, 400);
    let tokens = "rule a { allow limit request.tokens_requested to 4096 }";
    assert_eq!(denial(decide(tokens, &World::default())).text, "request.tokens_requested must be given, at most 4096.");
}

#[test]
fn an_end_date_only_makes_things_stricter() {
    let day = |text: &str| Date::parse(text).unwrap().days();
    let on = |text: &str| World { date: Some(day(text)), groups: vec!["remote".to_owned()], ..World::default() };
    let exception = r#"
        rule a { allow }
        rule d { when model is absent unless identity in group("remote") until 2027-03-31 deny "Inside only." }
    "#;
    assert_eq!(decide(exception, &on("2027-03-31")).verdict, Verdict::Forward);
    assert!(matches!(decide(exception, &on("2027-04-01")).verdict, Verdict::Deny(_)));
    let temporary = r#"rule a { when identity in group("remote") allow until 2027-03-31 }"#;
    assert_eq!(decide(temporary, &on("2027-03-31")).verdict, Verdict::Forward);
    assert!(matches!(decide(temporary, &on("2027-04-01")).verdict, Verdict::Deny(_)));
    // Without a date nothing is known to be in time.
    let undated = World { date: None, ..on("2027-03-31") };
    assert!(matches!(decide(temporary, &undated).verdict, Verdict::Deny(_)));

    let loaded = load(exception);
    let codes = |today: &str| -> Vec<&str> {
        loaded.expiring(Date::parse(today).unwrap()).iter().map(|found| found.code).collect()
    };
    assert_eq!(codes("2027-03-16"), Vec::<&str>::new());
    assert_eq!(codes("2027-03-17"), ["SP0910"]);
    assert_eq!(codes("2027-03-31"), ["SP0910"]);
    assert_eq!(codes("2027-04-01"), ["SP0909"]);
}

#[test]
fn claims_have_types_defaults_and_keys() {
    let policy = r#"
        claim mfa : bool default false
        claim level : number from "https://example.com/level"
        claim teams : list
        rule a { when identity.mfa allow }
        rule b { when identity.level is present and identity.level >= 3 deny "Too high." }
        rule c { when identity.teams is present and "red" in identity.teams deny "Not red." }
    "#;
    let with = |claims: &[(&str, ClaimValue)]| World {
        claims: claims.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect(),
        ..World::default()
    };
    assert!(matches!(decide(policy, &with(&[])).verdict, Verdict::Deny(_)));
    let mfa = ("mfa", ClaimValue::Bool(true));
    assert_eq!(decide(policy, &with(std::slice::from_ref(&mfa))).verdict, Verdict::Forward);
    let high = ("https://example.com/level", ClaimValue::Int(3));
    assert_eq!(denial(decide(policy, &with(&[mfa.clone(), high]))).text, "Too high.");
    let red = ("teams", ClaimValue::List(vec!["blue".to_owned(), "red".to_owned()]));
    assert_eq!(denial(decide(policy, &with(&[mfa.clone(), red]))).text, "Not red.");
    // Another type than declared is an error, and errors restrict.
    let wrong = ("https://example.com/level", ClaimValue::Str("3".to_owned()));
    assert_eq!(decide(policy, &with(&[mfa, wrong])).errors.len(), 1);
}

#[test]
fn sets_are_joined_and_cut() {
    let policy = r#"
        set small : model = { "tiny", ~"mini-*" }
        set all   : model = small union { ~"big-*", "huge" } except { "big-secret", ~"mini-x*" }
        rule a { when model in all allow }
    "#;
    for (model, passes) in [
        ("tiny", true),
        ("mini-1", true),
        ("mini-x1", false),
        ("big-1", true),
        ("big-secret", false),
        ("huge", true),
        ("other", false),
    ] {
        let decision = decide(policy, &World::default().with(StrField::Model, model));
        assert_eq!(decision.verdict == Verdict::Forward, passes, "{model}");
    }
}

#[test]
fn rules_that_read_the_answer_are_judged_when_it_is_there() {
    let policy = r#"
        rule a { allow }
        rule b { when response.status >= 500 deny "The model failed." status 424 record at least full }
        rule c { when response $.leak is present and response $.leak == true deny "Held back." hold }
        rule d { when response.status == 200 mask response text with detect(email) }
    "#;
    let program = load(policy).program;
    let before = World::default();
    let decision = before.see(|facts| interpret(&program, facts));
    assert_eq!((decision.verdict, decision.fired.len(), decision.obligations.masks.len()), (Verdict::Forward, 1, 0));

    let answer = |status, body: &str| World {
        status: Some(status),
        response: Some(serde_json::from_str(body).unwrap()),
        ..World::default()
    };
    let judge = |world: &World| world.see(|facts| interpret_response(&program, facts));
    let failed = judge(&answer(503, "{}"));
    assert_eq!(failed.obligations.record, RecordLevel::Full);
    assert_eq!(denial(failed).status, 424);
    let good = judge(&answer(200, r#"{ "leak": false }"#));
    assert_eq!((good.verdict, good.obligations.masks.len()), (Verdict::Forward, 1));
    assert_eq!(denial(judge(&answer(200, r#"{ "leak": true }"#))).text, "Held back.");
    // An answer that cannot be seen cannot be judged.
    assert!(matches!(judge(&before).verdict, Verdict::Deny(_)));
}

#[test]
fn bounds_meet() {
    let policy = r#"
        rule a { allow retain at least 30d retain at most 400d seal request alert "seen" severity high }
        rule b { retain at least 90d retain at most 1y limit tokens 200_000/h per identity.subject burst 5 }
    "#;
    let loaded = load(policy);
    let decision = World::default().see(|facts| interpret(&loaded.program, facts));
    let owed = &decision.obligations;
    assert_eq!(owed.retain_at_least, Some(Duration::from_hours(90 * 24)));
    assert_eq!(owed.retain_at_most, Some(Duration::from_hours(365 * 24)));
    assert!(owed.seal_request && !owed.seal_response);
    let alerts: Vec<_> = owed.resolve_alerts(&loaded.program).collect();
    assert_eq!(alerts, [("a", "seen", policy_lang::Severity::High)]);
    let (rule, limit) = owed.resolve_limits(&loaded.program).next().unwrap();
    assert_eq!((rule, limit.amount, limit.period, limit.burst), ("b", 200_000, Duration::from_hours(1), Some(5)));
}
