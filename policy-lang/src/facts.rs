//! What a decision is made from. Built once per call; the interpreter and the native code read nothing else.

use crate::program::{JsonPath, TextTest};
use std::borrow::Cow;
use std::net::IpAddr;

/// The facts of one call (DECISIONS 2): no bytes, no clocks.
pub struct Facts<'a> {
    /// Text fields by [`crate::schema::StrField`] slot; absent is empty.
    pub strings: [&'a str; 11],
    /// Number fields by [`crate::schema::IntField`] slot; `None` is an error when read.
    pub ints: [Option<i64>; 2],
    /// Boolean fields by [`crate::schema::BoolField`] slot; `None` is an error when read.
    pub bools: [Option<bool>; 1],
    /// Groups of the caller.
    pub groups: &'a [String],
    /// Scopes of the caller.
    pub scopes: &'a [String],
    /// Address of the caller.
    pub ip: Option<IpAddr>,
    /// Header fields, names in any case.
    pub headers: &'a dyn HeaderView,
    /// The request body.
    pub body: &'a dyn BodyView,
    /// Runs regexes and detectors over text.
    pub text_engine: &'a dyn TextEngine,
}

/// Header fields of the request.
pub trait HeaderView {
    /// First value of the field (`name` in lower case), if present and UTF-8.
    fn get(&self, name: &str) -> Option<&str>;
}

/// The request body as conditions see it.
pub trait BodyView {
    /// Every text channel of the prompt, or `Err` when the body cannot be read as the operation's form.
    ///
    /// # Errors
    /// [`Unreadable`] when the body is malformed, over the limit or of another type.
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable>;
    /// Calls `visit` for every value at the path, until it returns false. On an operation without JSON nothing is visited.
    ///
    /// # Errors
    /// [`Unreadable`] when the body is malformed.
    fn values(&self, path: &JsonPath, visit: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable>;
}

/// A body that a policy wanted to read and could not: an error, so restricting rules deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// A JSON value as tests see it.
#[derive(Clone, Debug, PartialEq)]
pub enum JsonValue<'a> {
    /// A string, unescaped.
    Str(Cow<'a, str>),
    /// A number.
    Number(f64),
    /// A boolean.
    Bool(bool),
    /// `null`
    Null,
    /// An object or array.
    Composite,
}

/// Runs the text tests of a policy; implemented over detectors and compiled regexes, injected so that this room stays free of them (DECISIONS 3).
pub trait TextEngine {
    /// Whether the text passes the test. `None` is an error (an engine that does not know the test).
    fn test(&self, test: &TextTest, text: &str) -> Option<bool>;
}

/// No headers, no body, no text engine: what is not there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl HeaderView for Nothing {
    fn get(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl BodyView for Nothing {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        Ok(&[])
    }
    fn values(&self, _: &JsonPath, _: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        Ok(())
    }
}

impl TextEngine for Nothing {
    fn test(&self, _test: &TextTest, _text: &str) -> Option<bool> {
        None
    }
}
