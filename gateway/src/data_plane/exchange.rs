//! The life of a call, top to bottom.
//!
//! ```text
//! head → dialect → caller → body (what the policy needs) → decision ── deny ──→ REFUSAL durable → error in the API's shape
//!                                                             │ allow + obligations
//!      → mask request → approval → INTENT durable ‖ connect → forward → answer masked as it comes
//!      → its end held until OUTCOME is durable → deliver
//! ```

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use audit_shipper::Moment;
use futures_lite::future::zip;
use policy_compiler::dialect::{self, ErrorKind, Operation};
use policy_compiler::redact::{self, ChannelCoverage, Hit};
use policy_lang::{RecordLevel, RuleId, Verdict};

use super::answer::{self, CONTINUE};
use super::approval::{Parked, approve};
use super::core::Core;
use super::deliver;
use super::error::CallError;
use super::forward::{self, Forwarded};
use super::http::{Body, BodyError, Framing, RequestHead, ResponseHead, Wire};
use super::judge::{self, Judged, Question};
use super::plans::Plans;
use super::record::{self, OpenCall};
use super::trace::TraceContext;
use super::upstream::{self, Target};
use crate::approvals::ApprovalRef;
use crate::identity::{Identity, IdentityError};
use crate::policy_slot::ActivePolicy;

/// What becomes of the caller's connection.
pub(super) enum After {
    KeepAlive,
    Close,
    /// Closed with bytes of the request unread.
    Linger,
}

/// What is known of a call; it grows on its way.
pub(super) struct Call {
    pub(super) head: RequestHead,
    pub(super) peer: SocketAddr,
    pub(super) policy: Arc<ActivePolicy>,
    pub(super) trace: TraceContext,
    pub(super) started: Moment,
    pub(super) operation: Option<Operation>,
    pub(super) upstream: Option<usize>,
    pub(super) caller: Option<Rc<Identity>>,
    pub(super) judged: Option<Judged>,
    /// What is left of the request on the wire.
    body: Body,
}

/// A call that may go to the model.
pub(super) struct Admitted {
    pub(super) plans: Rc<Plans>,
    /// The masked body; `None` streams the request through unread.
    pub(super) body: Option<Vec<u8>>,
    pub(super) request_hits: Vec<Hit>,
    pub(super) request_coverage: Vec<ChannelCoverage>,
    pub(super) approval: Option<ApprovalRef>,
    pub(super) raw_digest: Option<[u8; 32]>,
}

/// Carries one call from its head to its end.
pub(super) async fn run(core: &Rc<Core>, client: &mut Wire, peer: SocketAddr, head: RequestHead) -> After {
    let mut call = Call::new(core, peer, head);
    match admit(core, client, &mut call).await {
        Ok(admitted) => pass(core, client, &mut call, admitted).await,
        Err(error) => refuse(core, client, &call, error).await,
    }
}

/// Everything that can refuse a call before it is written down as let in.
async fn admit(core: &Rc<Core>, client: &mut Wire, call: &mut Call) -> Result<Admitted, CallError> {
    find_route(core, call)?;
    identify(core, call)?;
    let body = read_request(core, client, call).await?;
    decide(core, call, body.as_deref())?;
    let plans = make_plans(core, call)?;
    let (masked, request_hits, request_coverage) = mask_request(call, &plans, body.as_deref())?;
    let approval = approve(core, client, call, Parked { raw: body.as_deref(), masked: masked.as_deref() }).await?;
    let raw_digest = body.as_deref().map(record::sha256);
    Ok(Admitted { plans, body: masked, request_hits, request_coverage, approval, raw_digest })
}

