//! Tests of what is inside the request: headers, JSON, text.

use super::Lowerer;
use super::conditions::Lowered;
use super::sets::SetType;
use super::tests_on_fields::Test;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::REGEXES_MAX;
use crate::program::{Atom, CompareOp, JsonPath, JsonTest, Side, TextTest};
use crate::source::{Span, Spanned};
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
        let (negated, lowered) = match test.map(|test| &test.node) {
            Some(Predicate::Present(wanted)) => (!wanted, self.leaf(Atom::HeaderPresent(header))),
            Some(Predicate::Compare { op, value }) if op.node.op == CompareOp::Eq => {
                let set = self.one_text(SetType::Text, value)?;
                (op.node.negated, self.leaf(Atom::HeaderIn { name: header, set }))
            }
            Some(Predicate::In { negated, set }) => {
                let atom = |set| Atom::HeaderIn { name: header.clone(), set };
                (*negated, self.in_texts(span.file, SetType::Text, set, &atom)?)
            }
            _ => {
                return self.wrong_test(test, span, "a header: `is present`, `== \"…\"`, `in { … }`");
            }
        };
        Some(if negated { lowered.not() } else { lowered })
    }

    pub(super) fn json_test(&mut self, side: Side, path: &'s JsonPath, test: Test<'s>, span: Span) -> Option<Lowered> {
        let atom = |test: JsonTest| match side {
            Side::Request => Atom::Json { path: path.clone(), test },
            Side::Response => Atom::ResponseJson { path: path.clone(), test },
        };
        let (negated, lowered) = match test.map(|test| &test.node) {
            Some(Predicate::Present(wanted)) => {
                let present = match side {
                    Side::Request => Atom::JsonPresent(path.clone()),
                    Side::Response => Atom::ResponseJsonPresent(path.clone()),
                };
                (!wanted, self.leaf(present))
            }
            Some(Predicate::Compare { op, value }) => {
                let test = self.json_comparison(op, value)?;
                (op.node.negated, self.leaf(atom(test)))
            }
            Some(Predicate::In { negated, set }) => {
                let member = |set| atom(JsonTest::StrIn(set));
                (*negated, self.in_texts(span.file, SetType::Text, set, &member)?)
            }
            Some(text @ (Predicate::Matches(_) | Predicate::Contains(_) | Predicate::Finds(_))) => {
                (false, self.text_tests(span.file, text, &|test| atom(JsonTest::Text(test)))?)
            }
            None => {
                return self.wrong_test(
                    test,
                    span,
                    "a JSON value: `is present`, `== …`, `< 3`, `in { … }`, `matches /…/`, `contains \"…\"`",
                );
            }
        };
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

    /// `matches`, `contains`, `finds`: with several kinds of detectors, whether one of them finds something.
    pub(super) fn text_tests(
        &mut self,
        file: usize,
        test: &'s Predicate,
        atom: &dyn Fn(TextTest) -> Atom,
    ) -> Option<Lowered> {
        match test {
            Predicate::Matches(regex) => {
                let source = self.regex(regex)?;
                Some(self.leaf(atom(TextTest::Matches(source))))
            }
            Predicate::Contains(text) => {
                self.not_empty(text)?;
                Some(self.leaf(atom(TextTest::Contains(text.node.clone()))))
            }
            Predicate::Finds(names) => {
                let found = self.detectors(file, names)?;
                let mut tests: Vec<TextTest> = found.custom.into_iter().map(TextTest::FindsCustom).collect();
                if !found.built_in.is_empty() {
                    tests.push(TextTest::Finds(found.built_in));
                }
                let leaves = tests.into_iter().map(|test| self.leaf(atom(test))).collect();
                Some(Lowered::any(leaves))
            }
            Predicate::Compare { .. } | Predicate::In { .. } | Predicate::Present(_) => None,
        }
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
