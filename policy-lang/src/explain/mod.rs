//! Why a call is decided as it is: every rule with each of its conditions, the value that each one found, and what is missing for the
//! closest `allow`.

mod closest;
mod render;
mod tree;

pub use closest::Closest;
pub(crate) use closest::closest;
pub use render::{to_json, to_text};
pub use tree::{Node, NodeKind};

use crate::decision::{Truth, Verdict};
use crate::program::{Effect, Phase, Program, RuleId};
use crate::testing::{Call, Host, Outcome, judge};

/// Everything there is to say about one call.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What came of it.
    pub outcome: Outcome,
    /// Every rule of the phases that took place, in name order.
    pub rules: Vec<RuleExplained>,
    /// Rules about the answer, when there was none to judge.
    pub waiting: Vec<RuleId>,
    /// What is missing for the closest `allow`, when no rule allows the call.
    pub closest: Option<Closest>,
}

/// How one rule came out, and why.
#[derive(Clone, Debug)]
pub struct RuleExplained {
    /// Which rule.
    pub rule: RuleId,
    /// How it came out.
    pub truth: Truth,
    /// Its condition.
    pub condition: Node,
}

/// Explains a call.
#[must_use]
pub fn explain(program: &Program, host: &dyn Host, call: &Call) -> Explanation {
    let mut rules = Vec::new();
    let mut closest = None;
    let mut answered = false;
    let outcome = judge(program, host, call, &mut |phase, facts| {
        for (index, rule) in program.rules.iter().enumerate().filter(|(_, rule)| rule.phase == phase) {
            let condition = Node::new(program, &rule.condition, facts);
            let rule = RuleId(u32::try_from(index).unwrap_or(u32::MAX));
            rules.push(RuleExplained { rule, truth: condition.truth, condition });
        }
        match phase {
            Phase::Request => closest = self::closest(program, facts),
            Phase::Response => answered = true,
        }
    });
    rules.sort_by_key(|explained| explained.rule);
    let allowed = rules.iter().any(|explained| {
        explained.truth == Truth::True
            && program
                .rules
                .get(explained.rule.0 as usize)
                .is_some_and(|rule| !rule.shadow && rule.effects.contains(&Effect::Allow))
    });
    if allowed || !matches!(outcome.verdict, Verdict::Deny(_)) || outcome.refused.is_some() {
        closest = None;
    }
    let of_answer = program.rules.iter().enumerate().filter(|(_, rule)| rule.phase == Phase::Response && !answered);
    let waiting = of_answer.map(|(index, _)| RuleId(u32::try_from(index).unwrap_or(u32::MAX))).collect();
    Explanation { outcome, rules, waiting, closest }
}
