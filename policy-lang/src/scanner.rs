//! Cuts a file into items before anything is parsed, so that a mistake in one item says nothing about the others, and so that no
//! nesting reaches the recursive parser unchecked.
//!
//! The scanner knows strings, regular expressions, comments and brackets; nothing else of the language.

use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Patch};
use crate::limits::{NESTING_MAX, STRING_BYTES_MAX};
use crate::source::Span;

/// The words that begin an item.
const ITEM_WORDS: [&str; 9] = ["policy", "set", "let", "rule", "import", "claim", "detector", "invariant", "test"];
/// After these an item word is a name: `rule test.x { … }`.
const NAME_FOLLOWS: [&str; 6] = ["rule", "set", "let", "claim", "detector", "as"];
/// Items that end with their closing brace. Sets do not: `union { … }` may follow.
const BRACED_ITEMS: [&str; 3] = ["rule", "invariant", "test"];

/// One item: its place, and the word it begins with (empty if it begins with none).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawItem<'t> {
    pub(crate) word: &'t str,
    pub(crate) span: Span,
    /// The scanner has already reported a mistake in it: parsing it would only repeat that.
    pub(crate) broken: bool,
}

/// Cuts the text of a file into its items.
pub(crate) fn scan<'t>(file: usize, text: &'t str, errors: &mut Vec<Diagnostic>) -> Vec<RawItem<'t>> {
    let mut scanner = Scanner {
        file,
        text,
        at: text.len() - text.trim_start_matches('\u{feff}').len(),
        items: Vec::new(),
        open: Vec::new(),
        previous: "",
        item: None,
        errors,
    };
    while scanner.at < text.len() {
        scanner.step();
    }
    scanner.finish_item(text.len());
    scanner.items
}

struct Scanner<'t, 'e> {
    file: usize,
    text: &'t str,
    at: usize,
    items: Vec<RawItem<'t>>,
    /// Open brackets of the current item and where they stand.
    open: Vec<(char, usize)>,
    /// The word or character before this place, for telling a regular expression from a slash.
    previous: &'t str,
    /// Word, start and brokenness of the current item; its end so far is `end`.
    item: Option<CurrentItem<'t>>,
    errors: &'e mut Vec<Diagnostic>,
}

struct CurrentItem<'t> {
    word: &'t str,
    start: usize,
    end: usize,
    broken: bool,
    too_deep: bool,
}

