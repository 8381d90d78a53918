//! A validating JSON scanner that keeps source ranges, so that a body is read once and edited in place (DECISIONS 6).
//!
//! It accepts exactly RFC 8259 texts in UTF-8 without a byte order mark, up to [`DEPTH_MAX`] levels, one value and nothing
//! behind it. Unlike most parsers it leaves numbers and strings where they are. Escaped surrogates that stand alone are
//! accepted, as the grammar does: a stream may cut a pair between two events.

mod lookup;
mod paths;
mod scan;
mod string;

pub use lookup::Duplicate;
pub use paths::{Paths, Selected};
pub use string::{unescape, write_escaped, write_string};

pub(crate) use string::{finish_carry, unescape_carrying, unescaped_carrying};

use std::ops::Range;

/// Levels of nesting.
pub const DEPTH_MAX: usize = 128;
/// Bytes of one document.
pub const DOCUMENT_BYTES_MAX: usize = u32::MAX as usize - 1;

/// Why a text is no JSON document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid JSON at byte {offset}: {kind}")]
pub struct JsonError {
    /// Where.
    pub offset: usize,
    /// What.
    pub kind: JsonErrorKind,
}

/// What is wrong with a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonErrorKind {
    /// It ends too early.
    #[error("unexpected end")]
    End,
    /// A byte that cannot stand there.
    #[error("unexpected byte")]
    Byte,
    /// Not UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// A control character inside a string.
    #[error("control character in a string")]
    Control,
    /// A backslash with something that is no escape.
    #[error("invalid escape")]
    Escape,
    /// A number that the grammar does not have.
    #[error("invalid number")]
    Number,
    /// Something behind the value.
    #[error("text behind the value")]
    Trailing,
    /// More than [`DEPTH_MAX`] levels.
    #[error("nested too deeply")]
    Depth,
    /// More than [`DOCUMENT_BYTES_MAX`] bytes.
    #[error("too long")]
    Length,
}

/// What a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `{…}`
    Object,
    /// `[…]`
    Array,
    /// `"…"`
    String,
    /// A number.
    Number,
    /// `true`
    True,
    /// `false`
    False,
    /// `null`
    Null,
}

/// A node of a [`Document`]: an index into its tape. Only meaningful for the document that gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub(crate) u32);

/// One entry of the tape: nodes stand in document order, the nodes below one follow it.
#[derive(Clone, Copy, Debug)]
struct Node {
    kind: Kind,
    /// Bytes of the value, quotes and brackets included.
    start: u32,
    end: u32,
    /// Bytes of the member's name with its quotes; both are 0 where there is none (0 is never inside an object).
    key_start: u32,
    key_end: u32,
    parent: u32,
    /// The node behind the last one below this one.
    next: u32,
}

/// A validated document over the bytes it was read from.
#[derive(Clone, Debug)]
pub struct Document<'b> {
    bytes: &'b [u8],
    nodes: Vec<Node>,
}

impl<'b> Document<'b> {
    /// Reads and validates a whole text.
    ///
    /// # Errors
    /// [`JsonError`] with the first offence.
    pub fn parse(bytes: &'b [u8]) -> Result<Self, JsonError> {
        scan::scan(bytes).map(|nodes| Self { bytes, nodes })
    }

    /// The outermost value.
    #[must_use]
    pub fn root(&self) -> NodeId {
        NodeId(0)
    }

    /// The text that was read.
    #[must_use]
    pub fn bytes(&self) -> &'b [u8] {
        self.bytes
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Never: a document has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// What the node is.
    #[must_use]
    pub fn kind(&self, node: NodeId) -> Kind {
        self.node(node).map_or(Kind::Null, |node| node.kind)
    }

    /// Bytes of the value in the source, quotes and brackets included.
    #[must_use]
    pub fn range(&self, node: NodeId) -> Range<usize> {
        self.node(node).map_or(0..0, |node| node.start as usize..node.end as usize)
    }

    /// Bytes of the member's name in the source, quotes included; `None` for elements and the root.
    #[must_use]
    pub fn key_range(&self, node: NodeId) -> Option<Range<usize>> {
        let node = self.node(node)?;
        (node.key_end != 0).then_some(node.key_start as usize..node.key_end as usize)
    }

    /// The source of the value.
    #[must_use]
    pub fn raw(&self, node: NodeId) -> &'b [u8] {
        self.bytes.get(self.range(node)).unwrap_or_default()
    }

    /// The source between the quotes of a string node; `None` for other kinds.
    #[must_use]
    pub fn raw_string(&self, node: NodeId) -> Option<&'b [u8]> {
        if self.kind(node) != Kind::String {
            return None;
        }
        inside_quotes(self.raw(node))
    }

    /// The source between the quotes of the member's name.
    #[must_use]
    pub fn raw_key(&self, node: NodeId) -> Option<&'b [u8]> {
        inside_quotes(self.bytes.get(self.key_range(node)?)?)
    }

    /// The node that holds this one.
    #[must_use]
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        let parent = self.node(node)?.parent;
        (parent != u32::MAX).then_some(NodeId(parent))
    }

    /// The members or elements of a node, in order.
    pub fn children(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        let end = self.end_of(node);
        let mut at = node.0 + 1;
        std::iter::from_fn(move || {
            let child = (at < end).then_some(NodeId(at))?;
            at = self.end_of(child).max(at + 1);
            Some(child)
        })
    }

    /// The node and everything below it, in document order.
    pub fn subtree(&self, node: NodeId) -> impl Iterator<Item = NodeId> + use<'b> {
        (node.0..self.end_of(node)).map(NodeId)
    }

    fn end_of(&self, node: NodeId) -> u32 {
        self.node(node).map_or(0, |node| node.next)
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(node.0 as usize)
    }
}

fn inside_quotes(raw: &[u8]) -> Option<&[u8]> {
    raw.get(1..raw.len().checked_sub(1)?)
}
