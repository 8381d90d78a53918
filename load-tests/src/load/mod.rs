//! The load generator: sends what a [`Plan`] says and gives back a [`Report`].
//!
//! ## The open model
//! Every arrival is computed before the first request is sent ([`Profile`]: constant, Poisson, steps, ramps, or as recorded).
//! Each thread keeps its part of that schedule, whatever the server does; how late it was is measured and reported.
//! **Latency is taken from the moment a request was due**, so a wait for a connection, for a late thread or for a stalled
//! server is part of it. Beside it stands the uncorrected *service time*, taken from the moment the request was handed to its
//! connection: it is what generators without a schedule report, and it looks better than what users feel.
//!
//! Nothing waits silently: at [`Plan::in_flight_max`] requests in flight a due request is *dropped* and counted, and a
//! drop, a failure and a timeout count as infinitely slow when an [`Slo`] is judged.
//!
//! ## The closed model
//! With [`Arrivals::Closed`] a fixed number of callers each send their next request when the last one is answered. A
//! server that stalls then slows its own load, so percentiles flatter it; ask for it only to model such callers.
//!
//! ## What the clock says
//! An answer counts as arrived when the wait that brought it ended, not when its turn came to be read; how long turns were is
//! reported (`turn`), as are the lateness of the schedule and the share of their core that the threads needed.

mod engine;
mod histogram;
mod judge;
mod live;
mod mix;
mod plan;
mod recorded;
mod report;
mod schedule;
mod slo;
mod stream;
mod tally;
mod target;
mod text;
mod timeline;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

pub use histogram::{Summary, Times};
pub use judge::{Doubt, doubts};
pub use live::Sample;
pub use mix::{Mix, MixRequest};
pub use plan::{Arrivals, Part, Plan};
pub use recorded::Recorded;
pub use report::{Client, Report, SCHEMA};
pub use schedule::{Piece, Profile};
pub use slo::{Slo, Verdict};
pub use tally::Series;
pub use target::Target;
pub use timeline::Moment;

use engine::{Engine, Job, Work};
pub(crate) use plan::share;
pub(crate) use tally::Tally;

/// Time for the threads to start, so that the first requests are not late.
const START_DELAY: Duration = Duration::from_millis(20);

/// Why a plan could not be carried out at all. Failed requests are not errors; they are in the report.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The plan makes no sense.
    #[error("{0}")]
    Plan(String),
    /// The journal, a thread or an epoll descriptor could not be had.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] std::io::Error),
    /// A thread panicked; its requests are not accounted for.
    #[error("a measuring thread ended unexpectedly")]
    WorkerLost,
}

/// Carries out a plan and blocks until its last request was answered, failed or timed out.
///
/// # Errors
/// See [`Error`].
pub fn run(plan: Plan) -> Result<Report, Error> {
    run_watched(plan, Instant::now() + START_DELAY, |_| {})
}

/// The same from a given moment on; `watch` sees samples of each thread several times a second.
///
/// # Errors
/// See [`Error`].
pub fn run_watched(plan: Plan, start: Instant, watch: impl FnMut(Sample)) -> Result<Report, Error> {
    let tally = measure(plan.clone(), start, watch)?;
    Ok(Report::new(&plan, tally))
}

/// Carries out a plan and gives back the bare figures, which can be added to those of others.
pub(crate) fn measure(plan: Plan, start: Instant, mut watch: impl FnMut(Sample)) -> Result<Tally, Error> {
    let schedule = plan.check()?;
    let journal = plan.journal.as_ref().map(|path| {
        std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .map_err(|e| Error::Io("cannot open the journal", e))
    });
    let threads = plan.thread_count();
    let measured_from = start + plan.warmup;
    let end = measured_from + plan.duration;
    let (samples, received) = mpsc::channel();
    let job = Arc::new(Job::new(plan, journal.transpose()?, start, measured_from, end));
    let mut running = Vec::new();
    for thread in 0..threads {
        let work = match &schedule {
            Some(schedule) => Work::scheduled(schedule.clone(), job.plan.part, thread, threads),
            None => Work::Callers(share(job.plan.connections().unwrap_or(1), thread, threads)),
        };
        let (job, samples) = (Arc::clone(&job), samples.clone());
        let started = std::thread::Builder::new()
            .name(format!("load-{thread}"))
            .spawn(move || Engine::new(&job, thread, threads, samples).and_then(|engine| engine.run(work)));
        running.push(started.map_err(|e| Error::Io("cannot start a thread", e))?);
    }
    drop(samples);
    // Ends when the last thread has dropped its end.
    received.into_iter().for_each(&mut watch);
    let mut tally = Tally::default();
    for thread in running {
        let part = thread.join().map_err(|_| Error::WorkerLost)?;
        tally.add(&part.map_err(|e| Error::Io("a measuring thread cannot watch its sockets", e))?);
    }
    Ok(tally)
}
