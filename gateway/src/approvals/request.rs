//! One request, from the question to its end.

use super::ask::Ask;
use super::pass::ApprovalRef;
use super::view::{DecisionView, RequirementView, View};
use super::{Deadline, Kind, Now, Stage};
use audit_shipper::RecordId;
use policy_lang::ApprovalRequirement;
use std::sync::Arc;
use tokio::sync::watch;

#[derive(Debug)]
pub(super) struct Request {
    pub(super) ask: Arc<Ask>,
    pub(super) asked_at_ms: u64,
    /// While pending: when the question lapses. Approved: when the approval does. Denied or revoked: until when that stands.
    pub(super) lapses: Deadline,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) approvals: Vec<Made>,
    /// The denial or the revocation.
    pub(super) ended: Option<Made>,
    /// Place of its first record in the log.
    pub(super) index: Option<u64>,
    /// The call that used it.
    pub(super) used_by: Option<RecordId>,
}

/// One person's decision.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) subject: String,
    /// Those of the groups that were asked which the person was in.
    pub(super) groups: Vec<String>,
    pub(super) reason: String,
    pub(super) at_ms: u64,
}

impl Request {
    pub(super) fn new(ask: Arc<Ask>, asked_at_ms: u64, lapses: Deadline, stage: Stage) -> Self {
        Self {
            ask,
            asked_at_ms,
            lapses,
            stage: watch::Sender::new(stage),
            approvals: Vec::new(),
            ended: None,
            index: None,
            used_by: None,
        }
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    pub(super) fn move_to(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Lets it lapse if it is due; whether it did so now. What a call has in its hands does not lapse any more.
    pub(super) fn lapse(&self, now: Now) -> bool {
        let due = matches!(self.stage(), Stage::Pending | Stage::Approved) && self.lapses.is_over(now);
        if due {
            self.move_to(Stage::Expired);
        }
        due
    }

    pub(super) fn is_pending(&self) -> bool {
        matches!(self.stage(), Stage::Pending | Stage::Asking)
    }

    /// Whether a denial or a revocation still stands.
    pub(super) fn stands(&self, now: Now) -> bool {
        matches!(self.stage(), Stage::Denied | Stage::Revoked) && !self.lapses.is_over(now)
    }

    pub(super) fn is_met(&self) -> bool {
        self.ask.requirements.iter().all(|requirement| self.approved(requirement) >= requirement.by.max(1))
    }

    /// How many of the people that a requirement asks for have approved.
    pub(super) fn approved(&self, requirement: &ApprovalRequirement) -> u32 {
        let count = self.approvals.iter().filter(|made| made.is_asked(requirement)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    pub(super) fn reference(&self, id: &str) -> ApprovalRef {
        ApprovalRef { record: id.parse().ok(), id: id.to_owned(), approvers: self.approvers() }
    }

    fn approvers(&self) -> Vec<String> {
        self.approvals.iter().map(|made| made.subject.clone()).collect()
    }

    pub(super) fn view(&self, id: &str) -> View {
        let requirement_view = |requirement: &ApprovalRequirement| RequirementView {
            groups: requirement.groups.clone(),
            by: requirement.by,
            approved: self.approved(requirement),
            within_s: requirement.within.as_secs(),
            valid_s: requirement.valid.as_secs(),
        };
        let ended_by =
            |stage: Stage| self.ended.as_ref().filter(|_| self.stage() == stage).map(|made| made.subject.clone());
        let all = || self.approvals.iter().map(|made| (true, made)).chain(self.ended.iter().map(|made| (false, made)));
        View {
            id: id.to_owned(),
            kind: self.ask.kind,
            status: self.stage().status(),
            subject: self.ask.subject.clone(),
            issuer: self.ask.issuer.clone(),
            tenant: self.ask.tenant.clone(),
            model: self.ask.model.clone(),
            endpoint: self.ask.endpoint.clone(),
            rules: self.ask.rules.clone(),
            requirements: self.ask.requirements.iter().map(requirement_view).collect(),
            approvers: self.approvers(),
            denied_by: ended_by(Stage::Denied),
            revoked_by: ended_by(Stage::Revoked),
            reasons: all().map(|(_, made)| made.reason.clone()).filter(|reason| !reason.is_empty()).collect(),
            decisions: all()
                .map(|(approved, made)| DecisionView {
                    decision: match (approved, self.stage()) {
                        (true, _) => "approved",
                        (false, Stage::Revoked) => "revoked",
                        (false, _) => "denied",
                    },
                    by: made.subject.clone(),
                    reason: made.reason.clone(),
                    at_unix_ms: made.at_ms,
                })
                .collect(),
            asked_at_unix_ms: self.asked_at_ms,
            expires_at_unix_ms: self.lapses.unix_ms,
            used_by: self.used_by.map(|call| call.to_string()),
            preview: self.ask.preview.clone(),
        }
    }

    /// Of a grant that is in force nothing is used up.
    pub(super) fn is_grant(&self) -> bool {
        self.ask.kind == Kind::Grant
    }
}

impl Made {
    pub(super) fn is_asked(&self, requirement: &ApprovalRequirement) -> bool {
        requirement.groups.iter().any(|group| self.groups.contains(group))
    }
}
