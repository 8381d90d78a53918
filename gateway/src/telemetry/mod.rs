//! What is told of calls besides the evidence: how long they took (histograms on `/metrics`), a line per call (the access log), and
//! traces (OpenTelemetry). None of it holds a body, a subject or a secret, and none of it is waited for: a core pushes one value into
//! a bounded queue when a call is over, and the control plane does the rest. What does not fit is counted.

mod access_log;
mod finished;
mod marks;
mod otlp;
mod ship;
mod timings;

pub(crate) use finished::{Fault, Finished, Spans};
pub(crate) use marks::{Marks, Phase};
pub(crate) use ship::{Post, Shipper};
pub(crate) use timings::Timings;

use crate::config::TelemetryConfig;
use crate::metrics::Page;
use crossbeam::queue::ArrayQueue;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Calls that may wait to be told of. The control plane looks five times a second.
const QUEUE_CALLS: usize = 16 * 1024;

/// Where cores leave what they have to tell.
#[derive(Debug)]
pub struct Telemetry {
    /// How long calls and their parts took.
    pub(crate) timings: Timings,
    /// `None` when neither an access log nor traces are configured.
    queue: Option<ArrayQueue<Box<Finished>>>,
    /// Calls that did not fit, and those that could not be written or sent.
    dropped: AtomicU64,
    /// The share of calls without a `traceparent` that are traced; `None` is no tracing.
    sample: Option<f64>,
}

impl Telemetry {
    /// As configured.
    #[must_use]
    pub fn new(config: &TelemetryConfig) -> Self {
        let wanted = config.access_log.is_some() || config.traces.is_some();
        Self {
            timings: Timings::default(),
            queue: wanted.then(|| ArrayQueue::new(QUEUE_CALLS)),
            dropped: AtomicU64::new(0),
            sample: config.traces.as_ref().map(|_| config.traces_sample),
        }
    }

    /// Whether anybody wants to hear of single calls.
    pub(crate) fn wants_calls(&self) -> bool {
        self.queue.is_some()
    }

    /// The share of calls without a `traceparent` that are traced; `None` is no tracing at all.
    pub(crate) fn sample(&self) -> Option<f64> {
        self.sample
    }

    /// A call is over.
    pub(crate) fn finished(&self, call: Box<Finished>) {
        if self.queue.as_ref().is_some_and(|queue| queue.push(call).is_err()) {
            self.lost(1);
        }
    }

    /// So many calls will not be told of.
    fn lost(&self, calls: u64) {
        self.dropped.fetch_add(calls, Relaxed);
    }

    /// Takes what waits, at most so many.
    fn take(&self, at_most: usize) -> Vec<Finished> {
        self.queue.iter().flat_map(|queue| std::iter::from_fn(|| queue.pop().map(|call| *call))).take(at_most).collect()
    }

    /// For `/metrics`.
    pub(crate) fn page(&self) -> String {
        let mut page = Page::default();
        self.timings.write(&mut page);
        let help = "Calls that are missing in the access log or the traces.";
        page.single("sallyport_telemetry_dropped_total", "counter", help, self.dropped.load(Relaxed));
        page.text
    }
}
