//! Errors in the API's own shape.

use crate::json::write_string;

/// What went wrong, from the caller's side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The request cannot be understood.
    BadRequest,
    /// No valid token.
    Unauthorized,
    /// The policy refuses.
    Forbidden,
    /// No such operation.
    NotFound,
    /// The operation takes another method.
    MethodNotAllowed,
    /// The body is over the limit.
    TooLarge,
    /// The head is over the limit.
    HeadTooLarge,
    /// The caller was too slow.
    Timeout,
    /// People have to agree first.
    ApprovalPending,
    /// Too many calls.
    RateLimited,
    /// The model server failed.
    Upstream,
    /// The model server was too slow.
    UpstreamTimeout,
    /// The gateway cannot serve now.
    Unavailable,
    /// The gateway failed.
    Internal,
}

impl ErrorKind {
    /// The HTTP status (RFC 9110 §15; 431 is RFC 6585 §5).
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::Timeout => 408,
            Self::ApprovalPending => 409,
            Self::TooLarge => 413,
            Self::RateLimited => 429,
            Self::HeadTooLarge => 431,
            Self::Internal => 500,
            Self::Upstream => 502,
            Self::Unavailable => 503,
            Self::UpstreamTimeout => 504,
        }
    }

    /// `error.type` as the OpenAI API uses it.
    fn openai_type(self) -> &'static str {
        match self {
            Self::BadRequest | Self::NotFound | Self::MethodNotAllowed | Self::TooLarge | Self::HeadTooLarge => {
                "invalid_request_error"
            }
            Self::Unauthorized => "authentication_error",
            Self::Forbidden | Self::ApprovalPending => "permission_error",
            Self::RateLimited => "rate_limit_error",
            Self::Timeout | Self::UpstreamTimeout => "timeout_error",
            Self::Upstream | Self::Unavailable | Self::Internal => "server_error",
        }
    }
}

/// The body of an error answer: `{"error":{"message","type","param","code"}}`.
#[must_use]
pub fn error_body(kind: ErrorKind, code: &str, message: &str) -> Vec<u8> {
    let mut body = Vec::with_capacity(96 + message.len());
    body.extend_from_slice(br#"{"error":{"message":"#);
    write_string(message.as_bytes(), &mut body);
    body.extend_from_slice(br#","type":"#);
    write_string(kind.openai_type().as_bytes(), &mut body);
    body.extend_from_slice(br#","param":null,"code":"#);
    write_string(code.as_bytes(), &mut body);
    body.extend_from_slice(b"}}");
    body
}

/// The same as a server-sent event, for a stream whose head is already sent.
#[must_use]
pub fn stream_error_event(kind: ErrorKind, code: &str, message: &str) -> Vec<u8> {
    let mut event = b"data: ".to_vec();
    event.extend(error_body(kind, code, message));
    event.extend_from_slice(b"\n\n");
    event
}
