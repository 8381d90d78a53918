//! Requests as bytes, made once; sending one is copying it into the connection's buffer.

use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST};

use crate::load::mix::{Mix, MixRequest};
use crate::load::plan::Plan;

/// All requests of a plan.
#[derive(Debug)]
pub(super) struct Requests {
    mix: Mix,
    seed: u64,
    ready: Vec<ReadyRequest>,
    /// Whole header lines.
    tokens: Vec<Vec<u8>>,
}

/// A request without its token.
#[derive(Debug)]
pub(super) struct ReadyRequest {
    head: Vec<u8>,
    /// The empty line and the body.
    tail: Vec<u8>,
    pub(super) stream: bool,
    /// Whether the stream ends with an event that says so. Triton's just ends.
    pub(super) ends_with_marker: bool,
}

impl Requests {
    pub(super) fn new(plan: &Plan) -> Self {
        let mix = plan.requests();
        let ready = mix.requests().iter().map(|request| ReadyRequest::new(plan, request)).collect();
        let tokens =
            plan.tokens.iter().map(|token| format!("authorization: Bearer {token}\r\n").into_bytes()).collect();
        Self { mix, seed: plan.seed, ready, tokens }
    }

    /// The request that is sent as number `number`.
    pub(super) fn get(&self, number: u64) -> &ReadyRequest {
        // A mix has at least one request, and chooses among those that it has.
        &self.ready[self.mix.choose(self.seed, number)]
    }

    pub(super) fn write(&self, number: u64, out: &mut Vec<u8>) {
        let request = self.get(number);
        out.extend_from_slice(&request.head);
        if !self.tokens.is_empty() {
            let turn = usize::try_from(number % self.tokens.len() as u64).unwrap_or(0);
            out.extend_from_slice(&self.tokens[turn]);
        }
        out.extend_from_slice(&request.tail);
    }
}

impl ReadyRequest {
    fn new(plan: &Plan, request: &MixRequest) -> Self {
        let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.path).into_bytes();
        let own = |name: &str| request.headers.iter().any(|(n, _)| n.eq_ignore_ascii_case(name));
        let mut line = |name: &[u8], value: &[u8]| {
            head.extend_from_slice(name);
            head.extend_from_slice(b": ");
            head.extend_from_slice(value);
            head.extend_from_slice(b"\r\n");
        };
        let has_host = plan.headers.iter().any(|(name, _)| name == HOST) || own("host");
        if !has_host {
            line(b"host", plan.target.host().as_bytes());
        }
        for (name, value) in &plan.headers {
            let by_token = *name == AUTHORIZATION && !plan.tokens.is_empty();
            if !own(name.as_str()) && !by_token && *name != CONTENT_LENGTH {
                line(name.as_str().as_bytes(), value.as_bytes());
            }
        }
        for (name, value) in &request.headers {
            line(name.as_bytes(), value.as_bytes());
        }
        if !request.body.is_empty() || request.method != "GET" {
            line(b"content-length", request.body.len().to_string().as_bytes());
        }
        let tail = [b"\r\n", request.body.as_ref()].concat();
        let ends_with_marker = !request.path.starts_with("/v2/models/");
        Self { head, tail, stream: request.stream, ends_with_marker }
    }
}
