//! The rules that read answers (DECISIONS 10). What depends on the status alone is known with the head of the answer: masks, and
//! denials that need no more. The rest is judged when the body is there; on a stream also while it comes, as far as nothing that
//! follows could change it.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::rc::Rc;

use policy_compiler::dialect::{Answer, AnswerInfo, BodyForm, ErrorKind, Operation};
use policy_compiler::redact::{Heard, streams_carry};
use policy_compiler::{SoFar, redact::StreamRedactor};
use policy_lang::{
    Atom, BodyView, Condition, Decision, Effect, JsonPath, JsonValue, Nothing, Obligations, Phase, Program,
    RecordBound, RecordLevel, Rule, RuleId, Side, Unread, Unreadable, Verdict,
};

use super::core::Core;
use super::error::CallError;
use super::exchange::{Admitted, Call};
use super::judge::{self, AnswerFacts};
use super::plans::Plans;
use super::substitutes;
use super::watch::Watched;
use crate::policy_slot::ActivePolicy;

/// A stream's text is looked at again when it grew by this many bytes, and by an eighth.
const LOOK_AGAIN_BYTES: usize = 64;

/// Names of the rules that fired on an answer; `shadow:` and `error:` stand before those that only would have, or could not be judged.
/// `None` where no rule reads answers.
pub(super) type FiredOnAnswer = Option<Rc<RefCell<BTreeSet<String>>>>;

/// Room for the names, where the policy has rules about answers.
pub(super) fn listening(policy: &ActivePolicy) -> FiredOnAnswer {
    policy.compiled.judges_answers().then(Rc::default)
}

/// What the rules say about one answer, as far as it is known.
pub(super) struct AnswerRules<'a> {
    core: &'a Core,
    call: &'a Call,
    admitted: &'a Admitted,
    status: u16,
    /// The masks of the answer: those that the request earned it, and those of its status.
    pub(super) plans: Rc<Plans>,
    keeps_payload: bool,
    seals: bool,
    waiting: Waiting,
    watched: Watched,
    look_at: usize,
}

/// What rules that are not decided yet might ask for.
#[derive(Clone, Copy, Default)]
struct Waiting {
    /// Some rule has to see the body, if only to say what it would have done.
    undecided: bool,
    /// An enforced one has to.
    binds: bool,
    holds: bool,
    keeps: bool,
    seals: bool,
}

impl<'a> AnswerRules<'a> {
    /// What the head decides.
    ///
    /// # Errors
    /// The denial, if a rule denies already.
    pub(super) fn at_head(
        core: &'a Core,
        call: &'a Call,
        admitted: &'a Admitted,
        status: u16,
    ) -> Result<Self, CallError> {
        let mut rules = Self {
            core,
            call,
            admitted,
            status,
            plans: Rc::clone(&admitted.plans),
            keeps_payload: call.keeps_payload(),
            seals: false,
            waiting: Waiting::default(),
            watched: Watched::default(),
            look_at: 0,
        };
        if !call.policy.compiled.judges_answers() {
            return Ok(rules);
        }
        let early =
            judge(core, call, admitted.raw.as_deref(), &AnswerFacts { status: Some(status), ..rules.unread() })?;
        if call.operation.is_none() {
            // Nobody will read this answer, so what is not known now stays unknown.
            rules.conclude(&early)?;
        }
        rules.raise_surely(&early);
        let program = call.policy.compiled.program();
        note_surely(call, &early);
        deny_surely(program, &early)?;
        if !early.obligations.masks.is_empty() {
            let mut owed = call.judged.as_ref().map(|judged| judged.decision.obligations.clone()).unwrap_or_default();
            owed.join(Obligations {
                masks: early.obligations.masks.clone(),
                record: owed.record,
                ..Obligations::default()
            });
            let plans = core.plans.borrow_mut().get(&call.policy, &owed).map_err(|cause| unjudged(&cause))?;
            rules.plans = substitutes::keyed_like(core, call, plans, &admitted.plans);
        }
        rules.keeps_payload = rules.keeps(&early);
        if call.operation.is_some() {
            rules.seals = early.fired.iter().filter_map(|id| surely(program, *id)).any(seals_answer);
            rules.waiting = waiting(program, &early);
        }
        Ok(rules)
    }

    /// Whether a rule still has to see the body; a shadow rule, where it can be seen.
    pub(super) fn undecided(&self) -> bool {
        self.waiting.undecided
    }

    /// Whether a rule that counts still has to see the body.
    pub(super) fn binds(&self) -> bool {
        self.waiting.binds
    }

