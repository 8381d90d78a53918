//! The file itself: its keys as they are written, and the way from there to a checked [`Config`].

use super::error::Findings;
use super::{Config, ConfigErrors};
use std::path::Path;

/// Reads and checks a file. Relative paths in it are relative to where the file lies.
///
/// # Errors
/// Everything that is wrong with it.
pub fn load(path: &Path) -> Result<Config, ConfigErrors> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) => {
            let mut findings = Findings::new(path, "");
            findings.whole(format!("cannot be read: {error}"), "name a readable file with --config");
            findings.finish(None)
        }
    }
}

/// Checks a text as [`load`] does; `path` stands in the errors and is what relative paths are relative to.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(path: &Path, text: &str) -> Result<Config, ConfigErrors> {
    Findings::new(path, text).finish(None)
}
