//! All paths that a program reads, found in one walk over a document.

use super::{Document, Duplicate, Kind, NodeId};
use policy_lang::{Atom, JsonPath, PathSegment, Program};
use std::collections::HashMap;

/// The paths of a program, as a tree of steps.
#[derive(Clone, Debug, Default)]
pub struct Paths {
    numbers: HashMap<JsonPath, usize>,
    root: Step,
}

/// Where paths stand that share their first segments.
#[derive(Clone, Debug, Default)]
struct Step {
    /// The path that ends here.
    ends: Option<usize>,
    keys: Vec<(String, Step)>,
    indices: Vec<(u32, Step)>,
    wildcard: Option<Box<Step>>,
}

/// What one walk found, by path of the [`Paths`] that walked.
#[derive(Clone, Debug)]
pub struct Selected(Vec<Result<Vec<NodeId>, Duplicate>>);

impl Paths {
    /// The paths on which conditions of the request phase stand.
    #[must_use]
    pub fn of_requests(program: &Program) -> Self {
        let paths = program.atoms.iter().filter_map(|atom| match atom {
            Atom::Json { path, .. } | Atom::JsonPresent(path) => Some(path),
            _ => None,
        });
        Self::new(paths)
    }

    fn new<'p>(paths: impl Iterator<Item = &'p JsonPath>) -> Self {
        let mut all = Self::default();
        for path in paths {
            let next = all.numbers.len();
            if !all.numbers.contains_key(path) {
                all.numbers.insert(path.clone(), next);
                all.root.add(&path.segments, next);
            }
        }
        all
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// The nodes at every path: what [`Document::select`] says of each.
    #[must_use]
    pub fn select(&self, document: &Document<'_>) -> Selected {
        let mut selected = Selected(vec![Ok(Vec::new()); self.numbers.len()]);
        self.root.walk(document, document.root(), &mut selected);
        selected
    }

    /// What a walk of these paths found at one of them; `None` if it is none of them.
    #[must_use]
    pub fn found<'s>(&self, selected: &'s Selected, path: &JsonPath) -> Option<Result<&'s [NodeId], Duplicate>> {
        let found = selected.0.get(*self.numbers.get(path)?)?;
        Some(found.as_deref().map_err(|duplicate| *duplicate))
    }
}

impl Step {
    fn add(&mut self, segments: &[PathSegment], number: usize) {
        let Some((first, rest)) = segments.split_first() else {
            self.ends = Some(number);
            return;
        };
        let next = match first {
            PathSegment::Key(name) => child(&mut self.keys, name),
            PathSegment::Index(index) => child(&mut self.indices, index),
            PathSegment::Wildcard => Some(&mut **self.wildcard.get_or_insert_default()),
        };
        if let Some(next) = next {
            next.add(rest, number);
        }
    }

    /// Paths are as deep as the language lets them be written, so the recursion is bounded.
    fn walk(&self, document: &Document<'_>, node: NodeId, selected: &mut Selected) {
        if let Some(Ok(nodes)) = self.ends.and_then(|number| selected.0.get_mut(number)) {
            nodes.push(node);
        }
        match document.kind(node) {
            Kind::Object => {
                if let Some(step) = &self.wildcard
                    && document.distinct_keys(node).is_err()
                {
                    step.spoil(selected);
                }
                self.walk_members(document, node, selected);
            }
            Kind::Array if self.wildcard.is_some() || !self.indices.is_empty() => {
                for (place, element) in document.children(node).enumerate() {
                    self.wildcard.iter().for_each(|step| step.walk(document, element, selected));
                    let own = self.indices.iter().filter(|(index, _)| *index as usize == place);
                    own.for_each(|(_, step)| step.walk(document, element, selected));
                }
            }
            _ => {}
        }
    }

    fn walk_members(&self, document: &Document<'_>, object: NodeId, selected: &mut Selected) {
        if self.keys.is_empty() && self.wildcard.is_none() {
            return;
        }
        let mut seen = vec![false; self.keys.len()];
        for member in document.children(object) {
            self.wildcard.iter().for_each(|step| step.walk(document, member, selected));
            for ((name, step), seen) in self.keys.iter().zip(&mut seen) {
                if !document.is_named(member, name) {
                    continue;
                }
                match std::mem::replace(seen, true) {
                    true => step.spoil(selected),
                    false => step.walk(document, member, selected),
                }
            }
        }
    }

    /// Every path through here leads through an object that has a member twice.
    fn spoil(&self, selected: &mut Selected) {
        if let Some(found) = self.ends.and_then(|number| selected.0.get_mut(number)) {
            *found = Err(Duplicate);
        }
        let keys = self.keys.iter().map(|(_, step)| step);
        let indices = self.indices.iter().map(|(_, step)| step);
        keys.chain(indices).chain(self.wildcard.as_deref()).for_each(|step| step.spoil(selected));
    }
}

fn child<'s, K: PartialEq + Clone>(children: &'s mut Vec<(K, Step)>, key: &K) -> Option<&'s mut Step> {
    let place = children.iter().position(|(known, _)| known == key).unwrap_or(children.len());
    if place == children.len() {
        children.push((key.clone(), Step::default()));
    }
    children.get_mut(place).map(|(_, step)| step)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use proptest::prelude::*;

    fn segment() -> impl Strategy<Value = PathSegment> {
        prop_oneof![
            3 => "[abc]".prop_map(PathSegment::Key),
            1 => (0..3_u32).prop_map(PathSegment::Index),
            1 => Just(PathSegment::Wildcard),
        ]
    }

    /// Names come twice, and with escapes.
    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![Just("1".to_owned()), Just("\"a\"".to_owned()), Just("null".to_owned())];
        leaf.prop_recursive(4, 40, 4, |inner| {
            let name = prop_oneof![6 => "[abc]", 1 => Just("\\u0061".to_owned())];
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec((name, inner), 0..4).prop_map(|members| {
                    let members = members.iter().map(|(name, value)| format!("\"{name}\":{value}"));
                    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn one_walk_finds_what_each_path_finds_by_itself(
            text in json(),
            paths in prop::collection::vec(prop::collection::vec(segment(), 0..5), 1..8),
        ) {
            let paths: Vec<JsonPath> = paths.into_iter().map(|segments| JsonPath { segments }).collect();
            let document = Document::parse(text.as_bytes()).unwrap();
            let all = Paths::new(paths.iter());
            let selected = all.select(&document);
            for path in &paths {
                let alone = document.select(path);
                prop_assert_eq!(all.found(&selected, path).unwrap(), alone.as_deref().map_err(|error| *error), "{:?}", path);
            }
            let other = JsonPath { segments: vec![PathSegment::Key("other".to_owned())] };
            prop_assert!(all.found(&selected, &other).is_none());
        }
    }
}
