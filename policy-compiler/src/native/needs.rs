//! What a policy set asks of one call, as far as its head and its caller tell: so that a call that no rule about bodies can concern
//! is never buffered.

use super::code::judge_atom;
use super::engine::NativeCode;
use super::identity::IdentityFacts;
use crate::index::bits;
use policy_lang::schema::StrField;
use policy_lang::{
    AtomId, Condition, Facts, Needs, Phase, Program, RecordBound, RecordLevel, Rule, Side, Truth, eval_condition,
};

/// The rules that may need a body, or say what is recorded.
#[derive(Debug)]
pub(super) struct BodyRules {
    /// What the set as a whole asks of a call.
    pub(super) of_set: Needs,
    /// Whether any enforced rule says `record at most metadata`; otherwise every payload is recorded, so every body is read.
    may_be_metadata: bool,
    /// By rule, ascending.
    rules: Vec<BodyRule>,
}

#[derive(Clone, Copy, Debug)]
struct BodyRule {
    rule: u32,
    needs: Needs,
    at_most_metadata: bool,
    at_least_full: bool,
}

impl BodyRules {
    pub(super) fn new(program: &Program) -> Self {
        let rules = program.rules.iter().enumerate().filter_map(|(number, rule)| {
            let effects = || rule.effects.iter().filter(|_| !rule.shadow);
            let body = BodyRule {
                rule: number as u32,
                needs: Needs {
                    request_body: reads(program, &rule.condition, true)
                        || effects().any(|effect| effect.looks_into(Side::Request)),
                    response_body: reads(program, &rule.condition, false)
                        || effects().any(|effect| effect.looks_into(Side::Response)),
                },
                at_most_metadata: !rule.shadow
                    && rule.phase == Phase::Request
                    && rule.records(RecordBound::AtMost, RecordLevel::Metadata),
                at_least_full: !rule.shadow && rule.records(RecordBound::AtLeast, RecordLevel::Full),
            };
            let matters = body.needs != Needs::default() || body.at_most_metadata || body.at_least_full;
            matters.then_some(body)
        });
        let rules: Vec<_> = rules.collect();
        let may_be_metadata = rules.iter().any(|rule| rule.at_most_metadata);
        Self { of_set: program.needs(), may_be_metadata, rules }
    }

    /// What the set asks of this call. A superset of what turns out to be needed.
    pub(super) fn of_call(
        &self,
        program: &Program,
        native: Option<(&NativeCode, &IdentityFacts)>,
        facts: &Facts<'_>,
    ) -> Needs {
        if !self.may_be_metadata || self.of_set == Needs::default() {
            return self.of_set;
        }
        let mut found = Found::default();
        let mut look = |body: &BodyRule| {
            if let Some(rule) = program.rules.get(body.rule as usize) {
                found.add(body, range(program, rule, facts));
            }
        };
        match native.and_then(|(code, caller)| Some((code, code.index.as_ref()?, caller))) {
            None => self.rules.iter().for_each(&mut look),
            Some((code, index, caller)) => {
                let slots = code.plan.slots(facts, &caller.members, &caller.claims);
                let knows_model = !facts.str(StrField::Model).is_empty();
                index.head_candidates(&slots, caller, knows_model, |word, slots| {
                    for bit in bits(slots) {
                        let rule = index.rules.get(word * 64 + bit).copied().unwrap_or(u32::MAX);
                        if let Ok(place) = self.rules.binary_search_by_key(&rule, |body| body.rule) {
                            self.rules.get(place).into_iter().for_each(&mut look);
                        }
                    }
                });
                // Rules of the response phase are in no index.
                let of_response = |body: &&BodyRule| {
                    program.rules.get(body.rule as usize).is_some_and(|rule| rule.phase == Phase::Response)
                };
                self.rules.iter().filter(of_response).for_each(&mut look);
            }
        }
        let recorded = found.at_least_full || !found.at_most_metadata;
        Needs {
            request_body: self.of_set.request_body && (recorded || found.needs.request_body),
            response_body: self.of_set.response_body && (recorded || found.needs.response_body),
        }
    }
}

/// What the rules that can hold need.
#[derive(Default)]
struct Found {
    needs: Needs,
    at_most_metadata: bool,
    at_least_full: bool,
}

impl Found {
    fn add(&mut self, body: &BodyRule, (least, most): (Truth, Truth)) {
        if most == Truth::False {
            return;
        }
        self.needs.request_body |= body.needs.request_body;
        self.needs.response_body |= body.needs.response_body;
        self.at_least_full |= body.at_least_full;
        self.at_most_metadata |= body.at_most_metadata && least == Truth::True;
    }
}

/// Between which truths the rule's condition lies, whatever the bodies say.
fn range(program: &Program, rule: &Rule, facts: &Facts<'_>) -> (Truth, Truth) {
    let knows_model = !facts.str(StrField::Model).is_empty();
    let mut range_of = |id: AtomId| {
        let atom = program.atoms.get(id.0 as usize);
        let is_model = matches!(atom, Some(policy_lang::Atom::StrIn { field: StrField::Model, .. }));
        let is_open = atom.is_some_and(|atom| {
            let in_request = atom.reads_request_body() && !(is_model && knows_model);
            // The sum of the risk rules may depend on the body.
            in_request || atom.phase() == Phase::Response || atom.reads_risk()
        });
        if is_open {
            return (Truth::False, Truth::True);
        }
        let truth = judge_atom(program, id, facts);
        (truth, truth)
    };
    bounds(&rule.condition, &mut range_of)
}

/// Interval arithmetic: minimum and maximum are monotone, negation turns the interval round.
fn bounds(condition: &Condition, atom: &mut dyn FnMut(AtomId) -> (Truth, Truth)) -> (Truth, Truth) {
    match condition {
        Condition::Atom(id) => atom(*id),
        Condition::Const(_) => {
            let truth = eval_condition(condition, &mut |_| Truth::Error);
            (truth, truth)
        }
        Condition::Not(inner) => {
            let (least, most) = bounds(inner, atom);
            (not(most), not(least))
        }
        Condition::All(parts) => parts.iter().fold((Truth::True, Truth::True), |(least, most), part| {
            let part = bounds(part, atom);
            (least.min(part.0), most.min(part.1))
        }),
        Condition::Any(parts) => parts.iter().fold((Truth::False, Truth::False), |(least, most), part| {
            let part = bounds(part, atom);
            (least.max(part.0), most.max(part.1))
        }),
    }
}

fn not(truth: Truth) -> Truth {
    match truth {
        Truth::False => Truth::True,
        Truth::Error => Truth::Error,
        Truth::True => Truth::False,
    }
}

/// Whether the condition reads the body of the request, or of the answer.
fn reads(program: &Program, condition: &Condition, request: bool) -> bool {
    match condition {
        Condition::Const(_) => false,
        Condition::Atom(id) => program.atoms.get(id.0 as usize).is_some_and(|atom| match request {
            true => atom.reads_request_body(),
            false => atom.reads_response_body(),
        }),
        Condition::Not(inner) => reads(program, inner, request),
        Condition::All(parts) | Condition::Any(parts) => parts.iter().any(|part| reads(program, part, request)),
    }
}
