//! `test "…" { given … expect … }`

use super::grammar::Rule;
use super::{Context, Pair, Pairs, Parsed, path, side};
use crate::source::Spanned;
use crate::syntax::{ExpectSyntax, Given, TestItem, Wanted};

impl Context {
    pub(super) fn test(&self, mut inner: Pairs<'_>) -> Parsed<TestItem> {
        let name = self.string(&self.next_of(&mut inner, Rule::string)?)?;
        let (mut givens, mut expects) = (Vec::new(), Vec::new());
        for pair in inner {
            let span = self.trimmed(&pair);
            match pair.as_rule() {
                Rule::given => givens.push(Spanned { node: self.given(pair)?, span }),
                Rule::expect => expects.push(Spanned { node: self.expect(pair)?, span }),
                _ => {}
            }
        }
        Ok(TestItem { name, givens, expects, span: self.span })
    }

    fn given(&self, pair: Pair<'_>) -> Parsed<Given> {
        let mut inner = pair.into_inner();
        Ok(Given {
            what: self.text(&self.next_of(&mut inner, Rule::given_what)?),
            value: self.json_object(self.next_of(&mut inner, Rule::json_object)?)?,
        })
    }

    fn expect(&self, pair: Pair<'_>) -> Parsed<ExpectSyntax> {
        let kind = pair
            .clone()
            .into_inner()
            .find(|pair| pair.as_rule() != Rule::kw_expect)
            .ok_or_else(|| self.internal(&pair))?;
        match kind.as_rule() {
            Rule::expect_fires => {
                let negated = kind.clone().into_inner().any(|pair| pair.as_rule() == Rule::kw_not);
                let rule = self.text(&self.next_of(&mut kind.into_inner(), Rule::rule_name)?);
                Ok(ExpectSyntax::Fires { negated, rule })
            }
            Rule::expect_verdict => self.expect_verdict(kind),
            _ => self.expect_value(kind),
        }
    }

    fn expect_verdict(&self, pair: Pair<'_>) -> Parsed<ExpectSyntax> {
        let mut inner = pair.into_inner();
        let verdict = self.text(&self.next_of(&mut inner, Rule::verdict)?);
        let (mut by, mut status) = (None, None);
        for pair in inner {
            match pair.as_rule() {
                Rule::by_rule => by = Some(self.text(&self.next_of(&mut pair.into_inner(), Rule::rule_name)?)),
                Rule::status => status = Some(self.number(&self.next_of(&mut pair.into_inner(), Rule::number)?)?),
                _ => {}
            }
        }
        Ok(ExpectSyntax::Verdict { verdict, by, status })
    }

    fn expect_value(&self, pair: Pair<'_>) -> Parsed<ExpectSyntax> {
        let record = pair.clone().into_inner().any(|pair| pair.as_rule() == Rule::kw_record);
        let mut inner = pair.clone().into_inner();
        let side = side(&self.next_of(&mut inner, Rule::side)?);
        let written = self.next_of(&mut inner, Rule::json_path)?;
        let path = path::parse(written.as_str(), self.at(&written))?;
        let wanted = inner
            .find(|pair| matches!(pair.as_rule(), Rule::presence | Rule::json_value))
            .ok_or_else(|| self.internal(&pair))?;
        let wanted = match wanted.as_rule() {
            Rule::presence => {
                Wanted::Present(self.next_of(&mut wanted.into_inner(), Rule::state)?.as_str() == "present")
            }
            _ => Wanted::Equal(self.json_value(wanted)?),
        };
        Ok(ExpectSyntax::Value { record, side, path, wanted })
    }
}
