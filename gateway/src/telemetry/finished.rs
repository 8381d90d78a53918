//! One call that is over.

use super::marks::PHASES;

/// Whose doing it is that a call did not go its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It went its way.
    Nobody,
    /// The caller's: malformed, unidentified, gone.
    Caller,
    /// A policy said no.
    Policy,
    /// The model server's.
    Upstream,
    /// The gateway's own.
    Gateway,
}

impl Fault {
    /// Its name in the access log and in traces.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nobody => "",
            Self::Caller => "caller",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Gateway => "gateway",
        }
    }
}

/// Where a call stands in its trace (W3C Trace Context).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spans {
    /// The trace.
    pub(crate) trace: [u8; 16],
    /// The caller's span, if it named one.
    pub(crate) parent: Option<[u8; 8]>,
    /// Ours: from the head of the request to the end of the answer.
    pub(crate) server: [u8; 8],
    /// Its part at the model server.
    pub(crate) client: [u8; 8],
}

/// What is told of a call. Text that a caller chose is masked before it comes here.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) request_id: String,
    pub(crate) began_unix_us: u64,
    pub(crate) duration_us: u32,
    /// See [`super::Phase`].
    pub(crate) marks: [Option<u32>; PHASES],
    pub(crate) method: String,
    /// The operation's path, never the path as sent.
    pub(crate) route: &'static str,
    /// The API, such as `openai`.
    pub(crate) api: &'static str,
    pub(crate) model: String,
    pub(crate) upstream: String,
    /// Host and port of the server that answered.
    pub(crate) server: String,
    pub(crate) status: u16,
    /// What the caller was told, for programs; empty when it was the model server's answer.
    pub(crate) code: &'static str,
    pub(crate) fault: Fault,
    pub(crate) policy_generation: u64,
    pub(crate) request_bytes: u64,
    pub(crate) response_bytes: u64,
    pub(crate) input_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) finish_reason: String,
    /// `None` when the call is not traced.
    pub(crate) spans: Option<Spans>,
}