    /// Whether nothing of a stream may go out before that.
    pub(super) fn holds(&self) -> bool {
        self.waiting.holds
    }

    /// Whether the payload is kept, as far as that is known.
    pub(super) fn keeps_payload(&self) -> bool {
        self.keeps_payload
    }

    /// Whether it might be kept in the end.
    pub(super) fn may_keep_payload(&self) -> bool {
        self.keeps_payload || self.waiting.keeps
    }

    /// Whether the original of the answer is kept sealed, beyond what the request asked for, as far as that is known.
    pub(super) fn seals(&self) -> bool {
        self.seals
    }

    /// Whether it might be in the end.
    pub(super) fn may_seal(&self) -> bool {
        self.seals || self.waiting.seals
    }

    /// Judges a body that was read whole.
    ///
    /// # Errors
    /// The denial.
    pub(super) fn judge_body(&mut self, operation: Operation, form: &BodyForm, body: &[u8]) -> Result<(), CallError> {
        if !self.waiting.undecided {
            return Ok(());
        }
        let size = Some(body.len());
        let answer = Answer::parse(operation, body);
        match (form, &answer) {
            _ if body.is_empty() => self.judge_view(&Nothing, size, None),
            (BodyForm::Json, Ok(answer)) => self.judge_view(answer, size, Some(answer.info())),
            (BodyForm::Text | BodyForm::Lines, _) => {
                self.judge_view(&OneText([String::from_utf8_lossy(body)]), size, None)
            }
            _ => self.judge_view(&Unread, size, None),
        }
    }

    /// Judges an answer that nobody can look into.
    ///
    /// # Errors
    /// The denial.
    pub(super) fn judge_unread(&mut self) -> Result<(), CallError> {
        if self.waiting.undecided { self.judge_view(&Unread, None, None) } else { Ok(()) }
    }

    /// Judges what a stream said so far, at times.
    ///
    /// # Errors
    /// The denial, if nothing that follows could undo it.
    pub(super) fn judge_so_far(&mut self, operation: Operation, redactor: &StreamRedactor) -> Result<(), CallError> {
        let Some(heard) = redactor.heard().filter(|heard| heard.bytes() >= self.look_at) else { return Ok(()) };
        self.look_at = heard.bytes() + LOOK_AGAIN_BYTES.max(heard.bytes() / 8);
        let engine = SoFar(&self.call.policy.text_engine);
        let so_far = heard.answer(operation, false);
        let facts =
            AnswerFacts { status: Some(self.status), body: &so_far, text_engine: Some(&engine), ..self.unread() };
        let decision = judge(self.core, self.call, self.admitted.raw.as_deref(), &facts)?;
        note_surely(self.call, &decision);
        self.raise_surely(&decision);
        deny_surely(self.call.policy.compiled.program(), &decision)
    }

    /// Judges a stream that has ended.
    ///
    /// # Errors
    /// The denial.
    pub(super) fn judge_stream(
        &mut self,
        operation: Operation,
        heard: Option<&Heard>,
        info: &AnswerInfo,
        size: usize,
    ) -> Result<(), CallError> {
        match heard {
            Some(heard) if self.waiting.undecided => {
                self.judge_view(&heard.answer(operation, true), Some(size), Some(info))
            }
            _ => Ok(()),
        }
    }

    fn judge_view(
        &mut self,
        body: &dyn BodyView,
        size: Option<usize>,
        info: Option<&AnswerInfo>,
    ) -> Result<(), CallError> {
        let facts = AnswerFacts { status: Some(self.status), size, info, body, text_engine: None };
        let decision = judge(self.core, self.call, self.admitted.raw.as_deref(), &facts)?;
        self.conclude(&decision)
    }

    fn conclude(&mut self, decision: &Decision) -> Result<(), CallError> {
        self.waiting = Waiting::default();
        self.keeps_payload = self.keeps(decision);
        note(self.call, "", &decision.fired);
        note(self.call, "shadow:", &decision.shadow_fired);
        note(self.call, "error:", &decision.errors);
        // In doubt the original is kept, as when the answer breaks off.
        let program = self.call.policy.compiled.program();
        let in_doubt =
            |id: &RuleId| program.rules.get(id.0 as usize).is_some_and(|rule| !rule.shadow && seals_answer(rule));
        self.seals = decision.obligations.seal_response || decision.errors.iter().any(in_doubt);
        self.watched.raise(self.core, self.call, decision.obligations.alerts.iter().copied());
        match &decision.verdict {
            Verdict::Deny(denial) => {
                let rule = denial.rule.map(|rule| self.call.rule_names(&[rule]).concat()).unwrap_or_default();
                Err(denied(&denial.text, denial.status, &rule))
            }
            Verdict::Forward | Verdict::Pending(_) => Ok(()),
        }
    }

