//! What the gateway tells us: plain structures, one per kind of record.
//!
//! Which field ends where (DECISIONS 20): text that a caller or an upstream can choose is stored encrypted, in the
//! record's envelope; names that come from the configuration or the policy, numbers and times stand in the leaf.
//! The encoder does that; whoever fills these structures only has to keep *names* to names of the configuration.

use std::borrow::Cow;
use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::id::RecordId;

/// A point in time, on both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Microseconds since 1970, UTC.
    pub unix_us: u64,
    /// Microseconds of the monotonic clock since the process started. Only differences within one process mean something.
    pub mono_us: u64,
}

impl Moment {
    /// Reads both clocks.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place of this room that reads the time")]
    pub fn now() -> Self {
        static START: OnceLock<Instant> = OnceLock::new();
        let mono = START.get_or_init(Instant::now).elapsed();
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            unix_us: u64::try_from(unix.as_micros()).unwrap_or(u64::MAX),
            mono_us: u64::try_from(mono.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Who calls. All of it is stored encrypted, but for `kind`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Caller {
    /// The `sub` claim. With `tenant` it chooses the key that the record is encrypted under.
    pub subject: String,
    /// The `iss` claim.
    pub issuer: String,
    /// The application: `azp` or `client_id`.
    pub client: String,
    /// What kind of caller it is.
    pub kind: CallerKind,
    /// Groups.
    pub groups: Vec<String>,
    /// The configured tenant claim. Empty means `default`.
    pub tenant: String,
    /// The `jti` claim or another name of the token; never the token.
    pub token_id: String,
}

/// Kinds of callers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CallerKind {
    /// Nobody was identified.
    #[default]
    Anonymous,
    /// A person.
    User,
    /// A service.
    Service,
}

/// The request as it arrived. Stored encrypted, but for `trace`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestInfo {
    /// Address of the caller.
    pub address: String,
    /// HTTP method.
    pub method: String,
    /// `Host`.
    pub host: String,
    /// Request target.
    pub path: String,
    /// W3C trace id.
    pub trace: Option<[u8; 16]>,
}

/// Why a call is made and about whom, as far as somebody said. Stored encrypted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// What for.
    pub purpose: Option<Said>,
    /// The lawful basis.
    pub basis: Option<Said>,
    /// A pseudonym of the person whom the call is about, never the name.
    pub data_subject: Option<Said>,
}

/// A value, and where it was said: `claim`, `policy` or `header`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Said {
    /// Where.
    pub by: &'static str,
    /// What.
    pub value: String,
}

/// How long the policy wants a record's encrypted part kept. Chooses the key that it is encrypted under; see
/// [`crate::Erasure::Lapsed`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Keep {
    /// Never less than this.
    pub at_least: Option<Duration>,
    /// Never more than this: two hours or more, since the records of an hour share a key.
    pub at_most: Option<Duration>,
}

/// The policy that judged. Stands in the leaf.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyRef {
    /// Name of the policy set.
    pub name: String,
    /// Its version or generation.
    pub version: String,
    /// SHA-256 of its text.
    pub sha256: [u8; 32],
}

/// What was decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decision {
    /// Forwarded by policy alone.
    #[default]
    Allow,
    /// Forwarded after people approved.
    Approved,
    /// Waits for people.
    Pending,
    /// Refused by policy or by an approver.
    Deny,
    /// Refused before a policy was asked: bad token, malformed request, limit.
    Reject,
}

/// One masked place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MaskHit {
    /// The rule that asked for it; empty for the built-in masking of the recorded copy.
    pub rule: String,
    /// The detector, or `path`.
    pub detector: String,
    /// The detector's tier.
    pub tier: String,
    /// JSON pointer; names only members of the dialect's schema, else `*`.
    pub pointer: String,
    /// Offset in the text, in bytes.
    pub offset: u64,
    /// Length of what was masked, in bytes.
    pub length: u64,
    /// What was done: `label`, `last4`, `drop`, …
    pub action: String,
}

