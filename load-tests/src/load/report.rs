//! The report of a run. All times in JSON are nanoseconds; the histograms are in it whole, in HdrHistogram's V2 form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::histogram::Summary;
use super::judge::{Doubt, doubts};
use super::slo::{Slo, Verdict, ratio};
use super::tally::{Series, Tally};
use super::timeline::Moment;
use super::{Arrivals, Plan};

/// Name and version of the JSON form; `load-tests/schema/run.v1.json` describes it.
pub const SCHEMA: &str = "sallyport-load/run/1";

/// What a run showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where requests went.
    pub url: String,
    /// `open` or `closed`.
    pub model: String,
    /// When requests were due, for people.
    pub arrivals: String,
    /// Requests per second that an open model asked for, on average.
    pub rate: Option<f64>,
    /// Requests per second that were begun, from the first to the last of them: the schedule as it was kept.
    pub offered_per_second: f64,
    /// Callers of a closed model, or the bound on connections of an open one.
    pub connections: Option<usize>,
    /// Whether answers were streams.
    pub stream: bool,
    /// Length of the measured part, in seconds.
    pub duration_s: f64,
    /// Length of the part before it, in seconds.
    pub warmup_s: f64,
    /// Measured requests that were due.
    pub due: u64,
    /// Of these, whole answers with a good status.
    pub ok: u64,
    /// Whole answers with another status.
    pub other_status: u64,
    /// No whole answer.
    pub failed: u64,
    /// Not sent, because too many were in flight.
    pub dropped: u64,
    /// Due minus all of the above: always 0 unless this program has a fault.
    pub unaccounted: u64,
    /// Good answers per second, from the start of the measured part to the last answer.
    pub ok_per_second: f64,
    /// Bytes of all bodies received.
    pub body_bytes: u64,
    /// Events of all streams received.
    pub events: u64,
    /// Output tokens of good answers as the server counted them; where it did not, events with text.
    pub output_tokens: u64,
    /// The same per second.
    pub output_tokens_per_second: f64,
    /// Whole answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Failures by kind.
    pub failures: BTreeMap<String, u64>,
    /// Good answers, from the moment they were due to their end. In a closed model: from the caller's turn.
    pub latency: Option<Summary>,
    /// The same, uncorrected: from the moment they were handed to a connection.
    pub service: Option<Summary>,
    /// First event of good streams, from the moment the request was due.
    pub first_event: Option<Summary>,
    /// The same, uncorrected.
    pub first_event_service: Option<Summary>,
    /// Time to first token: first event with text, from the moment the request was due.
    pub first_token: Option<Summary>,
    /// The same, uncorrected.
    pub first_token_service: Option<Summary>,
    /// Inter-token latency, first definition: every gap between two events with text.
    pub between_tokens: Option<Summary>,
    /// Inter-token latency, second definition: of each stream, first to last token over the gaps between them.
    pub per_token: Option<Summary>,
    /// How late requests were begun. Part of `latency`, not of `service`.
    pub schedule_late: Option<Summary>,
    /// How the measuring side fared.
    pub client: Client,
    /// Whether each objective was met; filled by [`Report::judge`].
    pub slos: Vec<Verdict>,
    /// Why the measuring side may have distorted the figures.
    pub doubts: Vec<Doubt>,
    /// What else makes these figures less than they seem.
    pub warnings: Vec<String>,
    /// The run over time.
    pub timeline: Vec<Moment>,
    /// All histograms.
    pub histograms: Series,
}

/// How the measuring side fared.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Client {
    /// Measuring threads.
    pub threads: usize,
    /// CPU time of each thread over its wall time.
    pub busy: Vec<f64>,
    /// How long each turn of the event loop took: what arrived may have waited that long to be seen.
    pub turn: Option<Summary>,
    /// Connections opened.
    pub connections_opened: u64,
    /// Requests sent again because the server closed a kept-alive connection before it answered.
    pub retried: u64,
}

