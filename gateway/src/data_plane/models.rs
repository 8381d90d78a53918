//! `GET /v1/models`: each upstream that serves the path is asked in a call of its own, with its own INTENT and OUTCOME, and what
//! they list becomes one list. A model stands in it if a call for it would go to the upstream that lists it, and the caller
//! could use it as far as that shows without a body (DECISIONS 19). A single list of which nothing is taken passes as it came.

use std::rc::Rc;
use std::sync::Arc;

use audit_shipper::{EndedBy, Role};
use policy_compiler::dialect::{BodyForm, ErrorKind, Operation};
use policy_compiler::redact;
use serde_json::{Value, json};

use super::admit;
use super::answer;
use super::core::Core;
use super::deliver::upstream_error;
use super::error::CallError;
use super::exchange::{ANSWER_TIME, Admitted, After, Call, answer_error, ask, count_limit, overloaded, refuse};
use super::http::{Body, RequestHead, Wire};
use super::judge::{self, Question};
use super::record::OpenCall;
use super::response_rules::AnswerRules;
use super::upstream::{Choice, Route};

/// Bytes of the longest list that an upstream may send.
const LIST_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Operations that name a model: who may use one of them may know of the model.
const WITH_MODEL: [Operation; 24] = [
    Operation::ChatCompletions,
    Operation::Completions,
    Operation::Responses,
    Operation::ResponseInputTokens,
    Operation::Embeddings,
    Operation::Moderations,
    Operation::Rerank,
    Operation::RerankV2,
    Operation::RerankBare,
    Operation::Score,
    Operation::ScoreBare,
    Operation::Pooling,
    Operation::Classify,
    Operation::Transcriptions,
    Operation::Translations,
    Operation::Speech,
    Operation::Images,
    Operation::ImageEdits,
    Operation::ImageVariations,
    Operation::Messages,
    Operation::CountTokens,
    Operation::KServeInfer,
    Operation::KServeGenerate,
    Operation::KServeGenerateStream,
];

/// Whether each call of the operation is for a model.
pub(super) fn names_a_model(operation: Operation) -> bool {
    WITH_MODEL.contains(&operation)
}

/// Whether a call of the operation may say in its body which model it is for.
pub(super) fn may_name_a_model(operation: Operation) -> bool {
    names_a_model(operation) || (matches!(operation, Operation::Custom(_)) && operation.has_body())
}

/// One upstream's answer.
struct Listed {
    status: u16,
    media_type: String,
    body: Vec<u8>,
}

/// The upstreams to ask, if the call is one for the list of models.
pub(super) fn asked(call: &Call) -> Option<Vec<usize>> {
    let is_list = call.operation == Some(Operation::ListModels) && !call.head_only();
    let lists = |index: &usize| {
        let route = call.live.fleet.get(*index);
        let operation = route.and_then(|route| route.config.dialect.route(&call.head.method, call.head.path()));
        operation == Some(Operation::ListModels)
    };
    is_list.then(|| call.live.fleet.all_for(call.endpoint(), call.head.host()).into_iter().filter(lists).collect())
}

