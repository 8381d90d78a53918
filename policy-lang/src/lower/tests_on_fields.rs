//! Single tests: which field takes which test, and the atom it becomes.

use super::Lowerer;
use super::claims::is_optional_number;
use super::conditions::Lowered;
use super::fields::{Field, lookup};
use super::sets::SetType;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::{Atom, CompareOp, Side, StrSet};
use crate::schema::{BoolField, IntField, StrField};
use crate::source::{Span, Spanned};
use crate::syntax::{Operand, Predicate, SetExpr, SetTerm, Text, Unit, Value};

/// The test behind an operand, if there is one.
pub(super) type Test<'p> = Option<&'p Spanned<Predicate>>;

impl<'s> Lowerer<'s, '_> {
    pub(super) fn test(&mut self, operand: &'s Operand, test: Test<'s>, span: Span) -> Option<Lowered> {
        self.test_span = span;
        match operand {
            Operand::Field(name) => self.field_or_condition(name, test, span),
            Operand::String(text) => self.membership_of(text, test, span),
            Operand::Header(name) => self.header_test(name, test, span),
            Operand::Json(side, path, span) => self.json_test(*side, path, test, *span),
        }
    }

    fn field_or_condition(&mut self, name: &'s Text, test: Test<'s>, span: Span) -> Option<Lowered> {
        let file = span.file;
        if let Some((owner, short)) = self.known_let_key(file, &name.node) {
            if let Some(test) = test {
                self.error(
                    Diagnostic::error(Code::WrongTest, format!("`{}` is a condition already", name.node))
                        .label(test.span, "nothing can be compared with it")
                        .help(format!("write `{0}` or `not {0}`", name.node)),
                );
                return None;
            }
            return self.named_condition(owner, short, name.span);
        }
        let Some(field) = lookup(&name.node) else {
            return self.claim_or_env(name, test, span);
        };
        match field {
            Field::Str(field) => self.text_field_test(field, test, span),
            Field::Int(field) => self.number_field_test(field, test, span),
            Field::Bool(field) => self.bool_field_test(field, test, span),
            Field::Ip => self.address_test(test, span),
            Field::Tools => self.tools_test(test, span),
            Field::Text(side) => match test.map(|test| &test.node) {
                Some(test @ (Predicate::Matches(_) | Predicate::Contains(_) | Predicate::Finds(_))) => {
                    let atom = match side {
                        Side::Request => Atom::Text,
                        Side::Response => Atom::ResponseText,
                    };
                    self.text_tests(file, test, &atom)
                }
                _ => self.wrong_test(test, span, "text: `matches /…/`, `contains \"…\"`, `finds detect(…)`"),
            },
            Field::Identity => match test.map(|test| &test.node) {
                Some(Predicate::In { negated, set: SetExpr { first: SetTerm::Groups(groups), rest, .. } })
                    if rest.is_empty() =>
                {
                    let leaves = self
                        .group_names(file, groups)?
                        .into_iter()
                        .map(|name| self.leaf(Atom::InGroup(name)))
                        .collect();
                    let lowered = Lowered::any(leaves);
                    Some(if *negated { lowered.not() } else { lowered })
                }
                _ => self.wrong_test(test, span, "the caller: `identity in group(\"…\")`"),
            },
            Field::Groups | Field::Scopes => {
                self.wrong_test(test, span, "a list: `\"…\" in identity.scopes`, `identity in group(\"…\")`")
            }
        }
    }

    /// `identity.<claim>`, `env.<name>`
    fn claim_or_env(&mut self, name: &'s Text, test: Test<'s>, span: Span) -> Option<Lowered> {
        if let Some(short) = name.node.strip_prefix("identity.")
            && self.claim_of(span.file, short).is_some()
        {
            return self.claim_test(span.file, name, test, span);
        }
        let Some(short) = name.node.strip_prefix("env.").filter(|short| !short.contains('.')) else {
            self.unknown_field(span.file, name);
            return None;
        };
        let atom = |set: StrSet| Atom::EnvIn { name: short.to_owned(), set };
        let (negated, lowered) = match test.map(|test| &test.node) {
            Some(Predicate::Compare { op, value }) if op.node.op == CompareOp::Eq => {
                let set = self.one_text(SetType::Text, value)?;
                (op.node.negated, self.leaf(atom(set)))
            }
            Some(Predicate::In { negated, set }) => (*negated, self.in_texts(span.file, SetType::Text, set, &atom)?),
            _ => return self.wrong_test(test, span, "a name from the config: `== \"…\"`, `in { \"…\" }`"),
        };
        Some(if negated { lowered.not() } else { lowered })
    }

    fn bool_field_test(&mut self, field: BoolField, test: Test<'s>, span: Span) -> Option<Lowered> {
        let lowered = self.leaf(Atom::Bool(field));
        match test.map(|test| &test.node) {
            None => Some(lowered),
            Some(Predicate::Compare { op, value }) if op.node.op == CompareOp::Eq => {
                match self.boolean(value)? == op.node.negated {
                    true => Some(lowered.not()),
                    false => Some(lowered),
                }
            }
            Some(_) => self.wrong_test(test, span, "`true` or `false`: write its name alone, or `== false`"),
        }
    }

    /// Whether one of the offered tools has such a name.
    fn tools_test(&mut self, test: Test<'s>, span: Span) -> Option<Lowered> {
        let (negated, lowered) = match test.map(|test| &test.node) {
            Some(Predicate::In { negated, set }) => {
                (*negated, self.in_texts(span.file, SetType::Text, set, &Atom::ToolIn)?)
            }
            Some(Predicate::Present(wanted)) => {
                let any = StrSet { literals: Vec::new(), globs: vec!["*".to_owned()] };
                (!wanted, self.leaf(Atom::ToolIn(any)))
            }
            _ => {
                return self.wrong_test(
                    test,
                    span,
                    "a list: `in { \"…\", ~\"…*\" }` holds if one of the tools is in the set, `is present` if there are any",
                );
            }
        };
        Some(if negated { lowered.not() } else { lowered })
    }

    fn text_field_test(&mut self, field: StrField, test: Test<'s>, span: Span) -> Option<Lowered> {
        let kind = SetType::of_field(field);
        let atom = |set: StrSet| Atom::StrIn { field, set };
        let (negated, lowered) = match test.map(|test| &test.node) {
            Some(Predicate::Compare { op, value }) if op.node.op == CompareOp::Eq => {
                let set = self.one_text(kind, value)?;
                (op.node.negated, self.leaf(atom(set)))
            }
            Some(Predicate::In { negated, set }) => (*negated, self.in_texts(span.file, kind, set, &atom)?),
            // What is absent is in no set, so a glob for everything asks for presence.
            Some(Predicate::Present(wanted)) => {
                let any = StrSet { literals: Vec::new(), globs: vec!["*".to_owned()] };
                (!wanted, self.leaf(atom(any)))
            }
            _ => {
                return self.wrong_test(test, span, "a name: `== \"…\"`, `in { \"…\", ~\"…*\" }`, `is present`");
            }
        };
        Some(if negated { lowered.not() } else { lowered })
    }

    fn number_field_test(&mut self, field: IntField, test: Test<'s>, span: Span) -> Option<Lowered> {
        let (op, value) = match test.map(|test| &test.node) {
            Some(Predicate::Compare { op, value }) => (op.node, value),
            Some(Predicate::Present(wanted)) if is_optional_number(field) => {
                let lowered = self.leaf(Atom::IntPresent(field));
                return Some(if *wanted { lowered } else { lowered.not() });
            }
            _ => return self.wrong_test(test, span, "a number: `==`, `!=`, `<`, `<=`, `>`, `>=`"),
        };
        let (range, unit, what) = match field {
            IntField::RequestSize | IntField::ResponseSize => {
                (0..=i64::MAX, Some(Unit::Bytes), "a size in bytes, such as 512KiB")
            }
            IntField::Hour => (0..=23, None, "an hour from 0 to 23"),
            IntField::ResponseStatus => (100..=599, None, "an HTTP status, such as 200"),
            IntField::Date => (i64::MIN..=i64::MAX, None, "a day, such as 2027-03-31"),
            IntField::TokensRequested | IntField::ImageCount | IntField::Risk | IntField::ResponseTokens => {
                (0..=i64::MAX, None, "a number without a unit, at least 0")
            }
        };
        let (number, number_unit) = match (&value.node, field) {
            (Value::Date(days), IntField::Date) => (*days, None),
            (Value::Number(number), field) if field != IntField::Date => (number.value, number.unit),
            _ => {
                self.error(
                    Diagnostic::error(Code::WrongTest, "this is not what the field holds")
                        .label(value.span, "")
                        .help(format!("it is {what}")),
                );
                return None;
            }
        };
        if !range.contains(&number) || (number_unit.is_some() && number_unit != unit) {
            self.out_of_range_field(value.span, what);
            return None;
        }
        let lowered = self.leaf(Atom::Int { field, op: op.op, value: number });
        Some(if op.negated { lowered.not() } else { lowered })
    }

    fn out_of_range_field(&mut self, span: Span, what: &str) {
        self.error(Diagnostic::error(Code::OutOfRange, format!("this field is {what}")).label(span, ""));
    }

    fn address_test(&mut self, test: Test<'s>, span: Span) -> Option<Lowered> {
        let (negated, lowered) = match test.map(|test| &test.node) {
            Some(Predicate::Compare { op, value }) if op.node.op == CompareOp::Eq => {
                let net = self.address(value)?;
                (op.node.negated, self.leaf(Atom::IpIn(vec![net])))
            }
            Some(Predicate::In { negated, set }) => (*negated, self.in_networks(span.file, set)?),
            _ => {
                return self.wrong_test(test, span, "an address: `in { 10.0.0.0/8 }`, `== 192.0.2.7`");
            }
        };
        Some(if negated { lowered.not() } else { lowered })
    }

    /// `"…" in identity.scopes`
    fn membership_of(&mut self, text: &'s Text, test: Test<'s>, span: Span) -> Option<Lowered> {
        if let Some(Predicate::In { negated, set: SetExpr { first: SetTerm::Name(list), rest, .. } }) =
            test.map(|test| &test.node)
            && rest.is_empty()
        {
            let plain = || StrSet { literals: vec![text.node.clone()], globs: Vec::new() };
            let lowered = match lookup(&list.node) {
                Some(Field::Scopes) => Some(self.leaf(Atom::HasScope(text.node.clone()))),
                Some(Field::Groups) => Some(self.leaf(Atom::InGroup(text.node.clone()))),
                Some(Field::Tools) => Some(self.leaf(Atom::ToolIn(plain()))),
                Some(_) => None,
                None => self.claim_has(span.file, &list.node, &text.node),
            };
            if let Some(lowered) = lowered {
                self.not_empty(text)?;
                return Some(if *negated { lowered.not() } else { lowered });
            }
        }
        self.wrong_test(
            test,
            span,
            "a text, which can only be `in identity.scopes`, `in identity.groups`, `in request.tool_names` or in a claim that is a list",
        )
    }

    pub(super) fn one_text(&mut self, kind: SetType, value: &Spanned<Value>) -> Option<StrSet> {
        let (text, is_glob) = self.text_value(kind, &value.node, value.span)?;
        let mut set = StrSet::default();
        match is_glob {
            true => set.globs.push(text),
            false => set.literals.push(text),
        }
        Some(set)
    }

    pub(super) fn boolean(&mut self, value: &Spanned<Value>) -> Option<bool> {
        match &value.node {
            Value::Word(word) if word == "true" => Some(true),
            Value::Word(word) if word == "false" => Some(false),
            _ => {
                self.error(
                    Diagnostic::error(Code::WrongTest, "`true` or `false` was expected here").label(value.span, ""),
                );
                None
            }
        }
    }

    pub(super) fn not_empty(&mut self, text: &Text) -> Option<()> {
        if text.node.is_empty() {
            self.error(Diagnostic::error(Code::EmptyText, "this text is empty").label(text.span, ""));
            return None;
        }
        Some(())
    }

    /// Always `None`, for the caller to return.
    pub(super) fn wrong_test(&mut self, test: Test<'_>, span: Span, is: &str) -> Option<Lowered> {
        let end = test.map_or(span.end, |test| test.span.start);
        let written = self.sources.files().get(span.file).and_then(|source| source.text.get(span.start..end));
        let operand = Span { end: span.start + written.map_or(0, |text| text.trim_end().len()), ..span };
        self.error(match test {
            Some(test) => Diagnostic::error(Code::WrongTest, "this cannot be tested so")
                .label(test.span, "no such test here")
                .label(operand, "of this")
                .help(format!("it is {is}")),
            None => Diagnostic::error(Code::NotACondition, "this alone is neither true nor false")
                .label(span, "")
                .help(format!("it is {is}")),
        });
        None
    }
}
