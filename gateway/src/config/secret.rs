//! Values that must not be printed, and where they come from.

use std::fmt;

/// A secret value. `Debug` shows that it is there, never what it is.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that sends it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether a header can carry it: visible ASCII and spaces (RFC 9110 §5.5). Anything else could forge a second field.
    #[must_use]
    pub fn fits_a_header(&self) -> bool {
        self.0.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    }

    /// Reads the value that `env:NAME` or `file:PATH` points at; surrounding white space (the newline at the end of a
    /// file) does not belong to it.
    ///
    /// # Errors
    /// A sentence saying what is wrong, if the source has another form, cannot be read or is empty.
    pub(crate) fn resolve(source: &str) -> Result<Self, String> {
        let value = if let Some(name) = source.strip_prefix("env:") {
            std::env::var(name).map_err(|_| format!("the environment variable {name} is not set (or not UTF-8)"))?
        } else if let Some(path) = source.strip_prefix("file:") {
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))?
        } else {
            return Err("secrets are never written into this file".to_owned());
        };
        let value = value.trim();
        if value.is_empty() {
            return Err(format!("{source} is empty"));
        }
        Ok(Self(value.to_owned()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