/// INTENT, upstream, answer, OUTCOME.
async fn pass(core: &Rc<Core>, client: &mut Wire, call: &mut Call, admitted: Admitted) -> After {
    let Some(route) = call.upstream.and_then(|index| core.routes.get(index)) else { return After::Close };
    let (mut open, intent) = match OpenCall::begin(core, call, &admitted).await {
        Ok(opened) => opened,
        Err(error) => return refuse(core, client, call, error).await,
    };
    let limits = &core.shared.config.listen.limits;
    let connect = core.pool.checkout(&route.targets, limits.connect, limits.upstream_idle, &core.watchdog);
    let (durable, connected) = zip(intent, connect).await;
    if let Err(error) = durable {
        // The caller hears what the log could not; nothing was sent.
        return answer_error(client, call, &CallError::no_evidence(error), "").await;
    }
    let sent = match connected {
        Ok((mut wire, target)) => {
            match send_request(core, client, &mut wire, &target, call, &admitted, &mut open).await {
                Ok(()) => Ok((wire, target)),
                Err(error) => Err(error),
            }
        }
        Err(cause) => Err(CallError::new(
            ErrorKind::Upstream,
            "upstream_unreachable",
            "The model server cannot be reached now. Nothing was sent to it; try again.",
        )
        .because(cause)),
    };
    let answered = match sent {
        Ok((mut wire, target)) => read_head(core, &mut wire, call).await.map(|head| (wire, target, head)),
        Err(error) => Err(error),
    };
    match answered {
        Ok((wire, target, head)) => deliver::deliver(core, client, wire, target, head, call, &admitted, open).await,
        Err(error) => {
            let request_id = open.id();
            match open.close_with_error(&error).await {
                Ok(()) => answer_error(client, call, &error, &request_id).await,
                Err(no_evidence) => answer_error(client, call, &no_evidence, &request_id).await,
            }
        }
    }
}

impl Call {
    fn new(core: &Core, peer: SocketAddr, head: RequestHead) -> Self {
        Self {
            body: Body::new(head.framing),
            trace: TraceContext::of(&head),
            policy: core.policy(),
            started: Moment::now(),
            operation: None,
            upstream: None,
            caller: None,
            judged: None,
            peer,
            head,
        }
    }

    /// Whether the caller may send a next request on this connection.
    pub(super) fn keeps_alive(&self) -> bool {
        self.head.keep_alive && self.body.is_done()
    }

    pub(super) fn rule_names(&self, rules: &[RuleId]) -> Vec<String> {
        let program = self.policy.compiled.program();
        rules.iter().filter_map(|rule| program.rules.get(rule.0 as usize)).map(|rule| rule.name.clone()).collect()
    }

    /// The operation's normalised path, or the path as sent on an opaque route.
    pub(super) fn endpoint(&self) -> &str {
        self.operation.map_or(self.head.path(), |operation| operation.endpoint())
    }

    pub(super) fn head_only(&self) -> bool {
        self.head.method == "HEAD"
    }
}

/// Unknown routes are refused: only an allow-list protects a model server's own unauthenticated routes (DIALECTS).
fn find_route(core: &Core, call: &mut Call) -> Result<(), CallError> {
    let path = call.head.path();
    call.operation = dialect::route(&call.head.method, path);
    let normalised = call.operation.map_or(path, |operation| operation.endpoint());
    call.upstream = upstream::choose(&core.routes, normalised);
    let upstream = call.upstream.and_then(|index| core.routes.get(index));
    let opaque = upstream.is_some_and(|route| route.config.opaque.iter().any(|open| open == path));
    if upstream.is_some() && (call.operation.is_some() || opaque) {
        return Ok(());
    }
    let (kind, code, message) = if dialect::route("POST", path).or_else(|| dialect::route("GET", path)).is_some() {
        (ErrorKind::MethodNotAllowed, "method_not_allowed", format!("{} is not served on this route.", call.head.method))
    } else {
        (ErrorKind::NotFound, "unknown_route", "This route is not served here. Served: POST /v1/chat/completions, GET /v1/models.".to_owned())
    };
    Err(CallError::new(kind, code, message))
}

/// The token stands where SDKs put their API key.
fn identify(core: &Core, call: &mut Call) -> Result<(), CallError> {
    let fields = &call.head.fields;
    let bearer = fields.text("authorization").and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let token = bearer.or_else(|| fields.text("x-api-key")).or_else(|| fields.text("api-key"));
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
            Err(CallError::new(ErrorKind::Unauthorized, code, error.to_string()).field("www-authenticate", challenge))
        }
    }
}

