//! Items of a file, one below the other.

use super::doc::{Doc, text, width};
use super::parts::{Cursor, Sep};
use super::tokens::{File, Token};

/// `None` if the tokens are not what the grammar promises.
pub(super) fn file(file: &File<'_>) -> Option<Vec<Doc>> {
    let mut out = Vec::new();
    let columns = columns(file);
    for (index, (tokens, columns)) in file.items.iter().zip(columns).enumerate() {
        let mut cursor = Cursor::new(tokens);
        match index {
            0 => cursor.lead_first(&mut out),
            _ => cursor.lead(&mut out, Sep::Hard),
        }
        item(&mut cursor, &mut out, columns);
        if !cursor.is_done() {
            return None;
        }
    }
    let mut any = !file.items.is_empty();
    for comment in &file.end {
        match (any, comment.own_line, comment.blank) {
            (false, ..) => out.push(text(comment.text)),
            (true, false, _) => out.push(Doc::Trailing(comment.text.to_owned())),
            (true, true, blank) => out.extend([if blank { Doc::Blank } else { Doc::Hard }, text(comment.text)]),
        }
        any = true;
    }
    Some(out)
}

/// Widths of the name and the type of a definition, shared by the definitions next to it.
#[derive(Clone, Copy, Default)]
struct Columns {
    name: usize,
    kind: usize,
}

fn columns(file: &File<'_>) -> Vec<Columns> {
    let word = |tokens: &[Token<'_>]| tokens.first().map_or("", |token| token.text).to_owned();
    let is_neighbour = |a: &Vec<Token<'_>>, b: &Vec<Token<'_>>| {
        let joined = b.first().is_some_and(|first| !first.blank && !first.comments.iter().any(|c| c.own_line));
        joined && word(a) == word(b) && matches!(word(a).as_str(), "set" | "claim" | "let" | "detector")
    };
    let mut columns = Vec::new();
    for run in file.items.chunk_by(is_neighbour) {
        let widest = |at: usize| run.iter().filter_map(|item| item.get(at)).map(|token| width(token.text)).max();
        let shared = Columns { name: widest(1).unwrap_or(0), kind: widest(3).unwrap_or(0) };
        columns.extend(run.iter().map(|_| shared));
    }
    columns
}

fn item(cursor: &mut Cursor<'_, '_>, out: &mut Vec<Doc>, columns: Columns) {
    let word = cursor.peek();
    match word {
        "set" => {
            cursor.take(out);
            cursor.padded(out, columns.name);
            cursor.next(out, Sep::Space);
            cursor.padded(out, columns.kind);
            cursor.next(out, Sep::Space);
            cursor.lead(out, Sep::Space);
            cursor.set_expr(out);
        }
        "claim" => {
            cursor.take(out);
            cursor.padded(out, columns.name);
            cursor.rest(out);
        }
        "let" => {
            cursor.take(out);
            cursor.padded(out, columns.name);
            cursor.next(out, Sep::Space);
            let mut inner = Vec::new();
            cursor.lead(&mut inner, Sep::Space);
            cursor.condition(&mut inner);
            out.push(Doc::Nest(inner));
        }
        "detector" => {
            cursor.take(out);
            cursor.padded(out, columns.name);
            cursor.next(out, Sep::Space);
            cursor.next(out, Sep::Space);
            if cursor.peek() == "near" {
                cursor.next(out, Sep::Space);
                cursor.lead(out, Sep::Space);
                cursor.braces(out);
            }
        }
        "rule" => cursor.rule(out),
        "invariant" => cursor.invariant(out),
        "test" => cursor.test(out),
        _ => {
            cursor.take(out);
            let mut inner = Vec::new();
            cursor.rest(&mut inner);
            out.push(Doc::Nest(inner));
        }
    }
}
