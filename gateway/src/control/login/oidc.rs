//! OpenID Connect: authorization code with PKCE (OpenID Connect Core §3.1, RFC 7636, RFC 9700). What comes back from the
//! browser counts only in the browser that began, within ten minutes, and once: the issuer takes a code once.
//!
//! Nothing is kept of a login that is under way, so nobody can fill it up: its state lies in the browser's signed cookie, and
//! nonce and code verifier are derived from it.

use super::super::Control;
use super::super::cookies::{self, Cookies, Kind};
use super::super::error::ApiError;
use super::super::http::{Http, HttpError};
use super::super::keys::{self, Discovery, KeysError};
use super::{field, welcome, with_cookies};
use crate::config::{ClientSecret, IdentitySettings, Login};
use crate::identity::{Identity, IdentityError, Verifier};
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long a login may take.
const LOGIN_WITHIN: Duration = Duration::from_mins(10);
/// How long a discovery document counts, in seconds: whoever asks for /login must not make us ask the issuer each time.
const DISCOVERY_FOR_S: u64 = 300;

/// The issuer that people sign in at.
#[derive(Debug)]
pub(crate) struct Provider {
    login: Login,
    /// Where it sends browsers back to.
    redirect_uri: String,
    /// Checks its ID tokens; its keys are kept fresh like those of other issuers.
    pub(crate) verifier: Arc<Verifier>,
    http: Arc<Http>,
    /// The discovery document, and until when it counts.
    discovered: Mutex<Option<(Discovery, u64)>>,
}

