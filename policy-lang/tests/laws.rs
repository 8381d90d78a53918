//! Laws of the language over random policies and calls. `SALLYPORT_LAW_CASES` gives the cases per law (64 if absent).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod policies;
mod world;

use policies::{Kinds, UNTIL, bodies, condition, named, policy};
use policy_lang::schema::StrField;
use policy_lang::{
    ClaimValue, Date, Decision, Loaded, Phase, Place, Program, Source, SourceKind, Truth, Verdict, format, interpret,
    interpret_response, load_sources, print, trace,
};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;
use world::{Body, World};

fn config() -> ProptestConfig {
    let cases = std::env::var("SALLYPORT_LAW_CASES").ok().and_then(|cases| cases.parse().ok());
    ProptestConfig {
        cases: cases.unwrap_or(64),
        max_shrink_iters: 2_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Risk adds up and days pass: laws about other things do without.
const CALM: Kinds = Kinds { risk: false, days: false, answers: true };

fn load(rules: &str) -> Loaded {
    load_whole(&format!("{}{rules}", policies::DEFINITIONS))
}

fn load_whole(text: &str) -> Loaded {
    let source = Source { name: "law.policy".to_owned(), text: format!("policy \"law\" version 1\n{text}") };
    load_sources(vec![source]).unwrap_or_else(|found| panic!("{}\n{text}", found.render_all(false)))
}

fn bodies_of_requests() -> impl Strategy<Value = Body> {
    let text = select(["x", "x1", "MRN123 of a record", "a@example.org", "nothing"].as_slice());
    prop_oneof![
        Just(Body::None),
        Just(Body::Malformed),
        (text, select(vec![json!(2), json!(-1), json!("2"), json!(null)]), any::<Option<bool>>()).prop_map(
            |(text, n, b)| {
                let messages = json!([{ "role": "user", "content": text }]);
                Body::Json(json!({ "n": n, "b": b, "t": text, "messages": messages, "tools": [{ "name": "shell" }] }))
            }
        ),
    ]
}

fn claims() -> impl Strategy<Value = Vec<(String, ClaimValue)>> {
    let flag = any::<Option<bool>>().prop_map(|value| value.map(ClaimValue::Bool));
    let level = prop::option::of(select(vec![ClaimValue::Int(-2), ClaimValue::Int(7), ClaimValue::Bool(true)]));
    let org = prop::option::of(select(["o", "px", "q"].as_slice()).prop_map(|org| ClaimValue::Str(org.to_owned())));
    let teams =
        prop::option::of(select(["t", "u1", "v"].as_slice()).prop_map(|team| ClaimValue::List(vec![team.to_owned()])));
    (flag, level, org, teams).prop_map(|(flag, level, org, teams)| {
        let all = [("flag", flag), ("level", level), ("org.id", org), ("teams", teams)];
        all.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    })
}

fn call() -> impl Strategy<Value = World> {
    let names = (
        select(["", "a", "b", "bad", "c1"].as_slice()),
        select(["", "/v1/chat/completions", "/v2/x", "/v1/models"].as_slice()),
        select(["GET", "POST", "DELETE"].as_slice()),
        select(["s", "svc-a", "other"].as_slice()),
        select(["user", "service"].as_slice()),
        select(["mon", "sat"].as_slice()),
    );
    let numbers = (
        prop::option::of(select([10_i64, 10_000, 3_000_000].as_slice())),
        prop::option::of(0_i64..24),
        any::<Option<bool>>(),
        prop::option::of(select(["10.0.0.1", "10.9.0.1", "192.0.2.1", "::1"].as_slice())),
    );
    let answer = prop::option::of(select(vec![json!({ "a": "x" }), json!({ "a": 3, "debug": 1 }), json!([])]));
    let purpose = prop::option::of((
        select(["care", "triage", "fun"].as_slice()),
        select(["", "consent"].as_slice()),
        select([SourceKind::Claim, SourceKind::Header].as_slice()),
    ));
    (names, numbers, any::<[bool; 5]>(), claims(), bodies_of_requests(), answer, purpose).prop_map(
        |(names, (size, hour, stream, ip), [group, scope, header, env, date], claims, body, response, purpose)| {
            let world = World {
                groups: group.then(|| "g".to_owned()).into_iter().collect(),
                scopes: scope.then(|| "s".to_owned()).into_iter().collect(),
                headers: header.then(|| ("x-a".to_owned(), "1".to_owned())).into_iter().collect(),
                env: env.then(|| ("site".to_owned(), "eu".to_owned())).into_iter().collect(),
                ip: ip.map(|ip| ip.parse().unwrap()),
                date: date.then_some(20_500),
                status: response.as_ref().map(|_| 200),
                purposes: purpose.map(|(p, b, s)| (p.to_owned(), b.to_owned(), s)).into_iter().collect(),
                claims,
                response,
                size,
                hour,
                stream,
                body,
                ..World::default()
            };
            [
                (StrField::Model, names.0),
                (StrField::Endpoint, names.1),
                (StrField::Method, names.2),
                (StrField::Subject, names.3),
                (StrField::Kind, names.4),
                (StrField::Weekday, names.5),
            ]
            .into_iter()
            .fold(world, |world, (field, text)| world.with(field, text))
        },
    )
}

fn decide(rules: &str, world: &World) -> Decision {
    let program = load(rules).program;
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

/// Everything that a program says, without where it was written.
fn essence(program: &Program) -> String {
    let mut program = program.clone();
    program.digest.clear();
    program.rules.iter_mut().for_each(|rule| rule.place = Place::default());
    program.invariants.list.iter_mut().for_each(|invariant| invariant.place = Place::default());
    for test in &mut program.tests {
        test.place = Place::default();
        test.expects.iter_mut().for_each(|expect| expect.place = Place::default());
    }
    format!("{program:#?}")
}

/// The same text with some of its spaces as line ends and comments. No string of the generator has two words but by one of these.
fn jumbled(text: &str, dice: &[u8]) -> String {
    let mut dice = dice.iter().cycle();
    let mut out = String::new();
    for (index, word) in text.split_inclusive([' ', '\n']).enumerate() {
        let at_word = [" and ", " or ", " when ", " allow ", " deny ", " in ", " as ", " }"];
        let before = format!(" {word}");
        let may_break = index > 0 && out.ends_with(' ') && at_word.contains(&before.as_str());
        match dice.next() {
            Some(die) if may_break && die % 4 == 0 => out += "\n\t",
            Some(die) if may_break && die % 4 == 1 => out += " // why\n\n  // and\n ",
            _ => {}
        }
        out += word;
    }
    out
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_printed_loads_to_the_same(policy in policy()) {
        let loaded = load_whole(&policy);
        let printed = print(&loaded.program);
        let source = Source { name: "printed.policy".to_owned(), text: printed.clone() };
        let again = load_sources(vec![source]).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
        prop_assert_eq!(essence(&loaded.program), essence(&again.program));
        prop_assert_eq!(print(&again.program), printed);
    }

    #[test]
    fn formatting_twice_is_formatting_once_and_keeps_the_meaning(policy in policy(), dice in any::<[u8; 31]>()) {
        let policy = format!("policy \"law\" version 1\n{}", jumbled(&policy, &dice));
        let text = |text: String| vec![Source { name: "law.policy".to_owned(), text }];
        let before = load_sources(text(policy.clone())).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
        let once = format(&policy).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
        let after = load_sources(text(once.clone())).unwrap_or_else(|found| panic!("{}", found.render_all(false)));
        prop_assert_eq!(essence(&before.program), essence(&after.program));
        prop_assert_eq!(policy.matches("//").count(), once.matches("//").count());
        prop_assert_eq!(format(&once).unwrap(), once);
    }

    /// The same rules in another order of the file.
    #[test]
    fn order_never_matters(bodies in bodies(Kinds::ALL), world in call(), turn in any::<usize>()) {
        let rules = named(&bodies, "r", "");
        let mut lines: Vec<&str> = rules.lines().collect();
        let steps = turn % lines.len();
        lines.rotate_left(steps);
        lines.reverse();
        prop_assert_eq!(decide(&rules, &world), decide(&lines.join("\n"), &world));
    }

    /// The same rules once more under other names (DECISIONS 17).
    #[test]
    fn duplicates_never_matter(bodies in bodies(Kinds { risk: false, ..Kinds::ALL }), world in call()) {
        let once = named(&bodies, "r", "");
        let twice = format!("{once}{}", named(&bodies, "s", ""));
        let (once, twice) = (decide(&once, &world), decide(&twice, &world));
        prop_assert_eq!(outcome(&once.verdict), outcome(&twice.verdict));
        prop_assert_eq!(once.obligations.record, twice.obligations.record);
        if let (Verdict::Pending(a), Verdict::Pending(b)) = (&once.verdict, &twice.verdict) {
            prop_assert_eq!(a, b);
        }
    }

    #[test]
    fn a_deny_is_never_more_permissive(bodies in bodies(Kinds::ALL), world in call(), when in condition(Kinds::ALL)) {
        let before = named(&bodies, "r", "");
        let after = format!("{before}rule x {{ when {when} deny \"No.\" }}");
        let (before, after) = (decide(&before, &world), decide(&after, &world));
        prop_assert!(strictness(&after.verdict) >= strictness(&before.verdict));
    }

    #[test]
    fn an_allow_never_drops_an_obligation(bodies in bodies(Kinds::ALL), world in call(), when in condition(Kinds::ALL)) {
        let before = named(&bodies, "r", "");
        let after = format!("{before}rule x {{ when {when} allow }}");
        let (before, after) = (decide(&before, &world), decide(&after, &world));
        let mut kept = after.obligations;
        // Who fired is recorded; what is owed stays.
        prop_assert_eq!(before.obligations.masks.len(), kept.masks.len());
        kept.masks.clone_from(&before.obligations.masks);
        prop_assert_eq!(before.obligations, kept);
        if let Verdict::Pending(_) = before.verdict {
            prop_assert_eq!(before.verdict, after.verdict);
        }
    }

    #[test]
    fn a_shadow_rule_never_matters(bodies in bodies(Kinds::ALL), world in call(), shadow in policies::bodies(Kinds::ALL)) {
        let before = named(&bodies, "r", "");
        // Sorted behind all others, so that the ids of the enforced rules stay.
        let after = format!("{before}{}", named(&shadow, "z", " shadow"));
        let judge = |rules: &str| {
            let program = load(rules).program;
            let both = |decision: Decision| (decision.verdict, decision.fired, decision.obligations);
            world.see(|facts| (both(interpret(&program, facts)), both(interpret_response(&program, facts))))
        };
        prop_assert_eq!(judge(&before), judge(&after));
    }

    /// From the last day of every `until` to the next, nothing but the day changes. An exception that could not be judged denies while it
    /// lasts and is gone afterwards, so calls with errors are left out.
    #[test]
    fn an_expired_until_is_only_stricter(bodies in bodies(CALM), world in call()) {
        let program = load(&named(&bodies, "r", "")).program;
        let last = Date::parse(UNTIL).unwrap().days();
        let on = |date: i64| {
            let world = World { date: Some(date), ..world.clone() };
            world.see(|facts| (interpret(&program, facts), trace(&program, facts, Phase::Request)))
        };
        let ((before, judged), (after, _)) = (on(last), on(last + 1));
        if !judged.truths.contains(&Truth::Error) {
            prop_assert!(strictness(&after.verdict) >= strictness(&before.verdict));
        }
    }
}
