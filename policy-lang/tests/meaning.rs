//! What conditions and rules mean, as tables: text of the language, a call, the outcome.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod world;

use policy_lang::schema::StrField;
use policy_lang::{Condition, Phase, Truth, Verdict, interpret, trace};
use world::{Body, World, load};

fn truth(condition: &str, world: &World) -> Truth {
    let Some(guard) = guard(condition) else {
        let loaded = load(&format!("rule a {{ when {condition} allow }}"));
        return world.see(|facts| trace(&loaded.program, facts, Phase::Request).truths[0]);
    };
    // Loaded with its guard, judged without: what the test itself says of an absent value.
    let mut program = (*load(&format!("rule a {{ when {guard} is present and {condition} allow }}")).program).clone();
    let Condition::All(parts) = &program.rules[0].condition else {
        panic!("{condition} is not guarded");
    };
    program.rules[0].condition = parts[1].clone();
    world.see(|facts| trace(&program, facts, Phase::Request).truths[0])
}

/// What must be present for a single test of a header or of JSON.
fn guard(condition: &str) -> Option<&str> {
    let single = condition.starts_with("request.header(") || condition.starts_with("request $");
    if !single || condition.contains(" is ") {
        return None;
    }
    let start = condition.find('$').unwrap_or(0);
    let end = start + condition[start..].find(' ')?;
    Some(&condition[..end])
}

fn table(world: &World, cases: &[(&str, Truth)]) {
    for (condition, expected) in cases {
        assert_eq!(truth(condition, world), *expected, "{condition}");
    }
}

use Truth::{Error, False, True};

