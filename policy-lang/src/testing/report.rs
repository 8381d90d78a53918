//! What came of tests, for people, for machines and for build servers.

use super::run::{TestReport, TestResult};
use crate::source::Sources;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One line for each test, then every failure with its place, then a sum. With colours for terminals.
#[must_use]
pub fn to_text(report: &TestReport, sources: &Sources, color: bool) -> String {
    let paint = |text: &str, code: &str| match color {
        true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
        false => text.to_owned(),
    };
    let mut out = String::new();
    for result in &report.results {
        let mark = match result.failure {
            None => paint("ok  ", "32"),
            Some(_) => paint("FAIL", "1;31"),
        };
        let _ = writeln!(out, "{mark}  {}", result.name);
    }
    for failure in report.results.iter().filter_map(|result| result.failure.as_ref()) {
        let _ = write!(out, "\n{}\n", failure.render(sources, color));
    }
    let (passed, failed) = report.counts();
    let sum = match (passed, failed) {
        (0, 0) => "no tests".to_owned(),
        (passed, 0) => format!("{} passed", tests(passed)),
        (passed, failed) => format!("{}: {passed} passed, {failed} failed", tests(passed + failed)),
    };
    let _ = writeln!(out, "{}{sum}", if report.results.is_empty() { "" } else { "\n" });
    out
}

fn tests(count: usize) -> String {
    format!("{count} test{}", if count == 1 { "" } else { "s" })
}

/// Every test with its place, the rules that held, and its failure as a diagnostic.
#[must_use]
pub fn to_json(report: &TestReport, sources: &Sources, rule_name: &dyn Fn(crate::RuleId) -> String) -> Value {
    let test = |result: &TestResult| {
        json!({
            "name": result.name,
            "file": sources.display_name(result.file),
            "line": result.line,
            "passed": result.failure.is_none(),
            "fired": result.fired.iter().map(|rule| rule_name(*rule)).collect::<Vec<_>>(),
            "failure": result.failure.as_ref().map(|failure| failure.to_json(sources)),
        })
    };
    let (passed, failed) = report.counts();
    json!({ "passed": passed, "failed": failed, "tests": report.results.iter().map(test).collect::<Vec<_>>() })
}

/// The `<testsuite>` of a set in the JUnit form that build servers read.
#[must_use]
pub fn junit(report: &TestReport, sources: &Sources, suite: &str) -> String {
    let (passed, failed) = report.counts();
    let mut out = String::new();
    let _ = writeln!(
        out,
        r#"  <testsuite name="{}" tests="{}" failures="{failed}" errors="0" skipped="0">"#,
        xml(suite),
        passed + failed
    );
    for result in &report.results {
        let file = sources.display_name(result.file);
        let _ = write!(
            out,
            r#"    <testcase classname="{}" name="{}" file="{}" line="{}""#,
            xml(suite),
            xml(&result.name),
            xml(&file),
            result.line
        );
        let Some(failure) = &result.failure else {
            out += "/>\n";
            continue;
        };
        let _ = write!(
            out,
            ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>\n",
            xml(&failure.message),
            // White space counts in elements as it stands; only attributes need it spelt out.
            xml(&failure.render(sources, false)).replace("&#10;", "\n")
        );
    }
    out + "  </testsuite>\n"
}

/// Text for XML 1.0: markup escaped, characters that XML cannot hold replaced.
fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\n' => out += "&#10;",
            '\t' => out += "&#9;",
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
