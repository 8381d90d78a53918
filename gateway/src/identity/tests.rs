#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use super::support::{ISSUER, Idp, LEEWAY_S, NOW, claims, issuer, kid_for, with};
use super::*;
use crate::config::{ClaimRule, ClientSecret, IdentitySettings, IntrospectionSettings, Issuer, KindOfCallers, Secret};
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

fn names(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn rule(claim: &str, values: &[&str]) -> ClaimRule {
    ClaimRule { claim: claim.to_owned(), values: names(values) }
}

fn identify(
    cache: &mut TokenCache,
    verifier: &Verifier,
    token: &str,
    now: u64,
) -> Result<Rc<KnownCaller>, IdentityError> {
    if let Some(identity) = cache.get(verifier, token.as_bytes(), now) {
        return Ok(identity);
    }
    let generation = verifier.generation();
    let identity = KnownCaller::new(verifier.verify(token, now)?);
    cache.remember(token.as_bytes(), &identity, generation, now);
    Ok(identity)
}

#[test]
fn every_algorithm_passes_with_and_without_kid_unless_it_is_not_allowed() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let narrow = idp.verifier_of(Issuer::new(ISSUER, names(&["inference"])));
    for (algorithm, name) in Algorithm::ALL {
        for kid in [Some(kid_for(algorithm)), None] {
            let token = idp.signed(algorithm, kid, &claims());
            assert_eq!(verifier.verify(&token, NOW).unwrap().subject, "alice", "{name} {kid:?}");
            let expected =
                if Algorithm::DEFAULT.contains(&algorithm) { None } else { Some(IdentityError::AlgorithmNotAllowed) };
            assert_eq!(narrow.verify(&token, NOW).err(), expected, "{name}");
        }
        assert_eq!((Algorithm::named(name), algorithm.to_string()), (Some(algorithm), name.to_owned()));
    }
}

#[test]
fn clocks_may_differ_by_the_leeway() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    verifier.verify(&idp.token(&with("exp", json!(NOW - LEEWAY_S + 1))), NOW).unwrap();
    verifier.verify(&idp.token(&with("nbf", json!(NOW + LEEWAY_S))), NOW).unwrap();
    verifier.verify(&idp.token(&with("iat", json!(NOW + LEEWAY_S))), NOW).unwrap();
    verifier.verify(&idp.token(&with("exp", json!(NOW as f64 + 0.5))), NOW).unwrap();
}

#[test]
fn claims_become_an_identity() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let full = json!({
        "iss": ISSUER, "aud": ["other", "chat"], "sub": "svc-1", "client_id": "svc-1", "exp": NOW + 60, "iat": NOW,
        "jti": "t-1", "groups": "ml-leads  ml-apps", "scope": "chat embeddings",
    });
    let identity = verifier.verify(&idp.token(&full), NOW).unwrap();
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
            issued_at_unix_s: Some(NOW),
            token_id: Some("t-1".to_owned()),
            declared: Declared::default(),
            claims: identity.claims.clone(),
        }
    );
    let person = verifier.verify(&idp.token(&with("azp", json!("console"))), NOW).unwrap();
    assert_eq!((person.kind, person.groups), (CallerKind::User, names(&["a", "b"])));
}

