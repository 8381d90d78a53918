//! The request as the upstream sees it: hop-by-hop fields and the caller's credential out, ours in (RFC 9110 §7.6).

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use policy_compiler::dialect::ErrorKind;

use super::admit::{body_error, caller_left, too_large};
use super::answer::{CONTINUE, JSON_BYTES_FIELD, interim_head, push_field, push_shown};
use super::core::Core;
use super::error::CallError;
use super::exchange::{ANSWER_TIME, Admitted, Call};
use super::http::{Framing, LAST_CHUNK, RequestHead, ResponseHead, Wire, is_hop_by_hop, write_chunk};
use super::pace::Pace;
use super::record::OpenCall;
use super::rt;
use super::upstream::Lease;

/// How often a server is listened to while its request waits for the caller.
const LISTEN_EVERY: Duration = Duration::from_millis(20);

/// Why a request got no answer.
pub(super) struct Failed {
    pub(super) error: CallError,
    /// The server closed the connection before it said anything: on a connection that had rested, it most likely did so before
    /// the request came.
    pub(super) unanswered: bool,
}

impl From<CallError> for Failed {
    fn from(error: CallError) -> Self {
        Self { error, unanswered: false }
    }
}

/// Sends the head and the body; a body that the policy did not read is passed on while it arrives. An answer that comes before all
/// of it was sent, also one before the server closes, ends the sending (RFC 9112 §9.5).
///
/// # Errors
/// The upstream or the caller broke off.
pub(super) async fn send_request(
    core: &Core,
    client: &mut Wire,
    lease: &mut Lease,
    call: &mut Call,
    admitted: &Admitted,
    open: &mut OpenCall,
) -> Result<(), Failed> {
    let live = Rc::clone(&call.live);
    let limits = &live.config.listen.limits;
    let idle = lease.route.timeouts.idle;
    let route = Arc::clone(&lease.route);
    let wire = &mut lease.wire;
    let held = match &route.credential {
        None => None,
        Some(slot) => Some(slot.header(core.shared.clock.unix_s()).ok_or_else(no_credential)?),
    };
    let credential = held.as_ref().map(|(header, held)| (*header, held.expose()));
    let framing = match &admitted.body {
        Some(body) => Framing::Length(body.len() as u64),
        None => call.head.framing,
    };
    let mut bytes = request_head(
        &call.head,
        &Forwarded {
            authority: &lease.server.authority,
            request_id: &open.id(),
            client: call.peer.ip(),
            believes_peer: live.config.listen.believes(call.peer.ip()),
            credential,
            traceparent: &call.trace.header,
            framing,
            identity_only: call.operation.is_some(),
            decoded: call.decoded,
            json_bytes: admitted.json_bytes,
        },
    );
    wire.socket.move_within(idle);
    let failed = |cause: std::io::Error| {
        let message = "The model server closed the connection while it got the request.";
        let error = CallError::new(ErrorKind::Upstream, "upstream_failed", message).because(&cause);
        Failed { error, unanswered: is_gone(cause.kind()) }
    };
    if let Some(body) = &admitted.body {
        return match wire.socket.write_both(&bytes, body).await {
            // There may be an answer that says why.
            Err(cause) if is_gone(cause.kind()) => Ok(()),
            written => written.map_err(failed),
        };
    }
    // With the beginning of the body already here, the head goes out together with it.
    if client.unread().is_empty() || call.body.is_done() {
        wire.socket.write_all(&bytes).await.map_err(failed)?;
        bytes.clear();
    }
    if call.head.expects_continue && !call.body.is_done() && client.unread().is_empty() {
        client.socket.write_all(CONTINUE).await.map_err(|cause| caller_left().because(cause))?;
    }
    let pace = Pace::new(core.watchdog.now_ms());
    let mut came = 0;
    let mut piece = Vec::new();
    let mut coded = Vec::new();
    loop {
        piece.clear();
        client.socket.read_within(pace.patience(limits, came, core.watchdog.now_ms()));
        // Before the server has heard of this call, nothing that it says is an answer to it.
        let unsent = !bytes.is_empty();
        let read = async { Some(call.body.read_some(client, &mut piece).await) };
        let speaks = async { if unsent { std::future::pending().await } else { speaks(wire).await } };
        let Some(more) = read.or(speaks).await else {
            if has_answered(wire, call.head_only()).await {
                client.socket.never_times_out();
                return Ok(());
            }
            continue;
        };
        let more = more.map_err(|error| body_error(&error))?;
        client.socket.never_times_out();
        open.streamed_request(&piece);
        came += piece.len() as u64;
        if let Some(max) = limits.body_bytes.filter(|max| came > *max) {
            return Err(too_large(max).into());
        }
        let out = if framing == Framing::Chunked {
            coded.clear();
            write_chunk(&mut coded, &piece);
            if !more {
                coded.extend_from_slice(LAST_CHUNK);
            }
            &coded
        } else {
            &piece
        };
        wire.socket.move_within(idle);
        match wire.socket.write_both(&bytes, out).await {
            Err(cause) if is_gone(cause.kind()) => return Ok(()),
            written => written.map_err(failed)?,
        }
        bytes.clear();
        if !more {
            return Ok(());
        }
    }
}

