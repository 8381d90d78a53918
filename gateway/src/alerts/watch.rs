//! From events to alerts.

use super::desk::{Desk, Key, Verdict};
use super::history::{Findings, Histories};
use super::{Event, Files, Who};
use crate::config::{AlertsConfig, WatchConfig};
use crate::metrics::{AlertKind, Notices, Suppressed};
use audit_shipper::RecordId;
use policy_lang::{Effect, Severity};
use std::sync::Arc;

/// What came up.
#[derive(Clone, Debug)]
pub(crate) struct Raised {
    pub(crate) kind: AlertKind,
    pub(crate) severity: Severity,
    /// Of a policy: the alert's name.
    pub(crate) name: Option<String>,
    /// Of a policy: the rule.
    pub(crate) rule: Option<String>,
    pub(crate) who: Option<Who>,
    pub(crate) model: Option<String>,
    pub(crate) trace: Option<[u8; 16]>,
    /// The call that it is about.
    pub(crate) call: Option<RecordId>,
    /// What it means, in words of ours and numbers.
    pub(crate) text: String,
    /// Whether people are told.
    pub(crate) verdict: Verdict,
}

/// Alerts of one kind that came up again after people were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repeated {
    pub(crate) kind: AlertKind,
    pub(crate) name: String,
    pub(crate) times: u64,
}

/// Watches events.
#[derive(Debug)]
pub(crate) struct Watch {
    histories: Histories,
    desk: Desk,
    notices: Arc<Notices>,
    /// Of the evidence, when it was last looked at: whether it was well, and what was lost.
    evidence: (bool, u64),
}

impl Watch {
    pub(crate) fn new(notices: Arc<Notices>) -> Self {
        Self { histories: Histories::default(), desk: Desk::default(), notices, evidence: (true, 0) }
    }

    /// Counts an event; gives what is to be recorded, and told if it says so. Duplicates are only counted.
    pub(crate) fn see(&mut self, event: Event, now_ms: u64, config: &AlertsConfig) -> Vec<Raised> {
        let found = match event {
            Event::Call { who, model, denied, counted, trace } => {
                let Some(watch) = &config.watch else { return Vec::new() };
                let findings = self.histories.count(&who, denied, counted, now_ms, watch);
                stands_out(findings, who, model.whole().filter(|_| denied), trace, watch)
            }
            Event::Policy { policy, rule, effect, who, trace } => {
                let rule = policy.compiled.program().rules.get(rule.0 as usize);
                let found = rule.and_then(|rule| Some((rule, rule.effects.get(effect as usize)?)));
                let Some((rule, Effect::Alert { name, severity })) = found else { return Vec::new() };
                vec![Raised {
                    name: Some(name.clone()),
                    rule: Some(rule.name.clone()),
                    who: Some(who),
                    trace,
                    ..Raised::new(
                        AlertKind::Policy,
                        *severity,
                        format!("The rule {} raised the alert {name}.", rule.name),
                    )
                }]
            }
            Event::Unmaskable { call } => {
                let text = "Text could not be masked (the masker's ceiling, or a form it cannot read), so it was withheld or cut.";
                vec![Raised { call, ..Raised::new(AlertKind::Masker, Severity::High, text) }]
            }
            Event::NotTaken(Files::Policy) => {
                let text = "The policy files were not taken; the old set stays active. /readyz and the log say why.";
                vec![Raised::new(AlertKind::Reload, Severity::High, text)]
            }
            Event::NotTaken(Files::Config) => {
                let text = "The configuration was not taken; the old one stays in force. /readyz and the log say why.";
                let raised = Raised::new(AlertKind::Reload, Severity::High, text);
                vec![Raised { name: Some("configuration".to_owned()), ..raised }]
            }
        };
        found.into_iter().filter_map(|raised| self.judge(raised, now_ms, config)).collect()
    }

    /// Looks at the evidence: whether it can be written, and how many records were lost since the start.
    pub(crate) fn look_at_evidence(
        &mut self,
        healthy: bool,
        lost: u64,
        now_ms: u64,
        config: &AlertsConfig,
    ) -> Option<Raised> {
        let (was_healthy, were_lost) = std::mem::replace(&mut self.evidence, (healthy, lost));
        let text = if was_healthy && !healthy {
            "The evidence cannot be written.".to_owned()
        } else if lost > were_lost {
            format!("{} records were not written to the evidence.", lost - were_lost)
        } else {
            return None;
        };
        self.judge(Raised::new(AlertKind::Evidence, Severity::Critical, text), now_ms, config)
    }

    /// What came up again after people were told of it, once its time is over.
    pub(crate) fn repeated(&mut self, now_ms: u64, config: &AlertsConfig) -> Vec<Repeated> {
        let ended = self.desk.ended(now_ms, config.repeat_after);
        ended.into_iter().map(|(key, times)| Repeated { kind: key.kind, name: key.name, times }).collect()
    }

    /// `None` for what is only counted.
    fn judge(&mut self, raised: Raised, now_ms: u64, config: &AlertsConfig) -> Option<Raised> {
        self.notices.alerted(raised.kind, raised.severity);
        let parts = [raised.rule.as_deref(), raised.name.as_deref(), raised.model.as_deref()];
        let key = Key {
            kind: raised.kind,
            name: parts.into_iter().flatten().collect::<Vec<_>>().join(" "),
            who: raised.who.map_or(0, |who| who.key),
        };
        let verdict = self.desk.judge(&key, raised.severity, now_ms, config.repeat_after, config.messages_per_hour);
        match verdict {
            Verdict::Tell => {}
            Verdict::Duplicate => {
                self.notices.suppressed(Suppressed::Duplicate);
                return None;
            }
            Verdict::Full => {
                self.notices.suppressed(Suppressed::Rate);
                return None;
            }
            Verdict::TooMany => self.notices.suppressed(Suppressed::Rate),
        }
        Some(Raised { verdict, ..raised })
    }
}

impl Raised {
    fn new(kind: AlertKind, severity: Severity, text: impl Into<String>) -> Self {
        Self {
            kind,
            severity,
            name: None,
            rule: None,
            who: None,
            model: None,
            trace: None,
            call: None,
            text: text.into(),
            verdict: Verdict::Tell,
        }
    }
}

/// What a call makes people look at; `refused` is the model that policy refused.
fn stands_out(
    findings: Findings,
    who: Who,
    refused: Option<&str>,
    trace: Option<[u8; 16]>,
    watch: &WatchConfig,
) -> Vec<Raised> {
    let mut raised = Vec::new();
    if let Some(denials) = findings.denials {
        let text = format!("Policy refused {denials} calls of one caller within {} s.", watch.denials_within.as_secs());
        raised.push(Raised::new(AlertKind::Denials, Severity::Medium, text));
    }
    if let Some((calls, mean, deviation)) = findings.volume {
        let text = format!(
            "{calls} calls of one caller in this hour so far; usual are {mean:.0} per hour, with a deviation of {deviation:.0}."
        );
        raised.push(Raised::new(AlertKind::Volume, Severity::Medium, text));
    }
    if let Some(model) = refused.filter(|model| is_restricted(model, &watch.restricted_models)) {
        let text = "Policy refused a call for a restricted model.";
        let one = Raised::new(AlertKind::RestrictedModel, Severity::High, text);
        raised.push(Raised { model: Some(model.to_owned()), ..one });
    }
    raised.into_iter().map(|one| Raised { who: Some(who), trace, ..one }).collect()
}

fn is_restricted(model: &str, patterns: &[String]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => model.starts_with(beginning),
        None => model == pattern,
    })
}
