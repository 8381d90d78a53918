//! The register as one HTML page that needs nothing else: no script, no font, no picture from elsewhere.

use super::{Control, Register};
use std::fmt::Write as _;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{border-bottom:2px solid;padding-bottom:.3rem}\
h2{margin-top:2.5rem}h2 small{font-weight:normal;opacity:.7}\
code,pre{font:14px/1.45 ui-monospace,monospace}\
pre{border:1px solid #8888;border-radius:.4rem;padding:.7rem;overflow-x:auto}\
table{border-collapse:collapse;width:100%}td,th{border:1px solid #8888;padding:.3rem .6rem;text-align:left;vertical-align:top}\
.docs{white-space:pre-line}.missing,.failed{color:#c22}.shadow{opacity:.75}\
@media print{pre{white-space:pre-wrap}section{break-inside:avoid}}";

/// Several registers on one page.
#[must_use]
pub fn html(registers: &[Register]) -> String {
    let title: Vec<String> =
        registers.iter().map(|register| format!("{} version {}", register.name, register.version)).collect();
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width\">\n<title>Controls of {}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n",
        escape(&title.join(", "))
    );
    for register in registers {
        write_register(&mut out, register);
    }
    out + "</body>\n</html>\n"
}

fn write_register(out: &mut String, register: &Register) {
    let _ = writeln!(out, "<h1>Controls of {} version {}</h1>", escape(&register.name), register.version);
    docs(out, &register.docs);
    let _ = writeln!(out, "<p>SHA-256 of the policy set: <code>{}</code></p>", register.digest);
    *out += "<table>\n<tr><th>control</th><th>does</th><th>tests</th></tr>\n";
    for control in &register.controls {
        let does: Vec<String> = control.effects.iter().map(|effect| code(effect)).collect();
        let _ = writeln!(
            out,
            "<tr><td><a href=\"#{0}\">{0}</a></td><td>{1}</td><td>{2}</td></tr>",
            escape(&control.name),
            does.join("<br>"),
            control.tests.len()
        );
    }
    *out += "</table>\n";
    for control in &register.controls {
        write_control(out, control);
    }
    if !register.promises.is_empty() {
        *out += "<h2>Promises</h2>\n<p>Invariants: what must hold whatever the rules say together.</p>\n<ul>\n";
        for promise in &register.promises {
            let _ = writeln!(
                out,
                "<li><b>{}</b> — {} <small>{}</small></li>",
                escape(&promise.name),
                code(&promise.promise),
                escape(&promise.place)
            );
        }
        *out += "</ul>\n";
    }
    if !register.definitions.is_empty() {
        *out += "<h2>Definitions</h2>\n";
        for definition in &register.definitions {
            docs(out, &definition.docs);
            let _ = writeln!(
                out,
                "<pre>{}</pre>\n<p><small>{}</small></p>",
                escape(&definition.source),
                escape(&definition.place)
            );
        }
    }
    if !register.tests.is_empty() {
        *out += "<h2>Tests</h2>\n<table>\n<tr><th>test</th><th>result</th><th>place</th></tr>\n";
        for test in &register.tests {
            let result = if test.passed { "passed" } else { "<b class=\"failed\">failed</b>" };
            let _ = writeln!(
                out,
                "<tr><td>{}</td><td>{result}</td><td>{}</td></tr>",
                escape(&test.name),
                escape(&test.place)
            );
        }
        *out += "</table>\n";
    }
}

fn write_control(out: &mut String, control: &Control) {
    let class = if control.shadow { " class=\"shadow\"" } else { "" };
    let name = escape(&control.name);
    let _ = writeln!(out, "<section{class}>\n<h2 id=\"{name}\">{name} <small>{}</small></h2>", escape(&control.place));
    docs(out, &control.docs);
    if control.shadow {
        *out += "<p><b>Shadow</b>: judged and recorded, not enforced.</p>\n";
    }
    if control.of_answer {
        *out += "<p>Judged when the answer is there.</p>\n";
    }
    let _ = match control.condition.as_str() {
        "" => writeln!(out, "<p><b>When</b>: always.</p>"),
        condition => writeln!(out, "<p><b>When</b> {}</p>", code(condition)),
    };
    *out += "<ul>\n";
    for effect in &control.effects {
        let _ = writeln!(out, "<li>{}</li>", code(effect));
    }
    let _ = writeln!(out, "</ul>\n<pre>{}</pre>", escape(&control.source));
    match control.tests.as_slice() {
        [] => *out += "<p class=\"missing\"><b>No test shows it.</b></p>\n",
        tests => {
            *out += "<p>Tests that show it:</p>\n<ul>\n";
            for test in tests {
                let _ = writeln!(out, "<li>{}</li>", escape(test));
            }
            *out += "</ul>\n";
        }
    }
    *out += "</section>\n";
}

fn docs(out: &mut String, docs: &str) {
    if !docs.is_empty() {
        let _ = writeln!(out, "<p class=\"docs\">{}</p>", escape(docs));
    }
}

fn code(source: &str) -> String {
    format!("<code>{}</code>", escape(source))
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            c => out.push(c),
        }
    }
    out
}
