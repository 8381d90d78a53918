//! A call found by the solver: as facts, so that the interpreter can confirm it, and as JSON, so that people can try it.

use super::search::Model;
use super::theory::{ERROR, FALSE, TRUE, Theory, Value, Var};
use crate::date::Date;
use crate::decision::Truth;
use crate::facts::{BodyView, ClaimView, EnvView, Facts, HeaderView, JsonValue, TextEngine, Unreadable};
use crate::interpreter::eval_atom;
use crate::program::{Atom, ClaimValue, Condition, JsonPath, JsonTest, PathSegment, Side, TextTest};
use crate::schema::{BoolField, IntField, StrField};
use serde_json::{Map, Value as Json, json};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

#[derive(Clone, Debug, Default)]
pub(super) struct Witness {
    pub(super) strings: [String; StrField::COUNT],
    ints: [Option<i64>; IntField::COUNT],
    bools: [Option<bool>; BoolField::COUNT],
    pub(super) groups: Vec<String>,
    scopes: Vec<String>,
    ip: Option<IpAddr>,
    claims: BTreeMap<String, ClaimValue>,
    env: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    tools: Vec<String>,
    body: Json,
    answer: Json,
    assumed: HashMap<TextTest, bool>,
    /// Tests of text that the call is assumed to pass or fail, in words.
    pub(super) assuming: Vec<String>,
    texts: Vec<Cow<'static, str>>,
}

impl Witness {
    /// `None` if no JSON is such a call: values that contradict each other, or a body that cannot be read.
    pub(super) fn new(theory: &Theory<'_>, model: &Model) -> Option<Self> {
        let mut witness = Self { body: json!({}), answer: json!({}), texts: vec!["…".into()], ..Self::default() };
        for (var, value) in &model.values {
            witness.set(theory.vars.get(*var)?, value)?;
        }
        for (atom, truths) in &model.truths {
            let atom = theory.atoms.get(*atom)?;
            let (Atom::Text(test)
            | Atom::ResponseText(test)
            | Atom::Json { test: JsonTest::Text(test), .. }
            | Atom::ResponseJson { test: JsonTest::Text(test), .. }) = atom
            else {
                continue;
            };
            let holds = match *truths {
                ERROR => return None,
                truths => truths & FALSE == 0,
            };
            if witness.assumed.insert(test.clone(), holds).is_some_and(|other| other != holds) {
                return None;
            }
            witness.assuming.push(if holds { atom.to_string() } else { format!("not {atom}") });
        }
        Some(witness)
    }

    fn set(&mut self, var: &Var, value: &Value) -> Option<()> {
        match (var, value) {
            (Var::Free(_), _) | (_, Value::Absent) => {}
            (Var::Str(field), Value::Text(text)) => text.clone_into(self.strings.get_mut(*field as usize)?),
            (Var::Int(field), Value::Int(value)) => *self.ints.get_mut(*field as usize)? = Some(*value),
            (Var::Bool(field), Value::Bool(value)) => *self.bools.get_mut(*field as usize)? = Some(*value),
            (Var::Group(group), Value::Truth(TRUE)) => self.groups.push(group.clone()),
            (Var::Scope(scope), Value::Truth(TRUE)) => self.scopes.push(scope.clone()),
            (Var::Group(_) | Var::Scope(_), _) => {}
            (Var::Ip, Value::Ip(ip)) => self.ip = Some(*ip),
            (Var::Tools, Value::List(names)) => self.tools.clone_from(names),
            (Var::Claim(key), value) => {
                let value = match value {
                    Value::Text(text) => ClaimValue::Str(text.clone()),
                    Value::Int(value) => ClaimValue::Int(*value),
                    Value::Bool(value) => ClaimValue::Bool(*value),
                    Value::List(entries) => ClaimValue::List(entries.clone()),
                    _ => return None,
                };
                self.claims.insert(key.clone(), value);
            }
            (Var::Env(name), Value::Text(text)) => drop(self.env.insert(name.clone(), text.clone())),
            (Var::Header(name), Value::Text(text)) => drop(self.headers.insert(name.clone(), text.clone())),
            (Var::Json(side, path), value) => {
                let value = match value {
                    Value::Text(text) => json!(text),
                    Value::Number(number) if number.fract() == 0.0 => json!(*number as i64),
                    Value::Number(number) => json!(number),
                    Value::Bool(value) => json!(value),
                    Value::Null => Json::Null,
                    _ => return None,
                };
                let root = match side {
                    Side::Request => &mut self.body,
                    Side::Response => &mut self.answer,
                };
                put(root, &path.segments, value)?;
            }
            _ => return None,
        }
        Some(())
    }

