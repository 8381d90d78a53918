//! Parks a call until people agree (DECISIONS 12, 13): bound to the exact request, single use.
//!
//! A plain call is held for the configured time, then told to come again; a call for a stream is held as long as the question
//! waits, with the head and a comment sent now and then (DECISIONS 29). What it waited for, it is judged again after it.

use std::rc::Rc;
use std::time::Duration;

use audit_shipper::RecordId;
use futures_lite::FutureExt;
use policy_compiler::dialect::{self, ErrorKind, Operation};
use policy_compiler::redact;
use policy_lang::{ApprovalRequirement, Atom, Effect, GrantRequirement, Program, Verdict};

use super::admit::{MaskedRequest, caller_left};
use super::answer::{self, Ending};
use super::core::Core;
use super::error::CallError;
use super::exchange::{ANSWER_TIME, After, Call};
use super::http::{LAST_CHUNK, Wire, write_chunk};
use super::judge::Judged;
use super::plans::Plans;
use super::record;
use super::rt;
use crate::approvals::ask::of_grant;
use crate::approvals::{ApprovalRef, Ask, Gate, Held, Kind, Pass, Waiter};
use crate::identity::Identity;
use crate::recorded_text::masked;

/// How often a parked call looks whether its caller is still there.
const PARKED_LOOK: Duration = Duration::from_secs(1);
/// How long the record of a question may take to become durable.
const RECORDED_WITHIN: Duration = Duration::from_secs(10);
/// What a held call takes beside its body, in bytes; an estimate, for the bound on all of them.
const HELD_BYTES: usize = 16 * 1024;
/// When a caller whose call was held should come again, and one that was told at once, in seconds.
const RETRY_HELD_S: &str = "1";
const RETRY_AT_ONCE_S: &str = "30";

/// The request that an approval is bound to, and how people may see it.
pub(super) struct Parked<'a> {
    pub(super) raw: Option<&'a [u8]>,
    pub(super) masked: &'a MaskedRequest,
    pub(super) plans: &'a Plans,
}

/// The head of a stream that went out while its call waited.
pub(super) struct Began {
    /// What the caller was told as the id of its call.
    pub(super) id: RecordId,
    pub(super) ending: Ending,
}

/// What people agreed to.
#[derive(Default)]
pub(super) struct Passes {
    approval: Option<Pass>,
    grants: Vec<ApprovalRef>,
}

impl Passes {
    /// What the INTENT cites: the approval that it uses up, or else the grant that the caller has.
    pub(super) fn cited(&self) -> Option<RecordId> {
        self.approval.as_ref().map(Pass::approval).or(self.grants.first()).and_then(|cited| cited.record)
    }

    /// Grants that let the call pass and are not what it cites.
    pub(super) fn beside(&self) -> impl Iterator<Item = &str> {
        let cited = usize::from(self.approval.is_none());
        self.grants.iter().skip(cited).map(|grant| grant.id.as_str())
    }

    /// The INTENT of this call is on its way to the disk; see [`Pass::writing`].
    pub(super) fn writing(&self, call: RecordId) {
        self.approval.iter().for_each(|pass| pass.writing(call));
    }

    /// It is durable.
    pub(super) fn used(&self) {
        self.approval.iter().for_each(Pass::used);
    }

    /// It could not be written.
    pub(super) fn unused(&self) {
        self.approval.iter().for_each(Pass::unused);
    }
}

/// What a call that needs people does next.
pub(super) enum Step {
    Go(Box<Passes>),
    Wait(Waiter),
}

/// One call on its way past the people.
#[derive(Default)]
pub(super) struct Hold {
    /// Claimed while the call waited; good if judging it again asks for the same.
    pass: Option<Pass>,
    parked_at_ms: Option<u64>,
    commented_at_ms: u64,
    held: Option<Held>,
}

/// Whether the call needs an approval and its body is still on the wire: what people approve is the whole call.
pub(super) fn binds_body(call: &Call) -> bool {
    let verdict = call.judged.as_ref().map(|judged| &judged.decision.verdict);
    matches!(verdict, Some(Verdict::Pending(required)) if !required.approvals.is_empty()) && !call.body.is_done()
}

