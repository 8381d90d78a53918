//! The policy commands as their users run them: what they print, and how they end.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn sallyport(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    command.current_dir(dir).env("COLUMNS", "100").arg("policy").args(args).stdin(Stdio::null());
    command.output().unwrap()
}

/// Exit code, standard output and standard error in one text.
fn seen(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let errors = match output.stderr.is_empty() {
        true => String::new(),
        false => format!("--- standard error\n{}", text(&output.stderr)),
    };
    format!("exit code {}\n{}{errors}", output.status.code().unwrap(), text(&output.stdout))
}

const POLICY: &str = r#"/// Chat for applications, and nothing else.
policy "chat" version 3

set open : model = { "mock-model", ~"tiny*" }

/// Applications chat with the open models.
rule access.chat {
    when  identity in group("ml-apps", "ml-labs") and model in open
    allow
}

/// The night is quiet.
rule access.night {
    when  time.hour < 6
    deny  "Come back in the morning." status 429
}

rule data.mask-answers {
    mask  response text with detect(us_ssn)
}

rule trial.long shadow {
    when  request.size > 1MiB
    deny  "Too long."
}

invariant "no closed model" {
    never allow when model not in open
}

test "an application chats" {
    given  identity { "groups": ["ml-apps"] }
    given  request { "model": "tiny-1" }
    given  response { "choices": [{ "message": { "content": "SSN 536-22-8145" } }] }
    given  time { "hour": 9 }
    expect allow by access.chat
    expect response $.choices[0].message.content == "SSN [US_SSN]"
}

test "the night is quiet" {
    given  identity { "groups": ["ml-apps"] }
    given  request { "model": "tiny-1" }
    given  time { "hour": 3 }
    expect deny by access.night status 429
}
"#;

/// Wrong in every way that an expectation can be.
const WRONG: &str = r#"
test "expects too much" {
    given  identity { "groups": ["ml-apps"] }
    given  request { "model": "tiny-1" }
    given  response { "choices": [{ "message": { "content": "SSN 536-22-8145" } }] }
    given  time { "hour": 9 }
    expect deny by access.night
    expect not fires access.chat
    expect fires trial.long
    expect response $.choices[0].message.content == "SSN 536-22-8145"
    expect response $.usage is present
    expect record response $.choices is absent
}

test "does not say what time it is" {
    given  identity { "groups": ["ml-apps"] }
    given  request { "model": "tiny-1" }
    expect allow
}

test "looks at what never went on" {
    given  identity { "groups": ["ml-apps"] }
    given  request { "model": "tiny-1" }
    given  time { "hour": 3 }
    expect deny by access.chat status 403
    expect request $.model == "tiny-1"
}
"#;

fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("chat.policy"), POLICY).unwrap();
    std::fs::write(dir.path().join("wrong.policy"), format!("{POLICY}{WRONG}")).unwrap();
    std::fs::write(dir.path().join("broken.policy"), "policy \"t\" version 1\nrule a { alow }\n").unwrap();
    let ending = "policy \"t\" version 1\nrule a { when model == \"m\" allow until 2027-03-31 }\n";
    std::fs::write(dir.path().join("ending.policy"), ending).unwrap();
    let call = r#"{ "identity": { "subject": "ana", "groups": ["sales"] }, "request": { "model": "tiny-1" }, "time": { "hour": 9 } }"#;
    std::fs::write(dir.path().join("call.json"), call).unwrap();
    let allowed = call.replace("sales", "ml-apps");
    std::fs::write(dir.path().join("allowed.json"), allowed).unwrap();
    std::fs::write(dir.path().join("no-call.json"), r#"{ "request": { "ip": "nonsense" } }"#).unwrap();
    dir
}

#[test]
fn exit_codes() {
    let dir = workspace();
    let table: &[(&[&str], i32)] = &[
        (&["check", "chat.policy"], 0),
        (&["check", "chat.policy", "broken.policy"], 1),
        (&["check", "ending.policy", "--today", "2026-01-01"], 0),
        (&["check", "ending.policy", "--today", "2027-03-20"], 0),
        (&["check", "ending.policy", "--today", "2027-03-20", "--deny-warnings"], 1),
        (&["check", "ending.policy", "--today", "soon"], 2),
        (&["check", "nowhere.policy"], 3),
        (&["test", "chat.policy"], 0),
        (&["test", "wrong.policy"], 1),
        (&["test", "wrong.policy", "--filter", "night"], 0),
        (&["test", "broken.policy"], 1),
        (&["test", "nowhere.policy"], 3),
        (&["test", "chat.policy", "--min", "75"], 0),
        (&["test", "chat.policy", "--min", "100"], 1),
        (&["test", "chat.policy", "--min-conditions", "100"], 1),
        (&["test", "chat.policy", "--min", "101"], 2),
        (&["coverage", "chat.policy", "--min", "100"], 1),
        (&["explain", "chat.policy"], 2),
        (&["explain", "chat.policy", "--request", "call.json"], 0),
        (&["explain", "chat.policy", "--request", "no-call.json"], 2),
        (&["explain", "chat.policy", "--request", "chat.policy"], 2),
        (&["explain", "chat.policy", "--request", "nowhere.json"], 3),
        (&["docs", "chat.policy"], 0),
        (&["docs", "broken.policy"], 1),
    ];
    for (args, expected) in table {
        let output = sallyport(dir.path(), args);
        assert_eq!(output.status.code(), Some(*expected), "{args:?}\n{}", seen(&output));
    }
}

