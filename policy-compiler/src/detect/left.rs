//! What stands before one place: read once, since several detectors ask about it.

use super::behind::BEHIND_MAX;
use super::classes::MASKED_SPAN;
use super::context::{REACH, is_placeholder, normalise};
use super::fold::View;
use super::lexicon::EVERY_WORD;
use super::resolve::{PLACEHOLDER_MAX, Span};
use super::set::DetectorSet;

/// The bytes before a place; a masked span is one byte.
#[derive(Debug)]
pub(super) struct Left {
    /// The view, the place in it, and in the text; `None` before the first look.
    at: Option<(usize, usize, usize)>,
    /// Filled from its end.
    room: [u8; BEHIND_MAX],
    from: usize,
    names: Option<DetectorSet>,
    /// By reach, as words are searched for in it.
    before: Vec<(usize, String)>,
}

impl Default for Left {
    fn default() -> Self {
        Self { at: None, room: [0; BEHIND_MAX], from: BEHIND_MAX, names: None, before: Vec::new() }
    }
}

impl Left {
    /// Looks from a place; `spans` are those so far, `behind` is what was released before.
    pub(super) fn look(&mut self, at: (usize, usize, usize), view: &View<'_>, spans: &[Span], behind: &[u8]) {
        if self.at.replace(at) == Some(at) {
            return;
        }
        (self.from, self.names) = (BEHIND_MAX, None);
        self.before.clear();
        let (_, mut place, start) = at;
        // What a span that is still growing hides stands beside the place, not before it.
        for span in spans.iter().rev().skip_while(|span| span.end > start) {
            let end = view.place_of(span.end).min(place);
            self.put(view.text.get(end..place).unwrap_or_default());
            self.put(&[MASKED_SPAN]);
            place = view.place_of(span.start).min(end);
            if self.from == 0 {
                return;
            }
        }
        self.put(view.text.get(..place).unwrap_or_default());
        self.put(behind);
    }

    /// Puts text before what is there, as much of its end as there is room for.
    fn put(&mut self, text: &[u8]) {
        let size = text.len().min(self.from);
        let (room, text) = (self.room.get_mut(self.from - size..self.from), text.get(text.len() - size..));
        if let (Some(room), Some(text)) = (room, text) {
            room.copy_from_slice(text);
            self.from -= size;
        }
    }

    fn text(&self) -> &[u8] {
        self.room.get(self.from..).unwrap_or_default()
    }

    /// Nearest first.
    pub(super) fn bytes(&self) -> impl Iterator<Item = u8> + '_ {
        self.text().iter().rev().copied()
    }

    /// The detectors that may have a word within the longest reach.
    pub(super) fn names(&mut self) -> DetectorSet {
        if let Some(names) = self.names {
            return names;
        }
        let text = self.text();
        let near = text.get(text.len().saturating_sub(REACH)..).unwrap_or_default();
        let plain = near.iter().all(|&byte| byte.is_ascii() && !matches!(byte, b']' | b'>' | MASKED_SPAN));
        let names = if plain { EVERY_WORD.detectors_in(near) } else { EVERY_WORD.detectors_in(&self.visible(REACH)) };
        *self.names.insert(names)
    }

    /// So many characters, without masked spans and placeholders, as words are searched for in them, behind one that shows whether the
    /// first word is whole.
    pub(super) fn before(&mut self, reach: usize) -> &str {
        let at = match self.before.iter().position(|(known, _)| *known == reach) {
            Some(at) => at,
            None => {
                let visible = self.visible(reach + 1);
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

    fn visible(&self, reach: usize) -> Vec<u8> {
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
        kept
    }
}

/// How many bytes a placeholder takes that ends behind this text with this bracket.
fn placeholder_at_end(before: &[u8], close: u8) -> Option<usize> {
    let open = if close == b']' { b'[' } else { b'<' };
    let length = before.iter().rev().take(PLACEHOLDER_MAX - 1).position(|&byte| byte == open)?;
    is_placeholder(before.get(before.len() - length..)?).then_some(length + 2)
}
