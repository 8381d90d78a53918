//! The steps before a call is let in, in their order: route, caller, body, decision, masks.

use std::net::IpAddr;
use std::rc::Rc;

use futures_lite::FutureExt as _;
use policy_compiler::dialect::{self, BodyForm, ErrorKind};
use policy_compiler::redact::{self, ChannelCoverage, Hit};
use policy_lang::Verdict;

use super::answer::{CONTINUE, JSON_BYTES_FIELD};
use super::coding::{self, CodingError};
use super::core::Core;
use super::error::CallError;
use super::exchange::{ANSWER_TIME, Call};
use super::http::{BodyError, Wire};
use super::judge::{self, Question};
use super::plans::Plans;
use super::rt;
use super::upstream;
use crate::identity::{IDENTIFY_WITHIN, Identity, IdentityError, STATED_BYTES_MAX, presented};

/// Unknown routes are refused: only an allow-list protects a model server's own unauthenticated routes (DIALECTS).
pub(super) fn find_route(core: &Core, call: &mut Call) -> Result<(), CallError> {
    let path = call.head.path();
    let normalised = dialect::normalised_path(path);
    call.upstream = upstream::choose(&core.routes, normalised.as_deref().unwrap_or(path));
    let upstream = call.upstream.and_then(|index| core.routes.get(index));
    call.operation = upstream.and_then(|route| route.config.dialect.route(&call.head.method, path));
    let opaque = upstream.is_some_and(|route| route.config.opaque.iter().any(|open| open == path));
    if upstream.is_some() && (call.operation.is_some() || opaque) {
        return Ok(());
    }
    let method = upstream.and_then(|route| route.config.dialect.method_of(path));
    if let Some(method) = method.filter(|_| call.operation.is_none()) {
        let message = format!("{} is not served on this route; use {method}.", call.head.method);
        let error = CallError::new(ErrorKind::MethodNotAllowed, "method_not_allowed", message);
        return Err(error.field("allow", method));
    }
    let message = "This route is not served here: it is none of the APIs that this gateway can look into.";
    Err(CallError::new(ErrorKind::NotFound, "unknown_route", message))
}

/// Who calls, and what the call says of its purpose. A token that this core remembers costs one look-up; any other goes the
/// slow way, which an address that failed too often may not go.
pub(super) async fn identify(core: &Core, call: &mut Call) -> Result<(), CallError> {
    let fields = &call.head.fields;
    let now_unix_s = core.shared.clock.unix_s();
    let credential = presented(fields.iter());
    let remembered =
        credential.ok().and_then(|token| core.tokens.borrow_mut().get(&core.shared.verifier, token, now_unix_s));
    let caller = match remembered {
        Some(caller) => caller,
        None => identify_afresh(core, call.peer.ip(), credential, now_unix_s).await?,
    };
    call.declared = caller.declared.with_headers(fields.iter()).map_err(|name| {
        let message = format!("The header {name} stands there twice, or its value is not plain text of at most {STATED_BYTES_MAX} characters.");
        CallError::new(ErrorKind::BadRequest, "bad_header", message)
    })?;
    call.caller = Some(caller);
    Ok(())
}

async fn identify_afresh(
    core: &Core,
    peer: IpAddr,
    credential: Result<&str, IdentityError>,
    now_unix_s: u64,
) -> Result<Rc<Identity>, CallError> {
    let shared = &core.shared;
    let now_ms = shared.clock.unix_ms();
    if let Err(wait_s) = shared.identification.failures.check(peer, now_ms) {
        let message = "Too many credentials from this address were refused. Try again later, with a good one.";
        return Err(CallError::new(ErrorKind::RateLimited, "too_many_failures", message)
            .field("retry-after", wait_s.to_string()));
    }
    let generation = shared.verifier.generation();
    let identified = async {
        let token = credential?;
        let identity = shared.identification.identify(&shared.verifier, token, now_unix_s).await?;
        let identity = Rc::new(identity);
        core.tokens.borrow_mut().remember(token, &identity, generation, now_unix_s);
        Ok(identity)
    };
    let in_time = identified.or(async {
        rt::sleep(IDENTIFY_WITHIN).await;
        Err(IdentityError::IssuerUnavailable)
    });
    in_time.await.map_err(|error: IdentityError| {
        if error.is_ours() {
            return CallError::new(ErrorKind::Unavailable, error.code(), error.to_string()).field("retry-after", "1");
        }
        shared.identification.failures.failed(peer, now_ms);
        CallError::new(ErrorKind::Unauthorized, error.code(), error.to_string())
            .field("www-authenticate", error.challenge())
    })
}