#[test]
fn groups_are_found_wherever_the_issuer_puts_them() {
    let idp = Idp::new();
    let groups = |paths: &[&str], prefix: &str, claim: &str, value: Value| {
        let verifier =
            idp.verifier_of(Issuer { groups_claims: names(paths), groups_prefix: prefix.to_owned(), ..issuer() });
        verifier.verify(&idp.token(&with(claim, value)), NOW).map(|identity| identity.groups)
    };
    let keycloak = json!({ "my.client": { "roles": ["b", "a"] } });
    assert_eq!(groups(&["realm_access.roles"], "", "realm_access", json!({ "roles": ["x"] })), Ok(names(&["x"])));
    assert_eq!(groups(&["/resource_access/my.client/roles"], "", "resource_access", keycloak), Ok(names(&["a", "b"])));
    assert_eq!(
        groups(&["https://example.com/roles"], "", "https://example.com/roles", json!("a b")),
        Ok(names(&["a", "b"]))
    );
    assert_eq!(groups(&["/a~1b/c~0d"], "", "a/b", json!({ "c~d": ["x"] })), Ok(names(&["x"])));
    assert_eq!(groups(&["repository"], "github:", "repository", json!("octo/app")), Ok(names(&["github:octo/app"])));
    assert_eq!(groups(&["groups", "roles"], "", "roles", json!(["z", "a"])), Ok(names(&["a", "b", "z"])));
    assert_eq!(groups(&["absent.path"], "", "absent", json!("text")), Ok(Vec::new()));
    assert_eq!(groups(&["deep"], "", "deep", json!({ "x": 1 })), Err(IdentityError::Malformed));
}

#[test]
fn people_and_programs_are_told_apart() {
    let idp = Idp::new();
    let kind = |change: fn(&mut Issuer), claim: &str, value: Value| {
        let mut issuer = issuer();
        change(&mut issuer);
        idp.verifier_of(issuer).verify(&idp.token(&with(claim, value)), NOW).unwrap().kind
    };
    assert_eq!(kind(|_| {}, "azp", json!("console")), CallerKind::User);
    assert_eq!(kind(|_| {}, "cid", json!("alice")), CallerKind::Service, "the subject is the client");
    let keycloak = |issuer: &mut Issuer| issuer.service_when = vec![rule("preferred_username", &["service-account-*"])];
    assert_eq!(kind(keycloak, "preferred_username", json!("service-account-batch")), CallerKind::Service);
    assert_eq!(kind(keycloak, "preferred_username", json!("alice")), CallerKind::User);
    assert_eq!(
        kind(|issuer| issuer.service_when = vec![rule("idtyp", &["app"])], "idtyp", json!("app")),
        CallerKind::Service
    );
    assert_eq!(kind(|issuer| issuer.kind = KindOfCallers::Services, "x", json!(1)), CallerKind::Service);
    assert_eq!(kind(|issuer| issuer.kind = KindOfCallers::Users, "client_id", json!("alice")), CallerKind::User);
}

#[test]
fn configured_claims_are_required() {
    let idp = Idp::new();
    let verify = |change: &dyn Fn(&mut Issuer), claim: &str, value: Value| {
        let mut issuer = issuer();
        change(&mut issuer);
        idp.verifier_of(issuer).verify(&idp.token(&with(claim, value)), NOW)
    };
    let clients = |issuer: &mut Issuer| issuer.clients = names(&["app-1"]);
    assert!(verify(&clients, "azp", json!("app-1")).is_ok());
    assert_eq!(verify(&clients, "azp", json!("app-2")), Err(IdentityError::WrongClient));
    assert_eq!(verify(&clients, "x", json!(1)), Err(IdentityError::WrongClient));
    let verified =
        |issuer: &mut Issuer| issuer.require = vec![rule("email_verified", &["true"]), rule("amr", &["mfa"])];
    let mut both = with("email_verified", json!(true));
    both["amr"] = json!(["pwd", "mfa"]);
    let mut strict = issuer();
    verified(&mut strict);
    assert!(idp.verifier_of(strict).verify(&idp.token(&both), NOW).is_ok());
    assert_eq!(verify(&verified, "email_verified", json!(true)), Err(IdentityError::RequiredClaim));
    assert_eq!(verify(&verified, "email_verified", json!("yes")), Err(IdentityError::RequiredClaim));
    let subject = |issuer: &mut Issuer| issuer.subject_claim = "oid".to_owned();
    assert_eq!(verify(&subject, "oid", json!("o-1")).unwrap().subject, "o-1");
    let tenant = |issuer: &mut Issuer| issuer.tenant_claim = Some("org".to_owned());
    assert_eq!(verify(&tenant, "x", json!(1)), Err(IdentityError::MissingClaim("tenant")));
    assert_eq!(verify(&tenant, "org", json!("acme")).unwrap().tenant, "acme");
}

