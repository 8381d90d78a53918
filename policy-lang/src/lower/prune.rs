//! Leaves out the atoms that no rule reads: what is not read must not count as a need of the set.

use crate::check::Outline;
use crate::program::{Atom, AtomId, Condition, Invariant, Invariants, Rule};
use std::collections::HashMap;

/// The rules with atoms numbered by first use in rule order, so that numbers do not depend on files or their order.
pub(super) fn prune(
    mut rules: Vec<Rule>,
    mut outlines: Vec<Outline>,
    atoms: &[Atom],
) -> (Vec<Rule>, Vec<Outline>, Vec<Atom>) {
    let mut renumbered = Renumbered { old: atoms, ids: HashMap::new(), kept: Vec::new() };
    for rule in &mut rules {
        renumbered.condition(&mut rule.condition);
    }
    for outline in &mut outlines {
        for (condition, _) in outline.when.iter_mut().chain(&mut outline.unless) {
            renumbered.condition(condition);
        }
    }
    (rules, outlines, renumbered.kept)
}

/// The same for invariants, which have atoms of their own: they are not judged on calls.
pub(super) fn prune_invariants(mut list: Vec<Invariant>, atoms: &[Atom]) -> Invariants {
    let mut renumbered = Renumbered { old: atoms, ids: HashMap::new(), kept: Vec::new() };
    for invariant in &mut list {
        renumbered.condition(&mut invariant.condition);
    }
    Invariants { list, atoms: renumbered.kept }
}

struct Renumbered<'a> {
    old: &'a [Atom],
    ids: HashMap<AtomId, AtomId>,
    kept: Vec<Atom>,
}

impl Renumbered<'_> {
    fn condition(&mut self, condition: &mut Condition) {
        match condition {
            Condition::Const(_) => {}
            Condition::Atom(id) => *id = self.id(*id),
            Condition::Not(inner) => self.condition(inner),
            Condition::All(parts) | Condition::Any(parts) => {
                for part in parts {
                    self.condition(part);
                }
            }
        }
    }

    fn id(&mut self, old: AtomId) -> AtomId {
        let (kept, atoms) = (&mut self.kept, self.old);
        *self.ids.entry(old).or_insert_with(|| {
            let new = AtomId(u32::try_from(kept.len()).unwrap_or(u32::MAX));
            kept.extend(atoms.get(old.0 as usize).cloned());
            new
        })
    }
}
