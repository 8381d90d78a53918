//! Finding records: one pass over the log, one row per call.

use std::collections::VecDeque;
use std::io::Write;

use super::calls::{Keys, for_each_call};
use super::query::Query;
use super::rows::Row;
use super::source::Source;
use super::text::{harmless, line};
use crate::error::EvidenceError;

/// Widest column of the table, in characters.
const MAX_COLUMN_CHARS: usize = 40;

/// How to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchOptions {
    /// One JSON object per line instead of a table.
    pub json: bool,
    /// At most this many rows, the newest ones.
    pub limit: usize,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { json: false, limit: 50 }
    }
}

/// Prints the records that match, newest last; returns how many rows.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read or the output not be written.
pub fn search(
    source: &Source,
    query: &Query,
    options: SearchOptions,
    out: &mut dyn Write,
) -> Result<usize, EvidenceError> {
    let log = source.locate()?;
    let (keys, no_keys) = match source.subject_keys(&log) {
        Ok(keys) => (keys, None),
        Err(error) => (Keys::new(), Some(error)),
    };
    let mut found = Newest { limit: options.limit, rows: VecDeque::new(), cut: false };
    let damaged = for_each_call(&log, &keys, query, false, &mut |call| {
        found.offer(call.row.clone());
        Ok(())
    })?;
    let mut rows: Vec<Row> = found.rows.into();
    rows.sort_by_key(|row| row.index);
    if options.json {
        for row in &rows {
            let text = serde_json::to_string(row).map_err(|e| EvidenceError::Malformed(e.to_string()))?;
            line(out, &text)?;
        }
        return Ok(rows.len());
    }
    print_table(&rows, out)?;
    if found.cut {
        line(out, &format!("(the newest {} rows; --limit shows more)", rows.len()))?;
    }
    if let Some(error) = no_keys {
        line(out, &format!("(encrypted fields stay empty: {error})"))?;
    }
    if damaged {
        line(out, "(some records are damaged and were left out; run verify)")?;
    }
    Ok(rows.len())
}

/// The newest matching rows, no more than asked for.
struct Newest {
    limit: usize,
    rows: VecDeque<Row>,
    cut: bool,
}

impl Newest {
    fn offer(&mut self, row: Row) {
        self.rows.push_back(row);
        if self.rows.len() > self.limit {
            self.rows.pop_front();
            self.cut = true;
        }
    }
}

fn print_table(rows: &[Row], out: &mut dyn Write) -> Result<(), EvidenceError> {
    if rows.is_empty() {
        return line(out, "nothing found");
    }
    let head = ["TIME", "ID", "KIND", "DECISION", "SUBJECT", "MODEL", "STATUS", "RULES", "MASKS"];
    let mut table = vec![head.map(str::to_owned)];
    table.extend(rows.iter().map(cells));
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            table.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        })
        .collect();
    for row in &table {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        line(out, cells.join("  ").trim_end())?;
    }
    Ok(())
}

fn cells(row: &Row) -> [String; 9] {
    let masks = if row.mask_count > 0 { format!("{} {}", row.mask_count, row.masks.join(",")) } else { String::new() };
    let time = row.time.split_once('.').map_or(row.time.clone(), |(seconds, _)| format!("{seconds}Z"));
    [
        time,
        row.id.clone(),
        row.kind.clone(),
        row.decision.clone(),
        row.subject.clone(),
        row.model.clone(),
        row.status_text(),
        row.rules.join(","),
        masks,
    ]
    .map(|cell| cut(&harmless(if cell.is_empty() { "-" } else { &cell })))
}

fn cut(cell: &str) -> String {
    if cell.chars().count() <= MAX_COLUMN_CHARS {
        return cell.to_owned();
    }
    cell.chars().take(MAX_COLUMN_CHARS - 1).chain(['…']).collect()
}
