//! Effects of a rule: values in range, nothing twice, nothing that contradicts itself.

use super::Lowerer;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{APPROVAL_SECONDS_MAX, APPROVERS_MAX, EFFECTS_MAX};
use crate::program::{ApprovalRequirement, Effect, Mask, Matcher, RecordBound, RecordLevel, Selector, Transform};
use crate::source::{Span, Spanned};
use crate::syntax::{Clause, MaskClause, MatcherSyntax, Number, RuleItem, Text, Unit};
use std::time::Duration;

const DENY_STATUS_DEFAULT: u16 = 403;
const APPROVAL_WITHIN_DEFAULT: Duration = Duration::from_mins(15);
const APPROVAL_VALID_DEFAULT: Duration = Duration::from_hours(1);

impl<'s> Lowerer<'s, '_> {
    pub(super) fn effects(&mut self, rule: &'s RuleItem) -> Vec<Effect> {
        let mut effects: Vec<(Effect, Span)> = Vec::new();
        let mut sound = true;
        for clause in &rule.clauses {
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
            let effect = match &clause.node {
                Clause::When(_) | Clause::Unless(_) => continue,
                Clause::Allow => Some(Effect::Allow),
                Clause::Deny { text, status } => self.deny(text, status.as_ref()),
                Clause::Mask(mask) => self.mask(mask),
                Clause::Record { bound, level } => Some(Effect::Record { bound: *bound, level: *level }),
                Clause::Require { group, by, within, valid } => self.approval(group, by, within, valid),
            };
            let Some(effect) = effect else {
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
                    .help("say what happens: `allow`, `deny \"…\"`, `mask …`, `record …`, `require approval …`"),
            );
        }
        effects.into_iter().map(|(effect, _)| effect).collect()
    }

    /// Refuses an effect that repeats or contradicts an earlier one of the rule.
    fn together(&mut self, effect: &Effect, span: Span, earlier: &[(Effect, Span)]) {
        let twice = |(other, _): &&(Effect, Span)| match (other, effect) {
            (Effect::Deny { .. }, Effect::Deny { .. }) => true,
            (Effect::Record { bound: a, .. }, Effect::Record { bound: b, .. }) => a == b,
            (a, b) => a == b,
        };
        if let Some((_, first)) = earlier.iter().find(twice) {
            self.error(
                Diagnostic::error(Code::ClauseTwice, "this clause may stand once in a rule")
                    .label(span, "the second")
                    .label(*first, "the first"),
            );
        }
        let against = |(other, _): &&(Effect, Span)| {
            matches!((other, effect), (Effect::Allow, Effect::Deny { .. }) | (Effect::Deny { .. }, Effect::Allow))
                || (is_record(other, RecordBound::AtLeast, RecordLevel::Full)
                    && is_record(effect, RecordBound::AtMost, RecordLevel::Metadata))
                || (is_record(other, RecordBound::AtMost, RecordLevel::Metadata)
                    && is_record(effect, RecordBound::AtLeast, RecordLevel::Full))
        };
        if let Some((_, first)) = earlier.iter().find(against) {
            self.error(
                Diagnostic::error(Code::Contradiction, "these effects contradict each other")
                    .label(span, "")
                    .label(*first, ""),
            );
        }
    }

    fn deny(&mut self, text: &Text, status: Option<&Spanned<Number>>) -> Option<Effect> {
        self.not_empty(text)?;
        let Some(written) = status else {
            return Some(Effect::Deny { text: text.node.clone(), status: DENY_STATUS_DEFAULT });
        };
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
        Some(Effect::Deny { text: text.node.clone(), status: status? })
    }

    fn mask(&mut self, mask: &'s MaskClause) -> Option<Effect> {
        let mut matchers = Vec::new();
        for written in &mask.matchers {
            match written {
                MatcherSyntax::Detect(names) => {
                    matchers.extend(self.detectors(names)?.into_iter().map(Matcher::Detector));
                }
                MatcherSyntax::Regex(text) => {
                    let source = self.regex(text)?;
                    if crate::regex::matches_empty(&source) {
                        self.error(
                            Diagnostic::error(
                                Code::RegexMatchesNothing,
                                "this regular expression also matches the empty text, which is everywhere",
                            )
                            .label(text.span, "")
                            .help("demand at least one character, for example with `+` instead of `*`"),
                        );
                        return None;
                    }
                    matchers.push(Matcher::Regex(source));
                }
            }
        }
        let transform = match &mask.transform {
            None => Transform::Label,
            Some(written) => {
                if written.node == Transform::Literal(String::new()) {
                    self.error(
                        Diagnostic::error(Code::EmptyText, "a mask cannot leave nothing in its place")
                            .label(written.span, "")
                            .help("write a text that shows that something was masked"),
                    );
                    return None;
                }
                written.node.clone()
            }
        };
        Some(Effect::Mask(Mask {
            side: mask.side,
            record_only: mask.record_only,
            selector: mask.path.clone().map_or(Selector::Text, Selector::Path),
            matchers,
            transform,
        }))
    }

    fn approval(
        &mut self,
        group: &Text,
        by: &[Spanned<Number>],
        within: &[Spanned<Number>],
        valid: &[Spanned<Number>],
    ) -> Option<Effect> {
        self.not_empty(group)?;
        let by = match self.once(by)? {
            None => 1,
            Some(written) => self.in_range(written, None, APPROVERS_MAX, "a number of people from 1 to 100")?,
        };
        let within = match self.once(within)? {
            None => APPROVAL_WITHIN_DEFAULT,
            Some(written) => self.duration(written)?,
        };
        let valid = match self.once(valid)? {
            None => APPROVAL_VALID_DEFAULT,
            Some(written) => self.duration(written)?,
        };
        Some(Effect::RequireApproval(ApprovalRequirement {
            group: group.node.clone(),
            by: u32::try_from(by).ok()?,
            within,
            valid,
        }))
    }

    fn once<'n>(&mut self, written: &'n [Spanned<Number>]) -> Option<Option<&'n Spanned<Number>>> {
        if let [first, second, ..] = written {
            self.error(
                Diagnostic::error(Code::ClauseTwice, "this may stand once")
                    .label(second.span, "the second")
                    .label(first.span, "the first"),
            );
            return None;
        }
        Some(written.first())
    }

    fn duration(&mut self, written: &Spanned<Number>) -> Option<Duration> {
        let seconds = self.in_range(
            written,
            Some(Unit::Seconds),
            APPROVAL_SECONDS_MAX,
            "a time with its unit from 1s to 30d, such as 15m",
        )?;
        Some(Duration::from_secs(seconds))
    }

    fn in_range(&mut self, written: &Spanned<Number>, unit: Option<Unit>, max: u64, what: &str) -> Option<u64> {
        let value = u64::try_from(written.node.value)
            .ok()
            .filter(|value| (1..=max).contains(value) && written.node.unit == unit);
        if value.is_none() {
            self.error(Diagnostic::error(Code::OutOfRange, format!("this is {what}")).label(written.span, ""));
        }
        value
    }
}

fn is_record(effect: &Effect, bound: RecordBound, level: RecordLevel) -> bool {
    *effect == Effect::Record { bound, level }
}
