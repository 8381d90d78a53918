//! What a call leaves in the evidence: a refusal, or an INTENT and exactly one OUTCOME.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

pub(super) mod sealed;
mod values;

use audit_shipper::{
    Caller, CallerKind, Commit, Coverage, Decision, Declared, EndedBy, EvidenceError, Frame, Intent, Keep, MaskHit,
    Moment, Outcome, PayloadChunk, Permit, PolicyRef, RecordId, Refusal, RequestBody, RequestInfo, Role, Said, Usage,
};
use policy_compiler::dialect::{AnswerInfo, BodyForm, Operation};
use policy_compiler::redact::{self, Hit};
use policy_lang::Verdict;
use sha2::{Digest, Sha256};

use super::core::Core;
use super::error::CallError;
use super::exchange::{Admitted, Call};
use super::response_rules::FiredOnAnswer;
use super::rt;
use super::telling;
use crate::identity;
use crate::limits::Charged;
use crate::recorded_text::{masked, masked_bytes, masked_target, without_encoded};
use crate::telemetry::{Finished, Marks, Phase};

/// Bytes of a stream that are gathered before a chunk is written.
const CHUNK_BYTES: usize = 32 * 1024;
/// And the longest time they are gathered, in µs.
const CHUNK_US_MAX: u64 = 1_000_000;
/// A recorded chunk is never larger; whole bodies are cut.
const PIECE_BYTES_MAX: usize = 60 * 1024;
/// How long to wait when the queue to the committer is full, before looking again.
const QUEUE_WAIT: Duration = Duration::from_millis(2);

/// How often summaries of refusals are looked for.
const SUM_UP_EVERY: Duration = Duration::from_millis(500);

/// A call whose INTENT is written: exactly one OUTCOME follows. Dropped without one (a panic, a cancelled task), its permit
/// writes ABORTED.
pub(crate) struct OpenCall {
    core: Rc<Core>,
    permit: Option<Permit>,
    /// Whether the INTENT is on its way.
    written: bool,
    id: audit_shipper::RecordId,
    began: Moment,
    outcome: Outcome,
    streamed: Option<Sha256>,
    frames: Vec<Frame>,
    frames_bytes: usize,
    frames_since_us: u64,
    last_frame_us: u64,
    media_type: String,
    charge: Option<Charged>,
    /// As the server counted them.
    tokens: Option<u64>,
    /// Where the policy wants the original of the answer sealed, or may come to.
    seal: Option<sealed::Seal>,
    /// The beginning of the answer in the clear, where digests of masked values are kept.
    answer: Vec<u8>,
    marks: Rc<Marks>,
    fired: FiredOnAnswer,
    /// What is told of the call at its end, if anybody wants to hear it.
    told: Option<Box<Finished>>,
}

impl OpenCall {
    /// Queues the INTENT and the recorded copy of the request. The call may go upstream when the commit resolves.
    ///
    /// # Errors
    /// No permit, or no room for the copy: without evidence no call (DESIGN §4.1).
    pub(super) async fn begin(core: &Rc<Core>, call: &Call, admitted: &Admitted) -> Result<(Self, Commit), CallError> {
        let seal = sealed::answer(core, call)?;
        let admitted_as = match &call.began {
            Some(began) => core.producer.borrow_mut().admit_as(began.id),
            None => core.producer.borrow_mut().admit(),
        };
        let permit = admitted_as.map_err(|unavailable| {
            let retry_after = unavailable.retry_after_s;
            CallError::no_evidence(unavailable).field("retry-after", retry_after.to_string())
        })?;
        let id = permit.id();
        let mut open = Self {
            core: Rc::clone(core),
            id,
            permit: Some(permit),
            written: false,
            began: call.started,
            outcome: Outcome::default(),
            streamed: admitted.body.is_none().then(Sha256::new),
            frames: Vec::new(),
            frames_bytes: 0,
            frames_since_us: 0,
            last_frame_us: call.started.mono_us,
            media_type: String::new(),
            charge: None,
            tokens: None,
            seal,
            answer: Vec::new(),
            marks: Rc::clone(&call.marks),
            fired: call.fired_on_answer.clone(),
            told: telling::begun(core, call, id),
        };
        open.outcome.request_bytes = admitted.body.as_ref().map_or(0, |body| body.len() as u64);
        let intent = intent(core, call, admitted);
        let Some(permit) = &mut open.permit else { return Err(CallError::no_evidence("the permit is gone")) };
        admitted.passes.writing(permit.id());
        let receipt = core.producer.borrow_mut().intent(permit, &intent);
        core.shared.metrics.forwarded();
        open.written = true;
        open.charge = admitted.charge.take();
        if let Some(charge) = &mut open.charge {
            charge.sent();
        }
        if call.keeps_payload() {
            open.record_request(call, admitted).await?;
        }
        open.record_sealed(admitted.sealed_request.clone()).await?;
        Ok((open, receipt.commit))
    }

