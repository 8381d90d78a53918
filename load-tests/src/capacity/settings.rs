//! What a search is asked to find out.

use std::time::Duration;

use crate::load::{self, Plan, Slo, Target};

/// What to find out.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The requests; arrivals and duration are replaced.
    pub plan: Plan,
    /// The server behind the gateway: the same requests go there for comparison.
    pub direct: Option<Target>,
    /// What must hold.
    pub slos: Vec<Slo>,
    /// The first rate.
    pub from: f64,
    /// Distance between good and bad at which the search ends, as a share.
    pub precision: f64,
    /// Length of one window.
    pub window: Duration,
    /// Time before each window.
    pub warmup: Duration,
    /// Length of the soak at 80 %; zero leaves it out.
    pub soak: Duration,
    /// Pairs of direct and indirect windows.
    pub pairs: usize,
    /// Random arrivals in place of even ones.
    pub poisson: bool,
    /// Cores that the gateway has, for the answer.
    pub cores: Option<u32>,
    /// The gateway's process, if it runs on this machine.
    pub pid: Option<u32>,
    /// Calls per second that are wanted.
    pub target_rate: Option<f64>,
}

impl Settings {
    /// Refuses what would never end, or end with a figure that means nothing.
    pub(super) fn check(&self) -> Result<(), load::Error> {
        let positive = |number: f64| number > 0.0 && number.is_finite();
        let fault = if self.window.is_zero() {
            "the window must be longer than zero"
        } else if !positive(self.from) {
            "the first rate must be above zero"
        } else if !positive(self.precision) {
            "the precision must be above zero: a search to the last digit does not end"
        } else if self.target_rate.is_some_and(|rate| !positive(rate)) {
            "the target must be above zero"
        } else if self.slos.is_empty() {
            "without an objective every rate is good"
        } else {
            return Ok(());
        };
        Err(load::Error::Plan(fault.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use bytes::Bytes;

    use super::*;
    use crate::load::Arrivals;

    #[test]
    fn what_would_never_end_is_refused() {
        let target = Target::new("http://127.0.0.1:9/").unwrap();
        let good = Settings {
            plan: Plan::new(target, Arrivals::Closed { concurrency: 1 }, Duration::from_secs(1), Bytes::new()),
            direct: None,
            slos: vec!["p99<50ms".parse().unwrap()],
            from: 100.0,
            precision: 0.02,
            window: Duration::from_secs(1),
            warmup: Duration::ZERO,
            soak: Duration::ZERO,
            pairs: 0,
            poisson: false,
            cores: None,
            pid: None,
            target_rate: Some(5.0),
        };
        assert!(good.check().is_ok());
        for (bad, part) in [
            (Settings { window: Duration::ZERO, ..good.clone() }, "window"),
            (Settings { from: 0.0, ..good.clone() }, "first rate"),
            (Settings { from: f64::NAN, ..good.clone() }, "first rate"),
            (Settings { precision: 0.0, ..good.clone() }, "precision"),
            (Settings { target_rate: Some(-1.0), ..good.clone() }, "target"),
            (Settings { slos: Vec::new(), ..good.clone() }, "objective"),
        ] {
            let error = bad.check().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
