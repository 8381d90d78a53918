//! How an API streams: which events there are, where the pieces of texts stand in them, and what ends a text.

use super::table::{Automaton, Part};
use super::text_kind::TextKind;
use std::sync::OnceLock;

/// The streamed form of an operation's answer.
#[derive(Debug)]
pub(crate) struct StreamTable {
    /// The texts that come in pieces.
    pub(crate) channels: &'static [ChannelSpec],
    /// How the end shows.
    pub(crate) marks: Marks,
    /// The events; of one kind without a name, or by their member `type`.
    pub(crate) events: &'static [EventSpec],
    /// Made from them when they are first used.
    pub(crate) automata: OnceLock<Vec<Automaton>>,
}

/// A text that comes in pieces.
#[derive(Debug)]
pub(crate) struct ChannelSpec {
    /// Its place in the non-streamed form.
    pub(crate) whole: &'static str,
    /// What it is.
    pub(crate) kind: TextKind,
    /// The place of its pieces in an event, from which an event for held text is made. Empty: the last event of the
    /// channel is the pattern.
    pub(crate) event: &'static str,
}

/// How a stream shows that a choice ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marks {
    /// Each choice has its finish reason; the last one ends the stream.
    Finish,
    /// An event of its own kind, or a member, ends the stream.
    Event,
}

/// A kind of event.
#[derive(Debug)]
pub(crate) struct EventSpec {
    /// Its `type`; empty: every event.
    pub(crate) name: &'static str,
    /// What stands where.
    pub(crate) parts: &'static [Part],
    /// Members whose numbers say which text it is about, outermost first; what is not there is 0.
    pub(crate) indices: &'static [&'static str],
    /// What it ends.
    pub(crate) ends: Ends,
}

/// What an event ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Nothing.
    Nothing,
    /// One channel, with the event's numbers.
    Channel(u8),
    /// Every channel whose first numbers are the event's.
    Numbered,
    /// The stream.
    Stream,
    /// The stream, if it has this member and that is not null.
    StreamIf(&'static str),
}

impl StreamTable {
    /// The events of this type, and their automaton; `None` if the API has none of that name.
    pub(crate) fn event(&'static self, name: Option<&str>) -> Option<(&'static EventSpec, &'static Automaton)> {
        let at = match self.events {
            [only] if only.name.is_empty() => Some(0),
            events => events.iter().position(|event| Some(event.name) == name),
        }?;
        let automata =
            self.automata.get_or_init(|| self.events.iter().map(|event| Automaton::new(event.parts)).collect());
        self.events.get(at).zip(automata.get(at))
    }

    /// Whether events say what they are.
    pub(crate) fn has_types(&self) -> bool {
        self.events.iter().all(|event| !event.name.is_empty())
    }
}
