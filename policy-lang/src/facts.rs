//! What a decision is made from. Built once per call; the interpreter and the native code read nothing else.

use crate::program::{ClaimValue, JsonPath, PathSegment, SourceKind, TextTest};
use crate::schema::{BoolField, IntField, StrField};
use std::borrow::Cow;
use std::net::IpAddr;

/// The facts of one call (DECISIONS 2): no bytes, no clocks. Begin with [`Facts::empty`] and fill in what is known.
#[derive(Clone, Copy)]
pub struct Facts<'a> {
    /// Text fields by [`StrField`] slot; absent is empty.
    pub strings: [&'a str; StrField::COUNT],
    /// Number fields by [`IntField`] slot; `None` is an error when read.
    pub ints: [Option<i64>; IntField::COUNT],
    /// Boolean fields by [`BoolField`] slot; `None` is an error when read.
    pub bools: [Option<bool>; BoolField::COUNT],
    /// Groups of the caller.
    pub groups: &'a [String],
    /// Scopes of the caller.
    pub scopes: &'a [String],
    /// Declared claims of the caller.
    pub claims: &'a dyn ClaimView,
    /// What the config says of the place where the gateway runs.
    pub env: &'a dyn EnvView,
    /// Purposes declared by claim or header.
    pub purposes: &'a [DeclaredPurpose<'a>],
    /// Address of the caller.
    pub ip: Option<IpAddr>,
    /// Header fields, names in any case.
    pub headers: &'a dyn HeaderView,
    /// The request body.
    pub body: &'a dyn BodyView,
    /// The answer, once it is there.
    pub response: Option<&'a dyn BodyView>,
    /// Runs regexes and detectors over text.
    pub text_engine: &'a dyn TextEngine,
}

impl<'a> Facts<'a> {
    /// A call of which nothing is known.
    #[must_use]
    pub fn empty() -> Self {
        Self {
            strings: [""; StrField::COUNT],
            ints: [None; IntField::COUNT],
            bools: [None; BoolField::COUNT],
            groups: &[],
            scopes: &[],
            claims: &Nothing,
            env: &Nothing,
            purposes: &[],
            ip: None,
            headers: &Nothing,
            body: &Nothing,
            response: None,
            text_engine: &Nothing,
        }
    }

    /// The text of a field.
    #[must_use]
    pub fn str(&self, field: StrField) -> &'a str {
        self.strings.get(field as usize).copied().unwrap_or("")
    }

    /// The number of a field.
    #[must_use]
    pub fn int(&self, field: IntField) -> Option<i64> {
        self.ints.get(field as usize).copied().flatten()
    }
}

/// A purpose that the token or the caller declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeclaredPurpose<'a> {
    /// Its name.
    pub purpose: &'a str,
    /// The lawful basis, or empty.
    pub basis: &'a str,
    /// Who declared it.
    pub source: SourceKind,
}

/// Claims of the caller's token.
pub trait ClaimView {
    /// The claim of this key; `Ok(None)` when the token has none.
    ///
    /// # Errors
    /// [`Unreadable`] when it is of no type that policies know (an object, a fraction, a list with other than texts).
    fn claim(&self, key: &str) -> Result<Option<ClaimValue>, Unreadable>;
}

/// `env.<name>`
pub trait EnvView {
    /// The text that the config gives the name.
    fn env(&self, name: &str) -> Option<&str>;
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
    /// Calls `visit` for the name of every tool that the request offers to the model, until it returns false. Unless a dialect knows
    /// better: `tools[*].function.name`, `tools[*].name` and `functions[*].name`.
    ///
    /// # Errors
    /// [`Unreadable`] when the body is malformed.
    fn tools(&self, visit: &mut dyn FnMut(&str) -> bool) -> Result<(), Unreadable> {
        const PLACES: [&[&str]; 3] =
            [&["tools", "*", "function", "name"], &["tools", "*", "name"], &["functions", "*", "name"]];
        let mut going = true;
        for place in PLACES {
            if !going {
                break;
            }
            self.values(&path(place), &mut |value| {
                if let JsonValue::Str(name) = value {
                    going = visit(&name);
                }
                going
            })?;
        }
        Ok(())
    }
}

fn path(steps: &[&str]) -> JsonPath {
    let segment = |step: &&str| match *step {
        "*" => PathSegment::Wildcard,
        key => PathSegment::Key(key.to_owned()),
    };
    JsonPath { segments: steps.iter().map(segment).collect() }
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

impl ClaimView for Nothing {
    fn claim(&self, _key: &str) -> Result<Option<ClaimValue>, Unreadable> {
        Ok(None)
    }
}

impl EnvView for Nothing {
    fn env(&self, _name: &str) -> Option<&str> {
        None
    }
}

impl TextEngine for Nothing {
    fn test(&self, _test: &TextTest, _text: &str) -> Option<bool> {
        None
    }
}

/// A body that nobody read, as on routes without a dialect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unread;

impl BodyView for Unread {
    fn texts(&self) -> Result<&[Cow<'_, str>], Unreadable> {
        Err(Unreadable)
    }
    fn values(&self, _: &JsonPath, _: &mut dyn FnMut(JsonValue<'_>) -> bool) -> Result<(), Unreadable> {
        Err(Unreadable)
    }
}
