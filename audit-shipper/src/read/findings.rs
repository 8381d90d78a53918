//! What is wrong with a log, in words that name the record.

use std::path::PathBuf;

use crate::recovery::LeafLinks;
use crate::wal::format::{Entries, EntryKind, HEADER_BYTES};
use crate::wal::scan::Bad;

/// Where a record is.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) index: u64,
    pub(crate) kind: String,
    pub(crate) id: String,
    pub(crate) file: PathBuf,
    /// Offset of its leaf's entry in the file, in bytes.
    pub(crate) offset: u64,
}

impl Place {
    pub(crate) fn name(&self) -> String {
        let kind = if self.kind.is_empty() { "record" } else { &self.kind };
        let id = if self.id.is_empty() { String::new() } else { format!(" {}", self.id) };
        format!("record #{}, {kind}{id} ({}, offset {})", self.index, self.file.display(), self.offset)
    }
}

/// The records of a damaged stretch, and how they are damaged.
pub(crate) fn examine(bad: &Bad, file: &std::path::Path) -> Vec<String> {
    let mut findings = Vec::new();
    let mut index = bad.first_index;
    let mut entries = Entries::new(&bad.payload);
    let mut last: Option<(Place, bool)> = None;
    let mut all = Vec::new();
    for entry in entries.by_ref() {
        let offset = bad.offset + (HEADER_BYTES + entry.offset) as u64;
        match entry.kind {
            EntryKind::Leaf => {
                let links = LeafLinks::parse(entry.data);
                let expects_blob = links.as_ref().is_some_and(|links| links.blob.is_some());
                let (kind, id) = links.map(|links| (links.t, links.id)).unwrap_or_default();
                let place = Place { index, kind, id, file: file.to_owned(), offset };
                if !entry.intact {
                    findings.push(format!("{}: its leaf was changed", place.name()));
                }
                index += 1;
                all.push(place.clone());
                last = Some((place, expects_blob));
            }
            EntryKind::Blob => {
                if let Some((place, expects_blob)) = &mut last {
                    *expects_blob = false;
                    if !entry.intact {
                        findings.push(format!("{}: its blob was changed (at offset {offset})", place.name()));
                    }
                }
            }
        }
    }
    let known_end = bad.next_index.unwrap_or(index);
    if findings.is_empty() && index < known_end && !bad.payload.is_empty() {
        // The walk broke off: at the blob of the last record, or at the leaf of the next.
        let at = bad.offset + (HEADER_BYTES + bad.payload.len() - entries.rest()) as u64;
        findings.push(match &last {
            Some((place, true)) => {
                format!("{}: its blob was changed (at offset {at})", place.name())
            }
            _ => format!("record #{index} ({}, offset {at}): its leaf was changed", file.display()),
        });
    }
    if findings.is_empty()
        && let Some((place, true)) = last
    {
        findings.push(format!("{}: its blob was changed", place.name()));
    }
    if findings.is_empty() {
        let range = match (all.first(), all.len()) {
            (Some(place), 1) => place.name(),
            (Some(place), more) => format!("{} and the {} behind it in the same block", place.name(), more - 1),
            (None, _) if known_end > bad.first_index => range_name(bad.first_index, known_end),

            (None, _) => format!("the end of the log behind record #{}", bad.first_index),
        };
        findings.push(format!("{range}: {} ({}, offset {})", bad.why, file.display(), bad.offset));
    }
    findings
}

/// Names the records from `first` up to, but not including, `end`.
pub(crate) fn range_name(first: u64, end: u64) -> String {
    match end.saturating_sub(first) {
        0 | 1 => format!("record #{first}"),
        _ => format!("records #{first} to #{}", end - 1),
    }
}
