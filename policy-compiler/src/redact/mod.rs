//! Masking of whole bodies and of streams by one engine: a whole body is a stream of one chunk (MASKING §1).
//!
//! * `channel` masks one text that arrives in pieces; it is the only place that decides what is a hit.
//! * `arguments` puts JSON inside a JSON string in front of it, so that the inner JSON stays valid.
//! * `plan` says which masks meet which text.
//! * `body` finds the texts of a whole JSON body, `stream` those of server-sent events.

mod arguments;
mod channel;
mod text;
mod transform;

#[cfg(test)]
mod laws;

use std::sync::Arc;

/// How sure a detector is (MASKING §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tier {
    /// A built-in detector that validates what it finds.
    Validated,
    /// A regex of the policy.
    Custom,
    /// A whole value at a path of the policy.
    Path,
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
    /// `label`, `last4` or `literal`.
    pub action: &'static str,
}