#[test]
fn purposes_come_from_claims_and_groups() {
    let idp = Idp::new();
    let mut own = issuer();
    own.purpose_claim = Some("purpose".to_owned());
    own.data_subject_claim = Some("patient".to_owned());
    let settings = IdentitySettings {
        purposes: vec![PurposeOfGroups {
            groups: names(&["a"]),
            purpose: "triage".to_owned(),
            basis: Some("vital_interest".to_owned()),
        }],
        ..IdentitySettings::default()
    };
    let verifier = Verifier::new(&[own], &settings);
    verifier.install(0, idp.key_set(), NOW);
    let of = |claims: &Value| verifier.verify(&idp.token(claims), NOW).map(|identity| identity.declared);
    let declared = of(&with("purpose", json!("research"))).unwrap();
    assert_eq!(declared.purpose, Some(Stated { value: "research".to_owned(), by: StatedBy::Claim }));
    assert_eq!(declared.basis, Some(Stated { value: "vital_interest".to_owned(), by: StatedBy::Policy }));
    let declared = of(&with("patient", json!("p-7"))).unwrap();
    assert_eq!(declared.purpose.unwrap().by, StatedBy::Policy);
    assert_eq!(declared.data_subject.unwrap().value, "p-7");
    assert_eq!(of(&with("purpose", json!(7))), Err(IdentityError::Malformed));
}

#[test]
fn keys_that_may_not_sign_are_passed_over() {
    let idp = Idp::new();
    let rsa = |change: &dyn Fn(&mut Value)| {
        let mut key = idp.jwk("rsa").clone();
        change(&mut key);
        key
    };
    let bad = [
        rsa(&|key| key["use"] = json!("enc")),
        rsa(&|key| key["key_ops"] = json!(["encrypt"])),
        rsa(&|key| key["alg"] = json!("RSA-OAEP")),
        rsa(&|key| key["alg"] = json!("ES256")),
        rsa(&|key| key["n"] = json!("AQAB")),
        rsa(&|key| key["kid"] = json!("x".repeat(1000))),
        json!({ "kty": "oct", "k": "c2VjcmV0" }),
        json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }),
        json!({ "kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA" }),
        json!({ "kty": "new" }),
        json!("text"),
        json!({}),
    ];
    for key in &bad {
        assert!(KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes()).unwrap().is_empty(), "{key}");
    }
    let pss = rsa(&|key| key["alg"] = json!("PS256"));
    let verifier = idp.verifier_of(issuer());
    verifier.install(0, KeySet::parse(json!({ "keys": [pss] }).to_string().as_bytes()).unwrap(), NOW);
    verifier.verify(&idp.signed(Algorithm::PS256, Some("rsa"), &claims()), NOW).unwrap();
    let other = idp.signed(Algorithm::RS256, Some("rsa"), &claims());
    assert_eq!(verifier.verify(&other, NOW), Err(IdentityError::AlgorithmNotAllowed));
    assert!(KeySet::parse(b"<html>").is_err());
}

#[test]
fn keys_count_while_the_issuer_is_silent_but_not_for_ever() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let far = with("exp", json!(NOW + 1_000_000));
    let day_s = 24 * 3600;
    verifier.verify(&idp.token(&far), NOW + day_s).unwrap();
    assert_eq!(verifier.verify(&idp.token(&far), NOW + day_s + 1), Err(IdentityError::UnknownKey));
    assert!(!verifier.install(0, idp.key_set(), NOW + day_s), "the same keys are no change");
    verifier.verify(&idp.token(&far), NOW + day_s + 1).unwrap();
}

