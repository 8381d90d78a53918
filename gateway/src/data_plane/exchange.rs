//! The life of a call, top to bottom.
//!
//! ```text
//! head → dialect → caller → body (what the policy needs) → decision ── deny ──→ REFUSAL durable → error in the API's shape
//!                                                             │ allow + obligations
//!      → limits → mask request → approval → INTENT durable ‖ connect → forward → answer masked as it comes
//!      → its end held until OUTCOME is durable → deliver
//! ```

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use audit_shipper::{Moment, ValueDigest};
use futures_lite::future::zip;
use policy_compiler::dialect::{self, BodyForm, ErrorKind, ErrorShape, Operation};
use policy_compiler::redact::{ChannelCoverage, Hit};
use policy_lang::{RecordLevel, RuleId};

use super::admit;
use super::answer;
use super::approval::{self, Began, Hold, Parked, Passes, Step};
use super::arrival::Origin;
use super::core::{Core, Held};
use super::deliver;
use super::error::CallError;
use super::forward::{self, Failed};
use super::http::{Body, RequestHead, ResponseHead, Wire};
use super::judge::{Judged, Question};
use super::limit::{self, Charge};
use super::models;
use super::plans::Plans;
use super::record::{self, OpenCall};
use super::response_rules::{self, FiredOnAnswer};
use super::substitutes;
use super::telling;
use super::trace::TraceContext;
use super::upstream::{CheckoutError, Lease, Route};
use super::watch::{self, Watched};
use crate::identity::{Declared, KnownCaller};
use crate::policy_slot::ActivePolicy;
use crate::telemetry::{Marks, Phase};

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
    /// What the connection tells of the caller.
    pub(super) origin: Origin,
    /// Whether the model chooses the upstream: then the body is read for it.
    pub(super) by_model: bool,
    /// Whether the caller was told that this is the last call on its connection.
    pub(super) said_close: Cell<bool>,
    /// The configuration in force when the call began.
    pub(super) live: Rc<Held>,
    pub(super) policy: Arc<ActivePolicy>,
    pub(super) trace: TraceContext,
    /// When it reached which point; also its record looks at it.
    pub(super) marks: Rc<Marks>,
    pub(super) started: Moment,
    pub(super) operation: Option<Operation>,
    /// How the request's body is read.
    pub(super) form: BodyForm,
    /// The content coding of the request was taken off.
    pub(super) decoded: bool,
    pub(super) upstream: Option<usize>,
    pub(super) caller: Option<Rc<KnownCaller>>,
    /// Purpose, basis and data subject, where headers added to what the caller's identity says; see [`Call::declared`].
    pub(super) declared: Option<Declared>,
    pub(super) judged: Option<Judged>,
    /// Rules about the answer that fired; its record looks at them.
    pub(super) fired_on_answer: FiredOnAnswer,
    /// What an approval of it is bound to, once somebody asked, under the policy set of this generation.
    pub(super) bound: Cell<Option<(u64, [u8; 32])>>,
    /// Set where the call is to be judged twice, with a copy of its body, if that was read.
    pub(super) look_again: Option<Option<Vec<u8>>>,
    /// Set when the head of the answer went out while the call waited for people.
    pub(super) began: Option<Began>,
    /// What is left of the request on the wire.
    pub(super) body: Body,
}

/// A call that may go to the model.
pub(super) struct Admitted {
    pub(super) plans: Rc<Plans>,
    /// The masked body; `None` streams the request through unread.
    pub(super) body: Option<Vec<u8>>,
    /// Of a body with a binary tail: the bytes of its JSON.
    pub(super) json_bytes: Option<usize>,
    /// The count of tokens was asked for in the caller's name, so it is taken out of the stream again.
    pub(super) strips_usage: bool,
    pub(super) request_hits: Vec<Hit>,
    pub(super) request_coverage: Vec<ChannelCoverage>,
    /// What people agreed to.
    pub(super) passes: Passes,
    pub(super) raw_digest: Option<[u8; 32]>,
    /// What rate limits hold of it; taken when the call is written down.
    pub(super) charge: Charge,
    /// The body as it came, where rules about the answer may ask for it.
    pub(super) raw: Option<Vec<u8>>,
    /// The original, where the policy wants it sealed.
    pub(super) sealed_request: Vec<Vec<u8>>,
    /// Digests of what it says that is masked, where they are kept.
    pub(super) values: Vec<ValueDigest>,
}

