//! Every diagnostic as people see it: one `.policy` file per case in `tests/diagnostics`, its golden text beside it. The name of a file
//! begins with the code that it is about.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_lang::{Code, Diagnostics, Source, load_sources};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Shown by tests that build their input: it is too large for a file, or no text at all.
const ELSEWHERE: [Code; 13] = [
    Code::Unreadable,
    Code::NoFiles,
    Code::FileTooLarge,
    Code::SetTooLarge,
    Code::NotUtf8,
    Code::TooManyFiles,
    Code::StringTooLong,
    Code::TooManyRules,
    Code::TooManyEntries,
    Code::ConditionTooLarge,
    Code::TooManyEffects,
    Code::TooManyRegexes,
    // By definition there is no text that leads there.
    Code::Internal,
];

fn cases() -> Vec<PathBuf> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/diagnostics");
    let mut cases: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "policy"))
        .collect();
    cases.sort();
    cases
}

fn findings(path: &Path) -> Diagnostics {
    let source = Source { name: "case.policy".to_owned(), text: fs::read_to_string(path).unwrap() };
    match load_sources(vec![source]) {
        Ok(loaded) => loaded.diagnostics(),
        Err(diagnostics) => diagnostics,
    }
}

#[test]
fn golden() {
    for path in cases() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let found = findings(&path);
        let code = name.split('_').next().unwrap();
        assert!(
            found.list.iter().any(|d| d.code == code),
            "{name} shows {:?}",
            found.list.iter().map(|d| d.code).collect::<Vec<_>>()
        );
        insta::with_settings!({
            snapshot_path => "diagnostics",
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(name, found.render_all(false));
        });
    }
}

#[test]
fn every_code_has_a_case() {
    let shown: BTreeSet<String> = cases()
        .iter()
        .map(|path| path.file_stem().unwrap().to_str().unwrap().split('_').next().unwrap().to_owned())
        .collect();
    for (code, text, meaning) in Code::ALL {
        assert!(ELSEWHERE.contains(code) || shown.contains(*text), "no case for {text} ({meaning})");
    }
}

#[test]
fn codes_are_unique() {
    let codes: BTreeSet<&str> = Code::ALL.iter().map(|(_, text, _)| *text).collect();
    assert_eq!(codes.len(), Code::ALL.len());
}

#[test]
fn json_has_places() {
    let text = "policy \"p\" version 1\nrule a { alow }\n";
    let source = Source { name: "a.policy".to_owned(), text: text.to_owned() };
    let found = load_sources(vec![source]).unwrap_err();
    insta::assert_snapshot!(serde_json::to_string_pretty(&found.to_json()).unwrap());
    assert_eq!(
        found.to_string(),
        "a.policy:2:10: expected a clause (`when`, `allow`, `deny`, `require`, `mask`, …), found `alow` [SP0101]"
    );
    assert!(found.render_all(true).contains("\u{1b}["));
}
