//! Tables: which place of a JSON text means what, compiled to one automaton per table.
//!
//! A place is written as in `choices[].message.tool_calls[].function.arguments`: names, `[]` for every element, `*` for any
//! member, and `**` at the end for everything below that no other line names.

use crate::json::unescape;
use std::sync::OnceLock;

/// What stands at a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Text. An object or array in its place is text in every string.
    Text,
    /// JSON in a string, as in the arguments of a function call.
    Json,
    /// A JSON value that the model wrote: the same as [`Self::Json`] without the string around it.
    Tree,
    /// Text whose block is signed: a masked one takes its block with it.
    Signed,
    /// A name, id or enumeration of the API; no text.
    Name,
    /// No text that could be read: images, audio, vectors, ciphertext.
    Opaque,
    /// Something that stands elsewhere.
    Reference,
    /// Repeats a text of the same answer in another form: goes when that text is changed.
    Echo,
    /// Repeats a text that this message does not have, in a form that cannot be read: always goes.
    Unread,
    /// Data that is text if its neighbour `type` says so.
    Source,
    /// Data that is text if its neighbour `datatype` is `BYTES`.
    Tensor,
    /// A prompt as text, or as token ids that nobody can read.
    Prompt,
    /// The id of an item: a reference if its neighbour `type` is `item_reference`.
    ItemId,
    /// Makes the message unreadable by its presence.
    Hidden,
    /// A piece of a channel of a stream, by its number in [`super::stream_table::StreamTable::channels`].
    Piece(u8),
    /// A part of the non-streamed form, which begins at this place of it.
    Whole(&'static str),
    /// The signature of a text that came before.
    Signature,
    /// The model that answers.
    Model,
    /// Why it ended; in an event, the end of what is numbered alike.
    Finish,
    /// Tokens of the prompt.
    InputTokens,
    /// Tokens of the answer.
    OutputTokens,
    /// Tokens of both.
    TotalTokens,
}

