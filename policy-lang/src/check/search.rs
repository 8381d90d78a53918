//! Can conditions come out so on one call? A tableau over the three truth values, each leaf checked against the theory at once.

use super::Budget;
use super::theory::{ANY, ERROR, FALSE, Possible, TRUE, Theory, Truths, Value};
use crate::program::{Atom, Condition};

/// How a condition is to come out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Want {
    True,
    False,
    NotTrue,
    NotFalse,
}

impl Want {
    fn truths(self) -> Truths {
        match self {
            Self::True => TRUE,
            Self::False => FALSE,
            Self::NotTrue => FALSE | ERROR,
            Self::NotFalse => TRUE | ERROR,
        }
    }

    fn of_inner(self) -> Self {
        match self {
            Self::True => Self::False,
            Self::False => Self::True,
            Self::NotTrue => Self::NotFalse,
            Self::NotFalse => Self::NotTrue,
        }
    }
}

/// Whether there is such a call.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Yes(Model),
    No,
    /// The bound on work was hit.
    Unknown,
}

/// A call, as far as the question reads it. What is not named may be anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Model {
    /// By variable of the theory.
    pub(super) values: Vec<(usize, Value)>,
    /// What was assumed of each atom that was read.
    pub(super) truths: Vec<(usize, Truths)>,
}

/// Work of one question.
const STEPS_MAX: usize = 20_000;
/// Alternatives taken one within the other; also bounds the recursion.
const CHOICES_MAX: usize = 200;

type Goal<'c> = (&'c Condition, Want);

pub(super) struct Solver<'p> {
    pub(super) theory: Theory<'p>,
    /// What is still possible of each atom in the branch at hand.
    allowed: Vec<Truths>,
    /// Atoms that the branch has restricted, by variable.
    restricted: Vec<Vec<usize>>,
    /// Atom and what was allowed before, for going back.
    trail: Vec<(usize, Truths)>,
    /// Some value could not be decided in time: an answer is none then.
    unsure: bool,
    budget: Budget,
    /// Work of all questions together.
    pub(super) total: Budget,
}

impl<'p> Solver<'p> {
    pub(super) fn new(atoms: &'p [Atom], total: usize) -> Self {
        let theory = Theory::new(atoms);
        Self {
            allowed: vec![ANY; atoms.len()],
            restricted: vec![Vec::new(); theory.vars.len()],
            theory,
            trail: Vec::new(),
            unsure: false,
            budget: Budget::new(0),
            total: Budget::new(total),
        }
    }

    /// Whether one call meets all goals.
    pub(super) fn ask(&mut self, goals: &[Goal<'_>]) -> Answer {
        let granted = STEPS_MAX.min(self.total.left());
        self.budget = Budget::new(granted);
        self.unsure = false;
        let found = self.search(goals.to_vec(), 0);
        let answer = match found {
            Some(true) if !self.unsure => self.model().map_or(Answer::Unknown, Answer::Yes),
            Some(false) => Answer::No,
            _ => Answer::Unknown,
        };
        self.back_to(0);
        self.total.spend(granted - self.budget.left());
        answer
    }

    /// `Some(true)` leaves the restrictions of the branch in place.
    fn search(&mut self, mut open: Vec<Goal<'_>>, depth: usize) -> Option<bool> {
        let mut choices: Vec<(&[Condition], Goal<'_>)> = Vec::new();
        while let Some((condition, want)) = open.pop() {
            if !self.budget.spend(1) {
                return None;
            }
            match condition {
                Condition::Const(value) => {
                    if want.truths() & if *value { TRUE } else { FALSE } == 0 {
                        return Some(false);
                    }
                }
                Condition::Atom(id) => {
                    if !self.restrict(id.0 as usize, want.truths()) {
                        return Some(false);
                    }
                }
                Condition::Not(inner) => open.push((inner, want.of_inner())),
                Condition::All(parts) => match want {
                    Want::True | Want::NotFalse => open.extend(parts.iter().map(|part| (part, want))),
                    Want::False | Want::NotTrue => choices.push((parts, (condition, want))),
                },
                Condition::Any(parts) => match want {
                    Want::False | Want::NotTrue => open.extend(parts.iter().map(|part| (part, want))),
                    Want::True | Want::NotFalse => choices.push((parts, (condition, want))),
                },
            }
        }
        choices.retain(|(parts, (_, want))| !parts.iter().any(|part| self.is_met(part, *want)));
        choices.sort_by_key(|(parts, _)| std::cmp::Reverse(parts.len()));
        let Some((parts, (_, want))) = choices.pop() else {
            return Some(true);
        };
        if depth >= CHOICES_MAX {
            return None;
        }
        let rest: Vec<Goal<'_>> = choices.iter().map(|(_, goal)| *goal).collect();
        let mut unknown = false;
        for part in parts {
            let mark = self.trail.len();
            let mut open = rest.clone();
            open.push((part, want));
            match self.search(open, depth + 1) {
                Some(true) => return Some(true),
                Some(false) => {}
                None => unknown = true,
            }
            self.back_to(mark);
        }
        if unknown { None } else { Some(false) }
    }

    fn is_met(&self, part: &Condition, want: Want) -> bool {
        let (atom, want) = match part {
            Condition::Atom(id) => (id, want),
            Condition::Not(inner) => match &**inner {
                Condition::Atom(id) => (id, want.of_inner()),
                _ => return false,
            },
            _ => return false,
        };
        self.allowed.get(atom.0 as usize).is_some_and(|allowed| allowed & !want.truths() == 0)
    }

    /// False if no value is left that way.
    fn restrict(&mut self, atom: usize, truths: Truths) -> bool {
        let var = self.theory.var_of(atom);
        let (Some(allowed), Some(atoms)) = (self.allowed.get_mut(atom), self.restricted.get_mut(var)) else {
            return true;
        };
        let (before, after) = (*allowed, *allowed & truths);
        if after == before {
            return true;
        }
        self.trail.push((atom, before));
        *allowed = after;
        if before == ANY {
            atoms.push(atom);
        }
        if after == 0 {
            return false;
        }
        match self.value(var) {
            Possible::No => false,
            Possible::Yes(_) => true,
            Possible::Unknown => {
                self.unsure = true;
                true
            }
        }
    }

    fn value(&mut self, var: usize) -> Possible {
        let atoms = self.restricted.get(var).map_or(&[][..], Vec::as_slice);
        let wanted: Vec<(usize, Truths)> =
            atoms.iter().map(|atom| (*atom, self.allowed.get(*atom).copied().unwrap_or(ANY))).collect();
        self.theory.value(var, &wanted, &mut self.budget)
    }

    fn model(&mut self) -> Option<Model> {
        let mut model = Model::default();
        let read = self.trail.iter().map(|(atom, _)| *atom);
        model.truths = read.clone().map(|atom| (atom, self.allowed.get(atom).copied().unwrap_or(ANY))).collect();
        let mut vars: Vec<usize> = read.map(|atom| self.theory.var_of(atom)).collect();
        vars.sort_unstable();
        vars.dedup();
        for var in vars {
            match self.value(var) {
                Possible::Yes(value) => model.values.push((var, value)),
                _ => return None,
            }
        }
        Some(model)
    }

    fn back_to(&mut self, mark: usize) {
        while self.trail.len() > mark {
            let Some((atom, before)) = self.trail.pop() else {
                return;
            };
            if let Some(allowed) = self.allowed.get_mut(atom) {
                *allowed = before;
            }
            if before == ANY
                && let Some(atoms) = self.restricted.get_mut(self.theory.var_of(atom))
            {
                atoms.pop();
            }
        }
    }
}
