//! Finds the rules that can hold on a call without asking each: by a name or group that a rule cannot do without.

use super::witness::Witness;
use crate::program::{Atom, Condition, Program};
use crate::schema::StrField;
use std::collections::HashMap;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Key {
    Str(StrField, String),
    Group(String),
}

/// Alternatives that a rule may be listed under.
const KEYS_MAX: usize = 64;

pub(super) struct Index {
    listed: HashMap<Key, Vec<usize>>,
    /// Rules that demand no name: they may hold on every call.
    rest: Vec<usize>,
}

impl Index {
    pub(super) fn new(program: &Program) -> Self {
        let enforced = || program.rules.iter().enumerate().filter(|(_, rule)| !rule.shadow);
        let mut popular: HashMap<Key, usize> = HashMap::new();
        for (_, rule) in enforced() {
            for key in demands(&rule.condition, &program.atoms).into_iter().flatten() {
                *popular.entry(key).or_default() += 1;
            }
        }
        let mut index = Self { listed: HashMap::new(), rest: Vec::new() };
        for (id, rule) in enforced() {
            let crowd = |keys: &Vec<Key>| keys.iter().filter_map(|key| popular.get(key)).max().copied().unwrap_or(0);
            match demands(&rule.condition, &program.atoms).into_iter().min_by_key(crowd) {
                Some(keys) => keys.into_iter().for_each(|key| index.listed.entry(key).or_default().push(id)),
                None => index.rest.push(id),
            }
        }
        index
    }

    /// The rules that may hold on this call.
    pub(super) fn candidates<'a>(&'a self, call: &'a Witness) -> impl Iterator<Item = usize> + 'a {
        let texts = StrField::ALL.iter().filter_map(move |(field, _)| {
            let text = call.strings.get(*field as usize).filter(|text| !text.is_empty())?;
            self.listed.get(&Key::Str(*field, text.clone()))
        });
        let groups = call.groups.iter().filter_map(|group| self.listed.get(&Key::Group(group.clone())));
        self.rest.iter().copied().chain(texts.chain(groups).flatten().copied())
    }
}

/// For each part that must hold: the names of which the call must have one.
fn demands(condition: &Condition, atoms: &[Atom]) -> Vec<Vec<Key>> {
    match condition {
        Condition::All(parts) => parts.iter().filter_map(|part| names(part, atoms)).collect(),
        other => names(other, atoms).into_iter().collect(),
    }
}

fn names(condition: &Condition, atoms: &[Atom]) -> Option<Vec<Key>> {
    let keys = match condition {
        Condition::Atom(id) => match atoms.get(id.0 as usize)? {
            Atom::StrIn { field, set } if set.globs.is_empty() && set.literals.len() <= KEYS_MAX => {
                set.literals.iter().map(|text| Key::Str(*field, text.clone())).collect()
            }
            Atom::InGroup(group) => vec![Key::Group(group.clone())],
            _ => return None,
        },
        Condition::Any(parts) if parts.len() <= KEYS_MAX => {
            let all: Option<Vec<Vec<Key>>> = parts.iter().map(|part| names(part, atoms)).collect();
            all?.concat()
        }
        _ => return None,
    };
    (keys.len() <= KEYS_MAX).then_some(keys)
}
