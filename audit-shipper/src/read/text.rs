//! Small helpers for output that people read.

use std::io::Write;

use crate::error::EvidenceError;

/// Makes text from callers harmless for a terminal: control characters, also those of Unicode that reorder text, become `·`.
pub(super) fn harmless(text: &str) -> String {
    let is_control = |c: char| {
        c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    text.chars().map(|c| if is_control(c) { '·' } else { c }).collect()
}

/// As [`harmless`], but lines stay lines.
pub(super) fn harmless_lines(text: &str) -> String {
    text.split('\n').map(harmless).collect::<Vec<_>>().join("\n")
}

/// Writes a line.
pub(super) fn line(out: &mut dyn Write, text: &str) -> Result<(), EvidenceError> {
    writeln!(out, "{text}").map_err(|error| EvidenceError::Io {
        action: "write",
        path: "the output".into(),
        reason: error.to_string(),
    })
}

/// `1 record`, `2 records`.
pub(super) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
