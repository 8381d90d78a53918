//! The leaf: the exact bytes that the Merkle tree commits to. Small UTF-8 JSON with sorted keys and no personal data.

use std::collections::BTreeMap;
use std::fmt::Display;

use serde::{Serialize, Serializer};

use crate::crypto::Digest32;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::model::{CallerKind, Coverage, Decision, EndedBy, MaskHit, Moment, NoteKind, PolicyRef, Role, Usage};
use crate::wal::format::MAX_LEAF_BYTES;

/// Version of the leaf format.
const VERSION: u8 = 1;
/// Longest name in a leaf, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// More mask hits than this are listed in the blob only.
pub(crate) const MAX_MASKS_IN_LEAF: usize = 64;
/// More rules than this are listed in the blob only.
pub(crate) const MAX_FIRED_IN_LEAF: usize = 64;

/// Every field a leaf can have, in the order in which they are written. Which kind has which: `docs/evidence/record.md`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Leaf<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) about: Option<Shown<RecordId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) action: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) approval: Option<Shown<RecordId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) blob: Option<Stored>,
    /// Keyed digest of the request body, `none` or `follows`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_in: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_out: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) call: Option<Shown<RecordId>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) caller: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) count: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) coverage: Option<BTreeMap<&'a str, &'static str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) decision: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<BTreeMap<&'a str, serde_json::Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dialect: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) durability: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) duration_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ended_by: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) endpoint: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) epoch: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) events: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) finish: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fired: Option<Vec<&'a str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fired_count: Option<usize>,
    pub(crate) id: Shown<RecordId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) len: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mac: Option<Hex>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mask_count: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) masks: Option<Vec<LeafMask<'a>>>,
    /// Keyed digest of the model's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<Hex>,
    pub(crate) mono_us: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) n: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) op: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) parent: Option<Shown<RecordId>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) payloads: Vec<PayloadRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) policy: Option<LeafPolicy<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<PreviousTree>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) role: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<u16>,
    pub(crate) t: &'a str,
    pub(crate) time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) torn_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ttfb_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) upstream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) usage: Option<LeafUsage>,
    pub(crate) v: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) why: Option<&'a str>,
}

impl<'a> Leaf<'a> {
    pub(crate) fn new(kind: &'a str, id: RecordId, at: Moment) -> Self {
        Self { id: Shown(id), mono_us: at.mono_us, t: kind, time: rfc3339(at.unix_us), v: VERSION, ..Self::default() }
    }

    /// The bytes to store. Lists that would make the leaf too large are left out: their counts stay, the blob has them whole.
    pub(crate) fn encode(mut self) -> Result<Vec<u8>, EvidenceError> {
        let encode = |leaf: &Self| serde_json::to_vec(leaf).map_err(|e| EvidenceError::Malformed(e.to_string()));
        let bytes = encode(&self)?;
        if bytes.len() <= MAX_LEAF_BYTES {
            return Ok(bytes);
        }
        self.masks = None;
        self.fired = None;
        self.coverage = None;
        self.details = None;
        let bytes = encode(&self)?;
        if bytes.len() <= MAX_LEAF_BYTES {
            return Ok(bytes);
        }
        Err(EvidenceError::TooLarge { what: "a leaf", actual: bytes.len(), limit: MAX_LEAF_BYTES })
    }

    pub(crate) fn set_masks(&mut self, masks: &'a [MaskHit]) {
        self.mask_count = (!masks.is_empty()).then_some(masks.len());
        if !masks.is_empty() && masks.len() <= MAX_MASKS_IN_LEAF {
            self.masks = Some(masks.iter().map(LeafMask::from).collect());
        }
    }

    pub(crate) fn set_fired(&mut self, fired: &'a [String]) {
        self.fired_count = Some(fired.len());
        if fired.len() <= MAX_FIRED_IN_LEAF {
            self.fired = Some(fired.iter().map(|rule| name(rule)).collect());
        }
    }

    pub(crate) fn set_coverage(&mut self, coverage: &'a [(std::borrow::Cow<'static, str>, Coverage)]) {
        if !coverage.is_empty() {
            let word = |coverage: &Coverage| match coverage {
                Coverage::Scanned => "scanned",
                Coverage::Opaque => "opaque",
                Coverage::ByReference => "by-reference",
                Coverage::Unscannable => "unscannable",
            };
            self.coverage = Some(coverage.iter().map(|(channel, how)| (name(channel), word(how))).collect());
        }
    }
}

