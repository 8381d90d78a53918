#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::*;
use crate::config::{Issuer, JwksSource};
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::rc::Rc;

const NOW: u64 = 1_700_000_000;
const ISSUER: &str = "https://idp.example.com";

/// What stands before the PKCS#1 key in a PKCS#8 one of 2048 bits (RFC 5958); the signing side reads PKCS#1.
const PKCS8_RSA_PREFIX_BYTES: usize = 26;

/// One key pair of each kind, published under its own `kid`.
struct Idp {
    ed: (EncodingKey, Value),
    ec: (EncodingKey, Value),
    rsa: (EncodingKey, Value),
}

impl Idp {
    fn new() -> Self {
        let b64 = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let ed = Ed25519KeyPair::generate().unwrap();
        let ed_jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": b64(ed.public_key().as_ref()) });
        let ec = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        // 0x04, then x and y of 32 bytes each.
        let point = ec.public_key().as_ref().to_vec();
        let ec_jwk = json!({ "kty": "EC", "crv": "P-256", "kid": "ec", "alg": "ES256", "x": b64(&point[1..33]), "y": b64(&point[33..]) });
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let public = rsa.public_key();
        let (n, e) =
            (public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero());
        let rsa_jwk = json!({ "kty": "RSA", "kid": "rsa", "use": "sig", "n": b64(n), "e": b64(e) });
        let ec_pkcs8 = ec.to_pkcs8v1().unwrap();
        let rsa_pkcs8: Pkcs8V1Der<'_> = rsa.as_der().unwrap();
        let ed_pkcs8: Pkcs8V1Der<'_> = ed.as_der().unwrap();
        Self {
            ed: (EncodingKey::from_ed_der(ed_pkcs8.as_ref()), ed_jwk),
            ec: (EncodingKey::from_ec_der(ec_pkcs8.as_ref()), ec_jwk),
            rsa: (EncodingKey::from_rsa_der(&rsa_pkcs8.as_ref()[PKCS8_RSA_PREFIX_BYTES..]), rsa_jwk),
        }
    }

    fn verifier(&self) -> Verifier {
        let verifier = Verifier::new(&[issuer()]);
        verifier.install(0, KeySet::parse(self.jwks().as_bytes()).unwrap());
        verifier
    }

    fn jwks(&self) -> String {
        json!({ "keys": [self.ed.1, self.ec.1, self.rsa.1] }).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        self.signed(Algorithm::EdDSA, Some("ed"), claims)
    }

    fn signed(&self, algorithm: Algorithm, kid: Option<&str>, claims: &Value) -> String {
        let key = match algorithm {
            Algorithm::EdDSA => &self.ed.0,
            Algorithm::ES256 => &self.ec.0,
            _ => &self.rsa.0,
        };
        let mut header = Header::new(algorithm);
        header.kid = kid.map(str::to_owned);
        jsonwebtoken::encode(&header, claims, key).unwrap()
    }
}

fn issuer() -> Issuer {
    Issuer {
        url: ISSUER.to_owned(),
        audience: vec!["inference".to_owned(), "chat".to_owned()],
        groups_claim: "groups".to_owned(),
        tenant_claim: None,
        jwks: JwksSource::Discovery,
    }
}

