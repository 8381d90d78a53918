//! A rule: its condition, its effects, and whether they go together.

use super::Lowerer;
use super::conditions::Lowered;
use crate::check::Outline;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::{Atom, CompareOp, Condition, Effect, Phase, Place, RecordBound, RecordLevel, Rule};
use crate::schema::IntField;
use crate::source::{Span, Spanned};
use crate::syntax::{Clause, Expr, RuleItem};

/// Something in a rule that ends on a day.
#[derive(Clone, Debug)]
pub(crate) struct Expiry {
    pub(crate) rule: String,
    /// The last day on which it holds, as days since 1970-01-01.
    pub(crate) last: i64,
    /// Where the day was written.
    pub(crate) span: Span,
}

impl<'s> Lowerer<'s, '_> {
    pub(super) fn rule(&mut self, rule: &'s RuleItem) -> (Rule, Outline) {
        let mut parts = Vec::new();
        let mut outline = Outline { name: Some(rule.name.span), ..Outline::default() };
        let mut when: Option<Span> = None;
        for clause in &rule.clauses {
            match &clause.node {
                Clause::When(condition) => {
                    if let Some(first) = when {
                        self.error(
                            Diagnostic::error(Code::ClauseTwice, "a rule has one `when`")
                                .label(clause.span, "the second")
                                .label(first, "the first")
                                .help("join them with `and`, or with `or`, or write two rules"),
                        );
                    }
                    when = Some(clause.span);
                    for (part, span) in self.conjuncts(condition).into_iter().flatten() {
                        outline.when.push((part.condition.clone(), span));
                        parts.push(part);
                    }
                }
                Clause::Unless { condition, until } => {
                    if let Some(exception) = self.exception(rule, condition, until.as_ref()) {
                        outline.unless.push((exception.condition.clone(), clause.span));
                        parts.push(exception.not());
                    }
                }
                Clause::Allow { until: Some(until) } => parts.push(self.not_after(rule, until)),
                _ => {}
            }
        }
        let condition = match parts.is_empty() {
            true => Condition::Const(true),
            false => self.bounded(Lowered::all(parts), rule.name.span),
        };
        let effects = self.effects(rule);
        self.check_until(rule, &effects);
        let phase = self.phase(&condition);
        self.check_phase(rule, phase, &condition, &effects);
        self.check_guards(&condition, rule.span);
        outline.effects = effects.iter().map(|(_, span)| *span).collect();
        let rule = Rule {
            name: rule.name.node.clone(),
            shadow: rule.shadow,
            phase,
            condition,
            effects: effects.into_iter().map(|(effect, _)| effect).collect(),
            docs: rule.docs.clone(),
            place: Place { file: rule.span.file, span: rule.span.range() },
        };
        (rule, outline)
    }

    /// `unless C until D` is `unless C and it is not later than D`: afterwards the exception is gone. Not yet negated.
    fn exception(&mut self, rule: &RuleItem, condition: &'s Expr, until: Option<&Spanned<i64>>) -> Option<Lowered> {
        let lowered = self.condition(condition)?;
        let Some(until) = until else {
            return Some(lowered);
        };
        let in_time = self.not_after(rule, until);
        Some(Lowered::all(vec![lowered, in_time]))
    }

    fn not_after(&mut self, rule: &RuleItem, until: &Spanned<i64>) -> Lowered {
        self.expiries.push(Expiry { rule: rule.name.node.clone(), last: until.node, span: until.span });
        self.test_span = until.span;
        self.leaf(Atom::Int { field: IntField::Date, op: CompareOp::Le, value: until.node })
    }

    /// DECISIONS 17: the end of an exception must not loosen anything.
    fn check_until(&mut self, rule: &RuleItem, effects: &[(Effect, Span)]) {
        for clause in &rule.clauses {
            match &clause.node {
                Clause::Unless { until: Some(until), .. } => {
                    let loosening = effects.iter().find(|(effect, _)| loosens(effect));
                    if let Some((_, span)) = loosening {
                        self.error(
                            Diagnostic::error(
                                Code::UntilLoosens,
                                "after this day the rule would allow more than before",
                            )
                            .label(until.span, "here the exception ends")
                            .label(*span, "then this takes effect for those it excepted")
                            .help("an end date may make things stricter only; put the date on an `allow` instead"),
                        );
                    }
                }
                Clause::Allow { until: Some(until) } if effects.len() > 1 => {
                    let other = effects.iter().find(|(effect, _)| *effect != Effect::Allow);
                    let mut error =
                        Diagnostic::error(Code::UntilLoosens, "an `allow` with an end stands alone in its rule")
                            .label(until.span, "everything in this rule would end on this day")
                            .help("move the other effects into a rule of their own");
                    if let Some((_, span)) = other {
                        error = error.label(*span, "also this");
                    }
                    self.error(error);
                }
                _ => {}
            }
        }
    }

    fn phase(&self, condition: &Condition) -> Phase {
        match self.any_atom(condition, &|atom| atom.phase() == Phase::Response) {
            true => Phase::Response,
            false => Phase::Request,
        }
    }

    pub(super) fn any_atom(&self, condition: &Condition, wanted: &dyn Fn(&Atom) -> bool) -> bool {
        match condition {
            Condition::Const(_) => false,
            Condition::Atom(id) => self.atoms.get(id.0 as usize).is_some_and(wanted),
            Condition::Not(inner) => self.any_atom(inner, wanted),
            Condition::All(parts) | Condition::Any(parts) => parts.iter().any(|part| self.any_atom(part, wanted)),
        }
    }
}

/// Whether more is possible where the effect takes place.
fn loosens(effect: &Effect) -> bool {
    match effect {
        Effect::Allow | Effect::Purpose { .. } => true,
        Effect::Record { bound, level } => *bound == RecordBound::AtMost && *level == RecordLevel::Metadata,
        _ => false,
    }
}
