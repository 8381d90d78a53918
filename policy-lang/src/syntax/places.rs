//! Every place in a tree, for moving trees.

use super::*;

/// Something that knows where its parts were written.
pub(crate) trait Places {
    /// Calls `visit` for the place of every part.
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span));
}

impl Places for Span {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        visit(self);
    }
}

impl<T: Places> Places for Spanned<T> {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        self.node.each(visit);
        visit(&mut self.span);
    }
}

impl<T: Places> Places for Vec<T> {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        self.iter_mut().for_each(|part| part.each(visit));
    }
}

impl<T: Places> Places for Option<T> {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        self.iter_mut().for_each(|part| part.each(visit));
    }
}

impl Places for (SetOp, SetTerm) {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        self.1.each(visit);
    }
}

/// What has no place of its own.
macro_rules! placeless {
    ($($type:ty),*) => {
        $(impl Places for $type {
            fn each(&mut self, _: &mut dyn FnMut(&mut Span)) {}
        })*
    };
}

placeless!(String, i64, Number, Rate, Value, Op, Transform);

macro_rules! parts {
    ($($type:ident { $($field:ident),* })*) => {
        $(impl Places for $type {
            fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
                $(self.$field.each(visit);)*
            }
        })*
    };
}

parts! {
    Header { name, span }
    ImportItem { path, alias }
    ClaimItem { name, kind, key, default }
    SetItem { name, kind, set }
    LetItem { name, condition }
    DetectorItem { name, regex, near }
    RuleItem { name, clauses, span }
    InvariantItem { name, promises }
    Promise { condition }
    TestItem { name, givens, expects, span }
    Given { what }
    MaskClause { matchers, transform }
    Expr { kind, span }
    SetExpr { first, rest, span }
    Groups { entries, span }
    Braces { entries, span }
}

impl Places for Item {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::Policy(item) => item.each(visit),
            Self::Import(item) => item.each(visit),
            Self::Claim(item) => item.each(visit),
            Self::Set(item) => item.each(visit),
            Self::Let(item) => item.each(visit),
            Self::Detector(item) => item.each(visit),
            Self::Rule(item) => item.each(visit),
            Self::Invariant(item) => item.each(visit),
            Self::Test(item) => item.each(visit),
        }
    }
}

impl Places for ExpectSyntax {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::Verdict { verdict, by, status } => {
                verdict.each(visit);
                by.each(visit);
                status.each(visit);
            }
            Self::Fires { rule, .. } => rule.each(visit),
            Self::Value { .. } => {}
        }
    }
}

impl Places for Clause {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::When(condition) => condition.each(visit),
            Self::Unless { condition, until } => {
                condition.each(visit);
                until.each(visit);
            }
            Self::Allow { until } => until.each(visit),
            Self::Deny { text, status, .. } => {
                text.each(visit);
                status.each(visit);
            }
            Self::Mask(mask) => mask.each(visit),
            Self::Drop { .. } | Self::Record { .. } | Self::Seal(_) => {}
            Self::Retain { time, .. } => time.each(visit),
            Self::RequireApproval { groups, by, within, valid } => {
                groups.each(visit);
                by.each(visit);
                within.each(visit);
                valid.each(visit);
            }
            Self::RequirePurpose { purposes, bases, .. } => {
                purposes.each(visit);
                bases.each(visit);
            }
            Self::RequireGrant { groups, within, lasting } => {
                groups.each(visit);
                within.each(visit);
                lasting.each(visit);
            }
            Self::Purpose { purpose, basis } => {
                purpose.each(visit);
                basis.each(visit);
            }
            Self::Risk { points, why } => {
                points.each(visit);
                why.each(visit);
            }
            Self::LimitRate { rate, keys, burst, .. } => {
                rate.each(visit);
                keys.each(visit);
                burst.each(visit);
            }
            Self::LimitField { field, max } => {
                field.each(visit);
                max.each(visit);
            }
            Self::Alert { name, .. } => name.each(visit),
        }
    }
}

impl Places for MatcherSyntax {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::Detect(detectors) => detectors.each(visit),
            Self::Regex(regex) => regex.each(visit),
        }
    }
}

impl Places for DetectorSyntax {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::Name(name) | Self::Family(name) => name.each(visit),
        }
    }
}

impl Places for ExprKind {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::Any(parts) | Self::All(parts) => parts.each(visit),
            Self::Not(inner) => inner.each(visit),
            Self::Test(operand, predicate) => {
                operand.each(visit);
                predicate.each(visit);
            }
        }
    }
}

impl Places for Operand {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::String(text) | Self::Header(text) | Self::Field(text) => text.each(visit),
            Self::Json(_, _, span) => visit(span),
        }
    }
}

impl Places for Predicate {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::Compare { op, value } => {
                op.each(visit);
                value.each(visit);
            }
            Self::In { set, .. } => set.each(visit),
            Self::Present(_) => {}
            Self::Matches(text) | Self::Contains(text) => text.each(visit),
            Self::Finds(detectors) => detectors.each(visit),
        }
    }
}

impl Places for SetTerm {
    fn each(&mut self, visit: &mut dyn FnMut(&mut Span)) {
        match self {
            Self::Braces(braces) => braces.each(visit),
            Self::Groups(groups) => groups.each(visit),
            Self::Name(name) => name.each(visit),
        }
    }
}
