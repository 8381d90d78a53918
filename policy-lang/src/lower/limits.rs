//! `limit …`: rates, and upper bounds of single numbers.

use super::Lowerer;
use super::fields::{Field, lookup};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{LIMIT_AMOUNT_MAX, LIMIT_KEYS_MAX};
use crate::program::{Effect, LimitKey, LimitKind, RateLimit};
use crate::schema::IntField;
use crate::source::{Span, Spanned};
use crate::syntax::{Number, Operand, Rate, Text, Unit};
use std::time::Duration;

/// Numbers that a caller is answerable for.
const BOUNDED: [(IntField, Option<Unit>); 3] =
    [(IntField::RequestSize, Some(Unit::Bytes)), (IntField::TokensRequested, None), (IntField::ImageCount, None)];

impl<'s> Lowerer<'s, '_> {
    pub(super) fn rate_limit(
        &mut self,
        kind: LimitKind,
        rate: &Spanned<Rate>,
        keys: &'s [Spanned<Operand>],
        burst: Option<&Spanned<Number>>,
    ) -> Option<Effect> {
        let amount = u64::try_from(rate.node.amount).ok().filter(|amount| (1..=LIMIT_AMOUNT_MAX).contains(amount));
        if amount.is_none() {
            self.out_of_range(rate.span, &format!("a rate from 1 to {LIMIT_AMOUNT_MAX} in its time"));
        }
        if let Some(extra) = keys.get(LIMIT_KEYS_MAX) {
            self.out_of_range(extra.span, &format!("one field too many: a limit has at most {LIMIT_KEYS_MAX}"));
            return None;
        }
        let mut lowered: Vec<LimitKey> = Vec::new();
        for key in keys {
            let found = self.limit_key(key)?;
            if lowered.contains(&found) {
                self.error(
                    Diagnostic::error(Code::ClauseTwice, "this field stands twice").label(key.span, "the second"),
                );
            }
            lowered.push(found);
        }
        let burst = match burst {
            None => None,
            Some(written) => {
                Some(self.in_range(written, None, LIMIT_AMOUNT_MAX, "a number without a unit, at least 1")?)
            }
        };
        let period = Duration::from_secs(u64::try_from(rate.node.seconds).ok()?);
        Some(Effect::LimitRate(RateLimit { kind, amount: amount?, period, keys: lowered, burst }))
    }

    fn limit_key(&mut self, key: &'s Spanned<Operand>) -> Option<LimitKey> {
        match &key.node {
            Operand::Header(name) => {
                self.not_empty(name)?;
                Some(LimitKey::Header(name.node.to_ascii_lowercase()))
            }
            Operand::Field(name) => match lookup(&name.node) {
                Some(Field::Str(field)) if !field.is_response() => Some(LimitKey::Str(field)),
                Some(Field::Ip) => Some(LimitKey::Ip),
                Some(_) => self.no_key(key.span),
                None => self.claim_key(key.span.file, name),
            },
            Operand::String(_) | Operand::Json(..) => self.no_key(key.span),
        }
    }

    fn claim_key(&mut self, file: usize, name: &'s Text) -> Option<LimitKey> {
        let claim = name.node.strip_prefix("identity.").and_then(|short| self.claim_of(file, short));
        let Some((owner, item)) = claim else {
            self.unknown_field(file, name);
            return None;
        };
        self.usage.claims.insert((owner, item.name.node.clone()));
        let (claim, _) = self.declared_claim(file, &item.name.node)?;
        Some(LimitKey::Claim(claim.key))
    }

    /// Always `None`, for the caller to return.
    fn no_key(&mut self, span: Span) -> Option<LimitKey> {
        self.error(
            Diagnostic::error(Code::WrongTest, "a limit cannot be counted per this")
                .label(span, "")
                .help("limits count per text field, such as identity.subject, per request.ip, per claim or per request.header(\"…\")"),
        );
        None
    }

    pub(super) fn field_limit(&mut self, name: &'s Text, max: &Spanned<Number>) -> Option<Effect> {
        let names =
            || BOUNDED.iter().filter_map(|(field, _)| IntField::ALL.get(*field as usize)).map(|(_, name)| *name);
        let field = match lookup(&name.node) {
            Some(Field::Int(field)) => BOUNDED.iter().find(|(known, _)| *known == field),
            _ => None,
        };
        let Some((field, unit)) = field else {
            self.error(
                Diagnostic::error(Code::WrongTest, format!("`{}` cannot be limited", name.node))
                    .label(name.span, "")
                    .help(format!("numbers that can be limited are {}", names().collect::<Vec<_>>().join(", ")))
                    .suggest(&name.node, name.span, names()),
            );
            return None;
        };
        let fits = max.node.value >= 0 && (max.node.unit.is_none() || max.node.unit == *unit);
        if !fits {
            let what = match unit {
                Some(_) => "a size in bytes, such as 512KiB",
                None => "a number without a unit",
            };
            self.out_of_range(max.span, what);
            return None;
        }
        Some(Effect::LimitField { field: *field, max: max.node.value })
    }
}
