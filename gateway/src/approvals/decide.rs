//! Who may decide on a request, and what a decision does to it.

use super::request::{Made, Request};
use super::{Approvals, Deadline, Kind, Now, REASON_BYTES_MAX, Stage, Status};
use crate::identity::Identity;

/// A decision that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decided {
    /// The request.
    pub id: String,
    /// One call, or access.
    pub kind: Kind,
    /// Where it stands after the decision: still pending if more people are needed.
    pub status: Status,
    /// Who asked.
    pub subject: String,
    /// HMAC over the exact call that was decided on.
    pub binding: [u8; 32],
    /// Those of the groups that are asked in whose name the person decided.
    pub groups: Vec<String>,
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
    /// There is nothing to take back.
    #[error("nothing is in force that could be revoked: the request waits, was used, or is over")]
    NotInForce,
    /// Nobody decides on their own calls.
    #[error("nobody can decide on their own request")]
    OwnRequest,
    /// The approver is in none of the groups that are asked.
    #[error("only members of the required group can decide on this request")]
    NotInGroup,
    /// The same person approved before.
    #[error("you have approved this request already; it needs another person")]
    AlreadyApproved,
    /// A decision without a reason.
    #[error("a decision needs a reason; it goes into the evidence, and a denial's also to the caller")]
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
        let now = self.now();
        let state = self.lock();
        let request = state.requests.get(id).ok_or(DecideError::NotFound)?;
        self.lapse(id, request, now);
        request.judge(id, approver, approve, reason).map(|(decided, _)| decided)
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
        let now = self.now();
        let mut state = self.lock();
        let request = state.requests.get_mut(id).ok_or(DecideError::NotFound)?;
        self.lapse(id, request, now);
        let (decided, mut made) = request.judge(id, approver, approve, reason)?;
        made.at_ms = now.unix_ms;
        if approve {
            request.approve(made, now)
        } else {
            request.deny(made)
        }
        Ok(decided)
    }

    /// Takes an unused approval or a grant back, at once: from now on no call passes by it. That stands as long as a denial
    /// would. The evidence is written after it, so that no call slips in between.
    ///
    /// # Errors
    /// Why it cannot be; then nothing changed.
    pub fn revoke(&self, id: &str, who: &Identity, reason: Option<&str>) -> Result<Decided, DecideError> {
        let now = self.now();
        let mut state = self.lock();
        let request = state.requests.get_mut(id).ok_or(DecideError::NotFound)?;
        self.lapse(id, request, now);
        let mut made = request.decision_of(who, reason)?;
        if request.stage() != Stage::Approved {
            return Err(DecideError::NotInForce);
        }
        made.at_ms = now.unix_ms;
        let decided = request.decided(id, Status::Revoked, &made);
        request.revoke(made, Deadline::after(now, request.ask.within()));
        Ok(decided)
    }
}

impl Request {
    pub(super) fn approve(&mut self, made: Made, now: Now) {
        let at = made.at_ms;
        self.approvals.push(made);
        if self.is_met() {
            self.lapses = Deadline::since(at, self.ask.valid(), now);
            self.move_to(Stage::Approved);
        }
    }

    pub(super) fn deny(&mut self, made: Made) {
        self.ended = Some(made);
        self.move_to(Stage::Denied);
    }

    pub(super) fn revoke(&mut self, made: Made, stands: Deadline) {
        self.ended = Some(made);
        self.lapses = stands;
        self.move_to(Stage::Revoked);
    }

    fn judge(
        &self,
        id: &str,
        approver: &Identity,
        approve: bool,
        reason: Option<&str>,
    ) -> Result<(Decided, Made), DecideError> {
        if self.ask.tenant != approver.tenant || self.stage() == Stage::Asking {
            return Err(DecideError::NotFound);
        }
        if self.stage() != Stage::Pending {
            return Err(DecideError::NotPending);
        }
        // By name alone, whatever the issuer: one person may have tokens of two.
        if self.ask.subject == approver.subject {
            return Err(DecideError::OwnRequest);
        }
        let made = self.decision_of(approver, reason)?;
        if !approve {
            return Ok((self.decided(id, Status::Denied, &made), made));
        }
        if self.approvals.iter().any(|own| own.subject == approver.subject) {
            return Err(DecideError::AlreadyApproved);
        }
        let settled = self.ask.requirements.iter().all(|requirement| {
            let own = u32::from(made.is_asked(requirement));
            self.approved(requirement).saturating_add(own) >= requirement.by.max(1)
        });
        Ok((self.decided(id, if settled { Status::Approved } else { Status::Pending }, &made), made))
    }

    /// What a person of the groups that are asked says.
    fn decision_of(&self, who: &Identity, reason: Option<&str>) -> Result<Made, DecideError> {
        if self.ask.tenant != who.tenant {
            return Err(DecideError::NotFound);
        }
        let asked = self.ask.requirements.iter().flat_map(|requirement| &requirement.groups);
        let mut groups: Vec<String> = asked.filter(|group| who.in_group(group)).cloned().collect();
        groups.sort_unstable();
        groups.dedup();
        if groups.is_empty() {
            return Err(DecideError::NotInGroup);
        }
        let reason = reason.map(str::trim).filter(|reason| !reason.is_empty()).ok_or(DecideError::ReasonMissing)?;
        if reason.len() > REASON_BYTES_MAX {
            return Err(DecideError::ReasonTooLong);
        }
        Ok(Made { subject: who.subject.clone(), groups, reason: reason.to_owned(), at_ms: 0 })
    }

    fn decided(&self, id: &str, status: Status, made: &Made) -> Decided {
        Decided {
            id: id.to_owned(),
            kind: self.ask.kind,
            status,
            subject: self.ask.subject.clone(),
            binding: self.ask.binding,
            groups: made.groups.clone(),
        }
    }
}