/// Carries one call from its head to its end.
pub(super) async fn run(core: &Rc<Core>, client: &mut Wire, origin: &Origin, head: RequestHead) -> After {
    let mut call = Call::new(core, origin, head);
    let Some(_counted) = core.count_call() else { return refuse(core, client, &call, too_busy()).await };
    let after = match let_in(core, client, &mut call).await {
        Ok(admitted) if let Some(upstreams) = models::asked(&call) => {
            models::list(core, client, &mut call, &admitted, upstreams).await
        }
        Ok(admitted) => pass(core, client, &mut call, admitted).await,
        Err(error) => refuse(core, client, &call, error).await,
    };
    admit::look_again(core, &mut call);
    after
}

/// Everything that can refuse a call before it is written down as let in. Whatever a call waited for, it is judged again by the
/// policy of the day, and an approval stands only under the same requirements.
async fn let_in(core: &Rc<Core>, client: &mut Wire, call: &mut Call) -> Result<Admitted, CallError> {
    admit::find_route(call)?;
    admit::identify(core, call).await?;
    call.marks.reached(Phase::Identified);
    let mut body = admit::read_request(core, client, call).await?;
    call.marks.reached(Phase::Read);
    let (mut hold, mut charge, mut watched) = (Hold::default(), None, Watched::default());
    loop {
        let decided = admit::decide(core, call, body.as_deref());
        if decided.is_ok() && body.is_none() && approval::binds_body(call) {
            body = Some(admit::read_body(core, client, call).await?);
            continue;
        }
        watched.judged(core, call);
        decided?;
        call.marks.reached(Phase::Decided);
        // Once, however often the call is judged.
        if charge.is_none() {
            charge = Some(limit::charge(core, call, body.as_deref())?);
        }
        let plans = substitutes::keyed(core, call, admit::make_plans(core, call)?);
        response_rules::may_stream(core, call, body.as_deref())?;
        let masked = admit::mask_request(call, &plans, body.as_deref())?;
        substitutes::keep(core, call, &plans);
        call.marks.reached(Phase::Masked);
        let parked = Parked { raw: body.as_deref(), masked: &masked, plans: &plans };
        let waiter = match hold.next(core, call, &parked)? {
            Step::Wait(waiter) => waiter,
            Step::Go(passes) => {
                call.marks.reached(Phase::Approved);
                let raw_digest = body.as_deref().map(record::sha256);
                let sealed_request = record::sealed::request(core, call, body.as_deref())?;
                let values = body.as_deref().map_or_else(Vec::new, |body| record::values_of(core, body));
                return Ok(Admitted {
                    plans,
                    body: masked.body,
                    json_bytes: masked.json_bytes,
                    strips_usage: masked.strips_usage,
                    request_hits: masked.hits,
                    request_coverage: masked.coverage,
                    passes: *passes,
                    raw_digest,
                    charge: charge.unwrap_or_default(),
                    sealed_request,
                    values,
                    raw: body.filter(|_| call.policy.compiled.judges_answers()),
                });
            }
        };
        // Only what binds the call is kept while it waits.
        drop((plans, masked));
        hold.wait(core, client, call, waiter, body.as_ref().map_or(0, Vec::len)).await?;
        call.policy = core.policy();
        call.fired_on_answer = response_rules::listening(&call.policy);
    }
}

/// INTENT, upstream, answer, OUTCOME.
async fn pass(core: &Rc<Core>, client: &mut Wire, call: &mut Call, admitted: Admitted) -> After {
    let Some(route) = call.route().cloned() else { return After::Close };
    let Some(_counted) = route.burden.begin_call(route.config.limits.in_flight) else {
        return refuse(core, client, call, overloaded()).await;
    };
    let (mut open, intent) = match OpenCall::begin(core, call, &admitted).await {
        Ok(opened) => opened,
        Err(error) => return refuse(core, client, call, error).await,
    };
    let connect = core.pool.checkout(&route, &core.watchdog, &core.shared.metrics);
    let durable = reaching(&call.marks, Phase::Intent, intent);
    let (durable, connected) = zip(durable, reaching(&call.marks, Phase::Connected, connect)).await;
    if let Err(error) = durable {
        admitted.passes.unused();
        // The caller hears what the log could not; nothing was sent.
        return answer_error(core, client, call, &CallError::no_evidence(error), "").await;
    }
    admitted.passes.used();
    match ask(core, client, call, &admitted, &mut open, &route, connected).await {
        Ok((lease, head)) => deliver::deliver(core, client, lease, head, call, &admitted, open).await,
        Err(error) => {
            count_limit(core, &error);
            let request_id = open.id();
            match open.close_with_error(&error).await {
                Ok(()) => answer_error(core, client, call, &error, &request_id).await,
                Err(no_evidence) => answer_error(core, client, call, &no_evidence, &request_id).await,
            }
        }
    }
}