/// Reads the whole body where the policy looks into it; `None` leaves it on the wire.
pub(super) async fn read_request(
    core: &Core,
    client: &mut Wire,
    call: &mut Call,
) -> Result<Option<Vec<u8>>, CallError> {
    if call.operation.is_none() || !call.policy.compiled.needs().request_body {
        return Ok(None);
    }
    let limits = &core.shared.config.listen.limits;
    if call.head.expects_continue && !call.body.is_done() && client.unread().is_empty() {
        client.socket.move_within(ANSWER_TIME);
        client.socket.write_all(CONTINUE).await.map_err(|cause| caller_left().because(cause))?;
    }
    client.socket.read_within(limits.body_timeout);
    let body = call.body.read_whole(client, limits.body_inspected_bytes).await;
    client.socket.never_times_out();
    let body = body.map_err(|error| body_error(&error))?;
    decode_request(call, body, limits.body_inspected_bytes).map(Some)
}

/// What is judged, masked and forwarded is what the coding hides; the upstream gets it without the coding.
fn decode_request(call: &mut Call, body: Vec<u8>, bytes_max: usize) -> Result<Vec<u8>, CallError> {
    let mut codings = call.head.fields.all("content-encoding");
    let coding = codings.next().map(|coding| String::from_utf8_lossy(coding).into_owned());
    if codings.next().is_some() {
        return Err(coding_error(&CodingError::Unknown("several".to_owned())));
    }
    let body = coding::decode_whole(coding.as_deref(), body, bytes_max).map_err(|error| coding_error(&error))?;
    call.decoded = coding.is_some();
    Ok(body)
}

fn coding_error(error: &CodingError) -> CallError {
    let (kind, code) = match error {
        CodingError::TooLarge(_) => (ErrorKind::TooLarge, "body_too_large"),
        CodingError::Unknown(_) => (ErrorKind::BadRequest, "content_coding"),
        CodingError::Invalid(_) => (ErrorKind::BadRequest, "malformed_body"),
    };
    let error = CallError::new(kind, code, format!("The request cannot be decoded: {error}."));
    // RFC 9110 §12.5.3: what would be taken.
    if code == "content_coding" { error.status(415).field("accept-encoding", "gzip, br, zstd, deflate") } else { error }
}

pub(super) fn body_error(error: &BodyError) -> CallError {
    match error {
        BodyError::TooLarge(bytes) => CallError::new(
            ErrorKind::TooLarge,
            "body_too_large",
            format!("The request body is larger than {bytes} bytes."),
        ),
        BodyError::TimedOut => {
            CallError::new(ErrorKind::Timeout, "body_timeout", "The request body did not arrive in time.")
        }
        BodyError::Truncated | BodyError::Io(_) => caller_left().because(error),
        BodyError::Chunked(_) => CallError::new(ErrorKind::BadRequest, "malformed_body", format!("{error}.")),
    }
}

pub(super) fn caller_left() -> CallError {
    CallError::new(ErrorKind::BadRequest, "caller_left", "The request ended before its body did.")
}

