//! From what the gateway tells us to the bytes that are stored. Runs on the producer's thread.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::blob::{Envelope, RecordKey, note_text, text};
use crate::commit::CommitCell;
use crate::crypto::{Digest32, sha256};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::leaf::{
    Hex, Leaf, LeafUsage, PayloadRef, PreviousTree, Shown, Stored, caller_word, decision_word, ended_by_word, name,
    note_word, role_word,
};
use crate::merkle::leaf_hash;
use crate::model::{Detail, Intent, Moment, Note, Outcome, PayloadChunk, Refusal, RequestBody, Role};
use crate::wal::format::{EntryKind, push_entry};

/// Finish reasons that are enums of the APIs we know; anything else an upstream says is free text.
const FINISH_REASONS: [&str; 12] = [
    "stop",
    "length",
    "tool_calls",
    "function_call",
    "content_filter",
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "refusal",
    "pause_turn",
    "eos_token",
];

/// One record, ready to be queued: its leaf and its blob as entries of a block.
#[derive(Debug)]
pub(crate) struct Item {
    pub(crate) entries: Vec<u8>,
    pub(crate) leaf_hash: Digest32,
    /// Told when the record is durable; none in `observe` mode.
    pub(crate) cell: Option<Arc<CommitCell>>,
}

/// What was written of a call's payload so far, in one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    chunks: u64,
    bytes: u64,
    blobs: Sha256,
}

impl Tally {
    pub(crate) fn chunks(&self) -> u64 {
        self.chunks
    }

    pub(crate) fn add(&mut self, bytes: u64, blob_sha256: &Digest32) {
        self.chunks += 1;
        self.bytes += bytes;
        self.blobs.update(blob_sha256);
    }

    pub(crate) fn reference(&self, role: Role) -> Option<PayloadRef> {
        (self.chunks > 0).then(|| PayloadRef {
            chunks: self.chunks,
            len: self.bytes,
            role: role_word(role),
            sha256: Hex(self.blobs.clone().finalize().into()),
        })
    }
}

/// The tallies of a call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tallies {
    pub(crate) request: Tally,
    pub(crate) response: Tally,
    /// What lies beside the call and is not referred to by its end: sealed originals.
    pub(crate) beside: Tally,
}

impl Tallies {
    pub(crate) fn references(&self) -> Vec<PayloadRef> {
        let request = self.request.reference(Role::Request);
        let response = self.response.reference(Role::Response);
        request.into_iter().chain(response).collect()
    }
}

pub(crate) fn intent(key: &RecordKey, id: RecordId, intent: &Intent) -> Result<Item, EvidenceError> {
    let request_sha256 = match intent.body {
        RequestBody::Whole(digest) => hex::encode(digest),
        _ => String::new(),
    };
    let mut envelope = Envelope {
        model: text(intent.model.as_deref().unwrap_or_default()),
        request_sha256: &request_sha256,
        ..Envelope::default()
    };
    envelope.set_caller(&intent.caller);
    envelope.set_request(&intent.request);
    envelope.set_declared(&intent.declared);
    envelope.set_masks(&intent.masks);
    envelope.set_values(&intent.values);
    envelope.set_fired(&intent.fired);
    let mut leaf = Leaf {
        approval: intent.approval.map(Shown),
        body: Some(match &intent.body {
            RequestBody::None => "none".to_owned(),
            RequestBody::Follows => "follows".to_owned(),
            RequestBody::Whole(digest) => hex::encode(key.commitment("body", &[digest])),
        }),
        caller: Some(caller_word(intent.caller.kind)),
        decision: Some(decision_word(intent.decision)),
        dialect: Some(name(&intent.dialect)),
        model: model_digest(key, intent.model.as_deref()),
        op: Some(name(&intent.operation)),
        parent: intent.parent.map(Shown),
        policy: Some((&intent.policy).into()),
        trace: intent.request.trace.map(hex::encode),
        upstream: Some(name(&intent.upstream)),
        ..Leaf::new("intent", id, intent.at)
    };
    leaf.set_masks(&intent.masks);
    leaf.set_fired(&intent.fired);
    leaf.set_coverage(&intent.coverage);
    sealed(key, leaf, &envelope.encode()?)
}

