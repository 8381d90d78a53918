//! The active policy set: its rules beside the traffic that they held for, its files, and a place to try calls.

use super::parts::{badge, count, fact, fact_of, heading, rule_said, short, time};
use super::value::{list, number, text, truth};
use maud::{Markup, html};
use serde_json::{Map, Value, json};

/// What the page shows.
pub(crate) struct View<'a> {
    pub(crate) active: &'a Value,
    pub(crate) rules: &'a Value,
    pub(crate) traffic: &'a Value,
    pub(crate) changes: &'a Value,
    pub(crate) may_reload: bool,
    pub(crate) csrf: &'a str,
}

/// What was tried.
#[derive(Default)]
pub(crate) struct Playground {
    /// The call, as JSON text.
    pub(crate) call: Option<String>,
    pub(crate) explained: Option<Result<Value, String>>,
    /// What came of reloading.
    pub(crate) reloaded: Option<String>,
}

const EXAMPLE: &str = r#"{
  "identity": { "subject": "alice", "groups": ["ml-apps"] },
  "request": {
    "method": "POST",
    "path": "/v1/chat/completions",
    "body": {
      "model": "mock-model",
      "messages": [{ "role": "user", "content": "Hello" }]
    }
  }
}"#;

pub(crate) fn page(view: &View<'_>, playground: &Playground) -> Markup {
    let active = view.active;
    html! {
        (heading("Policy", view.may_reload.then(|| html! {
            form method="post" action="/policy/reload" data-once { input type="hidden" name="csrf" value=(view.csrf); button { "Reload now" } }
        })))
        @if let Some(reloaded) = &playground.reloaded { p.panel.note role="status" { (reloaded) } }
        @if !text(active, "/last_error").is_empty() {
            section.panel.note.bad aria-labelledby="error-title" {
                h2 #error-title { "The newest files were not taken" }
                p { "The set before stays active. What is wrong:" }
                pre.body tabindex="0" { (text(active, "/last_error")) }
            }
        }
        div.columns {
            (summary(active))
            (changes(view.changes))
        }
        (rules(view))
        (files(view.rules))
        (self::playground(view.csrf, playground))
    }
}

fn summary(active: &Value) -> Markup {
    html! {
        section.panel aria-labelledby="active-title" {
            h2 #active-title { "Active set " (badge("active")) }
            @if !text(active, "/docs").is_empty() { p { (text(active, "/docs")) } }
            dl.facts {
                (fact("Name", text(active, "/name")))
                (fact("Version", &number(active, "/version").to_string()))
                (fact("Rules", &count(number(active, "/rules"))))
                (fact("Generation", &format!("{} since the start", number(active, "/generation"))))
                (fact("Engine", text(active, "/engine")))
                (fact_of("SHA-256", html! { code.long { (text(active, "/sha256")) } }))
            }
        }
    }
}

fn changes(changes: &Value) -> Markup {
    html! {
        section.panel aria-labelledby="changes-title" {
            h2 #changes-title { "Reloads" span.dim { " the newest first" } }
            ul.plain {
                @for change in list(changes, "/changes") {
                    li.between {
                        span { (badge(text(change, "/action"))) " " (time(text(change, "/time"))) }
                        a href={ "/exchanges/" (text(change, "/record")) } { (short(text(change, "/record"), 12)) }
                    }
                }
            }
        }
    }
}

fn rules(view: &View<'_>) -> Markup {
    let calls = number(view.traffic, "/calls");
    let hits = |mark: &str, name: &str| {
        let by_rule = view.traffic.get("by_rule").and_then(|rules| rules.get(format!("{mark}{name}")));
        by_rule.and_then(Value::as_u64).unwrap_or(0)
    };
    html! {
        section.panel aria-labelledby="rules-title" {
            h2 #rules-title {
                "Rules"
                span.dim {
                    " and how many of " (count(calls)) " calls "
                    @if truth(view.traffic, "/whole_day") { "of the last 24 hours" } @else { "(the newest)" }
                    " they held for"
                }
            }
            @if calls == 0 { p.dim { "No calls were judged in the last 24 hours, so every count is zero." } }
            div.scroll tabindex="0" role="region" aria-label="Rules" {
                table.rules {
                    thead { tr { th scope="col" { "Rule" } th scope="col" { "Held for" } th scope="col" { "Share" } th scope="col" { "Not judged" } th scope="col" { "Effects" } } }
                    tbody {
                        @for rule in list(view.rules, "/rules") {
                            @let name = text(rule, "/name");
                            @let held = if truth(rule, "/shadow") { hits("shadow:", name) } else { hits("", name) };
                            @let errors = hits("error:", name);
                            tr {
                                td { details.rule { summary { code { (name) } @if truth(rule, "/shadow") { " " (badge("shadow")) } } (rule_said(rule)) } }
                                td { (count(held)) }
                                td { meter min="0" max=(calls.max(1)) value=(held) aria-label={ "Share of calls that " (name) " held for" } {} }
                                td { @if errors > 0 { span.badge.bad { (count(errors)) } } @else { span.dim { "0" } } }
                                td { @for effect in list(rule, "/effects") { code.effect { (effect.as_str().unwrap_or_default()) } " " } }
                            }
                        }
                    }
                }
            }
            @if let Some(denied) = view.traffic.pointer("/by_rule/default-deny").and_then(Value::as_u64) {
                p.dim { (count(denied)) " calls were denied because no rule allowed them." }
            }
        }
    }
}

fn files(rules: &Value) -> Markup {
    html! {
        section.panel aria-labelledby="files-title" {
            h2 #files-title { "Files" }
            @for file in list(rules, "/files") {
                details { summary { code { (text(file, "/name")) } } pre.body tabindex="0" { (text(file, "/text")) } }
            }
        }
    }
}

