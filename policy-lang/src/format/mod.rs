//! The formatter: one look for every policy, with every comment and every spelling kept.
//!
//! It works on tokens, not on the tree: strings, numbers and regular expressions come out as they were written. Only what is between
//! tokens changes, and the optional comma before a closing bracket. What does not parse is not touched.
//!
//! The look: four spaces; clause words of a rule in one column and their arguments in the next; a rule, invariant or test that was
//! written on one line stays on one while it fits; conditions break before `and` and `or`; sets and JSON take a line per entry when
//! they are long or were written so; at most one empty line in a row; comments behind neighbouring lines in one column.

mod doc;
mod items;
mod parts;
mod rules;
#[cfg(test)]
mod tests;
mod tokens;

use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::load::check_file_size;
use crate::parse::parse_item;
use crate::scanner::{RawItem, scan};
use crate::source::{Source, Sources};

/// Columns of a line.
const WIDTH: usize = 120;
/// Spaces of a level.
const INDENT: usize = 4;

/// Formats the text of a policy file; formatting the result again changes nothing.
///
/// # Errors
/// Everything that keeps the text from being parsed. Names and types are not looked at.
pub fn format(text: &str) -> Result<String, Diagnostics> {
    format_source(&Source { name: "policy".to_owned(), text: text.to_owned() })
}

/// [`format`] for a file with a name, which the findings quote.
///
/// # Errors
/// As [`format`].
pub fn format_source(source: &Source) -> Result<String, Diagnostics> {
    let refuse = |list| Diagnostics { list, sources: Sources::new(vec![source.clone()], String::new()) };
    check_file_size(&source.name, source.text.len()).map_err(|error| refuse(vec![*error]))?;
    let mut errors = Vec::new();
    let raw = scan(0, &source.text, &mut errors);
    for item in raw.iter().filter(|item| !item.broken) {
        if let Err(error) = parse_item(&source.text, *item) {
            errors.push(*error);
        }
    }
    if !errors.is_empty() {
        return Err(refuse(errors));
    }
    let formatted = layout(&source.text, &raw);
    match formatted.as_deref().is_some_and(|formatted| keeps_tokens(&source.text, &raw, formatted)) {
        true => Ok(formatted.unwrap_or_default()),
        false => Err(refuse(vec![
            Diagnostic::error(Code::Internal, "the formatter does not understand this file and leaves it as it is")
                .help("please report this text"),
        ])),
    }
}

fn layout(text: &str, raw: &[RawItem<'_>]) -> Option<String> {
    let file = tokens::lex(text, raw);
    let docs = items::file(&file)?;
    Some(doc::render(&docs))
}

/// Whether another text has the same tokens and comments, commas before closing brackets apart.
fn keeps_tokens(before: &str, raw: &[RawItem<'_>], after: &str) -> bool {
    let raw_after = scan(0, after, &mut Vec::new());
    tokens::lex(before, raw).essence() == tokens::lex(after, &raw_after).essence()
}
