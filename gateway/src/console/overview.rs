//! How the gateway is, at a glance.

use super::approvals;
use super::parts::{ago, badge, count, heading};
use super::value::{list, number, text, truth};
use maud::{Markup, PreEscaped, html};
use serde_json::Value;
use std::fmt::Write as _;

pub(crate) fn page(view: &Value) -> Markup {
    let troubles = troubles(view);
    html! {
        (heading("Overview", Some(html! { span.dim { "version " (text(view, "/version")) " · started " (ago(number(view, "/started_unix_ms"))) } })))
        div data-refresh="5" {}
        div #troubles data-live {
            @for trouble in &troubles { div.panel.note.bad role="status" { (trouble) } }
            @if troubles.is_empty() { p.panel.note.good { strong { "All well." } " Calls are judged, masked and written down." } }
        }
        div.tiles #tiles data-live {
            (tile("In flight", number(view, "/totals/in_flight"), "calls at this moment"))
            (tile("Let through", number(view, "/totals/forwarded"), "since the start"))
            (tile("Refused", number(view, "/totals/refused"), "since the start"))
            (tile("Masked", number(view, "/totals/masked"), "pieces of text"))
        }
        section.panel #traffic data-live aria-labelledby="traffic-title" {
            h2 #traffic-title { "Traffic" span.dim { " last 15 minutes" } }
            (chart(view))
        }
        section.panel #pending data-live aria-labelledby="pending-title" {
            h2 #pending-title { "Waiting for people" }
            (approvals::table("Waiting, as a table", list(view, "/approvals_pending"), "Nobody waits", "Calls that a rule holds for approval appear here."))
        }
        div.columns #parts data-live {
            (policy(view))
            (evidence(view))
            (upstreams(view))
        }
    }
}

fn troubles(view: &Value) -> Vec<Markup> {
    let mut troubles = Vec::new();
    if truth(view, "/draining") {
        troubles.push(
            html! { strong { "Draining." } " No new calls are taken; the process ends when the last one is over." },
        );
    }
    if !truth(view, "/evidence/healthy") {
        troubles.push(html! { strong { "Evidence cannot be written." } " " (text(view, "/evidence/last_error")) " " a href="/evidence" { "Look" } });
    }
    if !text(view, "/policy/last_error").is_empty() {
        troubles.push(html! { strong { "The newest policy files were not taken." } " The set before stays active. " a href="/policy" { "See why" } });
    }
    if !text(view, "/config_last_error").is_empty() {
        troubles.push(
            html! { strong { "The newest configuration was not taken." } " " (text(view, "/config_last_error")) },
        );
    }
    for upstream in list(view, "/upstreams") {
        let servers = list(upstream, "/servers");
        if !servers.is_empty() && !servers.iter().any(is_up) {
            troubles.push(html! { strong { "No server of " (text(upstream, "/name")) " is available." } " " a href="/upstreams" { "Look" } });
        }
    }
    troubles
}

fn is_up(server: &Value) -> bool {
    truth(server, "/healthy") && !truth(server, "/ejected")
}

fn tile(name: &str, number: u64, words: &str) -> Markup {
    html! { div.tile { div.name { (name) } div.figure { (count(number)) } div.words { (words) } } }
}

/// Bars, one for each look: let through below, refused above.
fn chart(view: &Value) -> Markup {
    const HEIGHT: u64 = 90;
    const BARS: usize = 90;
    let looks = list(view, "/traffic/looks");
    let most = looks.iter().map(|look| number(look, "/forwarded") + number(look, "/refused")).max().unwrap_or(0);
    let (forwarded, refused) =
        looks.iter().fold((0, 0), |(a, b), look| (a + number(look, "/forwarded"), b + number(look, "/refused")));
    if most == 0 {
        return super::parts::empty(
            "No calls in the last 15 minutes",
            "Point an SDK's base URL at the gateway to see some.",
        );
    }
    let mut bars = String::new();
    let first = BARS.saturating_sub(looks.len());
    for (place, look) in looks.iter().enumerate() {
        let (through, refused) = (number(look, "/forwarded"), number(look, "/refused"));
        let x = (first + place) * 10;
        let (h1, h2) = (through * HEIGHT / most, refused * HEIGHT / most);
        // Writing to a String cannot fail.
        let _ = write!(
            bars,
            "<rect class=\"through\" x=\"{x}\" y=\"{}\" width=\"8\" height=\"{h1}\" rx=\"1\"/><rect class=\"refused\" x=\"{x}\" y=\"{}\" width=\"8\" height=\"{h2}\" rx=\"1\"/>",
            HEIGHT - h1,
            HEIGHT - h1 - h2,
        );
    }
    let label = format!("{forwarded} calls let through and {refused} refused in the last 15 minutes");
    html! {
        figure.chart {
            svg viewBox={ "0 0 " (BARS * 10) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(label) { (PreEscaped(bars)) }
            figcaption {
                span.legend.through { (count(forwarded)) " let through" }
                span.legend.refused { (count(refused)) " refused" }
                span.dim { "peak " (most) " in 10 s" }
            }
        }
    }
}

fn policy(view: &Value) -> Markup {
    html! {
        section.panel aria-labelledby="policy-title" {
            h2 #policy-title { a href="/policy" { "Policy" } }
            p.big { (text(view, "/policy/name")) " " span.dim { "version " (number(view, "/policy/version")) } }
            p.dim { (number(view, "/policy/rules")) " rules · generation " (number(view, "/policy/generation")) " · " (text(view, "/policy/engine")) }
        }
    }
}

fn evidence(view: &Value) -> Markup {
    let lag = number(view, "/evidence/lag");
    html! {
        section.panel aria-labelledby="evidence-title" {
            h2 #evidence-title { a href="/evidence" { "Evidence" } }
            p.big { (count(number(view, "/evidence/durable"))) " " span.dim { "records" } }
            p.dim {
                @if lag == 0 { "all under a signed checkpoint" } @else { (count(lag)) " not yet under a signed checkpoint" }
            }
        }
    }
}

fn upstreams(view: &Value) -> Markup {
    html! {
        section.panel aria-labelledby="upstreams-title" {
            h2 #upstreams-title { a href="/upstreams" { "Upstreams" } }
            ul.plain {
                @for upstream in list(view, "/upstreams") {
                    @let servers = list(upstream, "/servers");
                    @let up = servers.iter().filter(|server| is_up(server)).count();
                    li.between {
                        span { (text(upstream, "/name")) }
                        span { (badge(if up == servers.len() { "healthy" } else if up > 0 { "ejected" } else { "unhealthy" })) " " span.dim { (up) " of " (servers.len()) } }
                    }
                }
            }
        }
    }
}
