//! What may be absent is tested only where it is known to be present: a test of something absent is neither true nor false.

use super::Lowerer;
use super::claims::is_optional_number;
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Patch};
use crate::program::{Atom, AtomId, Condition, JsonPath, Side};
use crate::schema::{IntField, StrField};
use crate::source::Span;
use std::collections::BTreeSet;

/// Something that a call may lack.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Optional {
    Str(StrField),
    Int(IntField),
    Header(String),
    Claim(String),
    Json(Side, JsonPath),
}

/// A glob for everything asks for presence: what is absent is in no set.
const ANYTHING: &str = "*";

fn needs(atom: &Atom) -> Option<Optional> {
    match atom {
        Atom::StrIn { field, .. } if shows(atom).is_none() && is_optional_text(*field) => Some(Optional::Str(*field)),
        Atom::Int { field, .. } if is_optional_number(*field) => Some(Optional::Int(*field)),
        Atom::HeaderIn { name, .. } => Some(Optional::Header(name.clone())),
        Atom::Claim { claim, .. } if claim.default.is_none() => Some(Optional::Claim(claim.key.clone())),
        Atom::Json { path, .. } => Some(Optional::Json(Side::Request, path.clone())),
        Atom::ResponseJson { path, .. } => Some(Optional::Json(Side::Response, path.clone())),
        _ => None,
    }
}

fn shows(atom: &Atom) -> Option<Optional> {
    match atom {
        Atom::StrIn { field, set } if set.literals.is_empty() && set.globs == [ANYTHING] => Some(Optional::Str(*field)),
        Atom::IntPresent(field) => Some(Optional::Int(*field)),
        Atom::HeaderPresent(name) => Some(Optional::Header(name.clone())),
        Atom::ClaimPresent(key) => Some(Optional::Claim(key.clone())),
        Atom::JsonPresent(path) => Some(Optional::Json(Side::Request, path.clone())),
        Atom::ResponseJsonPresent(path) => Some(Optional::Json(Side::Response, path.clone())),
        _ => None,
    }
}

fn is_optional_text(field: StrField) -> bool {
    matches!(field, StrField::ClientId | StrField::Purpose | StrField::Basis | StrField::FinishReason)
}

impl Lowerer<'_, '_> {
    /// Reports every test in the condition of something that may be absent there.
    pub(super) fn check_guards(&mut self, condition: &Condition, rule: Span) {
        let mut unguarded = BTreeSet::new();
        walk(&self.atoms, condition, &mut Vec::new(), &mut unguarded);
        for id in unguarded {
            if !self.guards_reported.insert(id) {
                continue;
            }
            let slot = id.0 as usize;
            let (Some(atom), Some(span)) = (self.atoms.get(slot), self.atom_spans.get(slot)) else {
                continue;
            };
            let Some(optional) = needs(atom) else {
                continue;
            };
            // A claim is named as in the policy, not as in the token.
            let name = match atom {
                Atom::Claim { claim, .. } => format!("identity.{}", claim.name),
                _ => optional.to_string(),
            };
            let span = *span;
            let test = self.sources.files().get(span.file).and_then(|source| source.text.get(span.range()));
            let mut error = Diagnostic::error(Code::NeedsPresence, format!("`{name}` may be absent"))
                .label(span, "a test of what is absent is neither true nor false")
                .help(format!("say what is meant then: `{name} is present and …`, or `{name} is absent or …`"))
                .maybe_patch(test.map(|test| Patch::replace(span, format!("({name} is present and {test})"))));
            if span.file != rule.file || !(rule.start..rule.end).contains(&span.start) {
                error = error.label(rule, "needed in this rule");
            }
            self.error(error);
        }
    }
}

fn walk(atoms: &[Atom], condition: &Condition, known: &mut Vec<Optional>, unguarded: &mut BTreeSet<AtomId>) {
    match condition {
        Condition::Const(_) => {}
        Condition::Atom(id) => {
            let optional = atoms.get(id.0 as usize).and_then(needs);
            if optional.is_some_and(|optional| !known.contains(&optional)) {
                unguarded.insert(*id);
            }
        }
        Condition::Not(inner) => walk(atoms, inner, known, unguarded),
        Condition::All(parts) | Condition::Any(parts) => {
            // Of parts that must all hold, each is guarded by the others; of alternatives, each by the failure of the others. Under a
            // negation the two change places and so do true and false: either way a part of `and` guards by being true.
            let guards_by = matches!(condition, Condition::All(_));
            let before = known.len();
            for part in parts {
                implied(atoms, part, guards_by, known);
            }
            for part in parts {
                walk(atoms, part, known, unguarded);
            }
            known.truncate(before);
        }
    }
}

/// What is present if the condition is true (or, with `value` false, if it is false).
fn implied(atoms: &[Atom], condition: &Condition, value: bool, known: &mut Vec<Optional>) {
    match condition {
        Condition::Const(_) => {}
        Condition::Atom(id) if value => known.extend(atoms.get(id.0 as usize).and_then(shows)),
        Condition::Atom(_) => {}
        Condition::Not(inner) => implied(atoms, inner, !value, known),
        Condition::All(parts) if value => parts.iter().for_each(|part| implied(atoms, part, value, known)),
        Condition::Any(parts) if !value => parts.iter().for_each(|part| implied(atoms, part, value, known)),
        Condition::All(_) | Condition::Any(_) => {}
    }
}

/// As the policy would write it.
impl std::fmt::Display for Optional {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Str(field) => f.write_str(StrField::ALL.get(*field as usize).map_or("", |(_, name)| name)),
            Self::Int(field) => f.write_str(IntField::ALL.get(*field as usize).map_or("", |(_, name)| name)),
            Self::Header(name) => write!(f, "request.header(\"{name}\")"),
            Self::Claim(key) => write!(f, "identity.{key}"),
            Self::Json(Side::Request, path) => write!(f, "request {path}"),
            Self::Json(Side::Response, path) => write!(f, "response {path}"),
        }
    }
}
