//! The answer on its way to the caller: masked as it comes, its end held until the OUTCOME is durable (DECISIONS 23).

use std::rc::Rc;

use crate::metrics::Event;
use audit_shipper::{EndedBy, Role};
use policy_compiler::dialect::{self, BodyForm, ErrorKind, Operation};
use policy_compiler::redact::{self, StreamOutput, StreamRedactor};

use super::answer::{self, Ending, JSON_BYTES_FIELD, Rewritten};
use super::coding::{CodingError, Decoder};
use super::core::Core;
use super::error::CallError;
use super::exchange::{Admitted, After, Call, answer_error};
use super::http::{Body, BodyError, Framing, LAST_CHUNK, ResponseHead, Wire, write_chunk};
use super::limit;
use super::record::{OpenCall, last_pass};
use super::response_rules::AnswerRules;
use super::restore::{Restoring, restore_whole};
use super::upstream::Lease;
use crate::recorded_text::without_encoded;

/// Answers that are masked whole are held in memory up to this, in bytes.
const WHOLE_ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What is kept of a stream for rules that may ask for a recorded copy at its end, in bytes.
const UNASKED_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Coded bytes that are decoded in one step, so that the bound above holds before a bomb is unpacked.
const DECODED_AT_ONCE_BYTES: usize = 4096;

/// One answer between two wires.
struct Delivery<'a> {
    core: &'a Rc<Core>,
    client: &'a mut Wire,
    lease: &'a mut Lease,
    call: &'a Call,
    admitted: &'a Admitted,
    head: ResponseHead,
    body: Body,
    open: OpenCall,
    rules: AnswerRules<'a>,
    /// The head is on its way, so no error can stand in its place any more.
    began: bool,
    /// A recorded copy that is written only if a rule comes to ask for it.
    unasked: Vec<u8>,
}

/// How a delivery ended.
enum End {
    /// The caller has all of it.
    Complete,
    /// The caller has an error in place of the answer, on a connection that can go on.
    Replaced(CallError),
    /// The caller's connection must close.
    Cut,
}

/// Delivers the answer and closes the call's record.
pub(super) async fn deliver(
    core: &Rc<Core>,
    client: &mut Wire,
    mut lease: Lease,
    head: ResponseHead,
    call: &Call,
    admitted: &Admitted,
    mut open: OpenCall,
) -> After {
    open.answer_began(head.status, &lease.server.authority, head.media_type());
    let reusable = head.keep_alive;
    let request_id = open.id();
    let (end, done) = match AnswerRules::at_head(core, call, admitted, head.status) {
        Ok(rules) => {
            let body = Body::new(head.framing);
            let (began, unasked) = (false, Vec::new());
            let (client, lease) = (&mut *client, &mut lease);
            let mut delivery =
                Delivery { core, client, lease, call, admitted, head, body, open, rules, began, unasked };
            (delivery.run().await, delivery.body.is_done())
        }
        Err(denial) => (replace(&mut open, denial, EndedBy::GatewayCut).await, false),
    };
    // A server that answered before it had the whole request is owed the rest of it on that connection.
    if reusable && done && call.body.is_done() {
        core.pool.give_back(lease, core.watchdog.now_ms());
    }
    client.socket.never_times_out();
    match end {
        End::Complete if call.keeps_alive() => After::KeepAlive,
        End::Complete if !call.body.is_done() => After::Linger,
        End::Complete | End::Cut => After::Close,
        End::Replaced(error) => answer_error(core, client, call, &error, &request_id).await,
    }
}

