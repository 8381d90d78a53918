//! Conditions: from the layers of the grammar to one tree.

use super::grammar::Rule;
use super::{Context, Pair, Parsed, path, side};
use crate::program::CompareOp;
use crate::source::{Span, Spanned};
use crate::syntax::{Expr, ExprKind, Op, Operand, Predicate, SetExpr, SetTerm};

impl Context {
    pub(super) fn condition(&self, pair: Pair<'_>) -> Parsed<Expr> {
        let span = self.trimmed(&pair);
        let alternatives = pair
            .into_inner()
            .filter(|pair| pair.as_rule() == Rule::all)
            .map(|pair| {
                let span = self.trimmed(&pair);
                let parts = pair
                    .into_inner()
                    .filter(|pair| pair.as_rule() == Rule::unary)
                    .map(|pair| self.unary(pair))
                    .collect::<Parsed<Vec<_>>>()?;
                Ok(one_or(parts, span, ExprKind::All))
            })
            .collect::<Parsed<Vec<_>>>()?;
        Ok(one_or(alternatives, span, ExprKind::Any))
    }

    /// Any number of `not` before one term; two of them cancel out.
    fn unary(&self, pair: Pair<'_>) -> Parsed<Expr> {
        let span = self.trimmed(&pair);
        let mut negated = false;
        let mut term = None;
        for pair in pair.into_inner() {
            match pair.as_rule() {
                Rule::kw_not => negated = !negated,
                Rule::group => {
                    let inner = self.next_of(&mut pair.into_inner(), Rule::condition)?;
                    term = Some(self.condition(inner)?);
                }
                _ => term = Some(self.comparison(pair)?),
            }
        }
        let term = term.ok_or_else(|| self.internal_at(span))?;
        Ok(match negated {
            true => Expr { kind: ExprKind::Not(Box::new(term)), span },
            false => term,
        })
    }

    fn comparison(&self, pair: Pair<'_>) -> Parsed<Expr> {
        let span = self.trimmed(&pair);
        let mut inner = pair.into_inner();
        let operand = self.operand(self.next(&mut inner)?)?;
        let predicate = match inner.next() {
            Some(pair) => Some(Spanned { span: self.trimmed(&pair), node: self.predicate(pair)? }),
            None => None,
        };
        Ok(Expr { kind: ExprKind::Test(operand, predicate), span })
    }

    pub(super) fn operand(&self, pair: Pair<'_>) -> Parsed<Operand> {
        let span = self.at(&pair);
        Ok(match pair.as_rule() {
            Rule::string => Operand::String(self.string(&pair)?),
            Rule::header => {
                let name = self.next_of(&mut pair.into_inner(), Rule::string)?;
                Operand::Header(self.string(&name)?)
            }
            Rule::json => {
                let mut inner = pair.into_inner();
                let side = side(&self.next(&mut inner)?);
                let path = self.next_of(&mut inner, Rule::json_path)?;
                Operand::Json(side, path::parse(path.as_str(), self.at(&path))?, span)
            }
            _ => Operand::Field(self.text(&pair)),
        })
    }

    fn predicate(&self, pair: Pair<'_>) -> Parsed<Predicate> {
        let rule = pair.as_rule();
        let mut inner = pair.clone().into_inner();
        Ok(match rule {
            Rule::compare => {
                let op = self.next(&mut inner)?;
                let (negated, compare) = match op.as_str() {
                    "!=" => (true, CompareOp::Eq),
                    "<" => (false, CompareOp::Lt),
                    "<=" => (false, CompareOp::Le),
                    ">" => (false, CompareOp::Gt),
                    ">=" => (false, CompareOp::Ge),
                    _ => (false, CompareOp::Eq),
                };
                Predicate::Compare {
                    op: Spanned { span: self.at(&op), node: Op { negated, op: compare } },
                    value: self.value(&self.next(&mut inner)?)?,
                }
            }
            Rule::membership => {
                let negated = pair.clone().into_inner().any(|pair| pair.as_rule() == Rule::kw_not);
                let set = inner.last().ok_or_else(|| self.internal(&pair))?;
                let set = match set.as_rule() {
                    Rule::groups => {
                        let groups = self.groups(set)?;
                        SetExpr { span: groups.span, first: SetTerm::Groups(groups), rest: Vec::new() }
                    }
                    _ => self.set_expr(set)?,
                };
                Predicate::In { negated, set }
            }
            Rule::presence => Predicate::Present(self.next_of(&mut inner, Rule::state)?.as_str() == "present"),
            Rule::matches => Predicate::Matches(self.regex(&self.next_of(&mut inner, Rule::regex)?)),
            Rule::contains => Predicate::Contains(self.string(&self.next_of(&mut inner, Rule::string)?)?),
            Rule::finds => Predicate::Finds(self.detectors(self.next_of(&mut inner, Rule::detect)?)?),
            _ => return Err(self.internal(&pair)),
        })
    }
}

/// A list of one is that one.
fn one_or(mut parts: Vec<Expr>, span: Span, many: fn(Vec<Expr>) -> ExprKind) -> Expr {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => only,
        (_, last) => {
            parts.extend(last);
            Expr { kind: many(parts), span }
        }
    }
}