/// Reads the whole body where the policy looks into it; `None` leaves it on the wire.
async fn read_request(core: &Core, client: &mut Wire, call: &mut Call) -> Result<Option<Vec<u8>>, CallError> {
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

fn body_error(error: &BodyError) -> CallError {
    match error {
        BodyError::TooLarge(bytes) => {
            CallError::new(ErrorKind::TooLarge, "body_too_large", format!("The request body is larger than {bytes} bytes."))
        }
        BodyError::TimedOut => CallError::new(ErrorKind::Timeout, "body_timeout", "The request body did not arrive in time."),
        BodyError::Truncated | BodyError::Io(_) => caller_left().because(error),
        BodyError::Chunked(_) => CallError::new(ErrorKind::BadRequest, "malformed_body", format!("{error}.")),
    }
}

pub(super) fn caller_left() -> CallError {
    CallError::new(ErrorKind::BadRequest, "caller_left", "The request ended before its body did.")
}

fn decide(core: &Core, call: &mut Call, body: Option<&[u8]>) -> Result<(), CallError> {
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
fn make_plans(core: &Core, call: &Call) -> Result<Rc<Plans>, CallError> {
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
type MaskedRequest = (Option<Vec<u8>>, Vec<Hit>, Vec<ChannelCoverage>);

fn mask_request(call: &Call, plans: &Plans, body: Option<&[u8]>) -> Result<MaskedRequest, CallError> {
    match (call.operation, body) {
        (Some(Operation::ChatCompletions), Some(body)) => {
            let redacted = redact::redact_request(Operation::ChatCompletions, &plans.request, body).map_err(unmaskable)?;
            Ok((Some(redacted.body), redacted.hits, redacted.coverage))
        }
        (_, None) if !plans.request.is_empty() => Err(unmaskable("the request's text cannot be found on this route")),
        (_, body) => Ok((body.map(<[u8]>::to_vec), Vec::new(), Vec::new())),
    }
}

fn unmaskable(cause: impl std::fmt::Display) -> CallError {
    CallError::new(ErrorKind::Forbidden, "cannot_mask", "The policy masks text that cannot be masked in this call.").because(cause)
}

async fn send_request(
    core: &Core,
    client: &mut Wire,
    wire: &mut Wire,
    target: &Target,
    call: &mut Call,
    admitted: &Admitted,
    open: &mut OpenCall,
) -> Result<(), CallError> {
    let limits = &core.shared.config.listen.limits;
    let credential = call
        .upstream
        .and_then(|index| core.routes.get(index))
        .and_then(|route| route.config.credential.as_ref())
        .map(|credential| (credential.header.as_str(), credential.value.expose()));
    let framing = match &admitted.body {
        Some(body) => Framing::Length(body.len() as u64),
        None => call.head.framing,
    };
    let mut bytes = forward::request_head(
        &call.head,
        &Forwarded {
            authority: &target.authority,
            request_id: &open.id(),
            client: call.peer.ip(),
            credential,
            traceparent: &call.trace.header,
            framing,
            identity_only: call.operation.is_some(),
        },
    );
    wire.socket.move_within(limits.stream_idle);
    let failed = |cause: &dyn std::fmt::Display| {
        CallError::new(ErrorKind::Upstream, "upstream_failed", "The model server closed the connection while it got the request.")
            .because(cause)
    };
    if let Some(body) = &admitted.body {
        bytes.extend_from_slice(body);
        return wire.socket.write_all(&bytes).await.map_err(|cause| failed(&cause));
    }
    wire.socket.write_all(&bytes).await.map_err(|cause| failed(&cause))?;
    if call.head.expects_continue && !call.body.is_done() && client.unread().is_empty() {
        client.socket.write_all(CONTINUE).await.map_err(|cause| caller_left().because(cause))?;
    }
    let mut piece = Vec::new();
    let mut coded = Vec::new();
    loop {
        piece.clear();
        client.socket.read_within(limits.body_timeout);
        let more = call.body.read_some(client, &mut piece).await.map_err(|error| body_error(&error))?;
        client.socket.never_times_out();
        open.streamed_request(&piece);
        let out = if framing == Framing::Chunked {
            coded.clear();
            super::http::write_chunk(&mut coded, &piece);
            if !more {
                coded.extend_from_slice(super::http::LAST_CHUNK);
            }
            &coded
        } else {
            &piece
        };
        wire.socket.move_within(limits.stream_idle);
        wire.socket.write_all(out).await.map_err(|cause| failed(&cause))?;
        if !more {
            return Ok(());
        }
    }
}

/// Waits for the final head of the answer; interim ones (RFC 9110 §15.2) are taken in silence.
async fn read_head(core: &Core, wire: &mut Wire, call: &Call) -> Result<ResponseHead, CallError> {
    wire.socket.read_within(core.shared.config.listen.limits.first_byte);
    let failed = |cause: &dyn std::fmt::Display| {
        CallError::new(ErrorKind::Upstream, "upstream_failed", "The model server did not answer properly.").because(cause)
    };
    loop {
        match ResponseHead::parse(wire.unread(), call.head_only()) {
            Ok(Some((head, length))) => {
                wire.consume(length);
                if head.status == 101 {
                    return Err(failed(&"it switched protocols unasked"));
                }
                if !head.is_interim() {
                    return Ok(head);
                }
                continue;
            }
            Ok(None) => {}
            Err(error) => return Err(failed(&error)),
        }
        match wire.fill().await {
            Ok(1..) => {}
            _ if wire.socket.timed_out() => {
                let message = "The model server did not begin to answer in time.";
                return Err(CallError::new(ErrorKind::UpstreamTimeout, "upstream_timeout", message));
            }
            Ok(_) => return Err(failed(&"it closed the connection without an answer")),
            Err(cause) => return Err(failed(&cause)),
        }
    }
}

/// Writes the refusal down, then tells the caller.
async fn refuse(core: &Core, client: &mut Wire, call: &Call, error: CallError) -> After {
    core.shared.metrics.refused(error.status);
    match record::refusal(core, call, &error).await {
        Ok(request_id) => answer_error(client, call, &error, &request_id).await,
        Err(no_evidence) => answer_error(client, call, &no_evidence, "").await,
    }
}

/// A head that could not be read is a refusal too, by an unknown caller.
pub(super) async fn refuse_malformed(core: &Core, client: &mut Wire, peer: SocketAddr, error: CallError) {
    core.shared.metrics.refused(error.status);
    let (error, request_id) = match record::malformed(core, peer, &error).await {
        Ok(request_id) => (error, request_id),
        Err(no_evidence) => (no_evidence, String::new()),
    };
    let answer = answer::error_answer(&error, &request_id, true, false);
    client.socket.move_within(ANSWER_TIME);
    // Nobody is left to tell when this fails.
    let _ = client.socket.write_all(&answer).await;
}

/// For writing a short answer.
const ANSWER_TIME: Duration = Duration::from_secs(10);

pub(super) async fn answer_error(client: &mut Wire, call: &Call, error: &CallError, request_id: &str) -> After {
    let keep_alive = call.keeps_alive();
    let answer = answer::error_answer(error, request_id, !keep_alive, call.head_only());
    client.socket.move_within(ANSWER_TIME);
    let written = client.socket.write_all(&answer).await;
    client.socket.never_times_out();
    match written {
        Ok(()) if keep_alive => After::KeepAlive,
        Ok(()) => After::Linger,
        Err(_) => After::Close,
    }
}

/// Whether the payload is kept.
pub(super) fn keeps_payload(call: &Call) -> bool {
    call.operation.is_some()
        && call.judged.as_ref().is_some_and(|judged| judged.decision.obligations.record == RecordLevel::Full)
}
