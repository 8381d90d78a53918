//! The only place that reads the time. Everything else is handed a [`Clock`], so that tests can move it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A source of wall-clock time; cheap to clone and shared between threads.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<AtomicU64>),
}

impl Clock {
    /// The clock of the machine.
    #[must_use]
    pub fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands still until [`Clock::advance_ms`] moves it; for tests.
    #[must_use]
    pub fn manual(unix_ms: u64) -> Self {
        Self(Source::Manual(Arc::new(AtomicU64::new(unix_ms))))
    }

    /// Milliseconds since 1970-01-01 UTC; 0 if the machine's clock stands before that.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Source::System => system_unix_ms(),
            Source::Manual(ms) => ms.load(Ordering::SeqCst),
        }
    }

    /// Whole seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        self.unix_ms() / 1000
    }

    /// Moves a manual clock forward; does nothing to the machine's clock.
    pub fn advance_ms(&self, by_ms: u64) {
        if let Source::Manual(ms) = &self.0 {
            ms.fetch_add(by_ms, Ordering::SeqCst);
        }
    }
}

/// A point of monotonic time, for measuring how long something took.
#[must_use]
pub fn monotonic_now() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "this module is where the time is read")]
fn system_unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
