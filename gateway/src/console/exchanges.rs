//! Finding calls.

use super::parts::{badge, empty, heading, rule_name, short, status, time};
use super::value::{list as rows_of, number, text, texts};
use maud::{Markup, html};
use serde_json::Value;
use url::form_urlencoded;

/// What is looked for.
pub(crate) struct Search<'a> {
    pub(crate) q: &'a str,
    /// Also the log's notes.
    pub(crate) all: bool,
    /// Whether this is not the first page.
    pub(crate) paged: bool,
    /// Why nothing could be looked for.
    pub(crate) error: Option<&'a str>,
}

/// Queries to begin with.
const EXAMPLES: [&str; 7] =
    ["decision:deny", "decision:approved", "since:1h", "status:5xx", "masked:us_ssn", "rule:shadow:*", "subject:alice"];

pub(crate) fn list(view: &Value, search: &Search<'_>) -> Markup {
    let rows = rows_of(view, "/exchanges");
    html! {
        (heading("Exchanges", Some(html! {
            button #live .toggle type="button" aria-pressed="false" hidden data-q=(search.q) data-all=(search.all) { "Follow live" }
        })))
        form.search role="search" method="get" action="/exchanges" {
            label.unseen for="q" { "Search" }
            input #q type="search" name="q" value=(search.q) placeholder="subject:alice model:gpt-4o* decision:deny since:2h text:\"wire transfer\"" autocomplete="off" spellcheck="false" data-slash aria-describedby="q-help";
            label.check { input type="checkbox" name="all" value="true" checked[search.all]; " the log's own notes too" }
            button.primary { "Search" }
        }
        p #q-help .help {
            "Fields: subject tenant model operation decision kind status since until rule masked id trace text. All terms must hold; a last * stands for anything. Try "
            @for example in EXAMPLES { a.chip href={ "/exchanges?" (query(example, false, None)) } { (example) } " " }
        }
        @if let Some(error) = search.error { p.panel.note.bad role="alert" { (error) } }
        p #live-state .dim role="status" {}
        section.panel aria-label="Results" {
            @if rows.is_empty() && search.error.is_none() {
                (empty("Nothing found", if search.q.is_empty() { "Calls appear here as soon as they are written down." } else { "No record fits all of these terms. Take one away, or widen the time." }))
            }
            div.scroll #results tabindex="0" role="region" aria-label="Exchanges" hidden[rows.is_empty()] {
                table {
                    thead { tr {
                        th scope="col" { "Time" } th scope="col" { "Caller" } th scope="col" { "Model" } th scope="col" { "Operation" }
                        th scope="col" { "Decision" } th scope="col" { "Status" } th scope="col" { "Rules" } th scope="col" { "Masked" } th scope="col" { "Record" }
                    } }
                    tbody #rows { @for row in rows.iter().rev() { (line(row)) } }
                }
            }
            div.pages {
                @if search.paged { a href={ "/exchanges?" (query(search.q, search.all, None)) } { "← Newest" } }
                @if let Some(before) = view.get("before").and_then(Value::as_u64) {
                    a rel="next" href={ "/exchanges?" (query(search.q, search.all, Some(before))) } { "Older →" }
                }
            }
        }
    }
}

fn line(row: &Value) -> Markup {
    let id = text(row, "/id");
    let ended_by = text(row, "/ended_by");
    let masks = texts(row, "/masks").join(", ");
    html! {
        tr {
            td { (time(text(row, "/time"))) }
            td { (text(row, "/subject")) }
            td { @if !text(row, "/model").is_empty() { code { (text(row, "/model")) } } }
            td { (text(row, "/operation")) @if !matches!(text(row, "/kind"), "call" | "refusal") { span.dim { (text(row, "/kind")) } } }
            td { (badge(text(row, "/decision"))) }
            td { (status(row.get("status").and_then(Value::as_u64))) @if !matches!(ended_by, "" | "complete") { " " (badge(ended_by)) } }
            td.rules { @for name in texts(row, "/rules") { (rule_name(name)) } }
            td { @if number(row, "/mask_count") > 0 { span.badge.mask title=(masks) { (number(row, "/mask_count")) " × " (masks) } } }
            td { a href={ "/exchanges/" (id) } { (short(id, 14)) } }
        }
    }
}

fn query(q: &str, all: bool, before: Option<u64>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("q", q);
    if all {
        query.append_pair("all", "true");
    }
    if let Some(before) = before {
        query.append_pair("before", &before.to_string());
    }
    query.finish()
}
