//! Requests as people see them.

use super::desk::State;
use super::{Approvals, Kind, Stage, Status};
use crate::identity::Identity;
use serde::{Deserialize, Serialize};

/// Most requests of one page.
const PAGE_MAX: usize = 1000;
const PAGE_DEFAULT: usize = 100;

/// A request as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Its id.
    pub id: String,
    /// One call, or access for a time.
    pub kind: Kind,
    /// Where it stands.
    pub status: Status,
    /// Who asks.
    pub subject: String,
    /// Whose token that was.
    pub issuer: String,
    /// The tenant of both.
    pub tenant: String,
    /// The model asked for.
    pub model: String,
    /// The operation's path.
    pub endpoint: String,
    /// The rules that require approval.
    pub rules: Vec<String>,
    /// What they require.
    pub requirements: Vec<RequirementView>,
    /// Those who approved.
    pub approvers: Vec<String>,
    /// Who said no, if someone did.
    pub denied_by: Option<String>,
    /// Who took it back, if someone did.
    pub revoked_by: Option<String>,
    /// Why it was approved, denied or revoked.
    pub reasons: Vec<String>,
    /// Each decision, the oldest first.
    pub decisions: Vec<DecisionView>,
    /// Milliseconds since 1970.
    pub asked_at_unix_ms: u64,
    /// When the question (or, once approved, the approval or the access) lapses; milliseconds since 1970.
    pub expires_at_unix_ms: u64,
    /// The call that used it up, as the evidence names it.
    pub used_by: Option<String>,
    /// The masked request.
    pub preview: String,
}

/// One person's decision as people see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DecisionView {
    /// `approved`, `denied` or `revoked`.
    pub decision: &'static str,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// One requirement as people see it.
#[derive(Clone, Debug, Serialize)]
pub struct RequirementView {
    /// Members of one of these may approve.
    pub groups: Vec<String>,
    /// How many distinct people.
    pub by: u32,
    /// How many of them have.
    pub approved: u32,
    /// Seconds that the question may wait.
    pub within_s: u64,
    /// Seconds that the approval may be used, or the access lasts.
    pub valid_s: u64,
}

/// Which requests are wanted.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only those that stand so.
    pub status: Option<Status>,
    /// Only approvals of calls, or only grants.
    pub kind: Option<Kind>,
    /// Only those of this caller.
    pub subject: Option<String>,
    /// Only those that ask this group.
    pub group: Option<String>,
    /// Only those that this rule asks for.
    pub rule: Option<String>,
    /// Only those after this id.
    pub after: Option<String>,
    /// At most so many; 100 if left out, never more than 1000.
    pub limit: Option<usize>,
}

/// A part of the requests.
#[derive(Clone, Debug, Serialize)]
pub struct Page {
    /// The oldest first.
    pub approvals: Vec<View>,
    /// What to ask for next as `after`; none on the last page.
    pub next: Option<String>,
}

impl Approvals {
    /// Every request that a person of this tenant may see, the oldest first.
    #[must_use]
    pub fn list(&self, viewer: &Identity) -> Vec<View> {
        self.sweep();
        let state = self.lock();
        state.seen(viewer, &Filter::default()).into_iter().filter_map(|id| state.view(id)).collect()
    }

    /// Some of them.
    #[must_use]
    pub fn page(&self, viewer: &Identity, filter: &Filter) -> Page {
        self.sweep();
        let limit = filter.limit.unwrap_or(PAGE_DEFAULT).clamp(1, PAGE_MAX);
        let state = self.lock();
        let seen = state.seen(viewer, filter);
        let next = seen.get(limit).and_then(|_| seen.get(limit - 1)).map(|id| (*id).clone());
        Page { approvals: seen.into_iter().take(limit).filter_map(|id| state.view(id)).collect(), next }
    }

    /// One request, if a person of this tenant may see it.
    #[must_use]
    pub fn show(&self, id: &str, viewer: &Identity) -> Option<View> {
        self.sweep();
        let state = self.lock();
        let request = state.requests.get(id)?;
        (request.ask.tenant == viewer.tenant && request.stage() != Stage::Asking).then(|| request.view(id))
    }

    /// One request, whoever asks: for the gateway's own messages.
    #[must_use]
    pub fn view(&self, id: &str) -> Option<View> {
        self.lock().view(&id.to_owned())
    }
}

impl State {
    fn view(&self, id: &String) -> Option<View> {
        self.requests.get(id).map(|request| request.view(id))
    }

    /// Ids sort by the time at which people were asked.
    fn seen(&self, viewer: &Identity, filter: &Filter) -> Vec<&String> {
        let wanted = |wanted: &Option<String>, is: &dyn Fn(&String) -> bool| wanted.as_ref().is_none_or(is);
        let mut seen: Vec<&String> = self
            .requests
            .iter()
            .filter(|(id, request)| {
                let ask = &request.ask;
                ask.tenant == viewer.tenant
                    && request.stage() != Stage::Asking
                    && filter.status.is_none_or(|status| request.stage().status() == status)
                    && filter.kind.is_none_or(|kind| ask.kind == kind)
                    && wanted(&filter.subject, &|subject| *subject == ask.subject)
                    && wanted(&filter.rule, &|rule| ask.rules.contains(rule))
                    && wanted(&filter.group, &|group| ask.requirements.iter().any(|own| own.groups.contains(group)))
                    && wanted(&filter.after, &|after| *id > after)
            })
            .map(|(id, _)| id)
            .collect();
        seen.sort_unstable();
        seen
    }
}
