//! How much memory calls that wait may take.

use super::Approvals;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of a call that is held open; given back when dropped.
#[derive(Debug)]
pub struct Held {
    all: Arc<AtomicUsize>,
    bytes: usize,
}

impl Approvals {
    /// Counts a call that is held open with so many bytes; `None` if all held calls together would have more than `bytes_max`.
    #[must_use]
    pub fn hold(&self, bytes: usize, bytes_max: usize) -> Option<Held> {
        let held = Held { all: Arc::clone(&self.held), bytes };
        let before = held.all.fetch_add(bytes, Ordering::Relaxed);
        // Dropping the one too many takes it away again.
        (before.saturating_add(bytes) <= bytes_max).then_some(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
