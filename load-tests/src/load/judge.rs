//! Can these figures be believed? What the measuring side may have spoilt, found in its own figures.

use serde::{Deserialize, Serialize};

use super::report::Report;
use crate::duration::display_ns;

/// Share of a core above which a measuring thread is called the bottleneck.
const BUSY_MAX: f64 = 0.9;

/// Lateness of the schedule, at its 99th percentile, up to which it is no matter.
const LATE_NS_MAX: u64 = 1_000_000;

/// Beyond that, the share of the latency's 99th percentile that lateness may be.
const LATE_SHARE_MAX: f64 = 0.05;

/// Turns of the event loop, at their 99th percentile, beyond which arrivals are not seen in time.
const TURN_NS_MAX: u64 = 5_000_000;

/// How much the median of the last third may exceed that of the first before a run counts as drifting.
const DRIFT_MAX: f64 = 1.5;

/// Differences below this are no drift, in nanoseconds.
const DRIFT_NS_MIN: f64 = 1_000_000.0;

/// Why figures may not be the server's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Doubt {
    /// For programs: `client_bottleneck`, `schedule_late`, `seen_late`, `not_stationary`, `mock_bottleneck`, `disagreement`.
    pub kind: String,
    /// For people.
    pub text: String,
}

impl Doubt {
    /// A doubt of a kind.
    pub fn new(kind: &str, text: String) -> Self {
        Self { kind: kind.to_owned(), text }
    }
}

/// Everything that makes a run doubtful.
pub fn doubts(report: &Report) -> Vec<Doubt> {
    [client(report), late(report), seen_late(report), drift(report)].into_iter().flatten().collect()
}

fn client(report: &Report) -> Option<Doubt> {
    // The callers of a closed model are meant to be as fast as they can.
    let busiest = report.client.busy.iter().copied().fold(0.0, f64::max);
    (report.model == "open" && busiest > BUSY_MAX).then(|| {
        let text = format!(
            "a measuring thread used {:.0} % of its core: the client is the bottleneck; give it more --threads or machines",
            busiest * 100.0
        );
        Doubt::new("client_bottleneck", text)
    })
}

fn late(report: &Report) -> Option<Doubt> {
    let (late, latency) = (report.schedule_late?, report.latency.map_or(0, |latency| latency.p99));
    (late.p99 > LATE_NS_MAX && late.p99 as f64 > LATE_SHARE_MAX * latency as f64).then(|| {
        let text = format!(
            "the schedule ran late by {} at p99: part of the latency is this machine's, not the server's",
            display_ns(late.p99)
        );
        Doubt::new("schedule_late", text)
    })
}

fn seen_late(report: &Report) -> Option<Doubt> {
    let (turn, service) = (report.client.turn?, report.service.map_or(0, |service| service.p99));
    (turn.p99 > TURN_NS_MAX && turn.p99 as f64 > LATE_SHARE_MAX * service as f64).then(|| {
        Doubt::new(
            "seen_late",
            format!("answers may have waited {} at p99 before the client saw them", display_ns(turn.p99)),
        )
    })
}

/// Constant load must give constant latency: if its median grows, the queue does, and no percentile of the run means anything.
fn drift(report: &Report) -> Option<Doubt> {
    // Steps, ramps and recorded traffic change on purpose.
    if report.model != "open" || report.arrivals.matches("/s").count() != 1 || report.arrivals.contains(" to ") {
        return None;
    }
    let third = report.timeline.len() / 3;
    if third == 0 {
        return None;
    }
    let median = |moments: &[super::timeline::Moment]| {
        let mut medians: Vec<f64> = moments.iter().filter_map(|m| m.latency).map(|l| l.p50 as f64).collect();
        medians.sort_by(f64::total_cmp);
        medians.get(medians.len() / 2).copied()
    };
    let (first, last) =
        (median(&report.timeline[..third])?, median(&report.timeline[report.timeline.len() - third..])?);
    (last > first * DRIFT_MAX && last - first > DRIFT_NS_MIN).then(|| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times")]
        let text = format!(
            "not stationary: the median latency went from {} in the first third to {} in the last",
            display_ns(first as u64),
            display_ns(last as u64)
        );
        Doubt::new("not_stationary", text)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::load::histogram::Summary;
    use crate::load::report::tests::empty;
    use crate::load::timeline::Moment;

    fn at(p50: u64, p99: u64) -> Option<Summary> {
        Some(Summary { count: 9, min: 0, mean: 0.0, p50, p90: p50, p95: p50, p99, p999: p99, max: p99 })
    }

    fn kinds(report: &Report) -> Vec<String> {
        doubts(report).into_iter().map(|doubt| doubt.kind).collect()
    }

    #[test]
    fn a_starved_client_is_found() {
        let mut report = Report { latency: at(1_000_000, 2_000_000), ..empty() };
        assert_eq!(kinds(&report), [""; 0]);
        report.client.busy = vec![0.2, 0.97];
        report.schedule_late = at(0, 9_000_000);
        report.client.turn = at(0, 40_000_000);
        assert_eq!(kinds(&report), ["client_bottleneck", "schedule_late", "seen_late"]);
        // A server that takes a second does not care about 9 ms.
        report.latency = at(0, 1_000_000_000);
        report.service = at(0, 1_000_000_000);
        report.client.busy = Vec::new();
        assert_eq!(kinds(&report), [""; 0]);
    }

    #[test]
    fn a_growing_queue_is_found() {
        let moment = |number: u64, p50| Moment {
            at_s: number as f64,
            seconds: 1.0,
            due: 9,
            ok: 9,
            bad: 0,
            tokens: 0,
            latency: at(p50, p50),
        };
        let timeline: Vec<Moment> = (0..9).map(|number| moment(number, 2_000_000 + number * 1_000_000)).collect();
        assert_eq!(kinds(&Report { timeline, ..empty() }), ["not_stationary"]);
        let timeline = (0..9).map(|number| moment(number, 2_000_000)).collect();
        assert_eq!(kinds(&Report { timeline, ..empty() }), [""; 0]);
    }
}
