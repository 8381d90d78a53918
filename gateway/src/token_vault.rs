//! The values behind `as token` placeholders, per session of a caller, so that a later answer can be given back what an earlier call
//! hid. Each session's map is sealed under a key of its own and forgotten after a while; nothing of it reaches a disk, so after a
//! restart an old placeholder stays a placeholder.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};

/// Sessions that are kept at a time, per shard.
const SESSIONS_MAX: usize = 4096;
/// Bytes of one session's map.
const MAP_BYTES_MAX: usize = 1 << 20;
const SHARDS: usize = 16;

/// Whose tokens: of one caller of one tenant.
#[derive(Clone)]
pub struct Session {
    /// Tells sessions apart; nobody can guess whose it is.
    pub id: [u8; 32],
    /// Seals its map.
    pub key: [u8; 32],
}

/// The sealed maps of all sessions, sharded so that cores seldom meet.
pub struct TokenVault {
    lifetime_ms: u64,
    shards: [Mutex<HashMap<[u8; 32], Sealed>>; SHARDS],
}

struct Sealed {
    nonce: [u8; 12],
    bytes: Vec<u8>,
    expires_ms: u64,
}

impl fmt::Debug for TokenVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenVault").field("lifetime_ms", &self.lifetime_ms).finish_non_exhaustive()
    }
}

impl TokenVault {
    /// A session is forgotten when it was not used for so long.
    #[must_use]
    pub fn new(lifetime: Duration) -> Self {
        let lifetime_ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        Self { lifetime_ms, shards: std::array::from_fn(|_| Mutex::default()) }
    }

    /// The tokens of a session and their values.
    #[must_use]
    pub fn open(&self, session: &Session, now_ms: u64) -> Vec<(String, Vec<u8>)> {
        let mut shard = self.shard(session);
        let Some(sealed) = shard.get_mut(&session.id) else { return Vec::new() };
        if sealed.expires_ms <= now_ms {
            shard.remove(&session.id);
            return Vec::new();
        }
        sealed.expires_ms = now_ms.saturating_add(self.lifetime_ms);
        unseal(session, sealed).unwrap_or_default()
    }

    /// Adds tokens to a session. One that another call of the session meanwhile gave to another value is given back to nobody.
    pub fn keep(&self, session: &Session, fresh: Vec<(String, Vec<u8>)>, now_ms: u64) {
        if fresh.is_empty() {
            return;
        }
        let mut shard = self.shard(session);
        let known = shard.get(&session.id).filter(|sealed| sealed.expires_ms > now_ms);
        let mut tokens = known.and_then(|sealed| unseal(session, sealed)).unwrap_or_default();
        for (token, value) in fresh {
            match tokens.iter().position(|(known, _)| *known == token) {
                Some(at) if tokens.get(at).is_some_and(|(_, known)| *known == value) => {}
                Some(at) => {
                    tokens.remove(at);
                }
                None => tokens.push((token, value)),
            }
        }
        let bytes = encode(&tokens);
        if bytes.len() > MAP_BYTES_MAX {
            return;
        }
        if let Some(sealed) = seal(session, bytes, now_ms.saturating_add(self.lifetime_ms)) {
            make_room(&mut shard, &session.id, now_ms);
            shard.insert(session.id, sealed);
        }
    }