/// Waits until the server says something, or closes, while it gets a request.
async fn speaks<T>(wire: &mut Wire) -> Option<T> {
    loop {
        rt::sleep(LISTEN_EVERY).await;
        if wire.socket.is_stale() {
            return None;
        }
    }
}

/// Whether what a server says while it gets a request is its answer, or its end; interim answers are taken in silence.
async fn has_answered(wire: &mut Wire, head_only: bool) -> bool {
    loop {
        match ResponseHead::parse(wire.unread(), head_only) {
            Ok(Some((head, length))) if head.is_interim() => wire.consume(length),
            Ok(Some(_)) | Err(_) => return true,
            Ok(None) if wire.unread().is_empty() && !wire.socket.is_stale() => return false,
            // Something is there, or the rest of a head is on its way, for which the deadline of sending holds.
            Ok(None) => match wire.fill().await {
                Ok(1..) => {}
                _ => return true,
            },
        }
    }
}

fn no_credential() -> CallError {
    let message = "The gateway has no valid credential for the model server now. Nothing was sent to it; try again.";
    CallError::new(ErrorKind::Upstream, "no_upstream_credential", message)
}

/// Waits for the final head of the answer. Interim ones (RFC 9110 §15.2) are passed on, but for 100, which is ours to say.
///
/// # Errors
/// 502 for what is no answer, 504 when none came in time.
pub(super) async fn read_head(client: &mut Wire, lease: &mut Lease, call: &Call) -> Result<ResponseHead, Failed> {
    lease.wire.socket.read_within(lease.route.timeouts.first_byte);
    let wire = &mut lease.wire;
    let mut silent = true;
    let failed = |cause: &dyn std::fmt::Display| {
        CallError::new(ErrorKind::Upstream, "upstream_failed", "The model server did not answer properly.")
            .because(cause)
    };
    loop {
        match ResponseHead::parse(wire.unread(), call.head_only()) {
            Ok(Some((head, length))) => {
                wire.consume(length);
                if head.status == 101 {
                    return Err(failed(&"it switched protocols unasked").into());
                }
                if !head.is_interim() {
                    if head.status == 401
                        && let Some(slot) = &lease.route.credential
                    {
                        slot.was_refused();
                    }
                    return Ok(head);
                }
                if head.status > 100 && !call.head.is_http10 && call.began.is_none() {
                    client.socket.move_within(ANSWER_TIME);
                    let written = client.socket.write_all(&interim_head(&head)).await;
                    client.socket.never_times_out();
                    written.map_err(|cause| caller_left().because(cause))?;
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return Err(failed(&error).into()),
        }
        match wire.fill().await {
            Ok(1..) => silent = false,
            _ if wire.socket.timed_out() => {
                let message = "The model server did not begin to answer in time.";
                return Err(CallError::new(ErrorKind::UpstreamTimeout, "upstream_timeout", message).into());
            }
            Ok(_) => {
                let error = failed(&"it closed the connection without an answer");
                return Err(Failed { error, unanswered: silent });
            }
            Err(cause) => return Err(Failed { error: failed(&cause), unanswered: silent && is_gone(cause.kind()) }),
        }
    }
}

/// Whether the other side closed the connection, in whatever words.
fn is_gone(kind: std::io::ErrorKind) -> bool {
    use std::io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(kind, BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected | UnexpectedEof)
}

/// What is put into the forwarded head beside the caller's fields.
struct Forwarded<'a> {
    authority: &'a str,
    request_id: &'a str,
    client: IpAddr,
    /// It is a proxy whose word about its own clients counts.
    believes_peer: bool,
    /// Name and value of the upstream's own credential.
    credential: Option<(&'a str, &'a str)>,
    traceparent: &'a str,
    /// Framing of the body that follows.
    framing: Framing,
    /// The answer will be looked into, so it must not be compressed.
    identity_only: bool,
    /// The request's content coding was taken off.
    decoded: bool,
    /// Of a body with a binary tail: the bytes of its JSON.
    json_bytes: Option<usize>,
}

/// Fields that are replaced or must not travel on: credentials of the caller, framing, and what only this gateway can say.
const REPLACED: [&str; 12] = [
    "host",
    "content-length",
    "expect",
    "authorization",
    "x-api-key",
    "api-key",
    "x-sallyport-request-id",
    "x-sallyport-purpose",
    "x-sallyport-basis",
    "x-sallyport-data-subject",
    "traceparent",
    "proxy",
];

/// Claims about the client; anybody can make them, so only those of known proxies pass on.
const OF_PROXIES: [&str; 5] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// Fields that are about the request's bytes as they were coded.
const OF_THE_CODED_BYTES: [&str; 4] = ["content-encoding", "content-md5", "digest", "content-digest"];

/// Room for an ordinary head.
const HEAD_BYTES_USUAL: usize = 2048;

/// Serialises the head.
fn request_head(request: &RequestHead, forwarded: &Forwarded<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES_USUAL);
    out.extend_from_slice(request.method.as_bytes());
    out.push(b' ');
    out.extend_from_slice(request.target.as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    push_field(&mut out, "host", forwarded.authority.as_bytes());
    for (name, value) in request.fields.iter() {
        let replaced = REPLACED.iter().any(|field| name.eq_ignore_ascii_case(field))
            || (!forwarded.believes_peer && OF_PROXIES.iter().any(|field| name.eq_ignore_ascii_case(field)))
            || forwarded.credential.is_some_and(|(credential, _)| name.eq_ignore_ascii_case(credential))
            || (forwarded.identity_only && name.eq_ignore_ascii_case("accept-encoding"))
            || (forwarded.decoded && OF_THE_CODED_BYTES.iter().any(|field| name.eq_ignore_ascii_case(field)))
            || (forwarded.json_bytes.is_some() && name.eq_ignore_ascii_case(JSON_BYTES_FIELD));
        if !replaced && !is_hop_by_hop(&request.fields, name) {
            push_field(&mut out, name, value);
        }
    }
    if let Some((name, value)) = forwarded.credential {
        push_field(&mut out, name, value.as_bytes());
    }
    if forwarded.identity_only {
        push_field(&mut out, "accept-encoding", b"identity");
    }
    if let Some(json_bytes) = forwarded.json_bytes {
        push_shown(&mut out, JSON_BYTES_FIELD, json_bytes);
    }
    push_field(&mut out, "traceparent", forwarded.traceparent.as_bytes());
    push_shown(&mut out, "x-forwarded-for", forwarded.client);
    push_field(&mut out, "x-sallyport-request-id", forwarded.request_id.as_bytes());
    match forwarded.framing {
        Framing::Chunked => push_field(&mut out, "transfer-encoding", b"chunked"),
        Framing::Length(0) if matches!(request.method.as_str(), "GET" | "HEAD" | "DELETE" | "OPTIONS") => {}
        Framing::Length(length) => push_shown(&mut out, "content-length", length),
        Framing::UntilClose => {}
    }
    out.extend_from_slice(b"\r\n");
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::http::HeadLimits;
    use super::*;

    #[test]
    fn strips_what_belongs_to_one_connection_and_the_callers_credential() {
        let raw = "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nAuthorization: Bearer caller\r\nx-api-key: caller\r\n\
                   Connection: keep-alive, X-Secret\r\nX-Secret: 1\r\nTE: trailers\r\nUpgrade: h2c\r\nX-Forwarded-For: 9.9.9.9\r\n\
                   Content-Length: 2\r\nX-Kept: yes\r\n\r\n";
        let limits = HeadLimits { bytes: 4096, fields: 50 };
        let (head, _) = RequestHead::parse(raw.as_bytes(), limits).unwrap().unwrap();
        let forwarded = Forwarded {
            authority: "model:8000",
            request_id: "id",
            client: IpAddr::from([127, 0, 0, 1]),
            believes_peer: false,
            credential: Some(("authorization", "Bearer upstream")),
            traceparent: "00-0-0-01",
            framing: Framing::Length(2),
            identity_only: true,
            decoded: false,
            json_bytes: None,
        };
        insta::assert_snapshot!(String::from_utf8(request_head(&head, &forwarded)).unwrap().replace("\r\n", "\n"), @r"
        POST /v1/chat/completions HTTP/1.1
        host: model:8000
        X-Kept: yes
        authorization: Bearer upstream
        accept-encoding: identity
        traceparent: 00-0-0-01
        x-forwarded-for: 127.0.0.1
        x-sallyport-request-id: id
        content-length: 2
        ");
    }

    #[test]
    fn a_known_proxy_is_believed_and_stands_last_in_the_list() {
        let raw =
            "GET /v1/models HTTP/1.1\r\nHost: gw\r\nX-Forwarded-For: 203.0.113.7\r\nForwarded: for=203.0.113.7\r\n\r\n";
        let (head, _) = RequestHead::parse(raw.as_bytes(), HeadLimits { bytes: 4096, fields: 50 }).unwrap().unwrap();
        for (believes_peer, expected) in [(true, &["203.0.113.7", "10.0.0.9"][..]), (false, &["10.0.0.9"][..])] {
            let forwarded = Forwarded {
                authority: "model",
                request_id: "id",
                client: IpAddr::from([10, 0, 0, 9]),
                believes_peer,
                credential: None,
                traceparent: "00-0-0-01",
                framing: Framing::Length(0),
                identity_only: true,
                decoded: false,
                json_bytes: None,
            };
            let text = String::from_utf8(request_head(&head, &forwarded)).unwrap().to_ascii_lowercase();
            let list: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("x-forwarded-for: ")).collect();
            assert_eq!(list, expected);
            assert_eq!(text.contains("\r\nforwarded: for=203.0.113.7"), believes_peer);
        }
    }
}
