//! Tells cheaply that a record cannot begin a row that a search wants: by its leaf, and by the key that its encrypted part is under.

use std::collections::HashMap;

use super::calls::Keys;
use super::query::{Field, Query};
use super::records::Seen;
use crate::keystore::KeyId;

/// Passes over what a query does not ask for.
pub(super) struct Filter<'q> {
    query: &'q Query,
    since: &'q str,
    asks_who: bool,
    /// Whether what is under a key is of somebody whom the query asks for: a key is one person's.
    wanted: HashMap<KeyId, bool>,
}

impl<'q> Filter<'q> {
    /// `since` is the query's, as text.
    pub(super) fn new(query: &'q Query, since: &'q str) -> Self {
        let asks_who = query.terms.iter().any(|term| matches!(term.field, Field::Subject | Field::Tenant));
        Self { query, since, asks_who, wanted: HashMap::new() }
    }

    /// False if no row that begins with this record is asked for.
    pub(super) fn may_match(&mut self, record: &Seen<'_>, keys: &Keys) -> bool {
        if !record.leaf.begins_row() {
            return true;
        }
        let key = record.key_id().filter(|_| self.asks_who);
        record.leaf.may_match(self.query, self.since)
            && key.is_none_or(|key| *self.wanted.entry(key).or_insert_with(|| record.envelope(keys).is_of(self.query)))
    }
}
