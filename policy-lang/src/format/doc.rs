//! Layouts and how they become lines.

use super::{INDENT, WIDTH};

#[derive(Clone, Debug)]
pub(super) enum Doc {
    Text(String),
    /// So many spaces; nothing at the end of a line.
    Spaces(usize),
    /// A space, or the end of a line if the group does not fit.
    Line,
    /// Nothing, or the end of a line if the group does not fit.
    SoftLine,
    /// The end of a line.
    Hard,
    /// The end of a line and an empty one.
    Blank,
    /// Only where the group is broken.
    IfBroken(&'static str),
    /// A comment at the end of the line, wherever that is.
    Trailing(String),
    /// One level further in.
    Nest(Vec<Doc>),
    /// Lines within begin where this begins.
    Align(Vec<Doc>),
    /// On one line if it fits.
    Group(Vec<Doc>),
}

pub(super) fn text(text: &str) -> Doc {
    Doc::Text(text.to_owned())
}

/// The documents on one line, if they can stand on one.
pub(super) fn one_line(docs: &[Doc]) -> Option<String> {
    let mut out = String::new();
    for doc in docs {
        match doc {
            Doc::Text(text) => out.push_str(text),
            Doc::Spaces(count) => out.extend(std::iter::repeat_n(' ', *count)),
            Doc::Line => out.push(' '),
            Doc::SoftLine | Doc::IfBroken(_) => {}
            Doc::Hard | Doc::Blank | Doc::Trailing(_) => return None,
            Doc::Nest(inner) | Doc::Align(inner) | Doc::Group(inner) => out.push_str(&one_line(inner)?),
        }
    }
    Some(out)
}

pub(super) fn width(text: &str) -> usize {
    text.chars().count()
}

pub(super) fn render(docs: &[Doc]) -> String {
    let mut printer = Printer { lines: Vec::new(), line: OutLine::default() };
    // What is still to be printed, the next last: indentation, whether its group is broken, document.
    let mut open: Vec<(usize, bool, &Doc)> = docs.iter().rev().map(|doc| (0, true, doc)).collect();
    while let Some((indent, broken, doc)) = open.pop() {
        match doc {
            Doc::Text(text) => printer.line.text.push_str(text),
            Doc::Spaces(count) => printer.spaces(*count),
            Doc::Line if !broken => printer.spaces(1),
            Doc::SoftLine if !broken => {}
            Doc::Line | Doc::SoftLine | Doc::Hard => printer.end_line(indent),
            Doc::Blank => {
                printer.end_line(0);
                printer.end_line(indent);
            }
            Doc::IfBroken(text) if broken => printer.line.text.push_str(text),
            Doc::IfBroken(_) => {}
            Doc::Trailing(comment) => printer.line.comments.push(comment.clone()),
            Doc::Nest(inner) => open.extend(inner.iter().rev().map(|doc| (indent + INDENT, broken, doc))),
            Doc::Align(inner) => {
                let column = width(&printer.line.text);
                open.extend(inner.iter().rev().map(|doc| (column, broken, doc)));
            }
            Doc::Group(inner) => {
                let broken = must_break(inner) || !fits(WIDTH.checked_sub(width(&printer.line.text)), inner, &open);
                open.extend(inner.iter().rev().map(|doc| (indent, broken, doc)));
            }
        }
    }
    printer.end_line(0);
    printer.finish()
}

fn must_break(docs: &[Doc]) -> bool {
    docs.iter().any(|doc| match doc {
        Doc::Hard | Doc::Blank => true,
        Doc::Nest(inner) | Doc::Align(inner) | Doc::Group(inner) => must_break(inner),
        _ => false,
    })
}

/// Whether the group fits on the rest of the line, with what follows it up to the next possible end of a line.
fn fits(room: Option<usize>, group: &[Doc], behind: &[(usize, bool, &Doc)]) -> bool {
    let Some(mut room) = room else {
        return false;
    };
    let mut open: Vec<(bool, &Doc)> = group.iter().rev().map(|doc| (false, doc)).collect();
    let mut behind = behind.iter().rev();
    while let Some((broken, doc)) = open.pop().or_else(|| behind.next().map(|(_, broken, doc)| (*broken, *doc))) {
        let needed = match doc {
            Doc::Text(text) => width(text),
            Doc::Spaces(count) => *count,
            Doc::Line | Doc::SoftLine if broken => return true,
            Doc::Hard | Doc::Blank => return true,
            Doc::Line => 1,
            Doc::IfBroken(text) if broken => width(text),
            Doc::SoftLine | Doc::Trailing(_) | Doc::IfBroken(_) => 0,
            Doc::Nest(inner) | Doc::Align(inner) | Doc::Group(inner) => {
                open.extend(inner.iter().rev().map(|doc| (broken, doc)));
                0
            }
        };
        match room.checked_sub(needed) {
            Some(left) => room = left,
            None => return false,
        }
    }
    true
}

#[derive(Default)]
struct OutLine {
    text: String,
    comments: Vec<String>,
}

struct Printer {
    lines: Vec<OutLine>,
    line: OutLine,
}

impl Printer {
    fn spaces(&mut self, count: usize) {
        self.line.text.extend(std::iter::repeat_n(' ', count));
    }

    fn end_line(&mut self, indent: usize) {
        let next = OutLine { text: " ".repeat(indent), comments: Vec::new() };
        let mut line = std::mem::replace(&mut self.line, next);
        line.text.truncate(line.text.trim_end().len());
        self.lines.push(line);
    }

    /// Comments behind neighbouring lines stand in one column, unless that would be far out.
    fn finish(self) -> String {
        const COLUMN_MAX: usize = 80;
        let mut out = String::new();
        for run in self.lines.chunk_by(|a, b| a.comments.is_empty() == b.comments.is_empty()) {
            let widest = run.iter().map(|line| width(&line.text)).max().unwrap_or(0);
            for line in run {
                out.push_str(&line.text);
                if !line.comments.is_empty() {
                    let column = if widest <= COLUMN_MAX { widest } else { width(&line.text) };
                    out.push_str(&" ".repeat(column - width(&line.text) + 2));
                    out.push_str(&line.comments.join(" "));
                }
                out.push('\n');
            }
        }
        let end = out.trim_end().len();
        out.truncate(end);
        if !out.is_empty() {
            out.push('\n');
        }
        out
    }
}
