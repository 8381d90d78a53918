//! The only place that reads the time. Everything else is handed a [`Clock`], so that tests can move it.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A moment as policies read it, in the configured zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// `time.hour`: 0 to 23.
    pub hour: i64,
    /// `time.weekday`: `mon` to `sun`.
    pub weekday: &'static str,
    /// `time.date`: days since 1970-01-01.
    pub date: i64,
}

/// The clocks of a test.
#[derive(Debug)]
struct Moved {
    unix_ms: AtomicU64,
    mono_ms: AtomicU64,
}

/// A source of wall-clock time; cheap to clone and shared between threads.
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    Manual(Arc<Moved>),
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
        Self(Source::Manual(Arc::new(Moved { unix_ms: AtomicU64::new(unix_ms), mono_ms: AtomicU64::new(0) })))
    }

    /// Milliseconds since 1970-01-01 UTC; 0 if the machine's clock stands before that.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        match &self.0 {
            Source::System => system_unix_ms(),
            Source::Manual(moved) => moved.unix_ms.load(Ordering::SeqCst),
        }
    }

    /// Milliseconds of the monotonic clock, which no adjustment of the wall clock moves. Only differences within one process
    /// mean something.
    #[must_use]
    pub fn mono_ms(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Source::System => {
                let since = START.get_or_init(monotonic_now).elapsed();
                u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
            }
            Source::Manual(moved) => moved.mono_ms.load(Ordering::SeqCst),
        }
    }

    /// Whole seconds since 1970-01-01 UTC.
    #[must_use]
    pub fn unix_s(&self) -> u64 {
        self.unix_ms() / 1000
    }

    /// The time as policies read it.
    #[must_use]
    pub fn moment(&self, zone: &TimeZone) -> Moment {
        let seconds = i64::try_from(self.unix_s()).unwrap_or(i64::MAX);
        let stamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        // Days and hours of the zone are those of UTC for the shifted second.
        let local = seconds.saturating_add(i64::from(zone.to_offset(stamp).seconds()));
        let date = local.div_euclid(86_400);
        // 1970-01-01 was a Thursday.
        let weekday = ["thu", "fri", "sat", "sun", "mon", "tue", "wed"];
        let day = usize::try_from(date.rem_euclid(7)).unwrap_or_default();
        Moment { hour: local.rem_euclid(86_400) / 3_600, weekday: weekday.get(day).copied().unwrap_or_default(), date }
    }

    /// Moves a manual clock forward; does nothing to the machine's clock.
    pub fn advance_ms(&self, by_ms: u64) {
        if let Source::Manual(moved) = &self.0 {
            moved.unix_ms.fetch_add(by_ms, Ordering::SeqCst);
            moved.mono_ms.fetch_add(by_ms, Ordering::SeqCst);
        }
    }

    /// Sets the wall clock of a manual clock, as someone may set the machine's; time itself does not pass.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        if let Source::Manual(moved) = &self.0 {
            moved.unix_ms.store(unix_ms, Ordering::SeqCst);
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_moment_is_told_in_its_zone() {
        // 2026-03-28 was a Saturday; 23:30 UTC is half past midnight on Sunday in Berlin, and 19:30 on Saturday in New York.
        let clock = Clock::manual(1_774_740_600_000);
        let in_zone = |name: &str| clock.moment(&TimeZone::get(name).unwrap());
        assert_eq!(in_zone("UTC"), Moment { hour: 23, weekday: "sat", date: 20_540 });
        assert_eq!(in_zone("Europe/Berlin"), Moment { hour: 0, weekday: "sun", date: 20_541 });
        assert_eq!(in_zone("America/New_York"), Moment { hour: 19, weekday: "sat", date: 20_540 });
        // Three hours later Berlin has summer time: 02:30 UTC is 04:30 there.
        clock.advance_ms(3 * 3_600_000);
        assert_eq!(in_zone("Europe/Berlin").hour, 4);
    }
}
