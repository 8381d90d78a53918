//! What happened, in histograms and counts. Each worker has its own; they are added at the end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use super::client::{Answer, Failure};

/// Shortest time told apart, in nanoseconds.
const NS_MIN: u64 = 1_000;

/// Longest time told apart, in nanoseconds: one hour. Longer ones count as this.
const NS_MAX: u64 = 3_600_000_000_000;

/// Significant decimal digits kept.
const DIGITS: u8 = 3;

/// Counts and histograms of the measured requests.
#[derive(Clone, Debug)]
pub(super) struct Tally {
    /// Requests that the schedule (or a caller's turn) called for.
    pub(super) due: u64,
    /// Due while too many were in flight, and therefore not sent.
    pub(super) dropped: u64,
    /// Answers with a good status, whole.
    pub(super) ok: u64,
    /// Whole answers with another status.
    pub(super) other_status: u64,
    pub(super) statuses: BTreeMap<u16, u64>,
    pub(super) failures: BTreeMap<Failure, u64>,
    pub(super) body_bytes: u64,
    pub(super) events: u64,
    pub(super) journal_errors: u64,
    pub(super) last_end: Option<Instant>,
    /// Of good answers, from when they were due.
    pub(super) latency: Histogram<u64>,
    /// Of good answers, from when they were handed to a connection.
    pub(super) service: Histogram<u64>,
    /// First event of good streams, from when they were due.
    pub(super) first_event: Histogram<u64>,
    /// First event of good streams, from when they were handed to a connection.
    pub(super) first_event_service: Histogram<u64>,
    /// How much later than due a request was begun, sent or not.
    pub(super) late: Histogram<u64>,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            due: 0,
            dropped: 0,
            ok: 0,
            other_status: 0,
            statuses: BTreeMap::new(),
            failures: BTreeMap::new(),
            body_bytes: 0,
            events: 0,
            journal_errors: 0,
            last_end: None,
            latency: histogram(),
            service: histogram(),
            first_event: histogram(),
            first_event_service: histogram(),
            late: histogram(),
        }
    }

    pub(super) fn lateness(&mut self, late: Duration) {
        record(&mut self.late, late);
    }

    /// A whole answer to a request that was due at `due`.
    pub(super) fn answered(&mut self, due: Instant, answer: &Answer, good: bool) {
        *self.statuses.entry(answer.status).or_default() += 1;
        self.body_bytes += answer.body_bytes;
        self.events += answer.events;
        self.last_end = self.last_end.max(Some(answer.end));
        if !good {
            self.other_status += 1;
            return;
        }
        self.ok += 1;
        record(&mut self.latency, answer.end.saturating_duration_since(due));
        record(&mut self.service, answer.end.saturating_duration_since(answer.sent));
        if let Some(first) = answer.first_event {
            record(&mut self.first_event, first.saturating_duration_since(due));
            record(&mut self.first_event_service, first.saturating_duration_since(answer.sent));
        }
    }

    pub(super) fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    pub(super) fn failed_count(&self) -> u64 {
        self.failures.values().sum()
    }

    /// Adds another worker's tally.
    pub(super) fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.dropped += other.dropped;
        self.ok += other.ok;
        self.other_status += other.other_status;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(*failure).or_default() += count;
        }
        self.body_bytes += other.body_bytes;
        self.events += other.events;
        self.journal_errors += other.journal_errors;
        self.last_end = self.last_end.max(other.last_end);
        for (mine, theirs) in [
            (&mut self.latency, &other.latency),
            (&mut self.service, &other.service),
            (&mut self.first_event, &other.first_event),
            (&mut self.first_event_service, &other.first_event_service),
            (&mut self.late, &other.late),
        ] {
            // All have the same bounds, so none can be too large for another.
            let added = mine.add(theirs);
            debug_assert!(added.is_ok());
        }
    }
}

fn histogram() -> Histogram<u64> {
    #[expect(clippy::expect_used, reason = "the bounds are constants within the documented limits")]
    Histogram::new_with_bounds(NS_MIN, NS_MAX, DIGITS).expect("constant bounds")
}

fn record(histogram: &mut Histogram<u64>, time: Duration) {
    histogram.saturating_record(u64::try_from(time.as_nanos()).unwrap_or(NS_MAX).min(NS_MAX));
}
