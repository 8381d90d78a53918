//! Tests of what is inside the request: headers, JSON, text.

use super::Lowerer;
use super::conditions::Lowered;
use super::sets::SetType;
use super::tests_on_fields::Test;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::REGEXES_MAX;
use crate::program::{Atom, CompareOp, JsonPath, JsonTest, TextTest};
use crate::schema::DETECTORS;
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;
use crate::syntax::{Number, Op, Predicate, Text, Value};

impl<'s> Lowerer<'s, '_> {
    pub(super) fn header_test(&mut self, name: &'s Text, test: Test<'s>, span: Span) -> Option<Lowered> {
        // RFC 9110 section 5.6.2: a token.
        let is_token = !name.node.is_empty()
            && name.node.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
        if !is_token {
            self.error(
                Diagnostic::error(Code::OutOfRange, format!("no header is ever called `{}`", name.node))
                    .label(name.span, ""),
            );
            return None;
        }
        let header = name.node.to_ascii_lowercase();
        let (negated, atom) = match test.map(|test| &test.node) {
            Some(Predicate::Present(wanted)) => (!wanted, Atom::HeaderPresent(header)),
            Some(Predicate::Compare { op, value }) if op.node.op == CompareOp::Eq => {
                let set = self.one_text(SetType::Text, value)?;
                (op.node.negated, Atom::HeaderIn { name: header, set })
            }
            Some(Predicate::In { negated, set }) => {
                let set = self.text_set(span.file, SetType::Text, set)?;
                (*negated, Atom::HeaderIn { name: header, set })
            }
            _ => {
                return self.wrong_test(test, span, "a header: `is present`, `== \"…\"`, `in { … }`");
            }
        };
        let lowered = self.leaf(atom);
        Some(if negated { lowered.not() } else { lowered })
    }

    pub(super) fn json_test(&mut self, path: &'s JsonPath, test: Test<'s>, span: Span) -> Option<Lowered> {
        let (negated, wanted) = match test.map(|test| &test.node) {
            Some(Predicate::Present(wanted)) => {
                let lowered = self.leaf(Atom::JsonPresent(path.clone()));
                return Some(if *wanted { lowered } else { lowered.not() });
            }
            Some(Predicate::Compare { op, value }) => (op.node.negated, self.json_comparison(op, value)?),
            Some(Predicate::In { negated, set }) => {
                (*negated, JsonTest::StrIn(self.text_set(span.file, SetType::Text, set)?))
            }
            Some(text @ (Predicate::Matches(_) | Predicate::Contains(_) | Predicate::Finds(_))) => {
                (false, JsonTest::Text(self.text_test(text)?))
            }
            None => {
                return self.wrong_test(
                    test,
                    span,
                    "a JSON value: `is present`, `== …`, `< 3`, `in { … }`, `matches /…/`, `contains \"…\"`",
                );
            }
        };
        let lowered = self.leaf(Atom::Json { path: path.clone(), test: wanted });
        Some(if negated { lowered.not() } else { lowered })
    }

    fn json_comparison(&mut self, op: &Spanned<Op>, value: &'s Spanned<Value>) -> Option<JsonTest> {
        if let Value::Number(Number { value, .. }) = &value.node {
            return Some(JsonTest::Int { op: op.node.op, value: *value });
        }
        if op.node.op != CompareOp::Eq {
            self.error(
                Diagnostic::error(Code::WrongTest, "only numbers are smaller or larger")
                    .label(op.span, "")
                    .label(value.span, "this is not a number"),
            );
            return None;
        }
        match &value.node {
            Value::Word(word) if matches!(word.as_str(), "true" | "false") => Some(JsonTest::Bool(word == "true")),
            _ => Some(JsonTest::StrIn(self.one_text(SetType::Text, value)?)),
        }
    }

    pub(super) fn text_test(&mut self, test: &'s Predicate) -> Option<TextTest> {
        match test {
            Predicate::Matches(regex) => Some(TextTest::Matches(self.regex(regex)?)),
            Predicate::Contains(text) => {
                self.not_empty(text)?;
                Some(TextTest::Contains(text.node.clone()))
            }
            Predicate::Finds(names) => Some(TextTest::Finds(self.detectors(names)?)),
            Predicate::Compare { .. } | Predicate::In { .. } | Predicate::Present(_) => None,
        }
    }

    /// Known names, sorted, each once.
    pub(super) fn detectors(&mut self, names: &'s [Text]) -> Option<Vec<String>> {
        let mut sound = true;
        for name in names {
            let known = || DETECTORS.iter().map(|(known, _, _)| *known);
            if !known().any(|known| known == name.node) {
                sound = false;
                let list = || format!("the detectors are {}", known().collect::<Vec<_>>().join(", "));
                self.error(
                    Diagnostic::error(Code::UnknownDetector, format!("there is no detector `{}`", name.node))
                        .label(name.span, "")
                        .help(did_you_mean(&name.node, known()).unwrap_or_else(list)),
                );
            }
        }
        let mut names: Vec<String> = names.iter().map(|name| name.node.clone()).collect();
        names.sort_unstable();
        names.dedup();
        sound.then_some(names)
    }

    /// The source as the program holds it.
    pub(super) fn regex(&mut self, written: &Text) -> Option<String> {
        use crate::regex::RegexError;
        self.regexes += 1;
        if self.regexes > REGEXES_MAX {
            if self.regexes == REGEXES_MAX + 1 {
                self.error(
                    Diagnostic::error(
                        Code::TooManyRegexes,
                        format!("the set has more than {REGEXES_MAX} regular expressions"),
                    )
                    .label(written.span, "with this one")
                    .help("join them with `|`"),
                );
            }
            return None;
        }
        let error = match crate::regex::normalize(&written.node) {
            Ok(source) => return Some(source),
            Err(error) => error,
        };
        let (code, at) = match &error {
            // Behind the slash that begins it; escaped slashes shift the rest, then the whole is shown.
            RegexError::Syntax { span, .. } if written.node.len() + 2 == written.span.end - written.span.start => {
                let start = written.span.start + 1;
                (Code::BadRegex, Span { start: start + span.start, end: start + span.end, ..written.span })
            }
            RegexError::Syntax { .. } => (Code::BadRegex, written.span),
            RegexError::TooLarge(_) => (Code::RegexTooLarge, written.span),
        };
        self.error(Diagnostic::error(code, error.to_string()).label(at, ""));
        None
    }
}