/// How far a channel could be looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Read whole.
    Scanned,
    /// Passed without being read.
    Opaque,
    /// Given by reference (a URL, a file id).
    ByReference,
    /// Should have been read but could not be.
    Unscannable,
}

/// The request body when the intent is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum RequestBody {
    /// No body.
    #[default]
    None,
    /// It was read whole: SHA-256 of its bytes. The leaf gets a keyed digest of it.
    Whole([u8; 32]),
    /// It is forwarded while it arrives; [`Outcome::request_body`] carries the digest.
    Follows,
}

/// Written, and durable, before the upstream sees a byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intent {
    /// When.
    pub at: Moment,
    /// Who.
    pub caller: Caller,
    /// What arrived.
    pub request: RequestInfo,
    /// Why, and about whom.
    pub declared: Declared,
    /// Name of the dialect.
    pub dialect: String,
    /// Name of the operation.
    pub operation: String,
    /// Model the caller asked for. Stored encrypted; the leaf has a keyed digest.
    pub model: Option<String>,
    /// Name of the upstream (configuration).
    pub upstream: String,
    /// The policy.
    pub policy: PolicyRef,
    /// Allow or Approved.
    pub decision: Decision,
    /// Names of the rules that fired.
    pub fired: Vec<String>,
    /// What was masked in the request.
    pub masks: Vec<MaskHit>,
    /// Per channel of the dialect.
    pub coverage: Vec<(Cow<'static, str>, Coverage)>,
    /// The approval that this call consumes.
    pub approval: Option<RecordId>,
    /// The call this one retries or continues.
    pub parent: Option<RecordId>,
    /// Its body.
    pub body: RequestBody,
    /// How long all of the call is kept.
    pub keep: Keep,
    /// Keyed digests of what was masked, where they are kept: see [`crate::Evidence::value_digest`]. Stored encrypted.
    pub values: Vec<ValueDigest>,
}

/// A keyed digest of a masked value.
pub type ValueDigest = [u8; 16];

/// Token counts as the upstream reported them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Prompt tokens.
    pub input_tokens: Option<u64>,
    /// Completion tokens.
    pub output_tokens: Option<u64>,
    /// Prompt tokens served from a cache.
    pub cached_tokens: Option<u64>,
}

/// Who ended a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EndedBy {
    /// The answer is whole.
    #[default]
    Complete,
    /// The caller went away.
    CallerLeft,
    /// The upstream failed or broke off.
    UpstreamCut,
    /// The gateway broke off: a rule, a ceiling, a time-out, shutdown.
    GatewayCut,
}

/// Written, and durable, before the last byte of the answer is released.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// When.
    pub at: Moment,
    /// HTTP status sent to the caller; 0 if none was sent.
    pub status: u16,
    /// As the upstream said. Known values stand in the leaf, others are stored encrypted.
    pub finish_reason: Option<String>,
    /// Model that answered. Stored encrypted; the leaf has a keyed digest.
    pub model: Option<String>,
    /// Upstream endpoint (configuration) that answered.
    pub endpoint: String,
    /// Tokens.
    pub usage: Usage,
    /// From the intent to the first byte of the answer, in µs.
    pub ttfb_us: Option<u64>,
    /// From the arrival of the head to now, in µs.
    pub duration_us: u64,
    /// Bytes of the request body.
    pub request_bytes: u64,
    /// Bytes of the answer's body, as delivered.
    pub response_bytes: u64,
    /// SHA-256 of the request body if the intent said [`RequestBody::Follows`].
    pub request_body: Option<[u8; 32]>,
    /// What was masked in the answer.
    pub masks: Vec<MaskHit>,
    /// Per channel of the dialect.
    pub coverage: Vec<(Cow<'static, str>, Coverage)>,
    /// Who ended it.
    pub ended_by: EndedBy,
    /// What went wrong, in words. Stored encrypted.
    pub error: String,
    /// As [`Intent::values`], of the answer.
    pub values: Vec<ValueDigest>,
    /// Names of the rules about answers that fired.
    pub fired: Vec<String>,
}