impl Hold {
    /// Asks the people that the verdict names, access first, unless they have agreed.
    ///
    /// # Errors
    /// They refused, or cannot be asked.
    pub(super) fn next(&mut self, core: &Core, call: &Call, parked: &Parked<'_>) -> Result<Step, CallError> {
        let claimed = self.pass.take();
        let (Some(judged), Some(caller)) = (&call.judged, &call.caller) else { return Ok(Step::Go(Box::default())) };
        let Verdict::Pending(required) = &judged.decision.verdict else { return Ok(Step::Go(Box::default())) };
        let approvals = &core.shared.approvals;
        let question = Question { core, call, judged, caller, parked };
        let mut passes = Passes::default();
        let mut waiting = None;
        if required.grants.iter().any(|wanted| grants(call, judged).all(|(_, grant)| grant != wanted)) {
            let message = "The policy asks for access, and no rule says so.";
            return Err(CallError::new(ErrorKind::Internal, "internal", message));
        }
        for (rule, grant) in grants(call, judged) {
            match approvals.ask(question.grant(rule, grant)) {
                Gate::Granted(grant) => passes.grants.push(grant),
                Gate::Waiting(waiter) => waiting = waiting.or(Some(waiter)),
                gate => return Err(refusal(gate)),
            }
        }
        if let Some(waiter) = waiting {
            return Ok(Step::Wait(waiter));
        }
        if required.approvals.is_empty() {
            return Ok(Step::Go(Box::new(passes)));
        }
        let ask = question.approval(&required.approvals);
        passes.approval = claimed.filter(|pass| pass.fits(&ask));
        if passes.approval.is_none() {
            match approvals.ask(ask) {
                Gate::Passed(pass) => passes.approval = Some(pass),
                Gate::Waiting(waiter) => return Ok(Step::Wait(waiter)),
                gate => return Err(refusal(gate)),
            }
        }
        Ok(Step::Go(Box::new(passes)))
    }

    /// Waits until the people have decided; then the call is judged again.
    ///
    /// # Errors
    /// Refused, expired, still pending after the time for holding (409), the caller left, or the gateway drains.
    pub(super) async fn wait(
        &mut self,
        core: &Core,
        client: &mut Wire,
        call: &mut Call,
        mut waiter: Waiter,
        body_bytes: usize,
    ) -> Result<(), CallError> {
        let live = Rc::clone(&call.live);
        let config = &live.config.approvals;
        recorded(&mut waiter).await?;
        let Some(hold) = config.hold else { return Err(pending(core, waiter.id(), RETRY_AT_ONCE_S)) };
        if self.held.is_none() {
            self.held = core.shared.approvals.hold(HELD_BYTES + body_bytes, config.held_bytes);
        }
        if self.held.is_none() {
            return Err(pending(core, waiter.id(), RETRY_AT_ONCE_S));
        }
        let now_ms = core.watchdog.now_ms();
        let parked_at_ms = *self.parked_at_ms.get_or_insert(now_ms);
        self.commented_at_ms = self.commented_at_ms.max(parked_at_ms);
        let streams = streams_events(call);
        loop {
            if resolved(&mut waiter, PARKED_LOOK.min(config.comment_every)).await {
                match core.shared.approvals.resume(waiter) {
                    Gate::Passed(pass) => {
                        self.pass = Some(pass);
                        return Ok(());
                    }
                    Gate::Granted(_) | Gate::Again => return Ok(()),
                    Gate::Waiting(next) => waiter = next,
                    gate => return Err(refusal(gate)),
                }
                continue;
            }
            let id = waiter.id();
            if client.socket.peer_closed() {
                return Err(caller_left().because(format!("while approval {id} was pending")).about(id));
            }
            if core.is_draining() {
                let message =
                    "The gateway is restarting, and the question stays; send the call again to go on waiting.";
                let error = CallError::new(ErrorKind::Unavailable, "draining", message).field("retry-after", "5");
                return Err(error.about(id));
            }
            let now_ms = core.watchdog.now_ms();
            let since = |then: u64| Duration::from_millis(now_ms.saturating_sub(then));
            if streams {
                if since(self.commented_at_ms) >= config.comment_every {
                    self.commented_at_ms = now_ms;
                    comment(core, client, call, id).await?;
                }
            } else if since(parked_at_ms) >= hold {
                return Err(pending(core, id, RETRY_HELD_S));
            }
        }
    }
}

/// Waits until the question may be told of.
async fn recorded(waiter: &mut Waiter) -> Result<(), CallError> {
    let id = waiter.id().to_owned();
    let recorded = async {
        waiter.recorded().await;
        true
    };
    let too_long = async {
        rt::sleep(RECORDED_WITHIN).await;
        false
    };
    if recorded.or(too_long).await {
        return Ok(());
    }
    Err(CallError::no_evidence(format!("the question {id} is not durable after {} s", RECORDED_WITHIN.as_secs())))
}

/// Whether people decided before the time was over.
async fn resolved(waiter: &mut Waiter, within: Duration) -> bool {
    let decided = async {
        waiter.resolved().await;
        true
    };
    let over = async {
        rt::sleep(within).await;
        false
    };
    decided.or(over).await
}

