//! Counters, and their Prometheus text. Every name, label and help text of `/metrics` is here and in [`events`].
//!
//! Labels are from fixed sets, never a user, a prompt or a path.

mod cores;
mod events;
mod fleet;
mod notices;
mod totals;

pub use cores::Cores;
pub use events::{Event, Events};
pub(crate) use fleet::fleet_page;
pub(crate) use notices::severity_name;
pub use notices::{AlertKind, Delivery, Notices, Suppressed, Way};
pub use totals::Totals;

use policy_lang::catalogue;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The statuses that refusals are told apart by; any other counts as `other`.
const REFUSAL_STATUSES: [u16; 14] = [400, 401, 403, 404, 405, 408, 409, 413, 415, 429, 431, 500, 502, 503];

/// The counters of one gateway; plain relaxed atomics, written from every core.
#[derive(Debug, Default)]
pub struct Metrics {
    forwarded: AtomicU64,
    completed: [AtomicU64; STATUS_CLASSES.len()],
    refused: [AtomicU64; REFUSAL_STATUSES.len() + 1],
    in_flight: AtomicI64,
    connections_shed: AtomicU64,
    connections_panicked: AtomicU64,
    mask_hits: PerDetector,
    reloads_good: AtomicU64,
    reloads_bad: AtomicU64,
    key_refreshes_good: AtomicU64,
    key_refreshes_bad: AtomicU64,
    /// What happens to connections, limits, upstreams and the configuration.
    pub events: Events,
    /// Whether each core keeps up.
    pub cores: Cores,
    /// Messages to people, and alerts.
    pub notices: Arc<Notices>,
}

/// Figures that others hold at the moment of rendering.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Gauges {
    /// Generation of the active policy set.
    pub policy_generation: u64,
    /// Whether evidence can be written.
    pub evidence_healthy: bool,
    /// Requests for approval that wait.
    pub approvals_pending: usize,
    /// Grants in force.
    pub grants_in_force: usize,
    /// Whether draining has begun.
    pub draining: bool,
    /// Accounts of rate limits that are in debt.
    pub limit_accounts: usize,
    /// Those that were forgotten before they were full again.
    pub limit_accounts_forgotten: u64,
    /// Calls that native code and interpreter judged alike, and those that they did not.
    pub judged_twice: (u64, u64),
}

/// A counter for each detector, by its place in the catalogue, and a last one for what is not in it.
#[derive(Debug)]
struct PerDetector(Box<[AtomicU64]>);

impl Default for PerDetector {
    fn default() -> Self {
        Self((0..=catalogue::detectors().len()).map(|_| AtomicU64::default()).collect())
    }
}

