//! Declared claims of the caller's token.

use super::Lowerer;
use super::conditions::Lowered;
use super::sets::SetType;
use super::tests_on_fields::Test;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::{Atom, Claim, ClaimTest, ClaimValue, StrSet};
use crate::schema::{IntField, StrField};
use crate::source::{Span, Spanned};
use crate::syntax::{ClaimItem, Predicate, Text, Value};

/// What a claim holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimType {
    Bool,
    Number,
    String,
    List,
}

const TYPES: [(&str, ClaimType); 4] = [
    ("bool", ClaimType::Bool),
    ("number", ClaimType::Number),
    ("string", ClaimType::String),
    ("list", ClaimType::List),
];

impl<'s> Lowerer<'s, '_> {
    /// The claim behind `identity.<name>`: of this file or of one that it imports.
    pub(super) fn claim_of(&mut self, file: usize, name: &str) -> Option<(usize, &'s ClaimItem)> {
        let own = self.files.get(file)?;
        if let Some(claim) = own.claims.get(name) {
            return Some((file, *claim));
        }
        let (alias, target) = own.imports.iter().find_map(|(alias, (target, _))| {
            self.files.get(*target)?.claims.contains_key(name).then_some((*alias, *target))
        })?;
        self.usage.aliases.insert((file, alias.to_owned()));
        Some((target, *self.files.get(target)?.claims.get(name)?))
    }

    /// Names of all claims that a file knows, for suggestions.
    pub(super) fn claim_names(&self, file: usize) -> Vec<String> {
        let Some(own) = self.files.get(file) else {
            return Vec::new();
        };
        let imported = own.imports.values().filter_map(|(target, _)| self.files.get(*target));
        let claims = own.claims.keys().chain(imported.flat_map(|names| names.claims.keys()));
        claims.map(|name| format!("identity.{name}")).collect()
    }

    /// The claim as the program holds it; its own mistakes are reported when definitions are checked.
    pub(super) fn declared_claim(&mut self, file: usize, name: &str) -> Option<(Claim, ClaimType)> {
        let (_, item) = self.claim_of(file, name)?;
        if self.claims.contains(&item.name.span) {
            // Reported before.
            return self.read_claim(item).ok();
        }
        self.claims.insert(item.name.span);
        match self.read_claim(item) {
            Ok(claim) => Some(claim),
            Err(error) => {
                self.error(*error);
                None
            }
        }
    }

    fn read_claim(&self, item: &ClaimItem) -> Result<(Claim, ClaimType), Box<Diagnostic>> {
        let built_in = ["groups", "scopes"].contains(&item.name.node.as_str())
            || StrField::ALL.iter().any(|(_, name)| name.strip_prefix("identity.") == Some(&item.name.node));
        if built_in {
            return Err(Box::new(
                Diagnostic::error(Code::ReservedName, format!("`identity.{}` is built in", item.name.node))
                    .label(item.name.span, "")
                    .help("which claim of the token it is read from is said in the gateway's config"),
            ));
        }
        let Some((_, kind)) = TYPES.iter().find(|(name, _)| *name == item.kind.node) else {
            return Err(Box::new(
                Diagnostic::error(Code::UnknownSetType, format!("there is no type `{}` of claims", item.kind.node))
                    .label(item.kind.span, "")
                    .help("the types are bool, number, string and list")
                    .suggest(&item.kind.node, item.kind.span, TYPES.iter().map(|(name, _)| *name)),
            ));
        };
        let default = match &item.default {
            None => None,
            Some(written) => Some(default(*kind, written)?),
        };
        let key = item.key.as_ref().map_or_else(|| item.name.node.clone(), |key| key.node.clone());
        Ok((Claim { name: item.name.node.clone(), key, default }, *kind))
    }

    pub(super) fn claim_test(&mut self, file: usize, name: &'s Text, test: Test<'s>, span: Span) -> Option<Lowered> {
        let short = name.node.strip_prefix("identity.").unwrap_or(&name.node);
        let (owner, _) = self.claim_of(file, short)?;
        self.usage.claims.insert((owner, short.to_owned()));
        let (claim, kind) = self.declared_claim(file, short)?;
        if let Some(Predicate::Present(wanted)) = test.map(|test| &test.node) {
            let lowered = self.leaf(Atom::ClaimPresent(claim.key));
            return Some(if *wanted { lowered } else { lowered.not() });
        }
        match kind {
            ClaimType::Bool => {
                let wanted = match test.map(|test| &test.node) {
                    None => true,
                    Some(Predicate::Compare { op, value }) if op.node.op == crate::program::CompareOp::Eq => {
                        self.boolean(value)? != op.node.negated
                    }
                    Some(_) => {
                        return self.wrong_test(test, span, "`true` or `false`: write its name alone, or `== false`");
                    }
                };
                Some(self.leaf(Atom::Claim { claim, test: ClaimTest::Bool(wanted) }))
            }
            ClaimType::Number => match test.map(|test| &test.node) {
                Some(Predicate::Compare { op, value: Spanned { node: Value::Number(number), .. } })
                    if number.unit.is_none() =>
                {
                    let test = ClaimTest::Int { op: op.node.op, value: number.value };
                    let lowered = self.leaf(Atom::Claim { claim, test });
                    Some(if op.node.negated { lowered.not() } else { lowered })
                }
                _ => self.wrong_test(test, span, "a number: `==`, `!=`, `<`, `<=`, `>`, `>=`"),
            },
            ClaimType::String => match test.map(|test| &test.node) {
                Some(Predicate::Compare { op, value }) if op.node.op == crate::program::CompareOp::Eq => {
                    let set = self.one_text(SetType::Text, value)?;
                    let lowered = self.leaf(Atom::Claim { claim, test: ClaimTest::StrIn(set) });
                    Some(if op.node.negated { lowered.not() } else { lowered })
                }
                Some(Predicate::In { negated, set }) => {
                    let atom = |set: StrSet| Atom::Claim { claim: claim.clone(), test: ClaimTest::StrIn(set) };
                    let lowered = self.in_texts(file, SetType::Text, set, &atom)?;
                    Some(if *negated { lowered.not() } else { lowered })
                }
                _ => self.wrong_test(test, span, "a name: `== \"…\"`, `in { \"…\", ~\"…*\" }`, `is present`"),
            },
            ClaimType::List => match test.map(|test| &test.node) {
                Some(Predicate::In { negated, set }) => {
                    let atom = |set: StrSet| Atom::Claim { claim: claim.clone(), test: ClaimTest::ListIn(set) };
                    let lowered = self.in_texts(file, SetType::Text, set, &atom)?;
                    Some(if *negated { lowered.not() } else { lowered })
                }
                _ => self.wrong_test(
                    test,
                    span,
                    "a list: `in { \"…\" }` holds if one of its entries is in the set, or `is present`",
                ),
            },
        }
    }

    /// `"…" in identity.<list>`
    pub(super) fn claim_has(&mut self, file: usize, list: &str, text: &str) -> Option<Lowered> {
        let short = list.strip_prefix("identity.")?;
        let (owner, _) = self.claim_of(file, short)?;
        let (claim, kind) = self.declared_claim(file, short)?;
        if kind != ClaimType::List {
            return None;
        }
        self.usage.claims.insert((owner, short.to_owned()));
        let set = StrSet { literals: vec![text.to_owned()], globs: Vec::new() };
        Some(self.leaf(Atom::Claim { claim, test: ClaimTest::ListIn(set) }))
    }
}

fn default(kind: ClaimType, written: &Spanned<Value>) -> Result<ClaimValue, Box<Diagnostic>> {
    Ok(match (kind, &written.node) {
        (ClaimType::Bool, Value::Word(word)) if word == "true" || word == "false" => ClaimValue::Bool(word == "true"),
        (ClaimType::Number, Value::Number(number)) if number.unit.is_none() => ClaimValue::Int(number.value),
        (ClaimType::String, Value::String(text)) => ClaimValue::Str(text.clone()),
        _ => {
            let is = match kind {
                ClaimType::Bool => "`true` or `false`",
                ClaimType::Number => "a whole number without a unit",
                ClaimType::String => "a string in double quotes",
                ClaimType::List => "left out: a list that is absent is asked for with `is present`",
            };
            return Err(Box::new(
                Diagnostic::error(Code::OutOfRange, "this default does not fit the type of the claim")
                    .label(written.span, "")
                    .help(format!("here it is {is}")),
            ));
        }
    })
}

/// Whether a number is one that the caller or the server may leave out.
pub(super) fn is_optional_number(field: IntField) -> bool {
    matches!(field, IntField::TokensRequested | IntField::ResponseTokens)
}
