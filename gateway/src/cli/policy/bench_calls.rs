//! The calls that `policy bench` judges: those of the set's own tests, calls made from the set's own words, or recorded ones.

use super::super::Failure;
use audit_shipper::read::{ExportFormat, Query, Source, export};
use policy_lang::schema::{IntField, StrField};
use policy_lang::testing::Call;
use policy_lang::{Atom, ClaimTest, Date, Program, StrSet, TestCall};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

/// Bytes of the longest file of calls.
const FILE_BYTES_MAX: u64 = 256 << 20;
/// Values that stand in no set.
const OUTSIDE: &str = "something-else";
/// A caller is in one of so many groups of the set, and has one of so many scopes.
const MEMBER_ONE_IN: u64 = 4;
/// Where most calls go.
const USUAL_PATH: &str = "/v1/chat/completions";
/// Messages of made-up calls, the longest some 400 bytes.
const MESSAGES: [&str; 3] = [
    "Summarise the attached minutes in three sentences.",
    "Write a polite answer to a customer whose parcel came two days late, offer a voucher, and ask for the order number.",
    "Compare the two designs below. The first keeps every record in one table and reads it whole; the second keeps an index \
     by day and reads what is asked for. Say which one you would choose for a service with a thousand users, which one for a \
     service with a million, and what would make you change your mind. Answer in a table with one row for each size and with \
     the reasons in its last column, then in one sentence.",
];

/// The calls of the tests that stand in the set.
pub(super) fn of_tests(program: &Program) -> Vec<Call> {
    program.tests.iter().filter_map(|test| Call::new(&test.given).ok()).collect()
}

/// A JSON array of calls, each as `policy explain` takes it.
pub(super) fn of_file(path: &Path) -> Result<Vec<Call>, Failure> {
    let name = path.display();
    let meta = std::fs::metadata(path).map_err(|error| Failure::cannot_tell(format!("{name}: {error}")))?;
    if meta.len() > FILE_BYTES_MAX {
        return Err(Failure::usage(format!("{name}: is larger than {FILE_BYTES_MAX} bytes")));
    }
    let bytes = std::fs::read(path).map_err(|error| Failure::cannot_tell(format!("{name}: {error}")))?;
    let list: Vec<Value> = serde_json::from_slice(&bytes)
        .map_err(|error| Failure::usage(format!("{name}: is no JSON array of calls: {error}")))?;
    let read = |(number, call): (usize, &Value)| {
        let parts = Call::parse_parts(call).and_then(|given| Call::new(&given));
        parts.map_err(|error| Failure::usage(format!("{name}: call {}: {error}", number + 1)))
    };
    list.iter().enumerate().map(read).collect()
}

/// The last calls that are recorded in a data directory, at most so many; those whose request was not kept have an empty body.
pub(super) fn of_evidence(data: &Path, count_max: usize) -> Result<Vec<Call>, Failure> {
    let query = Query::parse("kind:call").map_err(Failure::bad)?;
    let mut lines = Newest { lines: std::collections::VecDeque::new(), count_max, rest: Vec::new() };
    export(&Source::new(data.to_owned()), &query, ExportFormat::JsonLines, &mut lines).map_err(Failure::cannot_tell)?;
    Ok(lines.lines.iter().filter_map(|line| recorded(line)).collect())
}

/// Keeps the last lines that are written to it.
struct Newest {
    lines: std::collections::VecDeque<Vec<u8>>,
    count_max: usize,
    rest: Vec<u8>,
}

impl Write for Newest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.rest.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                self.lines.push_back(std::mem::take(&mut self.rest));
                if self.lines.len() > self.count_max {
                    self.lines.pop_front();
                }
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn recorded(line: &[u8]) -> Option<Call> {
    let whole: Value = serde_json::from_slice(line).ok()?;
    let (leaf, envelope) = (&whole["record"]["leaf"], &whole["envelope"]);
    let mut given = TestCall::default();
    for (from, to) in [("subject", "subject"), ("issuer", "issuer"), ("client", "client_id"), ("groups", "groups")] {
        put(&mut given.identity, to, &envelope[from]);
    }
    put(&mut given.identity, "kind", &leaf["caller"]);
    for (from, to) in [("method", "method"), ("path", "path"), ("host", "host"), ("address", "ip")] {
        put(&mut given.request, to, &envelope[from]);
    }
    put(&mut given.request, "upstream", &leaf["upstream"]);
    let events = whole["request"]["events"].as_array();
    let body: String = events.into_iter().flatten().filter_map(|event| event[1].as_str()).collect();
    if let Ok(body @ Value::Object(_)) = serde_json::from_str(&body) {
        put(&mut given.request, "body", &body);
    }
    Call::new(&given).ok()
}

