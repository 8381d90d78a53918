//! Random policies that are well typed by construction: every production of the grammar, every effect, every kind of field. Other crates
//! take this file with `#[path]`.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use proptest::prelude::*;
use proptest::sample::select;

/// What the random rules may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kinds {
    /// Points of risk and tests of their sum: more rules mean more points.
    pub risk: bool,
    /// Tests of the day, apart from `until`.
    pub days: bool,
    /// Rules about the answer.
    pub answers: bool,
}

impl Kinds {
    pub const ALL: Self = Self { risk: true, days: true, answers: true };
}

/// The last day of every `until`.
pub const UNTIL: &str = "2027-03-31";

/// Definitions that the random parts refer to.
pub const DEFINITIONS: &str = r#"
claim flag : bool default false
claim level : number
claim org : string from "org.id" default "none"
claim teams : list
set models : model = { "a", ~"b*" } except { "bad" }
set more : model = { models, "c" } union { ~"d?" }
set nets : ip = { 10.0.0.0/8, ::1 } except { 10.9.0.0/16 }
set ends : endpoint = { "/v1/chat/completions" } union { ~"/v2/*" }
set staff : group = { "g", "h" }
set aims : purpose = { "care", "triage" }
detector mrn = /MRN[0-9]{3}\b/ near { "record", "Patient" }
let shared = not (model in models and identity.flag) or request.stream
"#;

fn one(choices: &'static [&'static str]) -> BoxedStrategy<String> {
    select(choices).prop_map(str::to_owned).boxed()
}

fn text_test(operand: &'static str) -> BoxedStrategy<String> {
    one(&[
        "matches /(?i)x\\/?[0-9]+/",
        "contains \"x\"",
        "contains \"say \\\"é\\\"\\n\"",
        "finds detect(email)",
        "finds detect(us_ssn, mrn, family(pii),)",
    ])
    .prop_map(move |test| format!("{operand} {test}"))
    .boxed()
}

fn compare(operand: &'static str, values: &'static [&'static str]) -> BoxedStrategy<String> {
    (select(["==", "!=", "<", "<=", ">", ">="].as_slice()), select(values))
        .prop_map(move |(op, value)| format!("{operand} {op} {value}"))
        .boxed()
}

fn member(operand: &'static str, sets: &'static [&'static str]) -> BoxedStrategy<String> {
    (any::<bool>(), select(sets))
        .prop_map(move |(not, set)| format!("{operand} {}in {set}", if not { "not " } else { "" }))
        .boxed()
}

fn equal(operand: &'static str, values: &'static [&'static str]) -> BoxedStrategy<String> {
    (any::<bool>(), select(values))
        .prop_map(move |(not, value)| format!("{operand} {} {value}", if not { "!=" } else { "==" }))
        .boxed()
}

/// A test behind its guard.
fn guarded(operand: &'static str, test: BoxedStrategy<String>) -> BoxedStrategy<String> {
    (any::<bool>(), test)
        .prop_map(move |(and, test)| match and {
            true => format!("({operand} is present and {test})"),
            false => format!("({operand} is absent or {test})"),
        })
        .boxed()
}

/// One leaf over the call, guarded where it must be.
pub fn leaf(kinds: Kinds) -> BoxedStrategy<String> {
    let mut leaves = vec![
        one(&["shared", "request.stream", "request.stream != false", "identity.flag", "identity.flag == false"]),
        equal("model", &["\"a\"", "~\"b*\"", "~\"*\""]),
        member("model", &["models", "more", "{ \"b\", ~\"c*\", }", "{ models, \"x\" } except more"]),
        one(&["model is present", "upstream is absent", "dialect == \"openai\"", "identity.issuer != \"i\""]),
        member("request.endpoint", &["ends", "{ \"/v1/models\" }"]),
        equal("request.method", &["GET", "DELETE", "~\"P*\""]),
        one(&["identity.kind == service", "request.method in { GET, \"POST\" }", "request.path == ~\"/v1/*\""]),
        one(&["identity.subject in { \"s\", ~\"svc-*\" }", "request.host is present"]),
        member("identity", &["group(\"g\")", "group(staff, \"k\",)"]),
        member("\"s\"", &["identity.scopes", "identity.groups", "request.tool_names"]),
        member("request.tool_names", &["{ \"shell\", ~\"file-*\" }"]),
        member("request.ip", &["nets", "{ 10.1.0.0/16, 192.0.2.7, 2001:db8::/32 }"]),
        equal("request.ip", &["192.0.2.1", "::1"]),
        compare("request.size", &["1KiB", "10_000B", "2MB", "0"]),
        compare("time.hour", &["0", "12", "23"]),
        one(&["time.weekday in { sat, sun }", "time.weekday != \"mon\""]),
        compare("request.image_count", &["0", "3"]),
        guarded("request.tokens_requested", compare("request.tokens_requested", &["100", "1_000"])),
        guarded("purpose", member("purpose", &["aims", "{ ~\"c*\" }"])),
        guarded("basis", equal("basis", &["\"consent\""])),
        guarded("identity.client_id", equal("identity.client_id", &["\"c\""])),
        guarded("identity.level", compare("identity.level", &["-2", "3"])),
        equal("identity.org", &["\"o\"", "~\"p?\""]),
        member("identity.org", &["{ \"o\", \"none\" }"]),
        guarded("identity.teams", member("identity.teams", &["{ \"t\", ~\"u*\" }"])),
        guarded("identity.teams", member("\"t\"", &["identity.teams"])),
        equal("env.site", &["\"eu\""]),
        member("env.site", &["{ \"us\", ~\"e*\" }"]),
        guarded("request.header(\"X-A\")", equal("request.header(\"x-a\")", &["\"1\"", "~\"2*\"", "\"\""])),
        text_test("request.text"),
        one(&["request $.n is present", "request $.messages[*].role is absent", "request $['o d'][0].* is present"]),
        guarded("request $.n", compare("request $.n", &["3", "-1"])),
        guarded("request $.b", equal("request $.b", &["true", "false"])),
        guarded("request $.t", member("request $.t", &["{ \"x\", ~\"y*\" }"])),
        guarded("request $.t", text_test("request $.t")),
    ];
    if kinds.risk {
        leaves.push(compare("request.risk", &["40", "1_000"]));
    }
    if kinds.days {
        leaves.push(compare("time.date", &["2027-01-01", "2024-02-29"]));
    }
    proptest::strategy::Union::new(leaves).boxed()
}

fn answer_leaf() -> BoxedStrategy<String> {
    prop_oneof![
        compare("response.size", &["1KiB", "2MB"]),
        compare("response.status", &["200", "500"]),
        guarded("response.tokens", compare("response.tokens", &["5"])),
        guarded("response.finish_reason", equal("response.finish_reason", &["\"stop\""])),
        text_test("response.text"),
        one(&["response $.a is present"]),
        guarded("response $.a", equal("response $.a", &["\"x\"", "true", "3"])),
    ]
    .boxed()
}

fn joined(leaf: BoxedStrategy<String>) -> BoxedStrategy<String> {
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|c| format!("not ({c})")),
            inner.clone().prop_map(|c| format!("not not ({c})")),
            prop::collection::vec(inner.clone(), 1..4).prop_map(|parts| format!("({})", parts.join(" and "))),
            prop::collection::vec(inner, 1..4).prop_map(|parts| format!("({})", parts.join(" or "))),
        ]
    })
    .boxed()
}

