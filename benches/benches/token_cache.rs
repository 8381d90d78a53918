//! What a remembered token costs per call: finding the credential among the headers, and looking it up. Beside it, as a measure
//! of this machine: the SHA-256 of the same token, which a cache keyed by a digest would have to take.
#![allow(missing_docs, clippy::unwrap_used)]

use criterion::{Criterion, criterion_group, criterion_main};
use sallyport::config::IdentitySettings;
use sallyport::identity::{Identity, KnownCaller, TokenCache, Verifier, presented};
use sha2::{Digest as _, Sha256};
use std::hint::black_box;

/// As DECISIONS 34 asks for.
const TOKENS: usize = 1_000;
/// Bytes of a usual access token: three parts of RS256 with a few groups.
const TOKEN_BYTES: usize = 900;
const NOW: u64 = 1_700_000_000;

fn tokens() -> Vec<String> {
    let token = |number: usize| {
        let mut hash = Sha256::digest(number.to_le_bytes());
        let mut text = String::from("eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCIsImtpZCI6ImsxIn0.");
        while text.len() < TOKEN_BYTES {
            hash = Sha256::digest(hash);
            text.extend(hash.iter().map(|byte| char::from(b'a' + byte % 26)));
        }
        text.truncate(TOKEN_BYTES);
        text
    };
    (0..TOKENS).map(token).collect()
}

fn remembered(criterion: &mut Criterion) {
    let verifier = Verifier::new(&[], &IdentitySettings::default());
    let mut cache = TokenCache::new();
    let tokens = tokens();
    assert!(cache.get(&verifier, b"none", NOW).is_none());
    for token in &tokens {
        let groups = (0..8).map(|number| format!("group-{number}")).collect();
        let identity = Identity { groups, ..Identity::new("alice", "https://idp.example.com") };
        cache.remember(token.as_bytes(), &KnownCaller::new(identity), verifier.generation(), NOW);
    }
    assert_eq!(cache.len(), TOKENS);
    let mut group = criterion.benchmark_group("token");
    let mut next = tokens.iter().cycle();
    group.bench_function("remembered", |bencher| {
        bencher.iter(|| cache.get(&verifier, black_box(next.next().unwrap()).as_bytes(), NOW).unwrap());
    });
    // The headers of a usual SDK's call.
    let others = ["host", "accept", "accept-encoding", "connection", "content-type", "user-agent", "x-stainless-arch"];
    let heads: Vec<Vec<(&str, String)>> = tokens
        .iter()
        .map(|token| {
            let own = [("authorization", format!("Bearer {token}"))];
            others.iter().map(|name| (*name, "some value or other".to_owned())).chain(own).collect()
        })
        .collect();
    let mut next = heads.iter().cycle();
    group.bench_function("found and remembered", |bencher| {
        bencher.iter(|| {
            let lines = black_box(next.next().unwrap());
            let token = presented(lines.iter().map(|(name, value)| (*name, value.as_bytes()))).unwrap();
            cache.get(&verifier, token, NOW).unwrap()
        });
    });
    let mut next = tokens.iter().cycle();
    group.bench_function("SHA-256 of it", |bencher| {
        bencher.iter(|| Sha256::digest(black_box(next.next().unwrap())));
    });
    group.finish();
}

criterion_group!(benches, remembered);
criterion_main!(benches);
