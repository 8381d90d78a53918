//! The load generator: sends what a [`Plan`] says and gives back a [`Report`].
//!
//! ## The open model
//! With [`Arrivals::Open`] request number *i* is due `i / rate` seconds after the start, whatever the server does. A
//! thread of its own keeps that schedule and hands each request to a worker when it is due; how late this happened is
//! measured and reported. **Latency is taken from the moment a request was due**, so a wait for a connection, for a
//! late worker or for a stalled server is part of it. Beside it stands the uncorrected *service time*, taken from the
//! moment the request was handed to its connection: it is what generators without a schedule report, and it looks
//! better than what users feel.
//!
//! Nothing waits silently: at [`Plan::in_flight_max`] requests in flight a due request is *dropped* and counted, and a
//! drop, a failure and a timeout count as infinitely slow when an [`Slo`] is judged.
//!
//! ## The closed model
//! With [`Arrivals::Closed`] a fixed number of callers each send their next request when the last one is answered. A
//! server that stalls then slows its own load, so percentiles flatter it; ask for it only to model such callers.

mod client;
mod events;
mod report;
mod schedule;
mod slo;
mod tally;
mod target;
mod worker;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::header::{HeaderName, HeaderValue};
use tokio::sync::mpsc;

pub use report::{Report, Summary};
pub use slo::{Slo, Verdict};
pub use target::Target;

use schedule::Schedule;
use tally::Tally;
use worker::{Work, Worker};

/// What to send, where, and how fast.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where requests go.
    pub target: Target,
    /// When requests start.
    pub arrivals: Arrivals,
    /// How long requests are measured for.
    pub duration: Duration,
    /// How long requests are sent before that, unmeasured.
    pub warmup: Duration,
    /// Headers of every request, beside `host` and `content-length`.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body of every request.
    pub body: Bytes,
    /// Whether answers are event streams that must end with `data: [DONE]`.
    pub stream: bool,
    /// Longest time for one request, connection included, after which it counts as failed.
    pub timeout: Duration,
    /// Requests in flight at which due requests are dropped.
    pub in_flight_max: usize,
    /// Statuses that count as good beside 2xx.
    pub accept: Vec<u16>,
    /// Worker threads, each with its own connections; 0 counts as 1.
    pub threads: usize,
    /// A file that gets one line per call whose end was seen: nanoseconds since 1970, the answer's
    /// `x-sallyport-request-id` (or `-`), and the status. Warm-up calls are in it too.
    pub journal: Option<PathBuf>,
}

/// When requests start.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Arrivals {
    /// At a constant rate, whatever the server does.
    Open {
        /// Requests per second.
        rate: f64,
        /// Most connections, over which due requests queue; that wait is part of their latency. `None` opens a
        /// connection whenever no idle one is left.
        connections: Option<usize>,
    },
    /// When the caller's last request is answered.
    Closed {
        /// Number of callers.
        concurrency: usize,
    },
}

/// Why a plan could not be carried out at all. Failed requests are not errors; they are in the report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan makes no sense.
    #[error("{0}")]
    Plan(String),
    /// The journal, a thread or a runtime could not be had.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] std::io::Error),
    /// A worker thread panicked; its requests are not accounted for.
    #[error("a worker thread ended unexpectedly")]
    WorkerLost,
}

/// Shared by the pacer and all workers.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) plan: Plan,
    pub(crate) journal: Option<std::fs::File>,
    pub(crate) in_flight: AtomicUsize,
    pub(crate) start: Instant,
    pub(crate) measured_from: Instant,
    pub(crate) end: Instant,
}

/// Carries out a plan and blocks until its last request was answered, failed or timed out.
///
/// # Errors
/// See [`Error`].
pub fn run(plan: Plan) -> Result<Report, Error> {
    let schedule = plan.check()?;
    let journal = plan.journal.as_ref().map(|path| {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|e| Error::Io("cannot open the journal", e))
    });
    let threads = plan.worker_count();
    // Time for the threads to start, so that the first requests are not late.
    let start = Instant::now() + Duration::from_millis(20);
    let measured_from = start + plan.warmup;
    let end = measured_from + plan.duration;
    let shared = Arc::new(Shared {
        journal: journal.transpose()?,
        in_flight: AtomicUsize::new(0),
        start,
        measured_from,
        end,
        plan,
    });

    let mut due_senders = Vec::new();
    let mut workers = Vec::new();
    for number in 0..threads {
        let work = match shared.plan.arrivals {
            Arrivals::Open { connections, .. } => {
                let (sender, due) = mpsc::unbounded_channel();
                due_senders.push(sender);
                Work::Due { due, connections: connections.map(|all| share(all, number, threads)) }
            }
            Arrivals::Closed { concurrency } => Work::Callers(share(concurrency, number, threads)),
        };
        workers
            .push(Worker::spawn(number, Arc::clone(&shared), work).map_err(|e| Error::Io("cannot start a worker", e))?);
    }
    let mut tally = Tally::new();
    if let Some(schedule) = schedule {
        schedule.pace(&shared, due_senders, &mut tally);
    }
    for worker in workers {
        tally.add(&worker.join().map_err(|_| Error::WorkerLost)?);
    }
    debug_assert_eq!(shared.in_flight.load(Ordering::Relaxed), 0);
    Ok(Report::new(&shared.plan, &tally, shared.measured_from))
}

impl Plan {
    /// A plan with the defaults of the command line for everything but these.
    pub fn new(target: Target, arrivals: Arrivals, duration: Duration, body: Bytes) -> Self {
        Self {
            target,
            arrivals,
            duration,
            warmup: Duration::ZERO,
            headers: vec![(hyper::header::CONTENT_TYPE, HeaderValue::from_static("application/json"))],
            body,
            stream: false,
            timeout: Duration::from_secs(60),
            in_flight_max: 10_000,
            accept: Vec::new(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            journal: None,
        }
    }

    fn check(&self) -> Result<Option<Schedule>, Error> {
        let say = |text: &str| Err(Error::Plan(text.to_owned()));
        if self.duration.is_zero() {
            return say("the duration must be longer than zero");
        }
        if self.in_flight_max == 0 {
            return say("with no request in flight there is no load");
        }
        match self.arrivals {
            Arrivals::Closed { concurrency: 0 } | Arrivals::Open { connections: Some(0), .. } => {
                say("at least one connection is needed")
            }
            Arrivals::Closed { .. } => Ok(None),
            Arrivals::Open { rate, .. } => {
                Schedule::new(rate, self.warmup, self.duration).map(Some).map_err(Error::Plan)
            }
        }
    }

    /// No more threads than there are connections to share out.
    fn worker_count(&self) -> usize {
        let useful = match self.arrivals {
            Arrivals::Open { connections, .. } => connections.unwrap_or(usize::MAX),
            Arrivals::Closed { concurrency } => concurrency,
        };
        self.threads.clamp(1, useful)
    }

    pub(crate) fn accepts(&self, status: u16) -> bool {
        (200..300).contains(&status) || self.accept.contains(&status)
    }
}

/// The part of `all` that falls to one of `threads`.
fn share(all: usize, number: usize, threads: usize) -> usize {
    all / threads + usize::from(number < all % threads)
}
