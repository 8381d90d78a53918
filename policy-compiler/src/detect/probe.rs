//! What a recogniser reads text through: it notes when one reads beyond what has arrived.
//!
//! A recogniser is a function of the bytes that it reads. One that never read past the end of what has arrived says the same for every
//! continuation; one that did must be asked again. That is all that prefix safety and invariance need, whatever the
//! recogniser does, and its hold-back is as short as its reading is lazy.

use super::classes::{MASKED_SPAN, is_boundary};
use std::cell::Cell;

/// Text from a place onwards, and whether more will come.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    text: &'a [u8],
    /// What was there before `text`.
    behind: &'a [u8],
    /// Where a masked span ends: what begins there sees [`MASKED_SPAN`] before it.
    opened: Option<usize>,
    last: bool,
    starved: Cell<bool>,
    /// A part of the text of which every byte is known to be of a token, see [`Probe::token_run`].
    token: Cell<(usize, usize)>,
    /// Parts that are known not to hold the end of a private key, by its kind, see [`Probe::search`].
    searched: [Cell<(usize, usize)>; 2],
}

impl<'a> Probe<'a> {
    /// A view of `text`; `last` says that no more will come.
    pub(super) fn new(text: &'a [u8], behind: &'a [u8], opened: Option<usize>, last: bool) -> Self {
        let (starved, token, searched) = (Cell::new(false), Cell::new((0, 0)), Default::default());
        Self { text, behind, opened, last, starved, token, searched }
    }

    /// The byte at a place; 0 behind the end.
    #[inline]
    pub(super) fn at(&self, place: usize) -> u8 {
        #[cfg(test)]
        STEPS.set(STEPS.get() + 1);
        match self.text.get(place) {
            Some(&byte) => byte,
            None => {
                if !self.last {
                    self.starved.set(true);
                }
                0
            }
        }
    }

    /// The byte before a place; 0 before the beginning of the text. Never starves.
    #[inline]
    pub(super) fn before(&self, place: usize) -> u8 {
        if self.opened == Some(place) {
            return MASKED_SPAN;
        }
        match place.checked_sub(1) {
            Some(at) => self.text.get(at).copied().unwrap_or_default(),
            None => self.behind.last().copied().unwrap_or_default(),
        }
    }

    /// The byte so many steps before a place, whatever was masked; 0 where nothing is remembered.
    #[inline]
    pub(super) fn left(&self, place: usize, steps: usize) -> u8 {
        let byte = match place.checked_sub(steps) {
            Some(at) => self.text.get(at),
            None => self.behind.len().checked_sub(steps - place).and_then(|at| self.behind.get(at)),
        };
        byte.copied().unwrap_or_default()
    }

    /// The bytes before a place, nearest first, over at most `reach` bytes.
    pub(super) fn leftwards(&self, place: usize, reach: usize) -> impl Iterator<Item = u8> + '_ {
        let near = self.text.get(..place).unwrap_or(self.text);
        near.iter().rev().chain(self.behind.iter().rev()).copied().take(reach)
    }

    /// Whether the text so far was read past its end.
    #[inline]
    pub(super) fn is_starved(&self) -> bool {
        self.starved.get()
    }

    /// Whether the text so far was read past its end, since the last call.
    #[inline]
    pub(super) fn take_starved(&self) -> bool {
        self.starved.take()
    }

    /// The text that has arrived.
    pub(super) fn text(&self) -> &'a [u8] {
        self.text
    }

    /// Whether no more will come.
    pub(super) fn is_last(&self) -> bool {
        self.last
    }

    /// The bytes of a range that was read.
    pub(super) fn slice(&self, start: usize, end: usize) -> &'a [u8] {
        self.text.get(start..end).unwrap_or_default()
    }

    /// Whether a match of digits and letters may end here.
    #[inline]
    pub(super) fn ends(&self, end: usize) -> bool {
        is_boundary(self.before(end), self.at(end))
    }

    /// Whether the text goes on with `word` here, in any ASCII case.
    pub(super) fn starts_with(&self, place: usize, word: &str) -> bool {
        word.bytes().enumerate().all(|(offset, byte)| self.at(place + offset).eq_ignore_ascii_case(&byte))
    }

    /// The first place at or after `from`, at most `most` further, whose byte is not of the set.
    #[inline]
    pub(super) fn run(&self, from: usize, most: usize, set: impl Fn(u8) -> bool) -> usize {
        let mut at = from;
        while at < from + most && set(self.at(at)) {
            at += 1;
        }
        at
    }

    /// The first place from `from` up to `to` where `is_end` holds; else the place where the search ended, at `to` or at a byte 0. What was
    /// searched for one `kind` of end is not searched again.
    pub(super) fn search(
        &self,
        kind: usize,
        from: usize,
        to: usize,
        is_end: impl Fn(usize) -> bool,
    ) -> Result<usize, usize> {
        let searched = self.searched.get(kind);
        let (known_from, known_to) = searched.map(Cell::get).unwrap_or_default();
        let known = (known_from..=known_to).contains(&from);
        let mut at = if known { known_to.min(to) } else { from };
        let mut found = false;
        while at < to && self.at(at) != 0 && !found {
            found = is_end(at);
            at += usize::from(!found);
        }
        if let Some(searched) = searched {
            searched.set(if known { (known_from, known_to.max(at)) } else { (from, at) });
        }
        if found { Ok(at) } else { Err(at) }
    }

    /// [`Probe::run`] over letters, digits, `_` and `-`, of which tokens are made. They are long and may begin anywhere within one
    /// another, so what was read once is not read again.
    pub(super) fn token_run(&self, from: usize, most: usize) -> usize {
        let (known_from, known_to) = self.token.get();
        let known = (known_from..=known_to).contains(&from);
        let (begin, at) = if known { (known_from, known_to.min(from + most)) } else { (from, from) };
        let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let end = self.run(at, from + most - at, is_token);
        self.token.set((begin, if known { known_to.max(end) } else { end }));
        end
    }
}

#[cfg(test)]
thread_local! {
    /// Bytes that recognisers asked for.
    pub(super) static STEPS: Cell<u64> = const { Cell::new(0) };
}
