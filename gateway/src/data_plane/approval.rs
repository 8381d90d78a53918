//! Parks a call until people agree (DECISIONS 12): bound to the exact request, single use.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;
use policy_compiler::dialect::ErrorKind;
use policy_lang::{ApprovalRequirement, Verdict};

use super::admit::caller_left;
use super::core::Core;
use super::error::CallError;
use super::exchange::Call;
use super::http::Wire;
use super::judge::Judged;
use super::rt;
use crate::approvals::{ApprovalRef, Ask, Gate, Waiter};
use crate::identity::Identity;

/// How often a parked call looks whether its caller is still there.
const PARKED_LOOK: Duration = Duration::from_millis(250);

/// The request that the approval is bound to, and how people may see it.
pub(super) struct Parked<'a> {
    pub(super) raw: Option<&'a [u8]>,
    pub(super) masked: Option<&'a [u8]>,
}

/// Waits for the people that the verdict names; `None` when it names nobody.
///
/// # Errors
/// Refused, expired, still pending after the configured hold (409), the caller left, or the gateway drains.
pub(super) async fn approve(
    core: &Rc<Core>,
    client: &mut Wire,
    call: &Call,
    parked: Parked<'_>,
) -> Result<Option<ApprovalRef>, CallError> {
    let (Some(judged), Some(caller)) = (&call.judged, &call.caller) else { return Ok(None) };
    let Verdict::Pending(requirements) = &judged.decision.verdict else { return Ok(None) };
    let parked_at_ms = core.watchdog.now_ms();
    let mut gate = core.shared.approvals.ask(ask(core, call, judged, caller, &requirements.approvals, &parked));
    loop {
        match gate {
            Gate::Passed(approval) => return Ok(Some(approval)),
            Gate::Waiting(mut waiter) => {
                wait(core, client, &mut waiter, parked_at_ms).await?;
                gate = core.shared.approvals.resume(waiter);
            }
            Gate::Refused { id, by, reason } => {
                let message = format!("{by} refused this call: {reason} (approval {id}).");
                return Err(CallError::new(ErrorKind::Forbidden, "approval_denied", message));
            }
            Gate::Expired { id } => {
                let message = format!("Nobody approved this call in time (approval {id}). Send it again to ask again.");
                return Err(CallError::new(ErrorKind::Forbidden, "approval_expired", message));
            }
            Gate::TooMany => {
                let message = "Too many calls wait for people already.";
                return Err(
                    CallError::new(ErrorKind::RateLimited, "approvals_full", message).field("retry-after", "60")
                );
            }
        }
    }
}

/// Waits for a decision; looks now and then whether waiting still makes sense.
async fn wait(core: &Core, client: &mut Wire, waiter: &mut Waiter, parked_at_ms: u64) -> Result<(), CallError> {
    let id = waiter.id().to_owned();
    loop {
        let decided = async {
            waiter.resolved().await;
            true
        };
        let looked = async {
            rt::sleep(PARKED_LOOK).await;
            false
        };
        if decided.or(looked).await {
            return Ok(());
        }
        if client.socket.peer_closed() {
            return Err(caller_left().because(format!("while approval {id} was pending")));
        }
        if core.is_draining() {
            let message = "The gateway is restarting; send the call again.";
            return Err(CallError::new(ErrorKind::Unavailable, "draining", message).field("retry-after", "5"));
        }
        let waited_ms = core.watchdog.now_ms().saturating_sub(parked_at_ms);
        if u128::from(waited_ms) >= core.live().config.approvals.hold.as_millis() {
            let message =
                format!("This call waits for a person's approval ({id}). Send the same call again to go on waiting.");
            return Err(CallError::new(ErrorKind::ApprovalPending, "approval_pending", message)
                .field("retry-after", "30")
                .field("x-should-retry", "true"));
        }
    }
}

fn ask(
    core: &Core,
    call: &Call,
    judged: &Judged,
    caller: &Identity,
    requirements: &[ApprovalRequirement],
    parked: &Parked<'_>,
) -> Ask {
    let parts: [&[u8]; 6] = [
        caller.issuer.as_bytes(),
        caller.subject.as_bytes(),
        call.head.method.as_bytes(),
        call.head.target.as_bytes(),
        call.head.fields.first("content-type").unwrap_or_default(),
        parked.raw.unwrap_or_default(),
    ];
    Ask {
        binding: core.shared.approvals.binding(&parts),
        subject: caller.subject.clone(),
        issuer: caller.issuer.clone(),
        tenant: caller.tenant.clone(),
        model: judged.model.clone(),
        endpoint: call.endpoint().to_owned(),
        rules: call.rule_names(&judged.decision.fired),
        requirements: requirements.to_vec(),
        preview: String::from_utf8_lossy(parked.masked.unwrap_or_default()).into_owned(),
    }
}
