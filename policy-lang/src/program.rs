//! The typed, checked policy set: what the interpreter judges by and the compiler compiles.

pub use crate::effect::{
    ApprovalRequirement, Effect, GrantRequirement, LimitKey, LimitKind, Mask, Matcher, PurposeRequirement, RateLimit,
    RecordBound, RecordLevel, Selector, Severity, Side, SourceKind, Transform,
};
use crate::schema::{BoolField, IntField, StrField};
use std::ops::Range;

/// Index into [`Program::atoms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AtomId(pub u32);

/// Index into [`Program::rules`]; also the bit of the rule in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

/// A policy set: every `.policy` file below one root.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// Name of the set (of its first `policy` header in file order).
    pub name: String,
    /// Version from the same header.
    pub version: u64,
    /// The `///` lines before that header.
    pub docs: String,
    /// SHA-256, hex, over names and contents of the files in order.
    pub digest: String,
    /// Sorted by name, so that a rule's id does not depend on files or order.
    pub rules: Vec<Rule>,
    /// The distinct leaf conditions of all rules.
    pub atoms: Vec<Atom>,
    /// What the set promises of itself.
    pub invariants: Invariants,
    /// The tests written in the set, in file order.
    pub tests: Vec<PolicyTest>,
}

/// Where something was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Index into [`crate::Sources::files`].
    pub file: usize,
    /// Bytes of the file.
    pub span: Range<usize>,
}

/// When a rule is judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Before the call goes in.
    #[default]
    Request,
    /// When the answer is there: the condition reads `response` (DECISIONS 10).
    Response,
}

/// One rule.
#[derive(Clone, Debug, Default)]
pub struct Rule {
    /// Dotted name, unique in the set.
    pub name: String,
    /// Judged and recorded, never enforced.
    pub shadow: bool,
    /// When it is judged.
    pub phase: Phase,
    /// `when … unless …` as one condition.
    pub condition: Condition,
    /// What happens when the condition holds.
    pub effects: Vec<Effect>,
    /// The `///` lines before it: for staff and for the register of controls.
    pub docs: String,
    /// The whole rule.
    pub place: Place,
}

impl Rule {
    /// Whether an error in this rule denies: every rule but one that only allows (POLICY-LANGUAGE §4.1).
    #[must_use]
    pub fn restricts(&self) -> bool {
        !self.effects.iter().all(|effect| matches!(effect, Effect::Allow))
    }
}

/// A condition in strong Kleene logic: false < error < true; `and` is the minimum, `or` the maximum, so order never matters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Condition {
    /// Holds always (a rule without `when`) or never.
    Const(bool),
    /// A leaf.
    Atom(AtomId),
    /// Negation; an error stays an error.
    Not(Box<Condition>),
    /// All of them; empty is true.
    All(Vec<Condition>),
    /// Any of them; empty is false.
    Any(Vec<Condition>),
}

impl Default for Condition {
    fn default() -> Self {
        Self::Const(true)
    }
}

/// A leaf condition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Atom {
    /// The field's text is in the set.
    StrIn {
        /// What is read.
        field: StrField,
        /// What it is looked up in.
        set: StrSet,
    },
    /// `identity in group("…")`
    InGroup(String),
    /// `"…" in identity.scopes`
    HasScope(String),
    /// `request.ip in { … }`; an unparsable or unknown address is an error.
    IpIn(Vec<ipnet::IpNet>),
    /// A number compared with a literal.
    Int {
        /// What is read.
        field: IntField,
        /// How it is compared.
        op: CompareOp,
        /// With what (bytes for sizes).
        value: i64,
    },
    /// The number is known.
    IntPresent(IntField),
    /// The field is true.
    Bool(BoolField),
    /// A tool that the request offers to the model has a name in the set.
    ToolIn(StrSet),
    /// `identity.<claim>`: a declared claim of the token; an error when it is absent without a default, or of another type.
    Claim {
        /// The claim.
        claim: Claim,
        /// How its value is tested.
        test: ClaimTest,
    },
    /// `identity.<claim> is present`, by the claim's key in the token.
    ClaimPresent(String),
    /// `env.<name>` in the set; an error when the config gives no such name.
    EnvIn {
        /// The name behind `env.`.
        name: String,
        /// What its value is looked up in.
        set: StrSet,
    },
    /// `request.header("name") is present`
    HeaderPresent(String),
    /// `request.header("name") in { … }`; false when the header is absent.
    HeaderIn {
        /// Lower case.
        name: String,
        /// What its value is looked up in.
        set: StrSet,
    },
    /// `request.text matches /…/`, `contains "…"`, `finds detect(…)`: true if any text channel matches.
    Text(TextTest),
    /// `request $.path is present`
    JsonPresent(JsonPath),
    /// A value of the request's JSON compared; error when the path is absent, malformed or of the wrong type.
    Json {
        /// Which value.
        path: JsonPath,
        /// How it is tested.
        test: JsonTest,
    },
    /// The same of the answer's texts.
    ResponseText(TextTest),
    /// `response $.path is present`
    ResponseJsonPresent(JsonPath),
    /// A value of the answer's JSON compared.
    ResponseJson {
        /// Which value.
        path: JsonPath,
        /// How it is tested.
        test: JsonTest,
    },
}

