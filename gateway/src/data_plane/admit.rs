//! The steps before a call is let in, in their order: route, caller, body, decision, masks.

use std::borrow::Cow;
use std::rc::Rc;

use futures_lite::FutureExt as _;
use policy_compiler::dialect::{self, BodyForm, ErrorKind, Operation, Request};
use policy_compiler::redact::{self, ChannelCoverage, Hit};
use policy_lang::Verdict;

use super::answer::{CONTINUE, JSON_BYTES_FIELD};
use super::arrival::Origin;
use super::coding::{self, CodingError};
use super::core::Core;
use super::error::CallError;
use super::exchange::{ANSWER_TIME, Call};
use super::http::{BodyError, Framing, Wire};
use super::judge::{self, Question};
use super::limit;
use super::models;
use super::pace::Pace;
use super::plans::Plans;
use super::response_rules::cannot_stream;
use super::rt;
use super::upstream::Choice;
use crate::config::CertificateTrust;
use crate::identity::{IDENTIFY_WITHIN, IdentityError, KnownCaller, STATED_BYTES_MAX, presented};

/// Unknown routes are refused: only an allow-list protects a model server's own unauthenticated routes (DIALECTS). Path and host
/// choose the upstream, then the model where several are left; what is served there is for the upstream's own dialect to say.
pub(super) fn find_route(call: &mut Call) -> Result<(), CallError> {
    let upstream = match choose(call, None) {
        Choice::Upstream(index) => Some(index),
        Choice::ByModel => match ask_for_model(call) {
            ByModel::Upstream(index) => Some(index),
            ByModel::InBody(operation) => {
                call.operation = Some(operation);
                call.by_model = true;
                return Ok(());
            }
            ByModel::Unknown => return Err(model_not_found()),
        },
        Choice::Nowhere => None,
    };
    call.upstream = upstream;
    call.operation = upstream.and_then(|index| operation_at(call, index));
    let opaque = upstream.is_some_and(|index| is_open(call, index));
    if upstream.is_some() && (call.operation.is_some() || opaque) {
        return Ok(());
    }
    let method = call.route().and_then(|route| route.config.dialect.method_of(call.head.path()));
    if let Some(method) = method.filter(|_| call.operation.is_none()) {
        let message = format!("{} is not served on this route; use {method}.", call.head.method);
        let error = CallError::new(ErrorKind::MethodNotAllowed, "method_not_allowed", message);
        return Err(error.field("allow", method));
    }
    Err(unknown_route())
}

fn unknown_route() -> CallError {
    let message = "This route is not served here: it is none of the APIs that this gateway can look into.";
    CallError::new(ErrorKind::NotFound, "unknown_route", message)
}

fn model_not_found() -> CallError {
    let message = "No model server here serves this model; GET /v1/models lists those that are.";
    CallError::new(ErrorKind::NotFound, "model_not_found", message)
}

/// The path as upstreams are matched by it.
fn matched_path(call: &Call) -> Cow<'_, str> {
    let path = call.head.path();
    dialect::normalised_path(path).map_or(Cow::Borrowed(path), Cow::Owned)
}

fn choose(call: &Call, model: Option<&str>) -> Choice {
    call.live.fleet.choose(&matched_path(call), call.head.host(), model)
}

/// What the call is in the dialect of that upstream.
fn operation_at(call: &Call, upstream: usize) -> Option<Operation> {
    call.live.fleet.get(upstream)?.config.dialect.route(&call.head.method, call.head.path())
}

fn is_open(call: &Call, upstream: usize) -> bool {
    let path = call.head.path();
    call.live.fleet.get(upstream).is_some_and(|route| route.config.opaque.iter().any(|open| open == path))
}

/// What is known without the body of a call whose model chooses the upstream.
enum ByModel {
    /// The path names the model, or no model is named: then any upstream that fits will do.
    Upstream(usize),
    /// The body names it.
    InBody(Operation),
    /// No upstream serves the model of the path.
    Unknown,
}

