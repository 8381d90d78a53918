//! What a caller is told when a call does not go its way: one type, mapped in one place to status, body and record.

use audit_shipper::RecordId;
use policy_compiler::dialect::ErrorKind;

use crate::metrics::Event;

/// A call that is answered by the gateway itself.
#[derive(Debug)]
pub(crate) struct CallError {
    pub(crate) status: u16,
    pub(crate) kind: ErrorKind,
    /// Stable, for programs: `invalid_token`, `upstream_unreachable`, …
    pub(crate) code: &'static str,
    /// For people; never leaks what the policy hides.
    pub(crate) message: String,
    /// Further fields of the answer.
    pub(crate) fields: Vec<(&'static str, String)>,
    /// For the record only.
    pub(crate) cause: Option<String>,
    /// The request for approval that it is about, for the record.
    pub(crate) approval: Option<Box<RecordId>>,
}

impl CallError {
    pub(crate) fn new(kind: ErrorKind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            status: kind.status(),
            kind,
            code,
            message: message.into(),
            fields: Vec::new(),
            cause: None,
            approval: None,
        }
    }

    pub(crate) fn status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// Sets a further field of the answer.
    pub(crate) fn field(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.fields.retain(|(present, _)| *present != name);
        self.fields.push((name, value.into()));
        self
    }

    /// Names the request for approval that it is about.
    pub(crate) fn about(mut self, approval: &str) -> Self {
        self.approval = approval.parse().ok().map(Box::new);
        self
    }

    pub(crate) fn because(mut self, cause: impl std::fmt::Display) -> Self {
        self.cause = Some(cause.to_string());
        self
    }

    /// The limit that the call ran into, if it was one.
    pub(crate) fn limit(&self) -> Option<Event> {
        Some(match self.code {
            "head_too_large" => Event::HeadLimit,
            "head_timeout" => Event::HeadTimeout,
            "body_too_large" => Event::BodyLimit,
            "body_timeout" => Event::BodyTimeout,
            "too_busy" => Event::InFlightLimit,
            "rate_limit_exceeded" => Event::PolicyRequestsLimit,
            "token_limit_exceeded" => Event::PolicyTokensLimit,
            "limits_full" => Event::PolicyAccountsLimit,
            "upstream_overloaded" => Event::UpstreamInFlightLimit,
            "upstream_timeout" => Event::FirstByteTimeout,
            "upstream_stalled" => Event::StreamIdleTimeout,
            _ => return None,
        })
    }

    /// Message and cause, for the record.
    pub(crate) fn in_words(&self) -> String {
        match &self.cause {
            Some(cause) => format!("{} [{cause}]", self.message),
            None => self.message.clone(),
        }
    }

    /// Whether the model server is at fault.
    pub(crate) fn is_upstreams(&self) -> bool {
        matches!(self.kind, ErrorKind::Upstream | ErrorKind::UpstreamTimeout)
    }

    /// The evidence cannot be written, so nothing may pass (DESIGN §4.1).
    pub(crate) fn no_evidence(cause: impl std::fmt::Display) -> Self {
        Self::new(
            ErrorKind::Unavailable,
            "evidence_unavailable",
            "The gateway cannot write its evidence now, so it lets no call pass. Try again shortly.",
        )
        .field("retry-after", "2")
        .because(cause)
    }
}

/// Reason phrases (RFC 9110 §15) of the statuses that the gateway answers itself, and of interim ones.
pub(crate) fn reason_phrase(status: u16) -> &'static str {
    match status {
        102 => "Processing",
        103 => "Early Hints",
        104 => "Upload Resumption Supported",
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        409 => "Conflict",
        413 => "Content Too Large",
        417 => "Expectation Failed",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}