fn claims() -> Value {
    json!({ "iss": ISSUER, "aud": "inference", "sub": "alice", "exp": NOW + 60, "groups": ["b", "a", "b"] })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn without(name: &str) -> Value {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    claims
}

fn raw(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[test]
fn the_three_algorithms_pass_with_and_without_kid() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    for (algorithm, kid) in [(Algorithm::EdDSA, "ed"), (Algorithm::ES256, "ec"), (Algorithm::RS256, "rsa")] {
        for kid in [Some(kid), None] {
            let token = idp.signed(algorithm, kid, &claims());
            assert_eq!(verifier.verify(&token, NOW).unwrap().subject, "alice", "{algorithm:?} {kid:?}");
        }
    }
}

#[test]
fn each_failed_check_has_its_own_error() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let good = idp.token(&claims());
    let (head, signature) = good.rsplit_once('.').unwrap();
    let flipped = format!("{head}.{}{}", if signature.starts_with('A') { "B" } else { "A" }, &signature[1..]);
    let other = Idp::new();
    let symmetric = jsonwebtoken::encode(
        &Header { kid: Some("ed".to_owned()), ..Header::new(Algorithm::HS256) },
        &claims(),
        // The classic confusion: the public key as an HMAC secret.
        &EncodingKey::from_secret(idp.ed.1["x"].as_str().unwrap().as_bytes()),
    )
    .unwrap();
    let mut critical = Header::new(Algorithm::EdDSA);
    critical.crit = Some(vec!["b64".to_owned()]);
    let critical = jsonwebtoken::encode(&critical, &claims(), &idp.ed.0).unwrap();
    let table = [
        ("nothing", String::new(), IdentityError::Missing),
        ("no JWT", "hunter2".to_owned(), IdentityError::Malformed),
        ("two parts", "a.b".to_owned(), IdentityError::Malformed),
        ("four parts", format!("{good}.x"), IdentityError::Malformed),
        ("too long", format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)), IdentityError::Malformed),
        ("claims that are no JSON", format!("{}.!!!!.AA", head.split('.').next().unwrap()), IdentityError::Malformed),
        ("critical extension", critical, IdentityError::Malformed),
        ("exp of a wrong type", idp.token(&with("exp", json!("soon"))), IdentityError::Malformed),
        ("negative exp", idp.token(&with("exp", json!(-1))), IdentityError::Malformed),
        ("groups of a wrong type", idp.token(&with("groups", json!(7))), IdentityError::Malformed),
        ("subject of a wrong type", idp.token(&with("sub", json!(7))), IdentityError::Malformed),
        ("alg none", raw(&json!({ "alg": "none" }), &claims(), ""), IdentityError::AlgorithmNotAllowed),
        ("symmetric", symmetric, IdentityError::AlgorithmNotAllowed),
        (
            "key of another algorithm",
            idp.signed(Algorithm::ES256, Some("ed"), &claims()),
            IdentityError::AlgorithmNotAllowed,
        ),
        ("unknown kid", idp.signed(Algorithm::EdDSA, Some("new"), &claims()), IdentityError::UnknownKey),
        ("flipped signature", flipped, IdentityError::BadSignature),
        ("someone else's key", other.token(&claims()), IdentityError::BadSignature),
        ("someone else's key, no kid", other.signed(Algorithm::RS256, None, &claims()), IdentityError::BadSignature),
        ("expired", idp.token(&with("exp", json!(NOW - LEEWAY_S))), IdentityError::Expired),
        ("not yet", idp.token(&with("nbf", json!(NOW + LEEWAY_S + 1))), IdentityError::NotYetValid),
        ("issuer", idp.token(&with("iss", json!("https://evil.example.com"))), IdentityError::WrongIssuer),
        ("issuer with a slash", idp.token(&with("iss", json!(format!("{ISSUER}/")))), IdentityError::WrongIssuer),
        ("audience", idp.token(&with("aud", json!("billing"))), IdentityError::WrongAudience),
        ("audiences", idp.token(&with("aud", json!(["billing", 7]))), IdentityError::WrongAudience),
        ("no iss", idp.token(&without("iss")), IdentityError::MissingClaim("iss")),
        ("no aud", idp.token(&without("aud")), IdentityError::MissingClaim("aud")),
        ("no exp", idp.token(&without("exp")), IdentityError::MissingClaim("exp")),
        ("no sub", idp.token(&without("sub")), IdentityError::MissingClaim("sub")),
        ("empty sub", idp.token(&with("sub", json!(""))), IdentityError::MissingClaim("sub")),
    ];
    for (what, token, expected) in table {
        assert_eq!(verifier.verify(&token, NOW), Err(expected), "{what}");
    }
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    verifier.verify(&idp.token(&with("exp", json!(NOW - LEEWAY_S + 1))), NOW).unwrap();
    verifier.verify(&idp.token(&with("nbf", json!(NOW + LEEWAY_S))), NOW).unwrap();
    verifier.verify(&idp.token(&with("exp", json!(NOW as f64 + 0.5))), NOW).unwrap();
}

