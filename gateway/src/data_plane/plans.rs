//! The masks that a decision owes, made ready to run once per core and policy.

use std::collections::HashMap;
use std::rc::Rc;

use policy_compiler::redact::{MaskPlan, PlanError, Substitutes};
use policy_lang::{Obligations, Program, RuleId, Side};

use crate::policy_slot::ActivePolicy;

/// What is masked in one call.
pub(crate) struct Plans {
    /// In the request, on its way to the model.
    pub(crate) request: MaskPlan,
    /// In the answer, on its way to the caller.
    pub(crate) response: MaskPlan,
    /// Likewise, where it is an error.
    pub(crate) error: MaskPlan,
    /// In the recorded copies, beside the above: every built-in detector, and `mask record` (DECISIONS 15).
    pub(crate) recorded_request: MaskPlan,
    /// Likewise.
    pub(crate) recorded_response: MaskPlan,
    /// What keyed masks of this call are made with.
    pub(crate) substitutes: Option<Rc<Substitutes>>,
}

/// Plans of one policy set by the mask effects that they carry out.
#[derive(Default)]
pub(crate) struct PlanCache {
    /// Of the set; a call that began with an older one gets plans of its own.
    generation: u64,
    plans: HashMap<Vec<(RuleId, u32)>, Rc<Plans>>,
}

impl PlanCache {
    /// The plans for these obligations.
    ///
    /// # Errors
    /// When a mask cannot be carried out; the call must then be denied.
    pub(crate) fn get(&mut self, policy: &ActivePolicy, obligations: &Obligations) -> Result<Rc<Plans>, PlanError> {
        let program = policy.compiled.program();
        if policy.generation < self.generation {
            return Ok(Rc::new(Plans::new(program, obligations)?));
        }
        if policy.generation > self.generation {
            *self = Self { generation: policy.generation, plans: HashMap::new() };
        }
        if let Some(plans) = self.plans.get(&obligations.masks) {
            return Ok(Rc::clone(plans));
        }
        let plans = Rc::new(Plans::new(program, obligations)?);
        self.plans.insert(obligations.masks.clone(), Rc::clone(&plans));
        Ok(plans)
    }
}

impl Plans {
    /// The plans for these obligations, made afresh.
    ///
    /// # Errors
    /// When a mask cannot be carried out; the call must then be denied.
    pub(crate) fn new(program: &Program, obligations: &Obligations) -> Result<Self, PlanError> {
        let of = |side: Side, record_only: bool| {
            obligations.resolve(program).filter(move |(_, mask)| mask.side == side && mask.record_only == record_only)
        };
        Ok(Self {
            request: MaskPlan::new(Side::Request, of(Side::Request, false))?,
            response: MaskPlan::new(Side::Response, of(Side::Response, false))?,
            error: MaskPlan::of_errors(of(Side::Response, false))?,
            recorded_request: MaskPlan::recorded(Side::Request, of(Side::Request, true))?,
            recorded_response: MaskPlan::recorded(Side::Response, of(Side::Response, true))?,
            substitutes: None,
        })
    }

    /// Whether a mask is keyed.
    pub(crate) fn needs_keys(&self) -> bool {
        let all = [&self.request, &self.response, &self.error, &self.recorded_request, &self.recorded_response];
        all.into_iter().any(MaskPlan::needs_keys)
    }

    /// The same plans for one call.
    pub(crate) fn keyed(&self, substitutes: &Rc<Substitutes>) -> Self {
        let keyed = |plan: &MaskPlan| plan.clone().keyed(Rc::clone(substitutes));
        Self {
            request: keyed(&self.request),
            response: keyed(&self.response),
            error: keyed(&self.error),
            recorded_request: keyed(&self.recorded_request),
            recorded_response: keyed(&self.recorded_response),
            substitutes: Some(Rc::clone(substitutes)),
        }
    }

    /// Puts the values of the session's tokens back in the answer; `None` where it has none.
    pub(crate) fn restoring(&self) -> Option<MaskPlan> {
        let substitutes = self.substitutes.as_ref().filter(|substitutes| !substitutes.is_empty())?;
        // The pattern is fixed and a test compiles it; without it, placeholders stay.
        MaskPlan::restoring(Rc::clone(substitutes)).ok()
    }
}
