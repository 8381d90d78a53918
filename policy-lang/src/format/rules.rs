//! What stands in braces: clauses of rules, promises of invariants, statements of tests.

use super::WIDTH;
use super::doc::{Doc, one_line, text, width};
use super::parts::{Cursor, Sep};
use super::tokens::{Kind, Token};

/// Between the clauses of a rule on one line.
const CLAUSE_GAP: usize = 3;

/// Widths that the statements of a body share.
#[derive(Clone, Copy)]
struct Columns {
    word: usize,
    second: usize,
}

type Statement<'f, 't> = fn(&mut Cursor<'f, 't>, &mut Vec<Doc>, Columns);

impl<'f, 't> Cursor<'f, 't> {
    pub(super) fn rule(&mut self, out: &mut Vec<Doc>) {
        let words = clause_words(self.tokens());
        let word = words.iter().filter(|(_, argued)| *argued).map(|(word, _)| width(word)).max().unwrap_or(0);
        self.take(out);
        while !self.is_done() && self.peek() != "{" {
            self.next(out, Sep::Space);
        }
        self.body(out, Columns { word, second: second(self.tokens(), "limit", &["requests", "tokens"]) }, Self::clause);
    }

    pub(super) fn invariant(&mut self, out: &mut Vec<Doc>) {
        self.take(out);
        self.next(out, Sep::Space);
        self.body(out, Columns { word: 0, second: 0 }, |cursor, out, _| {
            cursor.take(out);
            cursor.next(out, Sep::Space);
            cursor.next(out, Sep::Space);
            let mut inner = Vec::new();
            cursor.lead(out, Sep::Space);
            cursor.condition(&mut inner);
            out.push(Doc::Align(inner));
        });
    }

    pub(super) fn test(&mut self, out: &mut Vec<Doc>) {
        self.take(out);
        self.next(out, Sep::Space);
        let both = ["given", "expect"].iter().all(|word| self.tokens().iter().any(|token| token.text == *word));
        let word = if both { width("expect") } else { 0 };
        let second = second(self.tokens(), "given", &["identity", "request", "response", "time", "env"]);
        self.body(out, Columns { word, second }, Self::statement);
    }

    /// `{ … }`: on one line if it was written so and fits.
    fn body(&mut self, out: &mut Vec<Doc>, columns: Columns, statement: Statement<'f, 't>) {
        self.next(out, Sep::Space);
        let written_flat = self.tokens().iter().skip(1).all(|token| !token.newline && token.comments.is_empty());
        let start = self.mark();
        if written_flat {
            let mut flat = vec![Doc::Spaces(1)];
            while !self.is_done() && self.peek() != "}" {
                if flat.len() > 1 {
                    flat.push(Doc::Spaces(CLAUSE_GAP));
                }
                self.lead(&mut flat, Sep::None);
                statement(self, &mut flat, Columns { word: 0, second: 0 });
            }
            self.next(&mut flat, Sep::Space);
            let head = out.iter().rposition(|doc| matches!(doc, Doc::Hard | Doc::Blank)).map_or(0, |at| at + 1);
            let line = out.get(head..).and_then(one_line).zip(one_line(&flat));
            if let Some((head, body)) = line
                && width(&head) + width(&body) <= WIDTH
            {
                out.push(Doc::Text(body));
                return;
            }
            self.back_to(start);
        }
        let mut inner = Vec::new();
        let mut sep = Sep::Tight;
        while !self.is_done() && self.peek() != "}" {
            self.lead(&mut inner, sep);
            statement(self, &mut inner, columns);
            sep = Sep::Hard;
        }
        // Comments before the closing brace belong to what is inside.
        let mut close = Vec::new();
        self.lead(&mut close, Sep::None);
        while matches!(close.last(), Some(Doc::Hard)) {
            close.pop();
        }
        inner.extend(close);
        out.push(Doc::Nest(inner));
        out.push(Doc::Hard);
        self.take(out);
    }

    fn clause(&mut self, out: &mut Vec<Doc>, columns: Columns) {
        let word = self.peek();
        self.take(out);
        let mut inner = Vec::new();
        let argued = has_arguments(word, self.token(0));
        if argued {
            out.push(Doc::Spaces(columns.word.saturating_sub(width(word))));
            // The argument column begins behind the space that `lead` puts.
            self.lead(out, Sep::Space);
            self.arguments(word, &mut inner, columns);
            out.push(Doc::Align(vec![Doc::Group(inner)]));
        }
    }

    /// What follows the word of a clause; `lead` has been called.
    fn arguments(&mut self, word: &str, out: &mut Vec<Doc>, columns: Columns) {
        match word {
            "when" => self.condition(out),
            "unless" => {
                self.condition(out);
                self.pairs(out, &["until"]);
            }
            "deny" => {
                self.take(out);
                self.pairs(out, &["status", "hold"]);
            }
            "alert" => {
                self.take(out);
                self.pairs(out, &["severity"]);
            }
            "purpose" => {
                self.take(out);
                self.pairs(out, &["basis"]);
            }
            "risk" => {
                self.take(out);
                if self.token(0).is_some_and(|token| token.kind == Kind::String) {
                    self.next(out, Sep::Space);
                }
            }
            "mask" | "drop" => self.mask(out),
            "record" | "retain" => {
                self.take(out);
                self.next(out, Sep::Space);
                self.next(out, Sep::Space);
            }
            "limit" => self.limit(out, columns),
            "require" => self.require(out),
            // `allow until …`, `seal …`
            "allow" => {
                self.take(out);
                self.next(out, Sep::Space);
            }
            _ => self.take(out),
        }
    }

