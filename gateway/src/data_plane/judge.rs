//! From a call to a decision: facts in their slots, then native code.

use std::collections::BTreeMap;
use std::net::IpAddr;

use policy_compiler::dialect::{self, AnswerInfo, BatchLine, BodyForm, ErrorKind, Operation, Request};
use policy_lang::schema::{BoolField, IntField, StrField, is_credential_header};
use policy_lang::{
    BodyView, Decision, DeclaredPurpose, Denial, Effect, EnvView, Facts, HeaderView, Nothing, RuleId, Rules,
    SourceKind, TextEngine, Unread, Verdict,
};

use super::error::CallError;
use super::http::{Fields, Framing, RequestHead};
use crate::clock::Moment;
use crate::identity::{CallerKind, Declared, KnownCaller, StatedBy};
use crate::policy_slot::ActivePolicy;
use crate::second_opinion::SecondOpinion;

/// What is judged.
#[derive(Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) policy: &'a ActivePolicy,
    pub(crate) operation: Option<Operation>,
    /// How the body is read.
    pub(crate) form: &'a BodyForm,
    pub(crate) head: &'a RequestHead,
    pub(crate) peer: IpAddr,
    pub(crate) caller: &'a KnownCaller,
    pub(crate) upstream: &'a str,
    /// The whole body, when the policy reads bodies.
    pub(crate) body: Option<&'a [u8]>,
    /// Why the call is made, as far as token and caller say.
    pub(crate) declared: Option<&'a Declared>,
    pub(crate) moment: Moment,
    /// `env.<name>` of policies.
    pub(crate) env: &'a BTreeMap<String, String>,
    /// Judges the call by the interpreter, too.
    pub(crate) second_opinion: Option<&'a SecondOpinion>,
}

/// What came out, with what the rest of the call needs to know of the body.
pub(crate) struct Judged {
    pub(crate) decision: Decision,
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// `n`: how many choices the answer has.
    pub(crate) choices: u32,
    /// How much the call weighs against rate limits.
    pub(crate) weight: Weight,
    /// The rule whose rate limit has no room for the call.
    pub(crate) limited: Option<RuleId>,
}

/// How much a call weighs before its answer is known; zeros where no limit asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weight {
    /// The lines of a batch; otherwise one.
    pub(crate) requests: u64,
    /// Of every text that the model will read.
    pub(crate) text_bytes: u64,
    /// Of all answers, as far as the call bounds them.
    pub(crate) answer_tokens: u64,
    /// Answers whose length the call does not bound.
    pub(crate) answers_unsaid: u64,
}

/// Judges the call. Each line of a batch is judged as the call that it will become, too.
///
/// # Errors
/// 400 when the operation's body is not what the operation asks for: no policy can judge what cannot be read.
pub(crate) fn judge(question: &Question<'_>) -> Result<Judged, CallError> {
    let Some(operation) = question.operation else {
        // An opaque route: what it carries is unknown, so rules that read bodies are errors, and restricting ones deny.
        let mut judged = without_body(decide(question, &Unread, Asked::default(), "", None), "");
        judged.weight.text_bytes = match question.head.framing {
            Framing::Length(bytes) => bytes,
            Framing::Chunked | Framing::UntilClose => 0,
        };
        // Nobody will count its tokens, so it has as many as an answer is taken to have.
        judged.weight.answers_unsaid = 1;
        return Ok(judged);
    };
    let path_model = dialect::model_in_path(operation, question.head.path());
    let of_path = path_model.as_deref().unwrap_or_default();
    match question.body {
        None if operation.has_body() => {
            Ok(without_body(decide(question, &Unread, Asked::default(), of_path, None), of_path))
        }
        Some(body) if operation.has_body() => {
            let request = read(operation, question.form, body)?;
            let model = path_model.unwrap_or_else(|| request.model().to_owned());
            let (stream, choices) = (request.stream(), request.choices());
            let view = request.before(question.policy.compiled.paths());
            let mut decision = decide(question, &view, Asked::of(&request), &model, Some(stream));
            for line in request.lines() {
                judge_line(question, line, &mut decision)?;
            }
            let weight = weigh(&decision, &request);
            Ok(Judged { decision, model, stream, choices, weight, limited: None })
        }
        // Some clients send an empty object where nothing is asked for.
        Some(body) if !matches!(body.trim_ascii(), b"" | b"{}") => {
            let message = format!("{} {} takes no body.", operation.method(), operation.endpoint());
            Err(CallError::new(ErrorKind::BadRequest, "unexpected_body", message))
        }
        _ => Ok(without_body(decide(question, &Nothing, Asked::NOTHING, of_path, Some(false)), of_path)),
    }
}

