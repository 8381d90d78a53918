//! What stood before a text: a few hundred bytes of what was released, as each view shows it.

use super::classes::MASKED_SPAN;
use super::fold::View;

/// Bytes of text that is remembered of what was released.
pub(crate) const BEHIND_MAX: usize = 320;
/// Bytes that are folded again to remember the last [`BEHIND_MAX`] of them.
pub(crate) const BEHIND_READ: usize = 4 * BEHIND_MAX;
/// Bytes that gather before the oldest are let go of.
const KEPT_MAX: usize = BEHIND_MAX + 64;

/// What stood before a text, as each view shows it: as it was, for the names before assignments, and with masked spans as one byte, for
/// context words. It never leaves the memory of the call.
///
/// Mostly all of these are the same, and only one is kept.
#[derive(Debug, Default)]
pub(crate) struct Behind {
    raw: Tail,
    /// With masked spans as one byte, if there was one lately.
    masked: Option<Box<Tail>>,
    /// What the second view shows of both, if that is something else.
    decoded: Option<Box<[Tail; 2]>>,
    /// Bytes since the last span was masked, and since something was decoded.
    since_masked: usize,
    since_decoded: usize,
}

/// The end of a text.
#[derive(Clone, Debug, Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn push(&mut self, text: &[u8]) {
        let text = text.get(text.len().saturating_sub(BEHIND_MAX)..).unwrap_or(text);
        if self.0.capacity() == 0 {
            self.0.reserve_exact(KEPT_MAX);
        }
        if self.0.len() + text.len() > KEPT_MAX {
            let kept = BEHIND_MAX - text.len();
            self.0.drain(..self.0.len().saturating_sub(kept));
        }
        self.0.extend_from_slice(text);
    }

    fn last(&self) -> &[u8] {
        self.0.get(self.0.len().saturating_sub(BEHIND_MAX)..).unwrap_or_default()
    }
}

impl Behind {
    /// Text that was released as it is.
    pub(crate) fn push_kept(&mut self, text: &[u8]) {
        if text.is_empty() {
            return;
        }
        self.push(text, false);
    }

    /// A span that was masked.
    pub(crate) fn push_masked(&mut self, text: &[u8]) {
        if self.masked.is_none() {
            self.masked = Some(Box::new(self.raw.clone()));
        }
        self.push(text, true);
    }

    /// Nothing stands before it.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }

    fn push(&mut self, text: &[u8], masked: bool) {
        let from = text.len().saturating_sub(BEHIND_READ);
        // Not from within a character.
        let from = (from..text.len()).find(|&at| !matches!(text.get(at), Some(0x80..=0xBF))).unwrap_or(text.len());
        let text = text.get(from..).unwrap_or_default();
        let folded = View::folded(text, true).text;
        let decoded = View::decoded(text, true).map(|view| view.text);
        if decoded.is_some() && self.decoded.is_none() {
            let masked = self.masked.as_deref().unwrap_or(&self.raw);
            self.decoded = Some(Box::new([self.raw.clone(), masked.clone()]));
        }
        let shown: &[u8] = if masked { &[MASKED_SPAN] } else { &folded };
        self.raw.push(&folded);
        if let Some(tail) = &mut self.masked {
            tail.push(shown);
        }
        let second = decoded.as_deref().unwrap_or(&folded);
        if let Some(tails) = &mut self.decoded {
            let [raw_tail, masked_tail] = &mut **tails;
            raw_tail.push(second);
            masked_tail.push(if masked { &[MASKED_SPAN] } else { second });
        }
        // What is the same again is kept once.
        self.since_masked = if masked { 0 } else { self.since_masked.saturating_add(folded.len()) };
        if self.since_masked >= BEHIND_MAX {
            self.masked = None;
        }
        let shown = if masked { 1 } else { second.len().min(folded.len()) };
        self.since_decoded = if decoded.is_some() { 0 } else { self.since_decoded.saturating_add(shown) };
        if self.since_decoded >= BEHIND_MAX {
            self.decoded = None;
        }
    }

    /// As it was, in one view.
    pub(super) fn raw(&self, view: usize) -> &[u8] {
        match (view, &self.decoded) {
            (1, Some(tails)) => tails[0].last(),
            _ => self.raw.last(),
        }
    }

    /// With masked spans as one byte, in one view.
    pub(super) fn masked(&self, view: usize) -> &[u8] {
        match (view, &self.decoded, &self.masked) {
            (1, Some(tails), _) => tails[1].last(),
            (_, _, Some(tail)) => tail.last(),
            _ => self.raw.last(),
        }
    }

    /// Whether a masked span stands right before the text.
    pub(super) fn ends_masked(&self) -> bool {
        self.masked(0).last() == Some(&MASKED_SPAN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same with nothing left out.
    #[derive(Default)]
    struct Plain([Vec<u8>; 4]);

    impl Plain {
        fn push(&mut self, text: &[u8], masked: bool) {
            let folded = View::folded(text, true).text.into_owned();
            let decoded = View::decoded(text, true).map_or_else(|| folded.clone(), |view| view.text.into_owned());
            let one = vec![MASKED_SPAN];
            let shown = if masked { [&folded, &decoded, &one, &one] } else { [&folded, &decoded, &folded, &decoded] };
            for (tail, text) in self.0.iter_mut().zip(shown) {
                tail.extend_from_slice(text);
                let surplus = tail.len().saturating_sub(BEHIND_MAX);
                tail.drain(..surplus);
            }
        }
    }

    #[test]
    fn what_is_kept_once_is_the_same() {
        let texts: [&[u8]; 7] = [b"plain text ", b"a%34b", b"", "４１ ".as_bytes(), b"&#52;", &[b'x'; 200], b"\n"];
        let (mut behind, mut plain) = (Behind::default(), Plain::default());
        for round in 0_usize..4000 {
            let text = texts[(round * round + round / 7) % 7];
            let masked = round % 11 == 3 && round % 97 < 60;
            if masked {
                behind.push_masked(text);
            } else {
                behind.push_kept(text);
            }
            if masked || !text.is_empty() {
                plain.push(text, masked);
            }
            let kept = [behind.raw(0), behind.raw(1), behind.masked(0), behind.masked(1)];
            assert!(kept.iter().zip(&plain.0).all(|(kept, plain)| *kept == plain.as_slice()), "{round}");
        }
    }
}
