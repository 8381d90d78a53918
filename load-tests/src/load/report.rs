//! The report of a run, for people and as JSON. All times in JSON are nanoseconds.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::slo::{Slo, Verdict, ratio};
use super::tally::Tally;
use super::{Arrivals, Plan};
use crate::duration::display_ns;

/// Lateness of the schedule, at its 99th percentile, that is always worth a warning if it is a tenth of the latency.
const LATE_NS_MAX: u64 = 1_000_000;

/// What a run showed.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Where requests went.
    pub url: String,
    /// `open` or `closed`.
    pub model: &'static str,
    /// Requests per second of an open model.
    pub rate: Option<f64>,
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
    /// How late requests were begun. Part of `latency`, not of `service`.
    pub schedule_late: Option<Summary>,
    /// Whether each objective was met; filled by [`Report::judge`].
    pub slos: Vec<Verdict>,
    /// What makes these figures less than they seem.
    pub warnings: Vec<String>,
    #[serde(skip)]
    tally: Tally,
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Summary {
    pub count: u64,
    pub min: u64,
    pub p50: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Report {
    pub(super) fn new(plan: &Plan, tally: &Tally, measured_from: Instant) -> Self {
        let (model, rate, connections) = match plan.arrivals {
            Arrivals::Open { rate, connections } => ("open", Some(rate), connections),
            Arrivals::Closed { concurrency } => ("closed", None, Some(concurrency)),
        };
        let measured = tally.last_end.map_or(plan.duration, |end| end.saturating_duration_since(measured_from));
        let failed = tally.failed_count();
        let accounted = tally.ok + tally.other_status + failed + tally.dropped;
        #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
        let ok_per_second = tally.ok as f64 / measured.max(plan.duration).as_secs_f64();
        let mut report = Self {
            url: plan.target.url().to_owned(),
            model,
            rate,
            connections,
            stream: plan.stream,
            duration_s: plan.duration.as_secs_f64(),
            warmup_s: plan.warmup.as_secs_f64(),
            due: tally.due,
            ok: tally.ok,
            other_status: tally.other_status,
            failed,
            dropped: tally.dropped,
            unaccounted: tally.due.saturating_sub(accounted),
            ok_per_second,
            body_bytes: tally.body_bytes,
            events: tally.events,
            statuses: tally.statuses.clone(),
            failures: tally.failures.iter().map(|(failure, count)| (failure.label(), *count)).collect(),
            latency: Summary::of(&tally.latency),
            service: Summary::of(&tally.service),
            first_event: Summary::of(&tally.first_event),
            first_event_service: Summary::of(&tally.first_event_service),
            schedule_late: rate.and(Summary::of(&tally.late)),
            slos: Vec::new(),
            warnings: Vec::new(),
            tally: tally.clone(),
        };
        report.warnings = report.find_warnings();
        report
    }

    /// Judges objectives; dropped, failed and refused requests count as infinitely slow. Says whether all were met.
    pub fn judge(&mut self, slos: &[Slo]) -> bool {
        self.slos = slos.iter().map(|slo| slo.judge(&self.tally)).collect();
        self.slos.iter().all(|verdict| verdict.met)
    }

    /// How many good answers took longer than `ns`: corrected, then uncorrected.
    pub fn slower_than(&self, ns: u64) -> (u64, u64) {
        let above = |histogram: &Histogram<u64>| histogram.len() - histogram.count_between(0, ns);
        (above(&self.tally.latency), above(&self.tally.service))
    }

    fn find_warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.dropped > 0 {
            let share = ratio(self.dropped, self.due) * 100.0;
            warnings.push(format!("{} requests ({share:.2} %) were dropped: too many in flight", self.dropped));
        }
        if let (Some(late), Some(latency)) = (self.schedule_late, self.latency)
            && late.p99 > LATE_NS_MAX
            && late.p99 > latency.p99 / 10
        {
            warnings.push(format!(
                "the schedule ran late by {} at p99: part of the latency is this machine's, not the server's",
                display_ns(late.p99)
            ));
        }
        if self.model == "closed" {
            warnings
                .push("closed model: a server that stalls slows its own load, and percentiles flatter it".to_owned());
        }
        if self.unaccounted > 0 {
            warnings.push(format!("{} requests are unaccounted for: a fault of this program", self.unaccounted));
        }
        if self.tally.journal_errors > 0 {
            warnings.push(format!("{} lines of the journal could not be written", self.tally.journal_errors));
        }
        warnings
    }
}

