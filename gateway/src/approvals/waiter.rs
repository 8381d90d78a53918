//! How a parked call learns that it may go on.

use super::Stage;
use tokio::sync::watch;

/// Waits for one request. Works on any executor; dropping it only means that this call no longer waits.
#[derive(Debug)]
pub struct Waiter {
    id: String,
    stage: watch::Receiver<Stage>,
}

impl Waiter {
    pub(super) fn new(id: String, stage: watch::Receiver<Stage>) -> Self {
        Self { id, stage }
    }

    /// The request's id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn stage(&self) -> Stage {
        *self.stage.borrow()
    }

    /// Resolves once the request is in the evidence (or never will be), so that its id may be told.
    /// Cancel-safe, as [`Self::resolved`].
    pub async fn recorded(&mut self) {
        // An error means that the request was forgotten, which is an answer too.
        let _ = self.stage.wait_for(|stage| *stage != Stage::Asking).await;
    }

    /// Resolves once the request is decided or has lapsed; then [`super::Approvals::resume`] says what follows.
    /// Cancel-safe: it may be raced against a timer and called again.
    pub async fn resolved(&mut self) {
        let _ = self.stage.wait_for(|stage| !stage.waits()).await;
    }
}