/// A login that is under way.
struct UnderWay {
    /// When it began (seconds since 1970), what nobody can guess, and the page to go to afterwards (base64url).
    state: String,
    nonce: String,
    /// The secret that the code is bound to (RFC 7636 §4.1).
    code_verifier: String,
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
    #[error("the machine has no randomness")]
    NoRandomness,
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
            discovered: Mutex::default(),
        }
    }

    async fn discovered(&self, now_unix_s: u64) -> Result<Discovery, LoginError> {
        let held = self.discovered.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((discovery, until)) = held
            && now_unix_s < until
        {
            return Ok(discovery);
        }
        let discovery = keys::discover(&self.http, &self.login.issuer.url).await?;
        *self.discovered.lock().unwrap_or_else(PoisonError::into_inner) =
            Some((discovery.clone(), now_unix_s + DISCOVERY_FOR_S));
        Ok(discovery)
    }

    /// Where the browser goes to (RFC 6749 §4.1.1).
    fn authorization_url(&self, endpoint: &str, login: &UnderWay) -> String {
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
            .append_pair("state", &login.state)
            .append_pair("nonce", &login.nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256")
            .finish();
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        format!("{endpoint}{joint}{query}")
    }

    /// Exchanges the code (RFC 6749 §4.1.3) and reads who signed in.
    async fn redeem(&self, code: &str, login: &UnderWay, now_unix_s: u64) -> Result<Identity, LoginError> {
        let endpoint =
            self.discovered(now_unix_s).await?.token_endpoint.ok_or(LoginError::NoEndpoint("token_endpoint"))?;
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", self.redirect_uri.as_str()),
            ("client_id", self.login.client_id.as_str()),
            ("code_verifier", login.code_verifier.as_str()),
        ];
        let secret = self.login.client_secret.as_ref().map(ClientSecret::now);
        let basic = secret.as_ref().map(|secret| (self.login.client_id.as_str(), secret));
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

impl UnderWay {
    fn begin(cookies: &Cookies, next: &str, now_unix_s: u64) -> Result<Self, LoginError> {
        let random = cookies::new_id().ok_or(LoginError::NoRandomness)?;
        let next = URL_SAFE_NO_PAD.encode(next);
        Ok(Self::of_state(cookies, format!("{now_unix_s}-{random}~{next}")))
    }

    /// The page to go to afterwards. It was looked at when the login began, and only this gateway signs cookies.
    fn next(&self) -> Option<String> {
        let (_, next) = self.state.rsplit_once('~')?;
        String::from_utf8(URL_SAFE_NO_PAD.decode(next).ok()?).ok()
    }

    /// The login that a browser's cookie names, if it is not too old.
    fn resume(cookies: &Cookies, headers: &HeaderMap, now_unix_s: u64) -> Option<Self> {
        let state = cookies.read(Kind::Login, headers)?;
        let began_unix_s: u64 = state.split_once('-')?.0.parse().ok()?;
        let in_time = now_unix_s.saturating_sub(began_unix_s) <= LOGIN_WITHIN.as_secs();
        in_time.then(|| Self::of_state(cookies, state))
    }

    fn of_state(cookies: &Cookies, state: String) -> Self {
        Self {
            nonce: cookies.derived("login nonce", &state),
            code_verifier: cookies.derived("login code verifier", &state),
            state,
        }
    }
}

/// Sends the browser to the issuer.
pub(super) async fn begin(control: &Control, next: &str) -> Result<Response, ApiError> {
    let Some(provider) = &control.provider else { return Err(refused(&LoginError::NotBegun)) };
    let begun = async {
        let now_unix_s = control.shared.clock.unix_s();
        let endpoint = provider.discovered(now_unix_s).await?.authorization_endpoint;
        let endpoint = endpoint.ok_or(LoginError::NoEndpoint("authorization_endpoint"))?;
        let login = UnderWay::begin(&control.cookies, next, now_unix_s)?;
        Ok((provider.authorization_url(&endpoint, &login), login.state))
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
        Ok((identity, next)) => welcome(&control, identity, &headers, &next).await,
        Err(error) => {
            tracing::warn!(%error, "a login to the console failed");
            control.record_admin("login_failed", None, error.to_string()).await;
            with_cookies(refused(&error).into_response(), [control.cookies.clear(Kind::Login)])
        }
    }
}

async fn finish(control: &Control, query: &str, headers: &HeaderMap) -> Result<(Identity, String), LoginError> {
    let provider = control.provider.as_ref().ok_or(LoginError::NotBegun)?;
    let now_unix_s = control.shared.clock.unix_s();
    // The cookie binds the login to the browser that began it; otherwise somebody could be signed in as somebody else.
    let login = UnderWay::resume(&control.cookies, headers, now_unix_s).ok_or(LoginError::NotBegun)?;
    if field(query, "state").as_ref() != Some(&login.state) {
        return Err(LoginError::NotBegun);
    }
    if field(query, "iss").is_some_and(|issuer| issuer != provider.login.issuer.url) {
        return Err(LoginError::OtherIssuer);
    }
    if let Some(error) = field(query, "error") {
        let plain: String = error.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
        return Err(LoginError::Refused(plain));
    }
    let code = field(query, "code").ok_or(LoginError::NotBegun)?;
    let identity = provider.redeem(&code, &login, now_unix_s).await?;
    Ok((identity, login.next().unwrap_or_else(|| "/".to_owned())))
}

/// What the person is told; what went wrong between us and the issuer is for the log.
fn refused(error: &LoginError) -> ApiError {
    let (status, code) = match error {
        LoginError::Discovery(_) | LoginError::Token(_) | LoginError::NoEndpoint(_) | LoginError::NoIdToken => {
            tracing::error!(%error, "the console's issuer cannot be used");
            let message = "the issuer cannot be asked now; the gateway's log says why";
            return ApiError::new(StatusCode::BAD_GATEWAY, "issuer_unavailable", message);
        }
        LoginError::NoRandomness => (StatusCode::SERVICE_UNAVAILABLE, "no_randomness"),
        LoginError::NotBegun => (StatusCode::BAD_REQUEST, "login_not_begun"),
        LoginError::IdToken(_) | LoginError::OtherClient | LoginError::Refused(_) | LoginError::OtherIssuer => {
            (StatusCode::FORBIDDEN, "login_refused")
        }
    };
    ApiError::new(status, code, error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_login_is_the_same_when_the_browser_comes_back_in_time() {
        let cookies = Cookies::new(&[7; 32], false);
        let login = UnderWay::begin(&cookies, "/approvals/1?a=b", 1000).unwrap();
        let set = cookies.set(Kind::Login, &login.state, LOGIN_WITHIN).unwrap();
        let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        let headers = HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(pair).unwrap())]);
        let again = UnderWay::resume(&cookies, &headers, 1600).unwrap();
        assert_eq!((&again.nonce, &again.code_verifier), (&login.nonce, &login.code_verifier));
        assert_eq!(again.next().as_deref(), Some("/approvals/1?a=b"));
        assert_ne!(login.nonce, login.code_verifier);
        // RFC 7636 §4.1: 43 to 128 characters.
        assert_eq!(login.code_verifier.len(), 43);
        assert!(UnderWay::resume(&cookies, &headers, 1601).is_none());
        assert!(UnderWay::resume(&Cookies::new(&[8; 32], false), &headers, 1000).is_none());
        assert_ne!(UnderWay::begin(&cookies, "/", 1000).unwrap().state, login.state);
    }
}