/// Whether a call for this model could pass, as far as that shows without its body (DECISIONS 19): no rule that holds whatever
/// the body says denies it, and some rule allows it or may.
pub(crate) fn could_pass(question: &Question<'_>, model: &str) -> bool {
    let decision = decide(question, &Unread, Asked::default(), model, None);
    let rules = &question.policy.compiled.program().rules;
    let has = |ids: &[RuleId], wanted: fn(&Effect) -> bool| {
        let mut enforced = ids.iter().filter_map(|id| rules.get(id.0 as usize)).filter(|rule| !rule.shadow);
        enforced.any(|rule| rule.effects.iter().any(wanted))
    };
    let allows = |effect: &Effect| matches!(effect, Effect::Allow);
    let denied = has(&decision.fired, |effect| matches!(effect, Effect::Deny { .. }));
    !denied && (has(&decision.fired, allows) || has(&decision.errors, allows))
}

/// Whether the policy looks into the body of this call, as far as its head and its caller tell.
pub(crate) fn needs_body(question: &Question<'_>) -> bool {
    let compiled = &question.policy.compiled;
    // The lines of a batch are judged as the calls that they will become, so they must be seen.
    if question.operation.is_some_and(Operation::carries_calls) {
        return true;
    }
    if !compiled.needs().request_body || question.policy.is_distrusted() {
        return compiled.needs().request_body;
    }
    let model = question.operation.and_then(|operation| dialect::model_in_path(operation, question.head.path()));
    let model = model.as_deref().unwrap_or_default();
    with_facts(question, &Unread, Asked::default(), model, None, |facts| {
        compiled.needs_for(&question.caller.facts(compiled, facts), facts).request_body
    })
}

fn read<'b>(operation: Operation, form: &BodyForm, body: &'b [u8]) -> Result<Request<'b>, CallError> {
    Request::parse(operation, form, body)
        .map_err(|error| CallError::new(ErrorKind::BadRequest, "invalid_body", error.to_string()))
}

/// A line that would be denied denies the whole file; one that would wait for people has to be sent by itself. What the
/// others owe, the file owes.
fn judge_line(question: &Question<'_>, line: &BatchLine<'_>, whole: &mut Decision) -> Result<(), CallError> {
    let request = read(line.operation, &BodyForm::Json, line.body)?;
    // Of a sampled file the first decision is looked at twice, not each of its lines.
    let question = Question { operation: Some(line.operation), second_opinion: None, ..*question };
    let view = request.before(question.policy.compiled.paths());
    let decision = decide(&question, &view, Asked::of(&request), request.model(), Some(request.stream()));
    match decision.verdict {
        _ if matches!(whole.verdict, Verdict::Deny(_)) => {}
        Verdict::Forward => {}
        Verdict::Deny(_) => whole.verdict = decision.verdict,
        Verdict::Pending(_) => {
            whole.verdict = Verdict::Deny(Denial {
                text: "A line of this batch needs a person's approval; send it as a call of its own.".into(),
                status: 403,
                rule: decision.fired.first().copied(),
            });
        }
    }
    let merge = |into: &mut Rules, from: Rules| {
        into.extend(from);
        into.sort_unstable();
        into.dedup();
    };
    merge(&mut whole.fired, decision.fired);
    merge(&mut whole.shadow_fired, decision.shadow_fired);
    merge(&mut whole.errors, decision.errors);
    whole.obligations.join(decision.obligations);
    Ok(())
}

fn without_body(decision: Decision, model: &str) -> Judged {
    let weight = Weight { requests: 1, ..Weight::default() };
    Judged { decision, model: model.to_owned(), stream: false, choices: 1, weight, limited: None }
}

