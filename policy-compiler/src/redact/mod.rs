//! Masking of whole bodies and of streams by one engine: a whole body is a stream of one chunk (MASKING §1).
//!
//! * `channel` masks one text that arrives in pieces; it is the only place that decides what is a hit.
//! * `arguments` puts JSON inside a JSON string in front of it, so that the inner JSON stays valid.
//! * `plan` says which masks meet which text; which texts there are say the tables of [`crate::dialect`].
//! * `document` masks one JSON text, `body` whole bodies in every form, `tensors` those with a binary tail.
//! * `stream` masks events, which `frames` cuts out of bytes, `event` reads and `synthetic` makes where text is left over.

mod arguments;
mod body;
mod channel;
mod document;
mod edits;
mod event;
mod few;
mod frames;
mod heard;
mod plain;
mod plan;
mod stream;
mod substitutes;
mod synthetic;
mod tensors;
mod text;
mod tokens;
mod transform;

#[cfg(test)]
mod corpus;
#[cfg(test)]
mod laws;

pub use body::{redact_answer, redact_answer_as, redact_request, redact_request_as};
pub use frames::{EVENT_BYTES_MAX, Framing};
pub use heard::{Heard, HeardAnswer, streams_carry};
pub use plain::PlainRedactor;
pub use plan::{MaskPlan, PlanError};
pub use stream::{HELD_BYTES_MAX, StreamOutput, StreamRedactor};
pub use substitutes::Substitutes;
pub use tokens::{TokenMap, TooManyTokens, pseudonym};

pub(crate) use tensors::binary_tensors;

use crate::detect::CeilingExceeded;
use crate::dialect::{FormError, WalkError};
use crate::json::JsonError;
use std::borrow::Cow;
use std::sync::Arc;

/// How sure a detector is (MASKING §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// V: a built-in detector that validates what it finds.
    Validated,
    /// C: a built-in detector found it behind a context word, or in a member named like one.
    Context,
    /// O: a built-in detector that a policy asked for by name.
    OptIn,
    /// A regex of the policy.
    Custom,
    /// A whole value at a path of the policy.
    Path,
}

impl Tier {
    /// The tier of a hit: what a context word decided is of tier C, even if the detector is of tier V.
    fn shown(self, by_context: bool) -> Self {
        match self {
            Self::Validated if by_context => Self::Context,
            other => other,
        }
    }
}

/// One replacement. It never carries the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// The rule that asked for it.
    pub rule: Arc<str>,
    /// The detector's name; `regex` or `value` for what a policy brought itself.
    pub detector: Arc<str>,
    /// How sure it is.
    pub tier: Tier,
    /// JSON pointer into the non-streamed form; members that the dialect does not know are `*` (DECISIONS 20).
    pub pointer: String,
    /// The text channel, such as `choices[0].content`.
    pub channel: String,
    /// Bytes from the start of the channel's text.
    pub offset: u64,
    /// Bytes replaced.
    pub length: u32,
    /// `label`, `last4`, `literal`, `hash`, `token`, `drop`, or `restore` where a token became its value again.
    pub action: &'static str,
}

/// What was looked at (DECISIONS 25).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Coverage {
    /// Every byte of the text.
    Scanned,
    /// No text: images, audio, files.
    Opaque,
    /// Text that stands elsewhere and never passes here: stored conversations, files by id.
    ByReference,
    /// Text that cannot be read: token ids, shared memory.
    Unscannable,
}

/// What was looked at, for one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelCoverage {
    /// The channel, such as `messages[0].content`.
    pub channel: String,
    /// What was done with it.
    pub coverage: Coverage,
}

/// A whole body after masking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redacted<'b> {
    /// The body; borrowed, and so byte-identical, if nothing was masked.
    pub body: Cow<'b, [u8]>,
    /// Of a body with a binary tail: the bytes of its JSON, for `inference-header-content-length`.
    pub json_bytes: Option<usize>,
    /// What was masked.
    pub hits: Vec<Hit>,
    /// What was looked at; empty with an empty plan.
    pub coverage: Vec<ChannelCoverage>,
}

impl<'b> Redacted<'b> {
    fn untouched(body: &'b [u8]) -> Self {
        Self { body: Cow::Borrowed(body), json_bytes: None, hits: Vec::new(), coverage: Vec::new() }
    }
}

/// Why a body or stream cannot be masked. What was not yet released must not be sent then (fail closed).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedactError {
    /// The body is not JSON.
    #[error("the body cannot be masked: {0}")]
    Json(JsonError),
    /// An event of the stream is not JSON.
    #[error("an event of the stream cannot be masked: {0}")]
    Event(JsonError),
    /// A member that is read occurs twice.
    #[error("a member occurs twice, so that two readers could see two texts")]
    Duplicate,
    /// A member of an event is not what the dialect says.
    #[error("a member of an event has the wrong type or is out of range: {0}")]
    Member(&'static str),
    /// Text stands there in a form that cannot be read.
    #[error("it holds text in a form that cannot be read (token ids, shared memory, lines of an unknown kind)")]
    Hidden,
    /// The body is not in the form that it says.
    #[error(transparent)]
    Form(#[from] FormError),
    /// An event of a kind that is not known brings a piece of a text.
    #[error("an event of an unknown kind brings a piece of a text")]
    UnknownPiece,
    /// A match stayed undecided for more than [`crate::detect::CEILING`] bytes.
    #[error("a match stayed undecided for more than {} bytes", crate::detect::CEILING)]
    Ceiling,
    /// An event is longer than [`EVENT_BYTES_MAX`].
    #[error("an event of the stream is longer than {EVENT_BYTES_MAX} bytes")]
    EventTooLong,
    /// More than [`HELD_BYTES_MAX`] bytes came after the last choice ended.
    #[error("more than {HELD_BYTES_MAX} bytes came after the last choice ended")]
    HeldTooLong,
    /// A stream has more text channels than anybody needs.
    #[error("the stream has too many text channels")]
    Channels,
    /// Text came for a choice that had ended.
    #[error("text came for a choice that had ended")]
    TextAfterFinish,
}

impl From<WalkError> for RedactError {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Duplicate => Self::Duplicate,
            WalkError::Index => Self::Member("index"),
        }
    }
}

impl From<CeilingExceeded> for RedactError {
    fn from(_: CeilingExceeded) -> Self {
        Self::Ceiling
    }
}
