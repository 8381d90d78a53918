//! How the model servers are.

use super::parts::{badge, duration_us, empty, heading};
use super::value::{list, number, text, truth};
use maud::{Markup, html};
use serde_json::Value;

pub(crate) fn page(view: &Value) -> Markup {
    let upstreams = view.as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        (heading("Upstreams", None))
        div data-refresh="5" {}
        div #upstreams data-live {
            @if upstreams.is_empty() { (empty("No upstreams", "Add [[upstream]] to the configuration.")) }
            @for upstream in upstreams { (one(upstream)) }
        }
    }
}

fn one(upstream: &Value) -> Markup {
    let name = text(upstream, "/name");
    html! {
        section.panel aria-label=(name) {
            div.between {
                h2 { (name) span.dim { " dialect " (text(upstream, "/dialect")) } }
                span.dim {
                    (number(upstream, "/in_flight")) " in flight · " (number(upstream, "/connections")) " connections · "
                    @if truth(upstream, "/checked") { "checked actively" } @else { "judged by its calls" }
                    @if truth(upstream, "/credential") { " · with a credential" }
                }
            }
            div.scroll tabindex="0" role="region" aria-label={ "Servers of " (name) } {
                table {
                    thead { tr { th scope="col" { "Server" } th scope="col" { "State" } th scope="col" { "In flight" } th scope="col" { "First byte after" } th scope="col" { "Failures in a row" } th scope="col" { "Ejections" } } }
                    tbody { @for server in list(upstream, "/servers") { (row(server)) } }
                }
            }
        }
    }
}

fn row(server: &Value) -> Markup {
    let latency = number(server, "/latency_us");
    let (authority, address) = (text(server, "/authority"), text(server, "/address"));
    html! {
        tr {
            td { code { (authority) } @if authority != address { " " span.dim { (address) } } @if truth(server, "/tls") { " " span.badge.calm { "TLS" } } }
            td {
                @if !truth(server, "/healthy") { (badge("unhealthy")) }
                @else if truth(server, "/ejected") { (badge("ejected")) " " span.dim { "for " (duration_us(number(server, "/ejected_for_ms") * 1000)) } }
                @else { (badge("healthy")) }
            }
            td { (number(server, "/in_flight")) }
            td { @if latency == 0 { span.dim { "not known" } } @else { (duration_us(latency)) } }
            td { (number(server, "/failures_in_a_row")) }
            td { (number(server, "/ejections")) }
        }
    }
}
