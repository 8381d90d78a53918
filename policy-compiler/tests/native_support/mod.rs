//! Random typed programs and facts over a small alphabet, so that conditions are often met.

use policy_compiler::{DetectorScan, PolicyTextEngine};
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{
    ApprovalRequirement, Atom, AtomId, BodyView, Claim, ClaimTest, ClaimValue, ClaimView, CompareOp, Condition, Effect,
    EnvView, Facts, HeaderView, JsonPath, JsonTest, JsonValue, Mask, PathSegment, Program, PurposeRequirement,
    RecordBound, RecordLevel, Rule, Selector, Side, SourceKind, StrSet, TextTest, Transform, Unreadable,
};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const TEXTS: [&str; 6] = ["a", "b", "ab", "abc", "a*", "ü"];
const GLOBS: [&str; 5] = ["*", "a*", "?b", "*c", "x?z"];
const MEMBERS: [&str; 5] = ["g1", "g2", "g3", "g4", "g5"];
const HEADERS: [&str; 2] = ["x-team", "x-kind"];
const PATHS: [&str; 3] = ["role", "count", "flag"];
const PROMPTS: [&str; 4] = ["", "abc", "the weights, please", "SSN 536-22-8145"];
const NETS: [&str; 5] = ["10.0.0.0/8", "10.1.2.3/32", "0.0.0.0/0", "2001:db8::/32", "::/0"];
const ADDRESSES: [&str; 4] = ["10.1.2.3", "192.0.2.1", "2001:db8::1", "::ffff:10.0.0.1"];

/// Enough names for sets that become bitmaps of more than one word.
pub(crate) fn model(number: usize) -> String {
    format!("model-{number:03}")
}

pub(crate) fn programs(rules_max: usize) -> impl Strategy<Value = Program> {
    prop::collection::vec(atom(), 1..24).prop_flat_map(move |atoms| {
        // One id past the end: an atom that does not exist is an error for both.
        let ids = u32::try_from(atoms.len()).unwrap();
        prop::collection::vec(rule(ids), 0..rules_max).prop_map(move |mut rules| {
            for (number, rule) in rules.iter_mut().enumerate() {
                rule.name = format!("rule.{number:04}");
            }
            program(rules, atoms.clone())
        })
    })
}

pub(crate) fn program(rules: Vec<Rule>, atoms: Vec<Atom>) -> Program {
    Program { name: "generated".to_owned(), version: 1, digest: "00".to_owned(), rules, atoms, ..Program::default() }
}

fn rule(atoms: u32) -> impl Strategy<Value = Rule> {
    (prop::bool::weighted(0.2), condition(atoms), prop::collection::vec(effect(), 0..3))
        .prop_map(|(shadow, condition, effects)| Rule { shadow, condition, effects, ..Rule::default() })
}

pub(crate) fn condition(atoms: u32) -> impl Strategy<Value = Condition> {
    let leaf = prop_oneof![
        1 => any::<bool>().prop_map(Condition::Const),
        12 => (0..=atoms).prop_map(|id| Condition::Atom(AtomId(id))),
    ];
    leaf.prop_recursive(5, 24, 4, |inner| {
        prop_oneof![
            inner.clone().prop_map(|inner| Condition::Not(Box::new(inner))),
            prop::collection::vec(inner.clone(), 0..5).prop_map(Condition::All),
            prop::collection::vec(inner, 0..5).prop_map(Condition::Any),
        ]
    })
}

fn effect() -> impl Strategy<Value = Effect> {
    prop_oneof![
        3 => Just(Effect::Allow),
        1 => (0..3_u8, 400..404_u16).prop_map(|(text, status)| Effect::Deny { text: format!("no {text}"), status, hold: false }),
        1 => Just(Effect::Risk { points: 40, why: String::new() }),
        1 => Just(Effect::Purpose { purpose: "ab".to_owned(), basis: None }),
        1 => Just(Effect::RequirePurpose(PurposeRequirement {
            purposes: set(vec!["ab"], vec![]),
            bases: None,
            from: vec![SourceKind::Claim, SourceKind::Policy],
        })),
        1 => Just(Effect::LimitField { field: IntField::RequestSize, max: 1 }),
        1 => (1..3_u32).prop_map(|by| Effect::RequireApproval(ApprovalRequirement {
            groups: vec!["leads".to_owned()],
            by,
            within: Duration::from_secs(60),
            valid: Duration::from_secs(60),
        })),
        1 => any::<bool>().prop_map(|record_only| Effect::Mask(Mask {
            side: Side::Request,
            record_only,
            selector: Selector::Text,
            matchers: Vec::new(),
            transform: Transform::Label,
        })),
        1 => (
            select(vec![RecordBound::AtLeast, RecordBound::AtMost]),
            select(vec![RecordLevel::Metadata, RecordLevel::Full]),
        )
            .prop_map(|(bound, level)| Effect::Record { bound, level }),
    ]
}

