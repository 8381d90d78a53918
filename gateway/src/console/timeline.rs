//! One call in the order in which it happened, from the times that its records have.

use super::parts::{badge, duration_us, micros, time};
use super::value::{number, text, texts};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

/// A step: when, what, and more about it.
struct Step {
    at_us: i64,
    /// Whether that is its own time, not merely where it stands in the order.
    timed: bool,
    what: &'static str,
    tone: &'static str,
    more: Markup,
}

impl Step {
    fn new(at_us: i64, what: &'static str, tone: &'static str, more: Markup) -> Self {
        Self { at_us, timed: true, what, tone, more }
    }

    /// Something of which the records have no time of its own.
    fn untimed(at_us: i64, what: &'static str, tone: &'static str, more: Markup) -> Self {
        Self { timed: false, ..Self::new(at_us, what, tone, more) }
    }
}

/// The steps of a call, a refusal or a note.
pub(super) fn timeline(story: &Value) -> Markup {
    let mut steps = steps(story);
    // Equal times stay in the order in which they were put.
    steps.sort_by_key(|step| step.at_us);
    let first = steps.first().map_or(0, |step| step.at_us);
    html! {
        ol.timeline {
            @for step in &steps {
                li.(step.tone) {
                    span.when { @if step.timed { "+" (duration_us(u64::try_from(step.at_us - first).unwrap_or(0))) } }
                    div { strong { (step.what) } div.more { (step.more) } }
                }
            }
        }
        p.dim { "Times are from the records, measured from the arrival of the head. " (time(&rfc3339(first))) }
    }
}

fn steps(story: &Value) -> Vec<Step> {
    let (first, end) = (story.get("first").unwrap_or(&Value::Null), story.get("end").unwrap_or(&Value::Null));
    let Some(written) = micros(text(first, "/leaf/time")) else { return Vec::new() };
    let ended = micros(text(end, "/leaf/time"));
    let duration = i64::try_from(number(end, "/leaf/duration_us")).unwrap_or(0);
    // The outcome knows how long ago the head arrived; without one the first record is the beginning.
    let arrived = ended.filter(|_| duration > 0).map_or(written, |ended| (ended - duration).min(written));
    let mut steps = vec![Step::new(arrived, "Arrived", "calm", arrival(first))];
    match text(story, "/kind") {
        "call" => before_forwarding(first, arrived, &mut steps),
        "refusal" => refused(first, written, &mut steps),
        _ => steps.clear(),
    }
    for note in super::value::list(story, "/notes") {
        steps.extend(of_note(note));
    }
    if text(story, "/kind") == "call" {
        steps.push(Step {
            timed: true, at_us: written,
            what: "Intent written down",
            tone: "good",
            more: html! { "durable before the model server saw a byte · record " code { "#" (number(first, "/index")) } },
        });
        forwarded(first, end, (written, ended), &mut steps);
    } else if text(story, "/kind") != "refusal" {
        steps.push(Step {
            timed: true,
            at_us: written,
            what: "Written down",
            tone: "good",
            more: html! { (badge(text(first, "/leaf/action"))) },
        });
    }
    steps
}

fn arrival(first: &Value) -> Markup {
    let from = text(first, "/envelope/address");
    html! { code { (text(first, "/envelope/method")) " " (text(first, "/envelope/path")) } @if !from.is_empty() { " from " (from) } }
}

fn before_forwarding(first: &Value, arrived: i64, steps: &mut Vec<Step>) {
    let mut add = |what, tone, more| steps.push(Step::untimed(arrived, what, tone, more));
    add("Identified", "good", who(first));
    let decision = text(first, "/leaf/decision");
    add("Judged", "good", html! { (badge(decision)) " by " (fired(first).join(", ")) });
    let masks = number(first, "/leaf/mask_count");
    if masks > 0 {
        add("Request masked", "mask", html! { (masks) @if masks == 1 { " place" } @else { " places" } });
    }
}