/// What the request weighs, or its lines, if any limit wants to know.
fn weigh(decision: &Decision, request: &Request<'_>) -> Weight {
    let mut weight = Weight { requests: request.lines().len().max(1) as u64, ..Weight::default() };
    if decision.obligations.limits.is_empty() {
        return weight;
    }
    weight.add(request);
    // Each line was read before, when it was judged.
    let lines = request.lines().iter().filter_map(|line| read(line.operation, &BodyForm::Json, line.body).ok());
    lines.for_each(|line| weight.add(&line));
    weight
}

impl Weight {
    fn add(&mut self, request: &Request<'_>) {
        if !request.lines().is_empty() {
            return;
        }
        let texts = request.texts().unwrap_or_default();
        self.text_bytes = texts.iter().fold(self.text_bytes, |sum, text| sum.saturating_add(text.len() as u64));
        let choices = u64::from(request.choices());
        match request.tokens_requested() {
            Some(tokens) => {
                let asked = u64::try_from(tokens).unwrap_or(0).saturating_mul(choices);
                self.answer_tokens = self.answer_tokens.saturating_add(asked);
            }
            None => self.answers_unsaid = self.answers_unsaid.saturating_add(choices),
        }
    }
}

/// What is known of an answer.
#[derive(Clone, Copy)]
pub(crate) struct AnswerFacts<'a> {
    pub(crate) status: Option<u16>,
    /// Bytes of its body.
    pub(crate) size: Option<usize>,
    pub(crate) info: Option<&'a AnswerInfo>,
    pub(crate) body: &'a dyn BodyView,
    /// Judges its texts in the place of the policy's own.
    pub(crate) text_engine: Option<&'a dyn TextEngine>,
}

/// Judges an answer by the rules that read it, with the request as it came.
///
/// # Errors
/// As [`judge`], which such a request does not pass.
pub(crate) fn judge_answer(question: &Question<'_>, answer: &AnswerFacts<'_>) -> Result<Decision, CallError> {
    let path_model = question.operation.and_then(|operation| dialect::model_in_path(operation, question.head.path()));
    let request = match (question.operation, question.body) {
        (Some(operation), Some(body)) if operation.has_body() => Some(read(operation, question.form, body)?),
        _ => None,
    };
    let unread = question.operation.is_none_or(Operation::has_body);
    let body: &dyn BodyView = match &request {
        Some(request) => request,
        None if unread => &Unread,
        None => &Nothing,
    };
    let asked = request.as_ref().map_or(if unread { Asked::default() } else { Asked::NOTHING }, Asked::of);
    let model = path_model.or_else(|| request.as_ref().map(|request| request.model().to_owned())).unwrap_or_default();
    let stream = request.as_ref().map(Request::stream).or((!unread).then_some(false));
    let finish = answer.info.and_then(|info| info.finish_reason.as_deref()).unwrap_or_default();
    let tokens = answer.info.and_then(|info| info.usage).and_then(|usage| i64::try_from(usage.completion).ok());
    Ok(with_facts(question, body, asked, &model, stream, |facts| {
        let mut facts = *facts;
        facts.response = Some(answer.body);
        facts.text_engine = answer.text_engine.unwrap_or(facts.text_engine);
        facts.strings[StrField::FinishReason as usize] = finish;
        facts.ints[IntField::ResponseStatus as usize] = answer.status.map(i64::from);
        facts.ints[IntField::ResponseSize as usize] = answer.size.and_then(|bytes| i64::try_from(bytes).ok());
        facts.ints[IntField::ResponseTokens as usize] = tokens;
        question.policy.compiled.decide_response(&facts)
    }))
}

fn decide(question: &Question<'_>, body: &dyn BodyView, asked: Asked, model: &str, stream: Option<bool>) -> Decision {
    with_facts(question, body, asked, model, stream, |facts| {
        let caller = question.caller.facts(&question.policy.compiled, facts);
        let decision = question.policy.decide_for(&caller, facts);
        match question.second_opinion {
            Some(second) => second.check(question.policy, facts, decision),
            None => decision,
        }
    })
}

