//! The approvers' inbox, and one call to decide on.

use super::masked;
use super::parts::{ago, badge, duration_us, empty, fact, fact_of, heading, rules_said, short, time_of_ms};
use super::value::{list as rows, number, text, texts};
use maud::{Markup, html};
use serde_json::Value;

/// What the visitor may do about a call.
pub(crate) struct Decide<'a> {
    pub(crate) csrf: &'a str,
    /// Why not.
    pub(crate) hindrance: Option<&'a str>,
    /// Why the last try did not count.
    pub(crate) error: Option<&'a str>,
}

pub(crate) fn list(view: &Value) -> Markup {
    html! {
        (heading("Approvals", None))
        div data-refresh="3" {}
        section.panel #pending data-live aria-labelledby="pending-title" {
            h2 #pending-title { "Waiting" }
            (table("Waiting, as a table", rows(view, "/pending"), "Nobody waits", "Calls that a rule holds for approval appear here as they come. This page refreshes by itself."))
            @if !text(view, "/next").is_empty() { div.pages { a rel="next" href={ "/approvals?after=" (text(view, "/next")) } { "Later ones →" } } }
        }
        div #granted data-live {
            @if !rows(view, "/granted").is_empty() {
                section.panel aria-labelledby="granted-title" {
                    h2 #granted-title { "In force" span.dim { " approvals that no call has used yet, and access that lasts" } }
                    (table("In force, as a table", rows(view, "/granted"), "", ""))
                }
            }
        }
        section.panel #settled data-live aria-labelledby="settled-title" {
            h2 #settled-title { "Settled" span.dim { " lately" } }
            (table("Settled, as a table", rows(view, "/settled"), "Nothing settled lately", "Older decisions are in the evidence: search exchanges for kind:approval."))
        }
    }
}

/// Requests for approval, one a row.
pub(super) fn table(label: &str, requests: &[Value], nothing: &str, words: &str) -> Markup {
    if requests.is_empty() {
        return empty(nothing, words);
    }
    html! {
        div.scroll tabindex="0" role="region" aria-label=(label) {
            table {
                thead { tr { th scope="col" { "Asked" } th scope="col" { "Who" } th scope="col" { "Model" } th scope="col" { "Operation" } th scope="col" { "Asks" } th scope="col" { "Approved" } th scope="col" { "State" } th scope="col" { span.unseen { "Open" } } } }
                tbody {
                    @for request in requests {
                        @let pending = text(request, "/status") == "pending";
                        tr {
                            td { (ago(number(request, "/asked_at_unix_ms"))) }
                            td { strong { (text(request, "/subject")) } @if is_grant(request) { " " span.badge.calm { "access" } } }
                            td { code { (text(request, "/model")) } }
                            td { code { (text(request, "/endpoint")) } }
                            td { (groups(request).join(", ")) }
                            td { (have(request)) " of " (needed(request)) }
                            td { (badge(text(request, "/status"))) @if pending { " " span.dim { "lapses " (ago(number(request, "/expires_at_unix_ms"))) } } }
                            td { a.button.small href={ "/approvals/" (text(request, "/id")) } { @if pending { "Review" } @else { "Open" } span.unseen { " the call of " (text(request, "/subject")) " on " (text(request, "/model")) } } }
                        }
                    }
                }
            }
        }
    }
}

fn groups(request: &Value) -> Vec<&str> {
    list_in(request).iter().flat_map(|own| texts(own, "/groups")).collect()
}

fn list_in(request: &Value) -> &[Value] {
    rows(request, "/requirements")
}

fn needed(request: &Value) -> u64 {
    list_in(request).iter().map(|own| number(own, "/by")).sum()
}

fn have(request: &Value) -> u64 {
    list_in(request).iter().map(|own| number(own, "/approved").min(number(own, "/by"))).sum()
}

