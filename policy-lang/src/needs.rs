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
            request_body: keeps_payload || self.atoms.iter().any(reads_request_body) || self.looks_into(Side::Request),
            response_body: keeps_payload
                || self.atoms.iter().any(reads_response_body)
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
        let counts_tokens = |limit: &RateLimit| limit.kind == LimitKind::Tokens;
        self.enforced().flat_map(|rule| &rule.effects).any(|effect| match effect {
            Effect::Mask(mask) => mask.side == side,
            Effect::Seal(sealed) => *sealed == side,
            Effect::LimitRate(limit) => counts_tokens(limit),
            Effect::LimitField { field, .. } => side == Side::Request && is_in_request_body(*field),
            _ => false,
        })
    }

    fn enforced(&self) -> impl Iterator<Item = &Rule> {
        self.rules.iter().filter(|rule| !rule.shadow)
    }
}

impl Rule {
    fn records(&self, bound: RecordBound, level: RecordLevel) -> bool {
        self.effects.contains(&Effect::Record { bound, level })
    }
}

/// Shadow rules are judged too, so their atoms count.
fn reads_request_body(atom: &Atom) -> bool {
    match atom {
        Atom::StrIn { field, .. } => *field == StrField::Model,
        Atom::Int { field, .. } | Atom::IntPresent(field) => is_in_request_body(*field),
        Atom::Bool(_) | Atom::ToolIn(_) | Atom::Text(_) | Atom::JsonPresent(_) | Atom::Json { .. } => true,
        Atom::InGroup(_)
        | Atom::HasScope(_)
        | Atom::IpIn(_)
        | Atom::HeaderPresent(_)
        | Atom::HeaderIn { .. }
        | Atom::Claim { .. }
        | Atom::ClaimPresent(_)
        | Atom::EnvIn { .. }
        | Atom::ResponseText(_)
        | Atom::ResponseJsonPresent(_)
        | Atom::ResponseJson { .. } => false,
    }
}

/// The size of a chunked body is known only once it was read.
fn is_in_request_body(field: IntField) -> bool {
    matches!(field, IntField::RequestSize | IntField::TokensRequested | IntField::ImageCount)
}

fn reads_response_body(atom: &Atom) -> bool {
    match atom {
        Atom::StrIn { field, .. } => field.is_response(),
        Atom::Int { field, .. } | Atom::IntPresent(field) => field.is_response() && *field != IntField::ResponseStatus,
        Atom::ResponseText(_) | Atom::ResponseJsonPresent(_) | Atom::ResponseJson { .. } => true,
        _ => false,
    }
}
