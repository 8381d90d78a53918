//! docs/detectors.md says what the catalogue says. `UPDATE_DOCS=1` writes it anew.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_compiler::detect;
use policy_lang::catalogue::{detectors, families, family};
use std::fmt::Write as _;
use std::path::Path;

const BEGIN: &str = "<!-- from the catalogue -->";
const END: &str = "<!-- end of the catalogue -->";

/// Ways to write a value so that people read it and a pattern does not; `scripts/oracles/evasions` writes what becomes of each into the page.
fn evasions() -> Vec<(String, String, String)> {
    let lines = include_str!("evasions.jsonl").lines();
    let member = |line: &serde_json::Value, name: &str| line[name].as_str().unwrap().to_owned();
    lines
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .map(|line| (member(&line, "detector"), member(&line, "text"), member(&line, "how")))
        .collect()
}

fn table() -> String {
    let mut page = String::new();
    writeln!(page, "## The catalogue\n\n{} detectors in {} families.\n", detectors().len(), families().len()).unwrap();
    writeln!(page, "| name | tier | finds | check | `last4` | source |\n|---|---|---|---|---|---|").unwrap();
    for detector in detectors() {
        let last4 = if detector.takes_last4() { "yes" } else { "label instead" };
        writeln!(
            page,
            "| `{}` | {} | {} | {} | {last4} | {} |",
            detector.id,
            detector.tier.letter(),
            detector.about,
            detector.check,
            detector.source
        )
        .unwrap();
    }
    writeln!(page, "\n### Families\n\n| family | detectors |\n|---|---|").unwrap();
    for name in families() {
        let members: Vec<String> = family(name).unwrap().iter().map(|detector| format!("`{}`", detector.id)).collect();
        writeln!(page, "| `{name}` | {} |", members.join(" ")).unwrap();
    }
    writeln!(page, "\n### Context words\n\n| detector | words |\n|---|---|").unwrap();
    for detector in detectors().iter().filter(|detector| !detector.context.is_empty()) {
        writeln!(page, "| `{}` | {} |", detector.id, detector.context.join(", ")).unwrap();
    }
    page
}

#[test]
fn the_page_says_what_the_catalogue_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/detectors.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (head, rest) = page.split_once(BEGIN).expect("the page has the mark where the catalogue begins");
    let (_, tail) = rest.split_once(END).expect("the page has the mark where the catalogue ends");
    let wanted = format!("{head}{BEGIN}\n\n{}\n{END}{tail}", table());
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, wanted).unwrap();
    } else {
        assert!(page == wanted, "docs/detectors.md is not what the catalogue says: run this test with UPDATE_DOCS=1");
    }
}

#[test]
fn evasions_are_found() {
    for (detector, text, how) in evasions() {
        let found = detect::find(&detector, &text).unwrap();
        assert!(!found.is_empty(), "{detector} by {how}: {text}");
        let in_text = format!("it is {text}, I think");
        assert!(!detect::find(&detector, &in_text).unwrap().is_empty(), "{detector} by {how}: {in_text}");
    }
}
