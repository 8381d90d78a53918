//! What stands before one place: read once, since several detectors ask about it.

use super::behind::BEHIND_MAX;
use super::classes::MASKED_SPAN;
use super::context::{REACH, SHORT_REACH, is_placeholder, normalise};
use super::fold::View;
use super::lexicon::EVERY_WORD;
use super::resolve::{PLACEHOLDER_MAX, Span};
use super::set::DetectorSet;
use std::borrow::Cow;

/// Bytes that are read at first; mostly they are enough.
const NEAR: usize = 96;

/// The bytes before a place; a masked span is one byte.
#[derive(Debug)]
pub(super) struct Left {
    /// The view, the place in it, and in the text; `None` before the first look.
    at: Option<(usize, usize, usize)>,
    /// Filled from its end, down to `from`, and no further than to `floor`.
    room: [u8; BEHIND_MAX],
    from: usize,
    floor: usize,
    names: Option<Names>,
    /// By reach, as words are searched for in it.
    before: Vec<(usize, String)>,
}

/// The detectors that have a word within reach.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Names {
    far: DetectorSet,
    close: DetectorSet,
    /// Whether they surely have; else they may.
    pub(super) sure: bool,
}

impl Names {
    /// Those whose words reach so far.
    pub(super) fn within(&self, reach: usize) -> &DetectorSet {
        if reach == REACH { &self.far } else { &self.close }
    }
}

impl Default for Left {
    fn default() -> Self {
        let (room, from) = ([0; BEHIND_MAX], BEHIND_MAX);
        Self { at: None, room, from, floor: 0, names: None, before: Vec::new() }
    }
}

impl Left {
    /// Looks from a place; `spans` are those so far, `behind` is what was released before.
    pub(super) fn look(&mut self, at: (usize, usize, usize), view: &View<'_>, spans: &[Span], behind: &[u8]) {
        if self.at.replace(at) != Some(at) {
            self.read(at, view, spans, behind, NEAR);
        }
    }

    /// Looks as far as there is anything to see.
    pub(super) fn look_far(&mut self, view: &View<'_>, spans: &[Span], behind: &[u8]) {
        if let Some(at) = self.at
            && self.floor > 0
        {
            self.read(at, view, spans, behind, BEHIND_MAX);
        }
    }

    fn read(
        &mut self,
        (_, mut place, start): (usize, usize, usize),
        view: &View<'_>,
        spans: &[Span],
        behind: &[u8],
        most: usize,
    ) {
        (self.from, self.floor, self.names) = (BEHIND_MAX, BEHIND_MAX - most, None);
        self.before.clear();
        // What a span that is still growing hides stands beside the place, not before it.
        for span in spans.iter().rev().skip_while(|span| span.end > start) {
            if self.from == self.floor {
                return;
            }
            let end = view.place_of(span.end).min(place);
            self.put(view.text.get(end..place).unwrap_or_default());
            self.put(&[MASKED_SPAN]);
            place = view.place_of(span.start).min(end);
        }
        self.put(view.text.get(..place).unwrap_or_default());
        self.put(behind);
    }

    /// Puts text before what is there, as much of its end as there is room for.
    fn put(&mut self, text: &[u8]) {
        let size = text.len().min(self.from - self.floor);
        let (room, text) = (self.room.get_mut(self.from - size..self.from), text.get(text.len() - size..));
        if let (Some(room), Some(text)) = (room, text) {
            room.copy_from_slice(text);
            self.from -= size;
        }
    }

    fn text(&self) -> &[u8] {
        self.room.get(self.from..).unwrap_or_default()
    }

    /// Nearest first; at least 64, if there are so many.
    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.text().iter().rev().copied()
    }

    /// The detectors that have a word within reach; `None` if that takes a far look.
    pub(super) fn names(&mut self) -> Option<Names> {
        if self.names.is_none() {
            let text = self.text();
            let near = text.get(text.len().saturating_sub(REACH + 1)..).unwrap_or_default();
            let plain = near.iter().all(|&byte| byte.is_ascii() && !matches!(byte, b']' | b'>' | MASKED_SPAN));
            let (visible, whole) = match plain {
                true => (Cow::Borrowed(near), near.len() > REACH),
                false => {
                    let (visible, whole) = self.visible(REACH + 1);
                    (Cow::Owned(visible), whole)
                }
            };
            if !whole && self.from == self.floor && self.floor > 0 {
                return None;
            }
            self.names = Some(names_in(&visible, whole));
        }
        self.names
    }

    /// So many characters, without masked spans and placeholders, as words are searched for in them, behind one that shows whether the
    /// first word is whole.
    pub(super) fn before(&mut self, reach: usize) -> &str {
        let at = match self.before.iter().position(|(known, _)| *known == reach) {
            Some(at) => at,
            None => {
                let (visible, _) = self.visible(reach + 1);
                let mut text = String::from_utf8_lossy(&visible).into_owned();
                if text.chars().nth(reach).is_none() {
                    text.insert(0, '\n');
                }
                let text = normalise(&text);
                self.before.push((reach, text));
                self.before.len() - 1
            }
        };
        self.before.get(at).map_or("", |(_, text)| text)
    }

    /// So many characters, and whether there are so many.
    fn visible(&self, reach: usize) -> (Vec<u8>, bool) {
        let text = self.text();
        let mut kept = Vec::with_capacity(reach);
        let mut count = 0;
        let mut end = text.len();
        while let Some((&byte, before)) = text.get(..end).and_then(<[u8]>::split_last) {
            if matches!(byte, b']' | b'>')
                && let Some(length) = placeholder_at_end(before, byte)
            {
                end -= length;
                continue;
            }
            end -= 1;
            if byte == MASKED_SPAN {
                continue;
            }
            kept.push(byte);
            if !matches!(byte, 0x80..=0xBF) {
                count += 1;
                if count == reach {
                    break;
                }
            }
        }
        kept.reverse();
        (kept, count == reach)
    }
}

/// The detectors with a word in a text; with `behind_first`, its first character only shows whether the first word is whole.
fn names_in(text: &[u8], behind_first: bool) -> Names {
    let mut names = Names { sure: text.is_ascii(), ..Names::default() };
    let from = usize::from(names.sure && behind_first);
    let close = if names.sure { text.len().saturating_sub(SHORT_REACH) } else { 0 };
    EVERY_WORD.each_name(text, 0, text.len(), |start, detectors| {
        if start >= from {
            names.far.insert_all(&detectors);
        }
        if start >= from.max(close) {
            names.close.insert_all(&detectors);
        }
    });
    names
}

/// How many bytes a placeholder takes that ends behind this text with this bracket.
fn placeholder_at_end(before: &[u8], close: u8) -> Option<usize> {
    let open = if close == b']' { b'[' } else { b'<' };
    let length = before.iter().rev().take(PLACEHOLDER_MAX - 1).position(|&byte| byte == open)?;
    is_placeholder(before.get(before.len() - length..)?).then_some(length + 2)
}