fn put(members: &mut Map<String, Value>, name: &str, value: &Value) {
    if !value.is_null() {
        members.insert(name.to_owned(), value.clone());
    }
}

/// Calls made from the words that a set uses, the same ones every time.
pub(super) struct Maker<'p> {
    words: BTreeMap<StrField, Vec<String>>,
    numbers: BTreeMap<IntField, Vec<i64>>,
    groups: Vec<&'p str>,
    scopes: Vec<&'p str>,
    headers: BTreeMap<&'p str, Vec<String>>,
    claims: BTreeMap<&'p str, Vec<Value>>,
    env: BTreeMap<&'p str, Vec<String>>,
    tools: Vec<String>,
    addresses: Vec<String>,
    state: u64,
}

impl<'p> Maker<'p> {
    pub(super) fn new(program: &'p Program) -> Self {
        let mut maker = Self {
            words: BTreeMap::new(),
            numbers: BTreeMap::new(),
            groups: Vec::new(),
            scopes: Vec::new(),
            headers: BTreeMap::new(),
            claims: BTreeMap::new(),
            env: BTreeMap::new(),
            tools: Vec::new(),
            addresses: vec!["203.0.113.7".to_owned()],
            state: 1,
        };
        program.atoms.iter().for_each(|atom| maker.learn(atom));
        maker
    }

    fn learn(&mut self, atom: &'p Atom) {
        match atom {
            Atom::StrIn { field, set } => self.words.entry(*field).or_default().extend(texts(set)),
            Atom::InGroup(group) => self.groups.push(group),
            Atom::HasScope(scope) => self.scopes.push(scope),
            Atom::IpIn(nets) => self.addresses.extend(nets.iter().map(|net| net.network().to_string())),
            Atom::Int { field, value, .. } => {
                let around = [value.saturating_sub(1), *value, value.saturating_add(1)];
                self.numbers.entry(*field).or_default().extend(around);
            }
            Atom::HeaderPresent(name) => self.headers.entry(name).or_default().push(OUTSIDE.to_owned()),
            Atom::HeaderIn { name, set } => self.headers.entry(name).or_default().extend(texts(set)),
            Atom::ToolIn(set) => self.tools.extend(texts(set)),
            Atom::EnvIn { name, set } => self.env.entry(name).or_default().extend(texts(set)),
            Atom::ClaimPresent(key) => self.claims.entry(key).or_default().push(json!(OUTSIDE)),
            Atom::Claim { claim, test } => {
                let values = self.claims.entry(&claim.key).or_default();
                match test {
                    ClaimTest::Bool(_) => values.extend([json!(true), json!(false)]),
                    ClaimTest::Int { value, .. } => values.extend([json!(value), json!(value.saturating_add(1))]),
                    ClaimTest::StrIn(set) => values.extend(texts(set).map(Value::from)),
                    ClaimTest::ListIn(set) => values.extend(texts(set).map(|text| json!([text]))),
                }
            }
            Atom::IntPresent(_)
            | Atom::Bool(_)
            | Atom::Text(_)
            | Atom::JsonPresent(_)
            | Atom::Json { .. }
            | Atom::ResponseText(_)
            | Atom::ResponseJsonPresent(_)
            | Atom::ResponseJson { .. } => {}
        }
    }

