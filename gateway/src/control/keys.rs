//! Issuers' keys: by OpenID Connect discovery, from a URL, or from a file; refreshed now and then, and when a token names
//! a key that nobody knows. An issuer that is down, or answers nonsense, keeps its old keys.

use crate::clock::monotonic_now;
use crate::config::{Issuer, JwksSource};
use crate::identity::KeySet;
use crate::shared::Shared;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often keys are fetched without anybody asking.
const REFRESH_EVERY: Duration = Duration::from_mins(5);
/// How often at most because a token names an unknown key: tokens are cheap to invent.
const REFRESH_AT_MOST_EVERY: Duration = Duration::from_secs(10);
/// How soon again when some issuer has given no keys at all yet.
const RETRY_EVERY: Duration = Duration::from_secs(10);
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes of the longest answer that is read.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;
const REDIRECTS_MAX: usize = 3;

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("{url} answered with status {status}")]
    Status { url: String, status: u16 },
    #[error("{url} sent more than {ANSWER_BYTES_MAX} bytes")]
    TooLong { url: String },
    #[error("{path}: {cause}")]
    File { path: String, cause: std::io::Error },
    #[error("{from} is not the JSON that was expected: {cause}")]
    Json { from: String, cause: serde_json::Error },
    #[error("the discovery document names the issuer {named}, not {expected} (OpenID Connect Discovery §4.3)")]
    OtherIssuer { named: String, expected: String },
    #[error("{from} has no key for RS256, ES256 or EdDSA")]
    NoKeys { from: String },
}

/// What is read of a discovery document.
#[derive(Deserialize)]
struct Discovery {
    issuer: String,
    jwks_uri: String,
}

/// Fetches keys for the verifier.
pub(super) struct Refresher {
    shared: Arc<Shared>,
    /// The last key set of each issuer, to see whether it changed: new keys empty every core's token cache.
    last: Vec<Vec<u8>>,
    client: Option<reqwest::Client>,
    refreshed_at: Instant,
}

impl Refresher {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let last = shared.verifier.issuers().map(|_| Vec::new()).collect();
        Self { shared, last, client: None, refreshed_at: monotonic_now() }
    }

    /// Asks every issuer once. What fails is logged and counted.
    pub(super) async fn refresh(&mut self) {
        self.refreshed_at = monotonic_now();
        let issuers: Vec<Issuer> = self.shared.verifier.issuers().cloned().collect();
        for (index, issuer) in issuers.iter().enumerate() {
            if issuer.jwks == JwksSource::Embedded {
                continue;
            }
            let refreshed = self.refresh_one(index, issuer).await;
            self.shared.metrics.keys_refreshed(refreshed.is_ok());
            if let Err(error) = refreshed {
                tracing::error!(issuer = issuer.url, %error, "the issuer's keys could not be fetched; those known stay valid");
            }
        }
    }

    /// Refreshes for ever.
    pub(super) async fn run(mut self) {
        loop {
            let known = self.last.iter().zip(self.shared.verifier.issuers());
            let starved = { known }.any(|(last, issuer)| last.is_empty() && issuer.jwks != JwksSource::Embedded);
            let pause = if starved { RETRY_EVERY } else { REFRESH_EVERY };
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.shared.verifier.refresh_requested() => {
                    let wait = REFRESH_AT_MOST_EVERY.saturating_sub(self.refreshed_at.elapsed());
                    tokio::time::sleep(wait).await;
                }
            }
            self.refresh().await;
        }
    }

    async fn refresh_one(&mut self, index: usize, issuer: &Issuer) -> Result<(), KeysError> {
        let (from, json) = self.fetch(issuer).await?;
        let keys = KeySet::parse(&json).map_err(|cause| KeysError::Json { from: from.clone(), cause })?;
        if keys.is_empty() {
            return Err(KeysError::NoKeys { from });
        }
        if let Some(last) = self.last.get_mut(index)
            && *last != json
        {
            tracing::info!(issuer = issuer.url, keys = keys.len(), "the issuer's keys are known");
            self.shared.verifier.install(index, keys);
            *last = json;
        }
        Ok(())
    }

    /// The key set and where it came from.
    async fn fetch(&mut self, issuer: &Issuer) -> Result<(String, Vec<u8>), KeysError> {
        let url = match &issuer.jwks {
            JwksSource::File(path) => return read_file(path),
            JwksSource::Embedded => return Ok((String::new(), Vec::new())),
            JwksSource::Url(url) => url.clone(),
            JwksSource::Discovery => {
                let url = format!("{}/.well-known/openid-configuration", issuer.url.trim_end_matches('/'));
                let json = self.get(&url).await?;
                let found: Discovery =
                    serde_json::from_slice(&json).map_err(|cause| KeysError::Json { from: url, cause })?;
                if found.issuer != issuer.url {
                    return Err(KeysError::OtherIssuer { named: found.issuer, expected: issuer.url.clone() });
                }
                found.jwks_uri
            }
        };
        let json = self.get(&url).await?;
        Ok((url, json))
    }

    async fn get(&mut self, url: &str) -> Result<Vec<u8>, KeysError> {
        let mut answer = self.client()?.get(url).send().await?;
        if !answer.status().is_success() {
            return Err(KeysError::Status { url: url.to_owned(), status: answer.status().as_u16() });
        }
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await? {
            if body.len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(KeysError::TooLong { url: url.to_owned() });
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// Made when it is first needed: a gateway with key files alone needs no root certificates.
    fn client(&mut self) -> Result<reqwest::Client, KeysError> {
        if let Some(client) = &self.client {
            return Ok(client.clone());
        }
        let client = reqwest::Client::builder()
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
            .user_agent(concat!("sallyport/", env!("CARGO_PKG_VERSION")))
            .build()?;
        self.client = Some(client.clone());
        Ok(client)
    }
}

fn read_file(path: &Path) -> Result<(String, Vec<u8>), KeysError> {
    let name = path.display().to_string();
    let failed = |cause| KeysError::File { path: name.clone(), cause };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.len() > ANSWER_BYTES_MAX as u64 {
        return Err(KeysError::TooLong { url: name });
    }
    let json = std::fs::read(path).map_err(failed)?;
    Ok((name, json))
}
