//! Asks issuers about opaque tokens (RFC 7662) on behalf of the cores, which remember the answers.

use super::http::{Http, HttpError};
use super::keys::{self, KeysError};
use crate::config::{IntrospectionSettings, Issuer};
use crate::identity::{Identity, IdentityError, OpaqueToken};
use crate::shared::Shared;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, mpsc};

/// Questions that are on their way at a time.
const ASKING_MAX: usize = 32;
/// How long a token that is not active is not asked about again, in seconds: bad tokens are cheap to repeat.
const NOT_ACTIVE_FOR_S: u64 = 10;
/// Tokens that are remembered as not active.
const NOT_ACTIVE_MAX: usize = 10_000;
/// How long a discovered endpoint counts, in seconds.
const ENDPOINT_FOR_S: u64 = 3600;

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error(transparent)]
    Http(#[from] HttpError),
    #[error(transparent)]
    Discovery(#[from] KeysError),
    #[error("its discovery document names no introspection_endpoint; set introspection = {{ url = … }}")]
    NoEndpoint,
}

struct Desk {
    shared: Arc<Shared>,
    http: Arc<Http>,
    /// By issuer: the discovered endpoint and until when it counts.
    endpoints: Mutex<HashMap<usize, (String, u64)>>,
    /// By the SHA-256 of a token, until when it is not asked about.
    not_active: Mutex<HashMap<[u8; 32], u64>>,
}

/// Answers the cores' questions for ever.
pub(super) async fn run(shared: Arc<Shared>, http: Arc<Http>, mut questions: mpsc::Receiver<OpaqueToken>) {
    let desk = Arc::new(Desk { shared, http, endpoints: Mutex::default(), not_active: Mutex::default() });
    let asking = Arc::new(Semaphore::new(ASKING_MAX));
    while let Some(question) = questions.recv().await {
        // Closed never: the semaphore lives as long as this loop.
        let Ok(permit) = Arc::clone(&asking).acquire_owned().await else { return };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            if !question.answer.is_closed() {
                let answer = desk.identify(&question.token).await;
                // The caller may have left meanwhile.
                let _ = question.answer.send(answer);
            }
            drop(permit);
        });
    }
}

impl Desk {
    /// The first issuer that knows the token says who it stands for.
    async fn identify(&self, token: &str) -> Result<Identity, IdentityError> {
        let now_unix_s = self.shared.clock.unix_s();
        let key = <[u8; 32]>::try_from(digest(&SHA256, token.as_bytes()).as_ref()).unwrap_or_default();
        if self.is_known_not_active(&key, now_unix_s) {
            return Err(IdentityError::NotActive);
        }
        let issuers: Vec<Issuer> = self.shared.verifier.issuers().cloned().collect();
        let mut verdict = IdentityError::NotActive;
        for (index, issuer) in issuers.iter().enumerate() {
            let Some(settings) = &issuer.introspection else { continue };
            let answer = match self.ask(index, issuer, settings, token).await {
                Ok(answer) => self.shared.verifier.introspected(index, &answer, self.shared.clock.unix_s()),
                Err(error) => {
                    tracing::error!(issuer = issuer.url, %error, "the issuer could not be asked about a token");
                    Err(IdentityError::IssuerUnavailable)
                }
            };
            match answer {
                Ok(identity) => return Ok(identity),
                Err(IdentityError::NotActive) => {}
                Err(error) => verdict = error,
            }
        }
        if verdict == IdentityError::NotActive {
            self.remember_not_active(key, now_unix_s);
        }
        Err(verdict)
    }

    async fn ask(
        &self,
        index: usize,
        issuer: &Issuer,
        settings: &IntrospectionSettings,
        token: &str,
    ) -> Result<Vec<u8>, AskError> {
        let url = match &settings.url {
            Some(url) => url.clone(),
            None => self.endpoint(index, issuer).await?,
        };
        let form = [("token", token), ("token_type_hint", "access_token")];
        let secret = settings.client_secret.now();
        let answer = self.http.post_form(&url, &form, Some((&settings.client_id, &secret))).await?;
        Ok(answer.body)
    }

    async fn endpoint(&self, index: usize, issuer: &Issuer) -> Result<String, AskError> {
        let now_unix_s = self.shared.clock.unix_s();
        if let Some((url, until)) = lock(&self.endpoints).get(&index)
            && now_unix_s < *until
        {
            return Ok(url.clone());
        }
        let found = keys::discover(&self.http, &issuer.url).await?;
        let url = found.introspection_endpoint.ok_or(AskError::NoEndpoint)?;
        lock(&self.endpoints).insert(index, (url.clone(), now_unix_s + ENDPOINT_FOR_S));
        Ok(url)
    }

    fn is_known_not_active(&self, key: &[u8; 32], now_unix_s: u64) -> bool {
        lock(&self.not_active).get(key).is_some_and(|until| now_unix_s < *until)
    }

    fn remember_not_active(&self, key: [u8; 32], now_unix_s: u64) {
        let mut not_active = lock(&self.not_active);
        if not_active.len() >= NOT_ACTIVE_MAX {
            not_active.retain(|_, until| now_unix_s < *until);
        }
        if not_active.len() < NOT_ACTIVE_MAX {
            not_active.insert(key, now_unix_s + NOT_ACTIVE_FOR_S);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
