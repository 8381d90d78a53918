//! Effects of a rule: values in range, nothing twice, nothing that contradicts itself.

use super::Lowerer;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{EFFECTS_MAX, RETAIN_SECONDS_MAX, RISK_MAX};
use crate::program::{Effect, RecordBound, RecordLevel};
use crate::source::{Span, Spanned};
use crate::syntax::{Clause, Number, RuleItem, Text};

const DENY_STATUS_DEFAULT: u16 = 403;

impl<'s> Lowerer<'s, '_> {
    /// The effects and where each was written.
    pub(super) fn effects(&mut self, rule: &'s RuleItem) -> Vec<(Effect, Span)> {
        let mut effects: Vec<(Effect, Span)> = Vec::new();
        let mut sound = true;
        for clause in &rule.clauses {
            if matches!(clause.node, Clause::When(_) | Clause::Unless { .. }) {
                continue;
            }
            if effects.len() >= EFFECTS_MAX {
                self.error(
                    Diagnostic::error(
                        Code::TooManyEffects,
                        format!("the rule `{}` has more than {EFFECTS_MAX} effects", rule.name.node),
                    )
                    .label(clause.span, "with this one"),
                );
                break;
            }
            let Some(effect) = self.effect(clause) else {
                sound = false;
                continue;
            };
            self.together(&effect, clause.span, &effects);
            effects.push((effect, clause.span));
        }
        if effects.is_empty() && sound {
            self.error(
                Diagnostic::error(Code::NoEffect, format!("the rule `{}` does nothing", rule.name.node))
                    .label(rule.name.span, "")
                    .help("say what happens: `allow`, `deny \"…\"`, `mask …`, `record …`, `require …`, `limit …`"),
            );
        }
        effects
    }

    fn effect(&mut self, clause: &'s Spanned<Clause>) -> Option<Effect> {
        let file = clause.span.file;
        match &clause.node {
            Clause::When(_) | Clause::Unless { .. } => None,
            Clause::Allow { .. } => Some(Effect::Allow),
            Clause::Deny { text, status, hold } => self.deny(text, status, *hold),
            Clause::Mask(mask) => self.mask(file, mask, clause.span),
            Clause::Drop { record_only, side, path } => Some(Self::drop_effect(*record_only, *side, path)),
            Clause::Record { bound, level } => Some(Effect::Record { bound: *bound, level: *level }),
            Clause::Retain { bound, time } => {
                let what = "a time with its unit from 1s to 100y, such as 400d";
                let time = self.duration(time, RETAIN_SECONDS_MAX, what)?;
                Some(Effect::Retain { bound: *bound, time })
            }
            Clause::Seal(side) => Some(Effect::Seal(*side)),
            Clause::RequireApproval { groups, by, within, valid } => self.approval(file, groups, [by, within, valid]),
            Clause::RequirePurpose { purposes, bases, from } => {
                self.purpose_requirement(file, purposes, bases.as_ref(), from)
            }
            Clause::RequireGrant { groups, within, lasting } => self.grant(file, groups, within, lasting),
            Clause::Purpose { purpose, basis } => {
                self.not_empty(purpose)?;
                if let Some(basis) = basis {
                    self.not_empty(basis)?;
                }
                Some(Effect::Purpose {
                    purpose: purpose.node.clone(),
                    basis: basis.as_ref().map(|basis| basis.node.clone()),
                })
            }
            Clause::Risk { points, why } => {
                let found = self.in_range(points, None, RISK_MAX, "a number of points from 1 to 1000")?;
                let why = why.as_ref().map_or_else(String::new, |why| why.node.clone());
                Some(Effect::Risk { points: u32::try_from(found).ok()?, why })
            }
            Clause::LimitRate { kind, rate, keys, burst } => self.rate_limit(*kind, rate, keys, burst.as_ref()),
            Clause::LimitField { field, max } => self.field_limit(field, max),
            Clause::Alert { name, severity } => {
                self.not_empty(name)?;
                Some(Effect::Alert { name: name.node.clone(), severity: severity.unwrap_or_default() })
            }
        }
    }

    /// Refuses an effect that repeats or contradicts an earlier one of the rule.
    fn together(&mut self, effect: &Effect, span: Span, earlier: &[(Effect, Span)]) {
        let twice = |(other, _): &&(Effect, Span)| match (other, effect) {
            (Effect::Deny { .. }, Effect::Deny { .. })
            | (Effect::Purpose { .. }, Effect::Purpose { .. })
            | (Effect::Risk { .. }, Effect::Risk { .. }) => true,
            (Effect::Record { bound: a, .. }, Effect::Record { bound: b, .. })
            | (Effect::Retain { bound: a, .. }, Effect::Retain { bound: b, .. }) => a == b,
            (Effect::LimitField { field: a, .. }, Effect::LimitField { field: b, .. }) => a == b,
            (a, b) => a == b,
        };
        if let Some((_, first)) = earlier.iter().find(twice) {
            self.error(
                Diagnostic::error(Code::ClauseTwice, "this clause may stand once in a rule")
                    .label(span, "the second")
                    .label(*first, "the first"),
            );
        }
        if let Some((_, first)) =
            earlier.iter().find(|(other, _)| contradict(other, effect) || contradict(effect, other))
        {
            self.error(
                Diagnostic::error(Code::Contradiction, "these effects contradict each other")
                    .label(span, "this cannot be …")
                    .label(*first, "… where this is")
                    .help("give one of them a rule of its own, with its own `when`"),
            );
        }
    }

    fn deny(&mut self, text: &Text, status: &[Spanned<Number>], hold: bool) -> Option<Effect> {
        self.not_empty(text)?;
        let status = match self.once(status)? {
            None => DENY_STATUS_DEFAULT,
            Some(written) => self.status(written)?,
        };
        Some(Effect::Deny { text: text.node.clone(), status, hold })
    }

    pub(super) fn status(&mut self, written: &Spanned<Number>) -> Option<u16> {
        let status = u16::try_from(written.node.value)
            .ok()
            .filter(|status| (400..=499).contains(status) && written.node.unit.is_none());
        if status.is_none() {
            self.error(
                Diagnostic::error(Code::BadStatus, "a denial has a status from 400 to 499")
                    .label(written.span, "")
                    .help("403 is the default"),
            );
        }
        status
    }
}

fn contradict(one: &Effect, other: &Effect) -> bool {
    match (one, other) {
        (Effect::Allow, Effect::Deny { .. }) => true,
        (
            Effect::Record { bound: RecordBound::AtLeast, level: RecordLevel::Full },
            Effect::Record { bound: RecordBound::AtMost, level: RecordLevel::Metadata },
        ) => true,
        (
            Effect::Retain { bound: RecordBound::AtLeast, time: least },
            Effect::Retain { bound: RecordBound::AtMost, time: most },
        ) => least > most,
        _ => false,
    }
}