/// The digest by which a leaf holds its blob.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Stored {
    pub(crate) len: usize,
    pub(crate) sha256: Hex,
}

/// How a call's record refers to the payload chunks written for it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PayloadRef {
    pub(crate) chunks: u64,
    /// Bytes of text.
    pub(crate) len: u64,
    pub(crate) role: &'static str,
    /// SHA-256 over the chunks' blob digests, in order.
    pub(crate) sha256: Hex,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeafMask<'a> {
    action: &'a str,
    detector: &'a str,
    len: u64,
    off: u64,
    ptr: &'a str,
    rule: &'a str,
    tier: &'a str,
}

impl<'a> From<&'a MaskHit> for LeafMask<'a> {
    fn from(hit: &'a MaskHit) -> Self {
        Self {
            action: name(&hit.action),
            detector: name(&hit.detector),
            len: hit.length,
            off: hit.offset,
            ptr: name(&hit.pointer),
            rule: name(&hit.rule),
            tier: name(&hit.tier),
        }
    }
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeafPolicy<'a> {
    name: &'a str,
    sha256: Hex,
    version: &'a str,
}

impl<'a> From<&'a PolicyRef> for LeafPolicy<'a> {
    fn from(policy: &'a PolicyRef) -> Self {
        Self { name: name(&policy.name), sha256: Hex(policy.sha256), version: name(&policy.version) }
    }
}

/// The tree that a start found.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct PreviousTree {
    pub(crate) root: Hex,
    pub(crate) size: u64,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct LeafUsage {
    #[serde(skip_serializing_if = "Option::is_none")]
    cached: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<u64>,
}

impl LeafUsage {
    pub(crate) fn of(usage: &Usage) -> Option<Self> {
        (*usage != Usage::default()).then_some(Self {
            cached: usage.cached_tokens,
            input: usage.input_tokens,
            output: usage.output_tokens,
        })
    }
}

/// A digest, in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hex(pub(crate) Digest32);

impl Serialize for Hex {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 64];
        hex::encode_to_slice(self.0, &mut text).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// Written as it is displayed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<T>(pub(crate) T);

impl Default for Shown<RecordId> {
    fn default() -> Self {
        Self(RecordId(0))
    }
}

impl<T: Display> Serialize for Shown<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

/// A name, cut to its bound.
pub(crate) fn name(text: &str) -> &str {
    clip(text, MAX_NAME_BYTES)
}

/// The longest prefix within the bound that is still text.
pub(crate) fn clip(text: &str, limit: usize) -> &str {
    text.get(..text.floor_char_boundary(limit)).unwrap_or_default()
}

/// `2026-11-21T09:41:16.123456Z`
pub(crate) fn rfc3339(unix_us: u64) -> String {
    let timestamp = i64::try_from(unix_us).ok().and_then(|us| jiff::Timestamp::from_microsecond(us).ok());
    format!("{:.6}", timestamp.unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

pub(crate) fn caller_word(kind: CallerKind) -> &'static str {
    match kind {
        CallerKind::Anonymous => "anonymous",
        CallerKind::User => "user",
        CallerKind::Service => "service",
    }
}

pub(crate) fn decision_word(decision: Decision) -> &'static str {
    match decision {
        Decision::Allow => "allow",
        Decision::Approved => "approved",
        Decision::Pending => "pending",
        Decision::Deny => "deny",
        Decision::Reject => "reject",
    }
}

pub(crate) fn ended_by_word(ended_by: EndedBy) -> &'static str {
    match ended_by {
        EndedBy::Complete => "complete",
        EndedBy::CallerLeft => "caller_left",
        EndedBy::UpstreamCut => "upstream_cut",
        EndedBy::GatewayCut => "gateway_cut",
    }
}

pub(crate) fn role_word(role: Role) -> &'static str {
    match role {
        Role::Request => "request",
        Role::Response => "response",
        Role::Attachment => "attachment",
        Role::Sealed => "sealed",
    }
}

pub(crate) fn note_word(kind: NoteKind) -> &'static str {
    match kind {
        NoteKind::Approval => "approval",
        NoteKind::Policy => "policy",
        NoteKind::Config => "config",
        NoteKind::Admin => "admin",
        NoteKind::Alert => "alert",
        NoteKind::Limit => "limit",
        NoteKind::DataLoad => "data_load",
        NoteKind::Access => "access",
        NoteKind::Export => "export",
        NoteKind::Erasure => "erasure",
        NoteKind::Key => "key",
    }
}