    /// Records the masked request, if it was read.
    ///
    /// # Errors
    /// When the evidence is not to be written any more.
    pub(super) async fn record_request(&mut self, call: &Call, admitted: &Admitted) -> Result<(), CallError> {
        let Some(copy) = request_copy(call, admitted) else { return Ok(()) };
        let media_type = call.head.fields.text("content-type").unwrap_or_default();
        self.record_whole(Role::Request, &copy, media_type).await
    }

    /// The id of the call, as callers and upstreams see it.
    pub(super) fn id(&self) -> String {
        self.id.to_string()
    }

    /// A piece of a request that is forwarded while it arrives.
    pub(super) fn streamed_request(&mut self, piece: &[u8]) {
        self.outcome.request_bytes += piece.len() as u64;
        if let Some(hash) = &mut self.streamed {
            hash.update(piece);
        }
    }

    pub(super) fn answer_began(&mut self, status: u16, endpoint: &str, media_type: String) {
        self.marks.reached(Phase::FirstByte);
        self.outcome.status = status;
        endpoint.clone_into(&mut self.outcome.endpoint);
        self.outcome.ttfb_us = Some(Moment::now().mono_us.saturating_sub(self.began.mono_us));
        self.media_type = media_type;
    }

    pub(super) fn answered(&mut self, info: &AnswerInfo) {
        self.outcome.model = info.model.as_deref().map(masked);
        self.outcome.finish_reason = info.finish_reason.as_deref().map(masked);
        if let Some(usage) = &info.usage {
            self.tokens = Some(usage.total.max(usage.prompt.saturating_add(usage.completion)));
            self.outcome.usage =
                Usage { input_tokens: Some(usage.prompt), output_tokens: Some(usage.completion), cached_tokens: None };
        }
    }

    pub(super) fn response_masked(&mut self, hits: &[Hit], coverage: &[redact::ChannelCoverage]) {
        // What was put back was not masked.
        for hit in hits.iter().filter(|hit| hit.action != "restore") {
            self.core.shared.metrics.masked(&hit.detector);
        }
        self.outcome.masks = hits.iter().map(mask_hit).collect();
        self.outcome.coverage = coverage.iter().map(channel_coverage).collect();
    }

    pub(super) fn sent_bytes(&mut self, bytes: usize) {
        self.outcome.response_bytes += bytes as u64;
    }

    /// The caller gets an answer of the gateway with this status in place of the upstream's.
    pub(super) fn replaced(&mut self, status: u16) {
        self.outcome.status = status;
    }

    pub(super) fn failed(&mut self, error: &CallError) {
        if let Some(told) = &mut self.told {
            told.code = error.code;
        }
        super::watch::failed(&self.core, error, Some(self.id));
        self.outcome.error = masked(&error.in_words());
    }

    /// Records a whole body, masked already.
    ///
    /// # Errors
    /// When the evidence is not to be written any more.
    pub(super) async fn record_whole(&mut self, role: Role, body: &[u8], media_type: &str) -> Result<(), CallError> {
        for piece in body.chunks(PIECE_BYTES_MAX) {
            let frame = Frame { dt_us: self.since_last_frame(), bytes: piece.to_vec() };
            self.write_chunk(role, vec![frame], media_type).await?;
        }
        Ok(())
    }

