//! From a request to what is answered.

use std::borrow::Cow;
use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::script::Script;
use crate::mock_model::answer::{self, Answer};
use crate::mock_model::dialect::Api;
use crate::mock_model::{FailKind, Pace, Shared};
use crate::wire::Request;

const HEALTHY: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"status\":\"ok\"}";

const NULL_ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";

/// An answer on its way.
#[derive(Debug)]
pub(super) struct Answering {
    what: What,
    /// Whether the connection ends with it.
    pub(super) closes: bool,
    /// Whether the connection breaks after it, in the middle of a body.
    pub(super) breaks: bool,
    /// Whether it has a pace that somebody may measure.
    pub(super) is_timed: bool,
}

#[derive(Debug)]
enum What {
    Whole { at: Instant, bytes: Option<Bytes> },
    Stream(Box<Script>),
}

impl Answering {
    fn whole(at: Instant, bytes: Bytes) -> Self {
        Self { what: What::Whole { at, bytes: Some(bytes) }, closes: false, breaks: false, is_timed: false }
    }

    /// When its next part is due; `None` when all of it was written.
    pub(super) fn next_due(&self) -> Option<Instant> {
        match &self.what {
            What::Whole { at, bytes } => bytes.as_ref().map(|_| *at),
            What::Stream(script) => script.next_due(),
        }
    }

    pub(super) fn write_next(&mut self, shared: &Shared, out: &mut Vec<u8>) {
        match &mut self.what {
            What::Whole { bytes, .. } => out.extend_from_slice(&bytes.take().unwrap_or_default()),
            What::Stream(script) => self.breaks |= script.write_next(shared.options.wire_chunk, out),
        }
    }
}

/// The head of a request is complete.
///
/// # Errors
/// When the journal cannot be written.
pub(super) fn head_came(shared: &Shared, head: &Request) -> io::Result<()> {
    shared.requests_seen.fetch_add(1, Ordering::Relaxed);
    shared.options.journal.note_head(head)
}

/// The answer to a whole request; `None` breaks the connection.
pub(super) fn answer(shared: &Shared, head: &Request, body: &[u8], now: Instant) -> Option<Answering> {
    if shared.options.null {
        return Some(Answering::whole(now, Bytes::from_static(NULL_ANSWER)));
    }
    shared.options.journal.note_whole(head, body);
    let path = head.path().split('?').next().unwrap_or_default();
    let other = match (path, head.method()) {
        ("/v1/models", "GET") => respond(200, &answer::models_body(&shared.options.models, since_1970())),
        ("/health" | "/v2/health/ready" | "/v2/health/live", "GET") => Bytes::from_static(HEALTHY),
        ("/mock/stats", "GET") => {
            respond(200, &answer::json(&*shared.stats.lock().unwrap_or_else(PoisonError::into_inner)))
        }
        (path, method) => match Api::of_path(path) {
            Some(api) if method == "POST" => return model(shared, &api, body, now),
            None if !["/v1/models", "/health"].contains(&path) => {
                refuse(None, 404, &format!("Unknown request URL: {method} {path}"), Some("unknown_url"))
            }
            api => {
                refuse(api.as_ref(), 405, &format!("Not allowed to {method} on {path}"), Some("method_not_supported"))
            }
        },
    };
    Some(Answering::whole(now, other))
}

fn model(shared: &Shared, api: &Api, body: &[u8], now: Instant) -> Option<Answering> {
    let options = &shared.options;
    let number = shared.answers_begun.fetch_add(1, Ordering::Relaxed) + 1;
    let (mut begin, mut cut_after) = (now, None);
    if let Some(fail) = options.fail.filter(|fail| number.is_multiple_of(fail.every.get())) {
        match fail.how {
            FailKind::Status(code) => {
                let status = if (100..=999).contains(&code) { code } else { 500 };
                let error = Api::error(Some(api), "The mock model was told to fail.", "server_error", None);
                return Some(Answering::whole(now, respond(status, &error)));
            }
            FailKind::CutAfter(events) => cut_after = Some(events),
            FailKind::Stall(pause) => begin += pause,
        }
    }
    if let Some(limit) = &shared.limit {
        match limit.lock().unwrap_or_else(PoisonError::into_inner).admit(now) {
            Some(ready) => begin = begin.max(ready),
            None => {
                let error =
                    Api::error(Some(api), "Rate limit reached.", "rate_limit_error", Some("rate_limit_exceeded"));
                return Some(Answering::whole(now, respond(429, &error)));
            }
        }
    }
    let turn = usize::try_from((number - 1) % options.script.len().max(1) as u64).unwrap_or(0);
    let scripted = options.script.get(turn);
    if let Some(status) = scripted.and_then(|answer| answer.status) {
        let error = Api::error(Some(api), "The mock model's script says so.", "server_error", None);
        return Some(Answering::whole(begin, respond(status, &error)));
    }
    cut_after = cut_after.or(scripted.and_then(|answer| answer.cut_after));
    let request = match api.parse(body) {
        Ok(request) => request,
        Err(message) => return Some(Answering::whole(now, refuse(Some(api), 400, &message, None))),
    };
    let stream = request.stream && *api != Api::Embeddings;
    let words = scripted.map_or(Cow::Borrowed(&shared.words), |answer| Cow::Owned(answer.words(&shared.words)));
    let answer = Answer::new(request, &words, options.seed, number, since_1970());
    let pace = Pace::new(options.first_token, options.between_tokens, scripted);
    let is_timed = begin > now || !pace.is_immediate();
    begin += pace.first;
    if stream {
        let script = Script::new(api.clone(), answer, begin, pace, cut_after);
        return Some(Answering { what: What::Stream(Box::new(script)), closes: false, breaks: false, is_timed });
    }
    if cut_after.is_some() {
        return None;
    }
    let at = begin + pace.after(answer.piece_count().saturating_sub(1));
    Some(Answering { is_timed, ..Answering::whole(at, respond(200, &api.whole(&answer, body))) })
}

pub(super) fn bad_request() -> Answering {
    let bytes = refuse(None, 400, "This is not HTTP/1.1.", None);
    Answering { closes: true, ..Answering::whole(Instant::now(), bytes) }
}

pub(super) fn too_large() -> Answering {
    let bytes = refuse(None, 413, "The request body is too large.", None);
    Answering { closes: true, ..Answering::whole(Instant::now(), bytes) }
}

fn respond(status: u16, body: &[u8]) -> Bytes {
    let head = format!(
        "HTTP/1.1 {status} {}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
        reason(status),
        body.len()
    );
    Bytes::from([head.as_bytes(), body].concat())
}

fn refuse(api: Option<&Api>, status: u16, message: &str, code: Option<&str>) -> Bytes {
    respond(status, &Api::error(api, message, "invalid_request_error", code))
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Status",
    }
}

/// Seconds since 1970.
fn since_1970() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
