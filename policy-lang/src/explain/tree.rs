//! A condition with what each part of it came to.

use crate::decision::Truth;
use crate::facts::Facts;
use crate::interpreter::eval_atom;
use crate::program::{Condition, Program};
use crate::testing::{value, words};

/// One part of a condition.
#[derive(Clone, Debug)]
pub struct Node {
    /// What it came to.
    pub truth: Truth,
    /// Whether it mattered, reading from left to right.
    pub decisive: bool,
    /// What it is.
    pub kind: NodeKind,
}

/// What a part of a condition is.
#[derive(Clone, Debug)]
pub enum NodeKind {
    /// No condition at all.
    Always,
    /// Never.
    Never,
    /// A leaf: as a policy writes it, and what it found.
    Leaf {
        /// `model in { "a" }`
        text: String,
        /// `model is "b"`
        found: String,
    },
    /// `not`
    Not(Box<Node>),
    /// `and`
    All(Vec<Node>),
    /// `or`
    Any(Vec<Node>),
}

impl Node {
    pub(super) fn new(program: &Program, condition: &Condition, facts: &Facts<'_>) -> Self {
        Builder { program, facts }.node(condition, true)
    }
}

struct Builder<'b> {
    program: &'b Program,
    facts: &'b Facts<'b>,
}

impl Builder<'_> {
    fn node(&self, condition: &Condition, decisive: bool) -> Node {
        let (truth, kind) = match condition {
            Condition::Const(true) => (Truth::True, NodeKind::Always),
            Condition::Const(false) => (Truth::False, NodeKind::Never),
            Condition::Atom(id) => match self.program.atoms.get(id.0 as usize) {
                None => (Truth::Error, NodeKind::Never),
                Some(atom) => {
                    let leaf = NodeKind::Leaf { text: words::atom(atom), found: value::found(atom, self.facts) };
                    (eval_atom(atom, self.facts), leaf)
                }
            },
            Condition::Not(inner) => {
                let inner = self.node(inner, decisive);
                let truth = match inner.truth {
                    Truth::True => Truth::False,
                    Truth::False => Truth::True,
                    Truth::Error => Truth::Error,
                };
                (truth, NodeKind::Not(Box::new(inner)))
            }
            Condition::All(parts) => {
                let (truth, parts) = self.parts(parts, decisive, Truth::False);
                (truth, NodeKind::All(parts))
            }
            Condition::Any(parts) => {
                let (truth, parts) = self.parts(parts, decisive, Truth::True);
                (truth, NodeKind::Any(parts))
            }
        };
        Node { truth, decisive, kind }
    }

    /// `settled` is the value after which the rest does not matter: false for `and`, true for `or`.
    fn parts(&self, parts: &[Condition], decisive: bool, settled: Truth) -> (Truth, Vec<Node>) {
        let mut whole = if settled == Truth::False { Truth::True } else { Truth::False };
        let mut nodes = Vec::with_capacity(parts.len());
        for part in parts {
            let node = self.node(part, decisive && whole != settled);
            whole = if settled == Truth::False { whole.min(node.truth) } else { whole.max(node.truth) };
            nodes.push(node);
        }
        (whole, nodes)
    }
}
