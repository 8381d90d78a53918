//! Finding records: one row per call, newest first, by the index and the log behind it.

use std::io::Write;

use super::calls::{self, Keys, scan_calls};
use super::filter::Filter;
use super::index;
use super::query::Query;
use super::rows::Row;
use super::source::{Log, Source};
use super::spoken;
use super::text::{harmless, line};
use super::walk::{Bound, Place, Spot, Walk};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::leaf::rfc3339;

/// Widest column of the table, in characters.
const MAX_COLUMN_CHARS: usize = 40;

/// Rows kept at least while scanning, so that sorting is rare.
const MIN_KEPT: usize = 1000;

/// How to search and print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SearchOptions {
    /// One JSON object per line instead of a table.
    pub json: bool,
    /// At most this many rows, the newest ones.
    pub limit: usize,
    /// Only rows whose tree index is below this: the cursor for the next page is the smallest index of this one.
    pub before: Option<u64>,
}

impl Default for SearchOptions {
    fn default() -> Self {
        Self { json: false, limit: 50, before: None }
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
        Err(error) => (Keys::default(), Some(error)),
    };
    let before = options.before.unwrap_or(u64::MAX);
    let place = index::stored_place(&log.layout.index());
    let no_index = place.index() == 0 || (query.asks_for_text() && !place.text);
    let (mut rows, damaged) = match (query.one_id(), no_index) {
        (Some(id), _) => (by_id(&log, &keys, query, before, id)?, false),
        // Nothing is indexed, or not what is asked for.
        (None, true) => scan(&log, &keys, query, before, options.limit)?,
        (None, false) => look_up(source, &log, &keys, query, &place, before, options.limit)?,
    };
    rows.sort_by_key(|row| std::cmp::Reverse(row.index));
    let cut = rows.len() > options.limit;
    rows.truncate(options.limit);
    rows.reverse();
    if options.json {
        for row in &rows {
            let text = serde_json::to_string(row).map_err(|e| EvidenceError::Malformed(e.to_string()))?;
            line(out, &text)?;
        }
        return Ok(rows.len());
    }
    print_table(&rows, out)?;
    if let (true, Some(oldest)) = (cut, rows.first()) {
        line(out, &format!("(the newest {} rows; --before {} shows older ones)", rows.len(), oldest.index))?;
    }
    if let Some(error) = no_keys {
        line(out, &format!("(encrypted fields stay empty: {error})"))?;
    }
    if damaged {
        line(out, "(some records are damaged and were left out; run verify)")?;
    }
    Ok(rows.len())
}

/// The row with an id, if it matches.
fn by_id(log: &Log, keys: &Keys, query: &Query, before: u64, id: RecordId) -> Result<Vec<Row>, EvidenceError> {
    let since = if query.since_us == 0 { String::new() } else { rfc3339(query.since_us) };
    let call = calls::find(log, keys, id)?.filter(|call| {
        calls::stands_for_itself(&call.first) && call.row.index < before && call.is_asked_for(query, &since)
    });
    Ok(call.map(|call| call.row).into_iter().collect())
}

/// The newest matching rows, from the whole log; one more than the limit, if there are more.
fn scan(log: &Log, keys: &Keys, query: &Query, before: u64, limit: usize) -> Result<(Vec<Row>, bool), EvidenceError> {
    let mut rows: Vec<Row> = Vec::new();
    let damaged = scan_calls(log, keys, query, false, &mut |call| {
        if call.row.index < before {
            rows.push(call.row.clone());
        }
        if rows.len() > 2 * (limit + MIN_KEPT) {
            rows.sort_by_key(|row| std::cmp::Reverse(row.index));
            rows.truncate(limit + 1);
        }
        Ok(())
    })?;
    Ok((rows, damaged))
}

