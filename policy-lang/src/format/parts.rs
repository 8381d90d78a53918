//! Conditions, sets, lists and JSON.

use super::doc::{Doc, text, width};
use super::tokens::{Comment, Kind, Token};

/// What stands before a token where no comment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sep {
    None,
    Space,
    Line,
    SoftLine,
    /// A line of its own, an empty line before it if there was one.
    Hard,
    /// A line of its own, never an empty one before it.
    Tight,
}

/// The tokens of one item and the next to be laid out.
pub(super) struct Cursor<'f, 't> {
    tokens: &'f [Token<'t>],
    at: usize,
    /// Comments of the next token that have not been laid out, and of optional commas before it.
    comments: Vec<Comment<'t>>,
}

impl<'f, 't> Cursor<'f, 't> {
    pub(super) fn new(tokens: &'f [Token<'t>]) -> Self {
        let comments = tokens.first().map(|token| token.comments.clone()).unwrap_or_default();
        Self { tokens, at: 0, comments }
    }

    pub(super) fn is_done(&self) -> bool {
        self.at >= self.tokens.len()
    }

    pub(super) fn token(&self, ahead: usize) -> Option<&'f Token<'t>> {
        self.tokens.get(self.at + ahead)
    }

    pub(super) fn peek(&self) -> &'t str {
        self.token(0).map_or("", |token| token.text)
    }

    pub(super) fn tokens(&self) -> &'f [Token<'t>] {
        self.tokens
    }

    /// Where it is, for trying another layout.
    pub(super) fn mark(&self) -> (usize, Vec<Comment<'t>>) {
        (self.at, self.comments.clone())
    }

    pub(super) fn back_to(&mut self, (at, comments): (usize, Vec<Comment<'t>>)) {
        self.at = at;
        self.comments = comments;
    }

    /// What stands before the first token of a file.
    pub(super) fn lead_first(&mut self, out: &mut Vec<Doc>) {
        for (index, comment) in std::mem::take(&mut self.comments).into_iter().enumerate() {
            if index > 0 {
                out.push(if comment.blank { Doc::Blank } else { Doc::Hard });
            }
            out.push(text(comment.text));
        }
        if !out.is_empty() {
            out.push(if self.token(0).is_some_and(|token| token.blank) { Doc::Blank } else { Doc::Hard });
        }
    }

    /// What stands before the next token: its comments and the separator.
    pub(super) fn lead(&mut self, out: &mut Vec<Doc>, sep: Sep) {
        let mut sep = sep;
        let mut own_lines = false;
        for comment in std::mem::take(&mut self.comments) {
            own_lines |= comment.own_line;
            if !own_lines {
                out.push(Doc::Trailing(comment.text.to_owned()));
                if matches!(sep, Sep::Line | Sep::SoftLine) {
                    sep = Sep::Tight;
                }
                continue;
            }
            out.push(if comment.blank && sep == Sep::Hard { Doc::Blank } else { Doc::Hard });
            out.push(text(comment.text));
            if sep != Sep::Hard {
                sep = Sep::Tight;
            }
        }
        let blank = self.token(0).is_some_and(|token| token.blank);
        out.extend(match sep {
            Sep::None => None,
            Sep::Space => Some(Doc::Spaces(1)),
            Sep::Line => Some(Doc::Line),
            Sep::SoftLine => Some(Doc::SoftLine),
            Sep::Hard if blank => Some(Doc::Blank),
            Sep::Hard | Sep::Tight => Some(Doc::Hard),
        });
    }

    /// The next token itself.
    pub(super) fn take(&mut self, out: &mut Vec<Doc>) {
        if let Some(token) = self.token(0) {
            out.push(text(token.text));
            self.step();
        }
    }

    fn step(&mut self) {
        self.at += 1;
        if let Some(token) = self.token(0) {
            self.comments.extend(token.comments.iter().cloned());
        }
    }

    /// What stands before the next token, and the token.
    pub(super) fn next(&mut self, out: &mut Vec<Doc>, sep: Sep) {
        self.lead(out, sep);
        self.take(out);
    }

    /// The next token behind a space, filled up to a width.
    pub(super) fn padded(&mut self, out: &mut Vec<Doc>, to: usize) {
        let own = width(self.peek());
        self.next(out, Sep::Space);
        out.push(Doc::Spaces(to.saturating_sub(own)));
    }

    /// All tokens that are left, with spaces between them.
    pub(super) fn rest(&mut self, out: &mut Vec<Doc>) {
        while !self.is_done() {
            self.next(out, Sep::Space);
        }
    }

    /// A comma that may be left out: its comments go to what follows.
    fn skip_comma(&mut self) {
        if self.peek() == "," {
            self.step();
        }
    }

    // ---- conditions --------------------------------------------------------------------------

    /// `lead` has been called for its first token, as for all below.
    pub(super) fn condition(&mut self, out: &mut Vec<Doc>) {
        let mut inner = Vec::new();
        let mut first = Vec::new();
        self.all(&mut first);
        let several = self.peek() == "or";
        push_part(&mut inner, first, several);
        while self.peek() == "or" {
            self.next(&mut inner, Sep::Line);
            self.lead(&mut inner, Sep::Space);
            let mut part = Vec::new();
            self.all(&mut part);
            push_part(&mut inner, part, true);
        }
        out.push(Doc::Group(inner));
    }

    fn all(&mut self, out: &mut Vec<Doc>) {
        self.unary(out);
        while self.peek() == "and" {
            self.next(out, Sep::Line);
            self.lead(out, Sep::Space);
            self.unary(out);
        }
    }

    fn unary(&mut self, out: &mut Vec<Doc>) {
        while self.peek() == "not" {
            self.take(out);
            self.lead(out, Sep::Space);
        }
        match self.peek() {
            "(" => {
                let mut group = Vec::new();
                self.take(&mut group);
                let mut inner = Vec::new();
                self.lead(&mut inner, Sep::SoftLine);
                self.condition(&mut inner);
                group.push(Doc::Nest(inner));
                self.next(&mut group, Sep::SoftLine);
                out.push(Doc::Group(group));
            }
            _ => self.comparison(out),
        }
    }

    fn comparison(&mut self, out: &mut Vec<Doc>) {
        self.operand(out);
        match self.peek() {
            "==" | "!=" | "<" | "<=" | ">" | ">=" | "is" | "matches" | "contains" => {
                self.next(out, Sep::Space);
                self.next(out, Sep::Space);
            }
            "finds" => {
                self.next(out, Sep::Space);
                self.lead(out, Sep::Space);
                self.call(out);
            }
            "not" | "in" => {
                if self.peek() == "not" {
                    self.next(out, Sep::Space);
                }
                self.next(out, Sep::Space);
                self.lead(out, Sep::Space);
                match self.peek() {
                    "group" => self.call(out),
                    _ => self.set_expr(out),
                }
            }
            _ => {}
        }
    }

    /// A string, a field, a header or a value of a body.
    pub(super) fn operand(&mut self, out: &mut Vec<Doc>) {
        let is_header = self.peek() == "request.header";
        self.take(out);
        if is_header {
            for _ in 0..3 {
                self.next(out, Sep::None);
            }
        } else if self.token(0).is_some_and(|token| token.kind == Kind::Path) {
            self.next(out, Sep::Space);
        }
    }

    // ---- sets and lists ----------------------------------------------------------------------

    pub(super) fn set_expr(&mut self, out: &mut Vec<Doc>) {
        let mut inner = Vec::new();
        self.set_term(&mut inner);
        while matches!(self.peek(), "union" | "except") {
            let mut op = Vec::new();
            self.next(&mut op, Sep::Line);
            inner.push(Doc::Nest(op));
            self.lead(&mut inner, Sep::Space);
            self.set_term(&mut inner);
        }
        out.push(Doc::Group(inner));
    }

    fn set_term(&mut self, out: &mut Vec<Doc>) {
        match self.peek() {
            "{" => self.braces(out),
            _ => self.take(out),
        }
    }

    /// `{ … }`
    pub(super) fn braces(&mut self, out: &mut Vec<Doc>) {
        self.list(out, Sep::Line, Doc::IfBroken(","), Self::take);
    }

    /// `group(…)`, `detect(…)`
    pub(super) fn call(&mut self, out: &mut Vec<Doc>) {
        self.next(out, Sep::None);
        self.lead(out, Sep::None);
        self.list(out, Sep::SoftLine, Doc::IfBroken(","), |cursor, out| {
            let is_family = cursor.peek() == "family";
            cursor.take(out);
            if is_family {
                for _ in 0..3 {
                    cursor.next(out, Sep::None);
                }
            }
        });
    }

    /// Entries between brackets; with `within` inside the brackets. What was written with a line per entry stays so.
    fn list(&mut self, out: &mut Vec<Doc>, within: Sep, last_comma: Doc, entry: fn(&mut Self, &mut Vec<Doc>)) {
        let mut group = Vec::new();
        self.take(&mut group);
        let as_lines = within == Sep::Line && self.token(0).is_some_and(|token| token.newline);
        let mut inner = Vec::new();
        let mut sep = if as_lines { Sep::Tight } else { within };
        let mut empty = true;
        while !self.is_done() && !matches!(self.peek(), "}" | "]" | ")") {
            self.lead(&mut inner, sep);
            entry(self, &mut inner);
            empty = false;
            sep = Sep::Line;
            let closes = self.token(1).is_some_and(|next| matches!(next.text, "}" | "]" | ")"));
            match closes {
                true => self.skip_comma(),
                false if self.peek() == "," => {
                    self.step();
                    inner.push(text(","));
                }
                false => {}
            }
        }
        group.push(Doc::Nest(inner));
        if !empty {
            group.push(last_comma);
        }
        self.next(&mut group, if empty { Sep::None } else { within });
        out.push(Doc::Group(group));
    }

    // ---- JSON --------------------------------------------------------------------------------

    pub(super) fn json(&mut self, out: &mut Vec<Doc>) {
        match self.peek() {
            "{" => self.list(out, Sep::Line, Doc::Spaces(0), |cursor, out| {
                cursor.take(out);
                cursor.next(out, Sep::None);
                cursor.lead(out, Sep::Space);
                cursor.json(out);
            }),
            "[" => {
                let as_lines = self.token(1).is_some_and(|token| token.newline);
                let within = if as_lines { Sep::Tight } else { Sep::SoftLine };
                self.list(out, within, Doc::Spaces(0), Self::json);
            }
            _ => self.take(out),
        }
    }
}

/// One side of an `or`: its own `and`s stand one level further in when they are broken.
fn push_part(out: &mut Vec<Doc>, part: Vec<Doc>, several: bool) {
    match several {
        true => out.push(Doc::Group(vec![Doc::Nest(part)])),
        false => out.extend(part),
    }
}