/// Every command in its forms; the snapshot is the page that a reader would see.
#[test]
fn what_the_commands_print() {
    let dir = workspace();
    let table: &[(&str, &[&str])] = &[
        ("check", &["check", "chat.policy", "broken.policy"]),
        ("check_ending", &["check", "ending.policy", "--today", "2027-03-20"]),
        ("test", &["test", "chat.policy", "--coverage"]),
        ("test_wrong", &["test", "wrong.policy"]),
        ("test_junit", &["test", "wrong.policy", "--format", "junit"]),
        ("coverage", &["coverage", "chat.policy", "--min", "100", "--min-conditions", "90"]),
        ("explain_denied", &["explain", "chat.policy", "--request", "call.json"]),
        ("explain_allowed", &["explain", "chat.policy", "--request", "allowed.json"]),
        ("docs", &["docs", "chat.policy"]),
        ("docs_html", &["docs", "chat.policy", "--format", "html"]),
        ("broken", &["test", "broken.policy"]),
        ("no_call", &["explain", "chat.policy", "--request", "no-call.json"]),
    ];
    for (name, args) in table {
        insta::assert_snapshot!(*name, seen(&sallyport(dir.path(), args)));
    }
}

#[test]
fn machines_get_json() {
    let dir = workspace();
    let json = |args: &[&str]| -> serde_json::Value {
        let output = sallyport(dir.path(), args);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}\n{}", seen(&output)))
    };
    let found = json(&["test", "wrong.policy", "--coverage", "--format", "json"]);
    assert_eq!(found.pointer("/0/failed"), Some(&3.into()), "{found}");
    assert_eq!(found.pointer("/0/tests/0/fired/0"), Some(&"access.chat".into()));
    assert!(found.pointer("/0/tests/2/failure/labels/0/start/line").is_some(), "{found}");
    assert_eq!(found.pointer("/0/coverage/rules/held"), Some(&3.into()), "{found}");
    let found = json(&["coverage", "chat.policy", "--format", "json"]);
    assert_eq!(found.pointer("/0/rules/percent"), Some(&75.into()), "{found}");
    let found = json(&["explain", "chat.policy", "--request", "call.json", "--format", "json"]);
    assert_eq!(found.pointer("/0/verdict"), Some(&"deny".into()));
    assert_eq!(found.pointer("/0/closest_allow/rule"), Some(&"access.chat".into()));
    assert_eq!(found.pointer("/0/closest_allow/missing/0"), Some(&"group ml-apps or ml-labs".into()));
    let found = json(&["check", "chat.policy", "broken.policy", "--format", "json"]);
    assert_eq!(found.pointer("/0/tests"), Some(&2.into()));
    assert_eq!(found.pointer("/1/ok"), Some(&false.into()));
}

#[test]
fn the_register_goes_into_a_file() {
    let dir = workspace();
    let output = sallyport(dir.path(), &["docs", "chat.policy", "--format", "html", "-o", "controls.html"]);
    assert_eq!(seen(&output), "exit code 0\n");
    let page = std::fs::read_to_string(dir.path().join("controls.html")).unwrap();
    // Self-contained: nothing is fetched from elsewhere.
    assert!(page.starts_with("<!doctype html>") && !page.contains("http") && !page.contains("<script"), "{page}");
}

/// Every directory below `examples/policies` is a set that is checked, tested and wholly covered.
#[test]
fn the_examples_are_good() {
    let mut sets: Vec<String> = std::fs::read_dir(root().join("examples/policies"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|path| format!("examples/policies/{}", path.file_name().unwrap().to_str().unwrap()))
        .collect();
    sets.sort();
    assert!(sets.len() >= 8, "{sets:?}");
    let run = |args: &[&str]| {
        sallyport(&root(), &args.iter().copied().chain(sets.iter().map(String::as_str)).collect::<Vec<_>>())
    };
    for args in [&["check", "--today", "2026-11-01"][..], &["fmt", "--check"]] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}\n{}", seen(&output));
    }
    for set in &sets {
        let output = sallyport(&root(), &["test", "--coverage", "--min", "100", set]);
        assert_eq!(output.status.code(), Some(0), "{set}\n{}", seen(&output));
    }
}

