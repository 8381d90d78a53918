//! API keys for clients that cannot do OpenID Connect: hashed, scoped, expiring.
//!
//! A key reads `sallyport_ID_SECRET`. The file has the id, what the key may be used as, and the SHA-256 of the whole key: the
//! secret is 256 random bits, so a slow hash would add nothing against guessing and would cost every call.

use super::claims::DEFAULT_TENANT;
use super::purpose::{Declared, PurposeOfGroups};
use super::{CallerKind, Identity, IdentityError};
use aws_lc_rs::constant_time;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What every key begins with; secret scanners can look for it.
pub const KEY_PREFIX: &str = "sallyport_";
/// The `issuer` of callers who present a key.
pub const KEY_ISSUER: &str = "sallyport:api-keys";
/// Keys of the largest file that is taken.
const KEYS_MAX: usize = 10_000;

const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;

/// What is kept of a key: everything but the key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Names the key in lists, records and revocations; no secret.
    pub id: String,
    /// SHA-256 of the whole key, in hex.
    pub sha256: String,
    /// Whom its calls are by.
    pub subject: String,
    /// The tenant; none is `default`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// Groups that its caller is in.
    #[serde(default)]
    pub groups: Vec<String>,
    /// What it may be used for, as policies read it in `identity.scopes`.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// Seconds since 1970.
    pub issued_at_unix_s: u64,
    /// Seconds since 1970.
    pub expires_at_unix_s: u64,
}

/// The file of keys.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyFile {
    /// The keys, oldest first.
    pub keys: Vec<ApiKey>,
}

/// Keys by their id.
#[derive(Clone, Debug, Default)]
pub struct ApiKeys {
    keys: HashMap<String, Known>,
}

#[derive(Clone, Debug)]
struct Known {
    key: ApiKey,
    sha256: Vec<u8>,
}

/// Whom a new key is for.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Whom its calls are by.
    pub subject: String,
    /// The tenant; none is `default`.
    pub tenant: Option<String>,
    /// Groups that its caller is in.
    pub groups: Vec<String>,
    /// What it may be used for.
    pub scopes: Vec<String>,
    /// How long it lives, in seconds.
    pub ttl_s: u64,
}

/// Makes a key: what is kept, and the key itself, which is shown once.
///
/// # Errors
/// The machine has no randomness.
pub fn issue(new: NewKey, now_unix_s: u64) -> Result<(ApiKey, String), aws_lc_rs::error::Unspecified> {
    let (mut id, mut secret) = ([0; ID_BYTES], [0; SECRET_BYTES]);
    aws_lc_rs::rand::fill(&mut id)?;
    aws_lc_rs::rand::fill(&mut secret)?;
    let id = hex::encode(id);
    let token = format!("{KEY_PREFIX}{id}_{}", URL_SAFE_NO_PAD.encode(secret));
    let sorted = |mut names: Vec<String>| {
        names.sort_unstable();
        names.dedup();
        names
    };
    let key = ApiKey {
        id,
        sha256: hex::encode(digest(&SHA256, token.as_bytes())),
        subject: new.subject,
        tenant: new.tenant,
        groups: sorted(new.groups),
        scopes: sorted(new.scopes),
        issued_at_unix_s: now_unix_s,
        expires_at_unix_s: now_unix_s.saturating_add(new.ttl_s),
    };
    Ok((key, token))
}

/// Whether the text is meant to be an API key.
pub(super) fn looks_like_a_key(token: &str) -> bool {
    token.starts_with(KEY_PREFIX)
}

