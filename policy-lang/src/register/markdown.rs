//! The register as Markdown (CommonMark with tables).

use super::{Control, Register};
use std::fmt::Write as _;

/// Several registers in one document.
#[must_use]
pub fn markdown(registers: &[Register]) -> String {
    registers.iter().map(one).collect::<Vec<_>>().join("\n")
}

fn one(register: &Register) -> String {
    let mut out = format!("# Controls of {} version {}\n", text(&register.name), register.version);
    paragraph(&mut out, &register.docs);
    let _ = writeln!(out, "\nSHA-256 of the policy set: `{}`", register.digest);
    let _ = writeln!(out, "\n| control | does | tests |\n|---|---|---|");
    for control in &register.controls {
        let does: Vec<String> = control.effects.iter().map(|effect| code_in_table(effect)).collect();
        let _ = writeln!(
            out,
            "| [{0}](#{1}) | {2} | {3} |",
            control.name,
            anchor(&control.name),
            does.join("<br>"),
            control.tests.len()
        );
    }
    for control in &register.controls {
        write_control(&mut out, control);
    }
    if !register.promises.is_empty() {
        out += "\n## Promises\n\nInvariants: what must hold whatever the rules say together.\n\n";
        for promise in &register.promises {
            let _ = writeln!(out, "* **{}** — {} ({})", text(&promise.name), code(&promise.promise), promise.place);
        }
    }
    if !register.definitions.is_empty() {
        out += "\n## Definitions\n";
        for definition in &register.definitions {
            paragraph(&mut out, &definition.docs);
            let _ = write!(out, "\n{}\n", block(&definition.source));
            let _ = writeln!(out, "\n{}", definition.place);
        }
    }
    if !register.tests.is_empty() {
        out += "\n## Tests\n\n| test | result | place |\n|---|---|---|\n";
        for test in &register.tests {
            let result = if test.passed { "passed" } else { "**failed**" };
            let _ = writeln!(out, "| {} | {result} | {} |", text(&test.name), test.place);
        }
    }
    out
}

fn write_control(out: &mut String, control: &Control) {
    let _ = writeln!(out, "\n## {}", control.name);
    paragraph(out, &control.docs);
    if control.shadow {
        *out += "\n**Shadow**: judged and recorded, not enforced.\n";
    }
    if control.of_answer {
        *out += "\nJudged when the answer is there.\n";
    }
    let _ = match control.condition.as_str() {
        "" => writeln!(out, "\n**When**: always."),
        condition => writeln!(out, "\n**When** {}", code(condition)),
    };
    *out += "\n";
    for effect in &control.effects {
        let _ = writeln!(out, "* {}", code(effect));
    }
    let _ = write!(out, "\nAs written in {}:\n\n{}\n", control.place, block(&control.source));
    match control.tests.as_slice() {
        [] => *out += "\n**No test shows it.**\n",
        tests => {
            *out += "\nTests that show it:\n\n";
            for test in tests {
                let _ = writeln!(out, "* {}", text(test));
            }
        }
    }
}

fn paragraph(out: &mut String, docs: &str) {
    if !docs.is_empty() {
        let _ = writeln!(out, "\n{docs}");
    }
}

/// What GitHub and GitLab make of a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect::<String>().to_lowercase()
}

/// Text in which nothing is markup.
fn text(plain: &str) -> String {
    let mut out = String::with_capacity(plain.len());
    for c in plain.chars() {
        if "\\`*_[]<>|#&".contains(c) {
            out.push('\\');
        }
        out.push(if c == '\n' { ' ' } else { c });
    }
    out
}

/// Code in a line, fenced by more backticks than it holds in a row.
fn code(source: &str) -> String {
    let fence = "`".repeat(longest_run(source) + 1);
    let pad = if source.starts_with('`') || source.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", source.replace('\n', " "))
}

/// In a table a bar ends the cell even within code.
fn code_in_table(source: &str) -> String {
    code(source).replace('|', "\\|")
}

fn block(source: &str) -> String {
    let fence = "`".repeat((longest_run(source) + 1).max(3));
    format!("{fence}policy\n{source}\n{fence}")
}

fn longest_run(source: &str) -> usize {
    source.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}
