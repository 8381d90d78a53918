//! The syntax tree: what was written and where, before names and types.

use crate::program::{CompareOp, JsonPath, RecordBound, RecordLevel, Side, Transform};
use crate::source::{Span, Spanned};

pub(crate) type Text = Spanned<String>;

#[derive(Clone, Debug)]
pub(crate) enum Item {
    Policy(Header),
    Set(SetItem),
    Let(LetItem),
    Rule(RuleItem),
}

/// `policy "name" version N`
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) name: Text,
    pub(crate) version: u64,
    pub(crate) span: Span,
}

/// `set name : type = { … }`
#[derive(Clone, Debug)]
pub(crate) struct SetItem {
    pub(crate) name: Text,
    pub(crate) kind: Text,
    pub(crate) braces: Braces,
}

/// `let name = condition`
#[derive(Clone, Debug)]
pub(crate) struct LetItem {
    pub(crate) name: Text,
    pub(crate) condition: Expr,
}

/// `rule name [shadow] { … }`
#[derive(Clone, Debug)]
pub(crate) struct RuleItem {
    pub(crate) name: Text,
    pub(crate) shadow: bool,
    pub(crate) clauses: Vec<Spanned<Clause>>,
}

#[derive(Clone, Debug)]
pub(crate) enum Clause {
    When(Expr),
    Unless(Expr),
    Allow,
    Deny { text: Text, status: Option<Spanned<Number>> },
    Mask(MaskClause),
    Record { bound: RecordBound, level: RecordLevel },
    Require { group: Text, by: Vec<Spanned<Number>>, within: Vec<Spanned<Number>>, valid: Vec<Spanned<Number>> },
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
    Detect(Vec<Text>),
    Regex(Text),
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
    Finds(Vec<Text>),
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

#[derive(Clone, Debug)]
pub(crate) enum SetExpr {
    Braces(Braces),
    Groups(Vec<Spanned<Value>>, Span),
    Name(Text),
}

/// `{ … }`
#[derive(Clone, Debug)]
pub(crate) struct Braces {
    pub(crate) entries: Vec<Spanned<Value>>,
    pub(crate) span: Span,
}
