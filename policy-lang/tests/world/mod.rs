//! A call made up for tests: facts over plain values, JSON by serde_json, regexes by regex-automata.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use policy_lang::schema::{IntField, StrField};
use policy_lang::{
    BodyView, ClaimValue, ClaimView, DeclaredPurpose, EnvView, Facts, HeaderView, JsonPath, JsonValue, Loaded,
    PathSegment, Source, SourceKind, TextEngine, TextTest, Unreadable, load_sources,
};
use serde_json::Value;
use std::borrow::Cow;
use std::net::IpAddr;

/// Loads one file with a header put before it.
pub fn load(text: &str) -> Loaded {
    let text = format!("policy \"test\" version 1\n{text}");
    let name = "test.policy".to_owned();
    match load_sources(vec![Source { name, text }]) {
        Ok(loaded) => loaded,
        Err(diagnostics) => panic!("{}", diagnostics.render_all(false)),
    }
}

/// What the call is.
#[derive(Clone, Debug, Default)]
pub struct World {
    pub strings: [String; StrField::COUNT],
    pub date: Option<i64>,
    pub status: Option<i64>,
    pub claims: Vec<(String, ClaimValue)>,
    pub env: Vec<(String, String)>,
    pub purposes: Vec<(String, String, SourceKind)>,
    pub response: Option<Value>,
    pub size: Option<i64>,
    pub hour: Option<i64>,
    pub stream: Option<bool>,
    pub groups: Vec<String>,
    pub scopes: Vec<String>,
    pub ip: Option<IpAddr>,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// The request body.
#[derive(Clone, Debug, Default)]
pub enum Body {
    #[default]
    None,
    Malformed,
    Json(Value),
}

impl World {
    pub fn with(mut self, field: StrField, text: &str) -> Self {
        self.strings[field as usize] = text.to_owned();
        self
    }

    pub fn json(text: &str) -> Self {
        Self { body: Body::Json(serde_json::from_str(text).unwrap()), ..Self::default() }
    }

    /// Gives the facts to `look`.
    pub fn see<T>(&self, look: impl FnOnce(&Facts<'_>) -> T) -> T {
        let texts = match &self.body {
            Body::Json(value) => contents(value),
            _ => Vec::new(),
        };
        let view = View {
            body: &self.body,
            texts: texts.iter().map(|text| Cow::Borrowed(text.as_str())).collect(),
            headers: &self.headers,
        };
        let answer = self.response.clone().map(Body::Json);
        let answer = answer.as_ref().map(|body| View { body, texts: Vec::new(), headers: &[] });
        let purposes: Vec<DeclaredPurpose<'_>> = self
            .purposes
            .iter()
            .map(|(purpose, basis, source)| DeclaredPurpose { purpose, basis, source: *source })
            .collect();
        let mut facts = Facts::empty();
        for (slot, text) in facts.strings.iter_mut().zip(&self.strings) {
            *slot = text;
        }
        facts.ints[IntField::RequestSize as usize] = self.size;
        facts.ints[IntField::Hour as usize] = self.hour;
        facts.ints[IntField::Date as usize] = self.date;
        facts.ints[IntField::ResponseStatus as usize] = self.status;
        facts.bools = [self.stream];
        facts.groups = &self.groups;
        facts.scopes = &self.scopes;
        facts.claims = self;
        facts.env = self;
        facts.purposes = &purposes;
        facts.ip = self.ip;
        facts.headers = &view;
        facts.body = &view;
        facts.response = answer.as_ref().map(|view| view as &dyn BodyView);
        facts.text_engine = &Engine;
        look(&facts)
    }
}

impl ClaimView for World {
    fn claim(&self, key: &str) -> Result<Option<ClaimValue>, Unreadable> {
        Ok(self.claims.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone()))
    }
}

impl EnvView for World {
    fn env(&self, name: &str) -> Option<&str> {
        let (_, value) = self.env.iter().find(|(known, _)| known == name)?;
        Some(value)
    }
}

/// `content` of every message.
fn contents(value: &Value) -> Vec<String> {
    let messages = value.get("messages").and_then(Value::as_array);
    let messages = messages.into_iter().flatten();
    messages.filter_map(|message| message.get("content")?.as_str().map(str::to_owned)).collect()
}

struct View<'a> {
    body: &'a Body,
    texts: Vec<Cow<'a, str>>,
    headers: &'a [(String, String)],
}

impl HeaderView for View<'_> {
    fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        Some(value)
    }
}

impl BodyView for View<'_> {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        match self.body {
            Body::Malformed => Err(Unreadable),
            _ => Ok(&self.texts),
        }
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        match self.body {
            Body::None => Ok(()),
            Body::Malformed => Err(Unreadable),
            Body::Json(value) => {
                walk(value, &path.segments, visit);
                Ok(())
            }
        }
    }
}

fn walk(value: &Value, path: &[PathSegment], visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> bool {
    let Some((first, rest)) = path.split_first() else {
        return visit(match value {
            Value::String(text) => JsonValue::Str(Cow::Borrowed(text)),
            Value::Number(number) => JsonValue::Number(number.as_f64().unwrap()),
            Value::Bool(value) => JsonValue::Bool(*value),
            Value::Null => JsonValue::Null,
            Value::Array(_) | Value::Object(_) => JsonValue::Composite,
        });
    };
    match (first, value) {
        (PathSegment::Key(key), Value::Object(members)) => members.get(key).is_none_or(|v| walk(v, rest, visit)),
        (PathSegment::Index(index), Value::Array(elements)) => {
            elements.get(*index as usize).is_none_or(|v| walk(v, rest, visit))
        }
        (PathSegment::Wildcard, Value::Array(elements)) => elements.iter().all(|v| walk(v, rest, visit)),
        (PathSegment::Wildcard, Value::Object(members)) => members.values().all(|v| walk(v, rest, visit)),
        _ => true,
    }
}

/// Knows regexes and `contains`; of the detectors only an e-mail one, by its `@`.
struct Engine;

impl TextEngine for Engine {
    fn test(&self, test: &TextTest, text: &str) -> Option<bool> {
        match test {
            TextTest::Matches(source) => Some(regex_automata::meta::Regex::new(source).unwrap().is_match(text)),
            TextTest::Contains(part) => Some(text.contains(part)),
            TextTest::Finds(names) if names == &["email"] => Some(text.contains('@')),
            TextTest::Finds(_) | TextTest::FindsCustom(_) => None,
        }
    }
}
