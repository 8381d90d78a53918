//! The table of attacks on tokens. Each forged token must be refused, and for the right reason.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::support::{ISSUER, Idp, LEEWAY_S, NOW, b64, claims, with, without};
use super::*;
use aws_lc_rs::hmac;
use serde_json::json;

/// Signed by HMAC with some secret that the attacker knows.
fn symmetric(secret: &[u8], header: &serde_json::Value) -> String {
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims().to_string()));
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
    format!("{signed}.{}", b64(tag))
}

#[test]
fn forged_algorithms_and_keys() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let other = Idp::new();
    let unsigned = |alg: &str| format!("{}.{}.", b64(json!({ "alg": alg }).to_string()), b64(claims().to_string()));
    let header = |extra: serde_json::Value| {
        let mut header = json!({ "alg": "EdDSA", "kid": "ed" });
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        header.to_string()
    };
    let forged = |extra| other.with_header(Algorithm::EdDSA, &header(extra), &claims().to_string());
    let modulus = idp.jwk("rsa")["n"].as_str().unwrap().as_bytes().to_vec();
    let table = [
        ("alg none", unsigned("none"), IdentityError::AlgorithmNotAllowed),
        ("alg None", unsigned("None"), IdentityError::AlgorithmNotAllowed),
        ("alg nOnE with kid", unsigned("nOnE"), IdentityError::AlgorithmNotAllowed),
        ("alg empty", unsigned(""), IdentityError::AlgorithmNotAllowed),
        (
            "alg in lower case",
            idp.with_header(Algorithm::EdDSA, r#"{"alg":"eddsa","kid":"ed"}"#, &claims().to_string()),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "no alg",
            idp.with_header(Algorithm::EdDSA, r#"{"kid":"ed"}"#, &claims().to_string()),
            IdentityError::Malformed,
        ),
        (
            "alg of a wrong type",
            idp.with_header(Algorithm::EdDSA, r#"{"alg":["EdDSA"]}"#, &claims().to_string()),
            IdentityError::Malformed,
        ),
        (
            "the RSA key as an HMAC secret",
            symmetric(&modulus, &json!({ "alg": "HS256", "kid": "rsa" })),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "the Ed25519 key as an HMAC secret",
            symmetric(idp.jwk("ed")["x"].as_str().unwrap().as_bytes(), &json!({ "alg": "HS256", "kid": "ed" })),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "HMAC that says EdDSA",
            symmetric(b"secret", &json!({ "alg": "EdDSA", "kid": "ed" })),
            IdentityError::BadSignature,
        ),
        (
            "RS256 under an EC key",
            idp.signed(Algorithm::RS256, Some("p256"), &claims()),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "ES256 under another curve's key",
            idp.signed(Algorithm::ES256, Some("p384"), &claims()),
            IdentityError::AlgorithmNotAllowed,
        ),
        (
            "PS256 said to be RS256",
            {
                let signed = format!("{}.{}", b64(r#"{"alg":"RS256","kid":"rsa"}"#), b64(claims().to_string()));
                format!("{signed}.{}", b64(idp.sign(Algorithm::PS256, signed.as_bytes())))
            },
            IdentityError::BadSignature,
        ),
        ("embedded jwk", forged(json!({ "jwk": other.jwk("ed") })), IdentityError::Malformed),
        ("jku", forged(json!({ "jku": "https://evil.example.com/keys" })), IdentityError::Malformed),
        ("x5u", forged(json!({ "x5u": "https://evil.example.com/cert" })), IdentityError::Malformed),
        ("x5c", forged(json!({ "x5c": ["MIIB"] })), IdentityError::Malformed),
        (
            "critical extension",
            idp.with_header(Algorithm::EdDSA, &header(json!({ "crit": ["b64"], "b64": false })), &claims().to_string()),
            IdentityError::Malformed,
        ),
        (
            "kid that is a path",
            idp.signed(Algorithm::EdDSA, Some("../../../dev/null"), &claims()),
            IdentityError::UnknownKey,
        ),
        (
            "kid that is a query",
            idp.signed(Algorithm::EdDSA, Some("' OR 1=1 --"), &claims()),
            IdentityError::UnknownKey,
        ),
        (
            "kid of a wrong type",
            idp.with_header(Algorithm::EdDSA, r#"{"alg":"EdDSA","kid":7}"#, &claims().to_string()),
            IdentityError::Malformed,
        ),
        ("another issuer's key", other.token(&claims()), IdentityError::BadSignature),
        ("another issuer's key, no kid", other.signed(Algorithm::RS256, None, &claims()), IdentityError::BadSignature),
    ];
    for (what, token, expected) in table {
        assert_eq!(verifier.verify(&token, NOW), Err(expected), "{what}");
    }
}

#[test]
fn broken_signatures() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    for (algorithm, name) in Algorithm::ALL {
        let good = idp.signed(algorithm, Some(super::support::kid_for(algorithm)), &claims());
        verifier.verify(&good, NOW).unwrap();
        let (signed, signature) = good.rsplit_once('.').unwrap();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        for broken in [
            format!("{signed}."),
            format!("{signed}.{first}{}", &signature[1..]),
            format!("{signed}.{}", &signature[..signature.len() - 4]),
            format!("{good}AAAA"),
            format!("{signed}.{}", b64(vec![0; signature.len() * 3 / 4])),
            format!("{signed}.{}", b64("\u{30}\u{6}\u{2}\u{1}\u{0}\u{2}\u{1}\u{0}")),
            format!("{good}="),
            format!("{good}\n"),
        ] {
            assert_eq!(verifier.verify(&broken, NOW), Err(IdentityError::BadSignature), "{name}: {broken}");
        }
        // Other claims under the same signature.
        let (header, _) = signed.split_once('.').unwrap();
        let swapped = format!("{header}.{}.{signature}", b64(with("sub", json!("mallory")).to_string()));
        assert_eq!(verifier.verify(&swapped, NOW), Err(IdentityError::BadSignature), "{name}");
    }
}

#[test]
fn the_zero_signature_of_ecdsa() {
    // r = s = 0, and r = s = n, which careless verifiers accept for every message (CVE-2022-21449).
    let idp = Idp::new();
    let verifier = idp.verifier();
    let signed = format!("{}.{}", b64(r#"{"alg":"ES256","kid":"p256"}"#), b64(claims().to_string()));
    let order = hex::decode("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551").unwrap();
    for signature in [vec![0; 64], [order.clone(), order].concat()] {
        assert_eq!(verifier.verify(&format!("{signed}.{}", b64(signature)), NOW), Err(IdentityError::BadSignature));
    }
}

#[test]
fn wrong_claims() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let table = [
        ("expired", with("exp", json!(NOW - LEEWAY_S)), IdentityError::Expired),
        ("expired long ago", with("exp", json!(0)), IdentityError::Expired),
        ("not yet", with("nbf", json!(NOW + LEEWAY_S + 1)), IdentityError::NotYetValid),
        ("issued in the future", with("iat", json!(NOW + LEEWAY_S + 1)), IdentityError::NotYetValid),
        ("exp of a wrong type", with("exp", json!("soon")), IdentityError::Malformed),
        ("exp negative", with("exp", json!(-1)), IdentityError::Malformed),
        ("exp beyond every clock", with("exp", json!(1e300)), IdentityError::Malformed),
        ("exp null", with("exp", json!(null)), IdentityError::Malformed),
        ("nbf of a wrong type", with("nbf", json!([NOW])), IdentityError::Malformed),
        ("groups of a wrong type", with("groups", json!(7)), IdentityError::Malformed),
        ("groups with a number", with("groups", json!(["a", 7])), IdentityError::Malformed),
        ("subject of a wrong type", with("sub", json!({ "sub": "alice" })), IdentityError::Malformed),
        ("issuer", with("iss", json!("https://evil.example.com")), IdentityError::WrongIssuer),
        ("issuer with a slash", with("iss", json!(format!("{ISSUER}/"))), IdentityError::WrongIssuer),
        ("issuer in capitals", with("iss", json!(ISSUER.to_uppercase())), IdentityError::WrongIssuer),
        ("issuer with a homoglyph", with("iss", json!("https://\u{456}dp.example.com")), IdentityError::WrongIssuer),
        ("issuers", with("iss", json!([ISSUER])), IdentityError::Malformed),
        ("audience", with("aud", json!("billing")), IdentityError::WrongAudience),
        ("audience that contains ours", with("aud", json!("inference-admin")), IdentityError::WrongAudience),
        ("audience of a wrong type", with("aud", json!({ "inference": true })), IdentityError::WrongAudience),
        ("audiences", with("aud", json!(["billing", 7])), IdentityError::WrongAudience),
        ("no audience in the list", with("aud", json!([])), IdentityError::WrongAudience),
        ("no iss", without("iss"), IdentityError::MissingClaim("iss")),
        ("no aud", without("aud"), IdentityError::MissingClaim("aud")),
        ("no exp", without("exp"), IdentityError::MissingClaim("exp")),
        ("no sub", without("sub"), IdentityError::MissingClaim("sub")),
        ("empty sub", with("sub", json!("")), IdentityError::MissingClaim("sub")),
        ("a subject that moves the cursor", with("sub", json!("alice\u{1b}[2K")), IdentityError::Malformed),
        ("a subject that turns the text", with("sub", json!("alice\u{202e}nimda")), IdentityError::Malformed),
        ("an invisible letter in a group", with("groups", json!(["ml-leads\u{200b}"])), IdentityError::Malformed),
        ("a subject beyond every name", with("sub", json!("a".repeat(1025))), IdentityError::Malformed),
        ("groups elsewhere", with("_claim_names", json!({ "groups": "src1" })), IdentityError::GroupsElsewhere),
    ];
    for (what, claims, expected) in table {
        assert_eq!(verifier.verify(&idp.token(&claims), NOW), Err(expected), "{what}");
    }
}

#[test]
fn what_two_parsers_read_differently() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let header = r#"{"alg":"EdDSA","kid":"ed"}"#;
    let body = claims().to_string();
    let (start, end) = body.split_at(body.len() - 1);
    let sign = |header: &str, claims: &str| idp.with_header(Algorithm::EdDSA, header, claims);
    for (what, token) in [
        ("two subjects", sign(header, &format!("{start},\"sub\":\"mallory\"{end}"))),
        ("two subjects, one escaped", sign(header, &format!("{start},\"s\\u0075b\":\"mallory\"{end}"))),
        ("two groups in a nested claim", sign(header, &format!("{start},\"r\":{{\"a\":1,\"a\":2}}{end}"))),
        ("two algorithms", sign(r#"{"alg":"EdDSA","alg":"none","kid":"ed"}"#, &body)),
        ("something after the claims", sign(header, &format!("{body}{{}}"))),
        ("claims that are a list", sign(header, "[]")),
        ("claims that are no JSON", sign(header, "hello")),
        ("claims in UTF-16", sign(header, "\u{feff}{}")),
        ("nothing at all", "..".to_owned()),
        ("no header", idp.token(&claims()).split_once('.').map(|(_, rest)| format!(".{rest}")).unwrap()),
        ("no claims", {
            let token = idp.token(&claims());
            let parts: Vec<&str> = token.split('.').collect();
            format!("{}..{}", parts[0], parts[2])
        }),
        ("an empty part more", format!("{}.", idp.token(&claims()))),
        ("the JSON serialisation", {
            let token = idp.token(&claims());
            let parts: Vec<&str> = token.split('.').collect();
            json!({ "payload": parts[1], "signatures": [{ "protected": parts[0], "signature": parts[2] }] }).to_string()
        }),
        ("two parts", "a.b".to_owned()),
        ("four parts", format!("{}.x", idp.token(&claims()))),
        ("five parts, as an encrypted token has", "a.b.c.d.e".to_owned()),
        ("no token", "hunter2".to_owned()),
        ("base64 with padding", idp.token(&claims()).replacen('.', "=.", 1)),
        ("base64 of the other alphabet", {
            let odd = with("x", json!("\u{fb}\u{ff}\u{fe}>>>???"));
            let token = idp.token(&odd);
            assert!(token.contains('-') || token.contains('_'), "the claims have to need the alphabet");
            let (signed, signature) = token.rsplit_once('.').unwrap();
            format!("{}.{signature}", signed.replace('-', "+").replace('_', "/"))
        }),
        ("letters that look like others", idp.token(&claims()).replacen('e', "\u{435}", 1)),
        ("a null byte", format!("{}\0", idp.token(&claims())).replacen('.', "\0.", 1)),
    ] {
        assert_eq!(verifier.verify(&token, NOW), Err(IdentityError::Malformed), "{what}");
    }
    // Non-canonical trailing bits: one signature must not have two spellings of its signed part.
    let token = idp.token(&json!({ "iss": ISSUER, "aud": "inference", "sub": "al", "exp": NOW + 60 }));
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let (head, claims) = signed.split_once('.').unwrap();
    if claims.len() % 4 != 0 {
        let last = claims.chars().last().unwrap();
        let odd = char::from_u32(last as u32 + 1).unwrap();
        let token = format!("{head}.{}{odd}.{signature}", &claims[..claims.len() - 1]);
        assert!(verifier.verify(&token, NOW).is_err());
    }
}

#[test]
fn oversized_tokens_are_not_even_taken_apart() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let long = idp.token(&with("padding", json!("A".repeat(TOKEN_BYTES_MAX))));
    assert_eq!(verifier.verify(&long, NOW), Err(IdentityError::TooLong));
    let fits = idp.token(&with("padding", json!("A".repeat(8 * 1024))));
    verifier.verify(&fits, NOW).unwrap();
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let nested = idp.with_header(Algorithm::EdDSA, r#"{"alg":"EdDSA","kid":"ed"}"#, &format!("{{\"a\":{deep}}}"));
    assert_eq!(verifier.verify(&nested, NOW), Err(IdentityError::Malformed));
}

#[test]
fn tokens_of_the_wrong_type() {
    let idp = Idp::new();
    let token = |typ: &str| {
        let header = json!({ "alg": "EdDSA", "kid": "ed", "typ": typ }).to_string();
        idp.with_header(Algorithm::EdDSA, &header, &claims().to_string())
    };
    let verifier = idp.verifier();
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt"] {
        verifier.verify(&token(typ), NOW).unwrap();
    }
    // RFC 8725 §3.11: one kind of token is not taken for another.
    for typ in ["logout+jwt", "dpop+jwt", "secevent+jwt", "kb+jwt", ""] {
        assert_eq!(verifier.verify(&token(typ), NOW), Err(IdentityError::WrongType), "{typ}");
    }
    let only = idp.verifier_of(crate::config::Issuer { types: vec!["at+jwt".to_owned()], ..super::support::issuer() });
    only.verify(&token("at+jwt"), NOW).unwrap();
    assert_eq!(only.verify(&token("JWT"), NOW), Err(IdentityError::WrongType));
    let untyped = idp.with_header(Algorithm::EdDSA, r#"{"alg":"EdDSA","kid":"ed"}"#, &claims().to_string());
    assert_eq!(only.verify(&untyped, NOW), Err(IdentityError::WrongType));
}

#[test]
fn floods_of_unknown_keys_fetch_keys_once() {
    use futures_lite::future::{block_on, poll_once};
    let idp = Idp::new();
    let verifier = idp.verifier();
    block_on(async {
        let mut first = Box::pin(verifier.fresh_keys(0, NOW));
        assert!(poll_once(first.as_mut()).await.is_none(), "the first waits");
        poll_once(Box::pin(verifier.refresh_asked(0))).await.expect("and the control plane was asked");
        let mut flood: Vec<_> = (0..100).map(|_| Box::pin(verifier.fresh_keys(0, NOW + 1))).collect();
        for one in &mut flood {
            assert!(poll_once(one.as_mut()).await.is_none(), "the others wait for the same answer");
        }
        assert!(poll_once(Box::pin(verifier.refresh_asked(0))).await.is_none(), "and nobody is asked again");
        verifier.refresh_done(0);
        assert!(first.await);
        for one in flood {
            assert!(one.await);
        }
        for second in 2..REFRESH_AT_MOST_EVERY_S {
            assert!(!verifier.fresh_keys(0, NOW + second).await, "just looked");
        }
        assert!(poll_once(Box::pin(verifier.refresh_asked(0))).await.is_none());
        let mut later = Box::pin(verifier.fresh_keys(0, NOW + REFRESH_AT_MOST_EVERY_S));
        assert!(poll_once(later.as_mut()).await.is_none());
        poll_once(Box::pin(verifier.refresh_asked(0))).await.expect("after a while once more");
    });
}