/// Whether the answer will be server-sent events, of which comments are a part.
fn streams_events(call: &Call) -> bool {
    let operation = call.operation.filter(|operation| !matches!(operation, Operation::Custom(_)));
    call.judged.as_ref().is_some_and(|judged| judged.stream)
        && operation.is_some_and(Operation::answers_in_events)
        && !call.head_only()
}

/// Tells a caller of a stream that it is not forgotten; the first time with the head of the answer.
async fn comment(core: &Core, client: &mut Wire, call: &mut Call, approval: &str) -> Result<(), CallError> {
    let mut bytes = Vec::new();
    let ending = match &call.began {
        Some(began) => began.ending,
        None => {
            let began = Began { id: core.producer.borrow().new_id(), ending: Ending::of_stream(&call.head) };
            let close = call.says_close(core);
            bytes = answer::stream_head(&began.id.to_string(), began.ending, approval, close);
            let ending = began.ending;
            call.began = Some(began);
            ending
        }
    };
    frame(&mut bytes, format!(": waiting for approval {approval}\n\n").as_bytes(), ending);
    client.socket.move_within(ANSWER_TIME);
    let written = client.socket.write_all(&bytes).await;
    client.socket.never_times_out();
    written.map_err(|cause| caller_left().because(cause).about(approval))
}

/// Ends a stream whose head is out with an error in the API's shape.
pub(super) async fn end_with(client: &mut Wire, call: &Call, began: &Began, error: &CallError) -> After {
    let event = dialect::stream_error_event(call.errors(), error.kind, error.code, &error.message);
    let mut bytes = Vec::new();
    frame(&mut bytes, &event, began.ending);
    if began.ending == Ending::Chunked {
        bytes.extend_from_slice(LAST_CHUNK);
    }
    client.socket.move_within(ANSWER_TIME);
    let written = client.socket.write_all(&bytes).await;
    client.socket.never_times_out();
    match written {
        Ok(()) if began.ending == Ending::Chunked && call.keeps_alive() => After::KeepAlive,
        Ok(()) => After::Linger,
        Err(_) => After::Close,
    }
}

fn frame(out: &mut Vec<u8>, data: &[u8], ending: Ending) {
    if ending == Ending::Chunked { write_chunk(out, data) } else { out.extend_from_slice(data) }
}

/// People have not decided yet: the call may come again, and goes on waiting where it was.
fn pending(core: &Core, id: &str, retry_after_s: &str) -> CallError {
    let link = core.shared.config.approval_link(id);
    let message =
        format!("This call waits for a person's approval ({link}). Send the same call again to go on waiting.");
    CallError::new(ErrorKind::ApprovalPending, "approval_pending", message)
        .field("retry-after", retry_after_s)
        .field("x-should-retry", "true")
        .field("x-sallyport-approval-id", id)
        .field("x-sallyport-approval-url", link)
        .about(id)
}

/// Why a call does not pass; the gates that let it pass or wait are answered elsewhere.
fn refusal(gate: Gate) -> CallError {
    match gate {
        Gate::Refused { id, by, reason, revoked } => {
            let did = if revoked { "took back what was agreed to for" } else { "refused" };
            let message = format!("{by} {did} this call: {reason} (approval {id}).");
            CallError::new(ErrorKind::Forbidden, "approval_denied", message)
                .field("x-sallyport-approval-id", id.as_str())
                .about(&id)
        }
        Gate::Expired { id } => {
            let message = format!("Nobody approved this call in time (approval {id}). Send it again to ask again.");
            CallError::new(ErrorKind::Forbidden, "approval_expired", message)
                .field("x-sallyport-approval-id", id.as_str())
                .about(&id)
        }
        Gate::Unrecorded => CallError::no_evidence("the question could not be recorded, so it was not asked"),
        Gate::TooMany | Gate::Passed(_) | Gate::Granted(_) | Gate::Waiting(_) | Gate::Again => {
            let message = "Too many calls wait for people already.";
            CallError::new(ErrorKind::RateLimited, "approvals_full", message).field("retry-after", "60")
        }
    }
}

/// The rules that ask for access, each with what it asks.
fn grants<'a>(call: &'a Call, judged: &'a Judged) -> impl Iterator<Item = (&'a str, &'a GrantRequirement)> {
    let rules = &call.policy.compiled.program().rules;
    let fired = judged.decision.fired.iter().filter_map(|rule| rules.get(rule.0 as usize));
    fired.flat_map(|rule| {
        rule.effects.iter().filter_map(|effect| match effect {
            Effect::RequireGrant(grant) => Some((rule.name.as_str(), grant)),
            _ => None,
        })
    })
}

