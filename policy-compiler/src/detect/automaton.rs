//! Anchored automata that tell, byte by byte, whether an attempt is dead, matched or could still grow.
//!
//! Small regexes become a dense table of our own (shared, immutable, its states are plain numbers, so a stream can park
//! an attempt between two chunks). Regexes whose table would be too big run on a lazy DFA with a pooled cache; their
//! attempts are run again from the start with each chunk.

use regex_automata::dfa::{Automaton as _, StartKind, dense};
use regex_automata::hybrid::dfa as lazy;
use regex_automata::nfa::thompson;
use regex_automata::util::pool::Pool;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::{Hir, HirKind, Look};
use std::collections::HashMap;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Bytes of NFA that one regex may take.
const NFA_BYTES_MAX: usize = 4 << 20;
/// Bytes of dense table that one regex may take before it runs on the lazy DFA.
const TABLE_BYTES_MAX: usize = 4 << 20;
/// Bytes that building the dense table may take.
const DETERMINIZE_BYTES_MAX: usize = 8 << 20;
/// Bytes of cache of one lazy DFA.
const LAZY_CACHE_BYTES: usize = 4 << 20;
/// Nesting of a regex.
const NEST_MAX: u32 = 64;

/// The state is a match that ended before the byte just consumed.
const MATCH: u8 = 1;
/// No match can follow.
const HOPELESS: u8 = 2;
/// A match ends here whatever comes next, and none that is longer can follow.
const SETTLED: u8 = 4;

/// One compiled regex.
#[derive(Debug)]
pub(crate) enum Automaton {
    /// Small enough for a table.
    Table(Box<Table>),
    /// Determinised while it runs.
    Lazy(Box<LazyAutomaton>),
}

/// A lazy DFA and the caches that are not in use.
pub(crate) struct LazyAutomaton {
    dfa: lazy::DFA,
    caches: Pool<lazy::Cache, CacheFactory>,
}

type CacheFactory = Box<dyn Fn() -> lazy::Cache + Send + Sync + UnwindSafe + RefUnwindSafe>;

impl std::fmt::Debug for LazyAutomaton {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LazyAutomaton").finish_non_exhaustive()
    }
}

/// A dense table: `next[state * classes + class(byte)]`.
#[derive(Debug)]
pub(crate) struct Table {
    class_of: [u8; 256],
    classes: usize,
    next: Vec<u32>,
    flags: Vec<u8>,
    eoi_match: Vec<bool>,
    /// By the byte before the start; the last one is for the start of the text.
    starts: Vec<u32>,
}

/// What one step of an attempt says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    /// A match ended before the byte just consumed.
    pub(crate) matched: bool,
    /// What is to come.
    pub(crate) outlook: Outlook,
}

/// What can follow after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outlook {
    /// Some continuation matches.
    Alive,
    /// None does.
    Dead,
    /// A match ends after the byte just consumed, and no longer one can follow.
    Settled,
}

impl Automaton {
    /// Compiles a regex.
    ///
    /// # Errors
    /// A text that says what is wrong with it.
    pub(crate) fn new(source: &str) -> Result<Self, String> {
        let hir = regex_syntax::ParserBuilder::new()
            .nest_limit(NEST_MAX)
            .utf8(true)
            .build()
            .parse(source)
            .map_err(|error| error.to_string())?;
        let hir = with_ascii_word_boundaries(hir);
        let nfa = thompson::Compiler::new()
            .configure(thompson::Config::new().nfa_size_limit(Some(NFA_BYTES_MAX)))
            .build_from_hir(&hir)
            .map_err(|error| error.to_string())?;
        match Table::new(&nfa) {
            Some(table) => Ok(Self::Table(Box::new(table))),
            None => Ok(Self::Lazy(Box::new(LazyAutomaton::new(nfa)?))),
        }
    }

    /// Which bytes can begin a match.
    pub(crate) fn first_bytes(&self) -> Box<[bool; 256]> {
        let mut first = Box::new([true; 256]);
        if let Self::Table(table) = self {
            let starts = table.distinct_starts();
            for (byte, can) in first.iter_mut().enumerate() {
                *can = starts.iter().any(|&start| {
                    let next = table.next(start, u8::try_from(byte).unwrap_or(u8::MAX));
                    table.flag(next) & HOPELESS == 0
                });
            }
        }
        first
    }