/// One line of a table.
pub(crate) type Line = (&'static str, Role);

/// Lines that several tables share, and where they stand.
pub(crate) type Part = (&'static str, &'static [Line]);

/// Lines, and the automaton made from them when it is first used.
#[derive(Debug)]
pub(crate) struct Table {
    parts: &'static [Part],
    automaton: OnceLock<Automaton>,
}

/// States by number; 0 is the root.
#[derive(Debug)]
pub(crate) struct Automaton {
    states: Vec<State>,
}

/// A place.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// Members that lead on, sorted by key and name.
    names: Vec<(u32, &'static str, usize)>,
    /// Where elements lead.
    pub(crate) element: Option<usize>,
    /// Where members without a name here lead.
    any: Option<usize>,
    /// What everything below is that has no line.
    pub(crate) below: Option<Role>,
    /// What stands here.
    pub(crate) role: Option<Role>,
}

impl Table {
    /// A table of these lines, in parts that several tables share.
    pub(crate) const fn new(parts: &'static [Part]) -> Self {
        Self { parts, automaton: OnceLock::new() }
    }

    /// The automaton.
    pub(crate) fn automaton(&self) -> &Automaton {
        self.automaton.get_or_init(|| Automaton::new(self.parts))
    }

    /// Whether a line has this member.
    pub(crate) fn names(&self, member: &str) -> bool {
        self.automaton().states.iter().any(|state| state.member(member).is_some())
    }
}

impl Automaton {
    /// The automaton of these lines.
    pub(crate) fn new(parts: &'static [Part]) -> Self {
        let mut automaton = Self { states: vec![State::default()] };
        for (prefix, lines) in parts {
            for (place, role) in *lines {
                automaton.add(steps(prefix).chain(steps(place)), *role);
            }
        }
        automaton
    }

    fn add(&mut self, place: impl Iterator<Item = Step>, role: Role) {
        let mut at = 0;
        for step in place {
            match step {
                Step::Below => {
                    if let Some(state) = self.states.get_mut(at) {
                        state.below = Some(role);
                    }
                    return;
                }
                step => at = self.next_or_new(at, step),
            }
        }
        if let Some(state) = self.states.get_mut(at) {
            state.role = Some(role);
        }
    }

    fn next_or_new(&mut self, at: usize, step: Step) -> usize {
        let new = self.states.len();
        let Some(state) = self.states.get_mut(at) else { return 0 };
        let found = match step {
            Step::Name(name) => match state.place_of(name.as_bytes()) {
                Ok(found) => state.names.get(found).map(|(_, _, next)| *next),
                Err(place) => {
                    state.names.insert(place, (key_of(name.as_bytes()), name, new));
                    None
                }
            },
            Step::Element => state.element.replace(new).inspect(|old| state.element = Some(*old)),
            Step::Any | Step::Below => state.any.replace(new).inspect(|old| state.any = Some(*old)),
        };
        found.unwrap_or_else(|| {
            self.states.push(State::default());
            new
        })
    }

    /// The state with this number.
    pub(crate) fn state(&self, number: usize) -> Option<&State> {
        self.states.get(number)
    }

    /// The state of a place, written as in the lines, and what it is if no line says so.
    pub(crate) fn find(&self, place: &'static str) -> (Option<usize>, Option<Role>) {
        let (mut at, mut below) = (Some(0), None);
        for step in steps(place) {
            let Some(state) = at.and_then(|at| self.states.get(at)) else { break };
            below = state.below.or(below);
            at = match step {
                Step::Name(name) => state.member(name).map(|(_, next)| next),
                Step::Element => state.element,
                Step::Any | Step::Below => state.any,
            };
        }
        (at, below)
    }
}

impl State {
    /// Where a member leads, and its name in the table (`*` for any).
    pub(crate) fn member(&self, name: &str) -> Option<(&'static str, usize)> {
        self.member_named(name.as_bytes())
    }

    /// The same for a name as it stands between its quotes.
    pub(crate) fn member_as_spelt(&self, raw: &[u8]) -> Option<(&'static str, usize)> {
        if raw.contains(&b'\\') { self.member(&unescape(raw)) } else { self.member_named(raw) }
    }

    fn member_named(&self, name: &[u8]) -> Option<(&'static str, usize)> {
        let found = self.place_of(name).ok().and_then(|found| self.names.get(found));
        found.map(|(_, name, next)| (*name, *next)).or_else(|| self.any.map(|next| ("*", next)))
    }

    fn place_of(&self, name: &[u8]) -> Result<usize, usize> {
        let key = key_of(name);
        self.names.binary_search_by(|(known, text, _)| known.cmp(&key).then_with(|| text.as_bytes().cmp(name)))
    }

    /// Whether members lead on from here.
    pub(crate) fn has_members(&self) -> bool {
        !self.names.is_empty() || self.any.is_some()
    }
}

/// Tells most names apart without comparing them: the length, the first and the last byte.
fn key_of(name: &[u8]) -> u32 {
    let byte = |byte: Option<&u8>| u32::from(byte.copied().unwrap_or_default());
    u32::try_from(name.len()).unwrap_or(u32::MAX) << 16 | byte(name.first()) << 8 | byte(name.last())
}

/// A step of a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The member of this name.
    Name(&'static str),
    /// Any element.
    Element,
    /// Any member.
    Any,
    /// Everything below.
    Below,
}

/// The steps of a place.
pub(crate) fn steps(place: &'static str) -> impl Iterator<Item = Step> {
    place.split('.').filter(|part| !part.is_empty()).flat_map(|part| {
        let (name, elements) = match part.find("[]") {
            Some(at) => (part.get(..at).unwrap_or_default(), part.matches("[]").count()),
            None => (part, 0),
        };
        let name = match name {
            "" => None,
            "*" => Some(Step::Any),
            "**" => Some(Step::Below),
            name => Some(Step::Name(name)),
        };
        name.into_iter().chain(std::iter::repeat_n(Step::Element, elements))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_become_steps_and_states() {
        static TABLE: Table =
            Table::new(&[("", &[("a[].b", Role::Text), ("a[].*", Role::Name)]), ("[][]", &[("c.**", Role::Json)])]);
        let automaton = TABLE.automaton();
        assert_eq!(steps("[].a[][].*.**").count(), 6);
        let b = automaton.state(automaton.find("a[].b").0.unwrap()).unwrap();
        assert_eq!(b.role, Some(Role::Text));
        let element = automaton.state(automaton.find("a[]").0.unwrap()).unwrap();
        assert_eq!(element.member("x").unwrap().0, "*");
        assert_eq!(automaton.state(automaton.find("[][].c").0.unwrap()).unwrap().below, Some(Role::Json));
        assert!(TABLE.names("b"));
        assert_eq!(automaton.find("a.b"), (None, None));
        assert_eq!(automaton.find("[][].c.x.y"), (None, Some(Role::Json)));
    }
}