#[test]
fn fmt_keeps_what_is_good_and_mends_the_rest() {
    let dir = workspace();
    let path = dir.path().join("loose.policy");
    std::fs::write(&path, "policy \"t\"   version 1\nrule a {allow}  // why\n").unwrap();
    assert_eq!(
        seen(&sallyport(dir.path(), &["fmt", "--check", "loose.policy"])),
        "exit code 1\nnot in its form: loose.policy\n"
    );
    assert_eq!(
        seen(&sallyport(dir.path(), &["fmt", "."])).lines().next(),
        Some("exit code 1"),
        "broken.policy cannot be formatted"
    );
    let formatted = std::fs::read_to_string(&path).unwrap();
    insta::assert_snapshot!(formatted);
    assert_eq!(seen(&sallyport(dir.path(), &["fmt", "--check", "loose.policy"])), "exit code 0\n");
    let mut piped = Command::new(env!("CARGO_BIN_EXE_sallyport"));
    piped.args(["policy", "fmt", "-"]).stdin(std::fs::File::open(&path).unwrap());
    assert_eq!(String::from_utf8(piped.output().unwrap().stdout).unwrap(), formatted);
}

#[test]
fn code_scanning_gets_one_log_for_all_sets() {
    let dir = workspace();
    let output = sallyport(dir.path(), &["check", "chat.policy", "broken.policy", "--format", "sarif"]);
    let log: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log.pointer("/version"), Some(&"2.1.0".into()));
    assert_eq!(log.pointer("/runs").and_then(|runs| runs.as_array()).map(Vec::len), Some(2), "{log}");
    assert_eq!(log.pointer("/runs/1/results/0/level"), Some(&"error".into()), "{log}");
}

#[test]
fn a_bench_judges_calls_that_are_made_or_given() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("chat.policy"), POLICY).unwrap();
    let calls = r#"[{"identity": {"groups": ["ml-apps"]}, "request": {"model": "tiny-1"}, "time": {"hour": 9}},
        {"identity": {"groups": ["ml-apps"]}, "request": {"model": "tiny-1"}, "time": {"hour": 3}},
        {"request": {"model": "tiny-1", "path": "//v1/\\..%2f"}}]"#;
    std::fs::write(directory.path().join("calls.json"), calls).unwrap();
    let bench = |args: &[&str]| -> serde_json::Value {
        let args = [&["bench", "--format", "json", "--rounds", "1"], args, &["chat.policy"]].concat();
        let output = sallyport(directory.path(), &args);
        assert!(output.status.success(), "{}", seen(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let held = |report: &serde_json::Value| -> Vec<u64> {
        report["rules"].as_array().unwrap().iter().map(|rule| rule["held"].as_u64().unwrap()).collect()
    };

    let given = bench(&["--requests", "calls.json"]);
    let given = &given[0];
    // By name: access.chat, access.night, data.mask-answers, trial.long.
    assert_eq!(held(given), [2, 1, 2, 0], "{given}");
    assert_eq!(given["verdicts"], serde_json::json!({ "forward": 1, "pending": 0, "deny": 1 }));
    assert_eq!((given["unreadable"].as_u64(), given["decision"]["decisions"].as_u64()), (Some(1), Some(2)));

    let made = bench(&["--calls", "500"]);
    let made = &made[0];
    assert_eq!(made["calls"][0]["count"], 2, "the set has two tests");
    assert_eq!(made["calls"][1]["count"], 500);
    assert!(held(made).iter().take(3).all(|count| *count > 20), "words of the set hold and fail: {made}");
    assert!(made["verdicts"]["forward"].as_u64().unwrap() > 20 && made["verdicts"]["deny"].as_u64().unwrap() > 20);
    assert!(made["decision"]["mean_ns"].as_f64().unwrap() > 0.0);

    let text = sallyport(directory.path(), &["bench", "--calls", "10", "--rounds", "1", "chat.policy"]);
    let text = seen(&text);
    for part in
        ["exit code 0", "2 of the set's tests, 10 made of its words", "a decision", "interpreter", "access.night"]
    {
        assert!(text.contains(part), "{part} is not in {text}");
    }
    let broken = sallyport(directory.path(), &["bench", "--requests", "nowhere.json", "chat.policy"]);
    assert_eq!(broken.status.code(), Some(3), "{}", seen(&broken));
    std::fs::write(directory.path().join("none.json"), "[]").unwrap();
    let none = sallyport(directory.path(), &["bench", "--requests", "none.json", "chat.policy"]);
    assert_eq!(none.status.code(), Some(3), "{}", seen(&none));
}
