//! What a policy set makes of a caller, once per token.

use super::code::judge_atom;
use super::plan::Plan;
use crate::index::Lists;
use crate::planted::planted;
use policy_lang::{AtomId, Facts, Program, Truth};

/// What a policy set makes of a caller (subject, issuer, client, kind, groups, scopes, claims): which of its conditions on callers
/// hold, and which of its rules can. Made by [`CompiledPolicy::identity_facts`](crate::CompiledPolicy::identity_facts), kept with
/// the token, good for that policy alone; another policy notices and makes its own. At most one bit per rule and per condition on callers.
#[derive(Clone, Debug, Default)]
pub struct IdentityFacts {
    /// [`CompiledPolicy::generation`](crate::CompiledPolicy::generation) of the policy that made it; 0 is none.
    pub(crate) policy: u64,
    /// One bit per condition on the caller that is either true or false.
    pub(crate) members: Vec<u64>,
    /// One [`Truth`] per condition on a claim.
    pub(crate) claims: Vec<u8>,
    /// The index's candidates, one bit per slot, as a packed row.
    pub(crate) candidates: Vec<u64>,
}

impl IdentityFacts {
    /// The [`CompiledPolicy::generation`](crate::CompiledPolicy::generation) that this is good for.
    #[must_use]
    pub fn policy_generation(&self) -> u64 {
        self.policy
    }

    /// Memory behind it, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        (self.members.capacity() + self.candidates.capacity()) * 8 + self.claims.capacity()
    }
}

/// The conditions on callers, by what makes them true.
#[derive(Debug)]
pub(crate) struct CallerPlan {
    fields: Vec<CallerField>,
}

#[derive(Debug)]
struct CallerField {
    field: usize,
    by_class: Lists,
    by_suffix: Lists,
    /// Globs that classes do not settle: which bit, which atom, and up to which class it is settled.
    asks: Vec<(u32, AtomId, u32)>,
}

impl CallerPlan {
    pub(crate) fn new(plan: &Plan) -> Self {
        let first_bit = plan.members - plan.caller_texts.len();
        let field = |field: usize| {
            let texts = plan.texts.get(field)?;
            let (mut by_class, mut by_suffix, mut asks) = (Vec::new(), Vec::new(), Vec::new());
            let own = plan.caller_texts.iter().enumerate().filter(|(_, text)| text.field == field);
            for (number, text) in own {
                let bit = (first_bit + number) as u32;
                by_class.extend(text.set.classes.iter().map(|class| (*class, bit)));
                by_suffix.extend(text.set.suffixes.iter().map(|class| (*class, bit)));
                if text.set.asks {
                    let literal_max = if text.set.asks_of_literals { 0 } else { texts.literal_max() };
                    asks.push((bit, text.atom, literal_max));
                }
            }
            if by_class.is_empty() && by_suffix.is_empty() && asks.is_empty() {
                return None;
            }
            let by_class = Lists::new(texts.class_count(), by_class);
            Some(CallerField { field, by_class, by_suffix: Lists::new(texts.suffix_count(), by_suffix), asks })
        };
        Self { fields: (0..plan.texts.len()).filter_map(field).collect() }
    }

    /// Judges every condition on the caller into `caller.members` and `caller.claims`.
    pub(crate) fn judge(&self, plan: &Plan, program: &Program, facts: &Facts<'_>, caller: &mut IdentityFacts) {
        caller.members.clear();
        caller.members.resize(plan.members.div_ceil(64), 0);
        let members = caller.members.as_mut_slice();
        for (table, names, first_bit) in
            [(&plan.groups, facts.groups, 0), (&plan.scopes, facts.scopes, plan.groups.len())]
        {
            if !table.is_empty() {
                for name in names {
                    // Id 0 is "not named".
                    if let Some(bit) = (table.id(name) as usize).checked_sub(1) {
                        set(members, first_bit + bit);
                    }
                }
            }
        }
        for CallerField { field, by_class, by_suffix, asks } in &self.fields {
            let (Some(texts), Some(text)) = (plan.texts.get(*field), facts.strings.get(*field)) else { continue };
            let class = texts.class(text);
            let suffix = texts.suffix(text, class);
            for bit in by_class.of(class).iter().chain(by_suffix.of(suffix)) {
                set(members, *bit as usize);
            }
            for (bit, atom, literal_max) in asks {
                let settled = class != 0 && class <= *literal_max;
                if !settled && judge_atom(program, *atom, facts) == Truth::True {
                    set(members, *bit as usize);
                }
            }
        }
        caller.claims.clear();
        for atom in &plan.claims {
            let truth = judge_atom(program, *atom, facts);
            let truth = if planted!(ClaimErrorsAreFalse) && truth == Truth::Error { Truth::False } else { truth };
            caller.claims.push(truth as u8);
        }
    }
}

fn set(bits: &mut [u64], bit: usize) {
    if let Some(word) = bits.get_mut(bit / 64) {
        *word |= 1 << (bit % 64);
    }
}
