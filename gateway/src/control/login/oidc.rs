//! OpenID Connect: authorization code with PKCE (OpenID Connect Core §3.1, RFC 7636, RFC 9700). What comes back from the
//! browser counts only in the browser that began, once, within ten minutes.

use super::super::Control;
use super::super::cookies::{self, Kind};
use super::super::error::ApiError;
use super::super::http::{Http, HttpError};
use super::super::keys::{self, Discovery, KeysError};
use super::{field, welcome, with_cookies};
use crate::config::{IdentitySettings, Login};
use crate::identity::{Identity, IdentityError, Verifier};
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a login may take.
const LOGIN_WITHIN: Duration = Duration::from_mins(10);
/// Logins that are under way at a time.
const LOGINS_MAX: usize = 1000;

/// The issuer that people sign in at.
#[derive(Debug)]
pub(crate) struct Provider {
    login: Login,
    /// Where it sends browsers back to.
    redirect_uri: String,
    /// Checks its ID tokens; its keys are kept fresh like those of other issuers.
    pub(crate) verifier: Arc<Verifier>,
    http: Arc<Http>,
}

/// Logins that are under way, by their state.
#[derive(Debug, Default)]
pub(crate) struct Logins {
    by_state: Mutex<HashMap<String, UnderWay>>,
}

#[derive(Debug)]
struct UnderWay {
    nonce: String,
    /// The secret that the code is bound to (RFC 7636 §4.1).
    code_verifier: String,
    ends_at_unix_s: u64,
}

/// Why nobody is signed in.
#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("the issuer cannot be asked: {0}")]
    Discovery(#[from] KeysError),
    #[error("the issuer did not take the code: {0}")]
    Token(#[from] HttpError),
    #[error("the issuer's discovery document names no {0}")]
    NoEndpoint(&'static str),
    #[error("the issuer gave no ID token")]
    NoIdToken,
    #[error("the ID token: {0}")]
    IdToken(#[from] IdentityError),
    #[error("the ID token was given to another application")]
    OtherClient,
    #[error("too many logins are under way")]
    TooMany,
    #[error("this login was not begun in this browser, or not within ten minutes; begin again at /login")]
    NotBegun,
    #[error("the issuer said no: {0}")]
    Refused(String),
    #[error("the answer came from another issuer (RFC 9207)")]
    OtherIssuer,
}

#[derive(Deserialize)]
struct TokenAnswer {
    id_token: Option<String>,
}

impl Provider {
    pub(crate) fn new(login: &Login, url: &str, settings: &IdentitySettings, http: Arc<Http>) -> Self {
        Self {
            verifier: Arc::new(Verifier::new(std::slice::from_ref(&login.issuer), settings)),
            redirect_uri: format!("{url}/login/callback"),
            login: login.clone(),
            http,
        }
    }

    async fn discovered(&self) -> Result<Discovery, LoginError> {
        Ok(keys::discover(&self.http, &self.login.issuer.url).await?)
    }

    /// Where the browser goes to (RFC 6749 §4.1.1).
    fn authorization_url(&self, endpoint: &str, state: &str, login: &UnderWay) -> String {
        let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, login.code_verifier.as_bytes()));
        let mut scopes = self.login.scopes.clone();
        if !scopes.iter().any(|scope| scope == "openid") {
            scopes.insert(0, "openid".to_owned());
        }
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.login.client_id)
            .append_pair("redirect_uri", &self.redirect_uri)
            .append_pair("scope", &scopes.join(" "))
            .append_pair("state", state)
            .append_pair("nonce", &login.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        format!("{endpoint}{joint}{query}")
    }

    /// Exchanges the code (RFC 6749 §4.1.3) and reads who signed in.
    async fn redeem(&self, code: &str, login: &UnderWay, now_unix_s: u64) -> Result<Identity, LoginError> {
        let endpoint = self.discovered().await?.token_endpoint.ok_or(LoginError::NoEndpoint("token_endpoint"))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("client_id", self.login.client_id.as_str()),
            ("code_verifier", login.code_verifier.as_str()),
        ];
        let basic = self.login.client_secret.as_ref().map(|secret| (self.login.client_id.as_str(), secret));
        let answer = self.http.post_form(&endpoint, &form, basic).await?;
        let answer: TokenAnswer = serde_json::from_slice(&answer.body).map_err(|_| LoginError::NoIdToken)?;
        let token = answer.id_token.ok_or(LoginError::NoIdToken)?;
        let identity = match self.verifier.verify_id_token(&token, &login.nonce, now_unix_s) {
            Err(IdentityError::UnknownKey) if self.verifier.fresh_keys(0, now_unix_s).await => {
                self.verifier.verify_id_token(&token, &login.nonce, now_unix_s)?
            }
            verified => verified?,
        };
        // OpenID Connect Core §3.1.3.7: an authorised party that is named must be us.
        if identity.client_id.as_ref().is_some_and(|client| *client != self.login.client_id) {
            return Err(LoginError::OtherClient);
        }
        Ok(identity)
    }
}

