//! What a running thread tells about itself, several times a second.

use std::time::Duration;

/// What one thread did since its last sample. Warm-up is in it too.
#[derive(Clone, Debug, Default)]
pub struct Sample {
    /// Time since the start of the run, warm-up included.
    pub at: Duration,
    /// Requests that fell due.
    pub due: u64,
    /// Good answers.
    pub ok: u64,
    /// Failed, dropped or answered with another status.
    pub bad: u64,
    /// In flight now.
    pub in_flight: usize,
    /// Latencies of good answers, from when they were due, in nanoseconds; at most a few thousand of them.
    pub latencies_ns: Vec<u64>,
}