    fn shard(&self, session: &Session) -> MutexGuard<'_, HashMap<[u8; 32], Sealed>> {
        let number = usize::from(session.id.first().copied().unwrap_or_default()) % SHARDS;
        let shard = self.shards.get(number).unwrap_or(&self.shards[0]);
        // A map is whole between any two statements.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What expired goes, then what would expire first.
fn make_room(shard: &mut HashMap<[u8; 32], Sealed>, id: &[u8; 32], now_ms: u64) {
    shard.retain(|_, sealed| sealed.expires_ms > now_ms);
    if shard.len() >= SESSIONS_MAX && !shard.contains_key(id) {
        let first = shard.iter().min_by_key(|(_, sealed)| sealed.expires_ms).map(|(id, _)| *id);
        if let Some(first) = first {
            shard.remove(&first);
        }
    }
}

fn cipher(session: &Session) -> Option<RandomizedNonceKey> {
    RandomizedNonceKey::new(&AES_256_GCM, &session.key).ok()
}

fn seal(session: &Session, mut bytes: Vec<u8>, expires_ms: u64) -> Option<Sealed> {
    let nonce = cipher(session)?.seal_in_place_append_tag(Aad::from(session.id), &mut bytes).ok()?;
    Some(Sealed { nonce: *nonce.as_ref(), bytes, expires_ms })
}

fn unseal(session: &Session, sealed: &Sealed) -> Option<Vec<(String, Vec<u8>)>> {
    let mut bytes = sealed.bytes.clone();
    let nonce = Nonce::from(&sealed.nonce);
    decode(cipher(session)?.open_in_place(nonce, Aad::from(session.id), &mut bytes).ok()?)
}

/// Token and value, each behind its length.
fn encode(tokens: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (token, value) in tokens {
        for part in [token.as_bytes(), value] {
            bytes.extend_from_slice(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
            bytes.extend_from_slice(part);
        }
    }
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    let mut part = || {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (part, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        bytes = rest;
        Some(part.to_vec())
    };
    let mut tokens = Vec::new();
    while let Some(token) = part() {
        tokens.push((String::from_utf8(token).ok()?, part()?));
    }
    Some(tokens)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn session(number: u8) -> Session {
        Session { id: [number; 32], key: [number ^ 0xff; 32] }
    }

    fn entry(token: &str, value: &str) -> (String, Vec<u8>) {
        (token.to_owned(), value.as_bytes().to_vec())
    }

    #[test]
    fn a_session_keeps_its_tokens_for_its_time_and_for_nobody_else() {
        let vault = TokenVault::new(Duration::from_secs(60));
        let (mail, ssn) = (entry("<EMAIL_1_abcd>", "bob@example.com"), entry("<US_SSN_1_abcd>", "536-22-8145"));
        vault.keep(&session(1), vec![mail.clone()], 0);
        vault.keep(&session(1), vec![ssn.clone(), mail.clone()], 30_000);
        assert_eq!(vault.open(&session(1), 89_999), [mail, ssn], "each use keeps it alive");
        assert!(vault.open(&session(2), 89_999).is_empty());
        let thief = Session { key: [9; 32], ..session(1) };
        assert!(vault.open(&thief, 89_999).is_empty(), "another key opens nothing");
        assert!(vault.open(&session(1), 149_999).is_empty(), "over");
    }

    #[test]
    fn nothing_stands_in_the_open() {
        let vault = TokenVault::new(Duration::from_secs(60));
        vault.keep(&session(1), vec![entry("<EMAIL_1_abcd>", "bob@example.com")], 0);
        let shard = vault.shard(&session(1));
        let sealed = shard.get(&[1; 32]).unwrap();
        for needle in ["bob@example", "EMAIL"] {
            assert!(memchr::memmem::find(&sealed.bytes, needle.as_bytes()).is_none(), "{needle}");
        }
    }

    #[test]
    fn a_token_of_two_values_is_of_none_and_room_is_bounded() {
        let vault = TokenVault::new(Duration::from_secs(60));
        vault.keep(&session(1), vec![entry("<EMAIL_1_abcd>", "bob@example.com")], 0);
        vault.keep(&session(1), vec![entry("<EMAIL_1_abcd>", "eve@example.com")], 0);
        assert!(vault.open(&session(1), 0).is_empty());
        vault.keep(&session(1), vec![entry("<VALUE_1_abcd>", &"x".repeat(MAP_BYTES_MAX))], 0);
        assert!(vault.open(&session(1), 0).is_empty());
        let mut shard = HashMap::new();
        for number in 0..SESSIONS_MAX as u64 + 8 {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_le_bytes());
            make_room(&mut shard, &id, 1);
            shard.insert(id, Sealed { nonce: [0; 12], bytes: Vec::new(), expires_ms: 10 + number });
        }
        assert_eq!(shard.len(), SESSIONS_MAX);
        make_room(&mut shard, &[9; 32], u64::MAX);
        assert!(shard.is_empty());
    }
}