pub(crate) fn one(request: &Value, rules: &Value, decide: &Decide<'_>, now_unix_ms: u64) -> Markup {
    let status = text(request, "/status");
    let what = if is_grant(request) { "access to " } else { "" };
    let title = format!("{} asks for {what}{}", text(request, "/subject"), text(request, "/model"));
    html! {
        nav.crumbs aria-label="Breadcrumb" { a href="/approvals" { "Approvals" } " / " span aria-current="page" { (text(request, "/id")) } }
        (heading(&title, Some(html! { span #state data-live { (badge(status)) } })))
        @if status == "pending" { div data-watch=(text(request, "/id")) {} }
        div.columns.wide {
            div {
                section.panel aria-labelledby="request-title" {
                    h2 #request-title { "The request, masked" }
                    p.dim { "What the model server would get. " mark { "Marked" } " text stands in place of personal data." }
                    @if text(request, "/preview").is_empty() { (empty("No body", "The call carries no body, or no rule reads it.")) }
                    @else { (masked::body(text(request, "/preview"))) }
                }
                section.panel aria-labelledby="says-title" {
                    h2 #says-title { "What the policy says" }
                    (rules_said(&texts(request, "/rules"), rules, true))
                }
            }
            div {
                section.panel #decision aria-labelledby="decision-title" {
                    h2 #decision-title { "Decision" }
                    (decision(request, decide, status))
                }
                section.panel #required data-live aria-labelledby="required-title" {
                    h2 #required-title { "Who must agree" }
                    ul.plain {
                        @for own in list_in(request) {
                            li.between {
                                span { @for (place, group) in texts(own, "/groups").iter().enumerate() { @if place > 0 { " or " } code { (group) } } }
                                span { (number(own, "/approved")) " of " (number(own, "/by")) }
                            }
                        }
                    }
                    @for own in rows(request, "/decisions") {
                        p { (badge(text(own, "/decision"))) " by " strong { (text(own, "/by")) } " " span.dim { (ago(number(own, "/at_unix_ms"))) } }
                        @if !text(own, "/reason").is_empty() { blockquote { (text(own, "/reason")) } }
                    }
                }
                section.panel aria-labelledby="facts-title" {
                    h2 #facts-title { "The call" }
                    dl.facts {
                        (fact("Caller", text(request, "/subject")))
                        (fact_of("Model", html! { code { (text(request, "/model")) } }))
                        (fact_of("Operation", html! { code { (text(request, "/endpoint")) } }))
                        (fact_of("Asked", time_of_ms(number(request, "/asked_at_unix_ms"))))
                        (fact_of(lapse_name(request, status), lapses(request, now_unix_ms)))
                        @for own in list_in(request) { (fact(if is_grant(request) { "Lasts" } else { "Good for" }, &duration_us(number(own, "/valid_s") * 1_000_000))) }
                        @if !text(request, "/used_by").is_empty() { (fact_of("Used by", html! { a href={ "/exchanges/" (text(request, "/used_by")) } { (short(text(request, "/used_by"), 14)) } })) }
                    }
                }
            }
        }
    }
}

/// A request that only the evidence knows any more.
pub(crate) fn past(told: &Value) -> Markup {
    let lines = rows(told, "/history");
    let asker = lines.iter().find(|line| text(line, "/action") == "asked").map_or("", |line| text(line, "/by"));
    let what = if is_grant(told) { "access" } else { "approval" };
    let asker = if asker.is_empty() { "Somebody" } else { asker };
    html! {
        nav.crumbs aria-label="Breadcrumb" { a href="/approvals" { "Approvals" } " / " span aria-current="page" { (text(told, "/id")) } }
        (heading(&format!("{asker} asked for {what}"), Some(badge(text(told, "/status")))))
        section.panel aria-labelledby="history-title" {
            h2 #history-title { "What the evidence says of it" }
            p.dim { "It is settled, and no longer kept here. " a href={ "/exchanges?all=true&q=id:" (text(told, "/id")) } { "Find it in the evidence" } }
            @for line in lines {
                p {
                    (badge(text(line, "/action")))
                    @if !text(line, "/call").is_empty() { " by " a href={ "/exchanges/" (text(line, "/call")) } { (short(text(line, "/call"), 14)) } }
                    @else if !text(line, "/by").is_empty() { " by " strong { (text(line, "/by")) } }
                    " " span.dim { (time_of_ms(number(line, "/at_unix_ms"))) }
                }
                @if !text(line, "/reason").is_empty() { blockquote { (text(line, "/reason")) } }
            }
        }
    }
}

fn is_grant(request: &Value) -> bool {
    text(request, "/kind") == "grant"
}

fn lapse_name(request: &Value, status: &str) -> &'static str {
    match status {
        "approved" if is_grant(request) => "Lasts until",
        "approved" => "To be used until",
        _ => "Lapses",
    }
}

fn lapses(request: &Value, now_unix_ms: u64) -> Markup {
    let at = number(request, "/expires_at_unix_ms");
    html! { @if at > now_unix_ms { (ago(at)) } @else { (time_of_ms(at)) } }
}

fn decision(request: &Value, decide: &Decide<'_>, status: &str) -> Markup {
    let settled = !matches!(status, "pending" | "approved");
    html! {
        @if let Some(error) = decide.error { p.note.bad role="alert" { (error) } }
        @if status == "approved" && decide.hindrance.is_none() {
            p { "It is approved." }
            (form(request, decide, html! { button.danger name="decision" value="revoke" { "Revoke" } }))
        } @else if settled || status == "approved" {
            p { "It is settled: " (badge(status)) }
            p { a href={ "/exchanges?all=true&q=id:" (text(request, "/id")) } { "Find it in the evidence" } }
        } @else if let Some(hindrance) = decide.hindrance {
            p.note { "You cannot decide on this: " (hindrance) "." }
        } @else {
            (form(request, decide, html! {
                button.primary name="decision" value="approve" { @if is_grant(request) { "Grant access" } @else { "Approve once" } }
                button.danger name="decision" value="deny" { "Deny" }
            }))
        }
    }
}

fn form(request: &Value, decide: &Decide<'_>, buttons: Markup) -> Markup {
    html! {
        form method="post" action={ "/approvals/" (text(request, "/id")) } data-once {
            input type="hidden" name="csrf" value=(decide.csrf);
            label for="reason" { "Reason" }
            textarea #reason name="reason" rows="3" maxlength="2000" required aria-describedby="reason-help" {}
            p #reason-help .help { "The caller reads it if you deny; it stays in the evidence either way." }
            div.buttons { (buttons) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_caller_sends_is_text_on_the_page() {
        let evil = "<script>alert(1)</script>";
        let request = json!({ "id": "1", "status": "pending", "subject": evil, "model": evil, "endpoint": evil,
            "rules": [evil], "requirements": [{ "groups": [evil], "by": 1, "approved": 0 }], "preview": evil, "reasons": [evil] });
        let decide = Decide { csrf: "c", hindrance: None, error: Some(evil) };
        let page = one(&request, &json!({}), &decide, 0).into_string();
        assert!(!page.contains("<script>") && page.contains("name=\"csrf\" value=\"c\""));
        let lines =
            [json!({ "action": "asked", "by": evil }), json!({ "action": "denied", "by": evil, "reason": evil })];
        let told = json!({ "id": evil, "kind": "call", "status": "denied", "history": lines });
        let page = past(&told).into_string();
        assert!(!page.contains("<script>") && page.contains("&lt;script&gt;"));
    }
}
