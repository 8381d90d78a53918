//! The regular expressions of policies: Rust's syntax, linear time, and only what runs on a lazy DFA.
//!
//! Unicode word boundaries do not run on lazy DFAs, so `\b` means the ASCII one: [`normalize`] writes `\b` as `(?-u:\b)`, and the
//! program holds the rewritten source. All other classes (`\w`, `\d`, `.`) stay Unicode.

use crate::limits::{REGEX_AUTOMATON_BYTES_MAX, REGEX_BYTES_MAX, REGEX_NESTING_MAX};
use regex_automata::nfa::thompson;
use regex_syntax::ast::{self, AssertionKind, Ast, Visitor};
use regex_syntax::hir::Hir;

/// Why a regular expression cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegexError {
    /// It is not one, or uses what a linear-time engine cannot do.
    #[error("{message}")]
    Syntax {
        /// One line.
        message: String,
        /// Where in the source, in bytes.
        span: std::ops::Range<usize>,
    },
    /// Its source or its automaton is beyond the limit.
    #[error("{0}")]
    TooLarge(String),
}

/// Checks a source as the program holds it.
///
/// # Errors
/// A line that says why it cannot be used: not a regular expression, larger than the limits, a Unicode word boundary, or able to match
/// what is not UTF-8.
pub fn check(source: &str) -> Result<(), String> {
    compile(source).map(drop).map_err(|error| error.to_string())
}

/// Rewrites word boundaries to their ASCII form and checks the result.
///
/// # Errors
/// As [`check`], with the place.
pub fn normalize(source: &str) -> Result<String, RegexError> {
    if source.len() > REGEX_BYTES_MAX {
        return Err(RegexError::TooLarge(format!(
            "the regular expression has {} bytes, the limit is {REGEX_BYTES_MAX}",
            source.len()
        )));
    }
    let rewritten = ascii_word_boundaries(source, &parse(source)?);
    compile(&rewritten)?;
    Ok(rewritten)
}

/// Whether the expression matches the empty text somewhere: such a mask would find "nothing" between all characters. A source that
/// cannot be read counts as one.
#[must_use]
pub fn matches_empty(source: &str) -> bool {
    compile(source).is_ok_and(|hir| hir.properties().minimum_len() == Some(0))
}

fn parse(source: &str) -> Result<Ast, RegexError> {
    ast::parse::ParserBuilder::new()
        .nest_limit(REGEX_NESTING_MAX)
        .build()
        .parse(source)
        .map_err(|error| RegexError::Syntax { message: error.kind().to_string(), span: range(error.span()) })
}

/// To the intermediate form and once to an automaton, which shows whether it fits the bound.
fn compile(source: &str) -> Result<Hir, RegexError> {
    let ast = parse(source)?;
    let hir = regex_syntax::hir::translate::TranslatorBuilder::new()
        .utf8(true)
        .build()
        .translate(source, &ast)
        .map_err(|error| RegexError::Syntax { message: error.kind().to_string(), span: range(error.span()) })?;
    if hir.properties().look_set().contains_word_unicode() {
        return Err(RegexError::Syntax {
            message: r"Unicode word boundaries are not possible here, write (?-u:\b)".to_owned(),
            span: 0..source.len(),
        });
    }
    thompson::Compiler::new()
        .configure(thompson::Config::new().nfa_size_limit(Some(REGEX_AUTOMATON_BYTES_MAX)))
        .build_from_hir(&hir)
        .map_err(|_| {
            RegexError::TooLarge(format!(
                "the automaton of the regular expression needs more than {REGEX_AUTOMATON_BYTES_MAX} bytes"
            ))
        })?;
    Ok(hir)
}

