//! The schedule of an open model, and the thread that keeps it.
//!
//! It is kept with the operating system's sleep, which is exact to some 60 µs, not with tokio's timer, which rounds to a
//! millisecond: rounding would send requests in bursts and would show up as latency.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

use super::Shared;
use super::tally::Tally;

/// Fastest rate, in requests per second. Beyond it the pacing thread itself could not keep up.
const RATE_MAX: f64 = 1_000_000.0;

/// When each request is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    rate: f64,
    warmup_requests: u64,
    requests: u64,
}

impl Schedule {
    pub(super) fn new(rate: f64, warmup: Duration, duration: Duration) -> Result<Self, String> {
        if !(rate > 0.0 && rate <= RATE_MAX) {
            return Err(format!("the rate must be above 0 and at most {RATE_MAX} requests per second"));
        }
        let schedule = |time: Duration| (time.as_secs_f64() * rate).round();
        let (warmup_requests, measured) = (schedule(warmup), schedule(duration));
        if measured < 1.0 {
            return Err("at this rate no request falls into the duration".to_owned());
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive; a year at RATE_MAX fits"
        )]
        Ok(Self { rate, warmup_requests: warmup_requests as u64, requests: (warmup_requests + measured) as u64 })
    }

    /// When request `number` is due, after the start.
    fn due(&self, number: u64) -> Duration {
        #[expect(clippy::cast_precision_loss, reason = "exact up to 2^53 requests")]
        Duration::from_secs_f64(number as f64 / self.rate)
    }

    /// Hands every request to a worker when it is due, in turn, and counts what is due and what is dropped.
    pub(super) fn pace(&self, shared: &Shared, workers: Vec<UnboundedSender<Due>>, tally: &mut Tally) {
        let turns = (0..self.requests).zip(workers.iter().cycle());
        for (number, worker) in turns {
            let at = shared.start + self.due(number);
            if let Some(left) = at.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
                std::thread::sleep(left);
            }
            let measured = number >= self.warmup_requests;
            tally.due += u64::from(measured);
            let full = shared.in_flight.fetch_add(1, Ordering::Relaxed) >= shared.plan.in_flight_max;
            // Sending fails only if the worker is gone; `run` then reports that.
            if full || worker.send(Due { at, measured }).is_err() {
                shared.in_flight.fetch_sub(1, Ordering::Relaxed);
                tally.dropped += u64::from(measured);
            }
        }
    }
}

/// A request that is due.
#[derive(Clone, Copy, Debug)]
pub(super) struct Due {
    pub(super) at: Instant,
    pub(super) measured: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn counts_and_spaces_requests() {
        let schedule = Schedule::new(400.0, Duration::from_millis(500), Duration::from_secs(2)).unwrap();
        assert_eq!((schedule.warmup_requests, schedule.requests), (200, 1000));
        assert_eq!(schedule.due(0), Duration::ZERO);
        assert_eq!(schedule.due(400), Duration::from_secs(1));
    }

    #[test]
    fn refuses_what_cannot_be_kept() {
        let second = Duration::from_secs(1);
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e6, 0.1] {
            assert!(Schedule::new(rate, Duration::ZERO, second).is_err(), "{rate}");
        }
    }
}