/// Asks all of them and answers the caller. One that fails is left out; if all do, the last failure is the answer.
pub(super) async fn list(
    core: &Rc<Core>,
    client: &mut Wire,
    call: &mut Call,
    admitted: &Admitted,
    upstreams: Vec<usize>,
) -> After {
    let single = upstreams.len() == 1;
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
        let listed = match ask_one(core, client, call, admitted, &route, &mut request_id).await {
            Ok(listed) if listed.status == 200 => listed,
            Ok(refused) if single => return answer(core, client, call, &refused, &request_id).await,
            Ok(refused) => {
                failure = Some(unusable(format!("status {}", refused.status)));
                continue;
            }
            Err(error) => {
                failure = Some(error);
                continue;
            }
        };
        match models_in(&listed.body) {
            Ok(all) => {
                answered = true;
                let count = all.len();
                let kept: Vec<Value> = all.into_iter().filter(|model| is_for(core, call, model, index)).collect();
                if single && kept.len() == count {
                    return answer(core, client, call, &listed, &request_id).await;
                }
                models.extend(kept);
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        // Nothing was asked, so this is all that is written down.
        Some(error) if !answered && request_id.is_empty() => refuse(core, client, call, error).await,
        Some(error) if !answered => answer_error(core, client, call, &error, &request_id).await,
        _ => {
            let body = json!({ "object": "list", "data": models }).to_string().into_bytes();
            let list = Listed { status: 200, media_type: "application/json".to_owned(), body };
            answer(core, client, call, &list, &request_id).await
        }
    }
}

async fn ask_one(
    core: &Rc<Core>,
    client: &mut Wire,
    call: &mut Call,
    admitted: &Admitted,
    route: &Arc<Route>,
    request_id: &mut String,
) -> Result<Listed, CallError> {
    let _counted = route.burden.begin_call(route.config.limits.in_flight).ok_or_else(overloaded)?;
    let (mut open, intent) = OpenCall::begin(core, call, admitted).await?;
    if let Err(error) = intent.await {
        admitted.passes.unused();
        return Err(CallError::no_evidence(error));
    }
    admitted.passes.used();
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
        open.take_original(&raw).await?;
        let (status, media_type) = (head.status, head.media_type());
        let body = masked(core, &mut open, call, admitted, status, &raw, &media_type).await?;
        Ok(Listed { status, media_type, body })
    };
    match read.await {
        Ok(listed) => {
            open.sent_bytes(listed.body.len());
            open.close(EndedBy::Complete).await?;
            Ok(listed)
        }
        Err(error) => {
            count_limit(core, &error);
            open.close_with_error(&error).await?;
            Err(error)
        }
    }
}

async fn masked(
    core: &Core,
    open: &mut OpenCall,
    call: &Call,
    admitted: &Admitted,
    status: u16,
    raw: &[u8],
    media_type: &str,
) -> Result<Vec<u8>, CallError> {
    let mut rules = AnswerRules::at_head(core, call, admitted, status)?;
    let plans = Rc::clone(&rules.plans);
    let (redacted, info) = redact::redact_answer(Operation::ListModels, &plans.response, raw).map_err(unusable)?;
    open.response_masked(&redacted.hits, &redacted.coverage);
    open.answered(&info);
    rules.judge_body(Operation::ListModels, &BodyForm::Json, raw)?;
    let body = redacted.body.into_owned();
    if rules.keeps_payload() {
        let copy = redact::redact_answer(Operation::ListModels, &plans.recorded_response, &body).map_err(unusable)?;
        open.record_whole(Role::Response, &copy.0.body, media_type).await?;
    }
    Ok(body)
}

fn models_in(body: &[u8]) -> Result<Vec<Value>, CallError> {
    let list: Value = serde_json::from_slice(body).map_err(unusable)?;
    match list.get("data") {
        Some(Value::Array(models)) => Ok(models.clone()),
        _ => Err(unusable("it has no array `data`")),
    }
}

/// Whether a call for the model would go to that upstream, and could pass. So no model is listed twice either, unless its
/// upstream does so.
fn is_for(core: &Core, call: &Call, model: &Value, upstream: usize) -> bool {
    let (Some(name), Some(caller)) = (model.get("id").and_then(Value::as_str), &call.caller) else { return false };
    let Some(route) = call.live.fleet.get(upstream) else { return false };
    WITH_MODEL.iter().any(|operation| {
        let path = operation.endpoint().replace("{model}", name);
        if call.live.fleet.choose(&path, call.head.host(), Some(name)) != Choice::Upstream(upstream)
            || route.config.dialect.route(operation.method(), &path) != Some(*operation)
        {
            return false;
        }
        let head = RequestHead { method: operation.method().to_owned(), target: path, ..call.head.clone() };
        judge::could_pass(
            &Question {
                policy: &call.policy,
                operation: Some(*operation),
                form: &call.form,
                head: &head,
                peer: call.peer.ip(),
                caller,
                upstream: &route.config.name,
                body: None,
                declared: call.declared(),
                moment: core.moment(),
                env: &core.shared.config.facts.env,
                second_opinion: None,
            },
            name,
        )
    })
}

async fn answer(core: &Core, client: &mut Wire, call: &Call, list: &Listed, request_id: &str) -> After {
    let close = call.says_close(core);
    let bytes = answer::whole_answer(list.status, &list.media_type, &list.body, request_id, close);
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
