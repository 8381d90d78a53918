//! Clauses of a rule.

use super::grammar::Rule;
use super::{Context, Pair, Pairs, Parsed, path, side};
use crate::program::{RecordBound, RecordLevel, Side, Transform};
use crate::source::Spanned;
use crate::syntax::{Clause, MaskClause, MatcherSyntax};

impl Context {
    pub(super) fn clause(&self, pair: Pair<'_>) -> Parsed<Clause> {
        let rule = pair.as_rule();
        let mut inner = pair.clone().into_inner();
        Ok(match rule {
            Rule::when => Clause::When(self.condition(self.next_of(&mut inner, Rule::condition)?)?),
            Rule::unless => Clause::Unless(self.condition(self.next_of(&mut inner, Rule::condition)?)?),
            Rule::allow => Clause::Allow,
            Rule::deny => Clause::Deny {
                text: self.string(&self.next_of(&mut inner, Rule::string)?)?,
                status: inner.find(|p| p.as_rule() == Rule::number).map(|p| self.number(&p)).transpose()?,
            },
            Rule::record => Clause::Record {
                bound: match self.next_of(&mut inner, Rule::bound)?.as_str() {
                    "least" => RecordBound::AtLeast,
                    _ => RecordBound::AtMost,
                },
                level: match self.next_of(&mut inner, Rule::level)?.as_str() {
                    "full" => RecordLevel::Full,
                    _ => RecordLevel::Metadata,
                },
            },
            Rule::require => self.require(inner)?,
            Rule::mask => Clause::Mask(self.mask(inner)?),
            _ => return Err(self.internal(&pair)),
        })
    }

    fn require(&self, mut inner: Pairs<'_>) -> Parsed<Clause> {
        let group = self.next_of(&mut inner, Rule::one_group)?;
        let group = self.next_of(&mut group.into_inner(), Rule::string)?;
        let (mut by, mut within, mut valid) = (Vec::new(), Vec::new(), Vec::new());
        for pair in inner {
            let list = match pair.as_rule() {
                Rule::by => &mut by,
                Rule::within => &mut within,
                Rule::valid => &mut valid,
                _ => continue,
            };
            list.push(self.number(&self.next_of(&mut pair.into_inner(), Rule::number)?)?);
        }
        Ok(Clause::Require { group: self.string(&group)?, by, within, valid })
    }

    fn mask(&self, inner: Pairs<'_>) -> Parsed<MaskClause> {
        let mut mask =
            MaskClause { record_only: false, side: Side::Request, path: None, matchers: Vec::new(), transform: None };
        for pair in inner {
            let span = self.at(&pair);
            let transform = match pair.as_rule() {
                Rule::kw_label => Transform::Label,
                Rule::kw_last4 => Transform::Last4,
                Rule::string => Transform::Literal(self.string(&pair)?.node),
                rule => {
                    match rule {
                        Rule::kw_record => mask.record_only = true,
                        Rule::side => mask.side = side(&pair),
                        Rule::json_path => mask.path = Some(path::parse(pair.as_str(), span)?),
                        Rule::detect => {
                            mask.matchers.push(MatcherSyntax::Detect(self.detectors(pair)));
                        }
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