impl Summary {
    /// `None` if nothing was recorded.
    fn of(histogram: &Histogram<u64>) -> Option<Self> {
        let at = |quantile| histogram.value_at_quantile(quantile);
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            min: histogram.min(),
            p50: at(0.5),
            p90: at(0.9),
            p95: at(0.95),
            p99: at(0.99),
            p999: at(0.999),
            max: histogram.max(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.stream { "streams" } else { "calls" };
        let load = match (self.rate, self.connections) {
            (Some(rate), None) => format!("{rate} {kind}/s, open model"),
            (Some(rate), Some(n)) => {
                format!("{rate} {kind}/s, open model, at most {n} connections")
            }
            (None, n) => format!("{} callers of {kind}, closed model", n.unwrap_or(0)),
        };
        writeln!(f, "{}\n{load}, {} s measured after {} s of warm-up\n", self.url, self.duration_s, self.warmup_s)?;
        writeln!(
            f,
            "due {} = ok {} + other status {} + failed {} + dropped {}   ({:.1} ok/s)",
            self.due, self.ok, self.other_status, self.failed, self.dropped, self.ok_per_second
        )?;
        for (status, count) in &self.statuses {
            writeln!(f, "  status {status}: {count}")?;
        }
        for (failure, count) in &self.failures {
            writeln!(f, "  {failure}: {count}")?;
        }
        writeln!(f, "\n{:<34}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "p50", "p90", "p99", "p99.9", "max")?;
        let from = if self.model == "open" { "from intended start" } else { "from the caller's turn" };
        row(f, &format!("latency, {from}"), self.latency)?;
        row(f, "  uncorrected (service time)", self.service)?;
        if self.stream {
            row(f, &format!("first event, {from}"), self.first_event)?;
            row(f, "  uncorrected", self.first_event_service)?;
        }
        if self.model == "open" {
            row(f, "schedule ran late by", self.schedule_late)?;
        }
        for verdict in &self.slos {
            let met = if verdict.met { "met" } else { "MISSED" };
            writeln!(f, "\n{met}: {} (measured: {})", verdict.slo, verdict.measured)?;
        }
        for warning in &self.warnings {
            writeln!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, summary: Option<Summary>) -> fmt::Result {
    let Some(s) = summary else {
        return writeln!(f, "{name:<34}{:>10}", "none");
    };
    write!(f, "{name:<34}")?;
    for ns in [s.p50, s.p90, s.p99, s.p999, s.max] {
        write!(f, "{:>10}", display_ns(ns))?;
    }
    writeln!(f)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::load::Target;
    use crate::load::client::{Answer, Failure};

    #[test]
    fn reads_well() {
        let target = Target::new("http://127.0.0.1:8080/v1/chat/completions").unwrap();
        let arrivals = Arrivals::Open { rate: 100.0, connections: None };
        let mut plan = Plan::new(target, arrivals, Duration::from_secs(10), Bytes::new());
        plan.stream = true;
        let start = Instant::now();
        let mut tally = Tally::new();
        for ms in 1..=997_u64 {
            let due = start + Duration::from_millis(ms * 10);
            let sent = due + Duration::from_micros(ms * 20);
            let end = due + Duration::from_millis(ms);
            let answer = Answer {
                status: if ms == 500 { 403 } else { 200 },
                sent,
                first_event: Some(end),
                end,
                events: 3,
                body_bytes: 100,
                request_id: None,
            };
            tally.lateness(Duration::from_micros(ms * 20));
            tally.answered(due, &answer, ms != 500);
        }
        tally.failed(Failure::Connect(std::io::ErrorKind::ConnectionRefused));
        tally.failed(Failure::NoDone);
        tally.dropped = 1;
        tally.due = 1000;
        let mut report = Report::new(&plan, &tally, start);
        assert!(!report.judge(&["p50<600ms".parse().unwrap(), "p99.9<2s".parse().unwrap()]));
        assert_eq!(report.unaccounted, 0);
        insta::assert_snapshot!(report.to_string());
        insta::assert_snapshot!("json", serde_json::to_string_pretty(&report).unwrap());
    }
}
