//! Cases that are too large for a file, or no text at all.

use policy_lang::{Diagnostics, Loaded, Source, load_path, load_sources};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

const HEADER: &str = "policy \"p\" version 1\n";

type Outcome = Result<Loaded, Diagnostics>;

pub(super) fn cases() -> Vec<(&'static str, Outcome)> {
    vec![
        ("SP0001_unreadable", load_path(Path::new("no/such/place"))),
        ("SP0002_no_files", load_sources(Vec::new())),
        ("SP0003_file_size", one("x ".repeat(1 << 19))),
        ("SP0004_set_size", load_sources(vec![source("a.policy", "\n".repeat(1 << 20)); 17])),
        ("SP0005_not_utf8", not_utf8()),
        ("SP0006_files", load_sources(vec![source("a.policy", String::new()); 4_097])),
        ("SP0116_long_string", one(format!("rule a {{ deny \"{}\" }}", "x".repeat(4_097)))),
        ("SP0601_rules", one((0..10_001).map(|n| format!("rule r{n} {{ allow }}\n")).collect())),
        ("SP0602_entries", one(entries())),
        ("SP0603_condition", one(doubling())),
        ("SP0604_effects", one(effects())),
        ("SP0605_regexes", one(regexes())),
        ("SP0606_tests", one((0..10_001).map(|n| format!("test \"{n}\" {{ expect deny }}\n")).collect())),
        ("SP0920_pigeons", one(pigeons(9))),
    ]
}

fn source(name: &str, text: String) -> Source {
    Source { name: name.to_owned(), text }
}

fn one(text: String) -> Outcome {
    load_sources(vec![source("case.policy", HEADER.to_owned() + &text)])
}

/// A file that is no text, in a directory of its own whose name is not shown.
fn not_utf8() -> Outcome {
    let directory = std::env::temp_dir().join(format!("policy-lang-{}-not-utf8", std::process::id()));
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("a.policy"), b"policy \xff").unwrap();
    let mut outcome = load_path(&directory);
    fs::remove_dir_all(&directory).unwrap();
    if let Err(found) = &mut outcome {
        for finding in &mut found.list {
            finding.message = finding.message.replace(directory.to_str().unwrap(), "policies");
        }
    }
    outcome
}

fn entries() -> String {
    let entries: String = (0..100_001).map(|n| format!("\"{n:x}\",")).collect();
    format!("set s : model = {{ {entries} }}\nrule a {{ when model in s allow }}\n")
}

/// Each definition uses the one before twice.
fn doubling() -> String {
    let mut text = "let a0 = request.stream and model == \"x\"\n".to_owned();
    for n in 1..20 {
        writeln!(text, "let a{n} = (a{} or model == \"{n}\") and (a{0} or request.stream)", n - 1).unwrap();
    }
    text + "rule a { when a19 allow }\n"
}

fn effects() -> String {
    let masks: String = (0..101).map(|n| format!("mask request $.a{n}\n")).collect();
    format!("rule a {{\n{masks}}}\n")
}

fn regexes() -> String {
    let regexes: String = (0..1_001).map(|n| format!("let l{n} = request.text matches /{n}/\n")).collect();
    regexes + "rule a { allow }\n"
}

/// One more pigeon than holes, each test of text its own atom: no way to tell but to try.
fn pigeons(count: usize) -> String {
    let at = |pigeon: usize, hole: usize| format!("request.text contains \"{pigeon} in {hole}\"");
    let mut all: Vec<String> = Vec::new();
    for pigeon in 0..count {
        let somewhere: Vec<String> = (1..count).map(|hole| at(pigeon, hole)).collect();
        all.push(format!("({})", somewhere.join(" or ")));
    }
    for hole in 1..count {
        for pigeon in 0..count {
            all.extend((0..pigeon).map(|other| format!("not ({} and {})", at(pigeon, hole), at(other, hole))));
        }
    }
    format!("rule a {{ when {} deny \"No.\" }}\nrule z.ok {{ allow }}\n", all.join("\n and "))
}
