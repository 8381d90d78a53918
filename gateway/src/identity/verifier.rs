//! Checks tokens and API keys against what the control plane last read: issuers' keys, the file of API keys, the revocation
//! list. Nothing here waits or does I/O.

use super::api_keys::{self, ApiKeys};
use super::certificate::caller_from_certificate;
use super::claims;
use super::purpose::PurposeOfGroups;
use super::strict_json::Object;
use super::token::{self, Token};
use super::{Identity, IdentityError, KeySet, Revocations};
use crate::config::{CertificateTrust, IdentitySettings, Issuer, JwksSource};
use arc_swap::ArcSwap;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::{Notify, watch};

/// Keys tried for a token without `kid`.
const CANDIDATES_MAX: usize = 8;

/// How often at most, in seconds, keys are fetched because a token names an unknown one: tokens are cheap to invent.
pub const REFRESH_AT_MOST_EVERY_S: u64 = 10;

/// Checks credentials. Shared by all threads; what is checked against is swapped in whole.
#[derive(Debug)]
pub struct Verifier {
    issuers: Vec<Known>,
    leeway_s: u64,
    purposes: Vec<PurposeOfGroups>,
    api_keys: ArcSwap<ApiKeys>,
    revocations: ArcSwap<Revocations>,
    /// Grows with every change that something remembered may not survive.
    generation: AtomicU64,
    /// The generation since which everything has to be judged afresh.
    afresh_since: AtomicU64,
}

#[derive(Debug)]
struct Known {
    issuer: Issuer,
    keys: ArcSwap<KeySet>,
    /// When the issuer last confirmed them, seconds since 1970.
    confirmed_at_unix_s: AtomicU64,
    refresh: Refresh,
}

/// How a core asks the control plane for new keys, and learns that it has looked.
#[derive(Debug)]
struct Refresh {
    asked: Notify,
    asked_at_unix_s: AtomicU64,
    under_way: AtomicBool,
    done: watch::Sender<u64>,
}

impl Verifier {
    /// A verifier that knows the issuers but none of their keys yet.
    #[must_use]
    pub fn new(issuers: &[Issuer], settings: &IdentitySettings) -> Self {
        let known = |issuer: &Issuer| Known {
            issuer: issuer.clone(),
            keys: ArcSwap::from_pointee(KeySet::default()),
            confirmed_at_unix_s: AtomicU64::new(0),
            refresh: Refresh {
                asked: Notify::new(),
                asked_at_unix_s: AtomicU64::new(0),
                under_way: AtomicBool::new(false),
                done: watch::Sender::new(0),
            },
        };
        Self {
            issuers: issuers.iter().map(known).collect(),
            leeway_s: settings.leeway.as_secs(),
            purposes: settings.purposes.clone(),
            api_keys: ArcSwap::default(),
            revocations: ArcSwap::default(),
            generation: AtomicU64::new(1),
            afresh_since: AtomicU64::new(1),
        }
    }