#[test]
fn the_cache_remembers_until_expiry() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let mut cache = TokenCache::new();
    let token = idp.token(&claims());
    let first = identify(&mut cache, &verifier, &token, NOW).unwrap();
    let first = {
        drop(first);
        identify(&mut cache, &verifier, &token, NOW).unwrap()
    };
    assert!(Rc::ptr_eq(&first, &identify(&mut cache, &verifier, &token, NOW + 59).unwrap()));
    // At `exp` it is judged afresh (and still within the leeway), after the leeway it is refused.
    assert!(!Rc::ptr_eq(&first, &identify(&mut cache, &verifier, &token, NOW + 60).unwrap()));
    let late = identify(&mut cache, &verifier, &token, NOW + 60 + LEEWAY_S);
    assert_eq!(late.unwrap_err(), IdentityError::Expired);
}

#[test]
fn the_cache_forgets_what_lost_its_ground_and_nothing_else() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let mut cache = TokenCache::new();
    let tokens: Vec<String> = (0..10).map(|n| idp.token(&with("jti", json!(format!("t-{n}"))))).collect();
    let fill = |cache: &mut TokenCache| {
        for token in &tokens {
            drop(identify(cache, &verifier, token, NOW));
            identify(cache, &verifier, token, NOW).unwrap();
        }
        assert_eq!(cache.len(), 10);
    };
    fill(&mut cache);
    // A new key beside the old ones.
    let mut more = idp.keys.clone();
    let mut new = Idp::new().jwk("ed").clone();
    new["kid"] = json!("new");
    more.push(new);
    assert!(verifier.install(0, KeySet::parse(json!({ "keys": more }).to_string().as_bytes()).unwrap(), NOW));
    assert!(cache.get(&verifier, tokens[0].as_bytes(), NOW).is_some());
    assert_eq!(cache.len(), 10);
    // A revocation.
    verifier.replace_revocations(Revocations::parse("[[revoked]]\njti = \"t-3\"").unwrap());
    assert!(cache.get(&verifier, tokens[3].as_bytes(), NOW).is_none());
    assert_eq!(cache.len(), 9);
    assert_eq!(verifier.verify(&tokens[3], NOW), Err(IdentityError::Revoked));
    verifier.replace_revocations(Revocations::default());
    verifier.verify(&tokens[3], NOW).unwrap();
    // A key that is gone.
    let rest: Vec<&Value> = idp.keys.iter().filter(|key| key["kid"] != "ed").collect();
    verifier.install(0, KeySet::parse(json!({ "keys": rest }).to_string().as_bytes()).unwrap(), NOW);
    assert!(cache.get(&verifier, tokens[0].as_bytes(), NOW).is_none());
    assert!(cache.is_empty());
    assert_eq!(verifier.verify(&tokens[0], NOW), Err(IdentityError::UnknownKey));
}

#[test]
fn what_changed_while_a_token_was_checked_is_not_missed() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let mut cache = TokenCache::new();
    let token = idp.token(&claims());
    assert!(cache.get(&verifier, token.as_bytes(), NOW).is_none());
    let generation = verifier.generation();
    let identity = KnownCaller::new(verifier.verify(&token, NOW).unwrap());
    verifier.install(0, KeySet::default(), NOW);
    assert!(cache.get(&verifier, b"another", NOW).is_none());
    cache.remember(token.as_bytes(), &identity, generation, NOW);
    assert!(cache.is_empty());
}

#[test]
fn the_cache_is_bounded() {
    let verifier = Verifier::new(&[], &IdentitySettings::default());
    let identity = |expires| KnownCaller::new(Identity { expires_at_unix_s: expires, ..Identity::new("x", ISSUER) });
    let mut cache = TokenCache::new();
    assert!(cache.get(&verifier, b"none", NOW).is_none());
    let short = identity(NOW + 1);
    for number in 0..TOKEN_CACHE_ENTRIES_MAX {
        cache.remember(format!("token-{number}").as_bytes(), &short, verifier.generation(), NOW);
    }
    assert_eq!(cache.len(), TOKEN_CACHE_ENTRIES_MAX);
    let long = identity(NOW + 100);
    for number in 0..10 {
        cache.remember(format!("later-{number}").as_bytes(), &long, verifier.generation(), NOW + 1);
    }
    assert_eq!(cache.len(), 10, "expired ones go first");
    cache.remember(b"expired", &short, verifier.generation(), NOW + 1);
    assert_eq!(cache.len(), 10);
}

