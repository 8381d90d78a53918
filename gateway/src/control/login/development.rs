//! The quickstart's login: whoever can reach the loopback may be anybody there, as with the development issuer's tokens.

use super::super::Control;
use super::super::error::ApiError;
use super::super::pages::bare;
use super::super::sessions::is_same_origin;
use super::{field, next, welcome};
use crate::console;
use crate::dev_issuer::DEV_ISSUER_URL;
use crate::identity::Identity;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;
use std::sync::Arc;

/// Characters of the longest name.
const NAME_CHARS_MAX: usize = 100;

pub(super) fn form(headers: &HeaderMap, next: &str) -> Result<Response, ApiError> {
    only_here(headers)?;
    Ok(bare("Development login", None, console::login::development(next)))
}

pub(super) async fn sign_in(State(control): State<Arc<Control>>, headers: HeaderMap, body: String) -> Response {
    match person(&control, &headers, &body) {
        Ok(identity) => welcome(&control, identity, &headers, &next(&body)).await,
        Err(error) => error.into_response(),
    }
}

fn person(control: &Control, headers: &HeaderMap, body: &str) -> Result<Identity, ApiError> {
    if !control.shared.config.admin.development_login {
        return Err(ApiError::new(StatusCode::NOT_FOUND, "no_login", "there is no development login here"));
    }
    only_here(headers)?;
    if !is_same_origin(headers, control) {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "csrf", "sign in from the gateway's own page"));
    }
    let good =
        |name: &&str| !name.is_empty() && name.chars().count() <= NAME_CHARS_MAX && !name.chars().any(char::is_control);
    let user = field(body, "user").unwrap_or_default();
    let user = Some(user.trim()).filter(good);
    let user = user.ok_or_else(|| ApiError::new(StatusCode::BAD_REQUEST, "no_user", "name the user you want to be"))?;
    let mut groups: Vec<String> =
        field(body, "groups").unwrap_or_default().split_whitespace().filter(good).map(str::to_owned).collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity { groups, ..Identity::new(user, DEV_ISSUER_URL) })
}

/// A page of another site can make a browser come here under that site's name (DNS rebinding): only our own names count.
fn only_here(headers: &HeaderMap) -> Result<(), ApiError> {
    let host = headers.get(header::HOST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    if name == "localhost" || address.is_ok_and(|address| address.is_loopback()) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        "other_host",
        "the development login is for this machine's own names only",
    ))
}
