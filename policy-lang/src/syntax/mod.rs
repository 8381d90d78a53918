//! The syntax tree: what was written and where, before names and types.

pub(crate) mod places;

use crate::program::{CompareOp, JsonPath, LimitKind, RecordBound, RecordLevel, Severity, Side, SourceKind, Transform};
use crate::source::{Span, Spanned};

pub(crate) type Text = Spanned<String>;

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Policy(Header),
    Import(ImportItem),
    Claim(ClaimItem),
    Set(SetItem),
    Let(LetItem),
    Detector(DetectorItem),
    Rule(RuleItem),
    Invariant(InvariantItem),
    Test(TestItem),
}

/// `policy "name" version N`
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) name: Text,
    pub(crate) version: u64,
    pub(crate) docs: String,
    pub(crate) span: Span,
}

/// `import "path" as name`
#[derive(Clone, Debug)]
pub(crate) struct ImportItem {
    pub(crate) path: Text,
    pub(crate) alias: Text,
}

/// `claim name : type from "key" default value`
#[derive(Clone, Debug)]
pub(crate) struct ClaimItem {
    pub(crate) name: Text,
    pub(crate) kind: Text,
    pub(crate) key: Option<Text>,
    pub(crate) default: Option<Spanned<Value>>,
}

/// `set name : type = …`
#[derive(Clone, Debug)]
pub(crate) struct SetItem {
    pub(crate) name: Text,
    pub(crate) kind: Text,
    pub(crate) set: SetExpr,
}

/// `let name = condition`
#[derive(Clone, Debug)]
pub(crate) struct LetItem {
    pub(crate) name: Text,
    pub(crate) condition: Expr,
}

/// `detector name = /regex/ near { "word" }`
#[derive(Clone, Debug)]
pub(crate) struct DetectorItem {
    pub(crate) name: Text,
    pub(crate) regex: Text,
    pub(crate) near: Option<Braces>,
}

/// `rule name [shadow] { … }`
#[derive(Clone, Debug)]
pub(crate) struct RuleItem {
    pub(crate) name: Text,
    pub(crate) shadow: bool,
    pub(crate) clauses: Vec<Spanned<Clause>>,
    /// The `///` lines before it.
    pub(crate) docs: String,
    pub(crate) span: Span,
}

/// `invariant "text" { never allow when … }`
#[derive(Clone, Debug)]
pub(crate) struct InvariantItem {
    pub(crate) name: Text,
    pub(crate) promises: Vec<Promise>,
}

#[derive(Clone, Debug)]
pub(crate) struct Promise {
    /// `always deny`; otherwise `never allow`.
    pub(crate) always_deny: bool,
    pub(crate) condition: Expr,
}

/// `test "name" { given … expect … }`
#[derive(Clone, Debug)]
pub(crate) struct TestItem {
    pub(crate) name: Text,
    pub(crate) givens: Vec<Spanned<Given>>,
    pub(crate) expects: Vec<Spanned<ExpectSyntax>>,
    pub(crate) span: Span,
}

/// `given identity { … }`
#[derive(Clone, Debug)]
pub(crate) struct Given {
    pub(crate) what: Text,
    pub(crate) value: serde_json::Value,
}

#[derive(Clone, Debug)]
pub(crate) enum ExpectSyntax {
    Verdict { verdict: Text, by: Option<Text>, status: Option<Spanned<Number>> },
    Fires { negated: bool, rule: Text },
    Value { record: bool, side: Side, path: JsonPath, wanted: Wanted },
}

#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    Present(bool),
    Equal(serde_json::Value),
}

