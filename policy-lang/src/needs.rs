//! What a policy set asks of a call, so that a call whose policy never looks into the body is streamed through untouched.

use crate::program::{
    Atom, Condition, Effect, LimitKind, Needs, Phase, Program, RateLimit, RecordBound, RecordLevel, Rule, Side,
};
use crate::schema::{IntField, StrField};

impl Program {
    /// What the set asks of a call. The recorded copy is `full` by default, so both bodies are read unless one unconditional rule
    /// says `record at most metadata` and no rule says `record at least full`.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let keeps_payload = self.may_record_full();
        Needs {
            request_body: keeps_payload
                || self.atoms.iter().any(Atom::reads_request_body)
                || self.looks_into(Side::Request),
            response_body: keeps_payload
                || self.atoms.iter().any(Atom::reads_response_body)
                || self.looks_into(Side::Response),
        }
    }

    fn may_record_full(&self) -> bool {
        let never_unless_asked = self.enforced().any(|rule| {
            rule.phase == Phase::Request
                && rule.condition == Condition::Const(true)
                && rule.records(RecordBound::AtMost, RecordLevel::Metadata)
        });
        // Where bounds contradict, keeping more wins (`conclude`).
        let asked = self.enforced().any(|rule| rule.records(RecordBound::AtLeast, RecordLevel::Full));
        asked || !never_unless_asked
    }

    /// Whether an effect needs the body of this side.
    fn looks_into(&self, side: Side) -> bool {
        self.enforced().flat_map(|rule| &rule.effects).any(|effect| effect.looks_into(side))
    }

    fn enforced(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| !rule.shadow)
    }
}

impl Rule {
    /// Whether it bounds what is recorded so.
    #[must_use]
    pub fn records(&self, bound: RecordBound, level: RecordLevel) -> bool {
        self.effects.contains(&Effect::Record { bound, level })
    }
}

impl Effect {
    /// Whether it needs the body of this side.
    #[must_use]
    pub fn looks_into(&self, side: Side) -> bool {
        let counts_tokens = |limit: &RateLimit| limit.kind == LimitKind::Tokens;
        match self {
            Self::Mask(mask) => mask.side == side,
            Self::Seal(sealed) => *sealed == side,
            Self::LimitRate(limit) => counts_tokens(limit),
            Self::LimitField { field, .. } => side == Side::Request && is_in_request_body(*field),
            _ => false,
        }
    }
}

impl Atom {
    /// Whether it is known only once the body of the request was read.
    #[must_use]
    pub fn reads_request_body(&self) -> bool {
        match self {
            Self::StrIn { field, .. } => *field == StrField::Model,
            Self::Int { field, .. } | Self::IntPresent(field) => is_in_request_body(*field),
            Self::Bool(_) | Self::ToolIn(_) | Self::Text(_) | Self::JsonPresent(_) | Self::Json { .. } => true,
            Self::InGroup(_)
            | Self::HasScope(_)
            | Self::IpIn(_)
            | Self::HeaderPresent(_)
            | Self::HeaderIn { .. }
            | Self::Claim { .. }
            | Self::ClaimPresent(_)
            | Self::EnvIn { .. }
            | Self::ResponseText(_)
            | Self::ResponseJsonPresent(_)
            | Self::ResponseJson { .. } => false,
        }
    }

    /// Whether it reads `request.risk`.
    #[must_use]
    pub fn reads_risk(&self) -> bool {
        matches!(self, Self::Int { field: IntField::Risk, .. } | Self::IntPresent(IntField::Risk))
    }

    /// Whether it is known only once the body of the answer was read.
    #[must_use]
    pub fn reads_response_body(&self) -> bool {
        match self {
            Self::StrIn { field, .. } => field.is_response(),
            Self::Int { field, .. } | Self::IntPresent(field) => {
                field.is_response() && *field != IntField::ResponseStatus
            }
            Self::ResponseText(_) | Self::ResponseJsonPresent(_) | Self::ResponseJson { .. } => true,
            _ => false,
        }
    }
}

/// The size of a chunked body is known only once it was read.
fn is_in_request_body(field: IntField) -> bool {
    matches!(field, IntField::RequestSize | IntField::TokensRequested | IntField::ImageCount)
}
