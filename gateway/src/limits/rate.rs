//! The arithmetic of the generic cell rate algorithm (ITU-T I.371, annex A): an account is a point in time, the one at which it
//! is full again. What is taken moves it ahead; time catches up by itself.

use policy_lang::RateLimit;
use std::time::Duration;

/// The furthest that one charge moves an account, in ns: 73 years.
const AHEAD_NS_MAX: u64 = u64::MAX / 8;

/// What a rate limit costs and allows, as spans of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    amount: u64,
    period_ns: u128,
    /// How far ahead of the present an account may be: the time in which the whole burst comes back.
    pub(super) tolerance_ns: u64,
}

impl Rate {
    pub(super) fn of(limit: &RateLimit) -> Self {
        let mut rate = Self { amount: limit.amount.max(1), period_ns: limit.period.as_nanos(), tolerance_ns: 0 };
        rate.tolerance_ns = rate.cost_ns(limit.burst.unwrap_or(limit.amount));
        rate
    }

    /// The time in which so many come back. Rounded down, so that a burst always fits however it is split; the most that a call
    /// is spared is one nanosecond.
    pub(super) fn cost_ns(&self, count: u64) -> u64 {
        if count == 0 {
            return 0;
        }
        let exact = u128::from(count).saturating_mul(self.period_ns) / u128::from(self.amount);
        u64::try_from(exact).unwrap_or(AHEAD_NS_MAX).clamp(1, AHEAD_NS_MAX)
    }
}

/// Whether a cost fits into an account that is full again at `full_at_ns` and has `reserved_ns` promised to calls on their way;
/// if so, when it is full again after it. What is larger than the whole burst fits into an account of which nothing is taken,
/// and leaves a debt: otherwise it would never fit.
///
/// # Errors
/// How long to wait, in ns.
pub(super) fn fits(rate: &Rate, cost_ns: u64, full_at_ns: u64, reserved_ns: u64, now_ns: u64) -> Result<u64, u64> {
    let begins_ns = full_at_ns.max(now_ns);
    let ends_ns = begins_ns.saturating_add(reserved_ns).saturating_add(cost_ns);
    let latest_ns = now_ns.saturating_add(rate.tolerance_ns);
    let untouched = begins_ns == now_ns && reserved_ns == 0;
    if ends_ns <= latest_ns || (untouched && cost_ns > rate.tolerance_ns) {
        return Ok(begins_ns.saturating_add(cost_ns));
    }
    Err(match cost_ns > rate.tolerance_ns {
        true => begins_ns.saturating_add(reserved_ns) - now_ns,
        false => ends_ns - latest_ns,
    })
}

/// Whole seconds for `Retry-After`, at least one.
pub(super) fn retry_after_s(wait_ns: u64) -> u64 {
    wait_ns.div_ceil(1_000_000_000).max(1)
}

/// `5 per second`, `200000 per hour`, `3 in 90 seconds`.
pub(super) fn in_words(amount: u64, period: Duration) -> String {
    match period.as_secs() {
        1 => format!("{amount} per second"),
        60 => format!("{amount} per minute"),
        3_600 => format!("{amount} per hour"),
        86_400 => format!("{amount} per day"),
        seconds => format!("{amount} in {seconds} seconds"),
    }
}
