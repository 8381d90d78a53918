//! Answers for the oracles under `scripts/oracles`, a line for each line `detectors<TAB>key<TAB>text`. Names of detectors are separated by commas,
//! `*` is all of tier V; the key is the name of the JSON member that holds the text, or nothing. In the text `\n`, `\r`, `\t` and `\\` are escapes.
//!
//! The answer is `1` if one detector takes the whole text, `0` if none does, `?` if there is no such detector. With `--spans` it is what is found,
//! with its range of bytes, `us_ssn:3-14 email:20-31`, or `-`.

use policy_compiler::detect::{self, Finding};
use std::io::{BufRead, Write};

/// Everything that the detectors find, or `None` if there is no such detector.
fn found(detectors: &str, key: &str, text: &str) -> Option<Vec<Finding>> {
    if detectors == "*" {
        return Some(detect::find_validated(text));
    }
    let mut all = Vec::new();
    for detector in detectors.split(',') {
        let own =
            if key.is_empty() { detect::find(detector, text) } else { detect::find_in_member(detector, key, text) };
        all.extend(own?);
    }
    all.sort_by_key(|finding| (finding.range.start, finding.range.end));
    Some(all)
}

fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => match characters.next() {
                Some('n') => out.push('\n'),
                Some('r') => out.push('\r'),
                Some('t') => out.push('\t'),
                Some(other) => out.push(other),
                None => out.push('\\'),
            },
            other => out.push(other),
        }
    }
    out
}

fn main() -> std::io::Result<()> {
    let spans = std::env::args().nth(1).is_some_and(|mode| mode == "--spans");
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let mut fields = line.splitn(3, '\t');
        let (Some(detectors), Some(key), Some(text)) = (fields.next(), fields.next(), fields.next()) else {
            writeln!(out, "?")?;
            continue;
        };
        let text = unescaped(text);
        let answer = match found(detectors, key, &text) {
            None => "?".to_owned(),
            Some(found) if spans && found.is_empty() => "-".to_owned(),
            Some(found) if spans => {
                let said =
                    |finding: &Finding| format!("{}:{}-{}", finding.detector, finding.range.start, finding.range.end);
                found.iter().map(said).collect::<Vec<_>>().join(" ")
            }
            Some(found) if found.iter().any(|finding| finding.range == (0..text.len())) => "1".to_owned(),
            Some(_) => "0".to_owned(),
        };
        writeln!(out, "{answer}")?;
    }
    out.flush()
}
