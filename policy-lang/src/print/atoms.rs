//! Leaf conditions: what is read, and how it is tested.

use super::ClaimNames;
use super::values::{bytes, grouped, quoted, regex, set};
use crate::date::Date;
use crate::program::{Atom, ClaimTest, CompareOp, JsonPath, JsonTest, StrSet, TextTest};
use crate::schema::{BoolField, IntField, StrField};
use std::fmt;

impl Atom {
    /// What the atom reads, as a policy names it: `model`, `request.header("x")`, `request $.n`.
    #[must_use]
    pub fn operand(&self) -> String {
        operand(self, &ClaimNames::new())
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_atom(f, self, &ClaimNames::new(), false)
    }
}

impl fmt::Display for TextTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Matches(source) => write!(f, "matches {}", regex(source)),
            Self::Contains(text) => write!(f, "contains {}", quoted(text)),
            Self::Finds(names) => write!(f, "finds detect({})", names.join(", ")),
            Self::FindsCustom(detector) => write!(f, "finds detect({})", detector.name),
        }
    }
}

impl fmt::Display for CompareOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Eq => "==",
            Self::Lt => "<",
            Self::Le => "<=",
            Self::Gt => ">",
            Self::Ge => ">=",
        })
    }
}

pub(super) fn int_name(field: IntField) -> &'static str {
    IntField::ALL.get(field as usize).map_or("", |(_, name)| name)
}

pub(super) fn str_name(field: StrField) -> &'static str {
    StrField::ALL.get(field as usize).map_or("", |(_, name)| name)
}

/// A glob for everything stands for presence.
const ANYTHING: &str = "*";

pub(super) fn write_atom(f: &mut fmt::Formatter<'_>, atom: &Atom, claims: &ClaimNames, negated: bool) -> fmt::Result {
    let operand = operand(atom, claims);
    let not = if negated { "not " } else { "" };
    match atom {
        Atom::StrIn { set, .. } | Atom::ToolIn(set) if set.literals.is_empty() && set.globs == [ANYTHING] => {
            write!(f, "{operand} is {}", presence(negated))
        }
        Atom::StrIn { field, set } => write_member(f, &operand, set, negated, is_word_field(*field)),
        Atom::EnvIn { set, .. } | Atom::HeaderIn { set, .. } => write_member(f, &operand, set, negated, false),
        Atom::ToolIn(names) => write!(f, "{operand} {not}in {}", set(names, false)),
        Atom::InGroup(group) => write!(f, "{operand} {not}in group({})", quoted(group)),
        Atom::HasScope(scope) => write!(f, "{} {not}in {operand}", quoted(scope)),
        Atom::IpIn(nets) => match (nets.as_slice(), negated) {
            ([net], false) if is_single(net) => write!(f, "{operand} == {}", net.addr()),
            ([net], true) if is_single(net) => write!(f, "{operand} != {}", net.addr()),
            (nets, _) => {
                let nets: Vec<String> = nets
                    .iter()
                    .map(|net| match is_single(net) {
                        true => net.addr().to_string(),
                        false => net.to_string(),
                    })
                    .collect();
                write!(f, "{operand} {not}in {{ {} }}", nets.join(", "))
            }
        },
        Atom::Int { field, op, value } => write_compare(f, &operand, *op, &int_value(*field, *value), negated),
        Atom::Bool(_) => write!(f, "{not}{operand}"),
        Atom::IntPresent(_)
        | Atom::ClaimPresent(_)
        | Atom::HeaderPresent(_)
        | Atom::JsonPresent(_)
        | Atom::ResponseJsonPresent(_) => write!(f, "{operand} is {}", presence(negated)),
        Atom::Claim { test, .. } => match test {
            ClaimTest::Bool(true) => write!(f, "{not}{operand}"),
            ClaimTest::Bool(false) => write!(f, "{not}{operand} == false"),
            ClaimTest::Int { op, value } => write_compare(f, &operand, *op, &grouped(*value), negated),
            ClaimTest::StrIn(set) => write_member(f, &operand, set, negated, false),
            ClaimTest::ListIn(entries) => write!(f, "{operand} {not}in {}", set(entries, false)),
        },
        Atom::Text(test) | Atom::ResponseText(test) => write!(f, "{not}{operand} {test}"),
        Atom::Json { test, .. } | Atom::ResponseJson { test, .. } => match test {
            JsonTest::StrIn(set) => write_member(f, &operand, set, negated, false),
            JsonTest::Int { op, value } => write_compare(f, &operand, *op, &grouped(*value), negated),
            JsonTest::Bool(value) => write!(f, "{operand} {} {value}", if negated { "!=" } else { "==" }),
            JsonTest::Text(test) => write!(f, "{not}{operand} {test}"),
        },
    }
}

