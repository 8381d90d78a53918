//! The texts a policy set is made of, and places in them.

use std::ops::Range;

/// One policy file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Path below the root of the set with `/` between its parts; part of the set's digest.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// The files of a set in digest order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<Source>,
    /// Put before names in messages, so that editors can open them.
    root: String,
}

impl Sources {
    pub(crate) fn new(files: Vec<Source>, root: String) -> Self {
        Self { files, root }
    }

    /// The files.
    #[must_use]
    pub fn files(&self) -> &[Source] {
        &self.files
    }

    /// Where a file is, as the user would write it.
    #[must_use]
    pub fn display_name(&self, file: usize) -> String {
        let name = self.files.get(file).map_or("", |source| &source.name);
        format!("{}{name}", self.root)
    }

    /// Line and column, both counted from 1, the column in characters. An offset outside the file gives its end.
    #[must_use]
    pub fn position(&self, file: usize, offset: usize) -> (usize, usize) {
        let text = self.files.get(file).map_or("", |source| &source.text);
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.get(line_start..).unwrap_or("").chars().count() + 1;
        (line, column)
    }
}

/// Bytes `start..end` of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) file: usize,
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Span {
    pub(crate) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// Something and where it was written.
#[derive(Clone, Debug)]
pub(crate) struct Spanned<T> {
    pub(crate) node: T,
    pub(crate) span: Span,
}
