//! Single values: texts, globs and addresses, checked for what they are compared with.

use super::Lowerer;
use super::sets::SetType;
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Patch};
use crate::source::{Span, Spanned};
use crate::syntax::Value;
use ipnet::IpNet;

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

impl Lowerer<'_, '_> {
    /// Words that stand for themselves: methods and kinds of caller.
    pub(super) fn is_word_value(&self, kind: SetType, word: &str) -> bool {
        match kind {
            SetType::Method => word.bytes().all(|b| b.is_ascii_uppercase()),
            SetType::Kind => matches!(word, "user" | "service"),
            SetType::Weekday => WEEKDAYS.contains(&word),
            _ => false,
        }
    }

    /// A network or an address, also as a string.
    pub(super) fn address(&mut self, value: &Spanned<Value>) -> Option<IpNet> {
        let parsed = match &value.node {
            Value::Address(net) => return Some(*net),
            Value::String(text) => crate::parse::network(text, value.span),
            _ => {
                self.error(
                    Diagnostic::error(Code::BadAddress, "an address or network was expected here")
                        .label(value.span, "")
                        .help("such as 10.0.0.0/8, 192.0.2.7 or 2001:db8::/32"),
                );
                return None;
            }
        };
        parsed.map_err(|error| self.error(*error)).ok()
    }

    /// One text or glob, checked for what it is compared with.
    pub(super) fn text_value(&mut self, kind: SetType, value: &Value, span: Span) -> Option<(String, bool)> {
        let (text, is_glob) = match value {
            Value::String(text) => (text, false),
            Value::Glob(glob) => (glob, true),
            Value::Word(word) if self.is_word_value(kind, word) => (word, false),
            Value::Word(word) => {
                let names: &[&str] = match kind {
                    SetType::Method => &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"],
                    SetType::Kind => &["user", "service"],
                    SetType::Weekday => &WEEKDAYS,
                    _ => &[],
                };
                let quoted = format!("\"{word}\"");
                let mut error = Diagnostic::error(Code::WrongTest, format!("`{word}` is not a text"))
                    .label(span, "")
                    .help(format!("text stands in quotes: {quoted}"));
                if names.is_empty() {
                    error = error.patch(Patch::replace(span, quoted));
                }
                self.error(error.suggest(word, span, names.iter().copied()));
                return None;
            }
            Value::Number(_) | Value::Address(_) | Value::Date(_) => {
                self.error(
                    Diagnostic::error(Code::WrongTest, "a text was expected here")
                        .label(span, "")
                        .help("text stands in quotes"),
                );
                return None;
            }
        };
        self.sensible(kind, text, is_glob, span)?;
        Some((text.clone(), is_glob))
    }

    fn sensible(&mut self, kind: SetType, text: &str, is_glob: bool, span: Span) -> Option<()> {
        let possible = match kind {
            SetType::Endpoint => text.starts_with('/') || (is_glob && text.starts_with(['*', '?'])),
            SetType::Method => is_glob || text.bytes().all(|b| b.is_ascii_uppercase()),
            SetType::Kind => is_glob || matches!(text, "user" | "service"),
            SetType::Weekday => is_glob || WEEKDAYS.contains(&text),
            _ => true,
        };
        if text.is_empty() && kind != SetType::Text {
            self.error(
                Diagnostic::error(Code::EmptyComparison, "what is absent reads as empty text, which is in no set")
                    .label(span, "")
                    .help("ask with `is absent`"),
            );
            return None;
        }
        if !possible {
            let help = match kind {
                SetType::Endpoint => "endpoints are paths such as \"/v1/chat/completions\"",
                SetType::Method => "methods are upper case, such as DELETE",
                SetType::Weekday => "the days are mon, tue, wed, thu, fri, sat and sun",
                _ => "the kinds are user and service",
            };
            self.error(
                Diagnostic::error(Code::OutOfRange, format!("nothing is ever called `{text}` here"))
                    .label(span, "")
                    .help(help),
            );
            return None;
        }
        if !is_glob && kind != SetType::Text && text.contains('*') {
            self.warnings.push(
                Diagnostic::warning(Code::LooksLikeGlob, "`*` stands for itself in a plain string")
                    .label(span, "")
                    .help(format!("for any run of characters write a glob: ~\"{text}\""))
                    .patch(Patch::insert(span.file, span.start, "~")),
            );
        }
        Some(())
    }
}
