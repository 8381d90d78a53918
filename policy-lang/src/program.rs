//! The typed, checked policy set: what the interpreter judges by and the compiler compiles.

use crate::schema::{BoolField, IntField, StrField};
use std::time::Duration;

/// Index into [`Program::atoms`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AtomId(pub u32);

/// Index into [`Program::rules`]; also the bit of the rule in a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RuleId(pub u32);

/// A policy set: every `.policy` file below one root.
#[derive(Clone, Debug)]
pub struct Program {
    /// Name of the set (of its first `policy` header in file order).
    pub name: String,
    /// Version from the same header.
    pub version: u64,
    /// SHA-256, hex, over names and contents of the files in order.
    pub digest: String,
    /// Sorted by name, so that a rule's id does not depend on files or order.
    pub rules: Vec<Rule>,
    /// The distinct leaf conditions of all rules.
    pub atoms: Vec<Atom>,
}

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Dotted name, unique in the set.
    pub name: String,
    /// Judged and recorded, never enforced.
    pub shadow: bool,
    /// `when … unless …` as one condition.
    pub condition: Condition,
    /// What happens when the condition holds.
    pub effects: Vec<Effect>,
}

impl Rule {
    /// Whether an error in this rule denies: every rule but one that only allows (POLICY-LANGUAGE §4.1).
    #[must_use]
    pub fn restricts(&self) -> bool {
        !self.effects.iter().all(|effect| matches!(effect, Effect::Allow))
    }
}

/// A condition in strong Kleene logic: false < error < true; `and` is the minimum, `or` the maximum, so order never matters.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// The field is true.
    Bool(BoolField),
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
    /// `finds detect(a, b)`: names from [`crate::schema::DETECTORS`].
    Finds(Vec<String>),
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

/// What a rule does when its condition holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Lets the call pass unless something restricts it.
    Allow,
    /// Refuses with a text for the caller.
    Deny {
        /// For callers; must not leak.
        text: String,
        /// 4xx.
        status: u16,
    },
    /// Parks the call until people agree.
    RequireApproval(ApprovalRequirement),
    /// Masks text.
    Mask(Mask),
    /// Bounds what is kept of the payload.
    Record {
        /// `at least` or `at most`.
        bound: RecordBound,
        /// Of what.
        level: RecordLevel,
    },
}

/// `require approval from group("g") by N within T valid T`
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ApprovalRequirement {
    /// Who may approve.
    pub group: String,
    /// How many distinct people.
    pub by: u32,
    /// How long the request may wait.
    pub within: Duration,
    /// How long an approval may be used.
    pub valid: Duration,
}

/// One mask effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mask {
    /// Request or answer.
    pub side: Side,
    /// `mask record …`: the recorded copy only.
    pub record_only: bool,
    /// Where.
    pub selector: Selector,
    /// What; empty masks the whole value.
    pub matchers: Vec<Matcher>,
    /// With what it is replaced.
    pub transform: Transform,
}

/// Which way a text travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// To the model.
    Request,
    /// To the caller.
    Response,
}

/// Which texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Every text channel that the dialect knows.
    Text,
    /// The values at a path of the non-streamed form (DECISIONS 9).
    Path(JsonPath),
}

/// What is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// A name from [`crate::schema::DETECTORS`].
    Detector(String),
    /// A regex (source, checked by `policy_lang::regex`).
    Regex(String),
}

/// What stands in the place of a hit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transform {
    /// `[US_SSN]`; for a regex or a whole value `[MASKED]`.
    Label,
    /// Letters and digits but the last four become `*`.
    Last4,
    /// A fixed text.
    Literal(String),
}

/// A bound on what is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordBound {
    /// Not less.
    AtLeast,
    /// Not more.
    AtMost,
}

/// How much of the payload is kept; leaves are always written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordLevel {
    /// No payload.
    Metadata,
    /// The masked payload.
    Full,
}

/// What a policy set asks of a call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Some rule reads `model`, `request.stream`, `request.size`, text or JSON of the request, or masks it, or it may be recorded.
    pub request_body: bool,
    /// Some rule masks the answer, or it may be recorded.
    pub response_body: bool,
}