    /// How a condition comes out on this call. Of tests of text only those that were assumed are known; others are errors.
    pub(super) fn judge(&self, condition: &Condition, atoms: &[Atom]) -> Truth {
        let mut facts = Facts::empty();
        for (slot, text) in facts.strings.iter_mut().zip(&self.strings) {
            *slot = text;
        }
        facts.ints = self.ints;
        facts.bools = self.bools;
        facts.groups = &self.groups;
        facts.scopes = &self.scopes;
        facts.ip = self.ip;
        facts.claims = self;
        facts.env = self;
        facts.headers = self;
        let request = Body { json: &self.body, tools: &self.tools, texts: &self.texts };
        let answer = Body { json: &self.answer, tools: &[], texts: &self.texts };
        facts.body = &request;
        facts.response = Some(&answer);
        facts.text_engine = self;
        judge(condition, atoms, &facts)
    }

    /// As the members of `given` in a test; parts that say nothing are left out.
    pub(super) fn to_json(&self) -> Json {
        let mut identity: Map<String, Json> = Map::new();
        let mut request: Map<String, Json> = self.body.as_object().cloned().unwrap_or_default();
        let mut time: Map<String, Json> = Map::new();
        let mut response: Map<String, Json> = self.answer.as_object().cloned().unwrap_or_default();
        for (field, name) in StrField::ALL {
            let text = self.strings.get(field as usize).map_or("", String::as_str);
            let (part, name) = match (field, name.rsplit_once('.')) {
                _ if text.is_empty() => continue,
                (StrField::FinishReason, _) => continue,
                (StrField::Dialect, _) => continue,
                (StrField::Weekday, _) => (&mut time, "weekday"),
                (StrField::Endpoint, _) if request.contains_key("path") => continue,
                (StrField::Endpoint, _) => (&mut request, "path"),
                (_, Some(("identity", name))) => (&mut identity, name),
                (_, Some((_, name))) => (&mut request, name),
                (_, None) => (&mut request, name),
            };
            part.insert(name.to_owned(), json!(text));
        }
        let number = |field: IntField| self.ints.get(field as usize).copied().flatten();
        for (field, part, name) in [
            (IntField::RequestSize, 0, "size"),
            (IntField::TokensRequested, 0, "max_tokens"),
            (IntField::Hour, 1, "hour"),
            (IntField::ResponseStatus, 2, "status"),
            (IntField::ResponseSize, 2, "size"),
        ] {
            if let Some(value) = number(field) {
                [&mut request, &mut time, &mut response]
                    .into_iter()
                    .nth(part)
                    .map(|to| to.insert(name.to_owned(), json!(value)));
            }
        }
        if let Some(days) = number(IntField::Date) {
            time.insert("date".to_owned(), json!(Date::from_days(days).to_string()));
        }
        if let Some(stream) = self.bools.first().copied().flatten() {
            request.insert("stream".to_owned(), json!(stream));
        }
        if let Some(ip) = self.ip {
            request.insert("ip".to_owned(), json!(ip.to_string()));
        }
        if !self.headers.is_empty() {
            request.insert("headers".to_owned(), json!(self.headers));
        }
        if !self.tools.is_empty() {
            let tools = self.tools.iter().map(|name| json!({ "type": "function", "function": { "name": name } }));
            request.insert("tools".to_owned(), tools.collect());
        }
        for (name, list) in [("groups", &self.groups), ("scopes", &self.scopes)] {
            if !list.is_empty() {
                identity.insert(name.to_owned(), json!(list));
            }
        }
        for (key, value) in &self.claims {
            let value = match value {
                ClaimValue::Bool(value) => json!(value),
                ClaimValue::Int(value) => json!(value),
                ClaimValue::Str(value) => json!(value),
                ClaimValue::List(value) => json!(value),
            };
            identity.insert(key.clone(), value);
        }
        let env: Map<String, Json> = self.env.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let parts =
            [("identity", identity), ("request", request), ("response", response), ("time", time), ("env", env)];
        parts
            .into_iter()
            .filter(|(_, part)| !part.is_empty())
            .map(|(name, part)| (name.to_owned(), part.into()))
            .collect::<Map<_, _>>()
            .into()
    }
}