/// Notes when a step of a call is done.
async fn reaching<T>(marks: &Marks, phase: Phase, step: impl Future<Output = T>) -> T {
    let done = step.await;
    marks.reached(phase);
    done
}

/// Sends the request and waits for the head of the answer. A resting connection that turns out to be closed is replaced once,
/// if the request can be sent again.
pub(super) async fn ask(
    core: &Rc<Core>,
    client: &mut Wire,
    call: &mut Call,
    admitted: &Admitted,
    open: &mut OpenCall,
    route: &Arc<Route>,
    connected: Result<Lease, CheckoutError>,
) -> Result<(Lease, ResponseHead), CallError> {
    let mut lease = connected.map_err(unreachable)?;
    let repeatable = admitted.body.is_some() || call.body.is_done();
    loop {
        let Failed { error, unanswered } = match attempt(core, client, &mut lease, call, admitted, open).await {
            Ok(head) => return Ok((lease, head)),
            Err(failed) => failed,
        };
        if unanswered && lease.reused && repeatable {
            match core.pool.replace(route, &core.watchdog, &core.shared.metrics).await {
                Ok(fresh) => lease = fresh,
                Err(_) => return Err(error),
            }
            continue;
        }
        if error.is_upstreams() {
            lease.blame(&core.shared.metrics);
        }
        return Err(error);
    }
}

async fn attempt(
    core: &Core,
    client: &mut Wire,
    lease: &mut Lease,
    call: &mut Call,
    admitted: &Admitted,
    open: &mut OpenCall,
) -> Result<ResponseHead, Failed> {
    forward::send_request(core, client, lease, call, admitted, open).await?;
    let sent = Moment::now();
    let head = forward::read_head(client, lease, call).await?;
    let latency_us = Moment::now().mono_us.saturating_sub(sent.mono_us);
    lease.answered(head.status, latency_us, &core.shared.metrics);
    Ok(head)
}

fn unreachable(cause: CheckoutError) -> CallError {
    if matches!(cause, CheckoutError::TooMany) {
        return overloaded().because(cause);
    }
    let message = "The model server cannot be reached now. Nothing was sent to it; try again.";
    CallError::new(ErrorKind::Upstream, "upstream_unreachable", message).because(cause)
}

pub(super) fn overloaded() -> CallError {
    let message = "The model servers have as many calls as they may have. Nothing was sent; try again shortly.";
    CallError::new(ErrorKind::Unavailable, "upstream_overloaded", message).field("retry-after", "1")
}

fn too_busy() -> CallError {
    let message = "The gateway has as many calls as it may have. Try again shortly.";
    CallError::new(ErrorKind::Unavailable, "too_busy", message).field("retry-after", "1")
}

pub(super) fn count_limit(core: &Core, error: &CallError) {
    if let Some(limit) = error.limit() {
        core.shared.metrics.events.count(limit);
    }
}

impl Call {
    fn new(core: &Core, origin: &Origin, head: RequestHead) -> Self {
        let policy = core.policy();
        Self {
            body: Body::new(head.framing),
            trace: TraceContext::of(&head, core.shared.telemetry.sample()),
            marks: Rc::new(Marks::begin()),
            fired_on_answer: response_rules::listening(&policy),
            policy,
            started: Moment::now(),
            operation: None,
            form: BodyForm::Opaque,
            decoded: false,
            upstream: None,
            by_model: false,
            caller: None,
            declared: None,
            judged: None,
            bound: Cell::default(),
            look_again: None,
            began: None,
            peer: origin.peer,
            origin: origin.clone(),
            said_close: Cell::new(false),
            live: core.live(),
            head,
        }
    }

    /// Purpose, lawful basis and data subject of the call, with who said so.
    pub(super) fn declared(&self) -> Option<&Declared> {
        self.declared.as_ref().or_else(|| self.caller.as_ref().map(|caller| &caller.declared))
    }

