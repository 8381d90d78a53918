//! The call that a test describes: plain JSON, read once into what facts are made of.

use super::host::{Head, Host, RequestView, ResponseView};
use crate::date::Date;
use crate::facts::{ClaimView, DeclaredPurpose, EnvView, Facts, HeaderView, Unreadable};
use crate::program::{ClaimValue, SourceKind, TestCall};
use crate::schema::{BoolField, IntField, StrField, is_credential_header};
use serde_json::{Map, Value};
use std::net::IpAddr;

/// Where calls go that name no path.
const DEFAULT_PATH: &str = "/v1/chat/completions";
const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
type Object = Map<String, Value>;

/// A call that can be judged.
#[derive(Clone, Debug)]
pub struct Call {
    subject: String,
    issuer: String,
    client_id: String,
    kind: String,
    groups: Vec<String>,
    scopes: Vec<String>,
    claims: Object,
    method: Option<String>,
    path: String,
    host: String,
    upstream: String,
    ip: Option<IpAddr>,
    headers: Vec<(String, String)>,
    size: Option<i64>,
    body: Vec<u8>,
    has_body: bool,
    purposes: Vec<(String, String, SourceKind)>,
    answer: Option<Answer>,
    hour: Option<i64>,
    weekday: String,
    date: Option<i64>,
    env: Vec<(String, String)>,
}

#[derive(Clone, Debug)]
struct Answer {
    status: i64,
    size: Option<i64>,
    body: Vec<u8>,
}

/// Why JSON does not describe a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A member that is a fact of the call has another type.
    #[error("`{member}` of the {of} has to be {is}")]
    Member {
        /// `identity`, `request`, …
        of: &'static str,
        /// Its name.
        member: String,
        /// What it has to be.
        is: &'static str,
    },
    /// A member that the part does not have.
    #[error("the {of} has no `{member}`: it has {known}")]
    Unknown {
        /// `time`
        of: &'static str,
        /// Its name.
        member: String,
        /// What there is.
        known: &'static str,
    },
    /// A part that is no JSON object, or that calls do not have.
    #[error("{0}")]
    Shape(String),
}

impl CallError {
    /// Which part of the call it is about: `identity`, `request`, `response`, `time` or `env`.
    #[must_use]
    pub fn part(&self) -> Option<&'static str> {
        match self {
            Self::Member { of, .. } | Self::Unknown { of, .. } => Some(of),
            Self::Shape(_) => None,
        }
    }
}

impl Call {
    /// Reads the JSON of a test.
    ///
    /// # Errors
    /// [`CallError`] for the first member that cannot be what it stands for.
    pub fn new(given: &TestCall) -> Result<Self, CallError> {
        let mut identity = Taken { of: "identity", members: given.identity.clone() };
        let mut request = Taken { of: "request", members: given.request.clone() };
        let mut time = Taken { of: "time", members: given.time.clone() };
        let mut purposes = Vec::new();
        if let (Some(purpose), basis) = (text_of(&given.identity, "purpose"), text_of(&given.identity, "basis")) {
            purposes.push((purpose, basis.unwrap_or_default(), SourceKind::Claim));
        }
        let purpose = request.text("purpose")?;
        let basis = request.text("basis")?;
        if let Some(purpose) = purpose {
            purposes.push((purpose, basis.unwrap_or_default(), SourceKind::Header));
        }
        let subject = identity.text("subject")?.unwrap_or_default();
        let kind = identity.word("kind", &["user", "service"], "`user` or `service`")?;
        let date =
            time.text("date")?.map(|text| Date::parse(&text).ok_or(wrong("time", "date", "a day: \"2027-03-31\"")));
        let mut call = Self {
            subject,
            issuer: identity.text("issuer")?.unwrap_or_default(),
            client_id: identity.text("client_id")?.unwrap_or_default(),
            kind: kind.unwrap_or_else(|| "user".to_owned()),
            groups: identity.texts("groups")?,
            scopes: identity.texts("scopes")?,
            method: request.text("method")?,
            path: request.text("path")?.unwrap_or_else(|| DEFAULT_PATH.to_owned()),
            host: request.text("host")?.unwrap_or_default(),
            upstream: request.text("upstream")?.unwrap_or_default(),
            ip: request.address("ip")?,
            headers: request.pairs("headers")?,
            size: request.size(),
            body: Vec::new(),
            has_body: false,
            purposes,
            answer: given.response.as_ref().map(answer).transpose()?,
            hour: time.number("hour", 0..=23, "an hour from 0 to 23")?,
            weekday: time.word("weekday", &WEEKDAYS, "one of mon, tue, wed, thu, fri, sat, sun")?.unwrap_or_default(),
            date: date.transpose()?.map(Date::days),
            env: env(&given.env)?,
            claims: identity.members,
        };
        time.nothing_left("hour, weekday and date")?;
        (call.body, call.has_body) = request.body();
        Ok(call)
    }

