//! Keeps what is presented to model servers fresh: files are read again (those of client secrets with every request for a token),
//! access tokens renewed before they expire (RFC 6749 §4.4). Neither values nor what a token endpoint said are ever logged.

use super::http::{Http, HttpError};
use crate::clock::Clock;
use crate::config::{ClientCredentials, CredentialSource, Secret};
use crate::credentials::Slot;
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

/// How often a credential's file is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// The life of a token whose server does not tell it, in seconds.
const LIFE_UNTOLD_S: u64 = 300;
/// A token is renewed so long before its end, or at two thirds of a life shorter than three times that.
const RENEW_BEFORE_S: u64 = 60;
/// Waiting after a failure: doubled from the first to the second.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LAST: Duration = Duration::from_secs(30);
/// How soon at most a token that a model server refused is replaced.
const REFUSED_AT_MOST_EVERY: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
enum TokenError {
    #[error(transparent)]
    Http(#[from] HttpError),
    // What came back is not repeated: it may be the token, in some other shape.
    #[error("the token endpoint's answer is not that of RFC 6749 §5.1")]
    NotAToken,
    #[error("the token endpoint gave a token of another type than Bearer")]
    NotBearer,
}

#[derive(Deserialize)]
struct TokenAnswer {
    access_token: String,
    token_type: String,
    expires_in: Option<u64>,
}

/// Starts what keeps each of the credentials fresh, for as long as anybody else holds it; resolves when each was looked at once.
pub(super) async fn keep_fresh(slots: Vec<Arc<Slot>>, clock: Clock, http: Arc<Http>) {
    let mut first = tokio::task::JoinSet::new();
    for slot in slots {
        let (clock, http) = (clock.clone(), Arc::clone(&http));
        match &slot.credential().source {
            CredentialSource::Fixed(_) => {}
            CredentialSource::File(path, secret) => {
                drop(tokio::spawn(watch_file(Arc::downgrade(&slot), path.clone(), secret.clone())));
            }
            CredentialSource::Oauth2(_) => {
                let (fetched, was_fetched) = tokio::sync::oneshot::channel();
                tokio::spawn(async move {
                    let pause = renew(&slot, &clock, &http, RETRY_FIRST).await;
                    let weak = Arc::downgrade(&slot);
                    // Only the configuration keeps it alive from here on.
                    drop(slot);
                    // Nobody waits any more if the start took too long.
                    let _ = fetched.send(());
                    keep_renewing(&weak, &clock, &http, pause).await;
                });
                first.spawn(was_fetched);
            }
        }
    }
    while first.join_next().await.is_some() {}
}

async fn watch_file(slot: Weak<Slot>, path: PathBuf, mut last: Secret) {
    let mut complained = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(slot) = slot.upgrade() else { return };
        match read(&path) {
            Ok(secret) => {
                complained = false;
                if secret != last {
                    slot.hold(&secret, u64::MAX);
                    last = secret;
                    tracing::info!(path = %path.display(), "an upstream's credential was read again");
                }
            }
            Err(error) if !complained => {
                complained = true;
                tracing::error!(%error, "an upstream's credential cannot be read; the last one still counts");
            }
            Err(_) => {}
        }
    }
}

fn read(path: &Path) -> Result<Secret, String> {
    let secret = Secret::read(path)?;
    if secret.fits_a_header() { Ok(secret) } else { Err(format!("{} holds what no header can carry", path.display())) }
}

async fn keep_renewing(slot: &Weak<Slot>, clock: &Clock, http: &Http, mut pause: Duration) {
    let mut retry = RETRY_FIRST;
    loop {
        let Some(refused) = slot.upgrade().map(|slot| slot.refused()) else { return };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = async {
                tokio::time::sleep(REFUSED_AT_MOST_EVERY).await;
                refused.notified().await;
            } => {}
        }
        let Some(slot) = slot.upgrade() else { return };
        pause = renew(&slot, clock, http, retry).await;
        retry = if pause == retry { (retry * 2).min(RETRY_LAST) } else { RETRY_FIRST };
    }
}

/// Fetches a token once; after how long to do so again.
async fn renew(slot: &Slot, clock: &Clock, http: &Http, retry: Duration) -> Duration {
    let CredentialSource::Oauth2(client) = &slot.credential().source else { return RETRY_LAST };
    let now_unix_s = clock.unix_s();
    match fetch(http, client).await {
        Ok((token, life_s)) => {
            hold(slot, &token, now_unix_s, life_s);
            Duration::from_secs(life_s - RENEW_BEFORE_S.min(life_s / 3)).max(RETRY_FIRST)
        }
        Err(error) => {
            tracing::error!(url = client.token_url, %error, "no access token for an upstream; an earlier one counts to its end");
            retry
        }
    }
}

fn hold(slot: &Slot, token: &Secret, now_unix_s: u64, life_s: u64) {
    slot.hold(token, now_unix_s.saturating_add(life_s));
}

async fn fetch(http: &Http, client: &ClientCredentials) -> Result<(Secret, u64), TokenError> {
    let scopes = client.scopes.join(" ");
    let mut form = vec![("grant_type", "client_credentials")];
    if !scopes.is_empty() {
        form.push(("scope", &scopes));
    }
    form.extend(client.audience.as_deref().map(|audience| ("audience", audience)));
    form.extend(client.resource.as_deref().map(|resource| ("resource", resource)));
    let secret = client.client_secret.now();
    let answer = http.post_form(&client.token_url, &form, Some((&client.client_id, &secret))).await?;
    let token: TokenAnswer = serde_json::from_slice(&answer.body).map_err(|_| TokenError::NotAToken)?;
    if !token.token_type.eq_ignore_ascii_case("bearer") {
        return Err(TokenError::NotBearer);
    }
    let secret = Secret::new(token.access_token);
    if secret.expose().is_empty() || !secret.fits_a_header() {
        return Err(TokenError::NotAToken);
    }
    Ok((secret, token.expires_in.unwrap_or(LIFE_UNTOLD_S)))
}
