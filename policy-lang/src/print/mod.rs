//! What a program holds, as a policy would write it: for explanations, messages and the register of controls.
//!
//! [`print`] writes a whole program so that loading the text gives an equal program (places and digest apart). The formatter in `format`
//! is another thing: it keeps what the author wrote.

mod atoms;
mod effects;
mod program;
mod values;

pub(crate) use values::quoted;

pub use program::print;

use crate::program::{Atom, Condition, Expect, ExpectKind, ExpectedValue, ExpectedVerdict, Rule, Side};
use std::collections::BTreeMap;
use std::fmt;

/// Names that claims were declared under, by their key in the token; a claim that is not among them is called by its key.
type ClaimNames = BTreeMap<String, String>;

impl Condition {
    /// The condition over its program's atoms, as a policy would write it.
    pub fn display<'a>(&'a self, atoms: &'a [Atom]) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| write_condition(f, self, atoms, &ClaimNames::new(), Place::Top))
    }
}

impl Expect {
    /// The expectation, as its test would write it; `rules` are those of its program.
    pub fn display<'a>(&'a self, rules: &'a [Rule]) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| write_expect(f, self, rules))
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Request => "request",
            Self::Response => "response",
        })
    }
}

/// What stands around a condition, for knowing when it needs brackets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Top,
    Within,
}

fn write_condition(
    f: &mut fmt::Formatter<'_>,
    condition: &Condition,
    atoms: &[Atom],
    claims: &ClaimNames,
    place: Place,
) -> fmt::Result {
    match condition {
        Condition::Const(value) => write!(f, "{value}"),
        Condition::Atom(id) => match atoms.get(id.0 as usize) {
            Some(atom) => atoms::write_atom(f, atom, claims, false),
            None => write!(f, "atom {}", id.0),
        },
        Condition::Not(inner) => {
            if let Condition::Atom(id) = inner.as_ref()
                && let Some(atom) = atoms.get(id.0 as usize)
            {
                return atoms::write_atom(f, atom, claims, true);
            }
            f.write_str("not ")?;
            write_condition(f, inner, atoms, claims, Place::Within)
        }
        Condition::All(parts) => {
            // Within `or` they are not needed, but nobody has to remember that.
            write_joined(f, parts, " and ", place != Place::Top, atoms, claims)
        }
        Condition::Any(parts) => write_joined(f, parts, " or ", place != Place::Top, atoms, claims),
    }
}

fn write_joined(
    f: &mut fmt::Formatter<'_>,
    parts: &[Condition],
    word: &str,
    brackets: bool,
    atoms: &[Atom],
    claims: &ClaimNames,
) -> fmt::Result {
    if brackets {
        f.write_str("(")?;
    }
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            f.write_str(word)?;
        }
        write_condition(f, part, atoms, claims, Place::Within)?;
    }
    match brackets {
        true => f.write_str(")"),
        false => Ok(()),
    }
}

fn write_expect(f: &mut fmt::Formatter<'_>, expect: &Expect, rules: &[Rule]) -> fmt::Result {
    let name = |id: &crate::program::RuleId| rules.get(id.0 as usize).map_or("?", |rule| rule.name.as_str());
    f.write_str("expect ")?;
    match &expect.kind {
        ExpectKind::Verdict { verdict, by, status } => {
            f.write_str(match verdict {
                ExpectedVerdict::Allow => "allow",
                ExpectedVerdict::Deny => "deny",
                ExpectedVerdict::Pending => "pending",
            })?;
            if let Some(by) = by {
                write!(f, " by {}", name(by))?;
            }
            match status {
                Some(status) => write!(f, " status {status}"),
                None => Ok(()),
            }
        }
        ExpectKind::Fires { rule, wanted } => {
            write!(f, "{}fires {}", if *wanted { "" } else { "not " }, name(rule))
        }
        ExpectKind::Value { record, side, path, wanted } => {
            write!(f, "{}{side} {path} ", if *record { "record " } else { "" })?;
            match wanted {
                ExpectedValue::Present => f.write_str("is present"),
                ExpectedValue::Absent => f.write_str("is absent"),
                ExpectedValue::Equal(value) => write!(f, "== {}", values::json(value)),
            }
        }
    }
}