fn refused(first: &Value, written: i64, steps: &mut Vec<Step>) {
    if !text(first, "/envelope/subject").is_empty() {
        steps.push(Step::untimed(written, "Identified", "good", who(first)));
    }
    let by = fired(first).join(", ");
    steps.push(Step {
        timed: true,
        at_us: written,
        what: "Refused",
        tone: "bad",
        more: html! {
            (badge(text(first, "/leaf/decision"))) @if !by.is_empty() { " by " (by) }
            " · answered " (number(first, "/leaf/status")) " " code { (text(first, "/leaf/code")) }
            @if !text(first, "/envelope/reason").is_empty() { blockquote { (text(first, "/envelope/reason")) } }
        },
    });
    steps.push(Step {
        timed: true,
        at_us: written,
        what: "Refusal written down",
        tone: "good",
        more: html! { "durable before the answer went out · record " code { "#" (number(first, "/index")) } },
    });
}

fn of_note(note: &Value) -> Option<Step> {
    let action = text(note, "/leaf/action");
    let by = text(note, "/envelope/subject");
    // What was asked is the request itself, which is shown below.
    let said = if action == "asked" { "" } else { text(note, "/envelope/text") };
    let (what, tone) = match (text(note, "/kind"), action) {
        ("approval", "asked") => ("Approval asked", "warn"),
        ("approval", "approved") => ("Approved", "good"),
        ("approval", "denied") => ("Denied", "bad"),
        ("approval", "expired") => ("Lapsed", "warn"),
        // Who looked at it is no part of its story.
        ("access" | "export", _) => return None,
        ("erasure", _) => ("Erased", "warn"),
        ("alert", _) => ("Alert", "warn"),
        _ => ("Noted", "calm"),
    };
    Some(Step {
        timed: true,
        at_us: micros(text(note, "/leaf/time"))?,
        what,
        tone,
        more: html! {
            @if !by.is_empty() { "by " strong { (by) } }
            @if what == "Noted" { " " (badge(action)) }
            @if !said.is_empty() { blockquote { (said) } }
        },
    })
}

fn forwarded(first: &Value, end: &Value, (written, ended): (i64, Option<i64>), steps: &mut Vec<Step>) {
    let Some(ended) = ended else {
        steps.push(Step {
            timed: true,
            at_us: written,
            what: "Under way",
            tone: "warn",
            more: html! { "no outcome so far" },
        });
        return;
    };
    if text(end, "/kind") == "abort" {
        steps.push(Step {
            timed: true,
            at_us: ended,
            what: "Aborted",
            tone: "bad",
            more: html! { (text(end, "/leaf/why")) },
        });
        return;
    }
    if let Some(ttfb) = end.pointer("/leaf/ttfb_us").and_then(Value::as_i64) {
        steps.push(Step {
            timed: true,
            at_us: (written + ttfb).min(ended),
            what: "First byte from the model server",
            tone: "calm",
            more: html! { (text(first, "/leaf/upstream")) " " code { (text(end, "/leaf/endpoint")) } },
        });
    }
    let masks = number(end, "/leaf/mask_count");
    if masks > 0 {
        steps.push(Step {
            timed: true,
            at_us: ended,
            what: "Answer masked",
            tone: "mask",
            more: html! { (masks) " places, as it streamed" },
        });
    }
    steps.push(Step {
        timed: true,
        at_us: ended,
        what: "Outcome written down",
        tone: if text(end, "/leaf/ended_by") == "complete" { "good" } else { "bad" },
        more: html! {
            (badge(text(end, "/leaf/ended_by"))) " with status " (number(end, "/leaf/status"))
            " · durable before the last byte was released · record " code { "#" (number(end, "/index")) }
            @if !fired(end).is_empty() { " · rules about the answer: " (fired(end).join(", ")) }
            @if !text(end, "/envelope/error").is_empty() { blockquote { (text(end, "/envelope/error")) } }
        },
    });
}

fn who(first: &Value) -> Markup {
    let groups = texts(first, "/envelope/groups").join(", ");
    html! { strong { (text(first, "/envelope/subject")) } @if !groups.is_empty() { " in " (groups) } }
}

pub(super) fn fired(first: &Value) -> Vec<&str> {
    let in_leaf = texts(first, "/leaf/fired");
    if in_leaf.is_empty() { texts(first, "/envelope/fired") } else { in_leaf }
}

fn rfc3339(us: i64) -> String {
    Timestamp::from_microsecond(us).map(|at| at.to_string()).unwrap_or_default()
}
