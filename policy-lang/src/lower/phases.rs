//! Which effects may stand in a rule by when it is judged (DECISIONS 10), and which may not read what they write.

use super::Lowerer;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::{Atom, Condition, Effect, Phase, Side};
use crate::schema::IntField;
use crate::source::Span;
use crate::syntax::RuleItem;

impl Lowerer<'_, '_> {
    pub(super) fn check_phase(
        &mut self,
        rule: &RuleItem,
        phase: Phase,
        condition: &Condition,
        effects: &[(Effect, Span)],
    ) {
        match phase {
            Phase::Request => self.check_request_phase(condition, effects),
            Phase::Response => self.check_response_phase(rule, condition, effects),
        }
    }

    fn check_request_phase(&mut self, condition: &Condition, effects: &[(Effect, Span)]) {
        let reads_risk = || self.any_atom(condition, &|atom| matches!(atom, Atom::Int { field: IntField::Risk, .. }));
        let risk = effects.iter().find(|(effect, _)| matches!(effect, Effect::Risk { .. }));
        if let Some((_, span)) = risk.filter(|_| reads_risk()) {
            self.error(
                Diagnostic::error(Code::RiskReadsRisk, "a rule that adds risk cannot read it")
                    .label(*span, "")
                    .help("`request.risk` is the sum of all rules that add to it"),
            );
        }
        for (effect, span) in effects {
            if matches!(effect, Effect::Deny { hold: true, .. }) {
                self.error(
                    Diagnostic::error(
                        Code::WrongPhase,
                        "there is nothing to hold: this rule is judged before the call",
                    )
                    .label(*span, "")
                    .help("`hold` goes with conditions on `response`"),
                );
            }
        }
    }

    fn check_response_phase(&mut self, rule: &RuleItem, condition: &Condition, effects: &[(Effect, Span)]) {
        let by_status_only = !self.any_atom(condition, &|atom| {
            atom.phase() == Phase::Response && !matches!(atom, Atom::Int { field: IntField::ResponseStatus, .. })
        });
        let reads = |lowerer: &Self| {
            let position = lowerer.atoms.iter().position(|atom| {
                atom.phase() == Phase::Response
                    && lowerer.any_atom(condition, &|other| std::ptr::eq(other, atom) || other == atom)
            });
            position.and_then(|slot| lowerer.atom_spans.get(slot).copied()).unwrap_or(rule.name.span)
        };
        for (effect, span) in effects {
            let why = match effect {
                Effect::Allow
                | Effect::RequireApproval(_)
                | Effect::RequirePurpose(_)
                | Effect::RequireGrant(_)
                | Effect::Purpose { .. }
                | Effect::Risk { .. }
                | Effect::LimitRate(_)
                | Effect::LimitField { .. } => "this must be known before the call goes in",
                Effect::Mask(mask) if mask.side == Side::Request => "the request has gone in by then",
                Effect::Seal(Side::Request) => "the request has gone in by then",
                Effect::Mask(_) if !by_status_only => "what is masked may depend on `response.status` only",
                Effect::Deny { hold: false, .. } if !by_status_only => {
                    self.warnings.push(
                        Diagnostic::warning(
                            Code::DeliveredStays,
                            format!(
                                "on a stream, `{}` may deny after parts of the answer were delivered",
                                rule.name.node
                            ),
                        )
                        .label(*span, "what was delivered stays delivered")
                        .help("write `hold` behind the text to keep streams back until the rule was judged"),
                    );
                    continue;
                }
                _ => continue,
            };
            let response = reads(self);
            self.error(
                Diagnostic::error(Code::WrongPhase, "this effect cannot depend on the answer")
                    .label(*span, why)
                    .label(response, "the answer is read here")
                    .help("split the rule: what reads `response` may deny, mask, drop, record, retain, seal and alert"),
            );
        }
    }
}
