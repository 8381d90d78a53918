//! The few pages that signing in needs.

use maud::{Markup, html};

pub(crate) fn leads_on(to: &str) -> Markup {
    html! { h1 { "One moment" } p { a href=(to) { "Go on" } } }
}

pub(crate) fn link_refused(why: &str) -> Markup {
    html! {
        h1 { "Request for approval" }
        div.panel.note.bad role="alert" { p { "No: " (why) "." } }
        p { a href="/approvals" { "All requests for approval" } }
    }
}

pub(crate) fn signed_in(next: &str) -> Markup {
    html! { h1 { "You are signed in" } p { a href=(next) { "Go on" } } }
}

pub(crate) fn signed_out() -> Markup {
    html! { h1 { "You are signed out" } p { a.button href="/login" { "Sign in" } } }
}

/// Whoever one likes; `next` is where to go afterwards.
pub(crate) fn development(next: &str) -> Markup {
    html! {
        h1 { "Development login" }
        p { "Whoever can reach this page can be anybody. For trying out, on this machine only." }
        form method="post" action="/login" {
            input type="hidden" name="next" value=(next);
            label for="user" { "User" }
            input #user name="user" value="grace" required maxlength="100" autocomplete="off" autofocus;
            label for="groups" { "Groups, with spaces between" }
            input #groups name="groups" value="ml-leads auditors admins" autocomplete="off" aria-describedby="groups-help";
            p #groups-help .help { "ml-leads approve, auditors search and replay, admins reload the policy." }
            button.primary { "Sign in" }
        }
    }
}
