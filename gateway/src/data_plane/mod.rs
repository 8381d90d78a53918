//! The data plane: one pinned executor per core, each with its own listener, connections, caches and evidence queue.
//!
//! Open [`exchange`] for the life of a call.

mod admit;
mod answer;
mod approval;
mod arrival;
mod channel;
mod coding;
mod connection;
mod core;
mod deliver;
mod error;
mod exchange;
mod flood;
mod forward;
mod http;
mod judge;
mod limit;
mod models;
mod overload;
mod pace;
mod plans;
pub mod preflight;
mod proxy_protocol;
mod record;
mod response_rules;
mod restore;
mod rt;
mod sockets;
mod stall;
mod substitutes;
mod telling;
mod trace;
pub(crate) mod upstream;
mod watch;

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use self::core::Core;
use self::rt::{Executor, ExecutorError, Listener, Readiness, Watchdog};
use crate::metrics::Event;
use crate::shared::Shared;

pub use self::sockets::{Sockets, SocketsError};

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// An executor.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The evidence has fewer queues than there are cores.
    #[error("the evidence has no queue for core {0}")]
    NoProducer(usize),
    /// Some cores cannot listen; the log says why. Connections that the kernel gives to them would wait for ever.
    #[error("{running} of {cores} cores can accept connections")]
    CannotListen {
        /// Cores that run.
        running: usize,
        /// Cores that should.
        cores: usize,
    },
}

/// The running data plane.
pub struct DataPlane {
    /// Where it listens (the real port when 0 was asked for).
    pub address: SocketAddr,
    executors: Vec<Executor>,
}

impl DataPlane {
    /// Waits until every core has ended, which they do after a drain began.
    ///
    /// # Errors
    /// When an executor ended in a panic.
    pub fn join(self) -> Result<(), ExecutorError> {
        self.executors.into_iter().try_for_each(Executor::join)
    }
}

/// After a forced close, time for calls to write their OUTCOME.
const LAST_WORDS: Duration = Duration::from_secs(2);
/// After the sockets were handed over, for resting callers to send one more request.
const HAND_OVER_REST: Duration = Duration::from_secs(5);
/// How often the lag of a drain is looked at.
const LAG_LOOK: Duration = Duration::from_millis(20);
/// How often resting connections are looked through.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// Starts one executor per core, which accept from `sockets`, and returns when all of them run.
///
/// # Errors
/// [`StartError`]; whatever had started ends with the process.
pub fn serve(shared: &Arc<Shared>, cores: usize, sockets: Sockets) -> Result<DataPlane, StartError> {
    let address = sockets.address();
    let (ready, started) = mpsc::channel();
    let mut executors = Vec::new();
    for (index, listeners) in sockets.for_cores(cores).into_iter().enumerate() {
        let producer = shared.evidence.producer(index).ok_or(StartError::NoProducer(index))?;
        let (shared, ready) = (Arc::clone(shared), ready.clone());
        executors.push(rt::spawn_executor(index, move || async move {
            let (watchdog, listeners) = match listen(listeners) {
                Ok(listening) => listening,
                // The core is missed: it does not say that it is ready.
                Err(error) => return tracing::error!(%error, core = index, "a core cannot listen"),
            };
            // The receiver only goes away when another core failed to start.
            let _ = ready.send(());
            drop(ready);
            run(Core::new(shared, producer, watchdog), listeners, index).await;
        })?);
    }
    drop(ready);
    // A core that panics before it is ready drops its sender; joining it tells why.
    let running = started.iter().count();
    if running < cores {
        return Err(StartError::CannotListen { running, cores });
    }
    Ok(DataPlane { address, executors })
}

fn listen(listeners: Vec<std::net::TcpListener>) -> std::io::Result<(Rc<Watchdog>, Vec<Listener>)> {
    let readiness = Rc::new(Readiness::new()?);
    let watchdog = Watchdog::new(Rc::clone(&readiness));
    let listeners =
        listeners.into_iter().map(|listener| Listener::new(listener, &watchdog)).collect::<Result<_, _>>()?;
    rt::spawn(readiness.run());
    Ok((watchdog, listeners))
}

/// The life of one core: accept until the drain, then let calls finish.
async fn run(core: Rc<Core>, listeners: Vec<Listener>, index: usize) {
    let alive = Rc::new(std::cell::Cell::new(true));
    let beating = Rc::clone(&alive);
    rt::spawn(Rc::clone(&core.watchdog).run(move || beating.get()));
    let watched = Rc::clone(&alive);
    rt::spawn(stall::watch(Rc::clone(&core), index, move || watched.get()));
    rt::spawn(record::sum_up(Rc::clone(&core), Rc::clone(&alive)));
    // One core is enough.
    if index == 0 {
        rt::spawn(upstream::health::run(Rc::clone(&core)));
    }
    rt::spawn(tidy(Rc::clone(&core)));
    for listener in listeners {
        rt::spawn(accept_until_drain(Rc::clone(&core), listener));
    }
    core.shared.lifecycle.draining().await;
    if core.shared.lifecycle.is_handed_over() {
        // A resting caller may be sending its next request just now: it gets its answer, and with that the end.
        self::core::quiet(&core, HAND_OVER_REST).await;
    } else if let Some(lag) = core.live().config.listen.limits.drain_lag {
        // For load balancers that look at readiness now and then.
        rt::sleep(lag).await;
    }
    core.leave();
    core.watchdog.close_idle();
    let drain = core.live().config.listen.limits.drain;
    self::core::quiet(&core, drain).await;
    for _ in 0..core.connections() {
        core.shared.metrics.events.count(Event::DrainTimeout);
    }
    core.watchdog.close_all();
    self::core::quiet(&core, LAST_WORDS).await;
    alive.set(false);
    record::sum_up_now(&core, true).await;
}

/// Closes connections to model servers that rested too long, also while nobody calls.
async fn tidy(core: Rc<Core>) {
    while !core.is_draining() {
        rt::sleep(TIDY_EVERY).await;
        core.pool.tidy(&core.live().fleet, core.watchdog.now_ms(), &core.shared.metrics);
    }
}

async fn accept_until_drain(core: Rc<Core>, listener: Listener) {
    use futures_lite::FutureExt as _;
    loop {
        let accepted = async { Some(listener.accept(&core.watchdog).await) };
        let over = async {
            core.shared.lifecycle.draining().await;
            while !core.is_leaving() && !core.shared.lifecycle.is_handed_over() {
                rt::sleep(LAG_LOOK).await;
            }
            None
        };
        match accepted.or(over).await {
            Some(Ok(socket)) => rt::spawn(connection::serve(Rc::clone(&core), socket)),
            None => return,
            Some(Err(error)) => {
                // Usually out of descriptors: wait for some to come back instead of spinning.
                tracing::warn!(%error, "could not accept a connection");
                rt::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