fn ascii_word_boundaries(source: &str, ast: &Ast) -> String {
    let Ok(boundaries) = ast::visit(ast, WordBoundaries::default());
    let mut out = String::with_capacity(source.len() + boundaries.len() * 6);
    let mut copied = 0;
    for boundary in boundaries {
        out += source.get(copied..boundary.start).unwrap_or("");
        out += "(?-u:";
        out += source.get(boundary.clone()).unwrap_or("");
        out += ")";
        copied = boundary.end;
    }
    out += source.get(copied..).unwrap_or("");
    out
}

#[derive(Default)]
struct WordBoundaries {
    found: Vec<std::ops::Range<usize>>,
    /// How many groups around us switched Unicode off: `(?-u:\b)` stays as written.
    ascii_groups: usize,
}

impl Visitor for WordBoundaries {
    type Output = Vec<std::ops::Range<usize>>;
    type Err = std::convert::Infallible;

    fn finish(self) -> Result<Self::Output, Self::Err> {
        Ok(self.found)
    }

    fn visit_pre(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        match ast {
            Ast::Group(group) if is_ascii_group(group) => self.ascii_groups += 1,
            Ast::Assertion(assertion) if self.ascii_groups == 0 && is_word_boundary(&assertion.kind) => {
                self.found.push(range(&assertion.span));
            }
            _ => {}
        }
        Ok(())
    }

    fn visit_post(&mut self, ast: &Ast) -> Result<(), Self::Err> {
        if let Ast::Group(group) = ast
            && is_ascii_group(group)
        {
            self.ascii_groups -= 1;
        }
        Ok(())
    }
}

/// Exactly `(?-u:…)` around one assertion: the form that [`normalize`] writes, so that normalizing twice changes nothing.
fn is_ascii_group(group: &ast::Group) -> bool {
    matches!(&group.kind, ast::GroupKind::NonCapturing(flags)
        if flags.flag_state(ast::Flag::Unicode) == Some(false))
        && matches!(*group.ast, Ast::Assertion(_))
}

fn is_word_boundary(kind: &AssertionKind) -> bool {
    !matches!(
        kind,
        AssertionKind::StartLine | AssertionKind::EndLine | AssertionKind::StartText | AssertionKind::EndText
    )
}

fn range(span: &ast::Span) -> std::ops::Range<usize> {
    span.start.offset..span.end.offset
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn word_boundaries_become_ascii() {
        for (written, held) in [
            (r"\bweights\b", r"(?-u:\b)weights(?-u:\b)"),
            (r"a\Bb", r"a(?-u:\B)b"),
            (r"(?-u:\b)x", r"(?-u:\b)x"),
            (r"\\b", r"\\b"),
            (r"(?i)(a|\bé)", r"(?i)(a|(?-u:\b)é)"),
            (r"\b{start}x", r"(?-u:\b{start})x"),
        ] {
            let once = normalize(written).unwrap();
            assert_eq!(once, held);
            assert_eq!(normalize(&once).unwrap(), held);
            assert_eq!(check(&once), Ok(()));
        }
    }

    #[test]
    fn what_is_refused() {
        for source in [r"\bx", "(", r"(a)\1", "(?=x)", r"(?-u:\xff)", r"(?-u:.)"] {
            assert!(check(source).is_err(), "{source}");
        }
        assert!(matches!(normalize(r"(\w{100}){100}"), Err(RegexError::TooLarge(_))));
        assert!(matches!(normalize(&"x".repeat(REGEX_BYTES_MAX + 1)), Err(RegexError::TooLarge(_))));
        assert!(normalize(&"(".repeat(REGEX_BYTES_MAX)).is_err());
    }

    #[test]
    fn which_match_empty() {
        for (source, expected) in [("a*", true), ("a", false), ("", true), ("^", true), ("a|b?", true)] {
            assert_eq!(matches_empty(source), expected, "{source}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_settles(source in r"[ab\\()\[\]{}|*+?^$.:u,0-9-]{0,24}") {
            if let Ok(once) = normalize(&source) {
                prop_assert_eq!(normalize(&once).unwrap(), once.clone());
                prop_assert_eq!(check(&once), Ok(()));
            }
        }
    }
}