#[derive(Clone, Debug)]
pub(crate) enum Clause {
    When(Expr),
    Unless {
        condition: Expr,
        until: Option<Spanned<i64>>,
    },
    Allow {
        until: Option<Spanned<i64>>,
    },
    Deny {
        text: Text,
        status: Vec<Spanned<Number>>,
        hold: bool,
    },
    Mask(MaskClause),
    Drop {
        record_only: bool,
        side: Side,
        path: JsonPath,
    },
    Record {
        bound: RecordBound,
        level: RecordLevel,
    },
    Retain {
        bound: RecordBound,
        time: Spanned<Number>,
    },
    Seal(Side),
    RequireApproval {
        groups: Groups,
        by: Vec<Spanned<Number>>,
        within: Vec<Spanned<Number>>,
        valid: Vec<Spanned<Number>>,
    },
    RequirePurpose {
        purposes: SetExpr,
        bases: Option<SetExpr>,
        from: Vec<SourceKind>,
    },
    RequireGrant {
        groups: Groups,
        within: Vec<Spanned<Number>>,
        lasting: Vec<Spanned<Number>>,
    },
    Purpose {
        purpose: Text,
        basis: Option<Text>,
    },
    Risk {
        points: Spanned<Number>,
        why: Option<Text>,
    },
    LimitRate {
        kind: LimitKind,
        rate: Spanned<Rate>,
        keys: Vec<Spanned<Operand>>,
        burst: Option<Spanned<Number>>,
    },
    LimitField {
        field: Text,
        max: Spanned<Number>,
    },
    Alert {
        name: Text,
        severity: Option<Severity>,
    },
}

/// `5/s` as written: how many, in how many seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) amount: i64,
    pub(crate) seconds: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct MaskClause {
    pub(crate) record_only: bool,
    pub(crate) side: Side,
    /// `None` for `text`.
    pub(crate) path: Option<JsonPath>,
    pub(crate) matchers: Vec<MatcherSyntax>,
    pub(crate) transform: Option<Spanned<Transform>>,
}

#[derive(Clone, Debug)]
pub(crate) enum MatcherSyntax {
    Detect(Vec<DetectorSyntax>),
    Regex(Text),
}

/// What stands within `detect(…)`.
#[derive(Clone, Debug)]
pub(crate) enum DetectorSyntax {
    /// Built in, or defined in this file or an imported one.
    Name(Text),
    /// `family(…)`
    Family(Text),
}

/// A condition.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) span: Span,
}

#[derive(Clone, Debug)]
pub(crate) enum ExprKind {
    Any(Vec<Expr>),
    All(Vec<Expr>),
    Not(Box<Expr>),
    Test(Operand, Option<Spanned<Predicate>>),
}

/// What is tested.
#[derive(Clone, Debug)]
pub(crate) enum Operand {
    String(Text),
    Header(Text),
    Json(Side, JsonPath, Span),
    /// A dotted field, or the name of a `let`.
    Field(Text),
}

#[derive(Clone, Debug)]
pub(crate) enum Predicate {
    Compare { op: Spanned<Op>, value: Spanned<Value> },
    In { negated: bool, set: SetExpr },
    Present(bool),
    Matches(Text),
    Contains(Text),
    Finds(Vec<DetectorSyntax>),
}

/// Comparison as written; `!=` is a negated `==`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Op {
    pub(crate) negated: bool,
    pub(crate) op: CompareOp,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    String(String),
    Glob(String),
    Address(ipnet::IpNet),
    /// Days since 1970-01-01.
    Date(i64),
    Number(Number),
    Word(String),
}

/// A whole number with its unit as written.
#[derive(Clone, Debug)]
pub(crate) struct Number {
    pub(crate) value: i64,
    pub(crate) unit: Option<Unit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    Bytes,
    Seconds,
}

/// A set as written: terms joined by `union` and `except`, from left to right.
#[derive(Clone, Debug)]
pub(crate) struct SetExpr {
    pub(crate) first: SetTerm,
    pub(crate) rest: Vec<(SetOp, SetTerm)>,
    pub(crate) span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SetOp {
    Union,
    Except,
}

#[derive(Clone, Debug)]
pub(crate) enum SetTerm {
    Braces(Braces),
    /// `group(…)`: only behind `identity in`.
    Groups(Groups),
    /// A set of this file, or `alias.name`.
    Name(Text),
}

/// `group("a", name_of_a_set)`
#[derive(Clone, Debug)]
pub(crate) struct Groups {
    pub(crate) entries: Vec<Spanned<Value>>,
    pub(crate) span: Span,
}

/// `{ … }`
#[derive(Clone, Debug)]
pub(crate) struct Braces {
    pub(crate) entries: Vec<Spanned<Value>>,
    pub(crate) span: Span,
}
