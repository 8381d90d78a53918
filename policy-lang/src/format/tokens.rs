//! Tokens with what stands before them. The text has been parsed: nothing here can be malformed.

use crate::scanner::RawItem;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `when`, `request.ip`, `own.mrn`
    Word,
    String,
    /// Numbers, rates, days, addresses.
    Literal,
    Regex,
    /// `$.a[0]`
    Path,
    /// Brackets, commas, operators.
    Sign,
}

#[derive(Clone, Debug)]
pub(super) struct Comment<'t> {
    pub(super) text: &'t str,
    /// Nothing but white space before it on its line.
    pub(super) own_line: bool,
    /// An empty line before it.
    pub(super) blank: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    pub(super) text: &'t str,
    /// Comments between the token before and this one.
    pub(super) comments: Vec<Comment<'t>>,
    /// A line ends between the token before and this one.
    pub(super) newline: bool,
    /// An empty line right before it.
    pub(super) blank: bool,
}

/// The tokens of a file by item, and the comments behind the last.
#[derive(Debug, Default)]
pub(super) struct File<'t> {
    pub(super) items: Vec<Vec<Token<'t>>>,
    pub(super) end: Vec<Comment<'t>>,
}

impl<'t> File<'t> {
    /// Tokens without optional commas, and the words of all comments.
    pub(super) fn essence(&self) -> (Vec<&'t str>, Vec<&'t str>) {
        let tokens: Vec<&Token<'t>> = self.items.iter().flatten().collect();
        let is_optional = |index: usize| {
            tokens.get(index).is_some_and(|token| token.text == ",")
                && tokens.get(index + 1).is_some_and(|next| matches!(next.text, "}" | ")"))
        };
        let texts = tokens.iter().enumerate().filter(|(index, _)| !is_optional(*index)).map(|(_, token)| token.text);
        let comments = tokens.iter().flat_map(|token| &token.comments).chain(&self.end);
        (texts.collect(), comments.flat_map(|comment| comment.text.split_whitespace()).collect())
    }
}

pub(super) fn lex<'t>(text: &'t str, items: &[RawItem<'t>]) -> File<'t> {
    let mut lexer = Lexer { text, at: text.len() - text.trim_start_matches('\u{feff}').len(), any: false };
    let mut file = File::default();
    for item in items {
        let mut tokens = Vec::new();
        // In these the colon behind the name is no part of an address.
        let mut colon_due = matches!(item.word, "set" | "claim");
        loop {
            let (comments, newline, blank) = lexer.gap(item.span.end);
            if lexer.at >= item.span.end {
                // Comments never stand at the end of an item: its span ends with its last token.
                break;
            }
            let (kind, token) = lexer.token(colon_due);
            colon_due &= token != ":";
            tokens.push(Token { kind, text: token, comments, newline, blank });
        }
        file.items.push(tokens);
    }
    file.end = lexer.gap(text.len()).0;
    file
}

struct Lexer<'t> {
    text: &'t str,
    at: usize,
    /// Whether there was a token already: only behind one can a comment trail.
    any: bool,
}

impl<'t> Lexer<'t> {
    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    /// Comments up to the next token, whether a line ended in between, and whether an empty line stands right before the token.
    fn gap(&mut self, end: usize) -> (Vec<Comment<'t>>, bool, bool) {
        let mut comments = Vec::new();
        let (mut newlines, mut any_newline) = (0, false);
        while self.at < end {
            let rest = self.rest();
            let Some(first) = rest.chars().next() else {
                break;
            };
            if first.is_whitespace() {
                self.at += first.len_utf8();
                if first == '\n' {
                    newlines += 1;
                    any_newline = true;
                }
            } else if rest.starts_with("//") {
                let line = rest.split('\n').next().unwrap_or(rest);
                self.at += line.len();
                let own_line = any_newline || !self.any;
                comments.push(Comment { text: line.trim_end(), own_line, blank: newlines > 1 });
                newlines = 0;
            } else {
                break;
            }
        }
        (comments, any_newline, newlines > 1)
    }

    fn token(&mut self, colon_due: bool) -> (Kind, &'t str) {
        self.any = true;
        let rest = self.rest();
        let (kind, length) = measure(rest, colon_due);
        self.at += length;
        (kind, rest.get(..length).unwrap_or(rest))
    }
}

fn measure(rest: &str, colon_due: bool) -> (Kind, usize) {
    let first = rest.chars().next().unwrap_or(' ');
    match first {
        '"' => (Kind::String, delimited(rest, '"')),
        '~' => (Kind::String, 1 + delimited(rest.get(1..).unwrap_or(""), '"')),
        '/' => (Kind::Regex, delimited(rest, '/')),
        '$' => (Kind::Path, path(rest)),
        '0'..='9' | '-' => (Kind::Literal, literal(rest)),
        ':' if rest.starts_with("::") => (Kind::Literal, literal(rest)),
        c if c.is_ascii_alphabetic() || c == '_' => {
            let word = rest.find(|c: char| !is_word_char(c) && c != '.').unwrap_or(rest.len());
            let hex = rest.bytes().take_while(u8::is_ascii_hexdigit).count();
            match !colon_due && rest.get(hex..).is_some_and(|behind| behind.starts_with(':')) {
                true => (Kind::Literal, literal(rest)),
                false => (Kind::Word, word),
            }
        }
        c => {
            let two = ["==", "!=", "<=", ">="].iter().any(|sign| rest.starts_with(sign));
            (Kind::Sign, if two { 2 } else { c.len_utf8() })
        }
    }
}

fn is_word_char(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_' || c == '-'
}

/// Up to and with the closing delimiter.
fn delimited(rest: &str, delimiter: char) -> usize {
    let mut escaped = false;
    for (offset, c) in rest.char_indices().skip(1) {
        match c {
            c if c == delimiter && !escaped => return offset + c.len_utf8(),
            c => escaped = c == '\\' && !escaped,
        }
    }
    rest.len()
}

/// Numbers with units, rates, days, addresses and networks, JSON's fractions and exponents.
fn literal(rest: &str) -> usize {
    let bytes = rest.as_bytes();
    let is_alnum = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let belongs = match byte {
            b'-' => at == 0 || is_alnum(at + 1),
            b'+' | b'/' => is_alnum(at + 1),
            b'.' | b':' | b'_' => true,
            byte => byte.is_ascii_alphanumeric(),
        };
        if !belongs {
            break;
        }
        at += 1;
    }
    at
}

fn path(rest: &str) -> usize {
    let mut at = 1;
    while let Some(c) = rest.get(at..).and_then(|rest| rest.chars().next()) {
        match c {
            '[' => at += bracketed(rest.get(at..).unwrap_or("")),
            c if c == '.' || c == '*' || is_word_char(c) || !c.is_ascii() => at += c.len_utf8(),
            _ => break,
        }
    }
    at
}

fn bracketed(rest: &str) -> usize {
    let mut at = 1;
    while let Some(c) = rest.get(at..).and_then(|rest| rest.chars().next()) {
        match c {
            ']' => return at + 1,
            '"' | '\'' => at += delimited(rest.get(at..).unwrap_or(""), c),
            c => at += c.len_utf8(),
        }
    }
    rest.len()
}
