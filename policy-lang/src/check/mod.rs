//! What a set says that cannot be as meant: conditions that never or always hold, rules that others make pointless, bounds that contradict.
//!
//! Complete for sets, ranges, networks and groups; what a regular expression or a detector finds in a text is taken as free (DECISIONS 18).
//! Work is bounded: where a bound is hit nothing is claimed, and that is said. A finding carries a call as its witness where there is one.

mod bounds;
mod covers;
mod index;
mod pairs;
mod rules;
mod search;
mod texts;
mod theory;
mod witness;

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::ERRORS_MAX;
use crate::program::{Condition, Program};
use crate::source::Span;
use search::{Answer, Model, Solver};
use witness::Witness;

/// Steps of all questions about a set. A step is in the order of 100 ns.
const STEPS_TOTAL_MAX: usize = 10_000_000;
/// Pairs of rules that are compared at all.
const PAIRS_MAX: usize = 2_000_000;
/// Steps of looking for contradicting bounds, which is quadratic in the rules that have some.
const BOUNDS_STEPS_MAX: usize = 3_000_000;

/// Where the parts of a rule were written, and its clauses as conditions of their own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outline {
    pub(crate) name: Option<Span>,
    /// The parts of `when` that must all hold.
    pub(crate) when: Vec<(Condition, Span)>,
    /// The exceptions as written: where one holds the rule does not.
    pub(crate) unless: Vec<(Condition, Span)>,
    /// In the order of the effects.
    pub(crate) effects: Vec<Span>,
}

/// Work that is left.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    left: usize,
}

impl Budget {
    pub(super) fn new(left: usize) -> Self {
        Self { left }
    }

    /// False once it is used up.
    pub(super) fn spend(&mut self, work: usize) -> bool {
        self.left = self.left.saturating_sub(work);
        self.left > 0
    }

    pub(super) fn left(&self) -> usize {
        self.left
    }
}

/// Everything that is probably not as meant; at most 100 findings.
pub(crate) fn findings(program: &Program, outlines: &[Outline]) -> Vec<Diagnostic> {
    let mut checker = Checker::new(program, outlines, STEPS_TOTAL_MAX);
    checker.each_rule();
    checker.contradicting_bounds();
    checker.pairs_left = Budget::new(PAIRS_MAX);
    checker.pairs();
    if checker.undecided > 0 {
        let count = checker.undecided;
        let mut note = Diagnostic::warning(
            Code::NotDecided,
            format!("questions about this set that were not decided within the bound on work: {count}"),
        )
        .help("nothing is claimed where a bound was hit; a smaller set, or simpler conditions, can be checked whole");
        if let Some(span) = checker.outlines.first().and_then(|outline| outline.name) {
            note = note.label(span, "");
        }
        checker.found.push(note);
    }
    checker.found
}

struct Checker<'p> {
    program: &'p Program,
    outlines: &'p [Outline],
    solver: Solver<'p>,
    pairs_left: Budget,
    found: Vec<Diagnostic>,
    undecided: usize,
    /// By rule: a call on which it holds, confirmed by the interpreter; and whether it can hold at all.
    fires: Vec<Fires>,
}

#[derive(Clone, Debug, Default)]
enum Fires {
    #[default]
    Unknown,
    Never,
    On(Box<Witness>),
}

impl<'p> Checker<'p> {
    fn new(program: &'p Program, outlines: &'p [Outline], steps: usize) -> Self {
        Self {
            program,
            outlines,
            solver: Solver::new(&program.atoms, steps),
            pairs_left: Budget::new(PAIRS_MAX),
            found: Vec::new(),
            undecided: 0,
            fires: Vec::new(),
        }
    }

    fn is_full(&self) -> bool {
        self.found.len() >= ERRORS_MAX
    }

    /// Whether some call meets the goals; `None` if that was not decided.
    fn possible(&mut self, goals: &[(&Condition, search::Want)]) -> Option<bool> {
        match self.solver.ask(goals) {
            Answer::Yes(_) => Some(true),
            Answer::No => Some(false),
            Answer::Unknown => {
                self.undecided += 1;
                None
            }
        }
    }

    /// A call that meets conditions, confirmed by the interpreter's own logic.
    fn witness(&self, model: &Model, conditions: &[&Condition]) -> Option<Witness> {
        let witness = Witness::new(&self.solver.theory, model)?;
        let holds =
            |condition: &&Condition| witness.judge(condition, &self.program.atoms) == crate::decision::Truth::True;
        conditions.iter().all(holds).then_some(witness)
    }

    fn name(&self, rule: usize) -> Option<Span> {
        self.outlines.get(rule)?.name
    }
}