impl Delivery<'_> {
    async fn run(&mut self) -> End {
        if let Some(error) = self.call.began.as_ref().and_then(|_| self.breaks_promise()) {
            return self.replace(error, EndedBy::UpstreamCut).await;
        }
        if self.rules.may_seal()
            && let Err(error) = self.open.seal_answer(self.rules.seals())
        {
            return self.replace(error, EndedBy::GatewayCut).await;
        }
        let Some(operation) = self.call.operation else { return self.through().await };
        let masks = !self.rules.plans.response.is_empty() || self.rules.binds();
        let changes = self.rules.plans.restoring().is_some() || self.admitted.strips_usage;
        let looks = self.rules.undecided() || self.rules.keeps_payload() || limit::counts_tokens(self.call);
        if !masks && !changes && !looks {
            return self.through().await;
        }
        let decoder = match self.decoder() {
            Ok(decoder) => decoder,
            Err(error) if masks => return self.unscannable(error).await,
            Err(_) => return self.unread().await,
        };
        let media_type = self.head.media_type();
        if let Some(framing) = stream_framing(operation, &media_type) {
            return self.events(operation, framing, decoder).await;
        }
        let is_error = !(200..300).contains(&self.head.status);
        let content_type = self.head.fields.text("content-type").unwrap_or_default();
        match BodyForm::of_answer(operation, content_type, self.head.fields.text(JSON_BYTES_FIELD)) {
            Ok(BodyForm::Opaque) => self.unread().await,
            Ok(form) => self.whole(operation, form, media_type, decoder).await,
            // What a server says when it fails is short and often no JSON.
            Err(_) if is_error => self.whole(operation, BodyForm::Text, media_type, decoder).await,
            Err(error) if masks => self.unscannable(error).await,
            Err(_) => self.unread().await,
        }
    }

    /// Passed on as it comes, if the rules have nothing against an answer that nobody can look into.
    async fn unread(&mut self) -> End {
        let judged = self.rules.judge_unread();
        match self.judged(judged).await {
            Ok(()) => self.through().await,
            Err(denial) => self.replace(denial, EndedBy::GatewayCut).await,
        }
    }

    /// Why the answer is not the stream of events that the caller was told of while the call waited for people.
    fn breaks_promise(&self) -> Option<CallError> {
        let looked_into = !self.admitted.plans.response.is_empty() || self.call.keeps_payload();
        let (status, media_type) = (self.head.status, self.head.media_type());
        let why = if !(200..300).contains(&status) {
            format!("The model server answered with the status {status}.")
        } else if media_type != "text/event-stream" {
            "The model server did not answer with a stream of events.".to_owned()
        } else if !looked_into && self.head.fields.first("content-encoding").is_some() {
            "The model server answered in a content coding that was not asked for.".to_owned()
        } else {
            return None;
        };
        let kind = if status == 429 { ErrorKind::RateLimited } else { ErrorKind::Upstream };
        Some(CallError::new(kind, "upstream_failed", why))
    }

    /// How the body of a stream ends, if its head is not out already.
    fn stream_ending(&self) -> Ending {
        self.call.began.as_ref().map_or_else(|| Ending::of_stream(&self.call.head), |began| began.ending)
    }

    /// What takes the answer's content coding off.
    fn decoder(&self) -> Result<Decoder, CodingError> {
        let mut codings = self.head.fields.all("content-encoding");
        let coding = codings.next().map(|coding| String::from_utf8_lossy(coding).into_owned());
        if codings.next().is_some() {
            return Err(CodingError::Unknown("several".to_owned()));
        }
        Decoder::new(coding.as_deref())
    }

    /// Events: each goes on as soon as it is masked, unless a rule holds them all.
    async fn events(&mut self, operation: Operation, framing: redact::Framing, mut decoder: Decoder) -> End {
        let choices = self.call.judged.as_ref().map_or(1, |judged| judged.choices);
        let plans = Rc::clone(&self.rules.plans);
        let mut redactor = StreamRedactor::new(operation, plans.response.clone(), choices).framed(framing);
        if self.admitted.strips_usage {
            redactor = redactor.without_usage();
        }
        if self.rules.undecided() {
            redactor = redactor.listening();
        }
        let mut restoring = Restoring::new(&plans, operation, choices, framing);
        let mut copy = self.recorder(operation, choices).map(|copy| copy.framed(framing));
        let ending = self.stream_ending();
        let rewritten = Rewritten { bytes: true, decoded: !decoder.is_identity(), json_bytes: None };
        let holds = self.rules.holds();
        if !holds && self.send_head(Some(ending), rewritten).await.is_err() {
            return self.caller_left().await;
        }
        let mut coded = Vec::new();
        let (mut raw, mut out, mut wire) = (Vec::new(), StreamOutput::default(), Vec::new());
        let (mut began, mut size) = (false, 0);
        loop {
            began |= !coded.is_empty();
            raw.clear();
            coded.clear();
            self.wait_within(began);
            let more = match self.body.read_some(&mut self.lease.wire, &mut coded).await {
                Ok(more) => more,
                Err(error) => {
                    let error = self.broke_off(&error);
                    return self.cut_stream(&mut copy, error, EndedBy::UpstreamCut, ending).await;
                }
            };
            let decoded = if more { decoder.push(&coded, &mut raw) } else { decoder.finish(&mut raw) };
            if let Err(error) = decoded {
                return self.cut_stream(&mut copy, cut_error(error), EndedBy::GatewayCut, ending).await;
            }
            size += raw.len();
            if self.open.take_original(&raw).await.is_err() {
                let error = CallError::no_evidence("the original could not be sealed");
                return self.cut_stream(&mut copy, error, EndedBy::GatewayCut, ending).await;
            }
            let mut redacted = redactor.push(&raw, &mut out);
            if !more {
                redacted = redacted.and_then(|()| redactor.finish(&mut out));
            }
            if let Err(error) = redacted {
                return self.cut_stream(&mut copy, cut_error(error), EndedBy::GatewayCut, ending).await;
            }
            if let Err(denial) = self.rules.judge_so_far(operation, &redactor) {
                return self.cut_stream(&mut copy, denial, EndedBy::GatewayCut, ending).await;
            }
            if holds && out.ready.len() > redact::HELD_BYTES_MAX {
                let error = cut_error("a rule holds the stream, which is longer than can be held");
                return self.cut_stream(&mut copy, error, EndedBy::GatewayCut, ending).await;
            }
            if !out.ready.is_empty() && !holds {
                if let Err(end) = self.release(&mut copy, &out.ready, &mut restoring, &mut wire, ending).await {
                    self.note_answer(&redactor, &restoring);
                    return end;
                }
                out.ready.clear();
            }
            if !more {
                break;
            }
        }
        let judged = self.rules.judge_stream(operation, redactor.heard(), redactor.info(), size);
        if let Err(denial) = self.judged(judged).await {
            self.note_answer(&redactor, &restoring);
            return self.cut_stream(&mut copy, denial, EndedBy::GatewayCut, ending).await;
        }
        if holds {
            if self.send_head(Some(ending), rewritten).await.is_err() {
                return self.caller_left().await;
            }
            if let Err(end) = self.release(&mut copy, &out.ready, &mut restoring, &mut wire, ending).await {
                self.note_answer(&redactor, &restoring);
                return end;
            }
        }
        if self.record(&mut copy, &out.held).await.is_err() || self.finish_record(&mut copy).await.is_err() {
            let error = CallError::no_evidence("the payload could not be recorded");
            return self.cut_stream(&mut copy, error, EndedBy::GatewayCut, ending).await;
        }
        let last = match restoring.finish(&out.held) {
            Ok(last) => last,
            Err(error) => return self.cut_stream(&mut copy, cut_error(error), EndedBy::GatewayCut, ending).await,
        };
        self.note_answer(&redactor, &restoring);
        if self.open.close(EndedBy::Complete).await.is_err() {
            return End::Cut;
        }
        frame(&mut wire, &last, ending);
        if ending == Ending::Chunked {
            wire.extend_from_slice(LAST_CHUNK);
        }
        match self.send(&wire).await {
            Ok(()) if ending == Ending::Chunked => End::Complete,
            _ => End::Cut,
        }
    }

    /// Records events, then sends them with what was hidden from the model put back.
    async fn release(
        &mut self,
        copy: &mut Option<StreamRedactor>,
        events: &[u8],
        restoring: &mut Restoring,
        wire: &mut Vec<u8>,
        ending: Ending,
    ) -> Result<(), End> {
        if self.record(copy, events).await.is_err() {
            let error = CallError::no_evidence("the payload could not be recorded");
            return Err(self.cut_stream(copy, error, EndedBy::GatewayCut, ending).await);
        }
        let restored = match restoring.push(events) {
            Ok(restored) => restored,
            Err(error) => return Err(self.cut_stream(copy, cut_error(error), EndedBy::GatewayCut, ending).await),
        };
        if restored.is_empty() {
            return Ok(());
        }
        frame(wire, &restored, ending);
        match self.send(wire).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.caller_left().await),
        }
    }

    /// A body that is read whole, masked whole, and sent when its OUTCOME is durable.
    async fn whole(&mut self, operation: Operation, form: BodyForm, media_type: String, mut decoder: Decoder) -> End {
        self.lease.wire.socket.read_within(self.lease.route.timeouts.first_byte);
        let coded = match self.body.read_whole(&mut self.lease.wire, WHOLE_ANSWER_BYTES_MAX, |_, _| {}).await {
            Ok(raw) => raw,
            Err(error) => {
                let error = self.broke_off(&error);
                return self.replace(error, EndedBy::UpstreamCut).await;
            }
        };
        let decoded = !decoder.is_identity();
        let raw = match decode(&mut decoder, coded) {
            Ok(raw) => raw,
            Err(error) => return self.replace(withheld(error), EndedBy::GatewayCut).await,
        };
        if let Err(error) = self.open.take_original(&raw).await {
            return self.replace(error, EndedBy::GatewayCut).await;
        }
        let judged = self.rules.judge_body(operation, &form, &raw);
        if let Err(denial) = self.judged(judged).await {
            return self.replace(denial, EndedBy::GatewayCut).await;
        }
        let plans = Rc::clone(&self.rules.plans);
        // The text of an error may stand anywhere, so everything is looked at where the policy masks anything.
        let is_error = !(200..300).contains(&self.head.status);
        let plan = if is_error && !plans.response.is_empty() { &plans.error } else { &plans.response };
        let (redacted, info) = match redact::redact_answer_as(operation, &form, plan, &raw) {
            Ok(masked) => masked,
            Err(error) => return self.replace(withheld(error), EndedBy::GatewayCut).await,
        };
        self.open.answered(&info);
        let json_bytes = redacted.json_bytes;
        let form = json_bytes.map_or(form, |json_bytes| BodyForm::Tensors { json_bytes });
        let body = redacted.body;
        if self.rules.keeps_payload() {
            if self.keep_request().await.is_err() {
                return End::Replaced(CallError::no_evidence("the payload could not be recorded"));
            }
            let copy = match redact::redact_answer_as(operation, &form, &plans.recorded_response, &body) {
                Ok((copy, _)) => last_pass(&form, copy.body.into_owned()),
                Err(_) => b"[could not be masked, so not recorded]".to_vec(),
            };
            if self.open.record_whole(Role::Response, &copy, &media_type).await.is_err() {
                return End::Replaced(CallError::no_evidence("the payload could not be recorded"));
            }
        }
        let (body, restored) = restore_whole(&plans, operation, &form, body);
        self.open.response_masked(&[redacted.hits, restored].concat(), &redacted.coverage);
        self.open.sent_bytes(body.len());
        if let Err(no_evidence) = self.open.close(EndedBy::Complete).await {
            return End::Replaced(no_evidence);
        }
        let rewritten = Rewritten { bytes: decoded || body != raw, decoded, json_bytes };
        let mut bytes = self.head_bytes(Some(Ending::Length(body.len() as u64)), rewritten);
        bytes.extend_from_slice(&body);
        match self.send(&bytes).await {
            Ok(()) => End::Complete,
            Err(_) => End::Cut,
        }
    }

    /// Bytes that nobody asked to look into: passed on as they come, the newest piece held back until the OUTCOME is durable.
    async fn through(&mut self) -> End {
        let ending = match self.head.framing {
            _ if self.call.began.is_some() => Some(self.stream_ending()),
            _ if self.call.head_only() => None,
            Framing::Length(0) if matches!(self.head.status, 204 | 304) => None,
            Framing::Length(length) => Some(Ending::Length(length)),
            Framing::Chunked | Framing::UntilClose => Some(Ending::of_stream(&self.call.head)),
        };
        let coded = ending.unwrap_or(Ending::Length(0));
        let mut wire = self.head_bytes(ending, Rewritten::default());
        let (mut newest, mut next) = (Vec::new(), Vec::new());
        loop {
            let began = !newest.is_empty();
            self.wait_within(began);
            next.clear();
            match self.body.read_some(&mut self.lease.wire, &mut next).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    let error = self.broke_off(&error);
                    self.open.failed(&error);
                    // The log says what happened; the caller sees the body end early, never a faked end.
                    let _ = self.open.close(EndedBy::UpstreamCut).await;
                    return End::Cut;
                }
            }
            if let Err(error) = self.open.take_original(&next).await {
                self.open.failed(&error);
                let _ = self.open.close(EndedBy::GatewayCut).await;
                return End::Cut;
            }
            if !newest.is_empty() {
                frame_after(&mut wire, &newest, coded);
                if self.send(&wire).await.is_err() {
                    return self.caller_left().await;
                }
                wire.clear();
            }
            std::mem::swap(&mut newest, &mut next);
            if self.body.is_done() {
                break;
            }
        }
        self.open.sent_bytes(newest.len());
        if let Err(no_evidence) = self.open.close(EndedBy::Complete).await {
            // Nothing was sent yet if the head still waits in `wire`.
            return if wire.is_empty() { End::Cut } else { End::Replaced(no_evidence) };
        }
        frame_after(&mut wire, &newest, coded);
        if coded == Ending::Chunked {
            wire.extend_from_slice(LAST_CHUNK);
        }
        match self.send(&wire).await {
            Ok(()) if coded != Ending::Close => End::Complete,
            _ => End::Cut,
        }
    }

    /// What cannot be looked into does not pass where the policy masks (DESIGN §4.1).
    async fn unscannable(&mut self, why: impl std::fmt::Display) -> End {
        let error = CallError::new(
            ErrorKind::Upstream,
            "cannot_mask",
            "The policy masks this answer, but its form cannot be looked into, so it is withheld.",
        )
        .because(why);
        self.replace(error, EndedBy::GatewayCut).await
    }

    /// How long the next byte of the answer may take.
    fn wait_within(&self, began: bool) {
        let timeouts = &self.lease.route.timeouts;
        self.lease.wire.socket.read_within(if began { timeouts.idle } else { timeouts.first_event });
    }

    fn broke_off(&self, error: &BodyError) -> CallError {
        let metrics = &self.core.shared.metrics;
        self.lease.blame(metrics);
        let error = upstream_error(error);
        if let Some(limit) = error.limit() {
            metrics.events.count(limit);
        }
        error
    }

    /// The rules have seen all of the answer that they will see.
    async fn judged(&mut self, verdict: Result<(), CallError>) -> Result<(), CallError> {
        let settled = self.open.settle_seal(self.rules.seals()).await;
        verdict.and(settled)
    }

    async fn replace(&mut self, error: CallError, ended_by: EndedBy) -> End {
        replace(&mut self.open, error, ended_by).await
    }

    /// Where only the answer made the payload one that is kept, the request is recorded now.
    async fn keep_request(&mut self) -> Result<(), CallError> {
        if self.call.keeps_payload() {
            return Ok(());
        }
        self.open.record_request(self.call, self.admitted).await
    }

    /// The caller gets an error event, then the connection ends without the last chunk; where not even the head is out, an ordinary
    /// error.
    async fn cut_stream(
        &mut self,
        copy: &mut Option<StreamRedactor>,
        error: CallError,
        ended_by: EndedBy,
        ending: Ending,
    ) -> End {
        if !self.began {
            return self.replace(error, ended_by).await;
        }
        // What was delivered is recorded as far as it can be.
        let _ = self.finish_record(copy).await;
        self.open.failed(&error);
        if self.open.close(ended_by).await.is_ok() {
            let event = dialect::stream_error_event(self.call.errors(), error.kind, error.code, &error.message);
            let mut wire = Vec::new();
            frame(&mut wire, &event, ending);
            let _ = self.send(&wire).await;
        }
        End::Cut
    }

    async fn caller_left(&mut self) -> End {
        // Nobody is left to tell if even this cannot be written; the next start finds the call open and says so.
        let _ = self.open.close(EndedBy::CallerLeft).await;
        End::Cut
    }

    async fn send_head(&mut self, ending: Option<Ending>, rewritten: Rewritten) -> std::io::Result<()> {
        let bytes = self.head_bytes(ending, rewritten);
        self.began = true;
        // Of a call that was held open the head is sent already.
        if bytes.is_empty() { Ok(()) } else { self.send(&bytes).await }
    }

    /// Nothing if the head went out while the call waited for people.
    fn head_bytes(&self, ending: Option<Ending>, rewritten: Rewritten) -> Vec<u8> {
        if self.call.began.is_some() {
            return Vec::new();
        }
        answer::forwarded_head(&self.head, &self.open.id(), ending, self.call.says_close(self.core), rewritten)
    }

    async fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.client.socket.move_within(self.call.live.config.listen.limits.stream_idle);
        let written = self.client.socket.write_all(bytes).await;
        if written.is_err() && self.client.socket.timed_out() {
            // The caller reads too slowly.
            self.core.shared.metrics.events.count(Event::StreamIdleTimeout);
        }
        self.open.sent_bytes(bytes.len());
        written
    }

    fn recorder(&self, operation: Operation, choices: u32) -> Option<StreamRedactor> {
        let plan = self.rules.plans.recorded_response.clone();
        self.rules.may_keep_payload().then(|| StreamRedactor::new(operation, plan, choices))
    }

    /// Adds delivered bytes to the recorded copy, masked once more.
    async fn record(&mut self, copy: &mut Option<StreamRedactor>, delivered: &[u8]) -> Result<(), CallError> {
        let Some(redactor) = copy else { return Ok(()) };
        let mut out = StreamOutput::default();
        redactor.push(delivered, &mut out).map_err(CallError::no_evidence)?;
        out.ready.append(&mut out.held);
        if self.rules.keeps_payload() {
            return self.open.record_stream(&without_encoded(std::mem::take(&mut out.ready))).await;
        }
        self.unasked.append(&mut out.ready);
        if self.unasked.len() > UNASKED_BYTES_MAX {
            return Err(CallError::no_evidence("a rule may ask for more of the answer than can be kept for it"));
        }
        Ok(())
    }

    async fn finish_record(&mut self, copy: &mut Option<StreamRedactor>) -> Result<(), CallError> {
        let Some(mut redactor) = copy.take() else { return Ok(()) };
        let mut out = StreamOutput::default();
        redactor.finish(&mut out).map_err(CallError::no_evidence)?;
        // What is still undecided when the answer breaks off counts as asked for.
        if !self.rules.may_keep_payload() {
            return Ok(());
        }
        self.keep_request().await?;
        let mut rest = std::mem::take(&mut self.unasked);
        rest.append(&mut out.ready);
        rest.append(&mut out.held);
        self.open.record_stream(&without_encoded(rest)).await?;
        self.open.flush_stream().await
    }

    fn note_answer(&mut self, redactor: &StreamRedactor, restoring: &Restoring) {
        self.open.response_masked(&[redactor.hits(), restoring.hits()].concat(), &redactor.coverage());
        self.open.answered(redactor.info());
    }
}