    /// Which bytes can stand behind the first one of a match, or behind a match of one byte.
    pub(crate) fn second_bytes(&self) -> Box<[bool; 256]> {
        let mut second = Box::new([true; 256]);
        if let Self::Table(table) = self {
            let mut firsts: Vec<u32> = table
                .distinct_starts()
                .into_iter()
                .flat_map(|start| (0..=255_u8).map(move |byte| table.next(start, byte)))
                .filter(|&state| table.flag(state) & HOPELESS == 0)
                .collect();
            firsts.sort_unstable();
            firsts.dedup();
            for (byte, can) in second.iter_mut().enumerate() {
                let byte = u8::try_from(byte).unwrap_or(u8::MAX);
                *can = firsts.iter().any(|&state| {
                    let flag = table.flag(table.next(state, byte));
                    table.flag(state) & SETTLED != 0 || flag & MATCH != 0 || flag & HOPELESS == 0
                });
            }
        }
        second
    }
}

impl Table {
    fn new(nfa: &thompson::NFA) -> Option<Self> {
        let dfa = dense::Builder::new()
            .configure(
                dense::Config::new()
                    .start_kind(StartKind::Anchored)
                    .match_kind(MatchKind::All)
                    .accelerate(false)
                    .dfa_size_limit(Some(TABLE_BYTES_MAX))
                    .determinize_size_limit(Some(DETERMINIZE_BYTES_MAX)),
            )
            .build_from_nfa(nfa)
            .ok()?;
        let classes = dfa.byte_classes();
        let mut class_of = [0_u8; 256];
        for byte in 0..=255_u8 {
            if let Some(slot) = class_of.get_mut(usize::from(byte)) {
                *slot = classes.get(byte);
            }
        }
        let count = classes.alphabet_len() - 1;
        let mut representative = vec![0_u8; count];
        for byte in (0..=255_u8).rev() {
            if let Some(slot) = representative.get_mut(usize::from(classes.get(byte))) {
                *slot = byte;
            }
        }
        let mut ids = HashMap::new();
        let mut queue = Vec::new();
        let mut id_of = |state, queue: &mut Vec<_>| -> u32 {
            let fresh = u32::try_from(ids.len()).unwrap_or(u32::MAX);
            *ids.entry(state).or_insert_with(|| {
                queue.push(state);
                fresh
            })
        };
        let mut starts = Vec::with_capacity(257);
        for before in (0..=255_u8).map(Some).chain([None]) {
            let config = start::Config::new().anchored(Anchored::Yes).look_behind(before);
            starts.push(id_of(dfa.start_state(&config).ok()?, &mut queue));
        }
        let (mut next, mut matched, mut eoi_match) = (Vec::new(), Vec::new(), Vec::new());
        let mut done = 0;
        while let Some(&state) = queue.get(done) {
            done += 1;
            if dfa.is_quit_state(state) {
                return None;
            }
            for &byte in &representative {
                next.push(id_of(dfa.next_state(state, byte), &mut queue));
            }
            matched.push(dfa.is_match_state(state));
            eoi_match.push(dfa.is_match_state(dfa.next_eoi_state(state)));
        }
        let flags = flags(&next, count, &matched, &eoi_match);
        Some(Self { class_of, classes: count, next, flags, eoi_match, starts })
    }

    fn distinct_starts(&self) -> Vec<u32> {
        let mut starts = self.starts.clone();
        starts.sort_unstable();
        starts.dedup();
        starts
    }

    /// The state before the first byte; `before` is the byte in front of it.
    pub(crate) fn start(&self, before: Option<u8>) -> u32 {
        let slot = before.map_or(256, usize::from);
        self.starts.get(slot).copied().unwrap_or_default()
    }

    /// One byte.
    #[inline]
    pub(crate) fn next(&self, state: u32, byte: u8) -> u32 {
        let class = self.class_of.get(usize::from(byte)).copied().unwrap_or_default();
        let at = state as usize * self.classes + usize::from(class);
        self.next.get(at).copied().unwrap_or_default()
    }

    #[inline]
    fn flag(&self, state: u32) -> u8 {
        self.flags.get(state as usize).copied().unwrap_or(HOPELESS)
    }

    /// What the state says.
    #[inline]
    pub(crate) fn step(&self, state: u32) -> Step {
        let flag = self.flag(state);
        let outlook = if flag & HOPELESS != 0 {
            Outlook::Dead
        } else if flag & SETTLED != 0 {
            Outlook::Settled
        } else {
            Outlook::Alive
        };
        Step { matched: flag & MATCH != 0, outlook }
    }

