//! The command line from outside: what it prints and how it ends.

use std::path::Path;
use std::process::{Command, Output};

fn sallyport(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .current_dir(dir)
        .env_remove("SALLYPORT_TOKEN")
        .env("COLUMNS", "100")
        .args(args)
        .output()
        .unwrap()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const POLICY: &str = "policy \"t\" version 1\nrule a { allow }\n";

const CONFIG: &str = r#"
data = "data"
[listen]
address = "127.0.0.1:0"
[[issuer]]
url = "https://idp.example.com"
audience = ["inference"]
[[upstream]]
name = "chat"
endpoints = ["http://127.0.0.1:1"]
[policy]
path = "good.policy"
"#;

fn workspace() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("good.policy"), POLICY).unwrap();
    std::fs::write(dir.path().join("bad.policy"), "policy \"t\" version 1\nrule a { alow }\n").unwrap();
    std::fs::write(dir.path().join("good.toml"), CONFIG).unwrap();
    std::fs::write(dir.path().join("bad.toml"), CONFIG.replace("audience", "audiences")).unwrap();
    std::fs::write(dir.path().join("bad-policy.toml"), CONFIG.replace("good.policy", "bad.policy")).unwrap();
    dir
}

#[test]
fn exit_codes() {
    let dir = workspace();
    let table: &[(&[&str], i32)] = &[
        (&["--help"], 0),
        (&["--version"], 0),
        (&["run", "--help"], 0),
        (&["policy", "check", "--help"], 0),
        (&["audit", "search", "--help"], 0),
        (&["approvals", "approve", "--help"], 0),
        (&["token", "--help"], 0),
        (&["policy", "check", "good.policy"], 0),
        (&["policy", "check", "bad.policy"], 1),
        (&["policy", "check", "good.policy", "bad.policy"], 1),
        (&["policy", "check", "no-such.policy"], 3),
        (&["policy", "check"], 2),
        (&["policy", "explain"], 2),
        (&["run", "--config", "good.toml", "--check"], 0),
        (&["run", "--config", "bad.toml", "--check"], 1),
        (&["run", "--config", "bad-policy.toml", "--check"], 1),
        (&["run", "--config", "bad.toml"], 1),
        (&["run"], 2),
        (&["--listen", "nonsense"], 2),
        (&["--upstream", "https://api.example.com/v1"], 2),
        (&["--listen", "0.0.0.0:0"], 2),
        (&["--listen", "127.0.0.1:0", "--admin", "0.0.0.0:0"], 2),
        (&["token"], 2),
        (&["token", "--user", "alice"], 3),
        (&["audit", "show", "not-an-id"], 2),
        (&["approvals", "list"], 2),
        (&["approvals", "deny", "--token", "t"], 2),
        // Port 1 of the loopback: nothing listens there.
        (&["approvals", "list", "--token", "t", "--admin", "http://127.0.0.1:1"], 3),
    ];
    for (args, expected) in table {
        let output = sallyport(dir.path(), args);
        assert_eq!(code(&output), *expected, "{args:?}\n{}{}", stdout(&output), stderr(&output));
    }
}

#[test]
fn the_quickstart_refuses_to_serve_others() {
    let dir = workspace();
    let output = sallyport(dir.path(), &["--listen", "0.0.0.0:0"]);
    insta::assert_snapshot!(stderr(&output));
    assert!(!dir.path().join("sallyport-data").exists(), "nothing was made before the check");
}

#[test]
fn broken_configurations_say_where_and_how_to_mend_them() {
    let dir = workspace();
    let output = sallyport(dir.path(), &["run", "--config", "bad.toml", "--check"]);
    insta::assert_snapshot!(stderr(&output));
}

#[test]
fn policy_findings_come_as_json_too() {
    let dir = workspace();
    let output = sallyport(dir.path(), &["policy", "check", "--format", "json", "good.policy", "bad.policy"]);
    let reports: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(reports.pointer("/0/ok"), Some(&true.into()));
    assert_eq!(reports.pointer("/0/rules"), Some(&1.into()));
    assert_eq!(reports.pointer("/1/ok"), Some(&false.into()));
    assert!(reports.pointer("/1/diagnostics/0/message").is_some(), "{reports}");
}

#[test]
fn the_help_of_the_program() {
    let dir = workspace();
    insta::assert_snapshot!(stdout(&sallyport(dir.path(), &["--help"])));
}