    /// Raises the alerts of rules that held and will hold whatever comes.
    fn raise_surely(&mut self, decision: &Decision) {
        let program = self.call.policy.compiled.program();
        let alerts = decision.obligations.alerts.iter().filter(|(rule, _)| surely(program, *rule).is_some());
        self.watched.raise(self.core, self.call, alerts.copied());
    }

    fn unread(&self) -> AnswerFacts<'static> {
        AnswerFacts { status: None, size: None, info: None, body: &Unread, text_engine: None }
    }

    /// Whether the payload is kept: the bounds of both phases count, and where they contradict, keeping more wins.
    fn keeps(&self, decision: &Decision) -> bool {
        let program = self.call.policy.compiled.program();
        let bounds = |fired: &[RuleId]| -> Vec<(RecordBound, RecordLevel)> {
            let effects = fired.iter().filter_map(|id| program.rules.get(id.0 as usize)).flat_map(|rule| &rule.effects);
            let bound = |effect: &Effect| match effect {
                Effect::Record { bound, level } => Some((*bound, *level)),
                _ => None,
            };
            effects.filter_map(bound).collect()
        };
        let of_answer = bounds(&decision.fired);
        if of_answer.is_empty() || self.call.operation.is_none() {
            return self.call.keeps_payload();
        }
        let of_request = self.call.judged.as_ref().map(|judged| bounds(&judged.decision.fired)).unwrap_or_default();
        let all = || of_answer.iter().chain(&of_request);
        let of = |wanted: RecordBound| all().filter(move |(bound, _)| *bound == wanted).map(|(_, level)| *level);
        let at_most = of(RecordBound::AtMost).min().unwrap_or(RecordLevel::Full);
        of(RecordBound::AtLeast).max().map_or(at_most, |least| least.max(at_most)) == RecordLevel::Full
    }
}

/// A call whose answer may be masked or judged by what no stream carries must not be streamed (DECISIONS 9).
///
/// # Errors
/// The refusal.
pub(super) fn may_stream(core: &Core, call: &Call, raw: Option<&[u8]>) -> Result<(), CallError> {
    let compiled = &call.policy.compiled;
    let Some(operation) = call.operation.filter(|_| compiled.judges_answers()) else { return Ok(()) };
    if !call.judged.as_ref().is_some_and(|judged| judged.stream) {
        return Ok(());
    }
    let unknown = AnswerFacts { status: None, size: None, info: None, body: &Unread, text_engine: None };
    let decision = judge(core, call, raw, &unknown)?;
    let program = compiled.program();
    let possible = || rules_of(program).filter(|(id, rule)| may_hold(program, &decision, *id, rule));
    let unmapped = possible().find(|(_, rule)| {
        atoms(program, &rule.condition).iter().any(|atom| match atom {
            Atom::ResponseJson { path, .. } | Atom::ResponseJsonPresent(path) => !streams_carry(operation, path),
            _ => false,
        })
    });
    let masks = possible().flat_map(|(id, rule)| {
        let masks = rule.effects.iter().enumerate().filter(|(_, effect)| matches!(effect, Effect::Mask(_)));
        masks.map(move |(number, _)| (id, u32::try_from(number).unwrap_or(u32::MAX)))
    });
    let owed = Obligations { masks: masks.collect(), ..Obligations::default() };
    let plans = core.plans.borrow_mut().get(&call.policy, &owed).map_err(|cause| unjudged(&cause))?;
    let rule = unmapped.map(|(_, rule)| rule.name.as_str()).or_else(|| plans.response.stream_unmappable(operation));
    rule.map_or(Ok(()), |rule| Err(cannot_stream(rule)))
}

/// The refusal of a stream because of this rule.
pub(super) fn cannot_stream(rule: &str) -> CallError {
    let message =
        "The policy looks at a part of this answer that cannot be found in a stream. Ask with \"stream\": false.";
    CallError::new(ErrorKind::Forbidden, "cannot_stream", message)
        .because(format!("rule {rule} has a path without a stream channel"))
}

fn judge(core: &Core, call: &Call, raw: Option<&[u8]>, answer: &AnswerFacts<'_>) -> Result<Decision, CallError> {
    let Some(question) = call.question(core, raw) else {
        return Err(CallError::new(ErrorKind::Internal, "internal", "The call has no caller or no route."));
    };
    judge::judge_answer(&question, answer)
}