fn operand(atom: &Atom, claims: &ClaimNames) -> String {
    let json = |side: &str, path: &JsonPath| format!("{side} {path}");
    match atom {
        Atom::StrIn { field, .. } => str_name(*field).to_owned(),
        Atom::InGroup(_) => "identity".to_owned(),
        Atom::HasScope(_) => "identity.scopes".to_owned(),
        Atom::IpIn(_) => "request.ip".to_owned(),
        Atom::Int { field, .. } | Atom::IntPresent(field) => int_name(*field).to_owned(),
        Atom::Bool(BoolField::Stream) => "request.stream".to_owned(),
        Atom::ToolIn(_) => "request.tool_names".to_owned(),
        Atom::Claim { claim, .. } => format!("identity.{}", claim.name),
        Atom::ClaimPresent(key) => format!("identity.{}", claims.get(key).unwrap_or(key)),
        Atom::EnvIn { name, .. } => format!("env.{name}"),
        Atom::HeaderPresent(name) | Atom::HeaderIn { name, .. } => format!("request.header({})", quoted(name)),
        Atom::Text(_) => "request.text".to_owned(),
        Atom::ResponseText(_) => "response.text".to_owned(),
        Atom::JsonPresent(path) | Atom::Json { path, .. } => json("request", path),
        Atom::ResponseJsonPresent(path) | Atom::ResponseJson { path, .. } => json("response", path),
    }
}

fn presence(negated: bool) -> &'static str {
    if negated { "absent" } else { "present" }
}

/// Fields whose values stand without quotes where they are words.
fn is_word_field(field: StrField) -> bool {
    matches!(field, StrField::Method | StrField::Kind | StrField::Weekday)
}

fn is_single(net: &ipnet::IpNet) -> bool {
    net.prefix_len() == net.max_prefix_len()
}

/// `== "a"` for one entry, `in { … }` for several.
fn write_member(
    f: &mut fmt::Formatter<'_>,
    operand: &str,
    entries: &StrSet,
    negated: bool,
    words: bool,
) -> fmt::Result {
    match entries.literals.len() + entries.globs.len() {
        1 => {
            let written = set(entries, words);
            let one = written.strip_prefix("{ ").and_then(|rest| rest.strip_suffix(" }")).unwrap_or(&written);
            write!(f, "{operand} {} {one}", if negated { "!=" } else { "==" })
        }
        _ => write!(f, "{operand} {}in {}", if negated { "not " } else { "" }, set(entries, words)),
    }
}

fn write_compare(f: &mut fmt::Formatter<'_>, operand: &str, op: CompareOp, value: &str, negated: bool) -> fmt::Result {
    match (op, negated) {
        (CompareOp::Eq, true) => write!(f, "{operand} != {value}"),
        (op, negated) => write!(f, "{}{operand} {op} {value}", if negated { "not " } else { "" }),
    }
}

pub(super) fn int_value(field: IntField, value: i64) -> String {
    match field {
        IntField::Date => Date::from_days(value).to_string(),
        IntField::RequestSize | IntField::ResponseSize => bytes(value),
        _ => grouped(value),
    }
}
