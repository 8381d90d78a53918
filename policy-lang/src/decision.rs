//! From "which rules hold" to what happens: the meaning of POLICY-LANGUAGE §4, shared by interpreter and native code.

use crate::program::{ApprovalRequirement, Effect, Mask, Program, RecordBound, RecordLevel, RuleId};

/// How one rule came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Truth {
    /// Its condition does not hold.
    False = 0,
    /// Its condition could not be judged.
    Error = 1,
    /// Its condition holds.
    True = 2,
}

/// Which rules were true and which were errors, by [`RuleId`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trace {
    /// One byte per rule, a [`Truth`].
    pub truths: Vec<Truth>,
}

/// The outcome of judging one call.
#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// Rules that held (enforced ones), in name order.
    pub fired: Vec<RuleId>,
    /// Shadow rules that held.
    pub shadow_fired: Vec<RuleId>,
    /// Rules that could not be judged.
    pub errors: Vec<RuleId>,
    /// What the call owes if it goes forward.
    pub obligations: Obligations,
}

/// What happens to the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the model.
    Forward,
    /// It waits for people.
    Pending(Vec<ApprovalRequirement>),
    /// It is refused.
    Deny(Denial),
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denial {
    /// For the caller.
    pub text: String,
    /// HTTP status.
    pub status: u16,
    /// The rule whose text it is; none when no rule allows the call.
    pub rule: Option<RuleId>,
}

/// What a forwarded call owes. Masks are given as (rule, index of the effect in the rule): the program holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obligations {
    /// Masks of the rules that held.
    pub masks: Vec<(RuleId, u32)>,
    /// How much of the payload is kept.
    pub record: RecordLevel,
}

/// Draws the conclusion from a trace. Total: a trace shorter than the rule list counts the missing rules as errors.
#[must_use]
pub fn conclude(program: &Program, trace: &Trace) -> Decision {
    let mut fired = Vec::new();
    let mut shadow_fired = Vec::new();
    let mut errors = Vec::new();
    let mut denial: Option<Denial> = None;
    let mut allowed = false;
    let mut approvals: Vec<ApprovalRequirement> = Vec::new();
    let mut masks = Vec::new();
    let (mut at_least, mut at_most) = (RecordLevel::Metadata, RecordLevel::Full);
    for (index, rule) in program.rules.iter().enumerate() {
        let id = RuleId(u32::try_from(index).unwrap_or(u32::MAX));
        let truth = trace.truths.get(index).copied().unwrap_or(Truth::Error);
        match truth {
            Truth::False => continue,
            Truth::Error => {
                errors.push(id);
                if rule.restricts() && !rule.shadow && denial.is_none() {
                    denial = Some(Denial {
                        text: "The policy could not be judged for this call.".to_owned(),
                        status: 403,
                        rule: Some(id),
                    });
                }
                continue;
            }
            Truth::True if rule.shadow => {
                shadow_fired.push(id);
                continue;
            }
            Truth::True => fired.push(id),
        }
        for (position, effect) in rule.effects.iter().enumerate() {
            match effect {
                Effect::Allow => allowed = true,
                Effect::Deny { text, status } => {
                    if denial.is_none() {
                        denial = Some(Denial { text: text.clone(), status: *status, rule: Some(id) });
                    }
                }
                Effect::RequireApproval(requirement) => approvals.push(requirement.clone()),
                Effect::Mask(_) => masks.push((id, u32::try_from(position).unwrap_or(u32::MAX))),
                Effect::Record { bound: RecordBound::AtLeast, level } => at_least = at_least.max(*level),
                Effect::Record { bound: RecordBound::AtMost, level } => at_most = at_most.min(*level),
            }
        }
    }
    approvals.sort();
    approvals.dedup();
    let verdict = match denial {
        Some(denial) => Verdict::Deny(denial),
        None if !allowed => {
            Verdict::Deny(Denial { text: "No rule allows this call.".to_owned(), status: 403, rule: None })
        }
        None if !approvals.is_empty() => Verdict::Pending(approvals),
        None => Verdict::Forward,
    };
    // Where bounds contradict, keeping more is the stricter reading.
    Decision { verdict, fired, shadow_fired, errors, obligations: Obligations { masks, record: at_least.max(at_most) } }
}

impl Obligations {
    /// The mask effects themselves.
    pub fn resolve<'p>(&'p self, program: &'p Program) -> impl Iterator<Item = (&'p str, &'p Mask)> + 'p {
        self.masks.iter().filter_map(|(rule, effect)| {
            let rule = program.rules.get(rule.0 as usize)?;
            match rule.effects.get(*effect as usize)? {
                Effect::Mask(mask) => Some((rule.name.as_str(), mask)),
                _ => None,
            }
        })
    }
}
