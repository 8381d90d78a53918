//! Diagnostics as text in rustc's look, and as JSON.

use crate::diagnostic::{Diagnostic, Severity};
use crate::source::Sources;
use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};
use serde_json::{Value, json};

pub(crate) fn text(diagnostic: &Diagnostic, sources: &Sources, color: bool) -> String {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = level.primary_title(diagnostic.message.as_str()).id(diagnostic.code);
    let mut group = Group::with_title(title);
    for file in files_in_order(diagnostic) {
        let Some(source) = sources.files().get(file) else {
            continue;
        };
        let mut snippet = Snippet::source(source.text.as_str()).path(sources.display_name(file));
        for (position, label) in diagnostic.labels.iter().enumerate() {
            if label.file != file {
                continue;
            }
            let kind = match position {
                0 => AnnotationKind::Primary,
                _ => AnnotationKind::Context,
            };
            let end = source.text.floor_char_boundary(label.span.end);
            let start = source.text.floor_char_boundary(label.span.start.min(end));
            let annotation = kind.span(start..end);
            snippet = snippet.annotation(match label.text.as_str() {
                "" => annotation,
                text => annotation.label(text),
            });
        }
        group = group.element(snippet);
    }
    if let Some(note) = &diagnostic.note {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    let witness = diagnostic.witness.as_ref().map(|(call, what)| given(call, what));
    if let Some(witness) = &witness {
        group = group.element(Level::NOTE.message(witness.as_str()));
    }
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    let renderer = match color {
        true => Renderer::styled(),
        false => Renderer::plain(),
    };
    renderer.decor_style(DecorStyle::Ascii).render(&[group])
}

/// A call as a test would give it.
fn given(call: &Value, what: &str) -> String {
    let parts: Vec<String> =
        call.as_object().into_iter().flatten().map(|(part, members)| format!("given {part} {members}")).collect();
    match parts.is_empty() {
        true => format!("{what}: any"),
        false => format!("{what}: {}", parts.join(" ")),
    }
}

pub(crate) fn all(list: &[Diagnostic], sources: &Sources, color: bool) -> String {
    let mut out = String::new();
    for diagnostic in list {
        out += &text(diagnostic, sources, color);
        out += "\n\n";
    }
    let count = |severity| list.iter().filter(|d| d.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    let plural = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
    out += &match (errors, warnings) {
        (0, 0) => "no findings".to_owned(),
        (0, _) => plural(warnings, "warning"),
        (_, 0) => plural(errors, "error"),
        _ => format!("{}, {}", plural(errors, "error"), plural(warnings, "warning")),
    };
    out.push('\n');
    out
}

pub(crate) fn json(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let labels: Vec<Value> = diagnostic
        .labels
        .iter()
        .map(|label| {
            let place = |offset| {
                let (line, column) = sources.position(label.file, offset);
                json!({ "offset": offset, "line": line, "column": column })
            };
            json!({
                "file": sources.display_name(label.file),
                "text": label.text,
                "start": place(label.span.start),
                "end": place(label.span.end),
            })
        })
        .collect();
    json!({
        "code": diagnostic.code,
        "severity": match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": diagnostic.message,
        "labels": labels,
        "note": diagnostic.note,
        "help": diagnostic.help,
        "witness": diagnostic.witness.as_ref().map(|(call, _)| call),
        "patch": diagnostic.patch.as_ref().map(|patch| json!({
            "file": sources.display_name(patch.file),
            "start": patch.span.start,
            "end": patch.span.end,
            "replacement": patch.replacement,
        })),
    })
}

pub(crate) fn json_all(list: &[Diagnostic], sources: &Sources) -> Value {
    list.iter().map(|diagnostic| json(diagnostic, sources)).collect()
}

/// The file of the first label first: that is where the reader should look.
fn files_in_order(diagnostic: &Diagnostic) -> Vec<usize> {
    let mut files = Vec::new();
    for label in &diagnostic.labels {
        if !files.contains(&label.file) {
            files.push(label.file);
        }
    }
    files
}
