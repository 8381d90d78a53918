//! The few pages that signing in needs: no scripts, nothing from elsewhere.

use super::super::sessions::Session;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use std::fmt::Write as _;

/// Nothing may be loaded, nobody may frame us, forms go to ourselves.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

pub(super) fn home(session: &Session, roles: &[&str]) -> Response {
    let identity = &session.identity;
    let roles =
        if roles.is_empty() { "none: ask for one of the groups in [admin.roles]".to_owned() } else { roles.join(", ") };
    let rows = [
        ("Signed in as", identity.subject.as_str()),
        ("Issuer", &identity.issuer),
        ("Tenant", &identity.tenant),
        ("Groups", &identity.groups.join(", ")),
        ("Roles", &roles),
    ];
    let mut table = String::new();
    for (name, value) in rows {
        // Writing to a String cannot fail.
        let _ = write!(table, "<tr><th scope=\"row\">{name}</th><td>{}</td></tr>", escaped(value));
    }
    page(
        "Console",
        "",
        &format!(
            "<table>{table}</table><form method=\"post\" action=\"/logout\">\
             <input type=\"hidden\" name=\"csrf\" value=\"{}\"><button>Sign out</button></form>",
            escaped(&session.csrf)
        ),
    )
}

pub(super) fn leads_on(to: &str) -> Response {
    let to = escaped(to);
    let refresh = format!("<meta http-equiv=\"refresh\" content=\"0; url={to}\">");
    page("Signed in", &refresh, &format!("<p>You are signed in. <a href=\"{to}\">Go on</a></p>"))
}

pub(super) fn signed_out() -> Response {
    page("Signed out", "", "<p>You are signed out. <a href=\"/login\">Sign in</a></p>")
}

pub(super) fn development_form() -> Response {
    page(
        "Development login",
        "",
        "<p>Whoever can reach this page can be anybody. For trying out, on this machine only.</p>\
         <form method=\"post\" action=\"/login\">\
         <p><label>User <input name=\"user\" value=\"grace\" required maxlength=\"100\"></label></p>\
         <p><label>Groups, with spaces between <input name=\"groups\" value=\"ml-leads\"></label></p>\
         <p><button>Sign in</button></p></form>",
    )
}

fn page(title: &str, head: &str, body: &str) -> Response {
    let html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">{head}<title>{title} · Sallyport</title>\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;margin:3rem auto;max-width:40rem;padding:0 1rem}}\
         th{{text-align:left;padding-right:2rem}}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    );
    let mut response = Html(html).into_response();
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}
