//! Issuers' keys: by OpenID Connect discovery, from a URL, or from a file; refreshed now and then, and when a token names a key
//! that nobody knows. Each issuer has its own task, so that none waits for another. One that is down, or answers nonsense,
//! keeps the keys that are known.

use super::http::{ANSWER_BYTES_MAX, Http, HttpError};
use crate::clock::Clock;
use crate::config::{Issuer, JwksSource};
use crate::identity::{KeySet, Verifier};
use crate::metrics::Metrics;
use crate::shared::Shared;
use serde::Deserialize;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How often keys are fetched without anybody asking, unless the issuer says how long they may be kept.
const REFRESH_EVERY: Duration = Duration::from_mins(5);
/// Bounds on what the issuer says.
const REFRESH_AT_LEAST_EVERY: Duration = Duration::from_hours(1);
const REFRESH_AT_MOST_EVERY: Duration = Duration::from_mins(1);
/// How soon again after a failure.
const RETRY_EVERY: Duration = Duration::from_secs(10);

/// Why keys could not be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeysError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error("{path} is longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong { path: String },
    #[error("{path}: {cause}")]
    File { path: String, cause: std::io::Error },
    #[error("{from} is not the JSON that was expected: {cause}")]
    Json { from: String, cause: serde_json::Error },
    #[error("the discovery document names the issuer {named}, not {expected} (OpenID Connect Discovery §4.3)")]
    OtherIssuer { named: String, expected: String },
    #[error("{from} has no key that could sign tokens")]
    NoKeys { from: String },
}

/// What is read of a discovery document (OpenID Connect Discovery §3).
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Discovery {
    issuer: String,
    pub(super) jwks_uri: String,
    pub(super) authorization_endpoint: Option<String>,
    pub(super) token_endpoint: Option<String>,
    pub(super) introspection_endpoint: Option<String>,
}

/// Fetches the discovery document of an issuer.
///
/// # Errors
/// It cannot be had, or is another issuer's.
pub(super) async fn discover(http: &Http, issuer: &str) -> Result<Discovery, KeysError> {
    let url = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
    let answer = http.get(&url).await?;
    let found: Discovery =
        serde_json::from_slice(&answer.body).map_err(|cause| KeysError::Json { from: url, cause })?;
    if found.issuer != issuer {
        return Err(KeysError::OtherIssuer { named: found.issuer, expected: issuer.to_owned() });
    }
    Ok(found)
}

/// Keeps the keys of one verifier's issuers fresh.
#[derive(Clone)]
pub(super) struct Refresher {
    verifier: Arc<Verifier>,
    http: Arc<Http>,
    shared: Arc<Shared>,
}

impl Refresher {
    pub(super) fn new(verifier: Arc<Verifier>, http: Arc<Http>, shared: Arc<Shared>) -> Self {
        Self { verifier, http, shared }
    }

    /// Starts one task for each issuer; the result resolves when all were asked once, whatever they answered.
    pub(super) async fn start(self) {
        let count = self.verifier.issuers().count();
        let mut first = tokio::task::JoinSet::new();
        for index in 0..count {
            let own = self.clone();
            let (asked, was_asked) = tokio::sync::oneshot::channel();
            tokio::spawn(async move {
                let pause = own.refresh(index).await;
                // Nobody waits any more if the start took too long.
                let _ = asked.send(());
                own.run(index, pause).await;
            });
            first.spawn(was_asked);
        }
        while first.join_next().await.is_some() {}
    }

    async fn run(&self, index: usize, mut pause: Duration) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.verifier.refresh_asked(index) => {}
            }
            pause = self.refresh(index).await;
        }
    }

    /// Asks the issuer once; after how long to ask again.
    async fn refresh(&self, index: usize) -> Duration {
        let Some(issuer) = self.verifier.issuers().nth(index).cloned() else { return REFRESH_EVERY };
        if issuer.jwks == JwksSource::Embedded {
            self.verifier.refresh_done(index);
            return REFRESH_EVERY;
        }
        let refreshed = self.refresh_issuer(index, &issuer).await;
        self.verifier.refresh_done(index);
        let metrics: &Metrics = &self.shared.metrics;
        metrics.keys_refreshed(refreshed.is_ok());
        match refreshed {
            Ok(pause) => pause,
            Err(error) => {
                tracing::error!(issuer = issuer.url, %error, "the issuer's keys could not be fetched; those known stay valid");
                RETRY_EVERY
            }
        }
    }

    async fn refresh_issuer(&self, index: usize, issuer: &Issuer) -> Result<Duration, KeysError> {
        let (from, json, max_age) = self.fetch(issuer).await?;
        let keys = KeySet::parse(&json).map_err(|cause| KeysError::Json { from: from.clone(), cause })?;
        if keys.is_empty() {
            return Err(KeysError::NoKeys { from });
        }
        let clock: &Clock = &self.shared.clock;
        let count = keys.len();
        if self.verifier.install(index, keys, clock.unix_s()) {
            tracing::info!(issuer = issuer.url, keys = count, "the issuer's keys are known");
        }
        Ok(max_age.map_or(REFRESH_EVERY, |age| age.clamp(REFRESH_AT_MOST_EVERY, REFRESH_AT_LEAST_EVERY)))
    }

    /// The key set, where it came from, and how long it may be kept.
    async fn fetch(&self, issuer: &Issuer) -> Result<(String, Vec<u8>, Option<Duration>), KeysError> {
        let url = match &issuer.jwks {
            JwksSource::File(path) => return read_file(path),
            JwksSource::Embedded => return Ok((String::new(), Vec::new(), None)),
            JwksSource::Url(url) => url.clone(),
            JwksSource::Discovery => discover(&self.http, &issuer.url).await?.jwks_uri,
        };
        let answer = self.http.get(&url).await?;
        Ok((url, answer.body, answer.max_age))
    }
}

fn read_file(path: &Path) -> Result<(String, Vec<u8>, Option<Duration>), KeysError> {
    let name = path.display().to_string();
    let failed = |cause| KeysError::File { path: name.clone(), cause };
    let metadata = std::fs::metadata(path).map_err(failed)?;
    if metadata.len() > ANSWER_BYTES_MAX as u64 {
        return Err(KeysError::TooLong { path: name });
    }
    let json = std::fs::read(path).map_err(failed)?;
    Ok((name, json, Some(REFRESH_AT_MOST_EVERY)))
}
