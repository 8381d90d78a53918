//! The control plane's HTTP client: bounded in time, size and redirects, because it talks to servers that are not ours.

use crate::config::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{ACCEPT, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, redirect};
use std::sync::OnceLock;
use std::time::Duration;
use url::form_urlencoded;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the longest answer that is read.
pub(super) const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const REDIRECTS_MAX: usize = 3;

/// Why there is no answer. No text of it holds a secret: not the body that was sent, nor what came back.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    #[error("{url} answered with status {status}")]
    Status { url: String, status: u16 },
    #[error("{url} sent more than {ANSWER_BYTES_MAX} bytes")]
    TooLong { url: String },
    #[error("the client's id or secret cannot be sent in a header")]
    Credential,
}

/// A whole answer of status 2xx.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) body: Vec<u8>,
    /// How long it may be kept, if it says so (RFC 9111 §5.2.2.1).
    pub(super) max_age: Option<Duration>,
}

/// Clients of other servers. Made when they are first needed: a gateway with files alone needs no root certificates.
#[derive(Debug, Default)]
pub(super) struct Http {
    reading: OnceLock<Client>,
    /// Follows no redirect: a form has a secret in it, which goes to the configured address or nowhere.
    posting: OnceLock<Client>,
}

impl Http {
    pub(super) async fn get(&self, url: &str) -> Result<Answer, HttpError> {
        read(url, client(&self.reading, within_the_host())?.get(url).header(ACCEPT, "application/json")).await
    }

    /// Posts JSON; what comes back is not looked at.
    pub(super) async fn post_json(&self, url: &str, body: String) -> Result<(), HttpError> {
        let request = client(&self.posting, redirect::Policy::none())?.post(url);
        read(url, request.header(CONTENT_TYPE, "application/json").body(body)).await.map(drop)
    }

    /// Posts a form; `basic` is the id and secret of a client (RFC 6749 §2.3.1).
    pub(super) async fn post_form(
        &self,
        url: &str,
        form: &[(&str, &str)],
        basic: Option<(&str, &Secret)>,
    ) -> Result<Answer, HttpError> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let mut request = client(&self.posting, redirect::Policy::none())?.post(url);
        request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").header(ACCEPT, "application/json");
        if let Some((id, secret)) = basic {
            let encoded = |part: &str| form_urlencoded::byte_serialize(part.as_bytes()).collect::<String>();
            let pair = STANDARD.encode(format!("{}:{}", encoded(id), encoded(secret.expose())));
            let mut value = HeaderValue::try_from(format!("Basic {pair}")).map_err(|_| HttpError::Credential)?;
            value.set_sensitive(true);
            request = request.header(AUTHORIZATION, value);
        }
        read(url, request.body(body)).await
    }
}

fn client(made: &OnceLock<Client>, redirects: redirect::Policy) -> Result<&Client, HttpError> {
    if let Some(client) = made.get() {
        return Ok(client);
    }
    let client = Client::builder()
        .timeout(REQUEST_TIMEOUT)
        .redirect(redirects)
        .user_agent(concat!("sallyport/", env!("CARGO_PKG_VERSION")))
        .build()?;
    Ok(made.get_or_init(|| client))
}

/// Documents may move on their host, but not to another one, and not out of TLS.
fn within_the_host() -> redirect::Policy {
    redirect::Policy::custom(|attempt| {
        let few = attempt.previous().len() <= REDIRECTS_MAX;
        let last = attempt.previous().last();
        let same_host = last.is_some_and(|last| last.host_str() == attempt.url().host_str());
        let downgraded = last.is_some_and(|last| last.scheme() == "https") && attempt.url().scheme() != "https";
        if few && same_host && !downgraded { attempt.follow() } else { attempt.stop() }
    })
}

async fn read(url: &str, request: RequestBuilder) -> Result<Answer, HttpError> {
    // The URL is in our own words already, and may carry more than it should.
    let mut answer = request.send().await.map_err(reqwest::Error::without_url)?;
    if !answer.status().is_success() {
        return Err(HttpError::Status { url: url.to_owned(), status: answer.status().as_u16() });
    }
    let max_age = answer.headers().get(CACHE_CONTROL).and_then(|value| value.to_str().ok()).and_then(max_age);
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            return Err(HttpError::TooLong { url: url.to_owned() });
        }
        body.extend_from_slice(&piece);
    }
    Ok(Answer { body, max_age })
}

fn max_age(cache_control: &str) -> Option<Duration> {
    let mut directives = cache_control.split(',').map(str::trim);
    let seconds =
        directives.find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok())?;
    Some(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_that_an_answer_may_be_kept() {
        assert_eq!(max_age("public, max-age=19845, must-revalidate"), Some(Duration::from_secs(19845)));
        assert_eq!(max_age("no-store"), None);
        assert_eq!(max_age("max-age=soon"), None);
    }
}
