//! Keyed digests of what was masked, kept where `[evidence] index_values` is on, so that calls about a person who is not the caller
//! can be found by who knows the value (DECISIONS 26).

use std::collections::BTreeSet;

use audit_shipper::ValueDigest;
use audit_shipper::read::said_in;
use policy_compiler::detect;

use super::super::core::Core;
use super::OpenCall;

/// Bytes of an answer that are gathered for this; what comes later is not found by value.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// The digests of all that is found in a body, each once.
pub(in crate::data_plane) fn of_body(core: &Core, body: &[u8]) -> Vec<ValueDigest> {
    if !core.shared.config.evidence.index_values {
        return Vec::new();
    }
    let mut digests = BTreeSet::new();
    for text in said_in(body) {
        for finding in detect::find_validated(&text) {
            if let Some(value) = text.get(finding.range) {
                digests.insert(core.shared.evidence.value_digest(value));
            }
        }
    }
    digests.into_iter().collect()
}

impl OpenCall {
    /// A piece of the answer before anything is masked.
    pub(super) fn gather_values(&mut self, original: &[u8]) {
        if self.core.shared.config.evidence.index_values {
            let room = ANSWER_BYTES_MAX.saturating_sub(self.answer.len());
            self.answer.extend_from_slice(original.get(..room.min(original.len())).unwrap_or_default());
        }
    }

    /// The digests of what was gathered.
    pub(super) fn answered_values(&mut self) -> Vec<ValueDigest> {
        let answer = std::mem::take(&mut self.answer);
        if answer.is_empty() { Vec::new() } else { of_body(&self.core, &answer) }
    }
}
