//! How the log is, and verifying all of it.

use super::parts::{ago, badge, bytes, count, fact, fact_of, heading};
use super::value::{number, text, truth};
use maud::{Markup, html};
use serde_json::Value;

pub(crate) fn page(view: &Value, verdict: Option<&Value>, may_verify: bool, csrf: &str) -> Markup {
    let healthy = truth(view, "/healthy");
    html! {
        (heading("Evidence", Some(badge(if healthy { "healthy" } else { "unhealthy" }))))
        @if !text(view, "/last_error").is_empty() { p.panel.note.bad { strong { "Trouble: " } (text(view, "/last_error")) } }
        div.tiles {
            (tile("Records", &count(number(view, "/durable")), "durable"))
            (tile("Under a checkpoint", &count(number(view, "/tree_size")), "signed"))
            (tile("Lag", &count(number(view, "/lag")), "records not yet signed"))
            (tile("Size", &bytes(number(view, "/bytes")), "on this disk"))
        }
        div.columns {
            section.panel aria-labelledby="log-title" {
                h2 #log-title { "The log" }
                dl.facts {
                    (fact("Origin", text(view, "/origin")))
                    (fact("Durability", text(view, "/durability")))
                    (fact("Where nothing can be written", match text(view, "/on_failure") { "continue" => "calls go on", _ => "calls are refused" }))
                    (fact("Around the page cache", if truth(view, "/direct_io") { "yes (O_DIRECT)" } else { "no" }))
                    (fact_of("Last checkpoint", html! { @if number(view, "/checkpoint_unix_ms") > 0 { (ago(number(view, "/checkpoint_unix_ms"))) } @else { "none yet" } }))
                    (fact("Lost since the start", &count(number(view, "/lost"))))
                    (fact("Aborted at the start", &count(number(view, "/aborted_at_start"))))
                    (fact_of("Verifier key", html! { code.long { (text(view, "/verifier_key")) } }))
                }
            }
            section.panel #verify aria-labelledby="verify-title" {
                h2 #verify-title { "Verify" }
                p { "Reads the whole log: every leaf, every payload's digest, signatures, and that each call has exactly one end." }
                @if may_verify {
                    form method="post" action="/evidence/verify#verify" data-once {
                        input type="hidden" name="csrf" value=(csrf);
                        button.primary { "Verify the whole log" }
                    }
                } @else { p.dim { "This needs the role auditor." } }
                @if let Some(verdict) = verdict {
                    @let word = text(verdict, "/verdict");
                    p role="status" .note.(if word == "sound" { "good" } else { "bad" }) { "The log is " (badge(word)) }
                    pre.body tabindex="0" { (text(verdict, "/report")) }
                }
                p.help { "To check it without this gateway, see docs/evidence: " code { "sallyport audit verify" } ", Go's sumdb/tlog, sigstore." }
            }
        }
        @if !text(view, "/checkpoint").is_empty() {
            section.panel aria-labelledby="checkpoint-title" {
                h2 #checkpoint-title { "The newest checkpoint" span.dim { " a C2SP signed note" } }
                pre.body tabindex="0" { (text(view, "/checkpoint")) }
            }
        }
    }
}

fn tile(name: &str, figure: &str, words: &str) -> Markup {
    html! { div.tile { div.name { (name) } div.figure { (figure) } div.words { (words) } } }
}
