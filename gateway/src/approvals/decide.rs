//! People's side: who may decide on a request, and what a decision changes.

use super::{Approvals, Approver, REASON_BYTES_MAX, Request, Status, after};
use crate::identity::Identity;
use policy_lang::ApprovalRequirement;

/// What a decision comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The request.
    pub id: String,
    /// Where it stands after the decision: still pending if more people are needed.
    pub status: Status,
    /// Who asked.
    pub subject: String,
    /// HMAC over the exact call that was decided on.
    pub binding: [u8; 32],
}

/// Why a decision does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecideError {
    /// No such request (in the approver's tenant).
    #[error("there is no request for approval with this id")]
    NotFound,
    /// It was decided or has lapsed.
    #[error("the request no longer waits: it was decided or has expired")]
    NotPending,
    /// Nobody decides on their own calls.
    #[error("nobody can decide on their own request")]
    OwnRequest,
    /// The approver is in none of the groups that are asked.
    #[error("only members of the required group can decide on this request")]
    NotInGroup,
    /// The same person approved before.
    #[error("you have approved this request already; it needs another person")]
    AlreadyApproved,
    /// A denial without a reason.
    #[error("a denial needs a reason")]
    ReasonMissing,
    /// A reason of more than [`REASON_BYTES_MAX`] bytes.
    #[error("the reason is too long")]
    ReasonTooLong,
}

impl Approvals {
    /// What [`Approvals::decide`] would come to, without deciding: so that the decision can be written down first.
    ///
    /// # Errors
    /// Why the decision would not count.
    pub fn examine(
        &self,
        id: &str,
        approver: &Identity,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<Decided, DecideError> {
        let now = self.clock.unix_ms();
        let mut state = self.lock();
        let request = state.requests.get_mut(id).ok_or(DecideError::NotFound)?;
        self.lapse(id, request, now);
        request.judge(id, approver, approve, reason)
    }

    /// Counts one person's decision. When it settles the request, those who wait are woken.
    ///
    /// # Errors
    /// Why it does not count; then nothing changed.
    pub fn decide(
        &self,
        id: &str,
        approver: &Identity,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<Decided, DecideError> {
        let now = self.clock.unix_ms();
        let mut state = self.lock();
        let request = state.requests.get_mut(id).ok_or(DecideError::NotFound)?;
        self.lapse(id, request, now);
        let decided = request.judge(id, approver, approve, reason)?;
        let reason = given(reason).map(str::to_owned);
        if approve {
            request.approvers.push(Approver { identity: approver.clone(), reason });
        } else {
            request.denial = Some((approver.subject.clone(), reason.unwrap_or_default()));
        }
        if decided.status == Status::Approved {
            let valid = request.ask.requirements.iter().map(|requirement| requirement.valid).min();
            request.lapses_at_ms = after(now, valid.unwrap_or_default());
        }
        if decided.status != Status::Pending {
            request.status.send_replace(decided.status);
        }
        Ok(decided)
    }
}

impl Request {
    fn judge(
        &self,
        id: &str,
        approver: &Identity,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<Decided, DecideError> {
        if self.ask.tenant != approver.tenant {
            return Err(DecideError::NotFound);
        }
        if !self.is_pending() {
            return Err(DecideError::NotPending);
        }
        // By name alone, whatever the issuer: one person may have tokens of two.
        if self.ask.subject == approver.subject {
            return Err(DecideError::OwnRequest);
        }
        if !self.ask.requirements.iter().any(|requirement| is_asked(approver, requirement)) {
            return Err(DecideError::NotInGroup);
        }
        let reason = given(reason);
        if !approve && reason.is_none() {
            return Err(DecideError::ReasonMissing);
        }
        if reason.is_some_and(|reason| reason.len() > REASON_BYTES_MAX) {
            return Err(DecideError::ReasonTooLong);
        }
        let decided = |status| Decided {
            id: id.to_owned(),
            status,
            subject: self.ask.subject.clone(),
            binding: self.ask.binding,
        };
        if !approve {
            return Ok(decided(Status::Denied));
        }
        if self.approvers.iter().any(|own| own.identity.subject == approver.subject) {
            return Err(DecideError::AlreadyApproved);
        }
        let settled = self.ask.requirements.iter().all(|requirement| {
            let own = u32::from(is_asked(approver, requirement));
            self.approved(requirement).saturating_add(own) >= requirement.by.max(1)
        });
        Ok(decided(if settled { Status::Approved } else { Status::Pending }))
    }
}

/// Whether the person is in one of the groups that a requirement names.
pub(super) fn is_asked(person: &Identity, requirement: &ApprovalRequirement) -> bool {
    requirement.groups.iter().any(|group| person.in_group(group))
}

/// A reason that says something.
fn given(reason: Option<&str>) -> Option<&str> {
    reason.map(str::trim).filter(|reason| !reason.is_empty())
}
