//! Clauses of a rule.

use super::grammar::Rule;
use super::{Context, Pair, Pairs, Parsed, path, side, tokens};
use crate::program::{LimitKind, RecordBound, RecordLevel, Severity, Side, SourceKind, Transform};
use crate::source::Spanned;
use crate::syntax::{Clause, MaskClause, MatcherSyntax, Number};

impl Context {
    pub(super) fn clause(&self, pair: Pair<'_>) -> Parsed<Clause> {
        let rule = pair.as_rule();
        let mut inner = pair.clone().into_inner();
        Ok(match rule {
            Rule::when => Clause::When(self.condition(self.next_of(&mut inner, Rule::condition)?)?),
            Rule::unless => Clause::Unless {
                condition: self.condition(self.next_of(&mut inner, Rule::condition)?)?,
                until: self.until(inner)?,
            },
            Rule::allow => Clause::Allow { until: self.until(inner)? },
            Rule::deny => self.deny(inner)?,
            Rule::mask => Clause::Mask(self.mask(inner)?),
            Rule::drop => Clause::Drop {
                record_only: pair.into_inner().any(|pair| pair.as_rule() == Rule::kw_record),
                side: side(&self.next_of(&mut inner, Rule::side)?),
                path: self.path(&mut inner)?,
            },
            Rule::record => Clause::Record { bound: self.bound(&mut inner)?, level: self.level(&mut inner)? },
            Rule::retain => Clause::Retain { bound: self.bound(&mut inner)?, time: self.number_in(&mut inner)? },
            Rule::seal => Clause::Seal(side(&self.next_of(&mut inner, Rule::side)?)),
            Rule::require_approval => self.require_approval(inner)?,
            Rule::require_purpose => self.require_purpose(inner)?,
            Rule::require_grant => self.require_grant(inner)?,
            Rule::purpose => self.purpose(inner)?,
            Rule::risk => Clause::Risk {
                points: self.number_in(&mut inner)?,
                why: inner.find(|pair| pair.as_rule() == Rule::string).map(|pair| self.string(&pair)).transpose()?,
            },
            Rule::limit_rate => self.limit_rate(inner)?,
            Rule::limit_field => Clause::LimitField {
                field: self.text(&self.next_of(&mut inner, Rule::field)?),
                max: self.number_in(&mut inner)?,
            },
            Rule::alert => self.alert(inner)?,
            _ => return Err(self.internal(&pair)),
        })
    }

    fn until(&self, mut inner: Pairs<'_>) -> Parsed<Option<Spanned<i64>>> {
        let Some(until) = inner.find(|pair| pair.as_rule() == Rule::until) else {
            return Ok(None);
        };
        let date = self.next_of(&mut until.into_inner(), Rule::date)?;
        let span = self.at(&date);
        Ok(Some(Spanned { node: tokens::date(date.as_str(), span)?, span }))
    }

    fn deny(&self, mut inner: Pairs<'_>) -> Parsed<Clause> {
        let text = self.string(&self.next_of(&mut inner, Rule::string)?)?;
        let (mut status, mut hold) = (Vec::new(), false);
        for pair in inner {
            match pair.as_rule() {
                Rule::kw_hold => hold = true,
                _ => status.push(self.number_in(&mut pair.into_inner())?),
            }
        }
        Ok(Clause::Deny { text, status, hold })
    }

    fn require_approval(&self, mut inner: Pairs<'_>) -> Parsed<Clause> {
        let groups = self.groups(self.next_of(&mut inner, Rule::groups)?)?;
        let [by, within, valid] = self.numbers(inner, [Rule::by, Rule::within, Rule::valid])?;
        Ok(Clause::RequireApproval { groups, by, within, valid })
    }

    fn require_grant(&self, mut inner: Pairs<'_>) -> Parsed<Clause> {
        let groups = self.groups(self.next_of(&mut inner, Rule::groups)?)?;
        let [within, lasting] = self.numbers(inner, [Rule::within, Rule::lasting])?;
        Ok(Clause::RequireGrant { groups, within, lasting })
    }

    /// The numbers of clauses such as `within 5m`, by the rule of the clause, each as often as written.
    fn numbers<const N: usize>(&self, inner: Pairs<'_>, rules: [Rule; N]) -> Parsed<[Vec<Spanned<Number>>; N]> {
        let mut found = [const { Vec::new() }; N];
        for pair in inner {
            let place = rules.iter().position(|rule| *rule == pair.as_rule());
            if let Some(list) = place.and_then(|place| found.get_mut(place)) {
                list.push(self.number_in(&mut pair.into_inner())?);
            }
        }
        Ok(found)
    }

