//! What a core tells the control plane about a call, for alerts. Nothing waits for it.

use std::sync::Arc;

use audit_shipper::RecordId;
use policy_lang::{RuleId, Verdict};

use super::core::Core;
use super::error::CallError;
use super::exchange::Call;
use crate::alerts::{Event, Short};

/// What was told of one call: however often it, or its answer, is judged, it counts once and raises an alert once.
#[derive(Default)]
pub(super) struct Watched {
    counted: bool,
    /// By generation of the policy set, rule and effect.
    raised: Vec<(u64, RuleId, u32)>,
}

impl Watched {
    /// After the call was judged, whatever the verdict. A call that waited for people is judged again; what is new then is what
    /// another policy set says, and that it may be refused.
    pub(super) fn judged(&mut self, core: &Core, call: &Call) {
        let (Some(judged), Some(caller)) = (&call.judged, &call.caller) else { return };
        self.raise(core, call, judged.decision.obligations.alerts.iter().copied());
        let counted = std::mem::replace(&mut self.counted, true);
        let denied = matches!(judged.decision.verdict, Verdict::Deny(_));
        if call.live.config.alerts.watch.is_none() || (counted && !denied) {
            return;
        }
        let alerts = &core.shared.alerts;
        let (who, trace) = (alerts.who(caller), call.trace.id());
        alerts.push(Event::Call { who, model: Short::new(&judged.model), denied, counted, trace });
    }

    /// Rules that held raise these of their effects.
    pub(super) fn raise(&mut self, core: &Core, call: &Call, effects: impl Iterator<Item = (RuleId, u32)>) {
        let (alerts, policy) = (&core.shared.alerts, &call.policy);
        for (rule, effect) in effects {
            let Some(caller) = &call.caller else { return };
            let this = (policy.generation, rule, effect);
            if !self.raised.contains(&this) {
                self.raised.push(this);
                let (who, trace) = (alerts.who(caller), call.trace.id());
                alerts.push(Event::Policy { policy: Arc::clone(policy), rule, effect, who, trace });
            }
        }
    }
}

/// After a call failed; `id` is its own, if it has one.
pub(super) fn failed(core: &Core, error: &CallError, id: Option<RecordId>) {
    if error.code == "cannot_mask" {
        core.shared.alerts.push(Event::Unmaskable { call: id });
    }
}