/// A condition over the call.
pub fn condition(kinds: Kinds) -> BoxedStrategy<String> {
    joined(leaf(kinds))
}

/// Clauses of which any may stand together in a rule about the call, one of a kind.
fn duties(kinds: Kinds) -> BoxedStrategy<Vec<String>> {
    let mut choices: Vec<BoxedStrategy<String>> = vec![
        one(&["require approval from group(\"g\") by 2", "require approval from group(staff) within 90s valid 2h"]),
        one(&[
            "require purpose in aims",
            "require purpose in { \"care\", ~\"t*\" } with basis in { \"consent\" } from header or claim",
        ]),
        one(&["require grant from group(\"leads\") within 5m for 1d", "require grant from group(\"leads\")"]),
        one(&["purpose \"care\" basis \"consent\"", "purpose \"triage\""]),
        one(&[
            "mask request text with detect(us_ssn), /[0-9]+/ as label",
            "mask response text with detect(email, mrn)",
            "mask record response $.a as \"gone\"",
            "mask response $.choices[*].message.content with detect(family(pii)) as hash",
            "mask request $.t as token",
        ]),
        one(&["drop request $.c", "drop record response $.usage.*", "drop response $.d[0]['e f']"]),
        one(&[
            "limit requests 5/s per identity.subject, request.ip, request.header(\"x-k\"), identity.org burst 10",
            "limit tokens 200_000/h per model",
            "limit requests 1_000/d",
        ]),
        one(&[
            "limit request.size to 512KiB",
            "limit request.tokens_requested to 4_000",
            "limit request.image_count to 2",
        ]),
        one(&["record at least full", "record at most metadata", "record at most full"]),
        one(&["retain at least 6y", "retain at most 90d", "retain at least 26w"]),
        one(&["seal request", "seal response"]),
        one(&["alert \"odd\"", "alert \"odd\" severity low", "alert \"bad\" severity critical"]),
    ];
    if kinds.risk {
        choices.push(one(&["risk 40", "risk 1000 \"every record\""]));
    }
    let count = choices.len();
    (choices, prop::collection::vec(any::<u8>(), count))
        .prop_map(|(clauses, dice)| {
            clauses.into_iter().zip(dice).filter(|(_, die)| die % 6 == 0).map(|(clause, _)| clause).collect()
        })
        .boxed()
}

/// What may become stricter only, so that an exception from it may end.
fn may_end(clauses: &[String]) -> bool {
    let loosens = |clause: &String| {
        ["allow", "purpose ", "record at most metadata"].iter().any(|start| clause.starts_with(start))
    };
    !clauses.iter().any(loosens)
}