    /// The next call.
    pub(super) fn call(&mut self) -> Option<Call> {
        let mut given = TestCall::default();
        let number = self.next();
        given.identity.insert("subject".to_owned(), json!(format!("caller-{}", number % 256)));
        for (field, name) in [
            (StrField::Subject, "subject"),
            (StrField::Issuer, "issuer"),
            (StrField::ClientId, "client_id"),
            (StrField::Kind, "kind"),
            (StrField::Purpose, "purpose"),
            (StrField::Basis, "basis"),
        ] {
            self.maybe_word(field, name, &mut given.identity);
        }
        let groups = self.groups.clone();
        given.identity.insert("groups".to_owned(), self.some_of(&groups));
        let scopes = self.scopes.clone();
        given.identity.insert("scopes".to_owned(), self.some_of(&scopes));
        for (key, values) in self.claims.clone() {
            if let Some(value) = self.one_of(&values).filter(|_| !self.one_in(3)) {
                given.identity.insert(key.to_owned(), value);
            }
        }
        self.fill_request(&mut given.request);
        let hour = self.number(IntField::Hour).unwrap_or(10).clamp(0, 23);
        given.time.insert("hour".to_owned(), json!(hour));
        if let Some(date) = self.number(IntField::Date) {
            given.time.insert("date".to_owned(), json!(Date::from_days(date).to_string()));
        }
        self.maybe_word(StrField::Weekday, "weekday", &mut given.time);
        for (name, values) in self.env.clone() {
            if let Some(value) = self.one_of(&values) {
                given.env.insert(name.to_owned(), value.into());
            }
        }
        Call::new(&given).ok()
    }

    fn fill_request(&mut self, request: &mut Map<String, Value>) {
        let endpoints: Vec<String> = [StrField::Endpoint, StrField::Path]
            .iter()
            .filter_map(|field| self.words.get(field))
            .flatten()
            .filter(|path| path.starts_with('/') && !path.contains('{'))
            .cloned()
            .collect();
        let usual = self.one_in(2);
        let path = self.one_of(&endpoints).filter(|_| !usual).unwrap_or_else(|| USUAL_PATH.to_owned());
        request.insert("path".to_owned(), path.into());
        let model = self.words.get(&StrField::Model).cloned().unwrap_or_default();
        let model = self.one_of(&model).filter(|_| !self.one_in(4)).unwrap_or_else(|| OUTSIDE.to_owned());
        request.insert("model".to_owned(), model.into());
        for (field, name) in [(StrField::Host, "host"), (StrField::Upstream, "upstream")] {
            self.maybe_word(field, name, request);
        }
        let addresses = self.addresses.clone();
        if let Some(address) = self.one_of(&addresses) {
            request.insert("ip".to_owned(), address.into());
        }
        let mut headers = Map::new();
        for (name, values) in self.headers.clone() {
            if let Some(value) = self.one_of(&values).filter(|_| self.one_in(2)) {
                headers.insert(name.to_owned(), value.into());
            }
        }
        request.insert("headers".to_owned(), headers.into());
        let message = self.one_of(&MESSAGES).unwrap_or_default();
        request.insert("messages".to_owned(), json!([{ "role": "user", "content": message }]));
        request.insert("stream".to_owned(), json!(self.one_in(2)));
        if let Some(tokens) = self.number(IntField::TokensRequested) {
            request.insert("max_tokens".to_owned(), json!(tokens.max(0)));
        }
        if let Some(size) = self.number(IntField::RequestSize) {
            request.insert("size".to_owned(), json!(size.max(0)));
        }
        let tools = self.tools.clone();
        if let Some(tool) = self.one_of(&tools).filter(|_| self.one_in(2)) {
            request.insert("tools".to_owned(), json!([{ "type": "function", "function": { "name": tool } }]));
        }
    }

    fn maybe_word(&mut self, field: StrField, name: &str, members: &mut Map<String, Value>) {
        let words = self.words.get(&field).cloned().unwrap_or_default();
        if let Some(word) = self.one_of(&words).filter(|_| !self.one_in(3)) {
            members.insert(name.to_owned(), word.into());
        }
    }

    fn number(&mut self, field: IntField) -> Option<i64> {
        let numbers = self.numbers.get(&field).cloned().unwrap_or_default();
        self.one_of(&numbers)
    }

    fn some_of(&mut self, all: &[&str]) -> Value {
        all.iter().filter(|_| self.one_in(MEMBER_ONE_IN)).copied().collect::<Vec<_>>().into()
    }

    fn one_of<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        let number = self.next();
        all.get((number % all.len().max(1) as u64) as usize).cloned()
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.next().is_multiple_of(count)
    }

    /// SplitMix64: the same numbers on every machine.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// The literals, and one text for each glob.
fn texts(set: &StrSet) -> impl Iterator<Item = String> {
    let globs = set.globs.iter().map(|glob| glob.replace(['*', '?'], "x"));
    set.literals.iter().cloned().chain(globs)
}