    /// Gathers delivered bytes of a stream, masked already.
    ///
    /// # Errors
    /// When the evidence is not to be written any more.
    pub(super) async fn record_stream(&mut self, bytes: &[u8]) -> Result<(), CallError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let dt_us = self.since_last_frame();
        if self.frames.is_empty() {
            self.frames_since_us = self.last_frame_us;
        }
        for piece in bytes.chunks(PIECE_BYTES_MAX / 2) {
            self.frames.push(Frame { dt_us, bytes: piece.to_vec() });
            self.frames_bytes += piece.len();
            if self.frames_bytes >= CHUNK_BYTES {
                self.flush_stream().await?;
            }
        }
        if self.last_frame_us.saturating_sub(self.frames_since_us) >= CHUNK_US_MAX {
            self.flush_stream().await?;
        }
        Ok(())
    }

    /// Writes what was gathered.
    ///
    /// # Errors
    /// When the evidence is not to be written any more.
    pub(super) async fn flush_stream(&mut self) -> Result<(), CallError> {
        if self.frames.is_empty() {
            return Ok(());
        }
        self.frames_bytes = 0;
        let frames = std::mem::take(&mut self.frames);
        let media_type = self.media_type.clone();
        self.write_chunk(Role::Response, frames, &media_type).await
    }

    /// Writes the OUTCOME and waits until it is durable.
    ///
    /// # Errors
    /// When it will never be; then the end of the answer must not be delivered.
    pub(super) async fn close(&mut self, ended_by: EndedBy) -> Result<(), CallError> {
        self.end_of_seal().await?;
        let Some(commit) = self.queue_outcome(ended_by) else { return Ok(()) };
        commit.await.map(|_| ()).map_err(CallError::no_evidence)
    }

    /// Closes a call that the gateway answers itself.
    ///
    /// # Errors
    /// As [`Self::close`].
    pub(super) async fn close_with_error(mut self, error: &CallError) -> Result<(), CallError> {
        self.outcome.status = error.status;
        self.failed(error);
        let ended_by = if error.is_upstreams() { EndedBy::UpstreamCut } else { EndedBy::GatewayCut };
        self.close(ended_by).await
    }

    fn queue_outcome(&mut self, ended_by: EndedBy) -> Option<Commit> {
        let permit = self.permit.take()?;
        let mut outcome = std::mem::take(&mut self.outcome);
        if let Some(charge) = self.charge.take() {
            // What a failed call used, if anything, the server would have said.
            charge.settle(self.tokens.or((outcome.status >= 400).then_some(0)));
        }
        outcome.values = self.answered_values();
        if let Some(fired) = &self.fired {
            outcome.fired = fired.borrow().iter().cloned().collect();
        }
        outcome.at = Moment::now();
        outcome.duration_us = outcome.at.mono_us.saturating_sub(self.began.mono_us);
        outcome.ended_by = ended_by;
        outcome.request_body = self.streamed.take().map(|hash| hash.finalize().into());
        self.core.shared.metrics.completed(outcome.status);
        telling::over(&self.core, &self.marks, self.told.take(), &outcome);
        Some(self.core.producer.borrow_mut().outcome(permit, &outcome).commit)
    }

    async fn write_chunk(&mut self, role: Role, frames: Vec<Frame>, media_type: &str) -> Result<(), CallError> {
        let chunk = PayloadChunk { role, media_type: media_type.to_owned(), frames };
        loop {
            let Some(permit) = &mut self.permit else { return Ok(()) };
            let pushed = self.core.producer.borrow_mut().payload(permit, &chunk);
            match pushed {
                // Nobody waits for a chunk by itself: the OUTCOME comes after it in the same log.
                Ok(_) => return Ok(()),
                // Back-pressure: the caller waits for the disk, the upstream for the caller.
                Err(EvidenceError::QueueFull) => rt::sleep(QUEUE_WAIT).await,
                Err(error) => return Err(CallError::no_evidence(error)),
            }
        }
    }

    fn since_last_frame(&mut self) -> u64 {
        let now_us = Moment::now().mono_us;
        let dt_us = now_us.saturating_sub(self.last_frame_us);
        self.last_frame_us = now_us;
        dt_us
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        if self.permit.is_some() && self.written {
            self.core.shared.metrics.completed(0);
        }
    }
}

