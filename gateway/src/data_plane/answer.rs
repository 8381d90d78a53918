//! Heads of answers: the gateway's own, and the upstream's as the caller may see it.

use std::io::Write as _;

use super::error::{CallError, reason_phrase};
use super::http::{RequestHead, ResponseHead, is_hop_by_hop};
use policy_compiler::dialect::{self, ErrorShape};

/// How the body of an answer ends on the caller's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// So many bytes follow.
    Length(u64),
    /// Chunks follow.
    Chunked,
    /// The connection closes (HTTP/1.0 callers of a stream).
    Close,
}

impl Ending {
    /// For a body whose length is not known beforehand.
    pub(crate) fn of_stream(request: &RequestHead) -> Self {
        if request.is_http10 { Self::Close } else { Self::Chunked }
    }
}

/// A whole answer of the gateway itself, in the API's shape.
pub(crate) fn error_answer(
    shape: ErrorShape,
    error: &CallError,
    request_id: &str,
    close: bool,
    head_only: bool,
) -> Vec<u8> {
    let body = dialect::error_body(shape, error.kind, error.code, &error.message);
    let mut out = status_line(error.status);
    push_field(&mut out, "content-type", b"application/json");
    push_shown(&mut out, "content-length", body.len());
    if !request_id.is_empty() {
        push_field(&mut out, "x-sallyport-request-id", request_id.as_bytes());
    }
    for (name, value) in &error.fields {
        push_field(&mut out, name, value.as_bytes());
    }
    if close {
        push_field(&mut out, "connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    if !head_only {
        out.extend_from_slice(&body);
    }
    out
}

/// What became of an answer's body on its way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rewritten {
    /// It is not the upstream's byte for byte, so fields that describe its bytes go (RFC 9110 §8).
    pub(crate) bytes: bool,
    /// Its content coding was taken off.
    pub(crate) decoded: bool,
    /// Of a body with a binary tail: the bytes of its JSON now.
    pub(crate) json_bytes: Option<usize>,
}

/// Says how many bytes of a KServe body are JSON before its binary tail.
pub(crate) const JSON_BYTES_FIELD: &str = "inference-header-content-length";

/// A whole answer whose body is in memory.
pub(crate) fn whole_answer(status: u16, media_type: &str, body: &[u8], request_id: &str, close: bool) -> Vec<u8> {
    let mut out = status_line(status);
    push_field(&mut out, "content-type", media_type.as_bytes());
    push_shown(&mut out, "content-length", body.len());
    push_field(&mut out, "x-sallyport-request-id", request_id.as_bytes());
    if close {
        push_field(&mut out, "connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body);
    out
}

/// The upstream's head, re-framed for the caller.
pub(crate) fn forwarded_head(
    upstream: &ResponseHead,
    request_id: &str,
    ending: Option<Ending>,
    close: bool,
    rewritten: Rewritten,
) -> Vec<u8> {
    const OF_THE_BYTES: [&str; 5] = ["etag", "content-md5", "digest", "content-digest", "accept-ranges"];
    let mut out = status_line(upstream.status);
    for (name, value) in upstream.fields.iter() {
        let framing =
            name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("x-sallyport-request-id");
        let stale = (rewritten.bytes && OF_THE_BYTES.iter().any(|field| name.eq_ignore_ascii_case(field)))
            || (rewritten.decoded && name.eq_ignore_ascii_case("content-encoding"))
            || (rewritten.json_bytes.is_some() && name.eq_ignore_ascii_case(JSON_BYTES_FIELD));
        if !framing && !stale && !is_hop_by_hop(&upstream.fields, name) {
            push_field(&mut out, name, value);
        }
    }
    match ending {
        Some(Ending::Length(length)) => push_shown(&mut out, "content-length", length),
        Some(Ending::Chunked) => push_field(&mut out, "transfer-encoding", b"chunked"),
        Some(Ending::Close) | None => {}
    }
    if let Some(json_bytes) = rewritten.json_bytes {
        push_shown(&mut out, JSON_BYTES_FIELD, json_bytes);
    }
    push_field(&mut out, "x-sallyport-request-id", request_id.as_bytes());
    if close || ending == Some(Ending::Close) {
        push_field(&mut out, "connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// The head of a stream of events that people still have to let begin.
pub(crate) fn stream_head(request_id: &str, ending: Ending, approval: &str, close: bool) -> Vec<u8> {
    let mut out = status_line(200);
    push_field(&mut out, "content-type", b"text/event-stream");
    push_field(&mut out, "cache-control", b"no-cache");
    if ending == Ending::Chunked {
        push_field(&mut out, "transfer-encoding", b"chunked");
    }
    push_field(&mut out, "x-sallyport-request-id", request_id.as_bytes());
    push_field(&mut out, "x-sallyport-approval-id", approval.as_bytes());
    if close || ending == Ending::Close {
        push_field(&mut out, "connection", b"close");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// An interim answer (RFC 9110 §15.2) as the caller may see it.
pub(crate) fn interim_head(upstream: &ResponseHead) -> Vec<u8> {
    let mut out = status_line(upstream.status);
    for (name, value) in upstream.fields.iter() {
        let framing = name.eq_ignore_ascii_case("content-length");
        if !framing && !is_hop_by_hop(&upstream.fields, name) {
            push_field(&mut out, name, value);
        }
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// `100 Continue` (RFC 9110 §10.1.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Room for an ordinary head, with a short body behind it.
const HEAD_BYTES_USUAL: usize = 2048;

fn status_line(status: u16) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES_USUAL);
    push_text(&mut out, format_args!("HTTP/1.1 {status} {}\r\n", reason_phrase(status)));
    out
}

/// Appends text without an intermediate copy.
fn push_text(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(text);
}

/// A field whose value is a number or an address.
pub(super) fn push_shown(out: &mut Vec<u8>, name: &str, value: impl std::fmt::Display) {
    push_text(out, format_args!("{name}: {value}\r\n"));
}

pub(super) fn push_field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let start = out.len();
    out.extend_from_slice(value);
    // A value of our own never breaks a line, whatever it was made from.
    for byte in out.get_mut(start..).unwrap_or_default() {
        *byte = if matches!(*byte, b'\r' | b'\n' | 0) { b' ' } else { *byte };
    }
    out.extend_from_slice(b"\r\n");
}