impl ApiKeys {
    /// Reads a file of keys.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let file: ApiKeyFile = serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if file.keys.len() > KEYS_MAX {
            return Err(format!("more than {KEYS_MAX} keys; remove those that have expired"));
        }
        let mut keys = HashMap::with_capacity(file.keys.len());
        for key in file.keys {
            let sha256 = hex::decode(&key.sha256).ok().filter(|digest| digest.len() == 32);
            let sha256 = sha256.ok_or_else(|| format!("the key {} has no SHA-256 of 64 hexadecimal digits", key.id))?;
            if key.subject.is_empty() {
                return Err(format!("the key {} has no subject", key.id));
            }
            let id = key.id.clone();
            if keys.insert(id.clone(), Known { key, sha256 }).is_some() {
                return Err(format!("the key {id} stands there twice"));
            }
        }
        Ok(Self { keys })
    }

    /// How many keys there are, expired ones included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whom the key stands for.
    ///
    /// # Errors
    /// [`IdentityError::UnknownApiKey`] for a key that was never issued or is revoked, [`IdentityError::Expired`].
    pub(super) fn verify(
        &self,
        token: &str,
        purposes: &[PurposeOfGroups],
        now_unix_s: u64,
    ) -> Result<Identity, IdentityError> {
        let id = token.strip_prefix(KEY_PREFIX).and_then(|rest| rest.split_once('_')).map(|(id, _)| id);
        let known = id.and_then(|id| self.keys.get(id)).ok_or(IdentityError::UnknownApiKey)?;
        let presented = digest(&SHA256, token.as_bytes());
        constant_time::verify_slices_are_equal(presented.as_ref(), &known.sha256)
            .map_err(|_| IdentityError::UnknownApiKey)?;
        let key = &known.key;
        if key.expires_at_unix_s <= now_unix_s {
            return Err(IdentityError::Expired);
        }
        let mut declared = Declared::default();
        declared.complete_from_groups(purposes, &key.groups);
        Ok(Identity {
            tenant: key.tenant.clone().unwrap_or_else(|| DEFAULT_TENANT.to_owned()),
            kind: CallerKind::Service,
            groups: key.groups.clone(),
            scopes: key.scopes.clone(),
            expires_at_unix_s: key.expires_at_unix_s,
            issued_at_unix_s: Some(key.issued_at_unix_s),
            token_id: Some(key.id.clone()),
            declared,
            ..Identity::new(&key.subject, KEY_ISSUER)
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn new_key() -> NewKey {
        NewKey {
            subject: "nightly-batch".to_owned(),
            tenant: None,
            groups: vec!["ml-apps".to_owned()],
            scopes: vec!["embeddings".to_owned(), "chat".to_owned()],
            ttl_s: 60,
        }
    }

    fn keys(key: &ApiKey) -> ApiKeys {
        ApiKeys::parse(&serde_json::to_vec(&ApiKeyFile { keys: vec![key.clone()] }).unwrap()).unwrap()
    }

    #[test]
    fn a_key_stands_for_its_service_until_it_expires() {
        let (key, token) = issue(new_key(), 1000).unwrap();
        let keys = keys(&key);
        let identity = keys.verify(&token, &[], 1059).unwrap();
        assert_eq!((identity.subject.as_str(), identity.kind), ("nightly-batch", CallerKind::Service));
        assert_eq!(identity.scopes, ["chat", "embeddings"]);
        assert_eq!((identity.token_id.as_ref(), identity.expires_at_unix_s), (Some(&key.id), 1060));
        assert_eq!(keys.verify(&token, &[], 1060), Err(IdentityError::Expired));
    }

    #[test]
    fn the_file_does_not_hold_the_key() {
        let (key, token) = issue(new_key(), 1000).unwrap();
        let file = serde_json::to_string(&ApiKeyFile { keys: vec![key] }).unwrap();
        let secret = token.splitn(3, '_').nth(2).unwrap();
        assert!(!file.contains(&token) && !file.contains(secret));
    }

    #[test]
    fn what_was_not_issued_is_told_apart_by_nothing() {
        let (key, token) = issue(new_key(), 1000).unwrap();
        let keys = keys(&key);
        let (other, _) = issue(new_key(), 1000).unwrap();
        let (head, last) = token.split_at(token.len() - 1);
        let changed = format!("{head}{}", if last == "A" { "B" } else { "A" });
        let swapped = token.replace(&key.id, &other.id);
        for token in [changed.as_str(), swapped.as_str(), "sallyport_", "sallyport__", &format!("{token}x")] {
            assert_eq!(keys.verify(token, &[], 1000), Err(IdentityError::UnknownApiKey), "{token}");
        }
    }

    #[test]
    fn a_broken_file_is_refused() {
        for text in [
            "",
            "[]",
            r#"{"keys":[{"id":"a"}]}"#,
            r#"{"keys":[{"id":"a","sha256":"00","subject":"s","issued_at_unix_s":0,"expires_at_unix_s":0}]}"#,
        ] {
            assert!(ApiKeys::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
