//! What happened, in histograms and counts. Each thread has its own; they are added at the end, as are those of agents.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::Times;
use super::timeline::Timeline;

/// Counts and histograms of the measured requests.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Tally {
    /// Requests that the schedule (or a caller's turn) called for.
    pub(crate) due: u64,
    /// Due while too many were in flight, and therefore not sent.
    pub(crate) dropped: u64,
    /// Answers with a good status, whole.
    pub(crate) ok: u64,
    /// Whole answers with another status.
    pub(crate) other_status: u64,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) failures: BTreeMap<String, u64>,
    /// Sent a second time, because the server closed a kept-alive connection before it answered.
    pub(crate) retried: u64,
    pub(crate) connections_opened: u64,
    pub(crate) body_bytes: u64,
    pub(crate) events: u64,
    /// Tokens of good answers, as the server counted them; else events that carried text.
    pub(crate) output_tokens: u64,
    pub(crate) journal_errors: u64,
    /// From the start of the measured part to the last answer, in nanoseconds.
    pub(crate) last_end_ns: u64,
    /// When the first and the last request were really begun: their distance gives the offered rate, in nanoseconds.
    pub(crate) first_begun_ns: Option<u64>,
    pub(crate) last_begun_ns: u64,
    pub(crate) times: Series,
    pub(crate) timeline: Timeline,
    /// CPU time of the measuring threads over their wall time; one value per thread.
    pub(crate) client_busy: Vec<f64>,
}

/// All histograms of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Good answers, from when they were due to their end.
    pub latency: Times,
    /// The same, from when they were handed to a connection: uncorrected.
    pub service: Times,
    /// First event of good streams, from when they were due.
    pub first_event: Times,
    /// First event of good streams, from when they were handed to a connection.
    pub first_event_service: Times,
    /// First event with text of good streams, from when they were due: time to first token.
    pub first_token: Times,
    /// The same, from when they were handed to a connection.
    pub first_token_service: Times,
    /// Every gap between two events with text of one stream: inter-token latency, first definition.
    pub between_tokens: Times,
    /// Of each stream, the time from its first to its last token over the gaps between them: second definition, also called
    /// time per output token.
    pub per_token: Times,
    /// How much later than due a request was begun, sent or not.
    pub late: Times,
    /// How long each turn of the event loop took: what arrived may have waited that long to be seen.
    pub turn: Times,
}

impl Tally {
    pub(crate) fn failed(&mut self, failure: String) {
        *self.failures.entry(failure).or_default() += 1;
    }

    pub(crate) fn failed_count(&self) -> u64 {
        self.failures.values().sum()
    }

    pub(crate) fn is_due(&mut self, due: Duration, late: Duration) {
        let ns = u64::try_from((due + late).as_nanos()).unwrap_or(u64::MAX);
        self.due += 1;
        self.first_begun_ns.get_or_insert(ns);
        self.last_begun_ns = self.last_begun_ns.max(ns);
        self.times.late.record(late);
        self.timeline.due(due);
    }

    /// Adds another thread's or agent's tally.
    pub(crate) fn add(&mut self, other: &Self) {
        self.due += other.due;
        self.dropped += other.dropped;
        self.ok += other.ok;
        self.other_status += other.other_status;
        for (status, count) in &other.statuses {
            *self.statuses.entry(*status).or_default() += count;
        }
        for (failure, count) in &other.failures {
            *self.failures.entry(failure.clone()).or_default() += count;
        }
        self.retried += other.retried;
        self.connections_opened += other.connections_opened;
        self.body_bytes += other.body_bytes;
        self.events += other.events;
        self.output_tokens += other.output_tokens;
        self.journal_errors += other.journal_errors;
        self.last_end_ns = self.last_end_ns.max(other.last_end_ns);
        self.first_begun_ns = match (self.first_begun_ns, other.first_begun_ns) {
            (Some(mine), Some(theirs)) => Some(mine.min(theirs)),
            (mine, theirs) => mine.or(theirs),
        };
        self.last_begun_ns = self.last_begun_ns.max(other.last_begun_ns);
        for (mine, theirs) in self.times.all_mut().into_iter().zip(other.times.all()) {
            mine.add(theirs.1);
        }
        self.timeline.add(&other.timeline);
        self.client_busy.extend(&other.client_busy);
    }
}

impl Series {
    /// Every histogram with its name.
    pub fn all(&self) -> [(&'static str, &Times); 10] {
        [
            ("latency", &self.latency),
            ("service", &self.service),
            ("first_event", &self.first_event),
            ("first_event_service", &self.first_event_service),
            ("first_token", &self.first_token),
            ("first_token_service", &self.first_token_service),
            ("between_tokens", &self.between_tokens),
            ("per_token", &self.per_token),
            ("late", &self.late),
            ("turn", &self.turn),
        ]
    }

    fn all_mut(&mut self) -> [&mut Times; 10] {
        [
            &mut self.latency,
            &mut self.service,
            &mut self.first_event,
            &mut self.first_event_service,
            &mut self.first_token,
            &mut self.first_token_service,
            &mut self.between_tokens,
            &mut self.per_token,
            &mut self.late,
            &mut self.turn,
        ]
    }
}