impl<'t> Scanner<'t, '_> {
    /// Takes one token, comment or run of white space.
    fn step(&mut self) {
        let rest = self.text.get(self.at..).unwrap_or("");
        let Some(first) = rest.chars().next() else {
            self.at = self.text.len();
            return;
        };
        if first.is_whitespace() {
            self.at += first.len_utf8();
        } else if rest.starts_with("//") {
            self.forbidden_characters(line_of(rest));
            self.at += line_of(rest).len();
        } else if is_word_start(first) {
            let word = word_of(rest);
            self.word(word);
            self.take(word);
        } else if first == '"' {
            self.literal('"', Code::OpenString, "this string does not end on its line");
        } else if first == '\'' && self.previous == "[" {
            self.literal('\'', Code::OpenString, "this name does not end on its line");
        } else if first == '/' && self.regex_may_start() {
            self.literal('/', Code::OpenRegex, "this regular expression does not end on its line");
        } else {
            let character = rest.get(..first.len_utf8()).unwrap_or("");
            self.forbidden_characters(character);
            self.begin_if_none("");
            match first {
                '(' | '[' | '{' => self.open_bracket(first),
                ')' | ']' | '}' => return self.close_bracket(first, character),
                _ => {}
            }
            self.take(character);
        }
    }

    /// An item begins with an item word outside all brackets, or, when a bracket was never closed, at the start of a line.
    fn word(&mut self, word: &'t str) {
        let continues_path = matches!(self.previous, "." | "$") && self.touches_previous();
        let is_name = NAME_FOLLOWS.contains(&self.previous);
        let at_line_start = self.at == 0 || self.text.as_bytes().get(self.at - 1) == Some(&b'\n');
        let begins_item =
            ITEM_WORDS.contains(&word) && !continues_path && !is_name && (self.open.is_empty() || at_line_start);
        // A header has one line: what follows it is an item, even if its first word is misspelt.
        let follows_header =
            at_line_start && word != "version" && self.item.as_ref().is_some_and(|item| item.word == "policy");
        if begins_item || follows_header {
            self.finish_item(self.at);
            self.begin(word);
            return;
        }
        self.begin_if_none(word);
    }

    fn touches_previous(&self) -> bool {
        self.item.as_ref().is_some_and(|item| item.end == self.at)
    }

    /// A slash begins a regular expression unless it continues a network (`10.0.0.0/8`) or a rate (`5/s`).
    fn regex_may_start(&self) -> bool {
        !(self.touches_previous() && self.previous.ends_with(|c: char| c.is_ascii_alphanumeric() || c == ':'))
    }

    fn literal(&mut self, delimiter: char, code: Code, complaint: &str) {
        self.begin_if_none("");
        let rest = self.text.get(self.at..).unwrap_or("");
        let mut escaped = false;
        let mut closed = false;
        // To the closing delimiter or the end of the line, whichever comes first, and not a byte further: lines may be long.
        let end = rest.char_indices().skip(1).find_map(|(offset, c)| {
            closed = c == delimiter && !escaped;
            escaped = c == '\\' && !escaped;
            match c {
                '\n' => Some(offset),
                _ => closed.then_some(offset + c.len_utf8()),
            }
        });
        let literal = rest.get(..end.unwrap_or(rest.len())).unwrap_or(rest);
        self.forbidden_characters(literal);
        if !closed {
            self.fail(
                Diagnostic::error(code, complaint)
                    .label(self.span(self.at, self.at + literal.trim_end().len()), "begins here"),
            );
        } else if literal.len() > STRING_BYTES_MAX + 2 {
            self.fail(
                Diagnostic::error(
                    Code::StringTooLong,
                    format!("this text has {} bytes, the limit is {STRING_BYTES_MAX}", literal.len() - 2),
                )
                .label(self.span(self.at, self.at + literal.len()), ""),
            );
        }
        self.take(literal);
    }

    fn open_bracket(&mut self, bracket: char) {
        self.open.push((bracket, self.at));
        let report = self.open.len() > NESTING_MAX
            && self.item.as_mut().is_some_and(|item| !std::mem::replace(&mut item.too_deep, true));
        if report {
            self.fail(
                Diagnostic::error(Code::NestingTooDeep, format!("brackets are nested more than {NESTING_MAX} deep"))
                    .label(self.span(self.at, self.at + 1), "one too many")
                    .help("give the inner parts names with `let`"),
            );
        }
    }

    fn close_bracket(&mut self, bracket: char, character: &'t str) {
        let wanted = match bracket {
            ')' => '(',
            ']' => '[',
            _ => '{',
        };
        match self.open.last().copied() {
            Some((open, _)) if open == wanted => {
                self.open.pop();
            }
            other => {
                let mut error = Diagnostic::error(Code::StrayBracket, format!("this `{bracket}` closes nothing"))
                    .label(self.span(self.at, self.at + 1), "");
                if let Some((open, at)) = other {
                    error = error.label(self.span(at, at + 1), format!("`{open}` is still open"));
                    // A wrong bracket most likely stands for the right one.
                    self.open.pop();
                }
                self.fail(error);
            }
        }
        self.take(character);
        let ends_item = self.open.is_empty()
            && self.item.as_ref().is_some_and(|item| BRACED_ITEMS.contains(&item.word) || item.broken);
        if ends_item && bracket == '}' {
            self.finish_item(self.at);
        }
    }

    /// Text that shows other than it reads has no place in a policy (CVE-2021-42574).
    fn forbidden_characters(&mut self, text: &str) {
        for (offset, c) in text.char_indices() {
            if is_forbidden(c) {
                let at = self.at + offset;
                self.fail(
                    Diagnostic::error(
                        Code::ForbiddenCharacter,
                        format!("the character U+{:04X} hides or reorders text", u32::from(c)),
                    )
                    .label(self.span(at, at + c.len_utf8()), "")
                    .help("remove it, or in a string write it as \\u{…}"),
                );
                return;
            }
        }
    }

    fn take(&mut self, token: &'t str) {
        self.at += token.len();
        self.previous = token;
        if let Some(item) = &mut self.item {
            item.end = self.at;
        }
    }

    fn begin(&mut self, word: &'t str) {
        self.item = Some(CurrentItem { word, start: self.at, end: self.at, broken: false, too_deep: false });
    }

    fn begin_if_none(&mut self, word: &'t str) {
        if self.item.is_none() {
            self.begin(word);
        }
    }

    fn fail(&mut self, error: Diagnostic) {
        self.errors.push(error);
        if let Some(item) = &mut self.item {
            item.broken = true;
        }
    }

    fn finish_item(&mut self, end: usize) {
        let unclosed = self.open.first().copied();
        if let Some((bracket, at)) = unclosed
            && !self.item.as_ref().is_some_and(|item| item.broken)
        {
            let mut error = Diagnostic::error(Code::OpenBracket, format!("this `{bracket}` is never closed"))
                .label(self.span(at, at + 1), "opened here");
            // Where only the outermost brace is open, it is clear what is missing and where.
            if bracket == '{' && self.open.len() == 1 {
                let last = self.item.as_ref().map_or(end, |item| item.end);
                let starts_line = self.text.get(at..last).is_some_and(|inside| inside.contains('\n'));
                error = error.help("put `}` where the item ends").patch(Patch::insert(
                    self.file,
                    last,
                    if starts_line { "\n}" } else { " }" },
                ));
            }
            if let Some((inner, at)) = self.open.last().filter(|(inner, _)| *inner != bracket) {
                error = error.label(self.span(*at, *at + 1), format!("`{inner}` is open as well"));
            }
            self.fail(match end < self.text.len() {
                true => error.label(self.span(end, end + 1), "the next item begins here"),
                false => error,
            });
        }
        self.open.clear();
        if let Some(item) = self.item.take() {
            self.items.push(RawItem { word: item.word, span: self.span(item.start, item.end), broken: item.broken });
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span { file: self.file, start, end }
    }
}

