//! Signatures of the Wycheproof project (<https://github.com/C2SP/wycheproof>) against every algorithm that may sign tokens: forged
//! and sloppy PKCS#1 paddings, points and numbers at the edges, signatures in two forms.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use ::wycheproof::{TestResult, ecdsa, eddsa, rsa_pkcs1_verify, rsa_pss_verify};
use serde_json::json;

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn key(published: &Value) -> Key {
    let keys = KeySet::parse(json!({ "keys": [published] }).to_string().as_bytes()).unwrap();
    keys.keys.into_iter().next().unwrap_or_else(|| panic!("{published} may sign tokens"))
}

fn rsa(modulus: &[u8], exponent: &[u8]) -> Value {
    let number = |bytes: &[u8]| b64(&bytes.iter().copied().skip_while(|byte| *byte == 0).collect::<Vec<_>>());
    json!({ "kty": "RSA", "n": number(modulus), "e": number(exponent) })
}

/// A message, its signature, whether that is good, and what is said about it.
type Vector<'a> = (&'a [u8], &'a [u8], TestResult, String);

/// The same fields, whichever of the types of tests has them.
macro_rules! vector {
    ($test:ident) => {
        (&$test.msg, &$test.sig, $test.result, format!("{} {}", $test.tc_id, $test.comment))
    };
}

/// How many signatures are good, and how many are not; a wrong judgement ends the test.
#[derive(Default)]
struct Seen {
    good: usize,
    bad: usize,
}

impl Seen {
    fn judge(&mut self, key: &Key, algorithm: Algorithm, (message, signature, result, about): Vector<'_>) {
        let passes = key.signed(algorithm, message, &b64(signature));
        match result {
            TestResult::Valid => {
                assert!(passes, "{algorithm}: {about} is good");
                self.good += 1;
            }
            // What a verifier may leave out of strictness, this one leaves out.
            TestResult::Invalid | TestResult::Acceptable => {
                assert!(!passes, "{algorithm}: {about} is not good");
                self.bad += 1;
            }
        }
    }
}

#[test]
fn rsa_paddings() {
    use rsa_pkcs1_verify::{TestName as Name, TestSet};
    let sets = [
        (Algorithm::RS256, vec![Name::Rsa2048Sha256, Name::Rsa3072Sha256, Name::Rsa4096Sha256, Name::Rsa8192Sha256]),
        (Algorithm::RS384, vec![Name::Rsa2048Sha384, Name::Rsa3072Sha384, Name::Rsa4096Sha384, Name::Rsa8192Sha384]),
        (Algorithm::RS512, vec![Name::Rsa2048Sha512, Name::Rsa3072Sha512, Name::Rsa4096Sha512, Name::Rsa8192Sha512]),
    ];
    for (algorithm, names) in sets {
        let mut seen = Seen::default();
        for group in names.into_iter().flat_map(|name| TestSet::load(name).unwrap().test_groups) {
            let key = key(&rsa(&group.key.n, &group.key.e));
            for test in &group.tests {
                seen.judge(&key, algorithm, vector!(test));
            }
        }
        assert!(seen.good >= 20 && seen.bad >= 800, "{algorithm}: {} good, {} bad", seen.good, seen.bad);
    }
}

#[test]
fn rsa_with_salt() {
    use rsa_pss_verify::{TestName as Name, TestSet};
    // The salt of a token's signature is as long as the hash (RFC 7518 §3.5).
    let sets = [
        (Algorithm::PS256, vec![Name::RsaPss2048Sha256Mgf1SaltLen32, Name::RsaPss3072Sha256Mgf1SaltLen32]),
        (Algorithm::PS384, vec![Name::RsaPss2048Sha384Mgf1SaltLen48, Name::RsaPss4096Sha384Mgf1SaltLen48]),
        (Algorithm::PS512, vec![Name::RsaPss4096Sha512Mgf1SaltLen64]),
    ];
    for (algorithm, names) in sets {
        let mut seen = Seen::default();
        for group in names.into_iter().flat_map(|name| TestSet::load(name).unwrap().test_groups) {
            let key = key(&rsa(&group.key.n, &group.key.e));
            for test in &group.tests {
                seen.judge(&key, algorithm, vector!(test));
            }
        }
        assert!(seen.good >= 20 && seen.bad >= 20, "{algorithm}: {} good, {} bad", seen.good, seen.bad);
    }
    // A good signature with a salt of another length is not good for a token.
    for group in TestSet::load(Name::RsaPss2048Sha256Mgf1SaltLen0).unwrap().test_groups {
        let key = key(&rsa(&group.key.n, &group.key.e));
        for test in group.tests.iter().filter(|test| test.result == TestResult::Valid) {
            assert!(!key.signed(Algorithm::PS256, &test.msg, &b64(&test.sig)), "{} {}", test.tc_id, test.comment);
        }
    }
}

#[test]
fn elliptic_curves() {
    use ecdsa::{TestName as Name, TestSet};
    // Both numbers one behind the other, as tokens have them (RFC 7518 §3.4).
    for (algorithm, name, curve, bytes) in [
        (Algorithm::ES256, Name::EcdsaSecp256r1Sha256P1363, "P-256", 32),
        (Algorithm::ES384, Name::EcdsaSecp384r1Sha384P1363, "P-384", 48),
        (Algorithm::ES512, Name::EcdsaSecp521r1Sha512P1363, "P-521", 66),
    ] {
        let mut seen = Seen::default();
        for group in TestSet::load(name).unwrap().test_groups {
            // The point stands at the end of the key's encoding.
            let (_, point) = group.der.split_at(group.der.len() - 2 * bytes);
            let (x, y) = point.split_at(bytes);
            let key = key(&json!({ "kty": "EC", "crv": curve, "x": b64(x), "y": b64(y) }));
            for test in &group.tests {
                seen.judge(&key, algorithm, vector!(test));
            }
        }
        assert!(seen.good >= 100 && seen.bad >= 50, "{algorithm}: {} good, {} bad", seen.good, seen.bad);
    }
}

#[test]
fn edwards_curve() {
    let mut seen = Seen::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519).unwrap().test_groups {
        let (_, point) = group.der.split_at(group.der.len() - 32);
        let key = key(&json!({ "kty": "OKP", "crv": "Ed25519", "x": b64(point) }));
        for test in &group.tests {
            seen.judge(&key, Algorithm::EdDSA, vector!(test));
        }
    }
    assert!(seen.good >= 50 && seen.bad >= 50, "{} good, {} bad", seen.good, seen.bad);
}