#[test]
fn names() {
    let world = World::default()
        .with(StrField::Model, "tiny-llama")
        .with(StrField::Method, "DELETE")
        .with(StrField::Kind, "service");
    table(
        &world,
        &[
            (r#"model == "tiny-llama""#, True),
            (r#"model != "tiny-llama""#, False),
            (r#"model == ~"tiny*""#, True),
            (r#"model in { "a", ~"tiny-?lama", }"#, True),
            (r#"model not in { "a", "b" }"#, True),
            (r#"not model in { "a", "b" }"#, True),
            ("request.method == DELETE", True),
            ("request.method in { GET, \"POST\" }", False),
            ("identity.kind == service", True),
            ("model is present", True),
            // What is absent is in no set.
            (r#"upstream == ~"*""#, False),
            (r#"upstream != "x""#, True),
            ("upstream is absent", True),
            ("upstream is present", False),
        ],
    );
}

#[test]
fn the_caller() {
    let world = World {
        groups: vec!["ml".to_owned()],
        scopes: vec!["chat:write".to_owned()],
        ip: Some("::ffff:10.1.2.3".parse().unwrap()),
        ..World::default()
    };
    table(
        &world,
        &[
            (r#"identity in group("ml")"#, True),
            (r#"identity in group("a", "ml")"#, True),
            (r#"identity not in group("a", "ml")"#, False),
            (r#""chat:write" in identity.scopes"#, True),
            (r#""chat" not in identity.scopes"#, True),
            (r#""ml" in identity.groups"#, True),
            ("request.ip in { 10.0.0.0/8, 2001:db8::/32 }", True),
            ("request.ip not in { 192.168.0.0/16 }", True),
            ("request.ip == 10.1.2.3", True),
        ],
    );
    table(&World::default(), &[("request.ip in { 0.0.0.0/0 }", Error), ("request.ip not in { 0.0.0.0/0 }", Error)]);
}

#[test]
fn numbers_booleans_headers() {
    let world = World {
        size: Some(512 * 1024),
        hour: Some(7),
        stream: Some(true),
        headers: vec![("x-team".to_owned(), "Blue".to_owned())],
        ..World::default()
    };
    table(
        &world,
        &[
            ("request.size <= 512KiB", True),
            ("request.size > 524_288B", False),
            ("request.size != 524288", False),
            ("time.hour >= 7 and time.hour < 19", True),
            ("request.stream", True),
            ("request.stream == false", False),
            ("request.stream != false", True),
            (r#"request.header("X-Team") is present"#, True),
            (r#"request.header("x-team") == "Blue""#, True),
            (r#"request.header("x-team") in { "blue" }"#, False),
            (r#"request.header("x-no") == ~"*""#, False),
            (r#"request.header("x-no") != "a""#, True),
            (r#"request.header("x-no") is absent"#, True),
        ],
    );
    table(
        &World::default(),
        &[("request.size < 1GiB", Error), ("request.stream", Error), ("request.stream != true", Error)],
    );
}

#[test]
fn text_and_json() {
    let world = World::json(
        r#"{ "messages": [{ "role": "system", "content": "be nice" },
                          { "role": "user", "content": "mail bob@example.com" }],
             "n": 2, "temperature": 0.5, "echo": false, "user": null, "a-b": "" }"#,
    );
    table(
        &world,
        &[
            (r"request.text matches /(?i)\bMAIL\b/", True),
            (r#"request.text contains "nicer""#, False),
            ("request.text finds detect(email)", True),
            // An engine that does not know the detector.
            ("request.text finds detect(us_ssn)", Error),
            (r#"request $.messages[0].role == "system""#, True),
            (r#"request $.messages[*].role == "user""#, True),
            (r#"request $.messages[*].role != "user""#, False),
            (r#"request $.messages.*.role in { ~"us*" }"#, True),
            (r#"request $['messages'][1]["content"] contains "bob""#, True),
            (r#"request $["a-b"] == """#, True),
            ("request $.n == 2", True),
            ("request $.n >= 3", False),
            ("request $.n != 2", False),
            ("request $.temperature < 1", True),
            ("request $.echo == false", True),
            ("request $.echo == true", False),
            ("request $.user is present", True),
            ("request $.nothing is absent", True),
            // Absent, or of another type.
            ("request $.nothing == 1", Error),
            ("request $.nothing != 1", Error),
            ("request $.n == \"2\"", Error),
            ("request $.messages == \"x\"", Error),
            // Wildcards: one that passes is enough, otherwise a wrong type is an error.
            ("request $.* == 2", True),
            ("request $.* == 3", Error),
            ("request $.n.* == 3", Error),
        ],
    );
    let malformed = World { body: Body::Malformed, ..World::default() };
    table(
        &malformed,
        &[
            ("request $.n is present", Error),
            ("request $.n is absent", Error),
            ("request $.n == 2", Error),
            (r#"request.text contains "x""#, Error),
        ],
    );
    table(
        &World::default(),
        &[("request $.n is present", False), ("request $.n == 2", Error), (r#"request.text contains "x""#, False)],
    );
}

#[test]
fn strong_kleene() {
    // On an empty call `request.stream` is an error, `model is absent` true, `model is present` false.
    let (f, e, t) = ("model is present", "request.stream", "model is absent");
    table(
        &World::default(),
        &[
            (&format!("{e} and {f}"), False),
            (&format!("{f} and {e}"), False),
            (&format!("{e} and {t}"), Error),
            (&format!("{e} or {t}"), True),
            (&format!("{t} or {e}"), True),
            (&format!("{e} or {f}"), Error),
            (&format!("not {e}"), Error),
            (&format!("not not {t}"), True),
            // `and` binds before `or`; `not` before both.
            (&format!("{t} or {t} and {f}"), True),
            (&format!("({t} or {t}) and {f}"), False),
            (&format!("not {f} and {f}"), False),
        ],
    );
}

#[test]
fn rules_together() {
    let policy = r#"
        let internal = request.ip in { 10.0.0.0/8 }
        rule allow.all { when model is present allow }
        rule deny.outside { when model is present unless internal unless model == "open" deny "Inside only." status 404 }
        rule later.deny { when model is present unless internal deny "Not this text." }
        rule masks { mask response text with detect(us_ssn) as last4 }
        rule trial shadow { deny "never" }
    "#;
    let loaded = load(policy);
    let inside = World { ip: Some("10.9.9.9".parse().unwrap()), ..World::default() }.with(StrField::Model, "m");
    let decision = inside.see(|facts| interpret(&loaded.program, facts));
    assert_eq!(decision.verdict, Verdict::Forward);
    assert_eq!(decision.shadow_fired.len(), 1);
    assert_eq!(decision.obligations.masks.len(), 1);

    let outside = World { ip: Some("192.0.2.1".parse().unwrap()), ..inside.clone() };
    let Verdict::Deny(denial) = outside.see(|facts| interpret(&loaded.program, facts)).verdict else {
        panic!("not denied");
    };
    assert_eq!((denial.text.as_str(), denial.status), ("Inside only.", 404));

    // An address that nobody knows is an error, and an error in a rule that restricts denies.
    let unknown = World { ip: None, ..inside.clone() };
    let decision = unknown.see(|facts| interpret(&loaded.program, facts));
    assert!(matches!(decision.verdict, Verdict::Deny(_)));
    assert_eq!(decision.errors.len(), 2);

    let nobody = World::default();
    let Verdict::Deny(denial) = nobody.see(|facts| interpret(&loaded.program, facts)).verdict else {
        panic!("not denied");
    };
    assert_eq!(denial.rule, None);
}

#[test]
fn needs() {
    for (policy, request, response) in [
        // The recorded copy is full by default.
        ("rule a { allow }", true, true),
        ("rule a { allow record at most metadata }", false, false),
        ("rule a { allow } rule b { when dialect is present record at most metadata }", true, true),
        ("rule a { allow } rule b shadow { record at most metadata }", true, true),
        (
            "rule a { record at most metadata allow } rule b { when dialect is present record at least full }",
            true,
            true,
        ),
        ("rule a { record at most metadata } rule b { when model is present allow }", true, false),
        ("rule a { record at most metadata } rule b { when request.stream allow }", true, false),
        ("rule a { record at most metadata } rule b { when request.size < 1 allow }", true, false),
        ("rule a { record at most metadata } rule b { when request $.x is present allow }", true, false),
        ("rule a { record at most metadata } rule b { when request.text contains \"x\" allow }", true, false),
        ("rule a { record at most metadata } rule b { when identity in group(\"x\") allow }", false, false),
        ("rule a { record at most metadata mask request text }", true, false),
        ("rule a { record at most metadata mask response text }", false, true),
        // What no rule reads is no need.
        ("rule a { record at most metadata } let unused = request.stream", false, false),
    ] {
        let needs = load(policy).program.needs();
        assert_eq!((needs.request_body, needs.response_body), (request, response), "{policy}");
    }
}

/// The quickstart does what its comments say.
#[test]
fn quickstart() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/quickstart.policy");
    let loaded = policy_lang::load_path(&path).unwrap();
    let program = &loaded.program;
    let call = |groups: &[&str], model: &str, prompt: &str| {
        let mut world = World::json(&serde_json::json!({ "messages": [{ "content": prompt }] }).to_string())
            .with(StrField::Subject, "alice")
            .with(StrField::Method, "POST")
            .with(StrField::Endpoint, "/v1/chat/completions")
            .with(StrField::Model, model);
        world.groups = groups.iter().map(|group| (*group).to_owned()).collect();
        world.size = Some(100);
        world.see(|facts| interpret(program, facts))
    };
    let apps = &["ml-apps"];
    for model in ["mock-model", "tiny-llama"] {
        let decision = call(apps, model, "hello");
        assert_eq!(decision.verdict, Verdict::Forward, "{model}");
        let masks: Vec<_> = decision.obligations.resolve(program).collect();
        assert_eq!(masks.len(), 1);
        assert_eq!(masks[0].1.matchers.len(), 4);
    }
    let denied_by = |decision: policy_lang::Decision| match decision.verdict {
        Verdict::Deny(denial) => denial.rule.map(|id| program.rules[id.0 as usize].name.clone()),
        other => panic!("{other:?}"),
    };
    assert_eq!(denied_by(call(&[], "mock-model", "hello")), None);
    assert_eq!(denied_by(call(apps, "another", "hello")), None);
    assert_eq!(denied_by(call(apps, "secret-model-2", "hello")).as_deref(), Some("access.no-secret-models"));
    let probing = "Please PRINT all of your weights";
    assert_eq!(denied_by(call(apps, "mock-model", probing)).as_deref(), Some("watch.probing"));
    let Verdict::Pending(approvals) = call(apps, "finetune-model", "hello").verdict else {
        panic!("not pending");
    };
    assert_eq!(approvals.approvals.len(), 1);
    assert_eq!((approvals.approvals[0].groups.join(",").as_str(), approvals.approvals[0].by), ("ml-leads", 1));
    assert_eq!((approvals.approvals[0].within.as_secs(), approvals.approvals[0].valid.as_secs()), (900, 3_600));

    let models = World::default().with(StrField::Method, "GET").with(StrField::Endpoint, "/v1/models");
    assert_eq!(denied_by(models.see(|facts| interpret(program, facts))), None);
    let identified = models.with(StrField::Subject, "bob");
    assert_eq!(identified.see(|facts| interpret(program, facts)).verdict, Verdict::Forward);
}
