//! Errors in the API's own shape.

use super::operation::ErrorShape;
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

    /// `error.type` as the Anthropic API uses it.
    fn anthropic_type(self) -> &'static str {
        match self {
            Self::BadRequest | Self::MethodNotAllowed | Self::HeadTooLarge => "invalid_request_error",
            Self::NotFound => "not_found_error",
            Self::TooLarge => "request_too_large",
            Self::Unauthorized => "authentication_error",
            Self::Forbidden | Self::ApprovalPending => "permission_error",
            Self::RateLimited => "rate_limit_error",
            Self::Timeout | Self::UpstreamTimeout => "timeout_error",
            Self::Unavailable => "overloaded_error",
            Self::Upstream | Self::Internal => "api_error",
        }
    }

    /// `error_type` as TGI uses it.
    fn tgi_type(self) -> &'static str {
        match self {
            Self::RateLimited | Self::Unavailable => "overloaded",
            Self::Upstream | Self::UpstreamTimeout | Self::Internal => "generation",
            _ => "validation",
        }
    }
}

/// The body of an error answer.
#[must_use]
pub fn error_body(shape: ErrorShape, kind: ErrorKind, code: &str, message: &str) -> Vec<u8> {
    match shape {
        ErrorShape::OpenAi | ErrorShape::OpenAiResponses => object(&[(
            "error",
            &object(&[
                ("message", &string(message)),
                ("type", &string(kind.openai_type())),
                ("param", b"null"),
                ("code", &string(code)),
            ]),
        )]),
        ErrorShape::Anthropic => object(&[
            ("type", b"\"error\""),
            ("error", &object(&[("type", &string(kind.anthropic_type())), ("message", &string(message))])),
        ]),
        ErrorShape::Tgi => object(&[("error", &string(message)), ("error_type", &string(kind.tgi_type()))]),
        ErrorShape::KServe => object(&[("error", &string(message))]),
    }
}

/// The same as a server-sent event, for a stream whose head is already sent.
#[must_use]
pub fn stream_error_event(shape: ErrorShape, kind: ErrorKind, code: &str, message: &str) -> Vec<u8> {
    let mut event = Vec::with_capacity(128 + message.len());
    match shape {
        ErrorShape::OpenAiResponses => {
            event.extend_from_slice(b"event: error\ndata: ");
            event.extend(object(&[
                ("type", b"\"error\""),
                ("code", &string(code)),
                ("message", &string(message)),
                ("param", b"null"),
            ]));
        }
        ErrorShape::Anthropic => {
            event.extend_from_slice(b"event: error\ndata: ");
            event.extend(error_body(shape, kind, code, message));
        }
        ErrorShape::OpenAi | ErrorShape::Tgi | ErrorShape::KServe => {
            event.extend_from_slice(b"data: ");
            event.extend(error_body(shape, kind, code, message));
        }
    }
    event.extend_from_slice(b"\n\n");
    event
}

fn string(text: &str) -> Vec<u8> {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write_string(text.as_bytes(), &mut quoted);
    quoted
}

fn object(members: &[(&str, &[u8])]) -> Vec<u8> {
    let members: Vec<Vec<u8>> =
        members.iter().map(|(name, value)| [b"\"", name.as_bytes(), b"\":", *value].concat()).collect();
    [&b"{"[..], &members.join(&b","[..]), b"}"].concat()
}
