//! The texts of a body, and what else masking must know of it.

use super::answer::AnswerInfo;
use super::table::{Role, Step, Table, steps};
use super::text_kind::TextKind;
use super::walk::{Found, Indices, Numbering, Taken, WalkError, walk};
use crate::json::{Document, Kind, NodeId};

/// One text.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Where it stands.
    pub(crate) node: NodeId,
    /// How it is masked.
    pub(crate) form: SlotForm,
    /// Its name in records.
    pub(crate) channel: String,
    /// The choice or item that it belongs to.
    pub(crate) group: Option<u32>,
}

/// How a text is masked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlotForm {
    /// A string.
    String(TextKind),
    /// A JSON value, as it is written.
    Tree,
    /// A string of a signed block.
    Signed,
}

/// The texts of a body in document order, and the parts that no text policy can see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Slots {
    pub(crate) texts: Vec<Slot>,
    /// Channels without text.
    pub(crate) opaque: Vec<String>,
    /// Channels that stand elsewhere.
    pub(crate) references: Vec<String>,
    /// Channels with text that cannot be read.
    pub(crate) hidden: Vec<String>,
    /// What repeats a text, with the choice or item that it belongs to.
    pub(crate) echoes: Vec<(NodeId, Option<u32>)>,
    /// What repeats a text that is not here.
    pub(crate) unread: Vec<NodeId>,
}

/// Reads a whole body along its table.
pub(crate) fn slots(document: &Document<'_>, table: &Table, info: &mut AnswerInfo) -> Result<Slots, WalkError> {
    slots_at(document, table, (document.root(), "", Indices::default()), info)
}

/// Reads a part of a body that stands at the place `place` of the whole form; `indices` number the way to it.
pub(crate) fn slots_at(
    document: &Document<'_>,
    table: &Table,
    (node, place, indices): (NodeId, &'static str, Indices),
    info: &mut AnswerInfo,
) -> Result<Slots, WalkError> {
    let mut slots = Slots::default();
    let automaton = table.automaton();
    let prefix = way_to(place, indices);
    match automaton.find(place) {
        (Some(state), below) => {
            walk(document, automaton, (node, state, below), Numbering::ByPosition, &mut |found| {
                slots.take(document, &prefix, &found, info);
            })?;
        }
        (None, Some(role)) => slots.take(document, &prefix, &Found { node, role, way: &[] }, info),
        (None, None) => {}
    }
    Ok(slots)
}

/// The way to a place.
pub(crate) fn way_to(place: &'static str, indices: Indices) -> Vec<Taken> {
    let mut numbers = indices.as_slice().iter().copied();
    steps(place)
        .map(|step| match step {
            Step::Name(name) => Taken::Name(name),
            Step::Element => Taken::At(numbers.next().unwrap_or_default()),
            Step::Any | Step::Below => Taken::Name("*"),
        })
        .collect()
}

/// A way in words: `choices[0].message.content`.
pub(crate) fn name_of<'w>(way: impl IntoIterator<Item = &'w Taken>) -> String {
    let mut name = String::new();
    for step in way {
        match step {
            Taken::Name(step) => {
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(step);
            }
            Taken::At(at) => {
                name.push('[');
                name.push_str(&at.to_string());
                name.push(']');
            }
        }
    }
    name
}

impl Slots {
    /// Whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        let Self { texts, opaque, references, hidden, echoes, unread } = self;
        texts.is_empty()
            && opaque.is_empty()
            && references.is_empty()
            && hidden.is_empty()
            && echoes.is_empty()
            && unread.is_empty()
    }

    /// Takes one find of a walk that began at the end of `prefix`.
    pub(crate) fn take(&mut self, document: &Document<'_>, prefix: &[Taken], found: &Found<'_>, info: &mut AnswerInfo) {
        let node = found.node;
        let name = || name_of(prefix.iter().chain(found.way));
        let group = Indices::of(prefix).first().or_else(|| found.indices().first());
        let not_null = document.kind(node) != Kind::Null;
        match found.role {
            Role::Text => self.strings(document, node, SlotForm::String(TextKind::Plain), &name, group),
            Role::Json => self.strings(document, node, SlotForm::String(TextKind::Json), &name, group),
            Role::Signed => self.strings(document, node, SlotForm::Signed, &name, group),
            Role::Tree if not_null => {
                self.texts.push(Slot { node, form: SlotForm::Tree, channel: name(), group });
            }
            Role::Prompt => {
                self.strings(document, node, SlotForm::String(TextKind::Plain), &name, group);
                let ids = document.subtree(node).any(|below| document.kind(below) == Kind::Number);
                // Thousands of them are one channel.
                if ids && self.hidden.is_empty() {
                    self.hidden.push(name());
                }
            }
            Role::Source => match sibling(document, node, "type").as_deref() {
                Some("text") => self.strings(document, node, SlotForm::String(TextKind::Plain), &name, group),
                _ => self.opaque.push(name()),
            },
            Role::Tensor => match sibling(document, node, "datatype").as_deref() {
                Some("BYTES") => self.strings(document, node, SlotForm::String(TextKind::Plain), &name, group),
                _ => self.opaque.push(name()),
            },
            Role::ItemId if sibling(document, node, "type").as_deref() == Some("item_reference") => {
                self.references.push(name());
            }
            Role::Opaque if not_null => self.opaque.push(name()),
            Role::Reference if not_null => self.references.push(name()),
            Role::Hidden if not_null => self.hidden.push(name()),
            Role::Echo if not_null => self.echoes.push((node, group)),
            Role::Unread if not_null => self.unread.push(node),
            role => info.note(document, node, role),
        }
    }

    /// Every string at or below the node.
    fn strings(
        &mut self,
        document: &Document<'_>,
        node: NodeId,
        form: SlotForm,
        name: &dyn Fn() -> String,
        group: Option<u32>,
    ) {
        let exact = document.kind(node) == Kind::String;
        for below in document.subtree(node) {
            if document.kind(below) == Kind::String {
                let form = if exact { form } else { SlotForm::String(TextKind::Plain) };
                self.texts.push(Slot { node: below, form, channel: name(), group });
            }
        }
    }
}

/// The string beside a node.
fn sibling<'b>(document: &Document<'b>, node: NodeId, name: &str) -> Option<std::borrow::Cow<'b, str>> {
    let object = document.parent(node)?;
    document.string(document.get(object, name).ok().flatten()?)
}