impl Logins {
    fn begin(&self, now_unix_s: u64) -> Result<(String, UnderWay), LoginError> {
        let new_id = || cookies::new_id().ok_or(LoginError::TooMany);
        let (state, nonce, code_verifier) = (new_id()?, new_id()?, new_id()?);
        let ends_at_unix_s = now_unix_s + LOGIN_WITHIN.as_secs();
        let login = UnderWay { nonce: nonce.clone(), code_verifier: code_verifier.clone(), ends_at_unix_s };
        let mut logins = self.by_state.lock().unwrap_or_else(PoisonError::into_inner);
        if logins.len() >= LOGINS_MAX {
            logins.retain(|_, login| now_unix_s < login.ends_at_unix_s);
        }
        if logins.len() >= LOGINS_MAX {
            return Err(LoginError::TooMany);
        }
        logins.insert(state.clone(), login);
        Ok((state, UnderWay { nonce, code_verifier, ends_at_unix_s }))
    }

    /// Each login ends with the first answer, whatever it says.
    fn take(&self, state: &str, now_unix_s: u64) -> Option<UnderWay> {
        let mut logins = self.by_state.lock().unwrap_or_else(PoisonError::into_inner);
        logins.remove(state).filter(|login| now_unix_s < login.ends_at_unix_s)
    }
}

/// Sends the browser to the issuer.
pub(super) async fn begin(control: &Control) -> Result<Response, ApiError> {
    let Some(provider) = &control.provider else { return Err(refused(&LoginError::NotBegun)) };
    let begun = async {
        let endpoint = provider.discovered().await?.authorization_endpoint;
        let endpoint = endpoint.ok_or(LoginError::NoEndpoint("authorization_endpoint"))?;
        let (state, login) = control.logins.begin(control.shared.clock.unix_s())?;
        Ok((provider.authorization_url(&endpoint, &state, &login), state))
    };
    let (url, state) = begun.await.map_err(|error: LoginError| refused(&error))?;
    let location = HeaderValue::from_str(&url).map_err(|_| refused(&LoginError::NoEndpoint("usable endpoint")))?;
    let mut response = StatusCode::SEE_OTHER.into_response();
    response.headers_mut().insert(header::LOCATION, location);
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(with_cookies(response, [control.cookies.set(Kind::Login, &state, LOGIN_WITHIN)]))
}

/// The browser comes back.
pub(super) async fn callback(
    State(control): State<Arc<Control>>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    match finish(&control, &query.unwrap_or_default(), &headers).await {
        Ok(identity) => welcome(&control, identity).await,
        Err(error) => {
            tracing::warn!(%error, "a login to the console failed");
            control.record_admin("login_failed", None, error.to_string()).await;
            with_cookies(refused(&error).into_response(), [control.cookies.clear(Kind::Login)])
        }
    }
}

async fn finish(control: &Control, query: &str, headers: &HeaderMap) -> Result<Identity, LoginError> {
    let provider = control.provider.as_ref().ok_or(LoginError::NotBegun)?;
    let now_unix_s = control.shared.clock.unix_s();
    let state = field(query, "state").ok_or(LoginError::NotBegun)?;
    // The cookie binds the login to the browser that began it; otherwise somebody could be signed in as somebody else.
    if control.cookies.read(Kind::Login, headers).as_ref() != Some(&state) {
        return Err(LoginError::NotBegun);
    }
    let login = control.logins.take(&state, now_unix_s).ok_or(LoginError::NotBegun)?;
    if field(query, "iss").is_some_and(|issuer| issuer != provider.login.issuer.url) {
        return Err(LoginError::OtherIssuer);
    }
    if let Some(error) = field(query, "error") {
        let plain: String = error.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
        return Err(LoginError::Refused(plain));
    }
    let code = field(query, "code").ok_or(LoginError::NotBegun)?;
    provider.redeem(&code, &login, now_unix_s).await
}

/// What the person is told; what went wrong between us and the issuer is for the log.
fn refused(error: &LoginError) -> ApiError {
    let (status, code) = match error {
        LoginError::Discovery(_) | LoginError::Token(_) | LoginError::NoEndpoint(_) | LoginError::NoIdToken => {
            tracing::error!(%error, "the console's issuer cannot be used");
            let message = "the issuer cannot be asked now; the gateway's log says why";
            return ApiError::new(StatusCode::BAD_GATEWAY, "issuer_unavailable", message);
        }
        LoginError::TooMany => (StatusCode::SERVICE_UNAVAILABLE, "too_many_logins"),
        LoginError::NotBegun => (StatusCode::BAD_REQUEST, "login_not_begun"),
        LoginError::IdToken(_) | LoginError::OtherClient | LoginError::Refused(_) | LoginError::OtherIssuer => {
            (StatusCode::FORBIDDEN, "login_refused")
        }
    };
    ApiError::new(status, code, error.to_string())
}