fn atom() -> impl Strategy<Value = Atom> {
    let texts_set = sets().boxed();
    let literals_only = subsequence(TEXTS.to_vec(), 0..=5).prop_map(|l| set(l, vec![]));
    let models = subsequence((0..150).map(model).collect::<Vec<_>>(), 5..=60)
        .prop_map(|literals| StrSet { literals, globs: Vec::new() });
    let op = select(vec![CompareOp::Eq, CompareOp::Lt, CompareOp::Le, CompareOp::Gt, CompareOp::Ge]);
    let number = prop_oneof![-2..=2_i64, Just(i64::MIN), Just(i64::MAX)];
    let field = select(StrField::ALL.map(|(field, _)| field).to_vec());
    let json_test = prop_oneof![
        texts_set.clone().prop_map(JsonTest::StrIn),
        (op.clone(), -2..=2_i64).prop_map(|(op, value)| JsonTest::Int { op, value }),
        any::<bool>().prop_map(JsonTest::Bool),
        text_test().prop_map(JsonTest::Text),
    ];
    prop_oneof![
        2 => (field.clone(), literals_only).prop_map(|(field, set)| Atom::StrIn { field, set }),
        2 => (field, texts_set.clone()).prop_map(|(field, set)| Atom::StrIn { field, set }),
        2 => models.prop_map(|set| Atom::StrIn { field: StrField::Model, set }),
        2 => select(MEMBERS.to_vec()).prop_map(|group| Atom::InGroup(group.to_owned())),
        1 => select(MEMBERS.to_vec()).prop_map(|scope| Atom::HasScope(scope.to_owned())),
        1 => subsequence(NETS.to_vec(), 0..=2)
            .prop_map(|nets| Atom::IpIn(nets.iter().map(|net| net.parse().unwrap()).collect())),
        2 => (select(IntField::ALL.map(|(field, _)| field).to_vec()), op, number)
            .prop_map(|(field, op, value)| Atom::Int { field, op, value }),
        1 => Just(Atom::Bool(BoolField::Stream)),
        1 => select(HEADERS.to_vec()).prop_map(|name| Atom::HeaderPresent(name.to_owned())),
        1 => (select(HEADERS.to_vec()), texts_set)
            .prop_map(|(name, set)| Atom::HeaderIn { name: name.to_owned(), set }),
        1 => select(IntField::ALL.map(|(field, _)| field).to_vec()).prop_map(Atom::IntPresent),
        1 => claim_atom(),
        1 => (select(vec!["site", "nowhere"]), sets()).prop_map(|(name, set)| Atom::EnvIn { name: name.to_owned(), set }),
        1 => sets().prop_map(Atom::ToolIn),
        1 => text_test().prop_map(Atom::Text),
        1 => select(PATHS.to_vec()).prop_map(|name| Atom::JsonPresent(path(name))),
        2 => (select(PATHS.to_vec()), json_test).prop_map(|(name, test)| Atom::Json { path: path(name), test }),
    ]
}

fn sets() -> impl Strategy<Value = StrSet> {
    (subsequence(TEXTS.to_vec(), 0..=4), subsequence(GLOBS.to_vec(), 0..=1))
        .prop_map(|(literals, globs)| set(literals, globs))
}

fn claim_atom() -> impl Strategy<Value = Atom> {
    let op = select(vec![CompareOp::Eq, CompareOp::Lt, CompareOp::Ge]);
    let test = prop_oneof![
        any::<bool>().prop_map(ClaimTest::Bool),
        (op, -2..=2_i64).prop_map(|(op, value)| ClaimTest::Int { op, value }),
        sets().prop_map(ClaimTest::StrIn),
        sets().prop_map(ClaimTest::ListIn),
    ];
    (select(HEADERS.to_vec()), prop::option::of(claim_value()), prop::option::weighted(0.8, test)).prop_map(
        |(key, default, test)| match test {
            Some(test) => Atom::Claim { claim: Claim { name: key.to_owned(), key: key.to_owned(), default }, test },
            None => Atom::ClaimPresent(key.to_owned()),
        },
    )
}

fn text_test() -> impl Strategy<Value = TextTest> {
    prop_oneof![
        Just(TextTest::Matches("(?i)WEIGHTS|^$".to_owned())),
        Just(TextTest::Contains("ab".to_owned())),
        Just(TextTest::Finds(vec!["us_ssn".to_owned()])),
        Just(TextTest::Finds(vec!["unknown".to_owned(), "us_ssn".to_owned()])),
    ]
}

fn set(literals: Vec<&str>, globs: Vec<&str>) -> StrSet {
    StrSet {
        literals: literals.into_iter().map(str::to_owned).collect(),
        globs: globs.into_iter().map(str::to_owned).collect(),
    }
}

pub(crate) fn path(name: &str) -> JsonPath {
    JsonPath { segments: vec![PathSegment::Key(name.to_owned())] }
}

/// Facts that own what they show.
#[derive(Clone, Debug, Default)]
pub(crate) struct Call {
    pub(crate) strings: [String; StrField::COUNT],
    pub(crate) ints: [Option<i64>; IntField::COUNT],
    pub(crate) bools: [Option<bool>; BoolField::COUNT],
    pub(crate) groups: Vec<String>,
    pub(crate) scopes: Vec<String>,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Body,
    pub(crate) claims: Vec<(String, ClaimValue)>,
}

