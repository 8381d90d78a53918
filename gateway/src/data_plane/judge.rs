//! From a call to a decision: facts in their slots, then native code.

use std::borrow::Cow;
use std::net::IpAddr;

use policy_compiler::dialect::{ChatRequest, ErrorKind, Operation};
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{BodyView, Decision, Effect, Facts, HeaderView, JsonPath, JsonValue, Nothing, RuleId, Unreadable};

use super::error::CallError;
use super::http::{Fields, RequestHead};
use crate::identity::{CallerKind, Identity};
use crate::policy_slot::ActivePolicy;

/// What is judged.
pub(crate) struct Question<'a> {
    pub(crate) policy: &'a ActivePolicy,
    pub(crate) operation: Option<Operation>,
    pub(crate) head: &'a RequestHead,
    pub(crate) peer: IpAddr,
    pub(crate) caller: &'a Identity,
    pub(crate) upstream: &'a str,
    /// The whole body, when the policy reads bodies.
    pub(crate) body: Option<&'a [u8]>,
    pub(crate) hour: i64,
}

/// What came out, with what the rest of the call needs to know of the body.
pub(crate) struct Judged {
    pub(crate) decision: Decision,
    pub(crate) model: String,
    pub(crate) stream: bool,
    /// `n`: how many choices the answer has.
    pub(crate) choices: u32,
}

/// Judges the call.
///
/// # Errors
/// 400 when the operation's body is not what the operation asks for: no policy can judge what cannot be read.
pub(crate) fn judge(question: &Question<'_>) -> Result<Judged, CallError> {
    match (question.operation, question.body) {
        (Some(Operation::ChatCompletions), Some(body)) => {
            let request = ChatRequest::parse(body)
                .map_err(|error| CallError::new(ErrorKind::BadRequest, "invalid_body", error.to_string()))?;
            let (stream, choices) = (request.stream(), request.choices());
            let model = request.model().to_owned();
            let decision = decide(question, &request, &model, Some(stream));
            Ok(Judged { decision, model, stream, choices })
        }
        (Some(Operation::ChatCompletions), None) => Ok(without_body(decide(question, &Unread, "", None))),
        (Some(Operation::ListModels), _) => Ok(without_body(decide(question, &Nothing, "", Some(false)))),
        // An opaque route: what it carries is unknown, so rules that read bodies are errors, and restricting ones deny.
        (None, _) => Ok(without_body(decide(question, &Unread, "", None))),
    }
}

/// Whether a call for this model could pass, as far as that shows without its body (DECISIONS 19): no rule that holds whatever
/// the body says denies it, and some rule allows it or may.
pub(crate) fn could_pass(question: &Question<'_>, model: &str) -> bool {
    let decision = decide(question, &Unread, model, None);
    let rules = &question.policy.compiled.program().rules;
    let has = |ids: &[RuleId], wanted: fn(&Effect) -> bool| {
        let mut enforced = ids.iter().filter_map(|id| rules.get(id.0 as usize)).filter(|rule| !rule.shadow);
        enforced.any(|rule| rule.effects.iter().any(wanted))
    };
    let allows = |effect: &Effect| matches!(effect, Effect::Allow);
    let denied = has(&decision.fired, |effect| matches!(effect, Effect::Deny { .. }));
    !denied && (has(&decision.fired, allows) || has(&decision.errors, allows))
}

fn without_body(decision: Decision) -> Judged {
    Judged { decision, model: String::new(), stream: false, choices: 1 }
}

fn decide(question: &Question<'_>, body: &dyn BodyView, model: &str, stream: Option<bool>) -> Decision {
    let mut strings = [""; StrField::ALL.len()];
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
    let mut ints = [None; IntField::ALL.len()];
    ints[IntField::RequestSize as usize] = question.body.and_then(|body| i64::try_from(body.len()).ok());
    ints[IntField::Hour as usize] = Some(question.hour);
    let mut bools = [None; BoolField::ALL.len()];
    bools[BoolField::Stream as usize] = stream;
    question.policy.compiled.decide(&Facts {
        strings,
        ints,
        bools,
        groups: &caller.groups,
        scopes: &caller.scopes,
        ip: Some(question.peer),
        headers: &Headers(&question.head.fields),
        body,
        text_engine: &question.policy.text_engine,
    })
}

struct Headers<'a>(&'a Fields);

impl HeaderView for Headers<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        // Credentials are not facts: a policy that compared them would have them in its source.
        let credential =
            ["authorization", "x-api-key", "api-key", "cookie"].iter().any(|c| name.eq_ignore_ascii_case(c));
        if credential { None } else { self.0.text(name) }
    }
}

/// A body that was not read.
struct Unread;

impl BodyView for Unread {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        Err(Unreadable)
    }
    fn values(&self, _: &JsonPath, _: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        Err(Unreadable)
    }
}