    /// Reads `{"identity": …, "request": …, "response": …, "time": …, "env": …}`: what `policy explain` takes.
    ///
    /// # Errors
    /// [`CallError`] when it is no such object.
    pub fn parse_parts(json: &Value) -> Result<TestCall, CallError> {
        let shape = |text: String| CallError::Shape(text);
        let Value::Object(parts) = json else {
            return Err(shape(
                "a call is a JSON object with the members identity, request, response, time, env".to_owned(),
            ));
        };
        let mut call = TestCall::default();
        for (name, part) in parts {
            let Value::Object(members) = part else {
                return Err(shape(format!("`{name}` of the call is not an object")));
            };
            let members = members.clone();
            match name.as_str() {
                "identity" => call.identity = members,
                "request" => call.request = members,
                "response" => call.response = Some(members),
                "time" => call.time = members,
                "env" => call.env = members,
                _ => {
                    return Err(shape(format!(
                        "a call has no part `{name}`: its parts are identity, request, response, time, env"
                    )));
                }
            }
        }
        Ok(call)
    }

    /// Whether an answer is given.
    #[must_use]
    pub fn has_answer(&self) -> bool {
        self.answer.is_some()
    }

    /// The request body: what is sent with a method that has one is an empty object at least.
    pub(super) fn body(&self, head: &Head<'_>) -> &[u8] {
        match self.has_body || !matches!(head.method, "POST" | "PUT" | "PATCH") {
            true => &self.body,
            false => b"{}",
        }
    }

    /// The body of the answer.
    pub(super) fn answer_body(&self) -> Option<&[u8]> {
        self.answer.as_ref().map(|answer| answer.body.as_slice())
    }

    pub(super) fn head<'a>(&'a self, host: &dyn Host) -> Head<'a> {
        let usual = host.usual_method(&self.path);
        let content_type = self.get("content-type").unwrap_or(match self.has_body {
            true => "application/json",
            false => "",
        });
        Head { method: self.method.as_deref().unwrap_or(usual), path: &self.path, content_type }
    }

    /// Gives the facts of the call to `look`.
    pub(super) fn see<T>(
        &self,
        head: &Head<'_>,
        host: &dyn Host,
        request: &RequestView<'_>,
        answer: Option<&ResponseView<'_>>,
        look: impl FnOnce(&Facts<'_>) -> T,
    ) -> T {
        look(&self.facts(head, host, request, answer, &self.purposes()))
    }

    /// What token and headers declare.
    pub(super) fn purposes(&self) -> Vec<DeclaredPurpose<'_>> {
        self.purposes
            .iter()
            .map(|(purpose, basis, source)| DeclaredPurpose { purpose, basis, source: *source })
            .collect()
    }

    /// The facts of the call; those of the answer, too, if it is given.
    pub(super) fn facts<'f>(
        &'f self,
        head: &Head<'f>,
        host: &'f dyn Host,
        request: &'f RequestView<'_>,
        answer: Option<&'f ResponseView<'_>>,
        purposes: &'f [DeclaredPurpose<'f>],
    ) -> Facts<'f> {
        // The issuer's word counts more than the caller's own.
        let declared = purposes.iter().min_by_key(|declared| declared.source);
        let mut facts = Facts::empty();
        for (field, text) in [
            (StrField::Subject, self.subject.as_str()),
            (StrField::Issuer, &self.issuer),
            (StrField::ClientId, &self.client_id),
            (StrField::Kind, &self.kind),
            (StrField::Method, head.method),
            (StrField::Path, self.path.split_once('?').map_or(self.path.as_str(), |(path, _)| path)),
            (StrField::Endpoint, &request.endpoint),
            (StrField::Host, &self.host),
            (StrField::Model, &request.model),
            (StrField::Dialect, &request.dialect),
            (StrField::Upstream, &self.upstream),
            (StrField::Purpose, declared.map_or("", |declared| declared.purpose)),
            (StrField::Basis, declared.map_or("", |declared| declared.basis)),
            (StrField::Weekday, &self.weekday),
            (StrField::FinishReason, answer.map_or("", |answer| answer.finish_reason.as_str())),
        ] {
            facts.strings[field as usize] = text;
        }
        let given = self.answer.as_ref().filter(|_| answer.is_some());
        for (field, number) in [
            (IntField::RequestSize, self.size.or_else(|| length(self.body(head)))),
            (IntField::Hour, self.hour),
            (IntField::Date, self.date),
            (IntField::TokensRequested, request.tokens_requested),
            (IntField::ImageCount, request.image_count),
            (IntField::ResponseStatus, given.map(|given| given.status)),
            (IntField::ResponseSize, given.and_then(|given| given.size.or_else(|| length(&given.body)))),
            (IntField::ResponseTokens, answer.and_then(|answer| answer.tokens)),
        ] {
            facts.ints[field as usize] = number;
        }
        facts.bools[BoolField::Stream as usize] = request.stream;
        facts.groups = &self.groups;
        facts.scopes = &self.scopes;
        facts.claims = self;
        facts.env = self;
        facts.purposes = purposes;
        facts.ip = self.ip;
        facts.headers = self;
        facts.body = &*request.body;
        facts.response = answer.map(|answer| &*answer.body);
        facts.text_engine = host.text_engine();
        facts
    }
}

