//! An issuer with one key of each kind, for tests.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use crate::config::{IdentitySettings, Issuer};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

pub(super) const NOW: u64 = 1_700_000_000;
pub(super) const LEEWAY_S: u64 = 30;
pub(super) const ISSUER: &str = "https://idp.example.com";

/// One key pair of each kind, published under its own `kid`. It signs whatever it is given: attacks need that.
pub(super) struct Idp {
    ed: Ed25519KeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    p521: EcdsaKeyPair,
    rsa: RsaKeyPair,
    /// By `kid`.
    pub(super) keys: Vec<Value>,
}

pub(super) fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Idp {
    pub(super) fn new() -> Self {
        let ec = |algorithm: &'static EcdsaSigningAlgorithm| EcdsaKeyPair::generate(algorithm).unwrap();
        // 0x04, then x and y of equal length.
        let ec_jwk = |pair: &EcdsaKeyPair, kid: &str, curve: &str| {
            let point = pair.public_key().as_ref().to_vec();
            let (x, y) = point[1..].split_at((point.len() - 1) / 2);
            json!({ "kty": "EC", "crv": curve, "kid": kid, "x": b64(x), "y": b64(y) })
        };
        let ed = Ed25519KeyPair::generate().unwrap();
        let p256 = ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING);
        let p384 = ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING);
        let p521 = ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING);
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = rsa.public_key();
        let (n, e) =
            (public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero());
        let keys = vec![
            json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ed.public_key().as_ref()) }),
            ec_jwk(&p256, "p256", "P-256"),
            ec_jwk(&p384, "p384", "P-384"),
            ec_jwk(&p521, "p521", "P-521"),
            json!({ "kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(n), "e": b64(e) }),
        ];
        Self { ed, p256, p384, p521, rsa, keys }
    }

    pub(super) fn jwk(&self, kid: &str) -> &Value {
        self.keys.iter().find(|key| key["kid"] == kid).unwrap()
    }

    pub(super) fn key_set(&self) -> KeySet {
        KeySet::parse(json!({ "keys": self.keys }).to_string().as_bytes()).unwrap()
    }

    pub(super) fn verifier(&self) -> Verifier {
        self.verifier_of(issuer())
    }

    pub(super) fn verifier_of(&self, issuer: Issuer) -> Verifier {
        let verifier = Verifier::new(&[issuer], &IdentitySettings::default());
        verifier.install(0, self.key_set(), NOW);
        verifier
    }

    /// An EdDSA token with these claims.
    pub(super) fn token(&self, claims: &Value) -> String {
        self.signed(Algorithm::EdDSA, Some("ed"), claims)
    }

    pub(super) fn signed(&self, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let mut header = json!({ "alg": algorithm.name(), "typ": "JWT" });
        if let Some(kid) = kid {
            header["kid"] = kid.into();
        }
        self.with_header(algorithm, &header.to_string(), &claims.to_string())
    }

    /// Header and claims as they stand, whatever they say, signed by the key for `algorithm`.
    pub(super) fn with_header(&self, algorithm: Algorithm, header: &str, claims: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(claims));
        format!("{signed}.{}", b64(self.sign(algorithm, signed.as_bytes())))
    }

    pub(super) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
        let rng = SystemRandom::new();
        let ec = |pair: &EcdsaKeyPair| pair.sign(&rng, message).unwrap().as_ref().to_vec();
        let rsa = |padding: &'static dyn signature::RsaEncoding| {
            let pkcs8: Pkcs8V1Der<'_> = self.rsa.as_der().unwrap();
            let pair = RsaKeyPair::from_pkcs8(pkcs8.as_ref()).unwrap();
            let mut out = vec![0; pair.public_modulus_len()];
            pair.sign(padding, &rng, message, &mut out).unwrap();
            out
        };
        match algorithm {
            Algorithm::EdDSA => self.ed.sign(message).as_ref().to_vec(),
            Algorithm::ES256 => ec(&self.p256),
            Algorithm::ES384 => ec(&self.p384),
            Algorithm::ES512 => ec(&self.p521),
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
        }
    }
}

pub(super) fn kid_for(algorithm: Algorithm) -> &'static str {
    match algorithm {
        Algorithm::EdDSA => "ed",
        Algorithm::ES256 => "p256",
        Algorithm::ES384 => "p384",
        Algorithm::ES512 => "p521",
        _ => "rsa",
    }
}

/// An issuer that may use every algorithm.
pub(super) fn issuer() -> Issuer {
    let mut issuer = Issuer::new(ISSUER, vec!["inference".to_owned(), "chat".to_owned()]);
    issuer.algorithms = Algorithm::ALL.iter().map(|(algorithm, _)| *algorithm).collect();
    issuer
}

pub(super) fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "inference", "sub": "alice", "exp": NOW + 60, "groups": ["b", "a", "b"] })
}

pub(super) fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

pub(super) fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}
