//! Calls that were charged and wait for people. Only calls that are shown to people come here, so a lock is no bottleneck.

use super::WaitingCall;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Calls that are remembered; of more, each attempt is charged.
const CALLS_MAX: usize = 10_000;

/// By digest: until when, in ns.
#[derive(Debug, Default)]
pub(super) struct Waiting(Mutex<HashMap<[u8; 32], u64>>);

impl Waiting {
    pub(super) fn is_known(&self, digest: &[u8; 32], now_ns: u64) -> bool {
        self.lock().get(digest).is_some_and(|until_ns| now_ns < *until_ns)
    }

    pub(super) fn remember(&self, call: WaitingCall, now_ns: u64) {
        let mut calls = self.lock();
        if calls.len() >= CALLS_MAX {
            calls.retain(|_, until_ns| now_ns < *until_ns);
        }
        if calls.len() < CALLS_MAX {
            calls.insert(call.digest, now_ns.saturating_add(call.for_ms.saturating_mul(1_000_000)));
        }
    }

    /// Whether it was there.
    pub(super) fn forget(&self, digest: &[u8; 32]) -> bool {
        self.lock().remove(digest).is_some()
    }

    /// Every change is one insertion or removal, so a poisoned map is whole.
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