#[test]
fn an_issuers_answer_about_an_opaque_token() {
    let mut own = issuer();
    own.introspection = Some(IntrospectionSettings {
        url: None,
        client_id: "gw".to_owned(),
        client_secret: ClientSecret::fixed(Secret::new("s".to_owned())),
        cache: Duration::from_mins(1),
    });
    let verifier = Verifier::new(&[own], &IdentitySettings::default());
    assert!(
        verifier.is_opaque("abcdef")
            && !verifier.is_opaque("eyJhbGciOiJub25lIn0.e30.")
            && !verifier.is_opaque("sallyport_a_b")
    );
    let of = |answer: Value| verifier.introspected(0, answer.to_string().as_bytes(), NOW);
    let good = json!({ "active": true, "sub": "alice", "exp": NOW + 3600, "aud": "inference", "iss": ISSUER, "groups": ["a"] });
    let identity = of(good.clone()).unwrap();
    assert_eq!((identity.subject.as_str(), identity.expires_at_unix_s), ("alice", NOW + 60));
    assert_eq!(of(json!({ "active": true, "client_id": "batch" })).unwrap().kind, CallerKind::Service);
    let changed = |name: &str, value: Value| {
        let mut answer = good.clone();
        answer[name] = value;
        of(answer)
    };
    assert_eq!(changed("exp", json!(NOW + 5)).unwrap().expires_at_unix_s, NOW + 5);
    assert_eq!(changed("active", json!(false)), Err(IdentityError::NotActive));
    assert_eq!(changed("active", json!("true")), Err(IdentityError::NotActive));
    assert_eq!(changed("exp", json!(NOW)), Err(IdentityError::Expired));
    assert_eq!(changed("nbf", json!(NOW + 31)), Err(IdentityError::NotYetValid));
    assert_eq!(changed("aud", json!("billing")), Err(IdentityError::WrongAudience));
    assert_eq!(changed("iss", json!("https://evil.example.com")), Err(IdentityError::WrongIssuer));
    assert_eq!(verifier.introspected(0, b"<html>", NOW), Err(IdentityError::IssuerUnavailable));
    assert_eq!(
        verifier.introspected(0, b"{\"active\":true,\"active\":true}", NOW),
        Err(IdentityError::IssuerUnavailable)
    );
}

#[test]
fn one_issuers_keys_prove_nothing_about_another() {
    let (first, second) = (Idp::new(), Idp::new());
    let other = Issuer { url: "https://other.example.com".to_owned(), groups_prefix: "other:".to_owned(), ..issuer() };
    let verifier = Verifier::new(&[issuer(), other], &IdentitySettings::default());
    verifier.install(0, first.key_set(), NOW);
    verifier.install(1, second.key_set(), NOW);
    let elsewhere = with("iss", json!("https://other.example.com"));
    assert_eq!(verifier.verify(&first.token(&claims()), NOW).unwrap().groups, names(&["a", "b"]));
    assert_eq!(verifier.verify(&second.token(&elsewhere), NOW).unwrap().groups, names(&["other:a", "other:b"]));
    assert_eq!(verifier.verify(&first.token(&elsewhere), NOW), Err(IdentityError::BadSignature));
    assert_eq!(verifier.verify(&second.token(&claims()), NOW), Err(IdentityError::BadSignature));
}

#[test]
fn an_id_token_counts_only_for_the_login_that_asked_for_it() {
    let idp = Idp::new();
    let verifier = idp.verifier();
    let token = idp.token(&with("nonce", json!("n-1")));
    assert_eq!(verifier.verify_id_token(&token, "n-1", NOW).unwrap().subject, "alice");
    assert_eq!(verifier.verify_id_token(&token, "n-2", NOW), Err(IdentityError::Malformed));
    assert_eq!(verifier.verify_id_token(&idp.token(&claims()), "n-1", NOW), Err(IdentityError::Malformed));
}
