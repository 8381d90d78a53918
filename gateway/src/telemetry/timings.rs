//! Histograms of how long calls and their parts take, in Prometheus' form: plain relaxed atomics, written from every core.

use super::marks::{PHASES, Phase};
use crate::metrics::Page;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Upper bounds of the buckets in microseconds, with their names in seconds: from what the gateway itself takes to what reasoning
/// models take.
const BUCKETS: [(u64, &str); 20] = [
    (10, "0.00001"),
    (25, "0.000025"),
    (50, "0.00005"),
    (100, "0.0001"),
    (250, "0.00025"),
    (500, "0.0005"),
    (1_000, "0.001"),
    (2_500, "0.0025"),
    (5_000, "0.005"),
    (10_000, "0.01"),
    (25_000, "0.025"),
    (50_000, "0.05"),
    (100_000, "0.1"),
    (250_000, "0.25"),
    (500_000, "0.5"),
    (1_000_000, "1"),
    (5_000_000, "5"),
    (30_000_000, "30"),
    (120_000_000, "120"),
    (600_000_000, "600"),
];

#[derive(Debug, Default)]
struct Histogram {
    /// The last one is for what is above all bounds.
    counts: [AtomicU64; BUCKETS.len() + 1],
    sum_us: AtomicU64,
}

impl Histogram {
    fn record(&self, us: u64) {
        let bucket = BUCKETS.partition_point(|(bound, _)| *bound < us);
        if let Some(count) = self.counts.get(bucket) {
            count.fetch_add(1, Relaxed);
        }
        self.sum_us.fetch_add(us, Relaxed);
    }

    /// A sample of the page's family.
    fn write(&self, page: &mut Page, label: &str) {
        let mut so_far = 0;
        let bounds = BUCKETS.iter().map(|(_, seconds)| *seconds).chain(["+Inf"]);
        for (bound, count) in bounds.zip(&self.counts) {
            so_far += count.load(Relaxed);
            page.sample(&format!("_bucket{{{label},le=\"{bound}\"}}"), so_far);
        }
        page.sample(&format!("_sum{{{label}}}"), self.sum_us.load(Relaxed) as f64 / 1e6);
        page.sample(&format!("_count{{{label}}}"), so_far);
    }
}

/// How a call ended, as the histograms tell calls apart.
const OUTCOMES: [&str; 3] = ["completed", "refused", "failed"];

/// How long calls and their parts took.
#[derive(Debug, Default)]
pub(crate) struct Timings {
    calls: [Histogram; OUTCOMES.len()],
    phases: [Histogram; PHASES],
}

impl Timings {
    /// An answer of a model server was delivered.
    pub(crate) fn completed(&self, us: u32, marks: &[Option<u32>; PHASES]) {
        self.record(0, us, marks);
    }

    /// The gateway said no.
    pub(crate) fn refused(&self, us: u32, marks: &[Option<u32>; PHASES]) {
        self.record(1, us, marks);
    }

    /// The answer did not come, or not whole.
    pub(crate) fn failed(&self, us: u32, marks: &[Option<u32>; PHASES]) {
        self.record(2, us, marks);
    }

    fn record(&self, outcome: usize, us: u32, marks: &[Option<u32>; PHASES]) {
        if let Some(histogram) = self.calls.get(outcome) {
            histogram.record(us.into());
        }
        let mut before = 0;
        for (at_us, histogram) in marks.iter().zip(&self.phases) {
            // INTENT and connection are waited for at once: each is told from where both began.
            let Some(at_us) = at_us else { continue };
            histogram.record(at_us.saturating_sub(before).into());
            before = before.max(*at_us);
        }
    }

    /// For `/metrics`.
    pub(super) fn write(&self, page: &mut Page) {
        let help = "From the head of a request to the end of its answer.";
        page.family("sallyport_request_duration_seconds", "histogram", help);
        for (outcome, histogram) in OUTCOMES.iter().zip(&self.calls) {
            histogram.write(page, &format!("outcome=\"{outcome}\""));
        }
        let help = "What each point on the way of a call came after the one before it.";
        page.family("sallyport_phase_seconds", "histogram", help);
        for ((_, phase), histogram) in Phase::ALL.iter().zip(&self.phases) {
            histogram.write(page, &format!("phase=\"{phase}\""));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn buckets_add_up_and_bounds_belong_to_them() {
        let timings = Timings::default();
        let mut marks = [None; PHASES];
        marks[Phase::Identified as usize] = Some(10);
        marks[Phase::Decided as usize] = Some(36);
        timings.completed(1_000, &marks);
        timings.completed(u32::MAX, &[None; PHASES]);
        let mut page = Page::default();
        timings.write(&mut page);
        let page = page.text;
        for line in [
            "sallyport_request_duration_seconds_bucket{outcome=\"completed\",le=\"0.0005\"} 0",
            "sallyport_request_duration_seconds_bucket{outcome=\"completed\",le=\"0.001\"} 1",
            "sallyport_request_duration_seconds_bucket{outcome=\"completed\",le=\"600\"} 1",
            "sallyport_request_duration_seconds_bucket{outcome=\"completed\",le=\"+Inf\"} 2",
            "sallyport_request_duration_seconds_count{outcome=\"completed\"} 2",
            "sallyport_phase_seconds_bucket{phase=\"identified\",le=\"0.00001\"} 1",
            "sallyport_phase_seconds_bucket{phase=\"decided\",le=\"0.000025\"} 0",
            "sallyport_phase_seconds_bucket{phase=\"decided\",le=\"0.00005\"} 1",
        ] {
            assert!(page.lines().any(|own| own == line), "{line} is not in\n{page}");
        }
    }
}
