//! What is wrong with a configuration file, where, and how to mend it.

use std::fmt;
use std::path::{Path, PathBuf};

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file as it was named.
    pub file: PathBuf,
    /// Line (from 1); none when the whole file is meant.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}\n  fix: {}", self.message, self.help)
    }
}

/// Everything that is wrong with a configuration: never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

/// Gathers errors while a file is checked, so that all of them are told at once.
pub(super) struct Findings<'a> {
    file: &'a Path,
    text: &'a str,
    errors: Vec<ConfigError>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        Self { file, text, errors: Vec::new() }
    }

    /// Notes an error at a byte offset of the text.
    pub(super) fn at(&mut self, offset: usize, message: impl Into<String>, help: impl Into<String>) {
        let line = 1 + self.text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        self.push(Some(line), message.into(), help.into());
    }

    /// Notes an error of the whole file.
    pub(super) fn whole(&mut self, message: impl Into<String>, help: impl Into<String>) {
        self.push(None, message.into(), help.into());
    }

    fn push(&mut self, line: Option<usize>, message: String, help: String) {
        self.errors.push(ConfigError { file: self.file.to_owned(), line, message, help });
    }

    /// The value, if nothing was found.
    pub(super) fn finish<T>(mut self, value: Option<T>) -> Result<T, ConfigErrors> {
        if self.errors.is_empty() {
            match value {
                Some(value) => return Ok(value),
                None => self.whole("the file could not be read", "check it against examples/sallyport.toml"),
            }
        }
        self.errors.sort_by_key(|error| error.line);
        Err(ConfigErrors(self.errors))
    }
}