fn playground(csrf: &str, playground: &Playground) -> Markup {
    let call = playground.call.as_deref().unwrap_or(EXAMPLE);
    html! {
        section.panel #playground aria-labelledby="playground-title" {
            h2 #playground-title { "Playground" }
            p { "Describe a call and see what the active set says to it. Nothing is sent anywhere." }
            form method="post" action="/policy/explain#playground" {
                input type="hidden" name="csrf" value=(csrf);
                label for="call" { "The call: identity, request, and if you like response, time, env" }
                textarea #call.code name="call" rows="14" spellcheck="false" { (call) }
                button.primary { "Explain" }
            }
            @match &playground.explained {
                Some(Ok(explained)) => (explanation(explained)),
                Some(Err(why)) => p.note.bad role="alert" { (why) },
                None => {},
            }
        }
    }
}

fn explanation(explained: &Value) -> Markup {
    let verdict = text(explained, "/verdict");
    let holds = |truth: Option<bool>| {
        list(explained, "/rules").iter().filter(move |rule| rule.pointer("/holds").and_then(Value::as_bool) == truth)
    };
    html! {
        div.explained role="status" {
            p.big { (badge(verdict)) @if number(explained, "/status") > 0 { " with status " (number(explained, "/status")) } }
            @if !text(explained, "/text").is_empty() { p { "The caller reads: " q { (text(explained, "/text")) } } }
            @if !text(explained, "/refused").is_empty() { p { (text(explained, "/refused")) } }
            @for reason in list(explained, "/reasons") { p.dim { (text(reason, "/reason")) } }
            @if explained.pointer("/closest_allow/rule").is_some() {
                p { "The closest rule that allows is " code { (text(explained, "/closest_allow/rule")) } "; missing: "
                    @for (place, missing) in list(explained, "/closest_allow/missing").iter().enumerate() { @if place > 0 { "; " } (missing.as_str().unwrap_or_default()) } }
            }
            @if !list(explained, "/owes").is_empty() {
                h3 { "What the call owes" }
                ul { @for owed in list(explained, "/owes") { li { code { (text(owed, "/effect")) } " " span.dim { "by " (text(owed, "/rule")) } } } }
            }
        }
        (group("Rules that hold", holds(Some(true)), true))
        (group("Rules that cannot be judged", holds(None), true))
        (group("Rules that do not hold", holds(Some(false)), false))
    }
}

fn group<'v>(title: &str, rules: impl Iterator<Item = &'v Value>, open: bool) -> Markup {
    let mut rules = rules.peekable();
    html! {
        @if rules.peek().is_some() {
            h3 { (title) }
            @for rule in rules {
                details.rule open[open] {
                    summary { code { (text(rule, "/rule")) } @if truth(rule, "/shadow") { " " (badge("shadow")) } }
                    ul.tree { (node(rule.get("condition").unwrap_or(&Value::Null))) }
                    p { @for effect in list(rule, "/effects") { code.effect { (effect.as_str().unwrap_or_default()) } " " } }
                }
            }
        }
    }
}

/// A condition and its parts.
fn node(condition: &Value) -> Markup {
    let (mark, words) = match condition.pointer("/holds").and_then(Value::as_bool) {
        Some(true) => ("good", "holds"),
        Some(false) => ("bad", "does not hold"),
        None => ("warn", "cannot be judged"),
    };
    let parts = ["/all", "/any"].iter().map(|name| list(condition, name)).find(|parts| !parts.is_empty());
    let name = if condition.get("all").is_some() { "all of" } else { "any of" };
    html! {
        li {
            span.dot.(mark) title=(words) {} span.unseen { (words) ": " }
            @if let Some(parts) = parts { (name) ul { @for part in parts { (node(part)) } } }
            @else if let Some(inner) = condition.get("not") { "not" ul { (node(inner)) } }
            @else if let Some(always) = condition.get("always").and_then(Value::as_bool) { @if always { "always" } @else { "never" } }
            @else {
                code { (text(condition, "/test")) }
                @if let Some(found) = condition.get("found") { " " span.dim { "found " (found.as_str().map_or_else(|| found.to_string(), str::to_owned)) } }
            }
        }
    }
}

/// A recorded call as the playground takes it: what the caller was, and the request as it was recorded.
pub(crate) fn described(story: &Value) -> String {
    let first = story.get("first").unwrap_or(&Value::Null);
    let mut identity = Map::new();
    for (name, pointer) in
        [("subject", "/envelope/subject"), ("issuer", "/envelope/issuer"), ("client_id", "/envelope/client")]
    {
        if !text(first, pointer).is_empty() {
            identity.insert(name.to_owned(), text(first, pointer).into());
        }
    }
    identity.insert("groups".to_owned(), first.pointer("/envelope/groups").cloned().unwrap_or_else(|| json!([])));
    let whole: String = list(story, "/request/frames").iter().map(|frame| text(frame, "/text")).collect();
    let mut request = Map::new();
    request.insert("method".to_owned(), text(first, "/envelope/method").into());
    request.insert("path".to_owned(), text(first, "/envelope/path").into());
    let model = text(first, "/envelope/model");
    match serde_json::from_str::<Value>(&whole) {
        Ok(body) => drop(request.insert("body".to_owned(), body)),
        // Of a refused call the body is not kept, but what it asked for is.
        Err(_) if !model.is_empty() => drop(request.insert("body".to_owned(), json!({ "model": model }))),
        Err(_) => {}
    }
    serde_json::to_string_pretty(&json!({ "identity": identity, "request": request })).unwrap_or_default()
}