impl Metrics {
    /// A call was let through to a model server. [`Metrics::completed`] follows exactly once.
    pub fn forwarded(&self) {
        self.forwarded.fetch_add(1, Relaxed);
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// A forwarded call is over. `status` is what the caller got; 0 if it left before, which counts as 4xx.
    pub fn completed(&self, status: u16) {
        self.in_flight.fetch_sub(1, Relaxed);
        let status = if status == 0 { 499 } else { status };
        let class = usize::from((status / 100).clamp(1, 5) - 1);
        if let Some(counter) = self.completed.get(class) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// A call was answered by the gateway itself with this status.
    pub fn refused(&self, status: u16) {
        count(&self.refused, REFUSAL_STATUSES.iter().position(|own| *own == status));
    }

    /// A connection was turned away because there are as many as there may be.
    pub fn connection_shed(&self) {
        self.connections_shed.fetch_add(1, Relaxed);
    }

    /// A connection's task panicked; the others go on.
    pub fn connection_panicked(&self) {
        self.connections_panicked.fetch_add(1, Relaxed);
    }

    /// A piece of text was masked. A name that is not a built-in detector (a regex or a path of a policy) counts as
    /// `custom`.
    pub fn masked(&self, detector: &str) {
        count(&self.mask_hits.0, catalogue::position(detector));
    }

    /// The policy files were read again.
    pub fn policy_reloaded(&self, good: bool) {
        if good { &self.reloads_good } else { &self.reloads_bad }.fetch_add(1, Relaxed);
    }

    /// An issuer's keys were fetched.
    pub fn keys_refreshed(&self, good: bool) {
        if good { &self.key_refreshes_good } else { &self.key_refreshes_bad }.fetch_add(1, Relaxed);
    }

    /// Calls in flight.
    #[must_use]
    pub fn in_flight(&self) -> i64 {
        self.in_flight.load(Relaxed)
    }

    /// The page in Prometheus text format 0.0.4.
    #[must_use]
    pub fn render(&self, gauges: Gauges) -> String {
        let mut page = Page::default();
        page.family("sallyport_requests_forwarded_total", "counter", "Calls let through to a model server.");
        page.sample("", self.forwarded.load(Relaxed));
        page.family("sallyport_requests_completed_total", "counter", "Forwarded calls that are over, by status class.");
        for (class, counter) in STATUS_CLASSES.iter().zip(&self.completed) {
            page.sample(&format!("{{status=\"{class}\"}}"), counter.load(Relaxed));
        }
        page.family("sallyport_requests_refused_total", "counter", "Calls answered by the gateway itself, by status.");
        let statuses = REFUSAL_STATUSES.iter().map(u16::to_string).chain(["other".to_owned()]);
        for (status, counter) in statuses.zip(&self.refused) {
            page.sample(&format!("{{status=\"{status}\"}}"), counter.load(Relaxed));
        }
        page.single("sallyport_requests_in_flight", "gauge", "Forwarded calls that are not over.", self.in_flight());
        page.single(
            "sallyport_connections_shed_total",
            "counter",
            "Connections turned away because there were as many as there may be.",
            self.connections_shed.load(Relaxed),
        );
        page.single(
            "sallyport_connections_panicked_total",
            "counter",
            "Connections whose task panicked; each one is a bug.",
            self.connections_panicked.load(Relaxed),
        );
        page.family("sallyport_mask_hits_total", "counter", "Pieces of text that were masked, by detector.");
        let detectors = catalogue::detectors().iter().map(|detector| detector.id).chain(["custom"]);
        for (detector, counter) in detectors.zip(&*self.mask_hits.0) {
            page.sample(&format!("{{detector=\"{detector}\"}}"), counter.load(Relaxed));
        }
        page.single(
            "sallyport_policy_generation",
            "gauge",
            "Generation of the active policy set.",
            gauges.policy_generation,
        );
        page.results("sallyport_policy_reloads_total", "Policy reloads.", &self.reloads_good, &self.reloads_bad);
        page.results(
            "sallyport_key_refreshes_total",
            "Fetches of an issuer's keys.",
            &self.key_refreshes_good,
            &self.key_refreshes_bad,
        );
        page.single(
            "sallyport_evidence_healthy",
            "gauge",
            "1 if evidence can be written.",
            u8::from(gauges.evidence_healthy),
        );
        page.single(
            "sallyport_approvals_pending",
            "gauge",
            "Requests for approval that wait for people.",
            gauges.approvals_pending,
        );
        page.single(
            "sallyport_grants_in_force",
            "gauge",
            "People who have access for a time because someone agreed.",
            gauges.grants_in_force,
        );
        page.single(
            "sallyport_limit_accounts",
            "gauge",
            "Accounts of rate limits that are not full.",
            gauges.limit_accounts,
        );
        page.single(
            "sallyport_limit_accounts_forgotten_total",
            "counter",
            "Accounts of rate limits that had to make room before they were full again.",
            gauges.limit_accounts_forgotten,
        );
        page.family(
            "sallyport_policy_judged_twice_total",
            "counter",
            "Calls that native code and interpreter judged, by whether they agreed.",
        );
        page.sample("{result=\"same\"}", gauges.judged_twice.0);
        page.sample("{result=\"different\"}", gauges.judged_twice.1);
        page.single("sallyport_draining", "gauge", "1 once draining has begun.", u8::from(gauges.draining));
        self.cores.render(&mut page);
        self.events.render(&mut page);
        self.notices.render(&mut page);
        page.text
    }
}

/// Adds one to a known slot, or to the last one, which is for all others.
fn count(counters: &[AtomicU64], slot: Option<usize>) {
    let slot = slot.unwrap_or(counters.len().saturating_sub(1));
    if let Some(counter) = counters.get(slot) {
        counter.fetch_add(1, Relaxed);
    }
}

/// A page in Prometheus' text form, as it is written.
#[derive(Default)]
pub(crate) struct Page {
    pub(crate) text: String,
    name: &'static str,
}

impl Page {
    pub(crate) fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    pub(crate) fn sample(&mut self, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }

    pub(crate) fn single(&mut self, name: &'static str, kind: &str, help: &str, value: impl std::fmt::Display) {
        self.family(name, kind, help);
        self.sample("", value);
    }

    fn results(&mut self, name: &'static str, help: &str, good: &AtomicU64, bad: &AtomicU64) {
        self.family(name, "counter", help);
        self.sample("{result=\"ok\"}", good.load(Relaxed));
        self.sample("{result=\"failed\"}", bad.load(Relaxed));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_page_has_every_family_once_and_counts() {
        let metrics = Metrics::default();
        metrics.forwarded();
        metrics.forwarded();
        metrics.completed(200);
        metrics.refused(403);
        metrics.refused(418);
        metrics.masked("us_ssn");
        metrics.masked("us_ssn");
        metrics.masked("case-number");
        metrics.policy_reloaded(false);
        let page = metrics.render(Gauges { policy_generation: 3, evidence_healthy: true, ..Gauges::default() });
        for line in [
            "sallyport_requests_forwarded_total 2",
            "sallyport_requests_completed_total{status=\"2xx\"} 1",
            "sallyport_requests_refused_total{status=\"403\"} 1",
            "sallyport_requests_refused_total{status=\"other\"} 1",
            "sallyport_requests_in_flight 1",
            "sallyport_mask_hits_total{detector=\"us_ssn\"} 2",
            "sallyport_mask_hits_total{detector=\"custom\"} 1",
            "sallyport_policy_reloads_total{result=\"failed\"} 1",
            "sallyport_policy_generation 3",
            "sallyport_evidence_healthy 1",
        ] {
            assert!(page.lines().any(|own| own == line), "{line} is not in\n{page}");
        }
        let mut families: Vec<&str> =
            page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
        let count = families.len();
        families.sort_unstable();
        families.dedup();
        assert_eq!(families.len(), count);
    }
}