/// Writes a refusal and waits until it is durable; the id of the record.
///
/// # Errors
/// When it will never be.
pub(super) async fn refusal(core: &Core, call: &Call, error: &CallError) -> Result<String, CallError> {
    if call.caller.is_none()
        && let Some(id) = summarised(core, call.peer)
    {
        return Ok(id);
    }
    let judged = call.judged.as_ref();
    let decision = match judged.map(|judged| &judged.decision.verdict) {
        _ if error.code == "approval_pending" => Decision::Pending,
        Some(_) => Decision::Deny,
        None => Decision::Reject,
    };
    write_refusal(
        core,
        call.began.as_ref().map(|began| began.id),
        Refusal {
            at: Moment::now(),
            caller: caller(call),
            request: request_info(call),
            declared: declared(core, call),
            dialect: call.operation.map_or("", Operation::dialect).to_owned(),
            operation: call.operation.map_or("", Operation::endpoint).to_owned(),
            model: judged.and_then(model),
            policy: judged.map(|_| policy_ref(call)),
            decision,
            status: error.status,
            code: Cow::Borrowed(error.code),
            reason: masked(&error.in_words()),
            fired: judged.map(|judged| fired(call, judged)).unwrap_or_default(),
            approval: error.approval.as_deref().copied(),
            count: 1,
            keep: keep(call),
        },
    )
    .await
}

/// Likewise for a head that could not be read.
///
/// # Errors
/// As [`refusal`].
pub(super) async fn malformed(core: &Core, peer: SocketAddr, error: &CallError) -> Result<String, CallError> {
    if let Some(id) = summarised(core, peer) {
        return Ok(id);
    }
    write_refusal(
        core,
        None,
        Refusal {
            at: Moment::now(),
            request: RequestInfo { address: peer.ip().to_string(), ..RequestInfo::default() },
            decision: Decision::Reject,
            status: error.status,
            code: Cow::Borrowed(error.code),
            reason: masked(&error.in_words()),
            count: 1,
            ..Refusal::default()
        },
    )
    .await
}

/// Refusals of callers who are not known, above a rate per address, are counted in one record, which the control plane writes
/// (DECISIONS 22); its id.
fn summarised(core: &Core, peer: SocketAddr) -> Option<String> {
    let failures = &core.shared.identification.failures;
    let new_id = || core.producer.borrow().new_id();
    failures.summarise(peer.ip(), core.shared.clock.unix_ms(), new_id).map(|id| id.to_string())
}

/// Under its id if the caller was told one already.
async fn write_refusal(core: &Core, id: Option<RecordId>, refusal: Refusal) -> Result<String, CallError> {
    // Whom nobody knows must not be able to fill the disk. While the log is not well, each one is tried, and fails, by itself.
    if refusal.caller.subject.is_empty() && refusal.decision == Decision::Reject && core.shared.evidence.is_healthy() {
        let new_id = || core.producer.borrow().new_id();
        if let Some(id) = core.flood.borrow_mut().count(&refusal, refusal.at.mono_us, new_id) {
            return Ok(id.to_string());
        }
    }
    let receipt = {
        let mut producer = core.producer.borrow_mut();
        let id = id.unwrap_or_else(|| producer.new_id());
        producer.refusal(id, &refusal)
    };
    receipt.commit.await.map_err(CallError::no_evidence)?;
    Ok(receipt.id.to_string())
}

/// Writes the records that stand for many refusals as their windows end, until the core ends.
pub(super) async fn sum_up(core: Rc<Core>, alive: Rc<std::cell::Cell<bool>>) {
    while alive.get() {
        rt::sleep(SUM_UP_EVERY).await;
        sum_up_now(&core, false).await;
    }
}

