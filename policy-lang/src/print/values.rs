//! Values as a policy would write them.

use crate::program::{ClaimValue, JsonPath, PathSegment, StrSet};
use crate::scanner::is_forbidden;
use serde_json::Value;
use std::fmt;
use std::time::Duration;

impl fmt::Display for StrSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&set(self, false))
    }
}

impl fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => f.write_str(&grouped(*value)),
            Self::Str(text) => f.write_str(&quoted(text)),
            Self::List(entries) => {
                let entries: Vec<String> = entries.iter().map(|entry| quoted(entry)).collect();
                write!(f, "{{ {} }}", entries.join(", "))
            }
        }
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for segment in &self.segments {
            match segment {
                PathSegment::Key(key) if is_plain(key) => write!(f, ".{key}")?,
                PathSegment::Key(key) => write!(f, "[{}]", quoted(key))?,
                PathSegment::Index(index) => write!(f, "[{index}]")?,
                PathSegment::Wildcard => f.write_str("[*]")?,
            }
        }
        Ok(())
    }
}

/// Whether a name can stand behind a dot.
fn is_plain(key: &str) -> bool {
    let mut chars = key.chars();
    chars.next().is_some_and(|first| first == '_' || first.is_ascii_alphabetic() || !first.is_ascii())
        && chars.all(|c| c == '_' || c.is_ascii_alphanumeric() || !c.is_ascii())
}

/// A string of the language.
pub(crate) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if is_forbidden(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// `{ "a", ~"b*" }`; with `words`, entries that are words stand without quotes.
pub(super) fn set(entries: &StrSet, words: bool) -> String {
    let is_word = |text: &str| words && !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphabetic());
    let literals = entries.literals.iter().map(|text| match is_word(text) {
        true => text.clone(),
        false => quoted(text),
    });
    let globs = entries.globs.iter().map(|glob| format!("~{}", quoted(glob)));
    format!("{{ {} }}", literals.chain(globs).collect::<Vec<_>>().join(", "))
}

/// A regular expression between its slashes.
pub(super) fn regex(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 2);
    out.push('/');
    let mut chars = source.chars();
    while let Some(c) = chars.next() {
        match c {
            '/' => out.push_str("\\/"),
            '\\' => {
                out.push('\\');
                out.extend(chars.next());
            }
            c => out.push(c),
        }
    }
    out.push('/');
    out
}

/// A number with `_` between groups of three digits, from five digits on.
pub(super) fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut out = String::from(if value < 0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && digits.len() > 4 && (digits.len() - index).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

/// A number of bytes in the largest unit that divides it.
pub(super) fn bytes(value: i64) -> String {
    const UNITS: [(i64, &str); 6] =
        [(1 << 30, "GiB"), (1_000_000_000, "GB"), (1 << 20, "MiB"), (1_000_000, "MB"), (1 << 10, "KiB"), (1_000, "KB")];
    match UNITS.iter().find(|(size, _)| value != 0 && value % size == 0) {
        Some((size, unit)) => format!("{}{unit}", grouped(value / size)),
        None => grouped(value),
    }
}

/// A time in the largest unit that divides it.
pub(super) fn duration(time: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(365 * 86_400, "y"), (86_400, "d"), (3_600, "h"), (60, "m")];
    let seconds = time.as_secs();
    match UNITS.iter().find(|(size, _)| seconds != 0 && seconds.is_multiple_of(*size)) {
        Some((size, unit)) => format!("{}{unit}", seconds / size),
        None => format!("{seconds}s"),
    }
}

/// JSON on one line, with spaces within braces.
pub(super) fn json(value: &Value) -> String {
    match value {
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("{}: {}", json_string(name), json(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        Value::Array(entries) => format!("[{}]", entries.iter().map(json).collect::<Vec<_>>().join(", ")),
        Value::String(text) => json_string(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// As JSON escapes it, and what may not stand in a policy as a number.
fn json_string(text: &str) -> String {
    let mut out = String::new();
    for c in Value::from(text).to_string().chars() {
        match is_forbidden(c) {
            // None of these is beyond the first plane.
            true => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => out.push(c),
        }
    }
    out
}