pub(crate) fn outcome(
    key: &RecordKey,
    id: RecordId,
    call: RecordId,
    outcome: &Outcome,
    tallies: &Tallies,
) -> Result<Item, EvidenceError> {
    let finish = outcome.finish_reason.as_deref();
    let known = finish.filter(|reason| FINISH_REASONS.contains(reason));
    let mut envelope = Envelope {
        error: text(&outcome.error),
        finish: text(if known.is_none() { finish.unwrap_or_default() } else { "" }),
        model: text(outcome.model.as_deref().unwrap_or_default()),
        ..Envelope::default()
    };
    let request_sha256 = outcome.request_body.map(hex::encode).unwrap_or_default();
    envelope.request_sha256 = &request_sha256;
    envelope.set_masks(&outcome.masks);
    envelope.set_values(&outcome.values);
    envelope.set_fired(&outcome.fired);
    let mut leaf = Leaf {
        body: outcome.request_body.map(|digest| hex::encode(key.commitment("body", &[&digest]))),
        bytes_in: Some(outcome.request_bytes),
        bytes_out: Some(outcome.response_bytes),
        call: Some(Shown(call)),
        duration_us: Some(outcome.duration_us),
        ended_by: Some(ended_by_word(outcome.ended_by)),
        endpoint: Some(name(&outcome.endpoint)),
        finish: known.or(finish.map(|_| "other")),
        model: model_digest(key, outcome.model.as_deref()),
        payloads: tallies.references(),
        status: Some(outcome.status),
        ttfb_us: outcome.ttfb_us,
        usage: LeafUsage::of(&outcome.usage),
        ..Leaf::new("outcome", id, outcome.at)
    };
    leaf.set_masks(&outcome.masks);
    if !outcome.fired.is_empty() {
        leaf.set_fired(&outcome.fired);
    }
    leaf.set_coverage(&outcome.coverage);
    sealed(key, leaf, &envelope.encode()?)
}

pub(crate) fn refusal(key: &RecordKey, id: RecordId, refusal: &Refusal) -> Result<Item, EvidenceError> {
    let mut envelope = Envelope {
        model: text(refusal.model.as_deref().unwrap_or_default()),
        reason: text(&refusal.reason),
        ..Envelope::default()
    };
    envelope.set_caller(&refusal.caller);
    envelope.set_request(&refusal.request);
    envelope.set_declared(&refusal.declared);
    envelope.set_fired(&refusal.fired);
    let named = |text| Some(name(text)).filter(|text| !text.is_empty());
    let mut leaf = Leaf {
        approval: refusal.approval.map(Shown),
        caller: Some(caller_word(refusal.caller.kind)),
        code: Some(name(&refusal.code)),
        count: Some(refusal.count.max(1)),
        decision: Some(decision_word(refusal.decision)),
        dialect: named(&refusal.dialect),
        model: model_digest(key, refusal.model.as_deref()),
        op: named(&refusal.operation),
        policy: refusal.policy.as_ref().map(Into::into),
        status: Some(refusal.status),
        trace: refusal.request.trace.map(hex::encode),
        ..Leaf::new("refusal", id, refusal.at)
    };
    leaf.set_fired(&refusal.fired);
    sealed(key, leaf, &envelope.encode()?)
}

pub(crate) fn note(key: &RecordKey, id: RecordId, note: &Note) -> Result<Item, EvidenceError> {
    let mut envelope = Envelope { text: note_text(&note.text), ..Envelope::default() };
    envelope.set_caller(&note.actor);
    let details = note.details.iter().map(|(field, detail)| {
        let value = match detail {
            Detail::Number(number) => (*number).into(),
            Detail::Digest(digest) => hex::encode(digest).into(),
            Detail::Record(id) => id.to_string().into(),
            Detail::Name(text) => name(text).into(),
            Detail::Names(texts) => texts.iter().map(|text| name(text)).collect(),
        };
        (name(field), value)
    });
    let leaf = Leaf {
        about: note.about.map(Shown),
        action: Some(name(&note.action)),
        caller: Some(caller_word(note.actor.kind)),
        details: (!note.details.is_empty()).then(|| details.collect()),
        ..Leaf::new(note_word(note.kind), id, note.at)
    };
    sealed(key, leaf, &envelope.encode()?)
}