    /// Words with one value each; `hold` has none.
    fn pairs(&mut self, out: &mut Vec<Doc>, words: &[&str]) {
        while words.contains(&self.peek()) {
            let alone = self.peek() == "hold";
            let mut pair = Vec::new();
            self.next(&mut pair, Sep::Line);
            if !alone {
                self.next(&mut pair, Sep::Space);
            }
            out.push(Doc::Group(pair));
        }
    }

    fn mask(&mut self, out: &mut Vec<Doc>) {
        if self.peek() == "record" {
            self.take(out);
            self.lead(out, Sep::Space);
        }
        self.take(out);
        self.next(out, Sep::Space);
        if self.peek() == "with" {
            self.next(out, Sep::Line);
            self.lead(out, Sep::Space);
            self.matcher(out);
            while self.peek() == "," {
                self.next(out, Sep::None);
                self.lead(out, Sep::Space);
                self.matcher(out);
            }
        }
        self.pairs(out, &["as"]);
    }

    fn matcher(&mut self, out: &mut Vec<Doc>) {
        match self.peek() {
            "detect" => self.call(out),
            _ => self.take(out),
        }
    }

    fn limit(&mut self, out: &mut Vec<Doc>, columns: Columns) {
        let kind = self.peek();
        self.take(out);
        if !matches!(kind, "requests" | "tokens") {
            // `limit FIELD to N`
            self.next(out, Sep::Space);
            self.next(out, Sep::Space);
            return;
        }
        out.push(Doc::Spaces(columns.second.saturating_sub(width(kind))));
        self.next(out, Sep::Space);
        if self.peek() == "per" {
            self.next(out, Sep::Line);
            self.lead(out, Sep::Space);
            self.operand(out);
            while self.peek() == "," {
                self.next(out, Sep::None);
                self.lead(out, Sep::Space);
                self.operand(out);
            }
        }
        self.pairs(out, &["burst"]);
    }

    fn require(&mut self, out: &mut Vec<Doc>) {
        let what = self.peek();
        self.take(out);
        self.next(out, Sep::Space);
        self.lead(out, Sep::Space);
        if what != "purpose" {
            self.call(out);
            self.pairs(out, &["by", "within", "valid", "for"]);
            return;
        }
        self.set_expr(out);
        if self.peek() == "with" {
            self.next(out, Sep::Line);
            self.next(out, Sep::Space);
            self.next(out, Sep::Space);
            self.lead(out, Sep::Space);
            self.set_expr(out);
        }
        if self.peek() == "from" {
            self.next(out, Sep::Line);
            self.next(out, Sep::Space);
            while self.peek() == "or" {
                self.next(out, Sep::Space);
                self.next(out, Sep::Space);
            }
        }
    }

    /// `given …`, `expect …`
    fn statement(&mut self, out: &mut Vec<Doc>, columns: Columns) {
        let word = self.peek();
        self.take(out);
        out.push(Doc::Spaces(columns.word.saturating_sub(width(word))));
        if word == "given" {
            let what = width(self.peek());
            self.next(out, Sep::Space);
            out.push(Doc::Spaces(columns.second.saturating_sub(what)));
            self.lead(out, Sep::Space);
            self.json(out);
            return;
        }
        self.lead(out, Sep::Space);
        let is_value = matches!(self.peek(), "record" | "request" | "response");
        self.take(out);
        while !is_value && !self.is_done() && !matches!(self.peek(), "}" | "given" | "expect") {
            self.next(out, Sep::Space);
        }
        while is_value && !self.is_done() && !matches!(self.peek(), "}" | "given" | "expect") {
            let is_equal = self.peek() == "==";
            self.next(out, Sep::Space);
            if is_equal {
                self.lead(out, Sep::Space);
                self.json(out);
            }
        }
    }
}

/// Whether a clause says more than its word.
fn has_arguments(word: &str, next: Option<&Token<'_>>) -> bool {
    word != "allow" || next.is_some_and(|next| next.text == "until")
}

/// The words that clauses of a rule begin with, and whether something follows them. A word of the language that stands elsewhere too
/// (`mask record`, `require purpose`, `per purpose`) begins a clause where a clause can begin: behind a finished one.
fn clause_words<'t>(tokens: &[Token<'t>]) -> Vec<(&'t str, bool)> {
    let mut cursor = Cursor::new(tokens);
    let mut words = Vec::new();
    let mut ignored = vec![text("")];
    while !cursor.is_done() && cursor.peek() != "{" {
        cursor.take(&mut ignored);
    }
    cursor.take(&mut ignored);
    while !cursor.is_done() && cursor.peek() != "}" {
        let word = cursor.peek();
        words.push((word, has_arguments(word, cursor.token(1))));
        cursor.clause(&mut ignored, Columns { word: 0, second: 0 });
    }
    words
}

/// The widest of some words behind a word.
fn second(tokens: &[Token<'_>], first: &str, words: &[&str]) -> usize {
    let pairs = tokens.iter().zip(tokens.iter().skip(1));
    let seconds = pairs.filter(|(a, b)| a.text == first && words.contains(&b.text)).map(|(_, b)| width(b.text));
    seconds.max().unwrap_or(0)
}
