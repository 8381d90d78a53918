//! Checks tokens: signature first, then the claims, against the keys that the control plane last fetched.

use super::claims::{self, Claims};
use super::{Identity, IdentityError, KeySet};
use crate::config::Issuer;
use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, Header, decode_header};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// Seconds by which the clocks of issuer and gateway may differ.
pub const LEEWAY_S: u64 = 30;

/// Bytes of the longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Keys tried for a token without `kid`.
const CANDIDATES_MAX: usize = 8;

/// Checks tokens of the configured issuers. Shared by all cores; keys are swapped in whole sets.
#[derive(Debug)]
pub struct Verifier {
    issuers: Vec<Known>,
    generation: AtomicU64,
    refresh: Notify,
}

#[derive(Debug)]
struct Known {
    issuer: Issuer,
    keys: ArcSwap<KeySet>,
}

impl Verifier {
    /// A verifier that knows the issuers but none of their keys yet.
    #[must_use]
    pub fn new(issuers: &[Issuer]) -> Self {
        let known = |issuer: &Issuer| Known { issuer: issuer.clone(), keys: ArcSwap::from_pointee(KeySet::default()) };
        Self { issuers: issuers.iter().map(known).collect(), generation: AtomicU64::new(1), refresh: Notify::new() }
    }

    /// Who the token stands for.
    ///
    /// An [`IdentityError::UnknownKey`] also asks the control plane to look for new keys.
    ///
    /// # Errors
    /// The check that failed.
    pub fn verify(&self, token: &str, now_unix_s: u64) -> Result<Identity, IdentityError> {
        let verified = self.check(token, now_unix_s);
        if verified == Err(IdentityError::UnknownKey) {
            self.request_refresh();
        }
        verified
    }

    /// Grows by one whenever an issuer's keys change; caches of verified tokens belong to one generation.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Asks the control plane to fetch the keys again; it does so at most once in a while, however often it is asked.
    pub fn request_refresh(&self) {
        self.refresh.notify_one();
    }

    /// Resolves after [`Verifier::request_refresh`]; for the control plane.
    pub(crate) async fn refresh_requested(&self) {
        self.refresh.notified().await;
    }

    /// The issuers in the order of the configuration; an index into it names an issuer in [`Verifier::install`].
    pub(crate) fn issuers(&self) -> impl Iterator<Item = &Issuer> {
        self.issuers.iter().map(|known| &known.issuer)
    }

    /// How many usable keys each issuer has, in the order of the configuration.
    pub(crate) fn key_counts(&self) -> impl Iterator<Item = (&str, usize)> {
        self.issuers.iter().map(|known| (known.issuer.url.as_str(), known.keys.load().len()))
    }

    /// Replaces the keys of one issuer. An index out of range is ignored.
    pub(crate) fn install(&self, issuer: usize, keys: KeySet) {
        if let Some(known) = self.issuers.get(issuer) {
            known.keys.store(Arc::new(keys));
            self.generation.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn check(&self, token: &str, now_unix_s: u64) -> Result<Identity, IdentityError> {
        if token.is_empty() {
            return Err(IdentityError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(IdentityError::Malformed);
        }
        let parts = Parts::split(token)?;
        let header = decode_header(token).map_err(|_| unreadable_header(parts.header))?;
        if !matches!(header.alg, Algorithm::RS256 | Algorithm::ES256 | Algorithm::EdDSA) {
            return Err(IdentityError::AlgorithmNotAllowed);
        }
        // RFC 7515 §4.1.11: extensions that must be understood are not, here.
        if header.crit.is_some() {
            return Err(IdentityError::Malformed);
        }
        let claims = parts.claims()?;
        // The issuer is read before the signature is checked only to know whose keys to check it with.
        let issuer = claims.get("iss").ok_or(IdentityError::MissingClaim("iss"))?;
        let issuer = issuer.as_str().ok_or(IdentityError::Malformed)?;
        let known = self.issuers.iter().find(|known| known.issuer.url == issuer).ok_or(IdentityError::WrongIssuer)?;
        check_signature(&parts, &header, &known.keys.load())?;
        let expires = claims::check(&claims, &known.issuer, now_unix_s, LEEWAY_S)?;
        claims::identity(&claims, &known.issuer, expires)
    }
}

/// The three parts of a token in compact form (RFC 7515 §3.1).
struct Parts<'a> {
    header: &'a str,
    signed: &'a str,
    claims: &'a str,
    signature: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, IdentityError> {
        let (signed, signature) = token.rsplit_once('.').ok_or(IdentityError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(IdentityError::Malformed)?;
        if claims.contains('.') {
            return Err(IdentityError::Malformed);
        }
        Ok(Self { header, signed, claims, signature })
    }

    fn claims(&self) -> Result<Claims, IdentityError> {
        let json = URL_SAFE_NO_PAD.decode(self.claims).map_err(|_| IdentityError::Malformed)?;
        serde_json::from_slice(&json).map_err(|_| IdentityError::Malformed)
    }
}

/// A header that the library cannot read either names an algorithm that it does not know (such as `none`), or is broken.
fn unreadable_header(header: &str) -> IdentityError {
    let algorithm = URL_SAFE_NO_PAD
        .decode(header)
        .ok()
        .and_then(|json| serde_json::from_slice::<Claims>(&json).ok())
        .is_some_and(|fields| fields.get("alg").is_some_and(serde_json::Value::is_string));
    if algorithm { IdentityError::AlgorithmNotAllowed } else { IdentityError::Malformed }
}

fn check_signature(parts: &Parts<'_>, header: &Header, keys: &KeySet) -> Result<(), IdentityError> {
    let id = header.kid.as_deref();
    let mut tried = false;
    for key in keys.candidates(id, header.alg).take(CANDIDATES_MAX) {
        tried = true;
        if jsonwebtoken::crypto::verify(parts.signature, parts.signed.as_bytes(), key, header.alg).unwrap_or(false) {
            return Ok(());
        }
    }
    Err(match (tried, keys.knows(id)) {
        (true, _) => IdentityError::BadSignature,
        // The key is there, but for another algorithm than the token claims.
        (false, true) if id.is_some() => IdentityError::AlgorithmNotAllowed,
        (false, _) => IdentityError::UnknownKey,
    })
}