fn unjudged(cause: &dyn std::fmt::Display) -> CallError {
    CallError::new(ErrorKind::Forbidden, "cannot_mask", "The policy masks text that cannot be masked in this call.")
        .because(cause)
}

fn denied(text: &str, status: u16, rule: &str) -> CallError {
    CallError::new(ErrorKind::Forbidden, "denied_by_policy", text).status(status).because(format!("rule {rule}"))
}

/// Keeps the names of rules for the record.
fn note(call: &Call, prefix: &str, rules: &[RuleId]) {
    if let Some(fired) = call.fired_on_answer.as_ref().filter(|_| !rules.is_empty()) {
        let names = call.rule_names(rules).into_iter().map(|name| format!("{prefix}{name}"));
        fired.borrow_mut().extend(names);
    }
}

/// Keeps those that fired and that nothing that follows undoes.
fn note_surely(call: &Call, decision: &Decision) {
    let program = call.policy.compiled.program();
    for (prefix, rules) in [("", &decision.fired), ("shadow:", &decision.shadow_fired)] {
        let sure = rules.iter().copied().filter(|id| surely(program, *id).is_some());
        note(call, prefix, &sure.collect::<Vec<_>>());
    }
}

/// Denies if a rule that held will hold whatever comes.
fn deny_surely(program: &Program, decision: &Decision) -> Result<(), CallError> {
    for rule in decision.fired.iter().filter_map(|id| surely(program, *id)) {
        let denial = rule.effects.iter().find_map(|effect| match effect {
            Effect::Deny { text, status, .. } => Some((text, *status)),
            _ => None,
        });
        if let Some((text, status)) = denial {
            return Err(denied(text, status, &rule.name));
        }
    }
    Ok(())
}

/// The rule, if what it says now it says whatever comes.
fn surely(program: &Program, id: RuleId) -> Option<&Rule> {
    program.rules.get(id.0 as usize).filter(|rule| !reads_the_end(program, rule))
}

fn seals_answer(rule: &Rule) -> bool {
    rule.effects.contains(&Effect::Seal(Side::Response))
}

fn waiting(program: &Program, early: &Decision) -> Waiting {
    let mut waiting = Waiting::default();
    let open = |(id, rule): &(RuleId, &Rule)| early.errors.contains(id) || reads_the_end(program, rule);
    for (_, rule) in all_rules_of(program).filter(open) {
        waiting.undecided = true;
        if rule.shadow {
            continue;
        }
        waiting.binds = true;
        waiting.holds |= rule.effects.iter().any(|effect| matches!(effect, Effect::Deny { hold: true, .. }));
        let full = Effect::Record { bound: RecordBound::AtLeast, level: RecordLevel::Full };
        waiting.keeps |= rule.effects.contains(&full);
        waiting.seals |= seals_answer(rule);
    }
    waiting
}

/// The rules about answers.
fn all_rules_of(program: &Program) -> impl Iterator<Item = (RuleId, &Rule)> {
    let numbered = program.rules.iter().enumerate();
    let ours = numbered.filter(|(_, rule)| rule.phase == Phase::Response);
    ours.map(|(number, rule)| (RuleId(u32::try_from(number).unwrap_or(u32::MAX)), rule))
}

/// Those that are enforced.
fn rules_of(program: &Program) -> impl Iterator<Item = (RuleId, &Rule)> {
    all_rules_of(program).filter(|(_, rule)| !rule.shadow)
}

fn may_hold(program: &Program, decision: &Decision, id: RuleId, rule: &Rule) -> bool {
    decision.errors.contains(&id) || decision.fired.contains(&id) || reads_the_end(program, rule)
}

/// Whether a rule asks for something that is absent, and no error, before the end.
fn reads_the_end(program: &Program, rule: &Rule) -> bool {
    atoms(program, &rule.condition).iter().any(|atom| match atom {
        Atom::StrIn { field, .. } => field.is_response(),
        Atom::IntPresent(field) => field.is_response(),
        _ => false,
    })
}

fn atoms<'p>(program: &'p Program, condition: &Condition) -> Vec<&'p Atom> {
    match condition {
        Condition::Const(_) => Vec::new(),
        Condition::Atom(id) => program.atoms.get(id.0 as usize).into_iter().collect(),
        Condition::Not(inner) => atoms(program, inner),
        Condition::All(parts) | Condition::Any(parts) => parts.iter().flat_map(|part| atoms(program, part)).collect(),
    }
}

/// An answer that is one text.
struct OneText<'b>([Cow<'b, str>; 1]);

impl BodyView for OneText<'_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        Ok(&self.0)
    }

    fn values(&self, _: &JsonPath, _: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        Ok(())
    }
}
