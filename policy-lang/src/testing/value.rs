//! What a condition found: the actual value behind it, in words.

use crate::date::Date;
use crate::facts::{BodyView, Facts, JsonValue};
use crate::print::quoted;
use crate::program::{Atom, ClaimValue, JsonPath};
use crate::schema::{IntField, StrField};

/// Values listed before "and more".
const LISTED_MAX: usize = 4;
/// Characters of a text shown.
const SHOWN_CHARS_MAX: usize = 60;

/// The value that the atom looks at, such as `model is "gpt-4"`.
pub(crate) fn found(atom: &Atom, facts: &Facts<'_>) -> String {
    match atom {
        Atom::StrIn { field, .. } => {
            let (_, name) = StrField::ALL.get(*field as usize).copied().unwrap_or((*field, "it"));
            match facts.str(*field) {
                "" => format!("{name} is absent"),
                text => format!("{name} is {}", short(text)),
            }
        }
        Atom::InGroup(_) => names("the groups of the caller are", "the caller is in no group", facts.groups),
        Atom::HasScope(_) => names("the scopes of the caller are", "the caller has no scopes", facts.scopes),
        Atom::IpIn(_) => match facts.ip {
            Some(ip) => format!("request.ip is {ip}"),
            None => "request.ip is not known".to_owned(),
        },
        Atom::Int { field, .. } | Atom::IntPresent(field) => number(*field, facts),
        Atom::Bool(field) => {
            let (_, name) = crate::schema::BoolField::ALL.get(*field as usize).copied().unwrap_or((*field, "it"));
            match facts.bools.get(*field as usize).copied().flatten() {
                Some(value) => format!("{name} is {value}"),
                None => format!("{name} is not known"),
            }
        }
        Atom::ToolIn(_) => tools(facts),
        Atom::Claim { claim, .. } => claim_value(&claim.name, &claim.key, claim.default.as_ref(), facts),
        Atom::ClaimPresent(key) => claim_value(key, key, None, facts),
        Atom::EnvIn { name, .. } => match facts.env.env(name) {
            Some(text) => format!("env.{name} is {}", short(text)),
            None => format!("env.{name} is not configured"),
        },
        Atom::HeaderPresent(name) | Atom::HeaderIn { name, .. } => match facts.headers.get(name) {
            Some(text) => format!("the header is {}", short(text)),
            None => "the header is absent".to_owned(),
        },
        Atom::Text(_) => texts(facts.body),
        Atom::ResponseText(_) => facts.response.map_or_else(no_answer, texts),
        Atom::JsonPresent(path) | Atom::Json { path, .. } => values(path, facts.body),
        Atom::ResponseJsonPresent(path) | Atom::ResponseJson { path, .. } => {
            facts.response.map_or_else(no_answer, |body| values(path, body))
        }
    }
}

fn no_answer() -> String {
    "there is no answer".to_owned()
}

fn number(field: IntField, facts: &Facts<'_>) -> String {
    let (_, name) = IntField::ALL.get(field as usize).copied().unwrap_or((field, "it"));
    match facts.int(field) {
        None if field == IntField::TokensRequested || field == IntField::ResponseTokens => format!("{name} is absent"),
        None => format!("{name} is not known"),
        Some(days) if field == IntField::Date => format!("{name} is {}", Date::from_days(days)),
        Some(value) => format!("{name} is {value}"),
    }
}

fn claim_value(name: &str, key: &str, default: Option<&ClaimValue>, facts: &Facts<'_>) -> String {
    let shown = |value: &ClaimValue| match value {
        ClaimValue::Bool(value) => value.to_string(),
        ClaimValue::Int(value) => value.to_string(),
        ClaimValue::Str(text) => short(text),
        ClaimValue::List(entries) => format!("[{}]", list(entries.iter().map(|entry| short(entry)))),
    };
    match (facts.claims.claim(key), default) {
        (Ok(Some(value)), _) => format!("identity.{name} is {}", shown(&value)),
        (Ok(None), Some(default)) => format!("identity.{name} is absent, so {}", shown(default)),
        (Ok(None), None) => format!("identity.{name} is absent"),
        (Err(_), _) => format!("identity.{name} is of no type that policies know"),
    }
}

fn names(begin: &str, none: &str, all: &[String]) -> String {
    match all.is_empty() {
        true => none.to_owned(),
        false => format!("{begin} {}", list(all.iter().map(|name| short(name)))),
    }
}

fn tools(facts: &Facts<'_>) -> String {
    let mut all = Vec::new();
    let read = facts.body.tools(&mut |name| {
        all.push(short(name));
        true
    });
    match read {
        Err(_) => unreadable(),
        Ok(()) if all.is_empty() => "no tools are offered".to_owned(),
        Ok(()) => format!("the tools are {}", list(all.into_iter())),
    }
}

fn texts(body: &dyn BodyView) -> String {
    match body.texts() {
        Err(_) => unreadable(),
        Ok([]) => "there is no text".to_owned(),
        Ok(texts) => format!("the text is {}", list(texts.iter().map(|text| short(text)))),
    }
}

fn values(path: &JsonPath, body: &dyn BodyView) -> String {
    let mut all = Vec::new();
    let read = body.values(path, &mut |value| {
        all.push(match value {
            JsonValue::Str(text) => short(&text),
            JsonValue::Number(number) => number.to_string(),
            JsonValue::Bool(value) => value.to_string(),
            JsonValue::Null => "null".to_owned(),
            JsonValue::Composite => "an object or list".to_owned(),
        });
        true
    });
    match read {
        Err(_) => unreadable(),
        Ok(()) if all.is_empty() => format!("{path} is absent"),
        Ok(()) => format!("{path} is {}", list(all.into_iter())),
    }
}

fn unreadable() -> String {
    "the body cannot be read".to_owned()
}

fn list(all: impl Iterator<Item = String>) -> String {
    let all: Vec<String> = all.collect();
    let shown = all.get(..LISTED_MAX.min(all.len())).unwrap_or_default().join(", ");
    match all.len().saturating_sub(LISTED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// A text in quotes; a long one with its end left out.
fn short(text: &str) -> String {
    match text.char_indices().nth(SHOWN_CHARS_MAX) {
        None => quoted(text),
        Some((end, _)) => format!("{}…", quoted(text.get(..end).unwrap_or(text))),
    }
}