#[test]
fn claims_become_an_identity() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let full = json!({
        "iss": ISSUER, "aud": ["other", "chat"], "sub": "svc-1", "client_id": "svc-1", "exp": NOW + 60, "jti": "t-1",
        "groups": "ml-leads  ml-apps", "scope": "chat embeddings",
    });
    let identity = verifier.verify(&idp.token(&full), NOW).unwrap();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        identity,
        Identity {
            subject: "svc-1".to_owned(),
            issuer: ISSUER.to_owned(),
            tenant: "default".to_owned(),
            client_id: Some("svc-1".to_owned()),
            kind: CallerKind::Service,
            groups: names(&["ml-apps", "ml-leads"]),
            scopes: names(&["chat", "embeddings"]),
            expires_at_unix_s: NOW + 60,
            token_id: Some("t-1".to_owned()),
        }
    );
    let person = verifier.verify(&idp.token(&with("azp", json!("console"))), NOW).unwrap();
    assert_eq!((person.kind, person.groups), (CallerKind::User, names(&["a", "b"])));
}

#[test]
fn groups_may_lie_deeper_and_the_tenant_must_be_there() {
    let idp = Idp::new();
    let nested =
        Issuer { groups_claim: "realm_access.roles".to_owned(), tenant_claim: Some("org".to_owned()), ..issuer() };
    let verifier = Verifier::new(&[nested]);
    verifier.install(0, KeySet::parse(idp.jwks().as_bytes()).unwrap());
    let mut claims = with("realm_access", json!({ "roles": ["ml-apps"] }));
    assert_eq!(verifier.verify(&idp.token(&claims), NOW), Err(IdentityError::MissingClaim("tenant")));
    claims["org"] = json!("acme");
    let identity = verifier.verify(&idp.token(&claims), NOW).unwrap();
    assert_eq!((identity.tenant.as_str(), identity.in_group("ml-apps")), ("acme", true));
}

#[test]
fn keys_that_may_not_sign_are_passed_over() {
    let idp = Idp::new();
    let mut encryption = idp.rsa.1.clone();
    encryption["use"] = json!("enc");
    let mut pss = idp.rsa.1.clone();
    pss["alg"] = json!("PS256");
    let set = json!({ "keys": [encryption, pss, { "kty": "oct", "k": "c2VjcmV0" }, { "kty": "new" }, idp.ed.1] });
    assert_eq!(KeySet::parse(set.to_string().as_bytes()).unwrap().len(), 1);
    assert!(KeySet::parse(b"<html>").is_err());
}

#[test]
fn an_unknown_key_asks_for_a_refresh() {
    let idp = Idp::new();
    let verifier = Verifier::new(&[issuer()]);
    assert_eq!(verifier.verify(&idp.token(&claims()), NOW), Err(IdentityError::UnknownKey));
    futures_lite::future::block_on(verifier.refresh_requested());
}

#[test]
fn the_cache_remembers_until_expiry_or_new_keys() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let mut cache = TokenCache::new();
    let token = idp.token(&claims());
    let first = cache.identify(&verifier, &token, NOW).unwrap();
    assert!(Rc::ptr_eq(&first, &cache.identify(&verifier, &token, NOW + 59).unwrap()));
    // At `exp` it is judged afresh (and still within the leeway), after the leeway it is refused.
    assert!(!Rc::ptr_eq(&first, &cache.identify(&verifier, &token, NOW + 60).unwrap()));
    assert_eq!(cache.identify(&verifier, &token, NOW + 60 + LEEWAY_S), Err(IdentityError::Expired));
    assert!(cache.is_empty());

    cache.identify(&verifier, &token, NOW).unwrap();
    verifier.install(0, KeySet::default());
    assert_eq!(cache.identify(&verifier, &token, NOW), Err(IdentityError::UnknownKey));
    assert!(cache.is_empty());
}

#[test]
fn the_cache_is_bounded() {
    let identity = Rc::new(Identity {
        subject: "x".to_owned(),
        issuer: ISSUER.to_owned(),
        tenant: "default".to_owned(),
        client_id: None,
        kind: CallerKind::User,
        groups: Vec::new(),
        scopes: Vec::new(),
        expires_at_unix_s: NOW,
        token_id: None,
    });
    let mut cache = TokenCache::new();
    for number in 0..TOKEN_CACHE_ENTRIES_MAX + 10 {
        cache.remember(&format!("token-{number}"), Rc::clone(&identity), NOW - 1);
        assert!(cache.len() <= TOKEN_CACHE_ENTRIES_MAX);
    }
    assert_eq!(cache.len(), 10);
}
