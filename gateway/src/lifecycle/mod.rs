//! Serving, then draining, then gone: what every core and the control plane agree on about the life of the process.

pub(crate) mod notify;
pub(crate) mod take_over;

use arc_swap::ArcSwapOption;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{Notify, watch};

/// The life of the process. Draining begins once and is never taken back.
#[derive(Debug)]
pub struct Lifecycle {
    draining: AtomicBool,
    phase: watch::Sender<Phase>,
    serving: AtomicBool,
    handed_over: AtomicBool,
    reload: Notify,
    config_error: ArcSwapOption<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Drained,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self {
            draining: AtomicBool::new(false),
            phase: watch::Sender::new(Phase::Serving),
            serving: AtomicBool::new(false),
            handed_over: AtomicBool::new(false),
            reload: Notify::new(),
            config_error: ArcSwapOption::empty(),
        }
    }
}

impl Lifecycle {
    /// Says that every core listens: before that, readiness would be a promise that is not kept. Idempotent.
    pub fn mark_serving(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Whether every core listens.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.load(Ordering::Acquire)
    }

    /// Asks for a reload of the configuration and the policies. Requests that come while one is pending are one.
    pub fn request_reload(&self) {
        self.reload.notify_one();
    }

    /// Resolves when a reload was asked for; takes the request.
    pub async fn reload_requested(&self) {
        self.reload.notified().await;
    }

    /// Remembers why the newest configuration is not in force; `None` when it is.
    pub fn note_config_error(&self, why: Option<String>) {
        self.config_error.store(why.map(Arc::new));
    }

    /// Why the newest configuration is not in force; `None` when it is.
    #[must_use]
    pub fn config_error(&self) -> Option<Arc<String>> {
        self.config_error.load_full()
    }

    /// Stops new work: readiness fails, listeners close, connections end after their current call. Idempotent.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::Release);
        self.advance(Phase::Draining);
    }

    /// Drains because a successor has the listening sockets. Idempotent.
    pub fn begin_hand_over(&self) {
        self.handed_over.store(true, Ordering::Release);
        self.begin_drain();
    }

    /// Whether a successor has the listening sockets: then resting callers get one more answer, since their next connection
    /// will be served.
    #[must_use]
    pub fn is_handed_over(&self) -> bool {
        self.handed_over.load(Ordering::Acquire)
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

    /// Whether the data plane has finished its last call.
    #[must_use]
    pub fn is_drained(&self) -> bool {
        *self.phase.borrow() >= Phase::Drained
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