fn ask_for_model(call: &Call) -> ByModel {
    let fitting = call.live.fleet.all_for(&matched_path(call), call.head.host());
    let served = || fitting.iter().filter_map(|index| Some((*index, operation_at(call, *index)?)));
    if let Some(model) = served().find_map(|(_, operation)| dialect::model_in_path(operation, call.head.path())) {
        return match choose(call, Some(&model)) {
            Choice::Upstream(index) => ByModel::Upstream(index),
            Choice::ByModel | Choice::Nowhere => ByModel::Unknown,
        };
    }
    if let Some((_, operation)) = served().find(|(_, operation)| models::may_name_a_model(*operation)) {
        return ByModel::InBody(operation);
    }
    let any = served().map(|(index, _)| index).next();
    let open = || fitting.iter().copied().find(|index| is_open(call, *index));
    any.or_else(open).or(fitting.first().copied()).map_or(ByModel::Unknown, ByModel::Upstream)
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
        None => identify_afresh(core, &call.origin, credential, now_unix_s).await?,
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
    origin: &Origin,
    credential: Result<&[u8], IdentityError>,
    now_unix_s: u64,
) -> Result<Rc<KnownCaller>, CallError> {
    let shared = &core.shared;
    let (peer, now_ms) = (origin.peer.ip(), shared.clock.unix_ms());
    let trust = &shared.config.identity.certificates;
    let certificate = origin.certificates.as_ref().and_then(|chain| chain.first());
    if credential == Err(IdentityError::Missing) && (certificate.is_none() || *trust == CertificateTrust::default()) {
        // Nothing is tried, so it is no failure of the address: others behind it may know better.
        let mut message = IdentityError::Missing.to_string();
        if certificate.is_some() {
            message.push_str("; a client certificate alone names no caller here");
        }
        return Err(unauthorized(&IdentityError::Missing, message));
    }
    if let Err(wait_s) = shared.identification.failures.check(peer, now_ms) {
        let message = "Too many credentials from this address were refused. Try again later, with a good one.";
        return Err(CallError::new(ErrorKind::RateLimited, "too_many_failures", message)
            .field("retry-after", wait_s.to_string()));
    }
    let generation = shared.verifier.generation();
    let identified = async {
        // A token comes before a certificate: it says more of who calls.
        let token = match (credential, certificate) {
            (Err(IdentityError::Missing), Some(der)) => {
                return shared.verifier.certified(der, trust, now_unix_s).map(KnownCaller::new);
            }
            (credential, _) => credential?,
        };
        let identity = shared.identification.identify(&shared.verifier, token, now_unix_s).await?;
        let identity = KnownCaller::new(identity);
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
        unauthorized(&error, error.to_string())
    })
}

fn unauthorized(error: &IdentityError, message: String) -> CallError {
    CallError::new(ErrorKind::Unauthorized, error.code(), message).field("www-authenticate", error.challenge())
}

/// Reads the whole body where the policy looks into it; `None` leaves it on the wire.
pub(super) async fn read_request(
    core: &Core,
    client: &mut Wire,
    call: &mut Call,
) -> Result<Option<Vec<u8>>, CallError> {
    let live = Rc::clone(&call.live);
    let limits = &live.config.listen.limits;
    if call.operation.is_none()
        || !(call.by_model || call.question(core, None).is_none_or(|question| judge::needs_body(&question)))
    {
        return match (call.head.framing, limits.body_bytes) {
            (Framing::Length(length), Some(max)) if length > max => Err(too_large(max)),
            _ => Ok(None),
        };
    }
    read_body(core, client, call).await.map(Some)
}

