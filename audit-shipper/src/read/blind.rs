//! Blind tokens: what the index is searched by. Each is a keyed digest of a field and its value, so that the index tells nothing to
//! whoever has no keys. Two values may share one: rows are read and compared before they count as found.

use std::cell::RefCell;
use std::collections::HashMap;

use super::rows::{Row, tenant_name};
use super::source::Source;
use super::spoken;
use crate::crypto;
use crate::error::EvidenceError;
use crate::keystore::{self, KeyId};

/// Most tokens remembered: the same people, models and rules come again and again.
const REMEMBERED_TOKENS: usize = 100_000;

/// Makes blind tokens.
pub(super) struct Blind {
    key: [u8; 32],
    remembered: RefCell<HashMap<(&'static str, String), u64>>,
}

impl Blind {
    pub(super) fn of(source: &Source) -> Result<Self, EvidenceError> {
        let key = keystore::mac_for_reading(&source.master_path(), "index", &[])?;
        Ok(Self { key, remembered: RefCell::default() })
    }

    /// The token of a value; case does not matter.
    pub(super) fn token(&self, field: &'static str, value: &str) -> u64 {
        let mut remembered = self.remembered.borrow_mut();
        let known = (field, value.to_lowercase());
        if let Some(token) = remembered.get(&known) {
            return *token;
        }
        let digest = crypto::mac(&self.key, &[field.as_bytes(), known.1.as_bytes()]);
        let token = u64::from_be_bytes(digest.first_chunk().copied().unwrap_or_default());
        if remembered.len() >= REMEMBERED_TOKENS {
            remembered.clear();
        }
        remembered.insert(known, token);
        token
    }

    /// The token of all that is encrypted under a key.
    pub(super) fn key(&self, key: &KeyId) -> u64 {
        self.token("key", &hex::encode(key))
    }

    /// The token of a word that was said.
    pub(super) fn word(&self, word: &str) -> u64 {
        self.token("text", word)
    }

    /// The tokens of all words of a text.
    pub(super) fn words(&self, text: &str) -> Vec<u64> {
        spoken::words(text).map(|word| self.word(&word)).collect()
    }

    /// What a row is found by. Its id is not among it: ids have lists of their own.
    pub(super) fn of_row(&self, row: &Row) -> Vec<u64> {
        let status = row.status.map(|status| status.to_string()).unwrap_or_default();
        let class = status.get(..1).map(|class| format!("{class}xx")).unwrap_or_default();
        let single = [
            ("subject", row.subject.as_str()),
            ("tenant", tenant_name(&row.tenant)),
            ("model", &row.model),
            ("operation", &row.operation),
            ("decision", &row.decision),
            ("kind", &row.kind),
            ("status", &status),
            ("status", &class),
            ("trace", &row.trace),
        ];
        let rules = row.rules.iter().map(|rule| ("rule", rule.as_str()));
        let values = row.values.iter().map(|value| ("value", value.as_str()));
        let masks = row.masks.iter().map(|mask| ("masked", mask.as_str()));
        let all = single.into_iter().chain(rules).chain(values).chain(masks).filter(|(_, value)| !value.is_empty());
        all.map(|(field, value)| self.token(field, value)).collect()
    }
}
