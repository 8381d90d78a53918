//! `sallyport mask`: text, JSON and streams through a pipe.

use std::io::Write;
use std::process::{Command, Output, Stdio};

const POLICY: &str = r#"policy "t" version 1
rule never { when model == "no-such-model" mask response text with detect(us_ssn, email) as label }
rule asked { mask request text with detect(us_ssn) as last4 }
rule tried shadow { mask response text with /fine/ as label }
"#;

fn mask(args: &[&str], input: &str) -> Output {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("t.policy");
    std::fs::write(&policy, POLICY).unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_sallyport"))
        .args(["mask", "--policy"])
        .arg(&policy)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that ended early closed its input, which some cases below are about.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn masked(args: &[&str], input: &str) -> String {
    let output = mask(args, input);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_kind_of_the_input_is_told_from_its_beginning() {
    assert_eq!(masked(&[], "a line\nSSN 536-22-8145 fine\n"), "a line\nSSN [US_SSN] fine\n");
    assert_eq!(masked(&[], r#"{"any":["536-22-8145"],"n":1}"#), r#"{"any":["[US_SSN]"],"n":1}"#);
    let lines = "{\"log\":\"536-22-8145\"}\nno json 536-22-8145\n\n{\"log\":\"fine\"}\n";
    assert_eq!(masked(&[], lines), lines.replace("536-22-8145", "[US_SSN]"));
    let stream = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"536-22\"}}]}\n\ndata: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"-8145!\"}}]}\n\ndata: [DONE]\n\n";
    let out = masked(&[], stream);
    assert!(out.contains("\"content\":\"[US_SSN]!\"") && out.ends_with("data: [DONE]\n\n"), "{out}");
    let anthropic = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"bob@example.com.\"}}\n\nevent: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n";
    assert!(masked(&[], anthropic).contains("[EMAIL]."));
}

#[test]
fn dialects_sides_and_hits() {
    let body = r#"{"system":"536-22-8145","unknown":"536-22-8145"}"#;
    assert_eq!(
        masked(&["--dialect", "messages", "--side", "request"], body),
        r#"{"system":"***-**-8145","unknown":"536-22-8145"}"#
    );
    assert_eq!(
        masked(&["--dialect", "/v1/embeddings", "--side", "request"], r#"{"input":"536-22-8145"}"#),
        r#"{"input":"***-**-8145"}"#
    );
    let output = mask(&["--hits", "--dialect", "text"], "x 536-22-8145");
    let hit: serde_json::Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!(
        (hit["detector"].as_str(), hit["offset"].as_u64(), hit["length"].as_u64()),
        (Some("us_ssn"), Some(2), Some(11))
    );
    assert!(!String::from_utf8_lossy(&output.stderr).contains("8145"));
}

#[test]
fn what_cannot_be_masked_is_not_written() {
    let output = mask(&["--dialect", "chat"], "{\"choices\":[");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    let output = mask(&["--dialect", "chat"], "data: {broken 536-22-8145\n\n");
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(mask(&["--dialect", "nonsense"], "x").status.code(), Some(2));
}
