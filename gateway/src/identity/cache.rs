//! The per-core memory of tokens that passed: a keyed fast hash finds the place, a full comparison decides (DECISIONS 37).

use super::{Identity, IdentityError, Verifier};
use std::collections::HashMap;
use std::rc::Rc;

/// Tokens that one core remembers.
pub const TOKEN_CACHE_ENTRIES_MAX: usize = 10_000;

/// Tokens that passed on one core. Not `Sync`: every core has its own.
///
/// The map's hash is keyed with fresh randomness (SipHash), and it compares whole tokens. Failures are not remembered.
#[derive(Debug, Default)]
pub struct TokenCache {
    generation: u64,
    entries: HashMap<Box<str>, Rc<Identity>>,
}

impl TokenCache {
    /// An empty cache.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Who the token stands for: remembered, or verified now and remembered. A token is never taken past its `exp`
    /// (there is no leeway here: an expired entry is judged afresh), nor once the issuers' keys changed.
    ///
    /// # Errors
    /// Those of [`Verifier::verify`].
    pub fn identify(
        &mut self,
        verifier: &Verifier,
        token: &str,
        now_unix_s: u64,
    ) -> Result<Rc<Identity>, IdentityError> {
        let generation = verifier.generation();
        if self.generation != generation {
            self.entries.clear();
            self.generation = generation;
        }
        if let Some(identity) = self.entries.get(token)
            && now_unix_s < identity.expires_at_unix_s
        {
            return Ok(Rc::clone(identity));
        }
        self.entries.remove(token);
        let identity = Rc::new(verifier.verify(token, now_unix_s)?);
        self.remember(token, Rc::clone(&identity), now_unix_s);
        Ok(identity)
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

    pub(super) fn remember(&mut self, token: &str, identity: Rc<Identity>, now_unix_s: u64) {
        self.make_room(now_unix_s);
        self.entries.insert(token.into(), identity);
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
