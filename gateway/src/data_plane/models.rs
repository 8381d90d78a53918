//! `GET /v1/models` where several upstreams serve models: each is asked in a call of its own, with its own INTENT and OUTCOME,
//! and what they list becomes one list. A model stands in it if a call for it would go to the upstream that lists it.

use std::rc::Rc;
use std::sync::Arc;

use audit_shipper::{EndedBy, Role};
use policy_compiler::dialect::{ErrorKind, Operation};
use policy_compiler::redact;
use serde_json::{Value, json};

use super::admit;
use super::answer;
use super::core::Core;
use super::deliver::upstream_error;
use super::error::CallError;
use super::exchange::{ANSWER_TIME, Admitted, After, Call, answer_error, ask, overloaded};
use super::http::{Body, Wire};
use super::record::OpenCall;
use super::upstream::{Choice, Route};

/// Bytes of the longest list that an upstream may send.
const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The upstreams to ask, if the call is one for a list that has to be put together.
pub(super) fn asked(call: &Call) -> Option<Vec<usize>> {
    if call.operation != Some(Operation::ListModels) || call.head_only() {
        return None;
    }
    let fitting = call.live.fleet.all_for(call.endpoint(), call.head.host());
    let names_models = |index: &usize| call.live.fleet.get(*index).is_some_and(|r| !r.config.matches.models.is_empty());
    (fitting.len() > 1 || fitting.iter().any(names_models)).then_some(fitting)
}

/// Asks all of them and answers the caller. One that fails is left out; if all do, the last failure is the answer.
pub(super) async fn list(
    core: &Rc<Core>,
    client: &mut Wire,
    call: &mut Call,
    admitted: &Admitted,
    upstreams: Vec<usize>,
) -> After {
    let mut models: Vec<Value> = Vec::new();
    let mut request_id = String::new();
    let mut failure = None;
    let mut answered = false;
    for index in upstreams {
        let Some(route) = call.live.fleet.get(index).cloned() else { continue };
        call.upstream = Some(index);
        // The upstream is a fact, so each is judged by itself; one that the caller may not use lists nothing to it.
        if admit::decide(core, call, None).is_err() {
            continue;
        }
        match ask_one(core, client, call, admitted, &route, &mut request_id).await {
            Ok(listed) => {
                answered = true;
                models.extend(listed.into_iter().filter(|model| goes_to(call, model, index)));
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) if !answered => answer_error(core, client, call, &error, &request_id).await,
        _ => answer(core, client, call, models, &request_id).await,
    }
}

async fn ask_one(
    core: &Rc<Core>,
    client: &mut Wire,
    call: &mut Call,
    admitted: &Admitted,
    route: &Arc<Route>,
    request_id: &mut String,
) -> Result<Vec<Value>, CallError> {
    let _counted = route.burden.begin_call(route.config.limits.in_flight).ok_or_else(overloaded)?;
    let (mut open, intent) = OpenCall::begin(core, call, admitted).await?;
    intent.await.map_err(CallError::no_evidence)?;
    if request_id.is_empty() {
        *request_id = open.id();
    }
    let connected = core.pool.checkout(route, &core.watchdog, &core.shared.metrics).await;
    let read = async {
        let (mut lease, head) = ask(core, client, call, admitted, &mut open, route, connected).await?;
        open.answer_began(head.status, &lease.server.authority, head.media_type());
        let mut body = Body::new(head.framing);
        lease.wire.socket.read_within(route.timeouts.first_byte);
        let raw = body.read_whole(&mut lease.wire, LIST_BYTES_MAX, |_, _| {}).await;
        let raw = raw.map_err(|error| {
            lease.blame(&core.shared.metrics);
            upstream_error(&error)
        })?;
        if head.keep_alive && body.is_done() {
            core.pool.give_back(lease, core.watchdog.now_ms());
        }
        if head.status != 200 {
            return Err(unusable(format!("status {}", head.status)));
        }
        masked(&mut open, call, admitted, &raw, &head.media_type()).await
    };
    match read.await {
        Ok(body) => {
            open.sent_bytes(body.len());
            open.close(EndedBy::Complete).await?;
            listed(&body)
        }
        Err(error) => {
            open.close_with_error(&error).await?;
            Err(error)
        }
    }
}

async fn masked(
    open: &mut OpenCall,
    call: &Call,
    admitted: &Admitted,
    raw: &[u8],
    media_type: &str,
) -> Result<Vec<u8>, CallError> {
    let plans = &admitted.plans;
    let (redacted, info) = redact::redact_answer(Operation::ListModels, &plans.response, raw).map_err(unusable)?;
    open.response_masked(&redacted.hits, &redacted.coverage);
    open.answered(&info);
    let body = redacted.body.into_owned();
    if call.keeps_payload() {
        let copy = redact::redact_answer(Operation::ListModels, &plans.recorded_response, &body).map_err(unusable)?;
        open.record_whole(Role::Response, &copy.0.body, media_type).await?;
    }
    Ok(body)
}

fn listed(body: &[u8]) -> Result<Vec<Value>, CallError> {
    let list: Value = serde_json::from_slice(body).map_err(unusable)?;
    match list.get("data") {
        Some(Value::Array(models)) => Ok(models.clone()),
        _ => Err(unusable("it has no array `data`")),
    }
}

/// Whether a call for the model would go to that upstream; so no model is listed twice either, unless its upstream does so.
fn goes_to(call: &Call, model: &Value, upstream: usize) -> bool {
    let Some(name) = model.get("id").and_then(Value::as_str) else { return false };
    let path = Operation::ChatCompletions.endpoint();
    call.live.fleet.choose(path, call.head.host(), Some(name)) == Choice::Upstream(upstream)
}

async fn answer(core: &Core, client: &mut Wire, call: &Call, models: Vec<Value>, request_id: &str) -> After {
    let body = json!({ "object": "list", "data": models }).to_string();
    let bytes = answer::json_answer(body.as_bytes(), request_id, call.says_close(core));
    client.socket.move_within(ANSWER_TIME);
    let written = client.socket.write_all(&bytes).await;
    client.socket.never_times_out();
    match written {
        Ok(()) if call.keeps_alive() => After::KeepAlive,
        _ => After::Close,
    }
}

fn unusable(cause: impl std::fmt::Display) -> CallError {
    let message = "The model server's list of models cannot be used.";
    CallError::new(ErrorKind::Upstream, "upstream_failed", message).because(cause)
}
