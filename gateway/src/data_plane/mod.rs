//! The data plane: one pinned executor per core, each with its own listener, connections, caches and evidence queue.
//!
//! Open [`exchange`] for the life of a call.

mod admit;
mod answer;
mod approval;
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
mod plans;
pub mod preflight;
mod record;
mod rt;
mod trace;
mod upstream;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use self::core::Core;
use self::rt::{Executor, ExecutorError, Listener};
use self::upstream::ResolveError;
use crate::shared::Shared;

/// Why the data plane did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {cause}. Is another process using the port? Choose another with --listen.")]
    Listen {
        /// Which one.
        address: SocketAddr,
        /// What the kernel says.
        cause: io::Error,
    },
    /// An upstream's name.
    #[error(transparent)]
    Resolve(#[from] ResolveError),
    /// An executor.
    #[error(transparent)]
    Executor(#[from] ExecutorError),
    /// The evidence has fewer queues than there are cores.
    #[error("the evidence has no queue for core {0}")]
    NoProducer(usize),
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

/// Starts one executor per core and returns when all of them listen.
///
/// # Errors
/// [`StartError`]; whatever had started ends with the process.
pub fn serve(shared: &Arc<Shared>, cores: usize) -> Result<DataPlane, StartError> {
    let routes = Arc::new(upstream::resolve(&shared.config.upstreams)?);
    let address = free_address(shared.config.listen.address)?;
    let (ready, started) = mpsc::channel();
    let mut executors = Vec::new();
    for index in 0..cores {
        let producer = shared.evidence.producer(index).ok_or(StartError::NoProducer(index))?;
        let (shared, routes, ready) = (Arc::clone(shared), Arc::clone(&routes), ready.clone());
        executors.push(rt::spawn_executor(index, move || async move {
            match Listener::bind(address) {
                Ok(listener) => {
                    // The receiver only goes away when another core failed to start.
                    let _ = ready.send(Ok(()));
                    drop(ready);
                    run(Core::new(shared, routes, producer), listener).await;
                }
                Err(cause) => {
                    let _ = ready.send(Err(cause));
                }
            }
        })?);
    }
    drop(ready);
    for result in started {
        result.map_err(|cause| StartError::Listen { address, cause })?;
    }
    Ok(DataPlane { address, executors })
}

/// The cores share the port by SO_REUSEPORT, which would also let a second gateway steal half of the connections: so ask
/// first whether somebody else has it. This also turns port 0 into a real one.
fn free_address(address: SocketAddr) -> Result<SocketAddr, StartError> {
    TcpListener::bind(address)
        .and_then(|probe| probe.local_addr())
        .map_err(|cause| StartError::Listen { address, cause })
}

/// The life of one core: accept until the drain, then let calls finish.
async fn run(core: Rc<Core>, listener: Listener) {
    let alive = Rc::new(std::cell::Cell::new(true));
    let beating = Rc::clone(&alive);
    rt::spawn(Rc::clone(&core.watchdog).run(move || beating.get()));
    rt::spawn(record::sum_up(Rc::clone(&core), Rc::clone(&alive)));
    accept_until_drain(&core, listener).await;
    core.watchdog.close_idle();
    self::core::quiet(&core, core.shared.config.listen.limits.drain).await;
    core.watchdog.close_all();
    self::core::quiet(&core, LAST_WORDS).await;
    alive.set(false);
    record::sum_up_now(&core, true).await;
}

async fn accept_until_drain(core: &Rc<Core>, listener: Listener) {
    use futures_lite::FutureExt as _;
    loop {
        let accepted = listener.accept(&core.watchdog);
        let draining = async {
            core.shared.lifecycle.draining().await;
            Err(io::ErrorKind::Interrupted.into())
        };
        match accepted.or(draining).await {
            Ok(socket) if core.connections() >= core.shared.config.listen.limits.connections_per_core => {
                // Nothing was read yet, so there is no request to answer in its API's shape.
                core.shared.metrics.connection_shed();
                drop(socket);
            }
            Ok(socket) => rt::spawn(connection::serve(Rc::clone(core), socket)),
            Err(_) if core.is_draining() => return,
            Err(error) => {
                // Usually out of descriptors: wait for some to come back instead of spinning.
                tracing::warn!(%error, "could not accept a connection");
                rt::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}