/// What stands in the braces of a rule about the call.
fn call_body(kinds: Kinds) -> BoxedStrategy<String> {
    let verdict = prop_oneof![
        3 => one(&["allow"]),
        2 => one(&["deny \"No.\"", "deny \"No, \\\"really\\\".\" status 404"]),
        2 => one(&[""]),
    ];
    // A rule that adds to the risk cannot read it.
    let free = Kinds { risk: false, ..kinds };
    let ending = condition(free).prop_map(|when| format!("{{ when {when} allow until {UNTIL} }}"));
    let whole = (
        duties(kinds),
        [prop::option::of(condition(kinds)).boxed(), prop::option::of(condition(kinds)).boxed()],
        [prop::option::of(condition(free)).boxed(), prop::option::of(condition(free)).boxed()],
        verdict,
        any::<bool>(),
    )
        .prop_map(|(mut clauses, reading, free, verdict, ends)| {
            clauses.insert(0, verdict);
            clauses.retain(|clause| !clause.is_empty());
            if clauses.is_empty() {
                clauses.push("allow".to_owned());
            }
            let adds = clauses.iter().any(|clause| clause.starts_with("risk "));
            let [when, unless] = if adds { free } else { reading };
            let ends = ends && may_end(&clauses);
            let mut body = String::from("{ ");
            if let Some(when) = when {
                body += &format!("when {when} ");
            }
            if let Some(unless) = unless {
                body += &format!("unless {unless} ");
                if ends {
                    body += &format!("until {UNTIL} ");
                }
            }
            body + &clauses.join(" ") + " }"
        });
    prop_oneof![8 => whole, 1 => ending].boxed()
}

fn answer_body(kinds: Kinds) -> BoxedStrategy<String> {
    let free = Kinds { risk: kinds.risk, ..kinds };
    let reads = (
        joined(answer_leaf()),
        prop::option::of(condition(free)),
        one(&[
            "deny \"Not this.\" hold",
            "deny \"Not this.\" status 451 alert \"answer\"",
            "seal response record at least full",
            "retain at most 30d alert \"answer\" severity high",
        ]),
    )
        .prop_map(|(answer, call, effects)| match call {
            Some(call) => format!("{{ when {answer} and {call} {effects} }}"),
            None => format!("{{ when {answer} {effects} }}"),
        });
    let by_status = one(&["mask response text with detect(email) as label", "drop response $.debug"])
        .prop_map(|effect| format!("{{ when response.status >= 500 {effect} }}"));
    prop_oneof![reads, by_status].boxed()
}

/// What stands in the braces of a rule.
pub fn body(kinds: Kinds) -> BoxedStrategy<String> {
    match kinds.answers {
        true => prop_oneof![5 => call_body(kinds), 1 => answer_body(kinds)].boxed(),
        false => call_body(kinds),
    }
}

/// Bodies of rules, without names.
pub fn bodies(kinds: Kinds) -> BoxedStrategy<Vec<String>> {
    prop::collection::vec(body(kinds), 1..6).boxed()
}

/// Rules on a line each, named in order.
pub fn named(bodies: &[String], prefix: &str, word: &str) -> String {
    bodies.iter().enumerate().map(|(n, body)| format!("rule {prefix}{n:03}{word} {body}\n")).collect()
}

/// A whole file but for its header: definitions, rules with docs, shadow rules, invariants, tests.
pub fn policy() -> BoxedStrategy<String> {
    let kinds = Kinds::ALL;
    let invariant = (any::<bool>(), condition(kinds), condition(kinds)).prop_map(|(deny, a, b)| {
        let promise = if deny { "always deny" } else { "never allow" };
        format!("invariant \"kept {promise}\" {{ {promise} when {a} never allow when {b} }}\n")
    });
    let test = (
        one(&["{ \"subject\": \"s\", \"groups\": [\"g\"], \"level\": -2 }", "{}"]),
        one(&[
            "{ \"model\": \"a\", \"n\": [1, -2.5e3, { \"x\": null }], \"t\": \"\\u00e9\\n\" }",
            "{ \"body\": \"raw\" }",
        ]),
        one(&["expect allow", "expect deny by r000 status 403", "expect pending expect fires r000"]),
        one(&["expect not fires s000", "expect request $.n[0] == 1", "expect record response $.a is absent"]),
    )
        .prop_map(|(identity, request, first, second)| {
            format!(
                "test \"a test\" {{ given identity {identity} given request {request} given response {{ \"a\": true }} \
                 given time {{ \"hour\": 3 }} given env {{ \"site\": \"eu\" }} {first} {second} }}\n"
            )
        });
    (bodies(kinds), bodies(kinds), prop::option::of(invariant), prop::option::of(test), any::<bool>())
        .prop_map(|(rules, shadows, invariant, test, docs)| {
            let docs = if docs { "/// What it is for,\n///\n///   indented.\n" } else { "" };
            let rules = named(&rules, "r", "");
            let shadows = named(&shadows, "s", " shadow");
            format!("{DEFINITIONS}{docs}{rules}{shadows}{}{}", invariant.unwrap_or_default(), test.unwrap_or_default())
        })
        .boxed()
}
