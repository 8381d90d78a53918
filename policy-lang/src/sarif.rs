//! Findings as SARIF 2.1.0 (OASIS standard), the form that code scanning tools read.

use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::source::Sources;
use serde_json::{Map, Value, json};

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";
/// Where every code is explained, in the sources of this project.
const HELP: &str = "docs/policy/diagnostics.md";

pub(crate) fn log(list: &[Diagnostic], sources: &Sources) -> Value {
    // Only the rules that were broken, each once, in the order of the codes.
    let used: Vec<&(Code, &str, &str)> =
        Code::ALL.iter().filter(|(_, code, _)| list.iter().any(|found| found.code == *code)).collect();
    let rules: Vec<Value> = used
        .iter()
        .map(|(_, code, meaning)| {
            json!({
                "id": code,
                "shortDescription": { "text": meaning },
                "help": { "text": format!("see {HELP}#{}", code.to_lowercase()) },
            })
        })
        .collect();
    let results: Vec<Value> = list
        .iter()
        .map(|found| result(found, used.iter().position(|(_, code, _)| *code == found.code), sources))
        .collect();
    json!({
        "$schema": SCHEMA,
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "sallyport policy check",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            } },
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result(found: &Diagnostic, rule: Option<usize>, sources: &Sources) -> Value {
    let mut text = found.message.clone();
    for more in [&found.note, &found.help].into_iter().flatten() {
        text += "\n";
        text += more;
    }
    let mut result = Map::new();
    result.insert("ruleId".to_owned(), json!(found.code));
    if let Some(rule) = rule {
        result.insert("ruleIndex".to_owned(), json!(rule));
    }
    let level = match found.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    };
    result.insert("level".to_owned(), json!(level));
    result.insert("message".to_owned(), json!({ "text": text }));
    let places: Vec<Value> = found.labels.iter().map(|label| location(label, sources)).collect();
    if let Some((first, others)) = places.split_first() {
        result.insert("locations".to_owned(), json!([first]));
        if !others.is_empty() {
            result.insert("relatedLocations".to_owned(), json!(others));
        }
    }
    if let Some(patch) = &found.patch {
        let place = Label { file: patch.file, span: patch.span.clone(), text: String::new() };
        result.insert(
            "fixes".to_owned(),
            json!([{ "artifactChanges": [{
                "artifactLocation": { "uri": uri(&sources.display_name(patch.file)) },
                "replacements": [{
                    "deletedRegion": region(&place, sources),
                    "insertedContent": { "text": patch.replacement },
                }],
            }] }]),
        );
    }
    if let Some((call, what)) = &found.witness {
        result.insert("properties".to_owned(), json!({ "witness": call, "witnessIs": what }));
    }
    Value::Object(result)
}

fn location(label: &Label, sources: &Sources) -> Value {
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": { "uri": uri(&sources.display_name(label.file)) },
            "region": region(label, sources),
        },
    });
    if let (false, Some(members)) = (label.text.is_empty(), location.as_object_mut()) {
        members.insert("message".to_owned(), json!({ "text": label.text }));
    }
    location
}

/// Lines and columns from 1, the end behind the last character (section 3.30).
fn region(label: &Label, sources: &Sources) -> Value {
    let (start_line, start_column) = sources.position(label.file, label.span.start);
    let (end_line, end_column) = sources.position(label.file, label.span.end);
    json!({
        "startLine": start_line,
        "startColumn": start_column,
        "endLine": end_line,
        "endColumn": end_column,
    })
}

/// A relative reference (RFC 3986): everything but unreserved characters and slashes is encoded.
fn uri(name: &str) -> String {
    let mut uri = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            other => uri += &format!("%{other:02X}"),
        }
    }
    uri
}