/// Reads the whole body, whatever the policy looks into.
pub(super) async fn read_body(core: &Core, client: &mut Wire, call: &mut Call) -> Result<Vec<u8>, CallError> {
    let live = Rc::clone(&call.live);
    let limits = &live.config.listen.limits;
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
    let body = body.map_err(|error| body_error(&error))?;
    decode_request(call, body, limits.body_inspected_bytes)
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
    if let (Some(operation), Some(_)) = (call.operation, body) {
        call.form = form_of(call, operation)?;
    }
    let Some(question) = call.question(core, body) else {
        return Err(CallError::new(ErrorKind::Internal, "internal", "The call has no caller or no route."));
    };
    let judged = judge::judge(&question)?;
    if core.is_sampled() {
        call.look_again = Some(body.map(<[u8]>::to_vec));
    }
    let verdict = judged.decision.verdict.clone();
    call.judged = Some(judged);
    match verdict {
        Verdict::Deny(denial) => {
            Err(CallError::new(ErrorKind::Forbidden, "denied_by_policy", denial.text).status(denial.status))
        }
        Verdict::Forward | Verdict::Pending(_) => Ok(()),
    }
}

/// Judges a sampled call by native code and interpreter, once it has its answer: it is not to wait for that.
pub(super) fn look_again(core: &Core, call: &mut Call) {
    let Some(body) = call.look_again.take() else { return };
    if let Some(question) = call.question(core, body.as_deref()) {
        // What comes of it is counted and told by the second opinion; the call is over.
        let _ = judge::judge(&Question { second_opinion: Some(&core.shared.second_opinion), ..question });
    }
}

/// The upstream is a fact of the policy, so it is chosen before the policy judges. Each dialect that may be meant reads its own
/// model; the upstream must be one that speaks that dialect.
fn choose_by_model(call: &mut Call, body: Option<&[u8]>) -> Result<(), CallError> {
    let mut operations: Vec<(usize, Operation)> = Vec::new();
    for index in call.live.fleet.all_for(&matched_path(call), call.head.host()) {
        if let Some(operation) = operation_at(call, index)
            && operations.iter().all(|(_, other)| *other != operation)
        {
            operations.push((index, operation));
        }
    }
    let mut unread = None;
    let mut readable = false;
    for (first, operation) in operations {
        let form = form_of(call, operation)?;
        let request = match Request::parse(operation, &form, body.unwrap_or_default()) {
            Ok(request) => request,
            Err(error) => {
                unread = Some(CallError::new(ErrorKind::BadRequest, "invalid_body", error.to_string()));
                continue;
            }
        };
        readable = true;
        let chosen = match choose(call, Some(request.model())) {
            Choice::Upstream(index) if operation_at(call, index) == Some(operation) => index,
            // No model is named: any of those that fit will do.
            _ if request.model().is_empty() && !models::names_a_model(operation) => first,
            _ => continue,
        };
        call.upstream = Some(chosen);
        call.operation = Some(operation);
        return Ok(());
    }
    match unread {
        Some(error) if !readable => Err(error),
        _ => Err(model_not_found()),
    }
}

fn form_of(call: &Call, operation: Operation) -> Result<BodyForm, CallError> {
    let fields = &call.head.fields;
    BodyForm::of_request(operation, fields.text("content-type").unwrap_or_default(), fields.text(JSON_BYTES_FIELD))
        .map_err(|error| CallError::new(ErrorKind::BadRequest, "invalid_body", format!("{error}.")))
}

/// An obligation that cannot be carried out denies (POLICY-LANGUAGE §4).
pub(super) fn make_plans(core: &Core, call: &Call) -> Result<Rc<Plans>, CallError> {
    let Some(judged) = &call.judged else { return Err(unmaskable("the call was not judged")) };
    let plans = core.plans.borrow_mut().get(&call.policy, &judged.decision.obligations).map_err(unmaskable)?;
    if judged.stream
        && let Some(rule) = call.operation.and_then(|operation| plans.response.stream_unmappable(operation))
    {
        return Err(cannot_stream(rule));
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

pub(super) fn mask_request(call: &Call, plans: &Plans, body: Option<&[u8]>) -> Result<MaskedRequest, CallError> {
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
    let asks = call.route().is_some_and(|route| route.config.count_tokens);
    // Only where the stream is looked into can the count be taken out of it again.
    let looks = !plans.response.is_empty()
        || call.keeps_payload()
        || limit::counts_tokens(call)
        || plans.restoring().is_some()
        || call.policy.compiled.judges_answers();
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