impl Atom {
    /// When it can be judged.
    #[must_use]
    pub fn phase(&self) -> Phase {
        let response = match self {
            Self::StrIn { field, .. } => field.is_response(),
            Self::Int { field, .. } | Self::IntPresent(field) => field.is_response(),
            Self::ResponseText(_) | Self::ResponseJsonPresent(_) | Self::ResponseJson { .. } => true,
            _ => false,
        };
        if response { Phase::Response } else { Phase::Request }
    }
}

/// A declared claim of the caller's token.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Claim {
    /// Its name in the policy, behind `identity.`.
    pub name: String,
    /// Its key in the token.
    pub key: String,
    /// What it stands for when the token has none.
    pub default: Option<ClaimValue>,
}

/// The value of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimValue {
    /// `bool`
    Bool(bool),
    /// `number`: whole numbers only.
    Int(i64),
    /// `string`
    Str(String),
    /// `list`: texts.
    List(Vec<String>),
}

impl ClaimValue {
    /// The value of a claim in a token; `None` if it is of no type that policies know (`null` among them).
    #[must_use]
    pub fn of_json(value: &serde_json::Value) -> Option<Self> {
        use serde_json::Value;
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Number(number) => number.as_i64().map(Self::Int),
            Value::String(text) => Some(Self::Str(text.clone())),
            Value::Array(entries) => {
                let texts = entries.iter().map(|entry| entry.as_str().map(str::to_owned));
                texts.collect::<Option<_>>().map(Self::List)
            }
            Value::Null | Value::Object(_) => None,
        }
    }
}

/// A test of a claim.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ClaimTest {
    /// A boolean equal to this one.
    Bool(bool),
    /// A number compared with a literal.
    Int {
        /// How.
        op: CompareOp,
        /// With what.
        value: i64,
    },
    /// A text in the set.
    StrIn(StrSet),
    /// A list with an entry in the set.
    ListIn(StrSet),
}

/// Literals and globs; both sorted and without duplicates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StrSet {
    /// Compared byte for byte.
    pub literals: Vec<String>,
    /// `*` matches any run of characters including none, `?` one character; everything else stands for itself.
    pub globs: Vec<String>,
}

/// Comparison of a number with a literal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CompareOp {
    /// `==`
    Eq,
    /// `<`
    Lt,
    /// `<=`
    Le,
    /// `>`
    Gt,
    /// `>=`
    Ge,
}

/// A test of text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum TextTest {
    /// `matches /…/`: the regex (source, checked) is found anywhere.
    Matches(String),
    /// `contains "…"`
    Contains(String),
    /// `finds detect(a, b)`: names of built-in detectors.
    Finds(Vec<String>),
    /// `finds detect(mrn)`: a detector of the policy itself.
    FindsCustom(CustomDetector),
}

/// `detector mrn = /…/ near { "record", "mrn" }`
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct CustomDetector {
    /// As named where it is defined; its label is this name in upper case.
    pub name: String,
    /// The source of the expression, checked.
    pub regex: String,
    /// Words of which one must stand shortly before a hit or in the enclosing JSON key, in any case; sorted; empty asks for none.
    pub near: Vec<String>,
}