impl ClaimView for Call {
    fn claim(&self, key: &str) -> Result<Option<ClaimValue>, Unreadable> {
        match self.claims.get(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => ClaimValue::of_json(value).map(Some).ok_or(Unreadable),
        }
    }
}

impl EnvView for Call {
    fn env(&self, name: &str) -> Option<&str> {
        self.env.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

impl HeaderView for Call {
    fn get(&self, name: &str) -> Option<&str> {
        let hidden = is_credential_header(name);
        let found = self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).filter(|_| !hidden)?;
        Some(found.1.as_str())
    }
}

fn answer(members: &Object) -> Result<Answer, CallError> {
    let mut taken = Taken { of: "response", members: members.clone() };
    // Some APIs have a member `status` themselves: there it is a text.
    let status = match taken.members.get("status") {
        Some(Value::Number(_)) => taken.number("status", 100..=599, "an HTTP status, such as 200")?,
        _ => None,
    };
    let size = taken.size();
    let (body, _) = taken.body();
    Ok(Answer { status: status.unwrap_or(200), size, body })
}

fn env(members: &Object) -> Result<Vec<(String, String)>, CallError> {
    let entry = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        _ => Err(wrong("env", name, "a text")),
    };
    members.iter().map(entry).collect()
}

fn text_of(members: &Object, name: &str) -> Option<String> {
    members.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn length(body: &[u8]) -> Option<i64> {
    i64::try_from(body.len()).ok()
}

fn wrong(of: &'static str, member: &str, is: &'static str) -> CallError {
    CallError::Member { of, member: member.to_owned(), is }
}

/// Members of one part of a call, taken out one by one.
struct Taken {
    of: &'static str,
    members: Object,
}

impl Taken {
    fn text(&mut self, name: &'static str) -> Result<Option<String>, CallError> {
        match self.members.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(self.of, name, "a text")),
        }
    }

    fn word(&mut self, name: &'static str, known: &[&str], is: &'static str) -> Result<Option<String>, CallError> {
        match self.text(name)? {
            Some(word) if !known.contains(&word.as_str()) => Err(wrong(self.of, name, is)),
            word => Ok(word),
        }
    }

    fn texts(&mut self, name: &'static str) -> Result<Vec<String>, CallError> {
        let entries = match self.members.remove(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(entries)) => entries,
            Some(_) => return Err(wrong(self.of, name, "a list of texts")),
        };
        let text = |entry: Value| match entry {
            Value::String(text) => Ok(text),
            _ => Err(wrong(self.of, name, "a list of texts")),
        };
        entries.into_iter().map(text).collect()
    }

    fn pairs(&mut self, name: &'static str) -> Result<Vec<(String, String)>, CallError> {
        let is = "an object of texts";
        let members = match self.members.remove(name) {
            None => return Ok(Vec::new()),
            Some(Value::Object(members)) => members,
            Some(_) => return Err(wrong(self.of, name, is)),
        };
        let pair = |(name, value): (String, Value)| match value {
            Value::String(text) => Ok((name, text)),
            _ => Err(wrong(self.of, "headers", is)),
        };
        members.into_iter().map(pair).collect()
    }

    fn number(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<i64>,
        is: &'static str,
    ) -> Result<Option<i64>, CallError> {
        match self.members.remove(name) {
            None => Ok(None),
            Some(value) => match value.as_i64().filter(|number| range.contains(number)) {
                Some(number) => Ok(Some(number)),
                None => Err(wrong(self.of, name, is)),
            },
        }
    }

    /// Bytes, where it is a number: image APIs have a text of this name in their bodies.
    fn size(&mut self) -> Option<i64> {
        let size = self.members.get("size").and_then(Value::as_i64).filter(|size| *size >= 0)?;
        self.members.remove("size");
        Some(size)
    }

    fn address(&mut self, name: &'static str) -> Result<Option<IpAddr>, CallError> {
        let parse = |text: String| text.parse().map_err(|_| wrong(self.of, name, "an address: \"10.1.2.3\""));
        match self.members.remove(name) {
            None => Ok(None),
            Some(Value::String(text)) => parse(text).map(Some),
            Some(_) => Err(wrong(self.of, name, "an address: \"10.1.2.3\"")),
        }
    }

    /// What is left is the body, unless it is given whole: as JSON, or as the text of something that is none.
    fn body(mut self) -> (Vec<u8>, bool) {
        match self.members.remove("body") {
            Some(Value::String(text)) => (text.into_bytes(), true),
            Some(value) => (value.to_string().into_bytes(), true),
            None if self.members.is_empty() => (Vec::new(), false),
            None => (Value::Object(self.members).to_string().into_bytes(), true),
        }
    }

    fn nothing_left(&self, known: &'static str) -> Result<(), CallError> {
        match self.members.keys().next() {
            None => Ok(()),
            Some(name) => Err(CallError::Unknown { of: self.of, member: name.clone(), known }),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use serde_json::json;

    fn call(json: &Value) -> Result<Call, String> {
        let parts = Call::parse_parts(json).map_err(|error| error.to_string())?;
        Call::new(&parts).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_no_fact_is_the_body() {
        let call = call(&json!({
            "identity": { "subject": "ana", "mfa": true, "purpose": "triage" },
            "request": { "model": "m", "size": "1024x1024", "ip": "10.1.2.3", "purpose": "other" },
            "response": { "status": "completed", "output": [] },
        }))
        .unwrap();
        assert_eq!(String::from_utf8_lossy(&call.body), r#"{"model":"m","size":"1024x1024"}"#);
        assert_eq!(call.claim("mfa"), Ok(Some(ClaimValue::Bool(true))));
        let sources: Vec<SourceKind> = call.purposes.iter().map(|(_, _, source)| *source).collect();
        assert_eq!(sources, [SourceKind::Claim, SourceKind::Header]);
        let answer = call.answer.unwrap();
        assert_eq!((answer.status, String::from_utf8_lossy(&answer.body).contains("completed")), (200, true));
    }

    #[test]
    fn a_body_can_be_given_whole() {
        let text = call(&json!({ "request": { "body": "no json" } })).unwrap();
        assert_eq!(text.body, b"no json");
        let list =
            call(&json!({ "request": { "body": [1, 2] }, "response": { "status": 503, "body": null } })).unwrap();
        assert_eq!(list.body, b"[1,2]");
        assert_eq!(list.answer.unwrap().status, 503);
    }

    #[test]
    fn mistakes_name_the_member() {
        for (json, message) in [
            (json!({ "request": { "ip": "here" } }), "`ip` of the request has to be an address: \"10.1.2.3\""),
            (json!({ "identity": { "groups": "ml" } }), "`groups` of the identity has to be a list of texts"),
            (json!({ "identity": { "kind": "robot" } }), "`kind` of the identity has to be `user` or `service`"),
            (json!({ "time": { "hour": 24 } }), "`hour` of the time has to be an hour from 0 to 23"),
            (json!({ "time": { "date": "2027-02-30" } }), "`date` of the time has to be a day: \"2027-03-31\""),
            (json!({ "time": { "minute": 5 } }), "the time has no `minute`: it has hour, weekday and date"),
            (json!({ "env": { "site": 1 } }), "`site` of the env has to be a text"),
            (json!({ "response": { "status": 9 } }), "`status` of the response has to be an HTTP status, such as 200"),
            (
                json!({ "caller": {} }),
                "a call has no part `caller`: its parts are identity, request, response, time, env",
            ),
            (json!([]), "a call is a JSON object with the members identity, request, response, time, env"),
        ] {
            assert_eq!(call(&json).unwrap_err(), message);
        }
    }

    #[test]
    fn credentials_are_no_facts() {
        let call =
            call(&json!({ "request": { "headers": { "Authorization": "Bearer x", "X-Team": "blue" } } })).unwrap();
        assert_eq!((call.get("authorization"), call.get("x-team")), (None, Some("blue")));
    }
}