    fn require_purpose(&self, mut inner: Pairs<'_>) -> Parsed<Clause> {
        let purposes = self.set_expr(self.next_of(&mut inner, Rule::set_expr)?)?;
        let (mut bases, mut from) = (None, Vec::new());
        for pair in inner {
            match pair.as_rule() {
                Rule::with_basis => {
                    bases = Some(self.set_expr(self.next_of(&mut pair.into_inner(), Rule::set_expr)?)?);
                }
                Rule::source => from.push(match pair.as_str() {
                    "claim" => SourceKind::Claim,
                    "policy" => SourceKind::Policy,
                    _ => SourceKind::Header,
                }),
                _ => {}
            }
        }
        Ok(Clause::RequirePurpose { purposes, bases, from })
    }

    fn purpose(&self, mut inner: Pairs<'_>) -> Parsed<Clause> {
        let purpose = self.string(&self.next_of(&mut inner, Rule::string)?)?;
        let basis = match inner.find(|pair| pair.as_rule() == Rule::basis) {
            Some(basis) => Some(self.string(&self.next_of(&mut basis.into_inner(), Rule::string)?)?),
            None => None,
        };
        Ok(Clause::Purpose { purpose, basis })
    }

    fn limit_rate(&self, inner: Pairs<'_>) -> Parsed<Clause> {
        let (mut kind, mut rate, mut keys, mut burst) = (LimitKind::Requests, None, Vec::new(), None);
        for pair in inner {
            let span = self.at(&pair);
            match pair.as_rule() {
                Rule::counted if pair.as_str() == "tokens" => kind = LimitKind::Tokens,
                Rule::rate => rate = Some(Spanned { node: tokens::rate(pair.as_str(), span)?, span }),
                Rule::header | Rule::field => keys.push(Spanned { node: self.operand(pair)?, span }),
                Rule::burst => burst = Some(self.number_in(&mut pair.into_inner())?),
                _ => {}
            }
        }
        Ok(Clause::LimitRate { kind, rate: rate.ok_or_else(|| self.internal_at(self.span))?, keys, burst })
    }

    fn alert(&self, mut inner: Pairs<'_>) -> Parsed<Clause> {
        let name = self.string(&self.next_of(&mut inner, Rule::string)?)?;
        let severity = match inner.find(|pair| pair.as_rule() == Rule::severity_clause) {
            None => None,
            Some(clause) => Some(match self.next_of(&mut clause.into_inner(), Rule::severity)?.as_str() {
                "low" => Severity::Low,
                "medium" => Severity::Medium,
                "high" => Severity::High,
                _ => Severity::Critical,
            }),
        };
        Ok(Clause::Alert { name, severity })
    }

    fn bound(&self, inner: &mut Pairs<'_>) -> Parsed<RecordBound> {
        Ok(match self.next_of(inner, Rule::bound)?.as_str() {
            "least" => RecordBound::AtLeast,
            _ => RecordBound::AtMost,
        })
    }

    fn level(&self, inner: &mut Pairs<'_>) -> Parsed<RecordLevel> {
        Ok(match self.next_of(inner, Rule::level)?.as_str() {
            "full" => RecordLevel::Full,
            _ => RecordLevel::Metadata,
        })
    }

    fn number_in(&self, inner: &mut Pairs<'_>) -> Parsed<Spanned<Number>> {
        self.number(&self.next_of(inner, Rule::number)?)
    }

    fn path(&self, inner: &mut Pairs<'_>) -> Parsed<crate::program::JsonPath> {
        let pair = self.next_of(inner, Rule::json_path)?;
        path::parse(pair.as_str(), self.at(&pair))
    }

    fn mask(&self, inner: Pairs<'_>) -> Parsed<MaskClause> {
        let mut mask =
            MaskClause { record_only: false, side: Side::Request, path: None, matchers: Vec::new(), transform: None };
        for pair in inner {
            let span = self.at(&pair);
            let transform = match pair.as_rule() {
                Rule::kw_label => Transform::Label,
                Rule::kw_last4 => Transform::Last4,
                Rule::kw_hash => Transform::Hash,
                Rule::kw_token => Transform::Token,
                Rule::string => Transform::Literal(self.string(&pair)?.node),
                rule => {
                    match rule {
                        Rule::kw_record => mask.record_only = true,
                        Rule::side => mask.side = side(&pair),
                        Rule::json_path => mask.path = Some(path::parse(pair.as_str(), span)?),
                        Rule::detect => mask.matchers.push(MatcherSyntax::Detect(self.detectors(pair)?)),
                        Rule::regex => mask.matchers.push(MatcherSyntax::Regex(self.regex(&pair))),
                        _ => {}
                    }
                    continue;
                }
            };
            mask.transform = Some(Spanned { node: transform, span });
        }
        Ok(mask)
    }
}
