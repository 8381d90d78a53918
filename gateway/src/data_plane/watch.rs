//! What a core tells the control plane about a call, for alerts. Nothing waits for it.

use std::sync::Arc;

use audit_shipper::RecordId;
use policy_lang::Verdict;

use super::core::Core;
use super::error::CallError;
use super::exchange::Call;
use crate::alerts::{Event, Short};

/// After a call was judged, whatever the verdict.
pub(super) fn judged(core: &Core, call: &Call) {
    let (Some(judged), Some(caller)) = (&call.judged, &call.caller) else { return };
    let alerts = &core.shared.alerts;
    let raised = &judged.decision.obligations.alerts;
    let watched = call.live.config.alerts.watch.is_some();
    if raised.is_empty() && !watched {
        return;
    }
    let (who, trace) = (alerts.who(caller), call.trace.id());
    for &(rule, effect) in raised {
        alerts.push(Event::Policy { policy: Arc::clone(&call.policy), rule, effect, who, trace });
    }
    if watched {
        let denied = matches!(judged.decision.verdict, Verdict::Deny(_));
        alerts.push(Event::Call { who, model: Short::new(&judged.model), denied, trace });
    }
}

/// After a call failed; `id` is its own, if it has one.
pub(super) fn failed(core: &Core, error: &CallError, id: Option<RecordId>) {
    if error.code == "cannot_mask" {
        core.shared.alerts.push(Event::Unmaskable { call: id });
    }
}
