//! Signing in to the console: by authorization code with PKCE at the configured issuer ([`oidc`]), or, in the quickstart
//! only, as whoever one likes ([`development`]).

mod development;
mod oidc;

pub(super) use oidc::Provider;

use super::Control;
use super::cookies::Kind;
use super::error::ApiError;
use super::links;
use super::pages::bare;
use super::sessions::{self, equal};
use crate::console;
use crate::identity::Identity;
use axum::Router;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::sync::Arc;
use url::form_urlencoded;

type Shared = State<Arc<Control>>;

/// Bytes of the longest way back to a page.
const NEXT_BYTES_MAX: usize = 512;

/// Signing in and out.
pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/login", get(begin).post(development::sign_in))
        .route("/login/callback", get(oidc::callback))
        .route("/logout", post(sign_out))
}

async fn begin(State(control): Shared, headers: HeaderMap, RawQuery(query): RawQuery) -> Response {
    let next = next(&query.unwrap_or_default());
    if control.provider.is_some() {
        return oidc::begin(&control, &next).await.unwrap_or_else(IntoResponse::into_response);
    }
    if control.shared.config.admin.development_login {
        return development::form(&headers, &next).unwrap_or_else(IntoResponse::into_response);
    }
    let message = "signing in is not configured: add [admin.login], or send a token with each request";
    ApiError::new(StatusCode::NOT_FOUND, "no_login", message).into_response()
}

async fn sign_out(State(control): Shared, headers: HeaderMap, body: String) -> Response {
    let Some((id, session)) = sessions::find(&headers, &control) else { return see_other("/login") };
    let proved = field(&body, "csrf").is_some_and(|csrf| equal(&csrf, &session.csrf));
    if !proved || !sessions::is_same_origin(&headers, &control) {
        return ApiError::new(StatusCode::FORBIDDEN, "csrf", "sign out from the console's own page").into_response();
    }
    control.sessions.end(&id);
    control.record_admin("signed_out", Some(&session.identity), String::new()).await;
    with_cookies(bare("Signed out", None, console::login::signed_out()), [control.cookies.clear(Kind::Session)])
}

/// Begins a session: written down first, since a person who is not in the evidence may do nothing.
async fn welcome(control: &Control, identity: Identity, headers: &HeaderMap, next: &str) -> Response {
    let now_unix_s = control.shared.clock.unix_s();
    let life = control.shared.config.admin.session;
    if !control.record_admin("signed_in", Some(&identity), String::new()).await {
        let message = "the login could not be written to the evidence, so it does not count";
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "evidence_unavailable", message).into_response();
    }
    let Some(id) = control.sessions.begin(identity, now_unix_s.saturating_add(life.as_secs()), now_unix_s) else {
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "no_randomness", "try again").into_response();
    };
    // A page that leads on, not a redirect: the first request after a redirect from the issuer would not carry a cookie that
    // is only for requests of our own pages.
    let followed = links::after_login(control, headers);
    let next = followed.as_deref().unwrap_or(next);
    let cleared = |kind| control.cookies.clear(kind);
    let cookies = [control.cookies.set(Kind::Session, &id, life), cleared(Kind::Login), cleared(Kind::Link)];
    with_cookies(bare("Signed in", Some(next), console::login::signed_in(next)), cookies)
}

/// Where to go after the login: a page of ours, or else the first one.
fn next(form: &str) -> String {
    let wanted = field(form, "next").filter(|next| is_own_page(next));
    wanted.unwrap_or_else(|| "/".to_owned())
}

/// Whether a browser takes it for a page of this server: `//host` and `/\host` are other servers to it.
fn is_own_page(next: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"'<>".contains(&byte);
    next.len() <= NEXT_BYTES_MAX && next.starts_with('/') && !next.starts_with("//") && next.bytes().all(plain)
}

fn see_other(to: &'static str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, to), (header::CACHE_CONTROL, "no-store")]).into_response()
}

fn with_cookies<const N: usize>(mut response: Response, cookies: [Option<HeaderValue>; N]) -> Response {
    for cookie in cookies.into_iter().flatten() {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// A field of a posted form, or of a query.
fn field(form: &str, name: &str) -> Option<String> {
    form_urlencoded::parse(form.as_bytes()).find(|(own, _)| own == name).map(|(_, value)| value.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_pages_of_this_server_alone() {
        for own in ["/", "/approvals/0193", "/exchanges?q=subject:alice&before=7"] {
            assert!(is_own_page(own), "{own}");
        }
        for other in
            ["", "https://evil.example.com", "//evil.example.com", "/\\evil.example.com", "/a b", "/a\nb", "/<b>"]
        {
            assert!(!is_own_page(other), "{other}");
        }
        assert_eq!(next("next=%2Fpolicy%3Fexchange%3D1"), "/policy?exchange=1");
        assert_eq!(next("next=%2F%2Fevil.example.com"), "/");
    }
}