    /// Whom the signed token or API key stands for.
    ///
    /// # Errors
    /// The check that failed. Opaque tokens are [`IdentityError::Malformed`] here; their issuer has to be asked.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Identity, IdentityError> {
        let identity = if api_keys::looks_like_a_key(token) {
            self.api_keys.load().verify(token, &self.purposes, now_unix_s)?
        } else {
            self.verify_signed(token, now_unix_s)?
        };
        self.unless_revoked(identity)
    }

    /// The claims of an ID token of this issuer, and the identity that they describe; for the console's login.
    ///
    /// # Errors
    /// As [`Verifier::verify`]; also [`IdentityError::Malformed`] if the nonce is another one (OpenID Connect Core §3.1.3.7).
    pub fn verify_id_token(&self, token: &str, nonce: &str, now_unix_s: u64) -> Result<Identity, IdentityError> {
        let claims = Token::parse(token)?.claims()?;
        let identity = self.verify_signed(token, now_unix_s)?;
        if claims.get("nonce").and_then(Value::as_str) != Some(nonce) {
            return Err(IdentityError::Malformed);
        }
        self.unless_revoked(identity)
    }

    /// Whom an opaque token stands for, from what its issuer answered about it (RFC 7662 §2.2). The identity is good for at
    /// most the configured time, also where the issuer names none or a later one.
    ///
    /// # Errors
    /// [`IdentityError::NotActive`], and the checks of claims.
    pub(crate) fn introspected(
        &self,
        issuer: usize,
        answer: &[u8],
        now_unix_s: u64,
    ) -> Result<Identity, IdentityError> {
        let issuer = &self.issuers.get(issuer).ok_or(IdentityError::WrongIssuer)?.issuer;
        let mut claims = super::strict_json::object(answer).map_err(|_| IdentityError::IssuerUnavailable)?;
        if claims.get("active") != Some(&Value::Bool(true)) {
            return Err(IdentityError::NotActive);
        }
        let cached_s = issuer.introspection.as_ref().map_or(0, |own| own.cache.as_secs());
        let until = now_unix_s.saturating_add(cached_s);
        let expires = claims::numeric_date(&claims, "exp")?.unwrap_or(u64::MAX);
        if expires <= now_unix_s {
            return Err(IdentityError::Expired);
        }
        if claims::numeric_date(&claims, "nbf")?.is_some_and(|begins| begins > now_unix_s + self.leeway_s) {
            return Err(IdentityError::NotYetValid);
        }
        if claims.get("iss").is_some_and(|iss| iss.as_str() != Some(&issuer.url)) {
            return Err(IdentityError::WrongIssuer);
        }
        if claims.contains_key("aud") {
            claims::check_audience(&claims, issuer)?;
        }
        claims::check_rules(&claims, issuer)?;
        // A client's own token may name no subject (RFC 7662 §2.2): then the client is the subject.
        if !claims.contains_key("sub")
            && let Some(client) = claims.get("client_id").cloned()
        {
            claims.insert("sub".to_owned(), client);
        }
        self.unless_revoked(claims::identity(&claims, issuer, &self.purposes, expires.min(until))?)
    }

    /// Whom a client certificate stands for, whose chain the TLS layer has verified.
    ///
    /// # Errors
    /// [`IdentityError::Certificate`], or [`IdentityError::Revoked`].
    pub fn certified(&self, der: &[u8], trust: &CertificateTrust, now_unix_s: u64) -> Result<Identity, IdentityError> {
        let identity = caller_from_certificate(der, trust, now_unix_s).map_err(IdentityError::Certificate)?;
        let mut declared = identity.declared.clone();
        declared.complete_from_groups(&self.purposes, &identity.groups);
        self.unless_revoked(Identity { declared, ..identity })
    }

    /// Whether the token must be shown to its issuer, because it is neither signed nor an API key.
    #[must_use]
    pub fn is_opaque(&self, token: &str) -> bool {
        !api_keys::looks_like_a_key(token)
            && !token::looks_signed(token)
            && self.issuers.iter().any(|known| known.issuer.introspection.is_some())
    }

    /// Whether checking the token costs a signature verification.
    #[must_use]
    pub fn is_signed(token: &str) -> bool {
        token::looks_signed(token)
    }

    /// Whether a revocation that came later covers an identity that passed.
    #[must_use]
    pub fn is_revoked(&self, identity: &Identity) -> bool {
        self.revocations.load().covers(identity)
    }

    /// Grows whenever something remembered may count no longer.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Whether what was remembered at that generation must all be judged afresh; else only revocations were added.
    #[must_use]
    pub fn needs_afresh(&self, since: u64) -> bool {
        self.afresh_since.load(Ordering::Acquire) > since
    }

    /// The issuer that the token claims to be of, whatever its signature says.
    pub(crate) fn issuer_of(&self, token: &str) -> Option<usize> {
        let claims = Token::parse(token).and_then(|token| token.claims()).ok()?;
        let issuer = claims.get("iss")?.as_str()?;
        self.issuers.iter().position(|known| known.issuer.url == issuer)
    }

    /// Has the control plane look for new keys of the issuer, at most once in [`REFRESH_AT_MOST_EVERY_S`] however often it is
    /// asked, and waits until it has. `false` if it has looked just now.
    pub(crate) async fn fresh_keys(&self, issuer: usize, now_unix_s: u64) -> bool {
        let Some(Known { refresh, .. }) = self.issuers.get(issuer) else { return false };
        let mut done = refresh.done.subscribe();
        let last = refresh.asked_at_unix_s.load(Ordering::Acquire);
        let due = now_unix_s.abs_diff(last) >= REFRESH_AT_MOST_EVERY_S;
        let mine = due
            && refresh.asked_at_unix_s.compare_exchange(last, now_unix_s, Ordering::AcqRel, Ordering::Acquire).is_ok();
        if mine {
            refresh.under_way.store(true, Ordering::Release);
            refresh.asked.notify_one();
        } else if !refresh.under_way.load(Ordering::Acquire) {
            return done.has_changed().unwrap_or(false);
        }
        done.changed().await.is_ok()
    }

    /// Resolves when somebody asked for new keys of the issuer; for the control plane.
    pub(crate) async fn refresh_asked(&self, issuer: usize) {
        match self.issuers.get(issuer) {
            Some(known) => known.refresh.asked.notified().await,
            None => std::future::pending().await,
        }
    }

    /// Tells those who wait that the control plane has looked, with whatever result.
    pub(crate) fn refresh_done(&self, issuer: usize) {
        if let Some(Known { refresh, .. }) = self.issuers.get(issuer) {
            refresh.under_way.store(false, Ordering::Release);
            refresh.done.send_modify(|rounds| *rounds += 1);
        }
    }

    /// The issuers in the order of the configuration; an index into it names an issuer.
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.issuers.iter().map(|known| &known.issuer)
    }

    /// How many usable keys each issuer has, in the order of the configuration.
    pub(crate) fn key_counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.issuers.iter().map(|known| (known.issuer.url.as_str(), known.keys.load().len()))
    }

    /// Replaces the keys of one issuer, which were read now. Whether they changed. A key that is gone makes every core judge
    /// its tokens afresh; one that was added does not.
    pub(crate) fn install(&self, issuer: usize, keys: KeySet, now_unix_s: u64) -> bool {
        let Some(known) = self.issuers.get(issuer) else { return false };
        known.confirmed_at_unix_s.store(now_unix_s, Ordering::Release);
        let old = known.keys.load_full();
        let (kept, grown) = (old.is_within(&keys), !keys.is_within(&old));
        if kept && !grown {
            return false;
        }
        known.keys.store(Arc::new(keys));
        if !kept {
            self.start_afresh();
        }
        true
    }

    /// Replaces the API keys.
    pub(crate) fn replace_api_keys(&self, keys: ApiKeys) {
        self.api_keys.store(Arc::new(keys));
        self.start_afresh();
    }

    /// Replaces the revocation list.
    pub(crate) fn replace_revocations(&self, revocations: Revocations) {
        self.revocations.store(Arc::new(revocations));
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn start_afresh(&self) {
        let next = self.generation.load(Ordering::Acquire) + 1;
        // First the reason, then the news: a core that sees the news finds the reason.
        self.afresh_since.fetch_max(next, Ordering::AcqRel);
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    fn unless_revoked(&self, identity: Identity) -> Result<Identity, IdentityError> {
        if self.is_revoked(&identity) { Err(IdentityError::Revoked) } else { Ok(identity) }
    }

    fn verify_signed(&self, token: &str, now_unix_s: u64) -> Result<Identity, IdentityError> {
        let token = Token::parse(token)?;
        let claims = token.claims()?;
        // The issuer is read before the signature is checked only to know whose keys to check it with.
        let issuer = claims.get("iss").ok_or(IdentityError::MissingClaim("iss"))?;
        let issuer = issuer.as_str().ok_or(IdentityError::Malformed)?;
        let known = self.issuers.iter().find(|known| known.issuer.url == issuer).ok_or(IdentityError::WrongIssuer)?;
        if !known.issuer.algorithms.contains(&token.algorithm) {
            return Err(IdentityError::AlgorithmNotAllowed);
        }
        known.check_signature(&token, now_unix_s)?;
        self.check_claims(&known.issuer, &token, &claims, now_unix_s)
    }

    fn check_claims(
        &self,
        issuer: &Issuer,
        token: &Token<'_>,
        claims: &Object,
        now_unix_s: u64,
    ) -> Result<Identity, IdentityError> {
        if !token.is_of_type(&issuer.types) {
            return Err(IdentityError::WrongType);
        }
        let expires = claims::check(claims, issuer, now_unix_s, self.leeway_s)?;
        claims::identity(claims, issuer, &self.purposes, expires)
    }
}

impl Known {
    fn check_signature(&self, token: &Token<'_>, now_unix_s: u64) -> Result<(), IdentityError> {
        // An issuer that has been silent for so long may have withdrawn a key.
        let age_s = now_unix_s.saturating_sub(self.confirmed_at_unix_s.load(Ordering::Acquire));
        let keys = self.keys.load();
        if self.issuer.jwks != JwksSource::Embedded && age_s > self.issuer.keys_max_age.as_secs() {
            return Err(IdentityError::UnknownKey);
        }
        let mut tried = false;
        for key in keys.candidates(token).take(CANDIDATES_MAX) {
            tried = true;
            if key.verifies(token) {
                return Ok(());
            }
        }
        Err(match &token.key_id {
            _ if tried => IdentityError::BadSignature,
            // The key is there, but for another algorithm than the token claims.
            Some(id) if keys.knows(id) => IdentityError::AlgorithmNotAllowed,
            _ => IdentityError::UnknownKey,
        })
    }
}