fn with_facts<T>(
    question: &Question<'_>,
    body: &dyn BodyView,
    asked: Asked,
    model: &str,
    stream: Option<bool>,
    use_them: impl FnOnce(&Facts<'_>) -> T,
) -> T {
    let strings = strings(question, model);
    let (purposes, count) = purposes(question.declared);
    let mut ints = [None; IntField::ALL.len()];
    ints[IntField::RequestSize as usize] = question.body.and_then(|body| i64::try_from(body.len()).ok());
    ints[IntField::Hour as usize] = Some(question.moment.hour);
    ints[IntField::Date as usize] = Some(question.moment.date);
    ints[IntField::TokensRequested as usize] = asked.tokens;
    ints[IntField::ImageCount as usize] = asked.images;
    let mut bools = [None; BoolField::ALL.len()];
    bools[BoolField::Stream as usize] = stream;
    // What cannot be read is an error where it is asked for.
    let texts = question.policy.text_engine.over(body.texts().unwrap_or_default());
    use_them(&Facts {
        strings,
        ints,
        bools,
        groups: &question.caller.groups,
        scopes: &question.caller.scopes,
        ip: Some(question.peer),
        headers: &Headers(&question.head.fields),
        body,
        claims: &question.caller.claims,
        env: &Env(question.env),
        purposes: purposes.get(..count).unwrap_or_default(),
        text_engine: &texts,
        ..Facts::empty()
    })
}

/// The text fields of a call, by slot.
pub(crate) fn strings<'a>(question: &Question<'a>, model: &'a str) -> [&'a str; StrField::COUNT] {
    let mut strings = [""; StrField::COUNT];
    let mut set = |field: StrField, value| {
        if let Some(slot) = strings.get_mut(field as usize) {
            *slot = value;
        }
    };
    let caller = question.caller;
    set(StrField::Subject, caller.subject.as_str());
    set(StrField::Issuer, caller.issuer.as_str());
    set(StrField::ClientId, caller.client_id.as_deref().unwrap_or_default());
    set(StrField::Kind, if caller.kind == CallerKind::Service { "service" } else { "user" });
    set(StrField::Method, question.head.method.as_str());
    set(StrField::Path, question.head.path());
    set(StrField::Endpoint, question.operation.map_or(question.head.path(), |operation| operation.endpoint()));
    set(StrField::Host, question.head.host());
    set(StrField::Model, model);
    set(StrField::Dialect, question.operation.map_or("opaque", |operation| operation.dialect()));
    set(StrField::Upstream, question.upstream);
    set(StrField::Weekday, question.moment.weekday);
    set(StrField::Purpose, question.declared.and_then(|known| known.purpose.as_ref()).map_or("", |said| &said.value));
    set(StrField::Basis, question.declared.and_then(|known| known.basis.as_ref()).map_or("", |said| &said.value));
    strings
}

/// What the body itself says of its size.
#[derive(Clone, Copy, Default)]
struct Asked {
    tokens: Option<i64>,
    images: Option<i64>,
}

impl Asked {
    const NOTHING: Self = Self { tokens: None, images: Some(0) };

    fn of(request: &Request<'_>) -> Self {
        Self { tokens: request.tokens_requested(), images: Some(request.image_count()) }
    }
}

/// The purpose alone, and with its basis: a basis counts for as much as whoever said the less of the two.
fn purposes(declared: Option<&Declared>) -> ([DeclaredPurpose<'_>; 2], usize) {
    const NONE: DeclaredPurpose<'_> = DeclaredPurpose { purpose: "", basis: "", source: SourceKind::Header };
    let Some(Declared { purpose: Some(purpose), basis, .. }) = declared else { return ([NONE; 2], 0) };
    let source = |by: StatedBy| match by {
        StatedBy::Claim => SourceKind::Claim,
        StatedBy::Policy => SourceKind::Policy,
        StatedBy::Header => SourceKind::Header,
    };
    let alone = DeclaredPurpose { purpose: &purpose.value, basis: "", source: source(purpose.by) };
    match basis {
        None => ([alone, NONE], 1),
        Some(basis) => {
            let both = DeclaredPurpose { basis: &basis.value, source: source(purpose.by.max(basis.by)), ..alone };
            ([both, alone], 2)
        }
    }
}

struct Env<'a>(&'a BTreeMap<String, String>);

impl EnvView for Env<'_> {
    fn env(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

struct Headers<'a>(&'a Fields);

impl HeaderView for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        if is_credential_header(name) { None } else { self.0.text(name) }
    }
}
