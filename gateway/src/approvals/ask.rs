//! What people are asked.

use super::PREVIEW_BYTES_MAX;
use policy_lang::{ApprovalRequirement, GrantRequirement};
use serde::{Deserialize, Serialize};

/// Bytes of names that come from the caller; they are for people to read.
const NAME_BYTES_MAX: usize = 512;

/// Whether people are asked for one call or for access.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// `require approval`: one exact call.
    #[default]
    Call,
    /// `require grant`: whatever the rule is about, for a time.
    Grant,
}

/// What a call asks people.
#[derive(Clone, Debug)]
pub struct Ask {
    /// What for.
    pub kind: Kind,
    /// HMAC over the exact call (or, of a grant, over who asks and the rule), made by the data plane: an approval is good for
    /// this and nothing else.
    pub binding: [u8; 32],
    /// Who calls.
    pub subject: String,
    /// Whose token that is.
    pub issuer: String,
    /// The caller's tenant; only people of the same tenant see the request or decide on it.
    pub tenant: String,
    /// The model asked for.
    pub model: String,
    /// The operation's path.
    pub endpoint: String,
    /// Names of the rules that require approval.
    pub rules: Vec<String>,
    /// What the rules require; never empty. All of it must be met.
    pub requirements: Vec<ApprovalRequirement>,
    /// The masked request, for people to read; cut at [`PREVIEW_BYTES_MAX`].
    pub preview: String,
    /// Whether the policy lets the payload be kept: else the preview is in memory only.
    pub keeps_preview: bool,
    /// How long the policy wants what is written of the call kept.
    pub keep: audit_shipper::Keep,
}

impl Ask {
    /// Cuts what callers could make long.
    pub(super) fn bounded(mut self) -> Self {
        truncate(&mut self.preview, PREVIEW_BYTES_MAX);
        truncate(&mut self.model, NAME_BYTES_MAX);
        truncate(&mut self.endpoint, NAME_BYTES_MAX);
        self.preview.shrink_to_fit();
        self
    }

    pub(super) fn within(&self) -> std::time::Duration {
        self.requirements.iter().map(|requirement| requirement.within).min().unwrap_or_default()
    }

    pub(super) fn valid(&self) -> std::time::Duration {
        self.requirements.iter().map(|requirement| requirement.valid).min().unwrap_or_default()
    }

    pub(super) fn key(&self) -> CallKey {
        CallKey {
            kind: self.kind,
            binding: self.binding,
            issuer: self.issuer.clone(),
            subject: self.subject.clone(),
            requirements: self.requirements.clone(),
        }
    }
}

/// A grant asks for one person of the groups, and lasts as long as an approval is valid.
#[must_use]
pub(crate) fn of_grant(grant: &GrantRequirement) -> ApprovalRequirement {
    ApprovalRequirement { groups: grant.groups.clone(), by: 1, within: grant.within, valid: grant.lasting }
}

/// What makes two calls the same call: the same bytes from the same caller under the same requirements (DECISIONS 12).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CallKey {
    kind: Kind,
    binding: [u8; 32],
    issuer: String,
    subject: String,
    requirements: Vec<ApprovalRequirement>,
}

/// Cuts at a character boundary.
fn truncate(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}