/// A payload chunk: the record, the bytes of text in it, and the digest of its blob.
pub(crate) fn payload(
    key: &RecordKey,
    id: RecordId,
    call: RecordId,
    ordinal: u64,
    chunk: &PayloadChunk,
    compressed: &[u8],
) -> Result<(Item, u64, Digest32), EvidenceError> {
    let parts: Vec<&[u8]> = chunk.frames.iter().map(|frame| frame.bytes.as_slice()).collect();
    let bytes = parts.iter().map(|part| part.len() as u64).sum();
    let blob = key.seal("payload", compressed)?;
    let digest = sha256(&[&blob]);
    let leaf = Leaf {
        blob: Some(Stored { len: blob.len(), sha256: Hex(digest) }),
        call: Some(Shown(call)),
        events: Some(chunk.frames.len() as u64),
        len: Some(bytes),
        mac: Some(Hex(key.commitment("payload", &parts))),
        n: Some(ordinal),
        role: Some(role_word(chunk.role)),
        ..Leaf::new("payload", id, Moment::now())
    };
    Ok((item(leaf, Some(&blob))?, bytes, digest))
}

/// An ABORTED for a call whose outcome nobody will write any more.
pub(crate) fn abort(id: RecordId, call: RecordId, tallies: &Tallies, why: &'static str) -> Result<Item, EvidenceError> {
    let leaf = Leaf {
        call: Some(Shown(call)),
        payloads: tallies.references(),
        why: Some(why),
        ..Leaf::new("abort", id, Moment::now())
    };
    item(leaf, None)
}

/// The first record of a start.
pub(crate) fn boot(
    id: RecordId,
    epoch: u32,
    size: u64,
    root: Digest32,
    torn_bytes: u64,
    durability: &'static str,
    digests: &[(&'static str, Digest32)],
) -> Result<Item, EvidenceError> {
    let details = || digests.iter().map(|(name, digest)| (*name, hex::encode(digest).into())).collect();
    let leaf = Leaf {
        details: (!digests.is_empty()).then(details),
        durability: Some(durability),
        epoch: Some(epoch),
        previous: Some(PreviousTree { root: Hex(root), size }),
        torn_bytes: Some(torn_bytes),
        version: Some(env!("CARGO_PKG_VERSION")),
        ..Leaf::new("boot", id, Moment::now())
    };
    item(leaf, None)
}

/// Records that were not written, and why.
pub(crate) fn gap(id: RecordId, count: u64, why: &'static str) -> Result<Item, EvidenceError> {
    let leaf = Leaf { count: Some(count), why: Some(why), ..Leaf::new("gap", id, Moment::now()) };
    item(leaf, None)
}

fn sealed(key: &RecordKey, leaf: Leaf<'_>, envelope: &[u8]) -> Result<Item, EvidenceError> {
    let blob = key.seal(leaf.t, envelope)?;
    let stored = Stored { len: blob.len(), sha256: Hex(sha256(&[&blob])) };
    item(Leaf { blob: Some(stored), ..leaf }, Some(&blob))
}

fn item(leaf: Leaf<'_>, blob: Option<&[u8]>) -> Result<Item, EvidenceError> {
    let leaf = leaf.encode()?;
    let mut entries = Vec::with_capacity(leaf.len() + blob.map_or(0, <[u8]>::len) + 32);
    push_entry(&mut entries, EntryKind::Leaf, &leaf);
    if let Some(blob) = blob {
        push_entry(&mut entries, EntryKind::Blob, blob);
    }
    Ok(Item { entries, leaf_hash: leaf_hash(&leaf), cell: None })
}

fn model_digest(key: &RecordKey, model: Option<&str>) -> Option<Hex> {
    model.map(|model| Hex(key.commitment("model", &[model.as_bytes()])))
}
