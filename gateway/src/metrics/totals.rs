//! The counters that the console shows.

use super::Metrics;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Sums since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Calls let through to a model server.
    pub forwarded: u64,
    /// Of those, the ones that are over.
    pub completed: u64,
    /// Of those, the ones that were answered with 5xx.
    pub failed: u64,
    /// Calls that the gateway answered itself.
    pub refused: u64,
    /// Pieces of text that were masked.
    pub masked: u64,
    /// Forwarded calls that are not over.
    pub in_flight: i64,
}

impl Metrics {
    /// What has been counted since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let sum = |counters: &[AtomicU64]| counters.iter().map(|counter| counter.load(Relaxed)).sum();
        Totals {
            forwarded: self.forwarded.load(Relaxed),
            completed: sum(&self.completed),
            failed: self.completed.last().map_or(0, |counter| counter.load(Relaxed)),
            refused: sum(&self.refused),
            masked: sum(&self.mask_hits.0),
            in_flight: self.in_flight(),
        }
    }
}
