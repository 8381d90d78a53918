//! What kind of text a channel carries.

/// What kind of text a channel carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TextKind {
    /// Prose.
    Plain,
    /// JSON, as in the arguments of a function call.
    Json,
}