/// Likewise at once; with `all`, also of the windows that are not over.
pub(super) async fn sum_up_now(core: &Core, all: bool) {
    let due = core.flood.borrow_mut().due(Moment::now().mono_us, all);
    for (id, summary) in due {
        let commit = core.producer.borrow_mut().refusal(id, &summary).commit;
        if let Err(error) = commit.await {
            let count = summary.count;
            tracing::error!(%error, count, "refusals could not be written to the evidence");
        }
    }
}

pub(super) use values::of_body as values_of;

/// SHA-256 of a body.
pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

fn intent(core: &Core, call: &Call, admitted: &Admitted) -> Intent {
    let judged = call.judged.as_ref();
    for hit in &admitted.request_hits {
        core.shared.metrics.masked(&hit.detector);
    }
    let upstream = call.route();
    let mut fired = judged.map(|judged| fired(call, judged)).unwrap_or_default();
    fired.extend(admitted.passes.beside().map(|id| format!("grant:{id}")));
    Intent {
        at: Moment::now(),
        caller: caller(call),
        request: request_info(call),
        declared: declared(core, call),
        dialect: call.operation.map_or("opaque", Operation::dialect).to_owned(),
        operation: call.operation.map_or("opaque", Operation::endpoint).to_owned(),
        model: judged.and_then(model),
        upstream: upstream.map(|route| route.config.name.clone()).unwrap_or_default(),
        policy: policy_ref(call),
        decision: if admitted.passes.cited().is_some() { Decision::Approved } else { Decision::Allow },
        fired,
        masks: admitted.request_hits.iter().map(mask_hit).collect(),
        coverage: if call.operation.is_some() && admitted.body.is_some() {
            admitted.request_coverage.iter().map(channel_coverage).collect()
        } else {
            // A body that no rule asked to read, or on an opened route one that nobody could.
            let coverage = if call.operation.is_some() { Coverage::Opaque } else { Coverage::Unscannable };
            vec![(Cow::Borrowed("body"), coverage)]
        },
        approval: admitted.passes.cited(),
        parent: None,
        body: admitted.raw_digest.map_or(RequestBody::Follows, RequestBody::Whole),
        keep: keep(call),
        values: admitted.values.clone(),
    }
}

/// How long the policy wants what is written of the call kept.
fn keep(call: &Call) -> Keep {
    call.judged.as_ref().map(keep_of).unwrap_or_default()
}

/// Likewise, by what was decided.
pub(super) fn keep_of(judged: &super::judge::Judged) -> Keep {
    let owed = &judged.decision.obligations;
    Keep { at_least: owed.retain_at_least, at_most: owed.retain_at_most }
}

/// Text that a caller chose, too.
fn model(judged: &super::judge::Judged) -> Option<String> {
    (!judged.model.is_empty()).then(|| masked(&judged.model))
}

fn fired(call: &Call, judged: &super::judge::Judged) -> Vec<String> {
    let decision = &judged.decision;
    let mut names = call.rule_names(&decision.fired);
    names.extend(call.rule_names(&decision.shadow_fired).into_iter().map(|name| format!("shadow:{name}")));
    names.extend(call.rule_names(&decision.errors).into_iter().map(|name| format!("error:{name}")));
    names.extend(call.rule_names(judged.limited.as_slice()).into_iter().map(|name| format!("limit:{name}")));
    if let Verdict::Deny(denial) = &decision.verdict
        && denial.rule.is_none()
    {
        names.push("default-deny".to_owned());
    }
    names
}

fn caller(call: &Call) -> Caller {
    let Some(identity) = &call.caller else { return Caller::default() };
    Caller {
        subject: identity.subject.clone(),
        issuer: identity.issuer.clone(),
        client: identity.client_id.clone().unwrap_or_default(),
        kind: match identity.kind {
            identity::CallerKind::User => CallerKind::User,
            identity::CallerKind::Service => CallerKind::Service,
        },
        groups: identity.groups.clone(),
        tenant: identity.tenant.clone(),
        token_id: identity.token_id.clone().unwrap_or_default(),
    }
}

