//! Conditions: names of conditions put in their place, `and`/`or` flattened, sizes bounded.

use super::{Lowerer, Progress};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{CONDITION_NODES_MAX, CONDITION_NODES_TOTAL_MAX, NESTING_MAX};
use crate::program::{Atom, Condition};
use crate::source::Span;
use crate::syntax::{Expr, ExprKind};
use std::rc::Rc;

/// A condition with its size.
#[derive(Clone, Debug)]
pub(super) struct Lowered {
    pub(super) condition: Condition,
    nodes: usize,
    depth: usize,
}

impl Lowered {
    fn leaf(condition: Condition) -> Self {
        Self { condition, nodes: 1, depth: 1 }
    }

    /// Two negations cancel out.
    pub(super) fn not(self) -> Self {
        match self.condition {
            Condition::Not(inner) => Self { condition: *inner, nodes: self.nodes - 1, depth: self.depth - 1 },
            condition => {
                Self { condition: Condition::Not(Box::new(condition)), nodes: self.nodes + 1, depth: self.depth + 1 }
            }
        }
    }

    pub(super) fn all(parts: Vec<Self>) -> Self {
        Self::join(parts, Condition::All, |condition| match condition {
            Condition::All(inner) => Ok(inner),
            other => Err(other),
        })
    }

    pub(super) fn any(parts: Vec<Self>) -> Self {
        Self::join(parts, Condition::Any, |condition| match condition {
            Condition::Any(inner) => Ok(inner),
            other => Err(other),
        })
    }

    fn join(
        parts: Vec<Self>,
        many: fn(Vec<Condition>) -> Condition,
        same: fn(Condition) -> Result<Vec<Condition>, Condition>,
    ) -> Self {
        let nodes = 1 + parts.iter().map(|part| part.nodes).sum::<usize>();
        let mut depth = 0;
        let mut conditions = Vec::with_capacity(parts.len());
        for part in parts {
            match same(part.condition) {
                Ok(inner) => {
                    depth = depth.max(part.depth - 1);
                    conditions.extend(inner);
                }
                Err(other) => {
                    depth = depth.max(part.depth);
                    conditions.push(other);
                }
            }
        }
        match (conditions.len(), conditions.pop()) {
            (1, Some(only)) => Self { condition: only, nodes, depth },
            (_, last) => {
                conditions.extend(last);
                Self { condition: many(conditions), nodes, depth: depth + 1 }
            }
        }
    }
}

impl<'s> Lowerer<'s, '_> {
    /// `None` if something in it is wrong; every mistake in it has then been reported.
    pub(super) fn condition(&mut self, expr: &'s Expr) -> Option<Lowered> {
        let lowered = match &expr.kind {
            ExprKind::Any(parts) => Lowered::any(self.parts(parts)?),
            ExprKind::All(parts) => Lowered::all(self.parts(parts)?),
            ExprKind::Not(inner) => self.condition(inner)?.not(),
            ExprKind::Test(operand, predicate) => self.test(operand, predicate.as_ref(), expr.span)?,
        };
        self.sized(lowered, expr.span)
    }

    /// The parts of a condition that must all hold, each where it was written; joined they are the condition.
    pub(super) fn conjuncts(&mut self, expr: &'s Expr) -> Option<Vec<(Lowered, Span)>> {
        let parts = match &expr.kind {
            ExprKind::All(parts) => parts.as_slice(),
            _ => std::slice::from_ref(expr),
        };
        let lowered: Vec<_> = parts.iter().map(|part| Some((self.condition(part)?, part.span))).collect();
        let lowered: Vec<_> = lowered.into_iter().collect::<Option<_>>()?;
        self.sized(Lowered::all(lowered.iter().map(|(part, _)| part.clone()).collect()), expr.span)?;
        Some(lowered)
    }

    fn sized(&mut self, lowered: Lowered, span: Span) -> Option<Lowered> {
        match lowered.depth > NESTING_MAX {
            true => self.too_large(span, format!("more than {NESTING_MAX} operators deep")),
            false if lowered.nodes > CONDITION_NODES_MAX => {
                self.too_large(span, format!("larger than {CONDITION_NODES_MAX} operators and tests"))
            }
            false => Some(lowered),
        }
    }

    fn parts(&mut self, parts: &'s [Expr]) -> Option<Vec<Lowered>> {
        let lowered: Vec<_> = parts.iter().map(|part| self.condition(part)).collect();
        lowered.into_iter().collect()
    }

    /// The condition behind a plain name of a file. Its own mistakes are reported where it is defined.
    pub(super) fn named_condition(&mut self, file: usize, name: &str, used_at: Span) -> Option<Lowered> {
        let definition = *self.files.get(file)?.lets.get(name)?;
        let key = (file, definition.name.node.as_str());
        self.usage.uses(key);
        match self.lets.get(&key) {
            Some(Progress::Done(done)) => return done.as_ref().map(|lowered| (**lowered).clone()),
            Some(Progress::Running) => {
                self.cyclic(name, used_at, definition.name.span);
                return None;
            }
            None => {}
        }
        if self.definition_depth >= NESTING_MAX {
            return self.too_large(used_at, format!("a chain of more than {NESTING_MAX} definitions"));
        }
        self.definition_depth += 1;
        self.usage.within.push(key);
        self.lets.insert(key, Progress::Running);
        let lowered = self.condition(&definition.condition);
        self.usage.within.pop();
        self.definition_depth -= 1;
        self.lets.insert(key, Progress::Done(lowered.clone().map(Rc::new)));
        lowered
    }

    pub(super) fn cyclic(&mut self, name: &str, used_at: Span, defined_at: Span) {
        self.error(
            Diagnostic::error(Code::CyclicDefinition, format!("`{name}` needs itself"))
                .label(used_at, "needed here")
                .label(defined_at, "defined here"),
        );
    }

    /// Counts a finished condition of a rule against the bound of the set.
    pub(super) fn bounded(&mut self, lowered: Lowered, span: Span) -> Condition {
        let before = self.nodes_total;
        self.nodes_total += lowered.nodes;
        if lowered.depth > NESTING_MAX {
            self.too_large(span, format!("more than {NESTING_MAX} operators deep"));
            return Condition::Const(true);
        }
        if before <= CONDITION_NODES_TOTAL_MAX && self.nodes_total > CONDITION_NODES_TOTAL_MAX {
            self.error(
                Diagnostic::error(
                    Code::ConditionTooLarge,
                    format!(
                        "the conditions of all rules are larger than {CONDITION_NODES_TOTAL_MAX} operators and tests together"
                    ),
                )
                .label(span, "with this rule"),
            );
        }
        match self.nodes_total > CONDITION_NODES_TOTAL_MAX {
            true => Condition::Const(true),
            false => lowered.condition,
        }
    }

    pub(super) fn leaf(&mut self, atom: Atom) -> Lowered {
        Lowered::leaf(Condition::Atom(self.atom(atom)))
    }

    /// Always `None`, for the caller to return.
    fn too_large(&mut self, span: Span, what: String) -> Option<Lowered> {
        self.error(
            Diagnostic::error(
                Code::ConditionTooLarge,
                format!("with every name put in its place this condition is {what}"),
            )
            .label(span, "")
            .help("split the rule, or say it with a set"),
        );
        None
    }
}
