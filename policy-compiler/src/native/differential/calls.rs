//! Random calls over the alphabet of the random programs.

use super::programs::{HEADERS, KEYS, NAMES, PROMPTS, Random, TEXTS, model};
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{
    BodyView, ClaimValue, ClaimView, DeclaredPurpose, EnvView, Facts, HeaderView, JsonPath, JsonValue, PathSegment,
    SourceKind, TextEngine, TextTest, Unreadable,
};
use std::borrow::Cow;
use std::net::IpAddr;

const ADDRESSES: [&str; 10] = [
    "10.0.0.0",
    "10.1.2.3",
    "10.1.2.4",
    "11.0.0.0",
    "255.255.255.255",
    "192.0.2.1",
    "2001:db8::1",
    "2001:db9::",
    "::ffff:10.0.0.1",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// Facts that own what they show. It is every view itself.
#[derive(Clone, Debug, Default)]
pub(super) struct Call {
    pub(super) strings: [String; StrField::COUNT],
    pub(super) ints: [Option<i64>; IntField::COUNT],
    pub(super) bools: [Option<bool>; BoolField::COUNT],
    pub(super) groups: Vec<String>,
    scopes: Vec<String>,
    ip: Option<IpAddr>,
    headers: Vec<(&'static str, &'static str)>,
    /// `None` cannot be read.
    texts: Option<Vec<Cow<'static, str>>>,
    values: Vec<(&'static str, JsonValue<'static>)>,
    tools: Vec<&'static str>,
    claims: Vec<(&'static str, Option<ClaimValue>)>,
    purpose: Option<&'static str>,
}

impl Call {
    pub(super) fn random(random: &mut Random) -> Self {
        let text = |random: &mut Random| match random.below(8) {
            0 => String::new(),
            1 => "nobody".to_owned(),
            2 => model(random.below(150)),
            _ => random.pick(&TEXTS).to_owned(),
        };
        let number = |random: &mut Random| match random.below(12) {
            0 => None,
            1 => Some(random.pick(&[i64::MIN, i64::MAX])),
            _ => Some(random.below(6) as i64 - 2),
        };
        let names = |names: Vec<&str>| names.into_iter().map(str::to_owned).collect();
        let value = |random: &mut Random| match random.below(8) {
            0..=2 => JsonValue::Str(random.pick(&TEXTS).into()),
            3 | 4 => JsonValue::Number(random.pick(&[-2.0, 0.0, 0.5, 1.0])),
            5 => JsonValue::Bool(random.one_in(2)),
            6 => JsonValue::Null,
            _ => JsonValue::Composite,
        };
        let claim = |random: &mut Random| match random.below(8) {
            0 | 1 => Some(ClaimValue::Bool(random.one_in(2))),
            2 | 3 => Some(ClaimValue::Int(random.below(5) as i64 - 2)),
            4 | 5 => Some(ClaimValue::Str(random.pick(&TEXTS).to_owned())),
            6 => Some(ClaimValue::List(random.some(&TEXTS, 4).into_iter().map(str::to_owned).collect())),
            _ => None,
        };
        Self {
            strings: std::array::from_fn(|_| text(random)),
            ints: std::array::from_fn(|_| number(random)),
            bools: [(!random.one_in(8)).then(|| random.one_in(2))],
            groups: names(random.some(&NAMES, 2)),
            scopes: names(random.some(&NAMES, 2)),
            ip: (!random.one_in(8)).then(|| random.pick(&ADDRESSES).parse().unwrap()),
            headers: random.some(&HEADERS, 2).into_iter().map(|name| (name, random.pick(&TEXTS))).collect(),
            texts: (!random.one_in(10)).then(|| random.some(&PROMPTS, 2).into_iter().map(Cow::Borrowed).collect()),
            values: (0..random.below(5)).map(|_| (random.pick(&KEYS), value(random))).collect(),
            tools: random.some(&TEXTS, 4),
            claims: random.some(&KEYS, 2).into_iter().map(|key| (key, claim(random))).collect(),
            purpose: random.one_in(2).then_some("ab"),
        }
    }

    /// Hands the facts to `judge`.
    pub(super) fn with_facts<T>(&self, judge: impl FnOnce(&Facts<'_>) -> T) -> T {
        let purpose = |purpose| DeclaredPurpose { purpose, basis: "", source: SourceKind::Claim };
        let purposes: Vec<_> = self.purpose.map(purpose).into_iter().collect();
        judge(&Facts {
            strings: self.strings.each_ref().map(String::as_str),
            ints: self.ints,
            bools: self.bools,
            groups: &self.groups,
            scopes: &self.scopes,
            ip: self.ip,
            headers: self,
            body: self,
            text_engine: self,
            claims: self,
            env: self,
            purposes: &purposes,
            response: None,
        })
    }
}

impl HeaderView for Call {
    fn get(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(header, _)| *header == name).map(|(_, value)| *value)
    }
}

impl ClaimView for Call {
    fn claim(&self, key: &str) -> Result<Option<ClaimValue>, Unreadable> {
        match self.claims.iter().find(|(known, _)| *known == key) {
            None => Ok(None),
            Some((_, None)) => Err(Unreadable),
            Some((_, value)) => Ok(value.clone()),
        }
    }
}

impl EnvView for Call {
    fn env(&self, name: &str) -> Option<&str> {
        (name == "site").then_some("ab")
    }
}

impl BodyView for Call {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        self.texts.as_deref().ok_or(Unreadable)
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        self.texts.as_ref().ok_or(Unreadable)?;
        let [PathSegment::Key(key)] = path.segments.as_slice() else { return Ok(()) };
        for (_, value) in self.values.iter().filter(|(own, _)| own == key) {
            if !visit(value.clone()) {
                break;
            }
        }
        Ok(())
    }

    fn tools(&self, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), Unreadable> {
        self.texts.as_ref().ok_or(Unreadable)?;
        let _ = self.tools.iter().all(|name| visit(name));
        Ok(())
    }
}

impl TextEngine for Call {
    fn test(&self, test: &TextTest, text: &str) -> Option<bool> {
        match test {
            TextTest::Matches(pattern) => Some(text.contains(pattern.as_str())),
            TextTest::Contains(literal) => Some(text.contains(literal.as_str())),
            TextTest::Finds(names) if names.iter().any(|name| name == "unknown") => None,
            TextTest::Finds(_) => Some(text.contains('7')),
            TextTest::FindsCustom(detector) => Some(text.contains(&detector.name)),
        }
    }
}