    /// Whether the text matches if it ends here.
    pub(crate) fn matches_at_end(&self, state: u32) -> bool {
        self.eoi_match.get(state as usize).copied().unwrap_or_default()
    }
}

/// Works out which states are hopeless or settled: backwards reachability of a match, then one look ahead.
fn flags(next: &[u32], classes: usize, matched: &[bool], eoi_match: &[bool]) -> Vec<u8> {
    let is_match = |state: u32| matched.get(state as usize).copied().unwrap_or_default();
    let mut hope = eoi_match.to_vec();
    loop {
        let mut changed = false;
        // Backwards, since breadth-first numbering puts most successors behind.
        for (state, row) in next.chunks_exact(classes).enumerate().rev() {
            let now = hope.get(state).copied().unwrap_or_default();
            let then = row.iter().any(|&to| is_match(to) || hope.get(to as usize).copied().unwrap_or_default());
            if then && !now {
                if let Some(slot) = hope.get_mut(state) {
                    *slot = true;
                }
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    let hopeful = |state: u32| hope.get(state as usize).copied().unwrap_or_default();
    next.chunks_exact(classes)
        .enumerate()
        .map(|(state, row)| {
            let id = u32::try_from(state).unwrap_or(u32::MAX);
            let mut flag = if is_match(id) { MATCH } else { 0 };
            if !hopeful(id) {
                flag |= HOPELESS;
            } else if eoi_match.get(state) == Some(&true) && row.iter().all(|&to| is_match(to) && !hopeful(to)) {
                flag |= SETTLED;
            }
            flag
        })
        .collect()
}

impl LazyAutomaton {
    fn new(nfa: thompson::NFA) -> Result<Self, String> {
        let dfa = lazy::Builder::new()
            .configure(
                lazy::Config::new()
                    .match_kind(MatchKind::All)
                    .cache_capacity(LAZY_CACHE_BYTES)
                    .skip_cache_capacity_check(true)
                    .minimum_cache_clear_count(None),
            )
            .build_from_nfa(nfa)
            .map_err(|error| error.to_string())?;
        let for_cache = dfa.clone();
        let factory: CacheFactory = Box::new(move || for_cache.create_cache());
        Ok(Self { dfa, caches: Pool::new(factory) })
    }

    /// Runs over `text`, which begins after `before`, and calls `matched` with the length of each match found. Returns
    /// whether the attempt is still alive at the end of the text and after how many bytes it was not.
    pub(crate) fn run(
        &self,
        before: Option<u8>,
        text: &[u8],
        last: bool,
        mut matched: impl FnMut(usize),
    ) -> (bool, usize) {
        let mut guard = self.caches.get();
        let cache: &mut lazy::Cache = &mut guard;
        let config = start::Config::new().anchored(Anchored::Yes).look_behind(before);
        let Ok(mut state) = self.dfa.start_state(cache, &config) else {
            return (false, 0);
        };
        for (position, &byte) in text.iter().enumerate() {
            // Cannot fail: the cache is cleared as often as needed.
            let Ok(next) = self.dfa.next_state(cache, state, byte) else {
                return (false, position);
            };
            state = next;
            if state.is_match() {
                matched(position);
            }
            if state.is_dead() || state.is_quit() {
                return (false, position + 1);
            }
        }
        if last {
            if let Ok(end) = self.dfa.next_eoi_state(cache, state)
                && end.is_match()
            {
                matched(text.len());
            }
            return (false, text.len());
        }
        (true, text.len())
    }
}

/// Word boundaries by ASCII: Unicode ones cannot run on an automaton that sees one byte ahead.
fn with_ascii_word_boundaries(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(match look {
            Look::WordUnicode => Look::WordAscii,
            Look::WordUnicodeNegate => Look::WordAsciiNegate,
            Look::WordStartUnicode => Look::WordStartAscii,
            Look::WordEndUnicode => Look::WordEndAscii,
            Look::WordStartHalfUnicode => Look::WordStartHalfAscii,
            Look::WordEndHalfUnicode => Look::WordEndHalfAscii,
            other => other,
        }),
        HirKind::Repetition(mut repetition) => {
            repetition.sub = Box::new(with_ascii_word_boundaries(*repetition.sub));
            Hir::repetition(repetition)
        }
        HirKind::Capture(mut capture) => {
            capture.sub = Box::new(with_ascii_word_boundaries(*capture.sub));
            Hir::capture(capture)
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(with_ascii_word_boundaries).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(with_ascii_word_boundaries).collect()),
    }
}
