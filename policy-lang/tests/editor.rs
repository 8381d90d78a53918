//! The editor grammar colours the examples as the language reads them. Its expressions use nothing that Rust's engine lacks, so that they
//! can be run here as an editor runs them: the leftmost match wins, of several the first pattern.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use regex_automata::Input;
use regex_automata::meta::Regex;
use regex_automata::util::captures::Captures;
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples")
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

struct Pattern {
    regex: Regex,
    name: Option<String>,
    captures: Vec<(usize, String)>,
}

fn patterns() -> Vec<Pattern> {
    let editor = examples().join("editor/vscode");
    let package = json(&editor.join("package.json"));
    assert!(editor.join(package["contributes"]["languages"][0]["configuration"].as_str().unwrap()).is_file());
    let grammar = json(&editor.join(package["contributes"]["grammars"][0]["path"].as_str().unwrap()));
    let short = |name: &Value| name.as_str().map(|name| name.strip_suffix(".sallyport-policy").unwrap().to_owned());
    let pattern = |pattern: &Value| Pattern {
        regex: Regex::new(pattern["match"].as_str().unwrap()).unwrap_or_else(|error| panic!("{pattern}: {error}")),
        name: short(&pattern["name"]),
        captures: pattern["captures"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(index, capture)| (index.parse().unwrap(), short(&capture["name"]).unwrap()))
            .collect(),
    };
    grammar["patterns"].as_array().unwrap().iter().map(pattern).collect()
}

/// The coloured parts of a line, in order.
fn colour<'l>(patterns: &[Pattern], line: &'l str) -> Vec<(&'l str, String)> {
    let mut parts = Vec::new();
    let mut at = 0;
    loop {
        let mut best: Option<(&Pattern, Captures)> = None;
        for pattern in patterns {
            let mut found = pattern.regex.create_captures();
            pattern.regex.captures(Input::new(line).range(at..), &mut found);
            let start = found.get_match().map(|found| found.start());
            let leads = best.as_ref().and_then(|(_, best)| best.get_match()).map(|best| best.start());
            if start.is_some_and(|start| leads.is_none_or(|leads| start < leads)) {
                best = Some((pattern, found));
            }
        }
        let Some((pattern, found)) = best else {
            return parts;
        };
        let whole = found.get_match().unwrap();
        assert!(!whole.is_empty(), "{line}");
        parts.extend(pattern.name.clone().map(|name| (&line[whole.range()], name)));
        for (index, name) in &pattern.captures {
            parts.extend(found.get_group(*index).map(|span| (&line[span.range()], name.clone())));
        }
        at = whole.end();
    }
}

#[test]
fn the_hospital_in_colours() {
    let patterns = patterns();
    let text = fs::read_to_string(examples().join("policies/hospital/inference.policy")).unwrap();
    let mut shown = String::new();
    for line in text.lines() {
        for (part, name) in colour(&patterns, line).iter().filter(|(_, name)| name != "punctuation") {
            writeln!(shown, "{name:32} {part}").unwrap();
        }
    }
    insta::assert_snapshot!(shown);
}

/// Every word that the grammar of the language knows has a colour.
#[test]
fn every_word_of_the_language_has_a_colour() {
    let patterns = patterns();
    let grammar = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/grammar.pest")).unwrap();
    let words = Regex::new("\"([a-z]+[a-z0-9]*)\"").unwrap();
    let mut count = 0;
    for word in words.find_iter(&grammar).map(|found| grammar[found.range()].trim_matches('"').to_owned()) {
        let item = matches!(word.as_str(), "rule" | "set" | "let" | "claim" | "detector");
        let line = if item { format!("{word} x") } else { word.clone() };
        let found = colour(&patterns, &line);
        // `$` paths, exponents of numbers and the like are no words.
        if word.len() > 1 && word != "x80" {
            assert!(found.first().is_some_and(|(part, _)| *part == word), "`{word}` has no colour: {found:?}");
            count += 1;
        }
    }
    assert!(count > 80, "only {count} words were found");
}

#[test]
fn literals_are_not_mistaken() {
    let patterns = patterns();
    let names = |line: &str| {
        colour(&patterns, line).into_iter().map(|(part, name)| format!("{name}: {part}")).collect::<Vec<_>>()
    };
    assert_eq!(
        names("2001:db8::/32 ::1 10.0.0.0/8 5/s 6y -2.5e3 2027-03-31 /a\\/b/ $.a['x]'][*] x-allow a.deny.b"),
        [
            "constant.numeric.address: 2001:db8::/32",
            "constant.numeric.address: ::1",
            "constant.numeric.address: 10.0.0.0/8",
            "constant.numeric.rate: 5/s",
            "constant.numeric: 6y",
            "constant.numeric: -2.5e3",
            "constant.numeric.date: 2027-03-31",
            "string.regexp: /a\\/b/",
            "variable.other.path: $.a['x]'][*]",
            "variable.other: x-allow",
            "variable.other: a.deny.b",
        ]
    );
}
