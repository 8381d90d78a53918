//! Values that must not be printed, and where they come from.

use std::fmt;
use std::path::{Path, PathBuf};

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
    /// file) does not belong to it. A relative path is relative to `base`.
    ///
    /// # Errors
    /// A sentence saying what is wrong, if the source has another form, cannot be read or is empty.
    pub(crate) fn resolve(source: &str, base: &Path) -> Result<Self, String> {
        if let Some(path) = source.strip_prefix("file:") {
            return Self::read(&base.join(path));
        }
        let value = if let Some(name) = source.strip_prefix("env:") {
            std::env::var(name).map_err(|_| format!("the environment variable {name} is not set (or not UTF-8)"))?
        } else {
            return Err("secrets are never written into this file".to_owned());
        };
        Self::trimmed(&value).ok_or_else(|| format!("{source} is empty"))
    }

    /// Likewise from a file.
    ///
    /// # Errors
    /// A sentence saying what is wrong.
    pub(crate) fn read(path: &Path) -> Result<Self, String> {
        let value =
            std::fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        Self::trimmed(&value).ok_or_else(|| format!("{} is empty", path.display()))
    }

    fn trimmed(value: &str) -> Option<Self> {
        let value = value.trim();
        (!value.is_empty()).then(|| Self(value.to_owned()))
    }
}

/// What a client shows an authorization server. A file is read again whenever the secret is shown, so that it can be replaced while
/// the gateway runs.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientSecret {
    file: Option<PathBuf>,
    first: Secret,
}

impl ClientSecret {
    /// One that does not change.
    #[must_use]
    pub fn fixed(secret: Secret) -> Self {
        Self { file: None, first: secret }
    }

    /// As [`Secret::resolve`].
    ///
    /// # Errors
    /// As [`Secret::resolve`].
    pub(crate) fn resolve(source: &str, base: &Path) -> Result<Self, String> {
        let file = source.strip_prefix("file:").map(|path| base.join(path));
        Ok(Self { file, first: Secret::resolve(source, base)? })
    }

    /// The secret of this moment. While the file cannot be read, what it held when the configuration was read counts.
    #[must_use]
    pub fn now(&self) -> Secret {
        let Some(path) = &self.file else { return self.first.clone() };
        Secret::read(path).unwrap_or_else(|error| {
            tracing::error!(%error, "a client secret cannot be read; the one of the configuration's last reading counts");
            self.first.clone()
        })
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
