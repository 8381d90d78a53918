//! How slowly a request body may come: never silent for long, and at least a minimum rate once a grace period is over.

use std::time::Duration;

use crate::config::Limits;

/// The pace of one body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    began_ms: u64,
}

impl Pace {
    pub(super) fn new(now_ms: u64) -> Self {
        Self { began_ms: now_ms }
    }

    /// How long the next byte may take when so many came: a deadline that moves on with each byte at the minimum rate.
    pub(super) fn patience(self, limits: &Limits, came: u64, now_ms: u64) -> Duration {
        let earned_ms = came.saturating_mul(1000) / (limits.body_rate_min.max(1) as u64);
        let grace_ms = u64::try_from(limits.body_grace.as_millis()).unwrap_or(u64::MAX);
        let until_ms = self.began_ms.saturating_add(grace_ms).saturating_add(earned_ms);
        Duration::from_millis(until_ms.saturating_sub(now_ms)).min(limits.body_timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_buys_time_at_the_minimum_rate() {
        let limits = Limits {
            body_rate_min: 1000,
            body_grace: Duration::from_secs(10),
            body_timeout: Duration::from_secs(30),
            ..Limits::default()
        };
        let pace = Pace::new(5_000);
        assert_eq!(pace.patience(&limits, 0, 5_000), Duration::from_secs(10));
        assert_eq!(pace.patience(&limits, 0, 14_000), Duration::from_secs(1));
        assert_eq!(pace.patience(&limits, 2_000, 14_000), Duration::from_secs(3));
        assert_eq!(pace.patience(&limits, 2_000, 20_000), Duration::ZERO);
        assert_eq!(pace.patience(&limits, 1_000_000, 20_000), limits.body_timeout);
    }
}
