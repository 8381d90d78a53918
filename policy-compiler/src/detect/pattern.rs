//! A regex of a policy: an anchored automaton that is tried at each place where it can begin, leftmost and longest.

use super::automaton::{Automaton, Outlook};

/// Bytes that an attempt may consume and still be undecided. Counted per attempt, so it does not depend on how a text
/// was cut into chunks.
pub const CEILING: usize = 16 * 1024;

/// An attempt stayed undecided for longer than [`CEILING`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct CeilingExceeded;

/// A compiled pattern.
#[derive(Debug)]
pub(crate) struct Pattern {
    automaton: Automaton,
    first: Box<[bool; 256]>,
    second: Box<[bool; 256]>,
}

/// Text as one attempt sees it: a window whose first byte has the offset `base`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Window<'a> {
    /// The bytes at hand.
    pub(crate) text: &'a [u8],
    /// Offset of the first of them in the channel.
    pub(crate) base: u64,
    /// The byte before them.
    pub(crate) before: Option<u8>,
    /// No more will come.
    pub(crate) last: bool,
}

impl Window<'_> {
    fn end(&self) -> u64 {
        self.base + self.text.len() as u64
    }

    fn index(&self, offset: u64) -> usize {
        usize::try_from(offset.saturating_sub(self.base)).unwrap_or(usize::MAX)
    }

    fn byte_before(&self, index: usize) -> Option<u8> {
        match index.checked_sub(1) {
            Some(at) => self.text.get(at).copied(),
            None => self.before,
        }
    }
}

/// A match attempt that waits for more text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attempt {
    /// Where it began.
    pub(crate) start: u64,
    position: u64,
    state: u32,
    best: Option<u64>,
}

/// How an attempt came out.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// It matched up to this offset, or not at all.
    Decided(Option<u64>),
    /// More text is needed.
    Waits(Attempt),
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    /// A text that says what is wrong with the regex.
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let automaton = Automaton::new(source)?;
        let (first, second) = (automaton.first_bytes(), automaton.second_bytes());
        Ok(Self { automaton, first, second })
    }

    /// Whether a match can begin with this byte, and whether it can go on with that one.
    pub(super) fn begins(&self, first: u8, second: u8) -> (bool, bool) {
        let has = |set: &[bool; 256], byte: u8| set.get(usize::from(byte)) == Some(&true);
        (has(&self.first, first), has(&self.second, second))
    }

    /// The next place at or after `from` where a match may begin, or the end of the window.
    pub(crate) fn next_start(&self, window: Window<'_>, from: u64) -> u64 {
        let index = window.index(from);
        let rest = window.text.get(index..).unwrap_or_default();
        match rest.iter().position(|&byte| self.first.get(usize::from(byte)) == Some(&true)) {
            Some(skip) => window.base + (index + skip) as u64,
            None => window.end(),
        }
    }

    /// An attempt at `start`.
    pub(crate) fn attempt(&self, window: Window<'_>, start: u64) -> Attempt {
        let before = window.byte_before(window.index(start));
        let state = match &self.automaton {
            Automaton::Table(table) => table.start(before),
            Automaton::Lazy(_) => 0,
        };
        Attempt { start, position: start, state, best: None }
    }

    /// Runs an attempt over what the window holds beyond its position.
    ///
    /// # Errors
    /// [`CeilingExceeded`]
    pub(crate) fn run(&self, window: Window<'_>, attempt: Attempt) -> Result<Outcome, CeilingExceeded> {
        match &self.automaton {
            Automaton::Table(table) => {
                let mut attempt = attempt;
                let start = window.index(attempt.start);
                let from = window.index(attempt.position);
                let stop = window.text.len().min(start.saturating_add(CEILING + 1));
                for index in from..stop {
                    let Some(&byte) = window.text.get(index) else {
                        break;
                    };
                    attempt.state = table.next(attempt.state, byte);
                    let step = table.step(attempt.state);
                    if step.matched {
                        consider(window, start, index, &mut attempt.best);
                    }
                    match step.outlook {
                        Outlook::Alive => {}
                        Outlook::Dead => return Ok(Outcome::Decided(attempt.best)),
                        Outlook::Settled => {
                            consider(window, start, index + 1, &mut attempt.best);
                            return Ok(Outcome::Decided(attempt.best));
                        }
                    }
                }
                attempt.position = window.base + stop.max(from) as u64;
                if stop > start + CEILING {
                    return Err(CeilingExceeded);
                }
                if !window.last {
                    return Ok(Outcome::Waits(attempt));
                }
                if table.matches_at_end(attempt.state) {
                    consider(window, start, window.text.len(), &mut attempt.best);
                }
                Ok(Outcome::Decided(attempt.best))
            }
            Automaton::Lazy(automaton) => {
                let start = window.index(attempt.start);
                let rest = window.text.get(start..).unwrap_or_default();
                let text = rest.get(..CEILING + 1).unwrap_or(rest);
                let mut best = None;
                let cut = text.len() > CEILING;
                let (alive, _) = automaton.run(window.byte_before(start), text, window.last && !cut, |length| {
                    consider(window, start, start + length, &mut best)
                });
                match (alive, cut) {
                    (false, _) => Ok(Outcome::Decided(best)),
                    (true, true) => Err(CeilingExceeded),
                    (true, false) => Ok(Outcome::Waits(attempt)),
                }
            }
        }
    }
}

/// Takes a match that is not empty as the best so far. Ends come in growing order.
fn consider(window: Window<'_>, start: usize, end: usize, best: &mut Option<u64>) {
    if end > start {
        *best = Some(window.base + end as u64);
    }
}
