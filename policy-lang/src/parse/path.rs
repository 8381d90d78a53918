//! JSON paths in the RFC 9535 subset `$`, `.name`, `['name']`, `[n]`, `[*]`, `.*`; anything else is refused with a reason.

use super::{Parsed, boxed, tokens};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::PATH_SEGMENTS_MAX;
use crate::program::{JsonPath, PathSegment};
use crate::source::Span;

pub(super) fn parse(written: &str, span: Span) -> Parsed<JsonPath> {
    let fail = |message: &str, rest: &str| {
        let start = span.start + (written.len() - rest.len());
        let end = rest.chars().next().map_or(start, |c| start + c.len_utf8());
        boxed(
            Diagnostic::error(Code::BadPath, message)
                .label(Span { start: start.min(span.end), end: end.min(span.end), ..span }, "")
                .help("paths are made of `$`, `.name`, `['name']`, `[0]`, `[*]` and `.*`"),
        )
    };
    let mut segments = Vec::new();
    let mut rest = written.strip_prefix('$').unwrap_or(written);
    while !rest.is_empty() {
        let (segment, behind) = segment(rest, span).map_err(|reason| match reason {
            Reason::Message(message) => fail(message, rest),
            Reason::Done(diagnostic) => diagnostic,
        })?;
        segments.push(segment);
        if segments.len() > PATH_SEGMENTS_MAX {
            return Err(fail("this path has more than 32 steps", rest));
        }
        rest = behind;
    }
    match segments.is_empty() {
        true => Err(fail("a path needs at least one step behind the `$`", written)),
        false => Ok(JsonPath { segments }),
    }
}

enum Reason {
    Message(&'static str),
    Done(Box<Diagnostic>),
}

fn segment(rest: &str, span: Span) -> Result<(PathSegment, &str), Reason> {
    if let Some(rest) = rest.strip_prefix('.') {
        return dotted(rest).map_err(Reason::Message);
    }
    let Some(rest) = rest.strip_prefix('[') else {
        return Err(Reason::Message("a step begins with `.` or `[`"));
    };
    bracketed(rest, span)
}

fn dotted(rest: &str) -> Result<(PathSegment, &str), &'static str> {
    if let Some(rest) = rest.strip_prefix('*') {
        return Ok((PathSegment::Wildcard, rest));
    }
    if rest.starts_with('.') {
        return Err("`..` is not in the subset of JSON paths that can be judged in one pass");
    }
    let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii())).unwrap_or(rest.len());
    let (name, behind) = rest.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("a name begins with a letter or `_`; other names are written ['name']");
    }
    if behind.starts_with('-') {
        return Err("names with `-` are written ['name']");
    }
    Ok((PathSegment::Key(name.to_owned()), behind))
}

fn bracketed(rest: &str, span: Span) -> Result<(PathSegment, &str), Reason> {
    const UNCLOSED: Reason = Reason::Message("`]` is missing");
    if rest.starts_with(['"', '\'']) {
        let end = quoted_end(rest).ok_or(UNCLOSED)?;
        let inner = rest.get(1..end).unwrap_or("").replace("\\'", "'");
        let name = tokens::string(&format!("\"{inner}\""), span).map_err(Reason::Done)?;
        let behind = rest.get(end + 1..).unwrap_or("").trim_start();
        let behind = behind.strip_prefix(']').ok_or(UNCLOSED)?;
        return Ok((PathSegment::Key(name), behind));
    }
    let (inside, behind) = rest.split_once(']').ok_or(UNCLOSED)?;
    match inside.trim() {
        "*" => Ok((PathSegment::Wildcard, behind)),
        digits if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
            let index = digits.parse().map_err(|_| Reason::Message("this index is too large"))?;
            Ok((PathSegment::Index(index), behind))
        }
        text if text.starts_with('-') => {
            Err(Reason::Message("an index counts from the front: negative ones are not in the subset"))
        }
        text if text.starts_with('?') || text.contains(':') || text.contains(',') => {
            Err(Reason::Message("filters, slices and lists are not in the subset of JSON paths"))
        }
        _ => Err(Reason::Message("names in brackets need quotes: ['name']")),
    }
}

/// Where the quote that begins the text is closed.
fn quoted_end(text: &str) -> Option<usize> {
    let quote = text.chars().next()?;
    let mut escaped = false;
    text.char_indices().skip(1).find_map(|(offset, c)| {
        let closes = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        closes.then_some(offset)
    })
}