/// The data subject is kept as a pseudonym: the record lies under the caller's key, and would outlive the other person's.
fn declared(core: &Core, call: &Call) -> Declared {
    let Some(declared) = call.declared() else { return Declared::default() };
    let tenant = call.caller.as_ref().map(|caller| caller.tenant.as_str()).unwrap_or_default();
    let said = |stated: &Option<identity::Stated>, value: &dyn Fn(&str) -> String| {
        stated.as_ref().map(|stated| Said { by: stated.by.as_str(), value: value(&stated.value) })
    };
    let pseudonym =
        |name: &str| hex::encode(core.shared.evidence.mac("data subject", &[tenant.as_bytes(), name.as_bytes()]));
    Declared {
        purpose: said(&declared.purpose, &masked),
        basis: said(&declared.basis, &masked),
        data_subject: said(&declared.data_subject, &pseudonym),
    }
}

/// Path and host are text that a caller chose, so they are masked like a body before they are stored (DESIGN §4.4).
fn request_info(call: &Call) -> RequestInfo {
    RequestInfo {
        address: call.peer.ip().to_string(),
        method: call.head.method.clone(),
        host: masked(call.head.host()),
        path: masked_target(&call.head.target),
        trace: call.trace.id(),
    }
}

fn policy_ref(call: &Call) -> PolicyRef {
    let program = call.policy.compiled.program();
    let mut sha256 = [0; 32];
    // A digest that is not 64 hexadecimal digits stays all zero, which no text has.
    let _ = hex::decode_to_slice(&program.digest, &mut sha256);
    PolicyRef { name: program.name.clone(), version: program.version.to_string(), sha256 }
}

fn mask_hit(hit: &Hit) -> MaskHit {
    MaskHit {
        rule: hit.rule.to_string(),
        detector: hit.detector.to_string(),
        tier: match hit.tier {
            redact::Tier::Validated => "V",
            redact::Tier::Context => "C",
            redact::Tier::OptIn => "O",
            redact::Tier::Custom => "custom",
            redact::Tier::Path => "path",
        }
        .to_owned(),
        pointer: hit.pointer.clone(),
        offset: hit.offset,
        length: u64::from(hit.length),
        action: hit.action.to_owned(),
    }
}

fn channel_coverage(channel: &redact::ChannelCoverage) -> (Cow<'static, str>, Coverage) {
    let coverage = match channel.coverage {
        redact::Coverage::Scanned => Coverage::Scanned,
        redact::Coverage::Opaque => Coverage::Opaque,
        redact::Coverage::ByReference => Coverage::ByReference,
        redact::Coverage::Unscannable => Coverage::Unscannable,
    };
    (Cow::Owned(channel.channel.to_string()), coverage)
}

/// How the body is read that goes to the upstream: masking may have changed where its tail begins.
pub(super) fn form(call: &Call, json_bytes: Option<usize>) -> BodyForm {
    match json_bytes {
        Some(json_bytes) => BodyForm::Tensors { json_bytes },
        None => call.form.clone(),
    }
}

/// What plans do not look at: file names of a form, base64.
pub(super) fn last_pass(form: &BodyForm, copy: Vec<u8>) -> Vec<u8> {
    match form {
        BodyForm::Json | BodyForm::Lines => without_encoded(copy),
        // Tensors stay what they are; forms and texts are text as far as they can be read.
        BodyForm::Tensors { .. } => copy,
        BodyForm::Form { .. } | BodyForm::Text | BodyForm::Opaque => without_encoded(masked_bytes(&copy)),
    }
}

/// Whether the recorded copy of the request is to be written, and from what.
pub(super) fn request_copy(call: &Call, admitted: &Admitted) -> Option<Vec<u8>> {
    let (operation, body) = (call.operation?, admitted.body.as_deref()?);
    if body.is_empty() {
        return None;
    }
    let form = form(call, admitted.json_bytes);
    let copy = redact::redact_request_as(operation, &form, &admitted.plans.recorded_request, body);
    let copy = copy.map_or_else(|_| b"[could not be masked, so not recorded]".to_vec(), |copy| copy.body.into_owned());
    Some(last_pass(&form, copy))
}
