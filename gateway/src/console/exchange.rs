//! Everything about one call: its way, why it was judged so, what was said and masked, and the proof.

use super::answer::{Piece, pieces};
use super::masked;
use super::parts::{badge, bytes, duration_us, empty, fact, fact_of, heading, rule_name, rules_said, short, status};
use super::proof::{self, Proof};
use super::timeline::{fired, timeline};
use super::value::{list, number, text, texts};
use maud::{Markup, PreEscaped, html};
use serde_json::{Value, json};

/// Mask hits shown of one direction.
const HITS_SHOWN: usize = 100;

pub(crate) fn page(story: &Value, rules: &Value, proof: &Proof<'_>) -> Markup {
    let (first, end) = (story.get("first").unwrap_or(&Value::Null), story.get("end").unwrap_or(&Value::Null));
    let id = text(story, "/id");
    let is_call = matches!(text(story, "/kind"), "call" | "refusal");
    let decision = if is_call { text(first, "/leaf/decision") } else { text(first, "/leaf/action") };
    let answered = end.pointer("/leaf/status").or(first.pointer("/leaf/status")).and_then(Value::as_u64);
    html! {
        nav.crumbs aria-label="Breadcrumb" { a href="/exchanges" { "Exchanges" } " / " span aria-current="page" { (id) } }
        (heading(&title(story, first), Some(html! { (badge(decision)) " " @if is_call { (status(answered)) } })))
        div.columns.wide {
            div {
                section.panel aria-labelledby="way-title" { h2 #way-title { "Timeline" } (timeline(story)) }
                @if is_call { (verdict(first, rules)) }
                (said("Request", "request", story, first))
                (answer(story, end))
                (attachment(story))
            }
            div {
                (proof::panel(id, first, end, proof))
                (facts(first, end))
                @if is_call {
                    p { a.button href={ "/policy?exchange=" (id) "#playground" } { "Try it on the active policy" } }
                }
            }
        }
    }
}

fn title(story: &Value, first: &Value) -> String {
    let (who, model) = (text(first, "/envelope/subject"), text(first, "/envelope/model"));
    let what = match text(story, "/kind") {
        "call" => "Call",
        "refusal" => "Refused call",
        other => return format!("Record of kind {}", other.replace('_', " ")),
    };
    let who = if who.is_empty() { "somebody unknown" } else { who };
    if model.is_empty() { format!("{what} of {who}") } else { format!("{what} of {who} to {model}") }
}

fn verdict(first: &Value, rules: &Value) -> Markup {
    let fired = fired(first);
    let (judged_by, active) = (text(first, "/leaf/policy/sha256"), text(rules, "/sha256"));
    html! {
        section.panel aria-labelledby="verdict-title" {
            h2 #verdict-title { "Why it was judged so" }
            @if fired.is_empty() { (empty("No rule was asked", "The call was refused before the policy judged it.")) }
            @else if judged_by == active { (rules_said(&fired, rules, false)) }
            @else {
                p.note { "Another version of the policy judged it (" code { (judged_by.get(..12).unwrap_or_default()) } "…), so these are names only." }
                @for name in fired { p { (rule_name(name)) } }
            }
        }
    }
}

fn said(title: &str, way: &str, story: &Value, record: &Value) -> Markup {
    let payload = story.get(way).unwrap_or(&Value::Null);
    let whole = whole(payload);
    html! {
        section.panel aria-label=(title) {
            h2 { (title) @if !payload.is_null() { span.dim { " " (text(payload, "/media_type")) ", " (bytes(number(payload, "/bytes"))) ", as recorded" } } }
            (unreadable(payload))
            @if payload.is_null() { (empty("Nothing recorded", "The call had no body, or the policy records none.")) } @else { (masked::body(&whole)) }
            (hits("Masked places of the request", record))
        }
    }
}

fn answer(story: &Value, end: &Value) -> Markup {
    let payload = story.get("response").unwrap_or(&Value::Null);
    if payload.is_null() {
        return html! { section.panel aria-label="Answer" { h2 { "Answer" } (empty("Nothing recorded", "No answer came, or the policy records none.")) } };
    }
    let pieces = pieces(payload);
    let last = pieces.last().map_or(0, |piece| piece.at_us);
    let words: String = pieces.iter().map(|piece| piece.words.as_str()).collect();
    html! {
        section.panel aria-label="Answer" {
            h2 { "Answer" span.dim { " " (text(payload, "/media_type")) ", " (bytes(number(payload, "/bytes"))) ", " (list(payload, "/frames").len()) " frames, as the caller got it" } }
            (unreadable(payload))
            div.replay data-replay {
                div.controls hidden {
                    button type="button" data-play { "Replay" }
                    label for="speed" { "Speed" }
                    select #speed data-speed { option value="0.25" { "¼ ×" } option value="1" selected { "1 ×" } option value="4" { "4 ×" } option value="16" { "16 ×" } }
                    progress data-progress max="1" value="1" aria-label="Progress of the replay" {}
                    span.dim data-clock { (duration_us(last)) }
                }
                pre.body.said role="region" tabindex="0" data-said aria-label="What the model said" { (masked::marked(&words)) }
                (data(&pieces))
            }
            details { summary { "As it went over the wire" } (masked::body(&whole(payload))) }
            (hits("Masked places of the answer", end))
        }
    }
}

/// The pieces for the script: data, not a script, and with nothing in it that could end the element.
fn data(pieces: &[Piece]) -> Markup {
    let list: Vec<Value> =
        pieces.iter().map(|piece| json!([piece.at_us, masked::marked(&piece.words).into_string()])).collect();
    let text = Value::from(list).to_string().replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
    html! { script type="application/json" { (PreEscaped(text)) } }
}

fn attachment(story: &Value) -> Markup {
    let payload = story.get("attachment").unwrap_or(&Value::Null);
    html! { @if !payload.is_null() { section.panel aria-label="Attached" { h2 { "Attached" } (masked::body(&whole(payload))) } } }
}

fn whole(payload: &Value) -> String {
    list(payload, "/frames").iter().map(|frame| text(frame, "/text")).collect()
}

fn unreadable(payload: &Value) -> Markup {
    html! { @if !text(payload, "/unreadable").is_empty() { p.note.bad { "Not all of it can be read: " (text(payload, "/unreadable")) } } }
}

/// Every masked place of one direction.
fn hits(label: &str, record: &Value) -> Markup {
    let in_leaf = list(record, "/leaf/masks");
    let hits = if in_leaf.is_empty() { list(record, "/envelope/masks") } else { in_leaf };
    html! {
        @if !hits.is_empty() {
            details {
                summary { (number(record, "/leaf/mask_count")) " masked places" }
                div.scroll tabindex="0" role="region" aria-label=(label) {
                    table {
                        thead { tr { th scope="col" { "What" } th scope="col" { "Where" } th scope="col" { "Bytes" } th scope="col" { "How" } th scope="col" { "Asked by" } } }
                        tbody {
                            @for hit in hits.iter().take(HITS_SHOWN) {
                                tr {
                                    td { mark { (text(hit, "/detector")) } }
                                    td { code { (text(hit, "/ptr")) } }
                                    td { (number(hit, "/off")) "–" (number(hit, "/off") + number(hit, "/len")) }
                                    td { (text(hit, "/action")) }
                                    td { @if text(hit, "/rule").is_empty() { span.dim { "the recorded copy alone" } } @else { (rule_name(text(hit, "/rule"))) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn facts(first: &Value, end: &Value) -> Markup {
    let of = |name: &str| text(first, name);
    let declared = |name: &str| {
        let (value, by) = (of(&format!("/envelope/{name}/value")), of(&format!("/envelope/{name}/by")));
        if value.is_empty() { String::new() } else { format!("{value} (by {by})") }
    };
    let usage = end.pointer("/leaf/usage").and_then(Value::as_object).into_iter().flatten();
    let usage: Vec<String> = usage.map(|(name, number)| format!("{number} {}", name.replace('_', " "))).collect();
    let coverage = first.pointer("/leaf/coverage").and_then(Value::as_object).into_iter().flatten();
    let coverage: Vec<String> =
        coverage.map(|(channel, how)| format!("{channel}: {}", how.as_str().unwrap_or_default())).collect();
    html! {
        section.panel aria-labelledby="facts-title" {
            h2 #facts-title { "Facts" }
            dl.facts {
                (fact("Caller", of("/envelope/subject")))
                (fact("Groups", &texts(first, "/envelope/groups").join(", ")))
                (fact("Tenant", of("/envelope/tenant")))
                (fact("Client", of("/envelope/client")))
                (fact("Issuer", of("/envelope/issuer")))
                (fact("Address", of("/envelope/address")))
                (fact("Purpose", &declared("purpose")))
                (fact("Basis", &declared("basis")))
                (fact("About", &declared("data_subject")))
                (fact("Operation", of("/leaf/op")))
                (fact("Dialect", of("/leaf/dialect")))
                (fact("Model asked", of("/envelope/model")))
                (fact("Model answered", text(end, "/envelope/model")))
                (fact("Upstream", of("/leaf/upstream")))
                (fact("Finish", text(end, "/leaf/finish")))
                (fact("Tokens", &usage.join(", ")))
                @if number(end, "/leaf/duration_us") > 0 { (fact("Took", &duration_us(number(end, "/leaf/duration_us")))) }
                (fact("Looked into", &coverage.join(", ")))
                @if !of("/leaf/approval").is_empty() { (fact_of("Approval", html! { a href={ "/exchanges?all=true&q=id:" (of("/leaf/approval")) } { (short(of("/leaf/approval"), 14)) } })) }
                @if !of("/leaf/policy/name").is_empty() { (fact_of("Policy", html! { (of("/leaf/policy/name")) " " (of("/leaf/policy/version")) " " (short(of("/leaf/policy/sha256"), 12)) })) }
                @if !of("/leaf/trace").is_empty() { (fact_of("Trace", short(of("/leaf/trace"), 16))) }
                (fact("Said", of("/envelope/text")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_recorded_word_can_end_the_data_of_the_replay() {
        let page = data(&[Piece { at_us: 1, words: "</script><script>alert(1)</script>".to_owned() }]).into_string();
        assert_eq!(page.matches("</script>").count(), 1, "{page}");
    }
}
