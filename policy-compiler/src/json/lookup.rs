//! Finding values by key and by path.

use super::{Document, Kind, NodeId, unescape};
use policy_lang::{JsonPath, PathSegment};
use std::borrow::Cow;

/// An object that is read has a member twice: two readers could see two values (DECISIONS 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a member occurs twice")]
pub struct Duplicate;

/// Members that are compared one with another.
const FEW: usize = 12;

impl<'b> Document<'b> {
    /// The member's name, unescaped; `None` for elements and the root.
    #[must_use]
    pub fn key(&self, node: NodeId) -> Option<Cow<'b, str>> {
        self.raw_key(node).map(unescape)
    }

    /// The text of a string node; `None` for other kinds.
    #[must_use]
    pub fn string(&self, node: NodeId) -> Option<Cow<'b, str>> {
        self.raw_string(node).map(unescape)
    }

    /// The number, if it is one that an `f64` holds; `None` for other kinds.
    #[must_use]
    pub fn number(&self, node: NodeId) -> Option<f64> {
        if self.kind(node) != Kind::Number {
            return None;
        }
        std::str::from_utf8(self.raw(node)).ok()?.parse().ok()
    }

    /// The member of this name.
    ///
    /// # Errors
    /// [`Duplicate`] if there are two.
    pub fn get(&self, object: NodeId, name: &str) -> Result<Option<NodeId>, Duplicate> {
        if self.kind(object) != Kind::Object {
            return Ok(None);
        }
        let mut found = None;
        for child in self.children(object) {
            if self.is_named(child, name) && found.replace(child).is_some() {
                return Err(Duplicate);
            }
        }
        Ok(found)
    }

    /// Whether the node is a member of this name.
    pub(super) fn is_named(&self, node: NodeId, name: &str) -> bool {
        match self.raw_key(node) {
            Some(raw) if raw == name.as_bytes() => true,
            // What is escaped is longer.
            Some(raw) => raw.len() > name.len() && raw.contains(&b'\\') && unescape(raw) == name,
            None => false,
        }
    }

    /// The node below `from` that the names lead to.
    ///
    /// # Errors
    /// [`Duplicate`]
    pub fn descend(&self, from: NodeId, names: &[&str]) -> Result<Option<NodeId>, Duplicate> {
        let mut at = from;
        for name in names {
            match self.get(at, name)? {
                Some(next) => at = next,
                None => return Ok(None),
            }
        }
        Ok(Some(at))
    }

    /// Every node at the path, in document order.
    ///
    /// # Errors
    /// [`Duplicate`] if an object on the way has the wanted member, or for a wildcard any member, twice.
    pub fn select(&self, path: &JsonPath) -> Result<Vec<NodeId>, Duplicate> {
        self.select_from(self.root(), &path.segments)
    }

    /// Likewise, beginning at `from`.
    pub(crate) fn select_from(&self, from: NodeId, segments: &[PathSegment]) -> Result<Vec<NodeId>, Duplicate> {
        let mut nodes = vec![from];
        for segment in segments {
            let mut below = Vec::new();
            for node in nodes {
                match (segment, self.kind(node)) {
                    (PathSegment::Key(name), Kind::Object) => below.extend(self.get(node, name)?),
                    (PathSegment::Index(index), Kind::Array) => {
                        below.extend(self.children(node).nth(*index as usize));
                    }
                    (PathSegment::Wildcard, Kind::Array) => below.extend(self.children(node)),
                    (PathSegment::Wildcard, Kind::Object) => {
                        self.distinct_keys(node)?;
                        below.extend(self.children(node));
                    }
                    _ => {}
                }
            }
            nodes = below;
        }
        Ok(nodes)
    }

    /// Checks that an object has no member twice.
    ///
    /// # Errors
    /// [`Duplicate`]
    pub fn distinct_keys(&self, object: NodeId) -> Result<(), Duplicate> {
        // Most objects are small and spell their names plainly.
        let mut few = [&b""[..]; FEW];
        let mut count = 0;
        let mut twice = false;
        let plain = self.children(object).filter_map(|child| self.raw_key(child)).all(|key| {
            twice |= few.get(..count).is_some_and(|before| before.contains(&key));
            let slot = few.get_mut(count).filter(|_| !key.contains(&b'\\'));
            count += 1;
            slot.map(|slot| *slot = key).is_some()
        });
        if plain {
            return if twice { Err(Duplicate) } else { Ok(()) };
        }
        let mut keys: Vec<_> = self.children(object).filter_map(|child| self.key(child)).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| matches!(pair, [a, b] if a == b)) {
            return Err(Duplicate);
        }
        Ok(())
    }
}
