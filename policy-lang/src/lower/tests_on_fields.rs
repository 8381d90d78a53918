//! Single tests: which field takes which test, and the atom it becomes.

use super::Lowerer;
use super::conditions::Lowered;
use super::fields::{Field, lookup};
use super::sets::SetType;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::{Atom, CompareOp, Side, StrSet};
use crate::schema::{IntField, StrField};
use crate::source::{Span, Spanned};
use crate::syntax::{Operand, Predicate, SetExpr, Text, Unit, Value};

/// The test behind an operand, if there is one.
pub(super) type Test<'p> = Option<&'p Spanned<Predicate>>;

impl<'s> Lowerer<'s, '_> {
    pub(super) fn test(&mut self, operand: &'s Operand, test: Test<'s>, span: Span) -> Option<Lowered> {
        match operand {
            Operand::Field(name) => self.field_or_condition(name, test, span),
            Operand::String(text) => self.membership_of(text, test, span),
            Operand::Header(name) => self.header_test(name, test, span),
            Operand::Json(Side::Request, path, span) => self.json_test(path, test, *span),
            Operand::Json(Side::Response, _, span) => {
                self.error(
                    Diagnostic::error(
                        Code::NotYet,
                        "conditions on `response` are not in this version of the language yet",
                    )
                    .label(*span, ""),
                );
                None
            }
        }
    }

    fn field_or_condition(&mut self, name: &'s Text, test: Test<'s>, span: Span) -> Option<Lowered> {
        let file = span.file;
        let is_condition = self.files.get(file).is_some_and(|file| file.lets.contains_key(name.node.as_str()));
        if is_condition {
            if let Some(test) = test {
                self.error(
                    Diagnostic::error(Code::WrongTest, format!("`{}` is a condition already", name.node))
                        .label(test.span, "nothing can be compared with it")
                        .help(format!("write `{0}` or `not {0}`", name.node)),
                );
                return None;
            }
            return self.named_condition(file, &name.node, name.span);
        }
        match lookup(&name.node) {
            None => {
                self.unknown_field(file, name);
                None
            }
            Some(Field::Str(field)) => self.text_field_test(field, test, span),
            Some(Field::Int(field)) => self.number_field_test(field, test, span),
            Some(Field::Bool(field)) => {
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
            Some(Field::Ip) => self.address_test(test, span),
            Some(Field::Text) => match test.map(|test| &test.node) {
                Some(Predicate::Matches(_) | Predicate::Contains(_) | Predicate::Finds(_)) => {
                    let test = self.text_test(&test?.node)?;
                    Some(self.leaf(Atom::Text(test)))
                }
                _ => self.wrong_test(test, span, "text: `matches /…/`, `contains \"…\"`, `finds detect(…)`"),
            },
            Some(Field::Identity) => match test.map(|test| &test.node) {
                Some(Predicate::In { negated, set: SetExpr::Groups(groups, _) }) => {
                    let lowered = self.in_groups(file, groups)?;
                    Some(if *negated { lowered.not() } else { lowered })
                }
                _ => self.wrong_test(test, span, "the caller: `identity in group(\"…\")`"),
            },
            Some(Field::Groups | Field::Scopes) => {
                self.wrong_test(test, span, "a list: `\"…\" in identity.scopes`, `identity in group(\"…\")`")
            }
        }
    }

    fn text_field_test(&mut self, field: StrField, test: Test<'s>, span: Span) -> Option<Lowered> {
        let kind = SetType::of_field(field);
        let (negated, set) = match test.map(|test| &test.node) {
            Some(Predicate::Compare { op, value }) if op.node.op == CompareOp::Eq => {
                (op.node.negated, self.one_text(kind, value)?)
            }
            Some(Predicate::In { negated, set }) => (*negated, self.text_set(span.file, kind, set)?),
            // What is absent is in no set, so a glob for everything asks for presence.
            Some(Predicate::Present(wanted)) => (!wanted, StrSet { literals: Vec::new(), globs: vec!["*".to_owned()] }),
            _ => {
                return self.wrong_test(test, span, "a name: `== \"…\"`, `in { \"…\", ~\"…*\" }`, `is present`");
            }
        };
        let lowered = self.leaf(Atom::StrIn { field, set });
        Some(if negated { lowered.not() } else { lowered })
    }

    fn number_field_test(&mut self, field: IntField, test: Test<'s>, span: Span) -> Option<Lowered> {
        let (op, value) = match test.map(|test| &test.node) {
            Some(Predicate::Compare { op, value }) => (op.node, value),
            _ => return self.wrong_test(test, span, "a number: `==`, `!=`, `<`, `<=`, `>`, `>=`"),
        };
        let Value::Number(number) = &value.node else {
            self.error(Diagnostic::error(Code::WrongTest, "a number was expected here").label(value.span, ""));
            return None;
        };
        let (range, unit, what) = match field {
            IntField::RequestSize => (0..=i64::MAX, Some(Unit::Bytes), "a size in bytes, such as 512KiB"),
            IntField::Hour => (0..=23, None, "an hour from 0 to 23"),
        };
        if !range.contains(&number.value) || (number.unit.is_some() && number.unit != unit) {
            self.error(Diagnostic::error(Code::OutOfRange, format!("this field is {what}")).label(value.span, ""));
            return None;
        }
        let lowered = self.leaf(Atom::Int { field, op: op.op, value: number.value });
        Some(if op.negated { lowered.not() } else { lowered })
    }

    fn address_test(&mut self, test: Test<'s>, span: Span) -> Option<Lowered> {
        let (negated, nets) = match test.map(|test| &test.node) {
            Some(Predicate::Compare { op, value }) if op.node.op == CompareOp::Eq => {
                (op.node.negated, vec![self.address(value)?])
            }
            Some(Predicate::In { negated, set }) => (*negated, self.address_set(span.file, set)?),
            _ => {
                return self.wrong_test(test, span, "an address: `in { 10.0.0.0/8 }`, `== 192.0.2.7`");
            }
        };
        let lowered = self.leaf(Atom::IpIn(nets));
        Some(if negated { lowered.not() } else { lowered })
    }

    /// `identity in group("a", "b")`: in one of them.
    fn in_groups(&mut self, file: usize, groups: &'s [Spanned<Value>]) -> Option<Lowered> {
        let mut names = Vec::new();
        for group in groups {
            match &group.node {
                Value::Word(_) => {
                    let set = self.group_set(file, group)?;
                    if let Some(glob) = set.globs.first() {
                        self.error(
                            Diagnostic::error(Code::GlobNotPossible, "groups are compared as whole names")
                                .label(group.span, format!("this set has the glob ~\"{glob}\"")),
                        );
                        return None;
                    }
                    names.extend(set.literals);
                }
                value => names.push(self.text_value(SetType::Group, value, group.span)?.0),
            }
        }
        names.sort_unstable();
        names.dedup();
        let leaves = names.into_iter().map(|name| self.leaf(Atom::InGroup(name)));
        let leaves = leaves.collect();
        Some(Lowered::any(leaves))
    }

    /// `"…" in identity.scopes`
    fn membership_of(&mut self, text: &'s Text, test: Test<'s>, span: Span) -> Option<Lowered> {
        if let Some(Predicate::In { negated, set: SetExpr::Name(list) }) = test.map(|test| &test.node) {
            let atom = match lookup(&list.node) {
                Some(Field::Scopes) => Some(Atom::HasScope(text.node.clone())),
                Some(Field::Groups) => Some(Atom::InGroup(text.node.clone())),
                _ => None,
            };
            if let Some(atom) = atom {
                self.not_empty(text)?;
                let lowered = self.leaf(atom);
                return Some(if *negated { lowered.not() } else { lowered });
            }
        }
        self.wrong_test(test, span, "a text, which can only be `in identity.scopes` or `in identity.groups`")
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

    fn boolean(&mut self, value: &Spanned<Value>) -> Option<bool> {
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
        self.error(match test {
            Some(test) => Diagnostic::error(Code::WrongTest, "this cannot be tested so")
                .label(test.span, "")
                .label(span, "")
                .help(format!("it is {is}")),
            None => Diagnostic::error(Code::NotACondition, "this alone is neither true nor false")
                .label(span, "")
                .help(format!("it is {is}")),
        });
        None
    }
}