    /// What is judged; `None` before caller and upstream are known.
    pub(super) fn question<'a>(&'a self, core: &'a Core, body: Option<&'a [u8]>) -> Option<Question<'a>> {
        let (caller, route) = (self.caller.as_ref()?, self.route()?);
        Some(Question {
            policy: &self.policy,
            operation: self.operation,
            form: &self.form,
            head: &self.head,
            peer: self.peer.ip(),
            caller,
            upstream: &route.config.name,
            body,
            declared: self.declared(),
            moment: core.moment(),
            env: &core.shared.config.facts.env,
            second_opinion: None,
        })
    }

    /// The upstream that takes the call, once it is known.
    pub(super) fn route(&self) -> Option<&Arc<Route>> {
        self.upstream.and_then(|index| self.live.fleet.get(index))
    }

    /// Whether the caller may send a next request on this connection.
    pub(super) fn keeps_alive(&self) -> bool {
        self.head.keep_alive && self.body.is_done() && !self.said_close.get()
    }

    /// Whether the head of the answer, which is about to be written, says so (RFC 9112 §9.6).
    pub(super) fn says_close(&self, core: &Core) -> bool {
        if core.is_draining() {
            self.said_close.set(true);
        }
        !self.keeps_alive()
    }

    pub(super) fn rule_names(&self, rules: &[RuleId]) -> Vec<String> {
        let program = self.policy.compiled.program();
        rules.iter().filter_map(|rule| program.rules.get(rule.0 as usize)).map(|rule| rule.name.clone()).collect()
    }

    /// The operation's normalised path, or the path as sent on an opaque route.
    pub(super) fn endpoint(&self) -> &str {
        self.operation.map_or(self.head.path(), |operation| operation.endpoint())
    }

    /// Whether the payload is kept (`record` of the policy); of opaque routes it never is, since it cannot be masked.
    pub(super) fn keeps_payload(&self) -> bool {
        self.operation.is_some()
            && self.judged.as_ref().is_some_and(|judged| judged.decision.obligations.record == RecordLevel::Full)
    }

    /// Whose form errors of this call have.
    pub(super) fn errors(&self) -> ErrorShape {
        self.operation.map_or_else(|| dialect::errors_of(self.head.path()), Operation::errors)
    }

    pub(super) fn head_only(&self) -> bool {
        self.head.method == "HEAD"
    }
}

/// Writes the refusal down, then tells the caller.
pub(super) async fn refuse(core: &Core, client: &mut Wire, call: &Call, error: CallError) -> After {
    core.shared.metrics.refused(error.status);
    count_limit(core, &error);
    let (error, request_id) = match record::refusal(core, call, &error).await {
        Ok(request_id) => (error, request_id),
        Err(no_evidence) => (no_evidence, String::new()),
    };
    telling::refused(core, call, &error, &request_id);
    watch::failed(core, &error, request_id.parse().ok());
    answer_error(core, client, call, &error, &request_id).await
}

/// A head that could not be read is a refusal too, by an unknown caller.
pub(super) async fn refuse_malformed(core: &Core, client: &mut Wire, peer: SocketAddr, error: CallError) {
    refuse_unread(core, client, peer, ErrorShape::OpenAi, error).await;
}

/// Likewise where the request is not taken up at all, in the form of an API.
pub(super) async fn refuse_unread(
    core: &Core,
    client: &mut Wire,
    peer: SocketAddr,
    shape: ErrorShape,
    error: CallError,
) {
    core.shared.metrics.refused(error.status);
    count_limit(core, &error);
    let (error, request_id) = match record::malformed(core, peer, &error).await {
        Ok(request_id) => (error, request_id),
        Err(no_evidence) => (no_evidence, String::new()),
    };
    let answer = answer::error_answer(shape, &error, &request_id, true, false);
    client.socket.move_within(ANSWER_TIME);
    // Nobody is left to tell when this fails.
    let _ = client.socket.write_all(&answer).await;
}

/// For writing a short answer.
pub(super) const ANSWER_TIME: Duration = Duration::from_secs(10);

pub(super) async fn answer_error(
    core: &Core,
    client: &mut Wire,
    call: &Call,
    error: &CallError,
    request_id: &str,
) -> After {
    if let Some(began) = &call.began {
        return approval::end_with(client, call, began, error).await;
    }
    let keep_alive = !call.says_close(core);
    let answer = answer::error_answer(call.errors(), error, request_id, !keep_alive, call.head_only());
    client.socket.move_within(ANSWER_TIME);
    let written = client.socket.write_all(&answer).await;
    client.socket.never_times_out();
    match written {
        Ok(()) if keep_alive => After::KeepAlive,
        Ok(()) => After::Linger,
        Err(_) => After::Close,
    }
}
