//! Counters, and their Prometheus text. Every name, label and help text of `/metrics` is in this file.
//!
//! Labels are from fixed sets, never a user, a prompt or a path.

use policy_lang::schema::DETECTORS;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// How a call was decided, as it is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallDecision {
    /// It went to the model.
    Forwarded,
    /// The policy denied it, or people did.
    Denied,
    /// It still waits for people.
    ApprovalPending,
    /// Its token was missing or not accepted.
    Unauthenticated,
    /// Its message was malformed or over a limit.
    Malformed,
    /// The gateway could not serve it: no evidence, overload, draining.
    Unavailable,
}

impl CallDecision {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Forwarded, "forwarded"),
        (Self::Denied, "denied"),
        (Self::ApprovalPending, "approval_pending"),
        (Self::Unauthenticated, "unauthenticated"),
        (Self::Malformed, "malformed"),
        (Self::Unavailable, "unavailable"),
    ];
}

const STATUS_CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];

/// The counters of one gateway; plain relaxed atomics, written from every core.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: [[AtomicU64; STATUS_CLASSES.len()]; CallDecision::ALL.len()],
    in_flight: AtomicI64,
    connections: AtomicI64,
    mask_hits: [AtomicU64; DETECTORS.len() + 1],
    upstream_failures: AtomicU64,
    reloads_good: AtomicU64,
    reloads_bad: AtomicU64,
    key_refreshes_good: AtomicU64,
    key_refreshes_bad: AtomicU64,
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
    /// Whether draining has begun.
    pub draining: bool,
}

impl Metrics {
    /// A call's head was read.
    pub fn call_began(&self) {
        self.in_flight.fetch_add(1, Relaxed);
    }

    /// A call is over: once for each [`Metrics::call_began`]. `status` is what the caller got; 499 if it left before.
    pub fn call_ended(&self, decision: CallDecision, status: u16) {
        self.in_flight.fetch_sub(1, Relaxed);
        let class = usize::from((status / 100).clamp(1, 5) - 1);
        if let Some(counter) = self.requests.get(decision as usize).and_then(|row| row.get(class)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    /// A caller's connection was accepted.
    pub fn connection_opened(&self) {
        self.connections.fetch_add(1, Relaxed);
    }

    /// A caller's connection is gone.
    pub fn connection_closed(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// `hits` pieces of text were masked. A name that is not a built-in detector (a regex or a path of a policy) counts
    /// as `custom`.
    pub fn masked(&self, detector: &str, hits: u64) {
        let slot = DETECTORS.iter().position(|(name, ..)| *name == detector).unwrap_or(DETECTORS.len());
        if let Some(counter) = self.mask_hits.get(slot) {
            counter.fetch_add(hits, Relaxed);
        }
    }

    /// A model server could not be reached or broke off.
    pub fn upstream_failed(&self) {
        self.upstream_failures.fetch_add(1, Relaxed);
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
        page.family("sallyport_requests_total", "counter", "Calls that are over, by decision and status class.");
        for ((_, decision), row) in CallDecision::ALL.iter().zip(&self.requests) {
            for (class, counter) in STATUS_CLASSES.iter().zip(row) {
                let labels = format!("{{decision=\"{decision}\",status=\"{class}\"}}");
                page.sample(&labels, counter.load(Relaxed));
            }
        }
        page.single("sallyport_requests_in_flight", "gauge", "Calls in flight.", self.in_flight());
        page.single("sallyport_connections", "gauge", "Open connections of callers.", self.connections.load(Relaxed));
        page.family("sallyport_mask_hits_total", "counter", "Pieces of text that were masked, by detector.");
        let detectors = DETECTORS.iter().map(|(name, ..)| *name).chain(["custom"]);
        for (detector, counter) in detectors.zip(&self.mask_hits) {
            page.sample(&format!("{{detector=\"{detector}\"}}"), counter.load(Relaxed));
        }
        page.single(
            "sallyport_upstream_failures_total",
            "counter",
            "Times that a model server could not be reached or broke off.",
            self.upstream_failures.load(Relaxed),
        );
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
        page.single("sallyport_draining", "gauge", "1 once draining has begun.", u8::from(gauges.draining));
        page.text
    }
}

#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, labels: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.text, "{}{labels} {value}", self.name);
    }

    fn single(&mut self, name: &'static str, kind: &str, help: &str, value: impl std::fmt::Display) {
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
        metrics.call_began();
        metrics.call_began();
        metrics.call_ended(CallDecision::Denied, 403);
        metrics.masked("us_ssn", 2);
        metrics.masked("case-number", 1);
        metrics.policy_reloaded(false);
        let page = metrics.render(Gauges { policy_generation: 3, evidence_healthy: true, ..Gauges::default() });
        for line in [
            "sallyport_requests_total{decision=\"denied\",status=\"4xx\"} 1",
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