impl Report {
    pub(crate) fn new(plan: &Plan, tally: Tally) -> Self {
        let model = if matches!(plan.arrivals, Arrivals::Closed { .. }) { "closed" } else { "open" };
        let rate = match &plan.arrivals {
            Arrivals::Open { rate, .. } => Some(*rate),
            Arrivals::Scheduled { profile, .. } => Some(profile.expected() / plan.duration.as_secs_f64().max(1e-9)),
            Arrivals::Closed { .. } => None,
        };
        let arrivals = match &plan.arrivals {
            Arrivals::Open { rate, .. } => format!("{rate}/s for {} s, evenly spaced", plan.duration.as_secs_f64()),
            Arrivals::Scheduled { profile, .. } => profile.to_string(),
            Arrivals::Closed { concurrency } => format!("{concurrency} callers, each after its last answer"),
        };
        let measured = (tally.last_end_ns as f64 / 1e9).max(plan.duration.as_secs_f64());
        let failed = tally.failed_count();
        let accounted = tally.ok + tally.other_status + failed + tally.dropped;
        let between = tally.last_begun_ns.saturating_sub(tally.first_begun_ns.unwrap_or(0)) as f64 / 1e9;
        let times = &tally.times;
        let mut report = Self {
            schema: SCHEMA.to_owned(),
            url: plan.target.url().to_owned(),
            model: model.to_owned(),
            arrivals,
            rate,
            offered_per_second: if between > 0.0 { (tally.due.saturating_sub(1)) as f64 / between } else { 0.0 },
            connections: plan.connections(),
            stream: plan.requests().requests().iter().any(|request| request.stream),
            duration_s: plan.duration.as_secs_f64(),
            warmup_s: plan.warmup.as_secs_f64(),
            due: tally.due,
            ok: tally.ok,
            other_status: tally.other_status,
            failed,
            dropped: tally.dropped,
            unaccounted: tally.due.saturating_sub(accounted),
            ok_per_second: tally.ok as f64 / measured,
            body_bytes: tally.body_bytes,
            events: tally.events,
            output_tokens: tally.output_tokens,
            output_tokens_per_second: tally.output_tokens as f64 / measured,
            statuses: tally.statuses.clone(),
            failures: tally.failures.clone(),
            latency: times.latency.summary(),
            service: times.service.summary(),
            first_event: times.first_event.summary(),
            first_event_service: times.first_event_service.summary(),
            first_token: times.first_token.summary(),
            first_token_service: times.first_token_service.summary(),
            between_tokens: times.between_tokens.summary(),
            per_token: times.per_token.summary(),
            schedule_late: rate.and(times.late.summary()),
            client: Client {
                threads: tally.client_busy.len(),
                busy: tally.client_busy.clone(),
                turn: times.turn.summary(),
                connections_opened: tally.connections_opened,
                retried: tally.retried,
            },
            slos: Vec::new(),
            doubts: Vec::new(),
            warnings: Vec::new(),
            timeline: tally.timeline.moments(),
            histograms: tally.times,
        };
        report.doubts = doubts(&report);
        report.warnings = report.find_warnings(tally.journal_errors);
        report
    }

    /// Judges objectives; dropped, failed and refused requests count as infinitely slow. Says whether all were met.
    pub fn judge(&mut self, slos: &[Slo]) -> bool {
        self.slos = slos.iter().map(|slo| slo.judge(self)).collect();
        self.slos.iter().all(|verdict| verdict.met)
    }

    /// How many good answers took longer than `ns`: corrected, then uncorrected.
    pub fn slower_than(&self, ns: u64) -> (u64, u64) {
        (self.histograms.latency.longer_than(ns), self.histograms.service.longer_than(ns))
    }

    fn find_warnings(&self, journal_errors: u64) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.dropped > 0 {
            let share = ratio(self.dropped, self.due) * 100.0;
            warnings.push(format!("{} requests ({share:.2} %) were dropped: too many in flight", self.dropped));
        }
        if self.model == "closed" {
            warnings
                .push("closed model: a server that stalls slows its own load, and percentiles flatter it".to_owned());
        }
        if self.unaccounted > 0 {
            warnings.push(format!("{} requests are unaccounted for: a fault of this program", self.unaccounted));
        }
        if journal_errors > 0 {
            warnings.push(format!("{journal_errors} lines of the journal could not be written"));
        }
        warnings
    }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::load::Target;

    fn plan() -> Plan {
        let target = Target::new("http://127.0.0.1:8080/v1/chat/completions").unwrap();
        let arrivals = Arrivals::Open { rate: 100.0, connections: None };
        Plan { stream: true, ..Plan::new(target, arrivals, Duration::from_secs(10), Bytes::new()) }
    }

    /// A report of nothing.
    pub(crate) fn empty() -> Report {
        Report::new(&plan(), Tally::default())
    }

    #[test]
    fn reads_well() {
        let mut tally =
            Tally { timeline: crate::load::timeline::Timeline::new(Duration::from_secs(10)), ..Tally::default() };
        for ms in 0..1000_u64 {
            let (due, latency) = (Duration::from_millis(ms * 10), Duration::from_millis(ms));
            tally.is_due(due, Duration::from_nanos(ms * 100));
            if ms < 996 {
                (tally.ok, tally.output_tokens) = (tally.ok + 1, tally.output_tokens + 7);
                *tally.statuses.entry(200).or_default() += 1;
                tally.times.latency.record(latency);
                tally.times.service.record(latency / 2);
                tally.times.first_token.record(latency / 4);
                tally.times.between_tokens.record(latency / 10);
                tally.timeline.ok(due, latency, 7);
            }
        }
        (tally.other_status, tally.dropped, tally.client_busy) = (1, 1, vec![0.25]);
        tally.statuses.insert(403, 1);
        tally.failed("connect: connection refused".to_owned());
        tally.failed("timeout".to_owned());
        let mut report = Report::new(&plan(), tally);
        assert!(!report.judge(&["p50<600ms".parse().unwrap(), "p99.9<2s".parse().unwrap()]));
        assert_eq!(report.unaccounted, 0);
        insta::assert_snapshot!(report.to_string());
        let json = serde_json::to_string_pretty(&report).unwrap();
        let read: Report = serde_json::from_str(&json).unwrap();
        assert_eq!(
            (read.histograms, read.statuses, read.latency),
            (report.histograms, report.statuses, report.latency)
        );
        let mut value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for (name, text) in value["histograms"].as_object_mut().unwrap() {
            assert!(text.as_str().unwrap().starts_with("HISTFAAA"), "{name}");
            *text = "…".into();
        }
        value["timeline"].as_array_mut().unwrap().truncate(1);
        insta::assert_snapshot!("json", serde_json::to_string_pretty(&value).unwrap());
    }
}
