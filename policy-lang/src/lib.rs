//! Sallyport's policy language: who may call what, what leaves, what is kept, and who is asked first.
//!
//! A policy set is one `.policy` file or a directory of them. This crate reads it ([`load_path`], [`load_sources`]), checks it,
//! explains what is wrong with it ([`Diagnostic`]) and gives it its meaning: a [`Program`] judged by the reference interpreter
//! ([`interpret`]) over the [`Facts`] of one call yields a [`Decision`].
//!
//! The way of a file: `scanner` cuts it into items, `parse` turns each item into a syntax tree (`syntax`), `lower` checks names
//! and types and yields the [`Program`]. The interpreter is the executable meaning of the language: plain rather than fast. The
//! native code of `policy-compiler` is compared against it.
//!
//! ```
//! use policy_lang::{Source, load_sources};
//!
//! let text = r#"
//!     policy "example" version 1
//!     rule access.apps { when identity in group("ml-apps") and model == ~"tiny*" allow }
//! "#;
//! let source = Source { name: "example.policy".to_owned(), text: text.to_owned() };
//! match load_sources(vec![source]) {
//!     Ok(loaded) => assert_eq!(loaded.program.rules[0].name, "access.apps"),
//!     Err(found) => eprintln!("{}", found.render_all(true)),
//! }
//! ```
//!
//! What this crate never does: I/O beyond reading policy files, clocks, HTTP, code generation.
#![forbid(unsafe_code)]

pub mod catalogue;
mod check;
mod codes;
mod date;
mod decision;
mod diagnostic;
mod effect;
pub mod explain;
mod facts;
mod format;
mod glob;
mod interpreter;
mod limits;
mod load;
mod lower;
mod needs;
mod outline;
mod parse;
mod print;
mod program;
pub mod regex;
pub mod register;
mod render;
mod sarif;
mod scanner;
pub mod schema;
mod source;
mod suggest;
mod syntax;
pub mod testing;
mod walk;

pub use codes::Code;
pub use date::Date;
pub use decision::{
    Decision, Denial, Obligations, Purpose, Reason, ReasonKind, Requirements, Rules, Trace, Truth, Verdict, conclude,
    conclude_hits, conclude_response,
};
pub use diagnostic::{Diagnostic, Diagnostics, Label, Patch, Severity as DiagnosticSeverity};
pub use facts::{
    BodyView, ClaimView, DeclaredPurpose, EnvView, Facts, HeaderView, JsonValue, Nothing, TextEngine, Unread,
    Unreadable,
};
pub use format::{format, format_source};
pub use glob::glob_match;
pub use interpreter::{eval_atom, eval_condition, interpret, interpret_response, trace, with_risk};
pub use load::{Loaded, load_path, load_path_cached, load_sources, load_sources_cached};
pub use outline::Outlines;
pub use parse::Cache;
pub use print::print;
pub use program::{
    ApprovalRequirement, Atom, AtomId, Claim, ClaimTest, ClaimValue, CompareOp, Condition, CustomDetector, Effect,
    Expect, ExpectKind, ExpectedValue, ExpectedVerdict, GrantRequirement, Invariant, InvariantKind, Invariants,
    JsonPath, JsonTest, LimitKey, LimitKind, Mask, Matcher, Needs, PathSegment, Phase, Place, PolicyTest, Program,
    PurposeRequirement, RateLimit, RecordBound, RecordLevel, Rule, RuleId, Selector, Severity, Side, SourceKind,
    StrSet, TestCall, TextTest, Transform,
};
pub use source::{Source, Sources};