/// At least the newest matching rows: what is behind the index from the log, what is before from the index. One more than the
/// limit, if there are more.
fn look_up(
    source: &Source,
    log: &Log,
    keys: &Keys,
    query: &Query,
    place: &Place,
    before: u64,
    limit: usize,
) -> Result<(Vec<Row>, bool), EvidenceError> {
    let since = if query.since_us == 0 { String::new() } else { rfc3339(query.since_us) };
    let matches = |row: &Row| row.index < before && row.matches(query, &since);
    let mut found = Vec::new();
    let mut walk = Walk::from(place, log, keys)?;
    let mut filter = Filter::new(query, &since);
    let whole = walk.go_on(log, keys, Bound::END, &mut |record| filter.may_match(record, keys), &mut |ended| {
        if matches(&ended.row) {
            found.push((ended.row, ended.payload));
        }
    })?;
    let open = walk.open().filter(|(row, _)| matches(row));
    found.extend(open.map(|(row, open)| (row.clone(), open.payload.clone())));
    let mut rows = Vec::new();
    for (row, payload) in found {
        if says(log, keys, query, &payload)? {
            rows.push(row);
        }
    }
    let matches = |row: &Row| matches(row) && (!query.asks_for_text() || call_says(log, keys, query, &row.id));
    let wanted = index::Wanted { query, before, limit: limit + 1 };
    match index::newest(source, log, keys, place, &wanted, &matches) {
        Ok(older) => rows.extend(older),
        Err(error) => {
            tracing::warn!(%error, "searching without the index");
            return scan(log, keys, query, before, limit);
        }
    }
    // Dropped meanwhile, as an erasure does: then it did not say everything.
    if index::stored_place(&log.layout.index()).index() < place.index() {
        return scan(log, keys, query, before, limit);
    }
    // A call that ended behind the index may stand in it as well if it was made anew meanwhile.
    rows.sort_by_key(|row| row.index);
    rows.dedup_by_key(|row| row.index);
    Ok((rows, !whole))
}

/// Whether everything that the query asks for was said in these pieces of payload.
fn says(log: &Log, keys: &Keys, query: &Query, payload: &[Spot]) -> Result<bool, EvidenceError> {
    if !query.asks_for_text() {
        return Ok(true);
    }
    let texts = index::said(log, keys, payload)?;
    Ok(query.texts().all(|phrase| texts.iter().any(|text| spoken::says(text, phrase))))
}

/// Likewise in a call; one that cannot be read any more says nothing.
fn call_says(log: &Log, keys: &Keys, query: &Query, id: &str) -> bool {
    let call = id.parse().ok().and_then(|id| calls::find(log, keys, id).ok()?);
    call.is_some_and(|call| query.texts().all(|phrase| call.says(phrase)))
}

/// Follows a log: prints what matches as it ends.
pub struct Follower {
    source: Source,
    query: Query,
    walk: Walk,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Follower({})", self.source.dir.display())
    }
}

impl Follower {
    /// Begins at the end of the log.
    ///
    /// # Errors
    /// [`EvidenceError`] if the log cannot be read, or the query asks for text.
    pub fn new(source: &Source, query: &Query) -> Result<Self, EvidenceError> {
        if query.asks_for_text() {
            return Err(EvidenceError::Malformed("text: cannot be followed".to_owned()));
        }
        let log = source.locate()?;
        let keys = source.subject_keys(&log).unwrap_or_default();
        let mut walk = Walk::from(&index::stored_place(&log.layout.index()), &log, &keys)?;
        walk.go_on(&log, &keys, Bound::END, &mut |_| true, &mut |_| {})?;
        Ok(Self { source: source.clone(), query: query.clone(), walk })
    }

    /// Prints what has ended since the last time, one line each; returns how many.
    ///
    /// # Errors
    /// [`EvidenceError`] if the log cannot be read or the output not be written.
    pub fn poll(&mut self, json: bool, out: &mut dyn Write) -> Result<usize, EvidenceError> {
        let log = self.source.locate()?;
        // Read again each time: new people have new keys.
        let keys = self.source.subject_keys(&log).unwrap_or_default();
        let mut rows = Vec::new();
        self.walk.go_on(&log, &keys, Bound::END, &mut |_| true, &mut |ended| rows.push(ended.row))?;
        rows.retain(|row| row.matches(&self.query, ""));
        for row in &rows {
            let text = match json {
                true => serde_json::to_string(row).map_err(|e| EvidenceError::Malformed(e.to_string()))?,
                false => cells(row).join("  "),
            };
            line(out, &text)?;
        }
        out.flush().map_err(|error| EvidenceError::io("write", std::path::Path::new("the output"), &error))?;
        Ok(rows.len())
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
