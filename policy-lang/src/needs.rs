//! What a policy set asks of a call, so that a call whose policy never looks into the body is streamed through untouched.

use crate::program::{Atom, Condition, Effect, Needs, Program, RecordBound, RecordLevel, Rule, Side};
use crate::schema::{IntField, StrField};

impl Program {
    /// What the set asks of a call. The recorded copy is `full` by default, so both bodies are read unless one unconditional rule
    /// says `record at most metadata` and no rule says `record at least full`.
    #[must_use]
    pub fn needs(&self) -> Needs {
        let keeps_payload = self.may_record_full();
        Needs {
            request_body: keeps_payload || self.atoms.iter().any(reads_request_body) || self.masks(Side::Request),
            response_body: keeps_payload || self.masks(Side::Response),
        }
    }

    fn may_record_full(&self) -> bool {
        let never_unless_asked = self.enforced().any(|rule| {
            rule.condition == Condition::Const(true) && rule.records(RecordBound::AtMost, RecordLevel::Metadata)
        });
        // Where bounds contradict, keeping more wins (`conclude`).
        let asked = self.enforced().any(|rule| rule.records(RecordBound::AtLeast, RecordLevel::Full));
        asked || !never_unless_asked
    }

    fn masks(&self, side: Side) -> bool {
        self.enforced()
            .flat_map(|rule| &rule.effects)
            .any(|effect| matches!(effect, Effect::Mask(mask) if mask.side == side))
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
        // The size of a chunked body is known only once it was read.
        Atom::Int { field, .. } => *field == IntField::RequestSize,
        Atom::Bool(_) | Atom::Text(_) | Atom::JsonPresent(_) | Atom::Json { .. } => true,
        Atom::InGroup(_) | Atom::HasScope(_) | Atom::IpIn(_) | Atom::HeaderPresent(_) | Atom::HeaderIn { .. } => false,
    }
}
