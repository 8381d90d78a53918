//! The steps before a call is let in, in their order: route, caller, body, decision, masks.

use std::net::IpAddr;
use std::rc::Rc;

use futures_lite::FutureExt as _;
use policy_compiler::dialect::{self, ErrorKind, Operation};
use policy_compiler::redact::{self, ChannelCoverage, Hit};
use policy_lang::Verdict;

use super::answer::CONTINUE;
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
    call.operation = dialect::route(&call.head.method, path);
    let normalised = call.operation.map_or(path, |operation| operation.endpoint());
    call.upstream = upstream::choose(&core.routes, normalised);
    let upstream = call.upstream.and_then(|index| core.routes.get(index));
    let opaque = upstream.is_some_and(|route| route.config.opaque.iter().any(|open| open == path));
    if upstream.is_some() && (call.operation.is_some() || opaque) {
        return Ok(());
    }
    if let Some(method) = dialect::method_of(path).filter(|_| call.operation.is_none()) {
        let message = format!("{} is not served on this route; use {method}.", call.head.method);
        let error = CallError::new(ErrorKind::MethodNotAllowed, "method_not_allowed", message);
        return Err(error.field("allow", method));
    }
    let message = "This route is not served here. Served: POST /v1/chat/completions, GET /v1/models.";
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
    match body {
        Ok(body) => Ok(Some(body)),
        Err(error) => Err(body_error(&error)),
    }
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
    let judged = judge::judge(&Question {
        policy: &call.policy,
        operation: call.operation,
        head: &call.head,
        peer: call.peer.ip(),
        caller,
        upstream: &route.config.name,
        body,
        hour: i64::try_from(core.shared.clock.unix_s() / 3600 % 24).unwrap_or_default(),
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
        && let Some(rule) = plans.response.stream_unmappable()
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

/// The masked body, what was masked, and how far each channel could be looked into.
pub(super) type MaskedRequest = (Option<Vec<u8>>, Vec<Hit>, Vec<ChannelCoverage>);

pub(super) fn mask_request(call: &Call, plans: &Plans, body: Option<&[u8]>) -> Result<MaskedRequest, CallError> {
    match (call.operation, body) {
        (Some(Operation::ChatCompletions), Some(body)) => {
            let redacted =
                redact::redact_request(Operation::ChatCompletions, &plans.request, body).map_err(unmaskable)?;
            Ok((Some(redacted.body.into_owned()), redacted.hits, redacted.coverage))
        }
        (_, None) if !plans.request.is_empty() => Err(unmaskable("the request's text cannot be found on this route")),
        (_, body) => Ok((body.map(<[u8]>::to_vec), Vec::new(), Vec::new())),
    }
}

fn unmaskable(cause: impl std::fmt::Display) -> CallError {
    CallError::new(ErrorKind::Forbidden, "cannot_mask", "The policy masks text that cannot be masked in this call.")
        .because(cause)
}
