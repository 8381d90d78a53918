//! What is wrong with a policy set, in a form that people, editors and machines can read.

use crate::codes::Code;
use crate::render;
use crate::source::{Sources, Span};
use std::fmt;
use std::ops::Range;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The set cannot be used.
    Error,
    /// The set works, though perhaps not as meant.
    Warning,
}

/// A place and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Index into [`Sources::files`].
    pub file: usize,
    /// Bytes of the file.
    pub span: Range<usize>,
    /// Empty where the message says all.
    pub text: String,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Stable, from [`Code::ALL`].
    pub code: &'static str,
    /// How bad it is.
    pub severity: Severity,
    /// One line.
    pub message: String,
    /// The first one is where it is; the others explain.
    pub labels: Vec<Label>,
    /// More about how it comes.
    pub note: Option<String>,
    /// What to do.
    pub help: Option<String>,
    /// A call that shows it, as the members of `given` in a test, and what it is.
    pub witness: Option<(serde_json::Value, String)>,
    /// A change that mends it, for editors and `--fix`; only where there is one that is surely meant.
    pub patch: Option<Patch>,
}

/// A change of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Patch {
    /// Index into [`Sources::files`].
    pub file: usize,
    /// Bytes that are replaced; empty for an insertion.
    pub span: Range<usize>,
    /// What stands there then.
    pub replacement: String,
}

impl Patch {
    pub(crate) fn insert(file: usize, at: usize, text: impl Into<String>) -> Self {
        Self { file, span: at..at, replacement: text.into() }
    }

    pub(crate) fn replace(span: Span, text: impl Into<String>) -> Self {
        Self { file: span.file, span: span.range(), replacement: text.into() }
    }
}

impl Diagnostic {
    pub(crate) fn error(code: Code, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str(),
            severity: Severity::Error,
            message: message.into(),
            labels: Vec::new(),
            note: None,
            help: None,
            witness: None,
            patch: None,
        }
    }

    pub(crate) fn warning(code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(code, message) }
    }

    pub(crate) fn label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { file: span.file, span: span.range(), text: text.into() });
        self
    }

    pub(crate) fn help(mut self, text: impl Into<String>) -> Self {
        self.help = Some(text.into());
        self
    }

    pub(crate) fn patch(mut self, patch: Patch) -> Self {
        self.patch = Some(patch);
        self
    }

    pub(crate) fn note(mut self, text: impl Into<String>) -> Self {
        self.note = Some(text.into());
        self
    }

    pub(crate) fn witness(mut self, call: serde_json::Value, what: impl Into<String>) -> Self {
        self.witness = Some((call, what.into()));
        self
    }

    /// Adds the patch if one is surely meant.
    pub(crate) fn maybe_patch(mut self, patch: Option<Patch>) -> Self {
        self.patch = patch;
        self
    }

    /// Adds the help if there is one to give.
    pub(crate) fn maybe_help(self, text: Option<String>) -> Self {
        match text {
            Some(text) => self.help(text),
            None => self,
        }
    }

    /// The finding as rustc would show it, with ANSI colours if asked for.
    #[must_use]
    pub fn render(&self, sources: &Sources, color: bool) -> String {
        render::text(self, sources, color)
    }

    /// The finding for machines: `code`, `severity`, `message`, `help`, and `labels` with `file`, `text`, byte offsets, line and column.
    #[must_use]
    pub fn to_json(&self, sources: &Sources) -> serde_json::Value {
        render::json(self, sources)
    }
}

/// Why a policy set cannot be used: at least one error, with the texts it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostics {
    /// Errors and warnings in file order.
    pub list: Vec<Diagnostic>,
    /// The files they are about.
    pub sources: Sources,
}

impl Diagnostics {
    /// Everything as text, one finding after the other, with a closing line that counts them.
    #[must_use]
    pub fn render_all(&self, color: bool) -> String {
        render::all(&self.list, &self.sources, color)
    }

    /// Everything as one run of a SARIF 2.1.0 log, which code scanning tools take.
    #[must_use]
    pub fn to_sarif(&self) -> serde_json::Value {
        crate::sarif::log(&self.list, &self.sources)
    }

    /// Everything for machines: an array of [`Diagnostic::to_json`].
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        render::json_all(&self.list, &self.sources)
    }
}

/// The first error in one line, for logs.
impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let errors = || self.list.iter().filter(|d| d.severity == Severity::Error);
        let Some(first) = errors().next() else {
            return f.write_str("the policy set has warnings");
        };
        if let Some(label) = first.labels.first() {
            let (line, column) = self.sources.position(label.file, label.span.start);
            let file = self.sources.display_name(label.file);
            write!(f, "{file}:{line}:{column}: ")?;
        }
        write!(f, "{} [{}]", first.message, first.code)?;
        match errors().count() {
            0 | 1 => Ok(()),
            count => write!(f, " and {} more", count - 1),
        }
    }
}

impl std::error::Error for Diagnostics {}
