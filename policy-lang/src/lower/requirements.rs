//! What a call must bring: approvals, purposes, grants.

use super::Lowerer;
use super::sets::SetType;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{APPROVAL_SECONDS_MAX, APPROVERS_MAX};
use crate::program::{ApprovalRequirement, Effect, GrantRequirement, PurposeRequirement, SourceKind};
use crate::source::{Span, Spanned};
use crate::syntax::{Groups, Number, SetExpr, Unit};
use std::time::Duration;

const APPROVAL_WITHIN_DEFAULT: Duration = Duration::from_mins(15);
const APPROVAL_VALID_DEFAULT: Duration = Duration::from_hours(1);
const GRANT_WITHIN_DEFAULT: Duration = Duration::from_mins(15);
const GRANT_LASTING_DEFAULT: Duration = Duration::from_hours(1);
const TIME: &str = "a time with its unit from 1s to 30d, such as 15m";

impl<'s> Lowerer<'s, '_> {
    pub(super) fn approval(
        &mut self,
        file: usize,
        groups: &'s Groups,
        [by, within, valid]: [&[Spanned<Number>]; 3],
    ) -> Option<Effect> {
        let groups = self.group_names(file, groups);
        let by = match self.once(by)? {
            None => 1,
            Some(written) => self.in_range(written, None, APPROVERS_MAX, "a number of people from 1 to 100")?,
        };
        let within = self.time_or(within, APPROVAL_WITHIN_DEFAULT)?;
        let valid = self.time_or(valid, APPROVAL_VALID_DEFAULT)?;
        Some(Effect::RequireApproval(ApprovalRequirement {
            groups: groups?,
            by: u32::try_from(by).ok()?,
            within,
            valid,
        }))
    }

    pub(super) fn grant(
        &mut self,
        file: usize,
        groups: &'s Groups,
        within: &[Spanned<Number>],
        lasting: &[Spanned<Number>],
    ) -> Option<Effect> {
        let groups = self.group_names(file, groups);
        let within = self.time_or(within, GRANT_WITHIN_DEFAULT)?;
        let lasting = self.time_or(lasting, GRANT_LASTING_DEFAULT)?;
        Some(Effect::RequireGrant(GrantRequirement { groups: groups?, within, lasting }))
    }

    /// By default the issuer or the policy must have said it: a caller's own header proves little (DECISIONS 14).
    pub(super) fn purpose_requirement(
        &mut self,
        file: usize,
        purposes: &'s SetExpr,
        bases: Option<&'s SetExpr>,
        from: &[SourceKind],
    ) -> Option<Effect> {
        let purposes = self.plain_set(file, SetType::Purpose, purposes);
        let bases = match bases {
            Some(bases) => Some(self.plain_set(file, SetType::Basis, bases)?),
            None => None,
        };
        let mut from = match from {
            [] => vec![SourceKind::Claim, SourceKind::Policy],
            from => from.to_vec(),
        };
        from.sort_unstable();
        from.dedup();
        Some(Effect::RequirePurpose(PurposeRequirement { purposes: purposes?, bases, from }))
    }

    fn time_or(&mut self, written: &[Spanned<Number>], default: Duration) -> Option<Duration> {
        match self.once(written)? {
            None => Some(default),
            Some(written) => self.duration(written, APPROVAL_SECONDS_MAX, TIME),
        }
    }

    pub(super) fn once<'n>(&mut self, written: &'n [Spanned<Number>]) -> Option<Option<&'n Spanned<Number>>> {
        if let [first, second, ..] = written {
            self.error(
                Diagnostic::error(Code::ClauseTwice, "this may stand once")
                    .label(second.span, "the second")
                    .label(first.span, "the first"),
            );
            return None;
        }
        Some(written.first())
    }

    pub(super) fn duration(&mut self, written: &Spanned<Number>, max: u64, what: &str) -> Option<Duration> {
        Some(Duration::from_secs(self.in_range(written, Some(Unit::Seconds), max, what)?))
    }

    /// A number from 1 to `max` with this unit.
    pub(super) fn in_range(
        &mut self,
        written: &Spanned<Number>,
        unit: Option<Unit>,
        max: u64,
        what: &str,
    ) -> Option<u64> {
        let value = u64::try_from(written.node.value)
            .ok()
            .filter(|value| (1..=max).contains(value) && written.node.unit == unit);
        if value.is_none() {
            self.out_of_range(written.span, what);
        }
        value
    }

    pub(super) fn out_of_range(&mut self, span: Span, what: &str) {
        self.error(Diagnostic::error(Code::OutOfRange, format!("this is {what}")).label(span, ""));
    }
}
