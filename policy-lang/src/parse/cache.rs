//! Trees of items that were parsed before, for loading a set again after a change.

use crate::source::Span;
use crate::syntax::Item;
use crate::syntax::places::Places as _;
use std::collections::HashMap;

/// Keeps the parsed items of the last load, so that the next one parses only what has changed.
///
/// Bounded by the set itself: what a load did not meet is forgotten at its end.
#[derive(Debug, Default)]
pub struct Cache {
    /// By the text of the item; places count from its start.
    items: HashMap<String, Item>,
    /// Those that the running load has met.
    met: HashMap<String, Item>,
}

impl Cache {
    /// How many items are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether nothing is kept.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// The tree of an item with this text, as if it had been parsed at this place; without its docs.
    pub(crate) fn get(&mut self, text: &str, at: Span) -> Option<Item> {
        if let Some((text, item)) = self.items.remove_entry(text) {
            self.met.insert(text, item);
        }
        let mut item = self.met.get(text)?.clone();
        item.each(&mut |span| *span = Span { file: at.file, start: span.start + at.start, end: span.end + at.start });
        Some(item)
    }

    /// Keeps the tree of an item that was parsed at this place.
    pub(crate) fn put(&mut self, text: &str, at: Span, item: &Item) {
        let mut item = item.clone();
        item.each(&mut |span| *span = Span { file: 0, start: span.start - at.start, end: span.end - at.start });
        self.met.insert(text.to_owned(), item);
    }

    /// Ends a load.
    pub(crate) fn turn(&mut self) {
        self.items = std::mem::take(&mut self.met);
    }
}