/// A body: `None` cannot be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body(pub(crate) Option<Readable>);

#[derive(Clone, Debug, Default)]
pub(crate) struct Readable {
    pub(crate) texts: Vec<Cow<'static, str>>,
    pub(crate) values: Vec<(JsonPath, Vec<JsonValue<'static>>)>,
}

impl Call {
    pub(crate) fn facts<'a>(&'a self, engine: &'a PolicyTextEngine) -> Facts<'a> {
        Facts {
            strings: self.strings.each_ref().map(String::as_str),
            ints: self.ints,
            bools: self.bools,
            groups: &self.groups,
            scopes: &self.scopes,
            ip: self.ip,
            headers: self,
            body: &self.body,
            text_engine: engine,
            claims: self,
            env: self,
            ..Facts::empty()
        }
    }
}

impl HeaderView for Call {
    fn get(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }
}

impl ClaimView for Call {
    fn claim(&self, key: &str) -> Result<Option<ClaimValue>, Unreadable> {
        Ok(self.claims.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone()))
    }
}

impl EnvView for Call {
    fn env(&self, name: &str) -> Option<&str> {
        (name == "site").then_some("ab")
    }
}

impl BodyView for Body {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        self.0.as_ref().map(|body| body.texts.as_slice()).ok_or(Unreadable)
    }

    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        let body = self.0.as_ref().ok_or(Unreadable)?;
        let at_path = body.values.iter().filter(|(at, _)| at == path);
        for value in at_path.flat_map(|(_, values)| values) {
            if !visit(value.clone()) {
                break;
            }
        }
        Ok(())
    }
}

pub(crate) fn calls() -> impl Strategy<Value = Call> {
    let text = prop_oneof![
        3 => select(TEXTS.to_vec()).prop_map(str::to_owned),
        1 => Just(String::new()),
        1 => Just("nobody".to_owned()),
        3 => (0..150_usize).prop_map(model),
    ];
    let members = || {
        subsequence(MEMBERS.to_vec(), 0..=4).prop_map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>())
    };
    let number = prop_oneof![2 => Just(None), 6 => (-3..=3_i64).prop_map(Some), 1 => Just(Some(i64::MAX)), 1 => Just(Some(i64::MIN))];
    let header = (select(HEADERS.to_vec()), select(TEXTS.to_vec()))
        .prop_map(|(name, value)| (name.to_owned(), value.to_owned()));
    (
        prop::array::uniform15(text),
        prop::array::uniform9(number),
        any::<Option<bool>>().prop_map(|value| [value]),
        members(),
        members(),
        prop::option::of(select(ADDRESSES.to_vec()).prop_map(|ip| ip.parse().unwrap())),
        prop::collection::vec(header, 0..3),
        prop::option::weighted(0.8, readable()).prop_map(Body),
        prop::collection::vec((select(HEADERS.to_vec()).prop_map(str::to_owned), claim_value()), 0..3),
    )
        .prop_map(|(strings, ints, bools, groups, scopes, ip, headers, body, claims)| Call {
            strings,
            ints,
            bools,
            groups,
            scopes,
            ip,
            headers,
            body,
            claims,
        })
}

fn claim_value() -> impl Strategy<Value = ClaimValue> {
    let text = || select(TEXTS.to_vec()).prop_map(str::to_owned);
    prop_oneof![
        any::<bool>().prop_map(ClaimValue::Bool),
        (-2..=2_i64).prop_map(ClaimValue::Int),
        text().prop_map(ClaimValue::Str),
        prop::collection::vec(text(), 0..3).prop_map(ClaimValue::List),
    ]
}

fn readable() -> impl Strategy<Value = Readable> {
    let value = prop_oneof![
        select(TEXTS.to_vec()).prop_map(|text| JsonValue::Str(text.into())),
        select(vec![-2.0, 0.0, 0.5, 1.0]).prop_map(JsonValue::Number),
        any::<bool>().prop_map(JsonValue::Bool),
        Just(JsonValue::Null),
        Just(JsonValue::Composite),
    ];
    let at_path = (select(PATHS.to_vec()).prop_map(path), prop::collection::vec(value, 0..3));
    (
        prop::collection::vec(select(PROMPTS.to_vec()).prop_map(Cow::Borrowed), 0..3),
        prop::collection::vec(at_path, 0..3),
    )
        .prop_map(|(texts, values)| Readable { texts, values })
}

/// Knows one detector.
pub(crate) struct OneDetector;

impl DetectorScan for OneDetector {
    fn finds(&self, detector: &str, text: &str) -> Option<bool> {
        (detector == "us_ssn").then(|| text.contains("536-22-8145"))
    }
}

pub(crate) fn engine(program: &Program) -> PolicyTextEngine {
    PolicyTextEngine::new(program, Arc::new(OneDetector)).unwrap()
}