/// A call that was not forwarded. Durable before the answer goes out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusal {
    /// When.
    pub at: Moment,
    /// Who, as far as known.
    pub caller: Caller,
    /// What arrived.
    pub request: RequestInfo,
    /// Why, and about whom.
    pub declared: Declared,
    /// Name of the dialect; empty if not known yet.
    pub dialect: String,
    /// Name of the operation; empty if not known yet.
    pub operation: String,
    /// Model the caller asked for. Stored encrypted.
    pub model: Option<String>,
    /// The policy, if it was asked.
    pub policy: Option<PolicyRef>,
    /// Deny, Pending or Reject.
    pub decision: Decision,
    /// HTTP status of the answer.
    pub status: u16,
    /// A short code of ours, as in the error body: `policy_denied`, `token_expired`, …
    pub code: Cow<'static, str>,
    /// The text the caller was given. Stored encrypted.
    pub reason: String,
    /// Names of the rules that fired.
    pub fired: Vec<String>,
    /// The approval it waits for.
    pub approval: Option<RecordId>,
    /// How many refusals this record stands for; 0 counts as 1.
    pub count: u64,
    /// How long it is kept.
    pub keep: Keep,
}

/// Kinds of notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoteKind {
    /// An approval was asked for, given, refused, or expired.
    Approval,
    /// A policy set was activated or refused.
    Policy,
    /// A configuration was activated or refused.
    Config,
    /// Somebody did something by the admin API.
    Admin,
    /// An alert was raised.
    Alert,
    /// A limit was reached.
    Limit,
    /// A model, adapter or file was loaded or changed.
    DataLoad,
    /// Evidence was read or unsealed.
    Access,
    /// Evidence was exported.
    Export,
    /// Keys of a person or of a month were destroyed; a legal hold began or ended.
    Erasure,
    /// The log's signing key was replaced.
    Key,
}

/// A value that may stand in a leaf.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Detail {
    /// A count, a size, a time.
    Number(u64),
    /// A SHA-256 or HMAC.
    Digest([u8; 32]),
    /// Another record.
    Record(RecordId),
    /// A name from the configuration or the policy, or an enum of ours. Never free text.
    Name(String),
    /// Several such names.
    Names(Vec<String>),
}

/// Everything that is not a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub kind: NoteKind,
    /// What happened, a word of ours: `asked`, `approved`, `activated`, …
    pub action: Cow<'static, str>,
    /// When.
    pub at: Moment,
    /// Who did it; default for the gateway itself.
    pub actor: Caller,
    /// The call or record it is about.
    pub about: Option<RecordId>,
    /// What may be read without a key.
    pub details: Vec<(Cow<'static, str>, Detail)>,
    /// Free text. Stored encrypted. Longer material goes into [`crate::Producer::attach`].
    pub text: String,
    /// How long it is kept.
    pub keep: Keep,
}

impl Note {
    /// A note with nothing but its kind, its action and the time.
    #[must_use]
    pub fn new(kind: NoteKind, action: impl Into<Cow<'static, str>>) -> Self {
        Self {
            kind,
            action: action.into(),
            at: Moment::now(),
            actor: Caller::default(),
            about: None,
            details: Vec::new(),
            text: String::new(),
            keep: Keep::default(),
        }
    }
}

/// Which way a payload went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// From the caller to the upstream.
    Request,
    /// From the upstream to the caller.
    Response,
    /// Belongs to a note: a policy's text, a configuration.
    Attachment,
    /// An unmasked original, sealed by a [`crate::Sealer`] to keys that the gateway does not have.
    Sealed,
}

/// One event on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frame {
    /// Microseconds since the frame before it (since the call began, for the first).
    pub dt_us: u64,
    /// The bytes, masked already.
    pub bytes: Vec<u8>,
}

/// A piece of payload, at most [`crate::MAX_CHUNK_BYTES`] of text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadChunk {
    /// Which way it went.
    pub role: Role,
    /// The `content-type`. Stored encrypted.
    pub media_type: String,
    /// What passed, in order.
    pub frames: Vec<Frame>,
}
