//! What pages are made of: headings, badges, times, sizes.

use super::value::{list, text};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

/// The title of a page, and what can be done there.
pub(super) fn heading(title: &str, beside: Option<Markup>) -> Markup {
    html! {
        div.heading {
            h1 { (title) }
            @if let Some(beside) = beside { div.beside { (beside) } }
        }
    }
}

/// Nothing there, and what that means.
pub(super) fn empty(title: &str, words: &str) -> Markup {
    html! { div.empty { p.title { (title) } p { (words) } } }
}

/// A coloured word. The colour says nothing that the word does not.
pub(super) fn badge(word: &str) -> Markup {
    let tone = match word {
        "allow" | "approved" | "consumed" | "complete" | "healthy" | "sound" | "active" | "activated" | "holds" => {
            "good"
        }
        "deny" | "denied" | "reject" | "refused" | "aborted" | "unhealthy" | "tampered" | "failed" | "error" => "bad",
        "pending" | "asked" | "expired" | "ejected" | "cannot_tell" | "shadow" | "caller_left" => "warn",
        _ => "calm",
    };
    html! { span.badge.(tone) { (word.replace('_', " ")) } }
}

/// A status of HTTP.
pub(super) fn status(status: Option<u64>) -> Markup {
    let tone = match status {
        Some(200..=299) => "good",
        Some(409 | 429) => "warn",
        Some(400..) => "bad",
        _ => "calm",
    };
    html! { @if let Some(status) = status { span.badge.(tone) { (status) } } @else { span.dim { "–" } } }
}

/// A point in time; the script shows it in the reader's zone.
pub(super) fn time(rfc3339: &str) -> Markup {
    let plain = rfc3339.get(..19).map(|text| format!("{} UTC", text.replace('T', " ")));
    html! {
        @if let Some(plain) = plain { time datetime=(rfc3339) title=(plain) { (plain) } } @else { span.dim { "–" } }
    }
}

pub(super) fn time_of_ms(unix_ms: u64) -> Markup {
    let at = i64::try_from(unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    time(&at.map(|at| at.to_string()).unwrap_or_default())
}

/// A time that the script counts towards or from: `in 12 min`, `3 min ago`.
pub(super) fn ago(unix_ms: u64) -> Markup {
    html! { span.relative data-unix-ms=(unix_ms) { (time_of_ms(unix_ms)) } }
}

/// Microseconds of an RFC 3339 time since 1970.
pub(super) fn micros(rfc3339: &str) -> Option<i64> {
    rfc3339.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}

pub(super) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{:.1} KiB", bytes as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        _ => format!("{:.1} GiB", bytes as f64 / 1_073_741_824.0),
    }
}

pub(super) fn duration_us(us: u64) -> String {
    match us {
        0..1000 => format!("{us} µs"),
        1000..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        1_000_000..60_000_000 => format!("{:.2} s", us as f64 / 1e6),
        60_000_000..3_600_000_000 if us.is_multiple_of(60_000_000) => format!("{} min", us / 60_000_000),
        60_000_000..3_600_000_000 => format!("{} min {} s", us / 60_000_000, us / 1_000_000 % 60),
        _ if us.is_multiple_of(3_600_000_000) => format!("{} h", us / 3_600_000_000),
        _ => format!("{} h {} min", us / 3_600_000_000, us / 60_000_000 % 60),
    }
}

/// 12 345
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// The first characters of a long name, the whole as its title.
pub(super) fn short(name: &str, chars: usize) -> Markup {
    let short: String = name.chars().take(chars).collect();
    html! { code title=(name) { (short) @if short.len() < name.len() { "…" } } }
}

/// Name and value; nothing if there is no value.
pub(super) fn fact(name: &str, value: &str) -> Markup {
    html! { @if !value.is_empty() { div { dt { (name) } dd { (value) } } } }
}

pub(super) fn fact_of(name: &str, value: Markup) -> Markup {
    html! { div { dt { (name) } dd { (value) } } }
}

/// A rule by its name in a record: `shadow:NAME` and `error:NAME` are marked.
pub(super) fn rule_name(name: &str) -> Markup {
    match name.split_once(':') {
        Some((mark @ ("shadow" | "error"), name)) => html! { span.rule { code { (name) } " " (badge(mark)) } },
        _ => html! { span.rule { code { (name) } } },
    }
}

/// One of the active set's rules by name.
pub(super) fn rule_of<'v>(rules: &'v Value, name: &str) -> Option<&'v Value> {
    let name = name.trim_start_matches("shadow:").trim_start_matches("error:");
    list(rules, "/rules").iter().find(|rule| text(rule, "/name") == name)
}

/// What a rule says: its documentation and its text.
pub(super) fn rule_said(rule: &Value) -> Markup {
    let line = rule.pointer("/line").and_then(Value::as_u64).unwrap_or_default();
    html! {
        @if !text(rule, "/docs").is_empty() { p { (text(rule, "/docs")) } }
        figure.code {
            figcaption { (text(rule, "/file")) ":" (line) }
            pre tabindex="0" { code { (text(rule, "/text")) } }
        }
    }
}

/// Rules of the active set, folded.
pub(super) fn rules_said(names: &[&str], rules: &Value, open: bool) -> Markup {
    html! {
        @for name in names {
            @match rule_of(rules, name) {
                Some(rule) => {
                    details.rule open[open] { summary { (rule_name(name)) } (rule_said(rule)) }
                },
                None => {
                    p { (rule_name(name)) " " span.dim {
                        @if *name == "default-deny" { "no rule allowed it" } @else { "not in the active set" }
                    } }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!([bytes(12), bytes(2048), bytes(5 << 20)], ["12 B", "2.0 KiB", "5.0 MiB"]);
        assert_eq!([duration_us(999), duration_us(1500), duration_us(61_000_000)], ["999 µs", "1.5 ms", "1 min 1 s"]);
        assert_eq!(
            [duration_us(900_000_000), duration_us(3_600_000_000), duration_us(5_400_000_000)],
            ["15 min", "1 h", "1 h 30 min"]
        );
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn texts_of_callers_cannot_become_markup() {
        assert!(!badge("<script>").into_string().contains("<script>"));
        assert!(!fact("x", "<b>").into_string().contains("<b>"));
        assert!(!time("\"><script>alert(1)</script>").into_string().contains("<script>"));
    }
}
