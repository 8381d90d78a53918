//! The encrypted part of a record: a fresh data key per record, wrapped by the subject's key of the month.
//!
//! ```text
//! blob: version (1) ‖ id of the subject key (16) ‖ wrapped data key (60) ‖ sealed text
//! ```
//! Both seals are bound to the record's id and kind, so that a blob cannot be moved to another record.

use std::sync::Arc;

use serde::Serialize;

use crate::crypto::{self, Cipher, Digest32, KEY_BYTES, SEAL_OVERHEAD_BYTES, random};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::keystore::{KeyId, SubjectKey, SubjectKeys};
use crate::leaf::{clip, name};
use crate::model::{Caller, Declared, MaskHit, RequestInfo, Said, ValueDigest};
use crate::wal::format::MAX_BLOB_BYTES;

const VERSION: u8 = 1;
const WRAPPED_BYTES: usize = KEY_BYTES + SEAL_OVERHEAD_BYTES;
/// What a blob is longer than its text, in bytes.
const SEALING_BYTES: usize = 1 + 16 + WRAPPED_BYTES + SEAL_OVERHEAD_BYTES;
/// Longest text field of an envelope, in bytes; longer ones are cut.
const MAX_TEXT_BYTES: usize = 8 << 10;
/// Longest free text of a note, in bytes.
const MAX_NOTE_TEXT_BYTES: usize = 24 << 10;
/// What every field is cut to when the whole would not fit otherwise, in bytes.
const MAX_SHORT_TEXT_BYTES: usize = 1 << 10;
/// Most digests of masked values kept of one record.
const MAX_VALUES: usize = 256;
/// Most groups kept, and the longest, in bytes.
const MAX_GROUPS: usize = 256;
const MAX_GROUP_BYTES: usize = 256;

/// The key of one record.
pub(crate) struct RecordKey {
    id: RecordId,
    data_key: [u8; KEY_BYTES],
    subject_key: Arc<SubjectKey>,
}

impl RecordKey {
    pub(crate) fn new(id: RecordId, subject_key: Arc<SubjectKey>) -> Self {
        Self { id, data_key: random(), subject_key }
    }

    /// A digest that can be checked only with this record's key, and not at all once that is erased.
    pub(crate) fn commitment(&self, what: &str, parts: &[&[u8]]) -> Digest32 {
        commitment(&self.data_key, what, parts)
    }

    pub(crate) fn seal(&self, kind: &str, text: &[u8]) -> Result<Vec<u8>, EvidenceError> {
        let bound_to = bound_to(self.id, kind);
        let mut blob = Vec::with_capacity(SEALING_BYTES + text.len());
        blob.push(VERSION);
        blob.extend_from_slice(&self.subject_key.id);
        self.subject_key.cipher()?.seal(&bound_to, &self.data_key, &mut blob)?;
        Cipher::new(&self.data_key)?.seal(&bound_to, text, &mut blob)?;
        if blob.len() > MAX_BLOB_BYTES {
            return Err(EvidenceError::TooLarge { what: "a blob", actual: blob.len(), limit: MAX_BLOB_BYTES });
        }
        Ok(blob)
    }
}

/// The text of a blob, and its data key for checking commitments.
pub(crate) struct Opened {
    pub(crate) text: Vec<u8>,
    data_key: [u8; KEY_BYTES],
}

impl Opened {
    pub(crate) fn commitment(&self, what: &str, parts: &[&[u8]]) -> Digest32 {
        commitment(&self.data_key, what, parts)
    }
}

/// The subject key that a blob is encrypted under, as it says on its outside.
pub(crate) fn key_id(blob: &[u8]) -> Option<KeyId> {
    blob.strip_prefix(&[VERSION])?.first_chunk::<16>().copied()
}

/// Opens a blob with the keystore's keys.
pub(crate) fn open(keys: &SubjectKeys, id: RecordId, kind: &str, blob: &[u8]) -> Result<Opened, EvidenceError> {
    let malformed = || EvidenceError::Malformed("this is not a blob of a known version".to_owned());
    let rest = blob.strip_prefix(&[VERSION]).ok_or_else(malformed)?;
    let (key_id, rest) = rest.split_first_chunk::<16>().ok_or_else(malformed)?;
    let (wrapped, sealed) = rest.split_first_chunk::<WRAPPED_BYTES>().ok_or_else(malformed)?;
    let key = keys.get(key_id).ok_or_else(|| EvidenceError::Keys("its key is not in the keystore".to_owned()))?;
    let bound_to = bound_to(id, kind);
    let data_key = crypto::open(&key, &bound_to, wrapped)?;
    let data_key = data_key.try_into().map_err(|_| malformed())?;
    Ok(Opened { text: crypto::open(&data_key, &bound_to, sealed)?, data_key })
}

fn commitment(data_key: &[u8; KEY_BYTES], what: &str, parts: &[&[u8]]) -> Digest32 {
    let salt = crypto::mac(data_key, &[b"sallyport commitment v1", what.as_bytes()]);
    crypto::mac(&salt, parts)
}

fn bound_to(id: RecordId, kind: &str) -> Vec<u8> {
    [b"sallyport blob v1 ".as_slice(), &id.0.to_be_bytes(), kind.as_bytes()].concat()
}

