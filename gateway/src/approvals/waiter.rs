//! How a parked call learns that it may go on.

use super::Status;
use tokio::sync::watch;

/// Waits for one request. Works on any executor; dropping it only means that this call no longer waits.
#[derive(Debug)]
pub struct Waiter {
    id: String,
    status: watch::Receiver<Status>,
}

impl Waiter {
    pub(super) fn new(id: String, status: watch::Receiver<Status>) -> Self {
        Self { id, status }
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Resolves once the request is decided or has lapsed; then [`super::Approvals::resume`] says what follows.
    /// Cancel-safe: it may be raced against a timer and called again.
    pub async fn resolved(&mut self) {
        // An error means that the request was forgotten, which is an answer too.
        let _ = self.status.wait_for(|status| *status != Status::Pending).await;
    }
}