/// A test of a JSON value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum JsonTest {
    /// A string in the set.
    StrIn(StrSet),
    /// A number compared with a whole number.
    Int {
        /// How.
        op: CompareOp,
        /// With what.
        value: i64,
    },
    /// A boolean equal to this one.
    Bool(bool),
    /// A string that passes the test.
    Text(TextTest),
}

/// A JSON path in the RFC 9535 subset: `$`, `.name`, `['name']`, `[n]`, `[*]`, `.*`. With wildcards a test is true if any value passes.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JsonPath {
    /// Steps from the root.
    pub segments: Vec<PathSegment>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PathSegment {
    /// A member.
    Key(String),
    /// An element.
    Index(u32),
    /// Every element or member.
    Wildcard,
}

/// What a set promises of itself; judged by `prove`, never on a call.
#[derive(Clone, Debug, Default)]
pub struct Invariants {
    /// The promises, in file order.
    pub list: Vec<Invariant>,
    /// The leaf conditions that they read: not those of the rules.
    pub atoms: Vec<Atom>,
}

/// `invariant "text" { never allow when … }`
#[derive(Clone, Debug)]
pub struct Invariant {
    /// What is promised, in words.
    pub name: String,
    /// What it means.
    pub kind: InvariantKind,
    /// For which calls, over [`Invariants::atoms`].
    pub condition: Condition,
    /// Where it was written.
    pub place: Place,
}

/// What an invariant demands of every call for which its condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvariantKind {
    /// It neither goes forward nor waits for people.
    NeverAllow,
    /// The verdict is a denial by a rule.
    AlwaysDeny,
}

/// A test written in a policy.
#[derive(Clone, Debug)]
pub struct PolicyTest {
    /// What it shows.
    pub name: String,
    /// The call.
    pub given: TestCall,
    /// What is expected of it.
    pub expects: Vec<Expect>,
    /// Where it was written.
    pub place: Place,
}

/// The call of a test, or of an explanation: plain JSON, as documented in the language reference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestCall {
    /// `given identity { … }`
    pub identity: serde_json::Map<String, serde_json::Value>,
    /// `given request { … }`
    pub request: serde_json::Map<String, serde_json::Value>,
    /// `given response { … }`
    pub response: Option<serde_json::Map<String, serde_json::Value>>,
    /// `given time { … }`
    pub time: serde_json::Map<String, serde_json::Value>,
    /// `given env { … }`
    pub env: serde_json::Map<String, serde_json::Value>,
}

/// One expectation.
#[derive(Clone, Debug)]
pub struct Expect {
    /// What is expected.
    pub kind: ExpectKind,
    /// Where it was written.
    pub place: Place,
}

/// What a test expects.
#[derive(Clone, Debug)]
pub enum ExpectKind {
    /// `expect deny by rule status 403`
    Verdict {
        /// What happens to the call.
        verdict: ExpectedVerdict,
        /// A rule that must be among those that led there.
        by: Option<RuleId>,
        /// Of a denial.
        status: Option<u16>,
    },
    /// `expect fires rule`, `expect not fires rule`; shadow rules too.
    Fires {
        /// Which rule.
        rule: RuleId,
        /// Whether it is to hold.
        wanted: bool,
    },
    /// `expect response $.path == …`, of what goes on (or with `record`, of what is kept).
    Value {
        /// The recorded copy instead of what goes on.
        record: bool,
        /// Which body.
        side: Side,
        /// Which value.
        path: JsonPath,
        /// What is to be there.
        wanted: ExpectedValue,
    },
}

/// A verdict as tests name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExpectedVerdict {
    /// `allow`: the call goes forward.
    Allow,
    /// `deny`
    Deny,
    /// `pending`: people are asked.
    Pending,
}

/// A value as tests expect it.
#[derive(Clone, Debug, PartialEq)]
pub enum ExpectedValue {
    /// Anything at all.
    Present,
    /// Nothing.
    Absent,
    /// This.
    Equal(serde_json::Value),
}

/// What a policy set asks of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Some rule reads `model`, `request.stream`, `request.size`, text or JSON of the request, or masks it, or it may be recorded.
    pub request_body: bool,
    /// Some rule masks the answer, or it may be recorded.
    pub response_body: bool,
}
