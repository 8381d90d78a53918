//! `docs/policy/diagnostics.md`, made from the cases.

use super::{Case, TODAY};
use policy_lang::{Code, DiagnosticSeverity, Source};
use std::fmt::Write as _;

const AREAS: [(&str, &str); 8] = [
    ("SP00", "Files"),
    ("SP01", "Syntax"),
    ("SP02", "Names"),
    ("SP03", "Types"),
    ("SP04", "Regular expressions"),
    ("SP05", "Effects"),
    ("SP06", "Bounds"),
    ("SP09", "What is probably not as meant"),
];

const INTRODUCTION: &str = "\
# Diagnostics of the policy language

<!-- Made by policy-lang/tests/diagnostics.rs from its golden files; do not edit. -->

Every finding has a code that stays the same from release to release, a place, and what to do. Errors (`error[…]`) keep a set from being
used, but for SP0511, which only the check finds: a gateway that loads such a set keeps more. Warnings (`warning[…]`) say what is probably
not as meant. `sallyport policy check --format json` and `--format sarif` give the same
to machines; where a change is surely meant it is in the finding as a patch.

## What is decided, and what is not

`policy check` decides whether some call meets a condition. It is complete for sets, ranges of numbers and dates, networks, groups,
scopes, claims and presence, and for globs as far as their bounds go. What a text holds (`matches`, `contains`, `finds`) is taken as free: two tests of text never contradict each
other, and a condition that only a text could decide is not reported. Values at JSON paths with wildcards, and paths that lie within one
another, are taken as independent.

* Of two rules it is decided whether one of them adds nothing, never has the word, or always denies what the other allows. What only three
  or more rules do together is not looked for.
* Who is in a group is not in a policy. An approval is reported (SP0919) where a rule is about named callers only and demands of each that
  they are in every group that may approve. Whether a group has enough other members is not known here; nobody ever approves their own call.
* A witness is a call, as the members of `given` in a test, on which the finding shows. It leaves out what does not matter.
* Work is bounded. Where a bound is hit nothing is claimed, and SP0920 says how many questions are open.
";

pub(super) fn page(cases: &[Case]) -> String {
    let mut page = INTRODUCTION.to_owned();
    for (prefix, title) in AREAS {
        writeln!(page, "\n## {title}").unwrap();
        for (_, code, meaning) in Code::ALL.iter().filter(|(_, code, _)| code.starts_with(prefix)) {
            writeln!(page, "\n### {code}\n\n{}.", capital(meaning)).unwrap();
            let of_code = || cases.iter().filter(|case| case.code() == *code);
            // The case with a right example is the one to show.
            if let Some(case) = of_code().find(|case| case.right.is_some()).or_else(|| of_code().next()) {
                example(&mut page, case);
            }
        }
    }
    page
}

fn example(page: &mut String, case: &Case) {
    match case.files.is_empty() {
        true => writeln!(page, "\nWhat the writer sees:").unwrap(),
        false => {
            writeln!(page, "\nWrong:").unwrap();
            texts(page, &case.files);
            let when = if ["SP0909", "SP0910"].contains(&case.code()) { format!(" on {TODAY}") } else { String::new() };
            writeln!(page, "\nWhat the writer sees{when}:").unwrap();
        }
    }
    let shown = case.found.list.iter().filter(|found| found.code == case.code());
    // Several findings of one kind say little more than the first.
    for found in shown.take(2) {
        let text = found.render(&case.found.sources, false);
        let kind = if found.severity == DiagnosticSeverity::Error { "error" } else { "warning" };
        assert!(text.starts_with(kind));
        writeln!(page, "\n```text\n{}\n```", text.trim_end()).unwrap();
    }
    if let Some(right) = &case.right {
        writeln!(page, "\nRight:").unwrap();
        texts(page, right);
    }
}

fn texts(page: &mut String, files: &[Source]) {
    for file in files {
        if files.len() > 1 {
            writeln!(page, "\n`{}`", file.name).unwrap();
        }
        writeln!(page, "\n```policy\n{}\n```", file.text.trim_end()).unwrap();
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}
