//! The published keys of one issuer, reduced to those that may sign tokens.

use super::Algorithm;
use super::algorithm::Family;
use super::token::Token;
use aws_lc_rs::signature::{ECDSA_P521_SHA512_FIXED, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde::Deserialize;
use serde_json::Value;

/// Keys taken from one key set; more are ignored, so that a broken issuer cannot fill the memory.
const KEYS_MAX: usize = 100;
/// Bytes of the longest key id that is remembered.
const KEY_ID_BYTES_MAX: usize = 512;
/// Bits of the shortest RSA key (RFC 7518 §3.3).
const RSA_BITS_MIN: usize = 2048;

/// The usable keys of one issuer.
#[derive(Clone, Debug, Default)]
pub struct KeySet {
    keys: Vec<Key>,
}

/// One key that may sign tokens.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: Option<String>,
    family: Family,
    /// The one algorithm that the key is for, if its publisher says so.
    only: Option<Algorithm>,
    material: Material,
    /// The key's own bytes, to see whether two sets have the same key.
    public: Vec<u8>,
}

#[derive(Clone, Debug)]
enum Material {
    Library(DecodingKey),
    /// The uncompressed point, for ES512.
    P521(Vec<u8>),
}

/// A key as it is published (RFC 7517 §4); private members are not read.
#[derive(Deserialize)]
struct Published {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    usage: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl KeySet {
    /// Reads a JSON Web Key Set (RFC 7517 §5). Keys for encryption, symmetric keys, weak keys and keys of unknown kinds are
    /// passed over.
    ///
    /// # Errors
    /// The parser's words, if the text is not a key set.
    pub fn parse(json: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json)?;
        Ok(Self { keys: set.keys.into_iter().filter_map(usable).take(KEYS_MAX).collect() })
    }

    /// How many keys are usable.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether every key of this set is in the other one too: then nothing that was verified has lost its ground.
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.keys.iter().all(|key| other.keys.iter().any(|own| own.is_same(key)))
    }

    /// The keys that may have signed the token: those of its `kid`, or, for a token without one, all of the right kind.
    pub(super) fn candidates<'a>(&'a self, token: &'a Token<'_>) -> impl Iterator<Item = &'a Key> + 'a {
        let id = token.key_id.as_deref();
        self.keys.iter().filter(move |key| {
            key.family == token.algorithm.family()
                && key.only.is_none_or(|only| only == token.algorithm)
                && (id.is_none() || key.id.as_deref() == id)
        })
    }

    /// Whether a key of this id is there for any algorithm.
    pub(super) fn knows(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

impl Key {
    /// Whether the token's signature was made by this key.
    pub(super) fn verifies(&self, token: &Token<'_>) -> bool {
        self.signed(token.algorithm, token.signed.as_bytes(), token.signature)
    }

    fn signed(&self, algorithm: Algorithm, message: &[u8], signature: &str) -> bool {
        match (&self.material, algorithm.in_library()) {
            (Material::Library(key), Some(algorithm)) => {
                jsonwebtoken::crypto::verify(signature, message, key, algorithm).unwrap_or(false)
            }
            (Material::P521(point), None) => URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| {
                UnparsedPublicKey::new(&ECDSA_P521_SHA512_FIXED, point).verify(message, &signature).is_ok()
            }),
            _ => false,
        }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.family == other.family && self.only == other.only && self.public == other.public
    }
}

/// The key, if it may sign tokens.
fn usable(published: Value) -> Option<Key> {
    let key: Published = serde_json::from_value(published).ok()?;
    if key.usage.as_deref().is_some_and(|usage| usage != "sig")
        || key.key_ops.as_ref().is_some_and(|operations| operations.iter().all(|operation| operation != "verify"))
        || key.kid.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX)
    {
        return None;
    }
    let bytes = |part: &Option<String>| URL_SAFE_NO_PAD.decode(part.as_deref()?).ok();
    let point = |size: usize| {
        let (x, y) = (bytes(&key.x)?, bytes(&key.y)?);
        (x.len() == size && y.len() == size).then(|| [[4].as_slice(), &x, &y].concat())
    };
    let library = |key: jsonwebtoken::errors::Result<DecodingKey>| key.ok().map(Material::Library);
    let (x, y) = (key.x.as_deref().unwrap_or_default(), key.y.as_deref().unwrap_or_default());
    let (family, public, material) = match (key.kty.as_str(), key.crv.as_deref()) {
        ("RSA", _) => {
            let (n, e) = (bytes(&key.n)?, bytes(&key.e)?);
            if bits(&n) < RSA_BITS_MIN {
                return None;
            }
            let material = Material::Library(DecodingKey::from_rsa_raw_components(&n, &e));
            (Family::Rsa, [n, e].concat(), material)
        }
        ("EC", Some("P-256")) => (Family::P256, point(32)?, library(DecodingKey::from_ec_components(x, y))?),
        ("EC", Some("P-384")) => (Family::P384, point(48)?, library(DecodingKey::from_ec_components(x, y))?),
        ("EC", Some("P-521")) => (Family::P521, point(66)?, Material::P521(point(66)?)),
        ("OKP", Some("Ed25519")) => (Family::Ed25519, bytes(&key.x)?, library(DecodingKey::from_ed_components(x))?),
        _ => return None,
    };
    let only = match &key.alg {
        None => None,
        Some(name) => Some(Algorithm::named(name).filter(|only| only.family() == family)?),
    };
    Some(Key { id: key.kid, family, only, material, public })
}

fn bits(number: &[u8]) -> usize {
    let significant = number.iter().skip_while(|byte| **byte == 0);
    let (length, first) = (significant.clone().count(), significant.copied().next().unwrap_or(0));
    (length * 8).saturating_sub(first.leading_zeros() as usize)
}

#[cfg(test)]
mod wycheproof;