async fn replace(open: &mut OpenCall, error: CallError, ended_by: EndedBy) -> End {
    open.failed(&error);
    open.replaced(error.status);
    match open.close(ended_by).await {
        Ok(()) => End::Replaced(error),
        Err(no_evidence) => End::Replaced(no_evidence),
    }
}

/// How the events of an answer are told apart; `None` if it is no stream.
fn stream_framing(operation: Operation, media_type: &str) -> Option<redact::Framing> {
    match media_type {
        "text/event-stream" => Some(redact::Framing::Events),
        "application/x-ndjson" | "application/jsonl" if operation.answers_in_events() => Some(redact::Framing::Lines),
        _ => None,
    }
}

fn decode(decoder: &mut Decoder, coded: Vec<u8>) -> Result<Vec<u8>, CodingError> {
    if decoder.is_identity() {
        return Ok(coded);
    }
    let mut raw = Vec::new();
    for piece in coded.chunks(DECODED_AT_ONCE_BYTES) {
        decoder.push(piece, &mut raw)?;
        if raw.len() > WHOLE_ANSWER_BYTES_MAX {
            return Err(CodingError::TooLarge(WHOLE_ANSWER_BYTES_MAX));
        }
    }
    decoder.finish(&mut raw)?;
    Ok(raw)
}

fn cut_error(cause: impl std::fmt::Display) -> CallError {
    CallError::new(ErrorKind::Upstream, "cannot_mask", "The answer could not be masked, so it was cut.").because(cause)
}

fn withheld(cause: impl std::fmt::Display) -> CallError {
    CallError::new(ErrorKind::Upstream, "cannot_mask", "The answer could not be masked, so it is withheld.")
        .because(cause)
}

pub(super) fn upstream_error(error: &BodyError) -> CallError {
    match error {
        BodyError::TimedOut => CallError::new(
            ErrorKind::UpstreamTimeout,
            "upstream_stalled",
            "The model server stopped sending in the middle of its answer.",
        ),
        other => CallError::new(ErrorKind::Upstream, "upstream_failed", "The model server's answer broke off.")
            .because(other),
    }
}

/// Replaces `wire` by `data` in the ending's framing.
fn frame(wire: &mut Vec<u8>, data: &[u8], ending: Ending) {
    wire.clear();
    frame_after(wire, data, ending);
}

fn frame_after(wire: &mut Vec<u8>, data: &[u8], ending: Ending) {
    if ending == Ending::Chunked { write_chunk(wire, data) } else { wire.extend_from_slice(data) }
}