/// What an envelope says: everything that is personal, free text, or chosen by a caller or an upstream.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Envelope<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) address: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) basis: Option<&'a Said>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) client: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_subject: Option<&'a Said>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) error: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) finish: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) fired: Vec<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) groups: Vec<&'a str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) host: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) issuer: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) masks: Vec<crate::leaf::LeafMask<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) method: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) model: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) purpose: Option<&'a Said>,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) reason: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) request_sha256: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) subject: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) tenant: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) text: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    pub(crate) token: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) values: Vec<String>,
}

impl<'a> Envelope<'a> {
    pub(crate) fn set_caller(&mut self, caller: &'a Caller) {
        self.client = text(&caller.client);
        self.issuer = text(&caller.issuer);
        self.subject = text(&caller.subject);
        self.tenant = text(&caller.tenant);
        self.token = text(&caller.token_id);
        self.groups = caller.groups.iter().take(MAX_GROUPS).map(|group| clip(group, MAX_GROUP_BYTES)).collect();
    }

    pub(crate) fn set_request(&mut self, request: &'a RequestInfo) {
        self.address = text(&request.address);
        self.host = text(&request.host);
        self.method = text(&request.method);
        self.path = text(&request.path);
    }

    /// What is longer than a short text is the gateway's own bound already.
    pub(crate) fn set_declared(&mut self, declared: &'a Declared) {
        self.purpose = declared.purpose.as_ref();
        self.basis = declared.basis.as_ref();
        self.data_subject = declared.data_subject.as_ref();
    }

    /// Lists the hits here if they are too many for the leaf.
    pub(crate) fn set_masks(&mut self, masks: &'a [MaskHit]) {
        if masks.len() > crate::leaf::MAX_MASKS_IN_LEAF {
            self.masks = masks.iter().map(Into::into).collect();
        }
    }

    pub(crate) fn set_values(&mut self, values: &[ValueDigest]) {
        self.values = values.iter().take(MAX_VALUES).map(hex::encode).collect();
    }

    pub(crate) fn set_fired(&mut self, fired: &'a [String]) {
        if fired.len() > crate::leaf::MAX_FIRED_IN_LEAF {
            self.fired = fired.iter().map(|rule| name(rule)).collect();
        }
    }

    /// The text to seal. What would make it too large (possible only with thousands of masked places, or names full of
    /// control characters) is cut: first lists, then texts. Counts in the leaf tell that there was more.
    pub(crate) fn encode(mut self) -> Result<Vec<u8>, EvidenceError> {
        loop {
            let bytes = serde_json::to_vec(&self).map_err(|e| EvidenceError::Malformed(e.to_string()))?;
            if bytes.len() + SEALING_BYTES <= MAX_BLOB_BYTES {
                return Ok(bytes);
            }
            if self.masks.is_empty() && self.fired.is_empty() && self.groups.is_empty() {
                self.shorten_texts();
                return serde_json::to_vec(&self).map_err(|e| EvidenceError::Malformed(e.to_string()));
            }
            self.masks.truncate(self.masks.len() / 2);
            self.fired.truncate(self.fired.len() / 2);
            self.groups.truncate(self.groups.len() / 2);
        }
    }

    fn shorten_texts(&mut self) {
        for text in [
            &mut self.address,
            &mut self.client,
            &mut self.error,
            &mut self.finish,
            &mut self.host,
            &mut self.issuer,
            &mut self.method,
            &mut self.model,
            &mut self.path,
            &mut self.reason,
            &mut self.subject,
            &mut self.tenant,
            &mut self.token,
        ] {
            *text = clip(text, MAX_SHORT_TEXT_BYTES);
        }
    }
}

/// A text, cut to its bound.
pub(crate) fn text(text: &str) -> &str {
    clip(text, MAX_TEXT_BYTES)
}

/// A note's text, cut to its bound.
pub(crate) fn note_text(text: &str) -> &str {
    clip(text, MAX_NOTE_TEXT_BYTES)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_blob_opens_only_for_its_record_and_with_its_key() {
        let subject_key = Arc::new(SubjectKey::new([3; 16], random()));
        let key = RecordKey::new(RecordId(1), Arc::clone(&subject_key));
        let blob = key.seal("intent", b"alice").unwrap();
        let keys = SubjectKeys::of(&subject_key);
        let opened = open(&keys, RecordId(1), "intent", &blob).unwrap();
        assert_eq!(opened.text, b"alice");
        assert_eq!(opened.commitment("model", &[b"m"]), key.commitment("model", &[b"m"]));
        assert_ne!(opened.commitment("model", &[b"m"]), opened.commitment("body", &[b"m"]));
        assert!(open(&keys, RecordId(2), "intent", &blob).is_err());
        assert!(open(&keys, RecordId(1), "outcome", &blob).is_err());
        assert!(open(&SubjectKeys::default(), RecordId(1), "intent", &blob).is_err());
    }

    #[test]
    fn an_envelope_keeps_its_bound_whatever_is_put_in() {
        let huge = "\u{1}".repeat(16 << 10);
        let caller = Caller { subject: huge.clone(), groups: vec![huge.clone(); 1000], ..Caller::default() };
        let masks = vec![MaskHit { pointer: huge.clone(), ..MaskHit::default() }; 5000];
        let fired = vec![huge.clone(); 100];
        let mut envelope = Envelope { text: note_text(&huge), ..Envelope::default() };
        envelope.set_caller(&caller);
        envelope.set_masks(&masks);
        envelope.set_fired(&fired);
        assert!(envelope.encode().unwrap().len() + SEALING_BYTES <= MAX_BLOB_BYTES);
    }
}
