//! Links in mails: whoever follows one signs in, and is led to the page of its request, once.
//!
//! Looking at a link uses nothing up, so that scanners of mails may; only someone who has signed in does.

use super::Control;
use super::access;
use super::cookies::Kind;
use super::error::ApiError;
use super::pages::bare;
use super::sessions;
use crate::console;
use crate::notify::ticket::TicketError;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::time::Duration;

/// How long signing in may take.
const LOGIN_WITHIN: Duration = Duration::from_mins(10);
/// The query of the second look, which our own page begins: a browser sends no strict cookie along with a link in a mail.
const AGAIN: &str = "again";
const TITLE: &str = "Request for approval";

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/links/{ticket}", get(follow))
}

async fn follow(State(control): State<Arc<Control>>, Path(ticket): Path<String>, parts: Parts) -> Response {
    let now_unix_s = control.shared.clock.unix_s();
    let tickets = &control.people.notifier.tickets;
    let good = match tickets.check(&ticket, now_unix_s) {
        Ok(good) => good,
        Err(error) => return refuse(&control, &parts, error).await,
    };
    if parts.method == Method::HEAD {
        return StatusCode::OK.into_response();
    }
    let Some((_, session)) = sessions::find(&parts.headers, &control) else {
        // From here on the text is one that we made: letters, digits, `-` and `_`.
        return if parts.uri.query() == Some(AGAIN) { sign_in(&control, &ticket) } else { look_again(&ticket) };
    };
    let approval = good.approval.to_string();
    // Written down first: what the evidence does not hold does not count.
    if !control.record_admin("link_followed", Some(&session.identity), approval.clone()).await {
        return refuse(&control, &parts, TicketError::Unavailable).await;
    }
    match tickets.take(&good, now_unix_s) {
        Ok(()) => see_other(&format!("/approvals/{approval}")),
        Err(error) => refuse(&control, &parts, error).await,
    }
}

/// Where someone who signed in goes on, if that was for a link.
pub(super) fn after_login(control: &Control, headers: &HeaderMap) -> Option<String> {
    control.cookies.read(Kind::Link, headers).map(|ticket| format!("/links/{ticket}?{AGAIN}"))
}

fn sign_in(control: &Control, ticket: &str) -> Response {
    let mut response = see_other("/login");
    if let Some(cookie) = control.cookies.set(Kind::Link, ticket, LOGIN_WITHIN) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

fn look_again(ticket: &str) -> Response {
    let to = format!("/links/{ticket}?{AGAIN}");
    bare(TITLE, Some(&to), console::login::leads_on(&to))
}

async fn refuse(control: &Control, parts: &Parts, error: TicketError) -> Response {
    let (status, code) = match error {
        TicketError::Forged => (StatusCode::NOT_FOUND, "link_forged"),
        TicketError::Expired => (StatusCode::GONE, "link_expired"),
        TicketError::Used => (StatusCode::GONE, "link_used"),
        TicketError::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "link_unavailable"),
    };
    let refusal = ApiError::new(status, code, error.to_string());
    // Without the ticket: the record is no place for what opens something.
    control.record_admin_refusal(None, access::peer(parts), "/links/", &refusal).await;
    let mut response = bare(TITLE, None, console::login::link_refused(&error.to_string()));
    *response.status_mut() = status;
    response
}

fn see_other(to: &str) -> Response {
    let mut response = (StatusCode::SEE_OTHER, [(header::CACHE_CONTROL, "no-store")]).into_response();
    if let Ok(to) = HeaderValue::try_from(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}