/// The interpreter's logic over one call.
fn judge(condition: &Condition, atoms: &[Atom], facts: &Facts<'_>) -> Truth {
    match condition {
        Condition::Const(true) => Truth::True,
        Condition::Const(false) => Truth::False,
        Condition::Atom(id) => atoms.get(id.0 as usize).map_or(Truth::Error, |atom| eval_atom(atom, facts)),
        Condition::Not(inner) => match judge(inner, atoms, facts) {
            Truth::True => Truth::False,
            Truth::False => Truth::True,
            Truth::Error => Truth::Error,
        },
        Condition::All(parts) => {
            let mut least = Truth::True;
            for part in parts {
                least = least.min(judge(part, atoms, facts));
                if least == Truth::False {
                    break;
                }
            }
            least
        }
        Condition::Any(parts) => {
            let mut most = Truth::False;
            for part in parts {
                most = most.max(judge(part, atoms, facts));
                if most == Truth::True {
                    break;
                }
            }
            most
        }
    }
}

/// Longest list that a witness is given for the sake of an index.
const ELEMENTS_MAX: usize = 64;

/// Puts a value at a path; `None` if something else is there.
fn put(at: &mut Json, path: &[PathSegment], value: Json) -> Option<()> {
    let Some((first, rest)) = path.split_first() else {
        if !at.is_null() && *at != value {
            return None;
        }
        *at = value;
        return Some(());
    };
    match first {
        PathSegment::Key(key) => {
            if at.is_null() {
                *at = json!({});
            }
            put(at.as_object_mut()?.entry(key.as_str()).or_insert(Json::Null), rest, value)
        }
        PathSegment::Index(_) | PathSegment::Wildcard => {
            let index = match first {
                PathSegment::Index(index) => usize::try_from(*index).ok().filter(|index| *index < ELEMENTS_MAX)?,
                _ => 0,
            };
            if at.is_null() {
                *at = json!([]);
            }
            let list = at.as_array_mut()?;
            while list.len() <= index {
                list.push(Json::Null);
            }
            put(list.get_mut(index)?, rest, value)
        }
    }
}

impl ClaimView for Witness {
    fn claim(&self, key: &str) -> Result<Option<ClaimValue>, Unreadable> {
        Ok(self.claims.get(key).cloned())
    }
}

impl EnvView for Witness {
    fn env(&self, name: &str) -> Option<&str> {
        self.env.get(name).map(String::as_str)
    }
}

impl HeaderView for Witness {
    fn get(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

impl TextEngine for Witness {
    fn test(&self, test: &TextTest, _: &str) -> Option<bool> {
        self.assumed.get(test).copied()
    }
}

struct Body<'a> {
    json: &'a Json,
    tools: &'a [String],
    texts: &'a [Cow<'static, str>],
}

impl BodyView for Body<'_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        Ok(self.texts)
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        walk(self.json, &path.segments, visit);
        Ok(())
    }

    fn tools(&self, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), Unreadable> {
        let _ = self.tools.iter().all(|name| visit(name));
        Ok(())
    }
}

fn walk(at: &Json, path: &[PathSegment], visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return visit(match at {
            Json::String(text) => JsonValue::Str(Cow::Borrowed(text)),
            Json::Number(number) => number.as_f64().map_or(JsonValue::Composite, JsonValue::Number),
            Json::Bool(value) => JsonValue::Bool(*value),
            Json::Null => JsonValue::Null,
            Json::Array(_) | Json::Object(_) => JsonValue::Composite,
        });
    };
    match (first, at) {
        (PathSegment::Key(key), Json::Object(members)) => members.get(key).is_none_or(|inner| walk(inner, rest, visit)),
        (PathSegment::Index(index), Json::Array(list)) => {
            list.get(*index as usize).is_none_or(|inner| walk(inner, rest, visit))
        }
        (PathSegment::Wildcard, Json::Array(list)) => list.iter().all(|inner| walk(inner, rest, visit)),
        (PathSegment::Wildcard, Json::Object(members)) => members.values().all(|inner| walk(inner, rest, visit)),
        _ => true,
    }
}
