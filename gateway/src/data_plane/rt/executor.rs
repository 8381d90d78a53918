//! One pinned executor per core.

use std::future::Future;
use std::time::Duration;

use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement};

/// The executor of a core could not be created or ended badly.
#[derive(Debug, thiserror::Error)]
#[error("the executor of core {core} {what}: {cause}")]
pub struct ExecutorError {
    core: usize,
    what: &'static str,
    cause: String,
}

/// A running executor.
pub(crate) struct Executor {
    core: usize,
    handle: ExecutorJoinHandle<()>,
}

impl Executor {
    /// Waits for the executor's main future to end.
    ///
    /// # Errors
    /// When its thread panicked.
    pub(crate) fn join(self) -> Result<(), ExecutorError> {
        let core = self.core;
        self.handle.join().map_err(|error| ExecutorError { core, what: "ended badly", cause: error.to_string() })
    }
}

/// Entries in each ring: enough for the sockets that become ready between two turns of the reactor.
const RING_DEPTH: usize = 1024;

/// Starts an executor pinned to `core` and runs `main` on it.
///
/// # Errors
/// When the thread or its rings cannot be created; [`super::super::preflight`] explains the usual reasons beforehand.
pub(crate) fn spawn_executor<M, F>(core: usize, main: M) -> Result<Executor, ExecutorError>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future<Output = ()> + 'static,
{
    LocalExecutorBuilder::new(Placement::Fixed(core))
        .name(&format!("core-{core}"))
        .io_memory(0)
        .ring_depth(RING_DEPTH)
        .spawn(main)
        .map(|handle| Executor { core, handle })
        .map_err(|error| ExecutorError { core, what: "could not be started", cause: error.to_string() })
}

/// Starts a task on the current executor; it runs on when nobody waits for it.
pub(crate) fn spawn(task: impl Future<Output = ()> + 'static) {
    glommio::spawn_local(task).detach();
}

/// Sleeps on the current executor.
pub(crate) async fn sleep(duration: Duration) {
    glommio::timer::sleep(duration).await;
}