/// What people are asked about one call.
struct Question<'a> {
    core: &'a Core,
    call: &'a Call,
    judged: &'a Judged,
    caller: &'a Identity,
    parked: &'a Parked<'a>,
}

impl Question<'_> {
    /// This exact call.
    fn approval(&self, requirements: &[ApprovalRequirement]) -> Ask {
        let binding = binding(self.core, self.call, self.caller, self.parked.raw);
        let rules = self.call.rule_names(&self.judged.decision.fired);
        Ask { requirements: requirements.to_vec(), ..self.ask(Kind::Call, binding, rules) }
    }

    /// Access to what the rule is about, for this person.
    fn grant(&self, rule: &str, grant: &GrantRequirement) -> Ask {
        let caller = self.caller;
        let parts = [
            &b"grant"[..],
            caller.issuer.as_bytes(),
            caller.subject.as_bytes(),
            caller.tenant.as_bytes(),
            rule.as_bytes(),
        ];
        let binding = self.core.shared.approvals.binding(&parts);
        Ask { requirements: vec![of_grant(grant)], ..self.ask(Kind::Grant, binding, vec![rule.to_owned()]) }
    }

    fn ask(&self, kind: Kind, binding: [u8; 32], rules: Vec<String>) -> Ask {
        Ask {
            kind,
            binding,
            subject: self.caller.subject.clone(),
            issuer: self.caller.issuer.clone(),
            tenant: self.caller.tenant.clone(),
            model: self.judged.model.clone(),
            endpoint: masked(self.call.endpoint()),
            rules,
            requirements: Vec::new(),
            preview: self.preview(),
            keeps_preview: self.call.keeps_payload(),
            keep: record::keep_of(self.judged),
        }
    }

    /// The request as it would be recorded: masked by the policy, then by every built-in detector.
    fn preview(&self) -> String {
        let Parked { masked, plans, .. } = self.parked;
        let body = match (self.call.operation, masked.body.as_deref()) {
            (_, None | Some([])) => return String::new(),
            (None, Some(body)) => return format!("[{} bytes of a route that nobody can look into]", body.len()),
            (Some(operation), Some(body)) => {
                let form = record::form(self.call, masked.json_bytes);
                redact::redact_request_as(operation, &form, &plans.recorded_request, body)
            }
        };
        body.map_or_else(
            |_| "[could not be masked, so not shown]".to_owned(),
            |copy| String::from_utf8_lossy(&copy.body).into_owned(),
        )
    }
}

/// What makes it this exact call (DECISIONS 12): who calls, what for, and every byte and field that the verdict rests on.
pub(super) fn binding(core: &Core, call: &Call, caller: &Identity, raw: Option<&[u8]>) -> [u8; 32] {
    // Which fields are read is the policy's to say; all else of a call stays what it is.
    let generation = call.policy.generation;
    if let Some((_, binding)) = call.bound.get().filter(|(of, _)| *of == generation) {
        return binding;
    }
    let stated = call.declared();
    let said = |stated: Option<&crate::identity::Stated>| stated.map_or(String::new(), |own| own.value.clone());
    let (purpose, basis) =
        (said(stated.and_then(|own| own.purpose.as_ref())), said(stated.and_then(|own| own.basis.as_ref())));
    let mut parts: Vec<&[u8]> = vec![
        b"call",
        caller.issuer.as_bytes(),
        caller.subject.as_bytes(),
        caller.tenant.as_bytes(),
        caller.client_id.as_deref().unwrap_or_default().as_bytes(),
        call.head.method.as_bytes(),
        call.endpoint().as_bytes(),
        call.head.target.as_bytes(),
        call.head.host().as_bytes(),
        call.head.fields.first("content-type").unwrap_or_default(),
        purpose.as_bytes(),
        basis.as_bytes(),
    ];
    for name in headers_read(call.policy.compiled.program()) {
        parts.extend(call.head.fields.all(name).flat_map(|value| [name.as_bytes(), value]));
    }
    parts.push(b"body");
    parts.push(raw.unwrap_or_default());
    let binding = core.shared.approvals.binding(&parts);
    call.bound.set(Some((generation, binding)));
    binding
}

/// Names of the header fields that some rule reads.
fn headers_read(program: &Program) -> Vec<&str> {
    let read = |atom| match atom {
        &Atom::HeaderPresent(ref name) | &Atom::HeaderIn { ref name, .. } => Some(name.as_str()),
        _ => None,
    };
    let mut names: Vec<&str> = program.atoms.iter().filter_map(read).collect();
    names.sort_unstable();
    names.dedup();
    names
}
