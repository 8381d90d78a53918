//! The steps before a call is let in, in their order: route, caller, body, decision, masks.

use std::rc::Rc;

use policy_compiler::dialect::{self, ChatRequest, ErrorKind, Operation};
use policy_compiler::redact::{self, ChannelCoverage, Hit};
use policy_lang::Verdict;

use super::answer::CONTINUE;
use super::core::Core;
use super::error::CallError;
use super::exchange::{ANSWER_TIME, Call};
use super::http::{BodyError, Framing, Wire};
use super::judge::{self, Question};
use super::pace::Pace;
use super::plans::Plans;
use super::upstream::Choice;
use crate::identity::IdentityError;

/// Unknown routes are refused: only an allow-list protects a model server's own unauthenticated routes (DIALECTS).
pub(super) fn find_route(call: &mut Call) -> Result<(), CallError> {
    let path = call.head.path();
    call.operation = dialect::route(&call.head.method, path);
    let normalised = call.operation.map_or(path, |operation| operation.endpoint());
    let fleet = &call.live.fleet;
    match fleet.choose(normalised, call.head.host(), None) {
        Choice::Upstream(index) => call.upstream = Some(index),
        Choice::ByModel if call.operation == Some(Operation::ChatCompletions) => {
            call.by_model = true;
            return Ok(());
        }
        // No model is named: any of those that fit will do.
        Choice::ByModel => call.upstream = fleet.all_for(normalised, call.head.host()).first().copied(),
        Choice::Nowhere => {}
    }
    let opaque = call.route().is_some_and(|route| route.config.opaque.iter().any(|open| open == path));
    if call.upstream.is_some() && (call.operation.is_some() || opaque) {
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

/// The token stands where SDKs put their API key.
pub(super) fn identify(core: &Core, call: &mut Call) -> Result<(), CallError> {
    let fields = &call.head.fields;
    let bearer = fields.text("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let token = bearer.or_else(|| fields.text("x-api-key")).or_else(|| fields.text("api-key"));
    // `call.origin.certificates` is the verified chain of the caller's TLS connection: where a certificate is to name a caller,
    // this is the line that turns it into one.
    let identified = match token {
        Some(token) => core.tokens.borrow_mut().identify(&core.shared.verifier, token, core.shared.clock.unix_s()),
        None => Err(IdentityError::Missing),
    };
    match identified {
        Ok(caller) => {
            call.caller = Some(caller);
            Ok(())
        }
        Err(error) => {
            if matches!(error, IdentityError::UnknownKey) {
                core.shared.verifier.request_refresh();
            }
            // RFC 6750 §3: no error code when no token was sent.
            let challenge = match error {
                IdentityError::Missing => "Bearer realm=\"sallyport\"".to_owned(),
                _ => format!("Bearer realm=\"sallyport\", error=\"invalid_token\", error_description=\"{error}\""),
            };
            let code = if matches!(error, IdentityError::Missing) { "missing_token" } else { "invalid_token" };
            let mut message = error.to_string();
            if matches!(error, IdentityError::Missing) && call.origin.certificates.is_some() {
                message.push_str("; a client certificate alone names no caller here");
            }
            Err(CallError::new(ErrorKind::Unauthorized, code, message).field("www-authenticate", challenge))
        }
    }
}

/// Reads the whole body where the policy looks into it; `None` leaves it on the wire.
pub(super) async fn read_request(
    core: &Core,
    client: &mut Wire,
    call: &mut Call,
) -> Result<Option<Vec<u8>>, CallError> {
    let live = Rc::clone(&call.live);
    let limits = &live.config.listen.limits;
    let wanted = call.by_model || call.policy.compiled.needs().request_body;
    if call.operation.is_none() || !wanted {
        return match (call.head.framing, limits.body_bytes) {
            (Framing::Length(length), Some(max)) if length > max => Err(too_large(max)),
            _ => Ok(None),
        };
    }
    if call.head.expects_continue && !call.body.is_done() && client.unread().is_empty() {
        client.socket.move_within(ANSWER_TIME);
        client.socket.write_all(CONTINUE).await.map_err(|cause| caller_left().because(cause))?;
    }
    let pace = Pace::new(core.watchdog.now_ms());
    let body = call
        .body
        .read_whole(client, limits.body_inspected_bytes, |client, got| {
            client.socket.read_within(pace.patience(limits, got as u64, core.watchdog.now_ms()));
        })
        .await;
    client.socket.never_times_out();
    match body {
        Ok(body) => Ok(Some(body)),
        Err(error) => Err(body_error(&error)),
    }
}

pub(super) fn body_error(error: &BodyError) -> CallError {
    match error {
        BodyError::TooLarge(bytes) => too_large(*bytes as u64),
        BodyError::TimedOut => {
            CallError::new(ErrorKind::Timeout, "body_timeout", "The request body did not arrive in time.")
        }
        BodyError::Truncated | BodyError::Io(_) => caller_left().because(error),
        BodyError::Chunked(_) => CallError::new(ErrorKind::BadRequest, "malformed_body", format!("{error}.")),
    }
}

/// Longer than it may be.
pub(super) fn too_large(bytes_max: u64) -> CallError {
    let message = format!("The request body is larger than {bytes_max} bytes.");
    CallError::new(ErrorKind::TooLarge, "body_too_large", message)
}

pub(super) fn caller_left() -> CallError {
    CallError::new(ErrorKind::BadRequest, "caller_left", "The request ended before its body did.")
}

pub(super) fn decide(core: &Core, call: &mut Call, body: Option<&[u8]>) -> Result<(), CallError> {
    if call.by_model {
        choose_by_model(call, body)?;
    }
    let (Some(caller), Some(route)) = (&call.caller, call.route()) else {
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

/// The upstream is a fact of the policy, so it is chosen before the policy judges.
fn choose_by_model(call: &mut Call, body: Option<&[u8]>) -> Result<(), CallError> {
    let request = ChatRequest::parse(body.unwrap_or_default())
        .map_err(|error| CallError::new(ErrorKind::BadRequest, "invalid_body", error.to_string()))?;
    match call.live.fleet.choose(call.endpoint(), call.head.host(), Some(request.model())) {
        Choice::Upstream(index) => call.upstream = Some(index),
        Choice::ByModel | Choice::Nowhere => {
            let message = "No model server here serves this model; GET /v1/models lists those that are.";
            return Err(CallError::new(ErrorKind::NotFound, "model_not_found", message));
        }
    }
    Ok(())
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