/// Whether a character hides or reorders text.
pub(crate) fn is_forbidden(c: char) -> bool {
    let reorders = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let hidden = matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}');
    reorders || hidden || (c.is_control() && !c.is_whitespace())
}

fn line_of(text: &str) -> &str {
    text.split('\n').next().unwrap_or(text)
}

fn word_of(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(text.len());
    text.get(..end).unwrap_or(text)
}

fn is_word_start(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> (Vec<String>, Vec<&'static str>) {
        let mut errors = Vec::new();
        let items = scan(0, text, &mut errors);
        (
            items.iter().map(|i| text.get(i.span.range()).unwrap_or("?").to_owned()).collect(),
            errors.iter().map(|e| e.code).collect(),
        )
    }

    #[test]
    fn items_end_where_they_end() {
        let (items, errors) = cut(concat!(
            "/// doc with rule x { and \"\n policy \"a } b\" version 1\n",
            "set s : model = { \"}\" } let c = request.text matches /\\/{2}[\"]/ and $.rule.set == 1\n",
            "rule a.rule-b { deny \"// no comment\" } // } rule\nrule b { when request.ip in { 10.0.0.0/8 } allow }",
        ));
        assert_eq!(errors, Vec::<&str>::new());
        assert_eq!(
            items,
            [
                "policy \"a } b\" version 1",
                "set s : model = { \"}\" }",
                "let c = request.text matches /\\/{2}[\"]/ and $.rule.set == 1",
                "rule a.rule-b { deny \"// no comment\" }",
                "rule b { when request.ip in { 10.0.0.0/8 } allow }",
            ]
        );
    }

    #[test]
    fn an_unclosed_brace_spoils_one_item_only() {
        let (items, errors) = cut("rule a { when ( allow }\nrule b { allow }\nrule c {\nrule d { allow }");
        assert_eq!(errors, ["SP0109", "SP0108"]);
        assert_eq!(items.len(), 4);
    }

    #[test]
    fn deep_nesting_is_one_error() {
        let (_, errors) = cut(&format!("let a = {}", "(".repeat(200_000)));
        assert_eq!(errors, ["SP0110"]);
    }
}
