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
    /// How many of the files are the set; the others were only imported.
    members: usize,
}

impl Sources {
    pub(crate) fn new(files: Vec<Source>, root: String) -> Self {
        Self { members: files.len(), files, root }
    }

    /// Adds a file that brings names and no rules.
    pub(crate) fn add_library(&mut self, file: Source) {
        self.files.push(file);
    }

    /// Whether the file was only imported: its rules, tests and invariants are not part of the set.
    #[must_use]
    pub fn is_library(&self, file: usize) -> bool {
        file >= self.members
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

/// The name below the root of the set that a path means in a file; `None` if it leads out of the set.
pub(crate) fn relative(from: &str, path: &str) -> Option<String> {
    if path.is_empty() || path.starts_with('/') || path.contains('\\') {
        return None;
    }
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "" => return None,
            "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::relative;

    #[test]
    fn imports_stay_below_the_root() {
        for (from, path, name) in [
            ("a.policy", "b.policy", Some("b.policy")),
            ("x/a.policy", "b.policy", Some("x/b.policy")),
            ("x/a.policy", "../y/./b.policy", Some("y/b.policy")),
            ("x/a.policy", "../../b.policy", None),
            ("a.policy", "/etc/b.policy", None),
            ("a.policy", "", None),
            ("a.policy", "x//b.policy", None),
        ] {
            assert_eq!(relative(from, path).as_deref(), name, "{from} {path}");
        }
    }
}
