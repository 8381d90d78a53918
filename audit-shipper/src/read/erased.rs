//! Which blobs can still be opened, which were erased and by which record, and which lost their key without a word.

use std::collections::{HashMap, HashSet};

use super::text::count;
use crate::blob;
use crate::keystore::{KeyId, SubjectKeys};
use crate::recovery::LeafLinks;

/// What is known of the keys that blobs ask for.
#[derive(Default)]
pub(super) struct KeyCheck {
    /// Records per key, and the first of them.
    asked_for: HashMap<KeyId, (u64, u64)>,
    erased: HashSet<KeyId>,
    erased_records: u64,
    erased_keys: u64,
    skipped: bool,
}

impl KeyCheck {
    pub(super) fn blob(&mut self, blob: &[u8], index: u64) {
        if let Some(key) = blob::key_id(blob) {
            self.asked_for.entry(key).or_insert((0, index)).0 += 1;
        }
    }

    pub(super) fn erasure(&mut self, links: &LeafLinks) {
        self.erased.extend(links.erased_keys());
    }

    pub(super) fn not_looked_at(&mut self) {
        self.skipped = true;
    }

    /// Compares with the keystore; returns what is wrong.
    pub(super) fn conclude(&mut self, keys: &SubjectKeys) -> Vec<String> {
        let (mut unexplained, mut first) = (0, u64::MAX);
        let mut alive = 0_u64;
        for (key, &(records, index)) in &self.asked_for {
            match (keys.get(key).is_some(), self.erased.contains(key)) {
                (false, true) => {
                    self.erased_records += records;
                    self.erased_keys += 1;
                }
                (false, false) => {
                    unexplained += records;
                    first = first.min(index);
                }
                (true, true) => alive += 1,
                (true, false) => {}
            }
        }
        let mut findings = Vec::new();
        if unexplained > 0 {
            findings.push(format!(
                "the keystore lacks the key of {}, from record #{first} on, and no erasure record tells why: restore the keystore",
                count(unexplained, "record")
            ));
        }
        if alive > 0 {
            let are = if alive == 1 { "is still" } else { "are still" };
            findings.push(format!(
                "{} that a record says erased {are} in the keystore (an old copy was restored): start the gateway once",
                count(alive, "key"),
            ));
        }
        findings
    }

    /// What the report says of it.
    pub(super) fn told(&self) -> Option<String> {
        if self.skipped {
            return Some(
                "the keystore was not looked at: whether encrypted parts can still be opened is not known".to_owned(),
            );
        }
        (self.erased_records > 0).then(|| {
            let (records, keys) = (count(self.erased_records, "record"), count(self.erased_keys, "key"));
            format!("erased (proved): the encrypted parts of {records}; {keys} destroyed, as erasure records say")
        })
    }
}