pub(super) fn decide(core: &Core, call: &mut Call, body: Option<&[u8]>) -> Result<(), CallError> {
    let (Some(caller), Some(route)) = (&call.caller, call.upstream.and_then(|index| core.routes.get(index))) else {
        return Err(CallError::new(ErrorKind::Internal, "internal", "The call has no caller or no route."));
    };
    if let (Some(operation), Some(_)) = (call.operation, body) {
        call.form = BodyForm::of_request(
            operation,
            call.head.fields.text("content-type").unwrap_or_default(),
            call.head.fields.text(JSON_BYTES_FIELD),
        )
        .map_err(|error| CallError::new(ErrorKind::BadRequest, "invalid_body", format!("{error}.")))?;
    }
    let judged = judge::judge(&Question {
        policy: &call.policy,
        operation: call.operation,
        form: &call.form,
        head: &call.head,
        peer: call.peer.ip(),
        caller,
        upstream: &route.config.name,
        body,
        declared: call.declared(),
        moment: core.shared.clock.moment(&core.shared.config.facts.zone),
        env: &core.shared.config.facts.env,
    })?;
    let verdict = judged.decision.verdict.clone();
    call.judged = Some(judged);
    match verdict {
        Verdict::Deny(denial) => {
            Err(CallError::new(ErrorKind::Forbidden, "denied_by_policy", denial.text).status(denial.status))
        }
        Verdict::Forward | Verdict::Pending(_) => Ok(()),
    }
}

/// An obligation that cannot be carried out denies (POLICY-LANGUAGE §4).
pub(super) fn make_plans(core: &Core, call: &Call) -> Result<Rc<Plans>, CallError> {
    let Some(judged) = &call.judged else { return Err(unmaskable("the call was not judged")) };
    let program = call.policy.compiled.program();
    let plans = core.plans.borrow_mut().get(program, &judged.decision.obligations).map_err(unmaskable)?;
    if judged.stream
        && let Some(rule) = call.operation.and_then(|operation| plans.response.stream_unmappable(operation))
    {
        return Err(CallError::new(
            ErrorKind::Forbidden,
            "cannot_stream",
            "The policy masks a part of this answer that cannot be found in a stream. Ask with \"stream\": false.",
        )
        .because(format!("rule {rule} has a path without a stream channel")));
    }
    Ok(plans)
}

/// The request after masking.
#[derive(Default)]
pub(super) struct MaskedRequest {
    /// Its body; `None` leaves it on the wire.
    pub(super) body: Option<Vec<u8>>,
    /// Of a body with a binary tail: the bytes of its JSON.
    pub(super) json_bytes: Option<usize>,
    /// The count of tokens was asked for in the caller's name.
    pub(super) strips_usage: bool,
    pub(super) hits: Vec<Hit>,
    /// How far each channel could be looked into.
    pub(super) coverage: Vec<ChannelCoverage>,
}

pub(super) fn mask_request(
    core: &Core,
    call: &Call,
    plans: &Plans,
    body: Option<&[u8]>,
) -> Result<MaskedRequest, CallError> {
    let (operation, body) = match (call.operation, body) {
        (Some(operation), Some(body)) => (operation, body),
        (_, None) if !plans.request.is_empty() => {
            return Err(unmaskable("the request's text cannot be found on this route"));
        }
        (_, body) => return Ok(MaskedRequest { body: body.map(<[u8]>::to_vec), ..MaskedRequest::default() }),
    };
    let redacted = redact::redact_request_as(operation, &call.form, &plans.request, body).map_err(unmaskable)?;
    let mut masked = MaskedRequest {
        body: Some(redacted.body.into_owned()),
        json_bytes: redacted.json_bytes,
        strips_usage: false,
        hits: redacted.hits,
        coverage: redacted.coverage,
    };
    let asks = call.upstream.and_then(|index| core.routes.get(index)).is_some_and(|route| route.config.count_tokens);
    // Only where the stream is looked into can the count be taken out of it again.
    let looks = !plans.response.is_empty() || call.keeps_payload();
    if asks
        && looks
        && call.judged.as_ref().is_some_and(|judged| judged.stream)
        && let Some(body) = &masked.body
        && let Some(asking) = dialect::with_usage(operation, body).map_err(unmaskable)?
    {
        masked.body = Some(asking);
        masked.strips_usage = true;
    }
    Ok(masked)
}

fn unmaskable(cause: impl std::fmt::Display) -> CallError {
    CallError::new(ErrorKind::Forbidden, "cannot_mask", "The policy masks text that cannot be masked in this call.")
        .because(cause)
}
