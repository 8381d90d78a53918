//! The per-core memory of tokens that passed: a keyed fast hash finds the place, a full comparison decides (DECISIONS 37).

use super::{KnownCaller, Verifier};
use foldhash::quality::{FoldHasher, RandomState};
use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};
use std::rc::Rc;

/// Tokens that one core remembers.
pub const TOKEN_CACHE_ENTRIES_MAX: usize = 10_000;

/// Tokens that passed on one core. Not `Sync`: every core has its own.
///
/// The hash is keyed with fresh randomness, and only tokens that passed are ever put in, so nobody can choose where they
/// land; the map compares whole tokens. Failures are not remembered.
#[derive(Debug, Default)]
pub struct TokenCache {
    generation: u64,
    entries: HashMap<Box<[u8]>, Rc<KnownCaller>, ByTail>,
}

/// Of a longer token only its length and so many of its last bytes are hashed: they are of the signature, or of a secret.
const TAIL_BYTES: usize = 64;

#[derive(Clone, Debug, Default)]
struct ByTail(RandomState);

struct TailHasher<'s>(FoldHasher<'s>);

impl BuildHasher for ByTail {
    type Hasher = TailHasher<'static>;

    fn build_hasher(&self) -> Self::Hasher {
        TailHasher(self.0.build_hasher())
    }
}

impl Hasher for TailHasher<'_> {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        let tail = bytes.len().saturating_sub(TAIL_BYTES);
        self.0.write(bytes.get(tail..).unwrap_or_default());
    }

    #[inline]
    fn write_usize(&mut self, length: usize) {
        self.0.write_usize(length);
    }

    #[inline]
    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

impl TokenCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who the token stands for, if it is remembered and still counts. There is no leeway here: from its `exp` on a token is
    /// judged afresh, and so is everything once a key is gone; what was revoked meanwhile is forgotten.
    #[inline]
    pub fn get(&mut self, verifier: &Verifier, token: &[u8], now_unix_s: u64) -> Option<Rc<KnownCaller>> {
        let generation = verifier.generation();
        if self.generation != generation {
            self.catch_up(verifier, generation);
        }
        let identity = self.entries.get(token)?;
        (now_unix_s < identity.expires_at_unix_s).then(|| Rc::clone(identity))
    }

    /// Remembers a token that passed when the verifier's generation was `generation`; what has changed since then is not
    /// missed. An expired one (within the leeway) is not worth it.
    pub fn remember(&mut self, token: &[u8], identity: &Rc<KnownCaller>, generation: u64, now_unix_s: u64) {
        if identity.expires_at_unix_s <= now_unix_s || generation != self.generation {
            return;
        }
        self.make_room(now_unix_s);
        self.entries.insert(token.into(), Rc::clone(identity));
    }

    /// How many tokens are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[cold]
    fn catch_up(&mut self, verifier: &Verifier, generation: u64) {
        if verifier.needs_afresh(self.generation) {
            self.entries.clear();
        } else {
            self.entries.retain(|_, identity| !verifier.is_revoked(identity));
        }
        self.generation = generation;
    }

    /// When full: expired tokens go first; if that frees less than an eighth, everything goes. Rare, and bounded work
    /// per token either way.
    fn make_room(&mut self, now_unix_s: u64) {
        if self.entries.len() < TOKEN_CACHE_ENTRIES_MAX {
            return;
        }
        self.entries.retain(|_, identity| now_unix_s < identity.expires_at_unix_s);
        if self.entries.len() > TOKEN_CACHE_ENTRIES_MAX / 8 * 7 {
            self.entries.clear();
        }
    }
}
