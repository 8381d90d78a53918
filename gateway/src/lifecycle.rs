//! Serving, then draining, then gone: what every core and the control plane agree on about the life of the process.

use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::watch;

/// The life of the process. Draining begins once and is never taken back.
#[derive(Debug)]
pub struct Lifecycle {
    draining: AtomicBool,
    phase: watch::Sender<Phase>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Drained,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self { draining: AtomicBool::new(false), phase: watch::Sender::new(Phase::Serving) }
    }
}

impl Lifecycle {
    /// Stops new work: readiness fails, listeners close, connections end after their current call. Idempotent.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.advance(Phase::Draining);
    }

    /// Whether draining has begun: one atomic load, for the path of a request.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Resolves when draining begins (at once if it already has). Works on any executor.
    pub async fn draining(&self) {
        self.reached(Phase::Draining).await;
    }

    /// Says that the data plane has finished its last call. Idempotent.
    pub fn mark_drained(&self) {
        self.draining.store(true, Ordering::Release);
        self.advance(Phase::Drained);
    }

    /// Resolves when the data plane has finished its last call. Works on any executor.
    pub async fn drained(&self) {
        self.reached(Phase::Drained).await;
    }

    fn advance(&self, to: Phase) {
        self.phase.send_if_modified(|phase| {
            let moves = *phase < to;
            *phase = to.max(*phase);
            moves
        });
    }

    async fn reached(&self, wanted: Phase) {
        // The sender lives in `self`, so the wait cannot fail for want of one.
        let _ = self.phase.subscribe().wait_for(|phase| *phase >= wanted).await;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use futures_lite::future::{block_on, poll_once};
    use std::sync::Arc;

    #[test]
    fn draining_is_seen_from_another_executor_and_is_final() {
        let life = Arc::new(Lifecycle::default());
        assert!(!life.is_draining());
        assert!(block_on(poll_once(life.draining())).is_none());
        let waiting = {
            let life = life.clone();
            std::thread::spawn(move || block_on(life.drained()))
        };
        life.begin_drain();
        life.begin_drain();
        assert!(life.is_draining());
        block_on(life.draining());
        life.mark_drained();
        life.begin_drain();
        waiting.join().unwrap();
        block_on(life.drained());
    }
}
