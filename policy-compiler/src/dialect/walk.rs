//! Walks a JSON text along a table.

use super::table::{Automaton, Role};
use crate::json::{Document, Duplicate, Kind, NodeId};

/// Numbered things of one kind in one message: choices, tool calls, output items.
const INDEX_MAX: u32 = 128;
/// Levels that a table is deep at most.
const INDICES_MAX: usize = 6;

/// Why a text cannot be walked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalkError {
    /// A member on the way occurs twice: what is judged and masked must be what the other side reads.
    Duplicate,
    /// A number of a choice, call or item that is none.
    Index,
}

impl From<Duplicate> for WalkError {
    fn from(_: Duplicate) -> Self {
        Self::Duplicate
    }
}

/// A step that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// To a member; its name in the table.
    Name(&'static str),
    /// To an element.
    At(u32),
}

/// Something with a role.
#[derive(Debug)]
pub(crate) struct Found<'w> {
    /// Where.
    pub(crate) node: NodeId,
    /// What.
    pub(crate) role: Role,
    /// The way from where the walk began.
    pub(crate) way: &'w [Taken],
}

impl Found<'_> {
    /// The numbers on the way.
    pub(crate) fn indices(&self) -> Indices {
        Indices::of(self.way)
    }
}

/// Numbers on a way: which choice, which call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Indices {
    count: u8,
    numbers: [u32; INDICES_MAX],
}

impl Indices {
    /// Those of a way.
    pub(crate) fn of(way: &[Taken]) -> Self {
        let mut indices = Self::default();
        for step in way {
            if let Taken::At(at) = step {
                indices.push(*at);
            }
        }
        indices
    }

    /// Adds one behind the others.
    pub(crate) fn push(&mut self, number: u32) {
        if let Some(slot) = self.numbers.get_mut(usize::from(self.count)) {
            *slot = number;
            self.count += 1;
        }
    }

    /// The numbers.
    pub(crate) fn as_slice(&self) -> &[u32] {
        self.numbers.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The first.
    pub(crate) fn first(&self) -> Option<u32> {
        self.as_slice().first().copied()
    }
}

/// How elements are numbered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Numbering {
    /// By where they stand.
    ByPosition,
    /// By their member `index`, if they have one: the same choice stands anywhere in an event.
    ByIndex,
}

/// Calls `visit` with everything at or below `from` that has a role, in document order: a node, the state that it is in, and
/// what it is if the state does not say.
///
/// # Errors
/// [`WalkError`], and what `visit` returns.
pub(crate) fn walk(
    document: &Document<'_>,
    automaton: &Automaton,
    from: (NodeId, usize, Option<Role>),
    numbering: Numbering,
    visit: &mut dyn FnMut(Found<'_>),
) -> Result<(), WalkError> {
    let mut walk = Walk { document, automaton, numbering, way: Vec::with_capacity(8), visit };
    let (node, state, below) = from;
    walk.node(node, state, below, None)
}

struct Walk<'d, 'b> {
    document: &'d Document<'b>,
    automaton: &'d Automaton,
    numbering: Numbering,
    way: Vec<Taken>,
    visit: &'d mut dyn FnMut(Found<'_>),
}

impl Walk<'_, '_> {
    /// `around` is what the list is whose element this is.
    fn node(
        &mut self,
        node: NodeId,
        number: usize,
        below: Option<Role>,
        around: Option<Role>,
    ) -> Result<(), WalkError> {
        let Some(state) = self.automaton.state(number) else { return Ok(()) };
        let kind = self.document.kind(node);
        let below = state.below.or(below);
        let leads_on = match kind {
            Kind::Object => state.has_members(),
            Kind::Array => state.element.is_some(),
            _ => false,
        };
        if !leads_on {
            if let Some(role) = state.role.or(below).or(around) {
                (self.visit)(Found { node, role, way: &self.way });
            }
            return Ok(());
        }
        let (document, automaton) = (self.document, self.automaton);
        let Some(state) = automaton.state(number) else { return Ok(()) };
        if kind == Kind::Object {
            document.distinct_keys(node)?;
        }
        let around = state.role.filter(|_| kind == Kind::Array);
        for (position, child) in document.children(node).enumerate() {
            let next = match kind {
                Kind::Object => document
                    .raw_key(child)
                    .and_then(|key| state.member_as_spelt(key))
                    .map(|(name, to)| (Taken::Name(name), to)),
                _ => Some((Taken::At(self.number(child, position)?), state.element.unwrap_or_default())),
            };
            match (next, below) {
                (Some((step, to)), _) => {
                    self.way.push(step);
                    self.node(child, to, below, around)?;
                    self.way.pop();
                }
                (None, Some(role)) => (self.visit)(Found { node: child, role, way: &self.way }),
                (None, None) => {}
            }
        }
        Ok(())
    }

    fn number(&self, element: NodeId, position: usize) -> Result<u32, WalkError> {
        let own = match self.numbering {
            Numbering::ByIndex => index(self.document, element, "index")?,
            Numbering::ByPosition => return Ok(u32::try_from(position).unwrap_or(u32::MAX)),
        };
        match own {
            Some(number) => Ok(number),
            None => u32::try_from(position).ok().filter(|&number| number < INDEX_MAX).ok_or(WalkError::Index),
        }
    }
}

/// The number that a member says; `None` if there is no such member.
pub(crate) fn index(document: &Document<'_>, object: NodeId, name: &str) -> Result<Option<u32>, WalkError> {
    let Some(node) = document.get(object, name)? else { return Ok(None) };
    if document.kind(node) == Kind::Null {
        return Ok(None);
    }
    let number = std::str::from_utf8(document.raw(node)).ok().and_then(|text| text.parse().ok());
    number.filter(|&number| number < INDEX_MAX).map(Some).ok_or(WalkError::Index)
}
