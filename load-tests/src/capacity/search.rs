//! The search: double the rate until an objective is missed, then halve the distance until it is small enough.
//!
//! It knows nothing of clocks and sockets: a trial is a function from a rate to what it showed, so that the search itself can be
//! held against queues whose limit is known.

use serde::{Deserialize, Serialize};

use crate::load::{Doubt, Verdict};

/// How near to its bound a window must be to be repeated: from this share of it …
const UNSURE_FROM: f64 = 0.8;

/// … to this one. An overloaded queue grows without bound, so that a true miss is far beyond it.
const UNSURE_TO: f64 = 5.0;

/// Windows of one rate, of which the majority decides.
const WINDOWS_MAX: usize = 3;

/// Doublings before a search gives up.
const DOUBLINGS_MAX: usize = 24;

/// Share of the first rate below which nothing is looked for: the target does not answer at all.
const LEAST: f64 = 1.0 / 64.0;

/// How a search goes.
#[derive(Clone, Copy, Debug)]
pub struct Search {
    /// The first rate.
    pub from: f64,
    /// No rate below this one: too few requests would fall into a window to say anything.
    pub least: f64,
    /// No rate above this one: what the client can do.
    pub most: f64,
    /// Distance between the highest good and the lowest bad rate at which it ends, as a share of the former.
    pub precision: f64,
}

/// One window at one rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// Requests per second that were due.
    pub rate: f64,
    /// Good answers per second.
    pub ok_per_second: f64,
    /// Whether every objective was met.
    pub met: bool,
    /// Each objective.
    pub verdicts: Vec<Verdict>,
    /// What the measuring side may have spoilt.
    pub doubts: Vec<Doubt>,
    /// Median of the latency, in nanoseconds.
    pub p50_ns: u64,
    /// 99th percentile of the latency, in nanoseconds.
    pub p99_ns: u64,
    /// Cores that the process under test used, on average.
    pub cpu_cores: Option<f64>,
    /// Its resident memory at the end, in bytes.
    pub memory_bytes: Option<u64>,
}

/// What a search found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    /// The highest rate at which the objectives were met.
    pub rate: f64,
    /// The lowest rate at which they were not; `None` if every one that could be tried was good.
    pub missed_at: Option<f64>,
    /// The objective that was missed there by the widest margin.
    pub bound_by: Option<String>,
    /// Every window, in order.
    pub trials: Vec<Trial>,
}

impl Trial {
    /// How near the worst objective is to its bound; above 1 is missed. `None`: so bad that it has no number.
    fn worst(&self) -> Option<f64> {
        self.verdicts.iter().map(|verdict| verdict.of_bound).try_fold(0.0_f64, |worst, of| Some(worst.max(of?)))
    }

    /// Near its bound, or missed while the measuring side had troubles of its own.
    fn is_unsure(&self) -> bool {
        let own_trouble = !self.met && self.doubts.iter().any(|doubt| doubt.kind != "not_stationary");
        own_trouble || self.worst().is_some_and(|worst| (UNSURE_FROM..UNSURE_TO).contains(&worst))
    }

    /// The objective that was missed by the widest margin.
    pub fn bound_by(&self) -> Option<String> {
        let missed = self.verdicts.iter().filter(|verdict| !verdict.met);
        let margin = |verdict: &&Verdict| verdict.of_bound.unwrap_or(f64::INFINITY);
        missed.max_by(|a, b| margin(a).total_cmp(&margin(b))).map(|verdict| verdict.slo.clone())
    }
}

impl Search {
    /// Looks for the highest good rate.
    ///
    /// # Errors
    /// Whatever a trial fails with.
    pub fn run<E>(&self, mut trial: impl FnMut(f64) -> Result<Trial, E>) -> Result<Found, E> {
        let mut trials = Vec::new();
        let (mut good, mut bad, mut rate) = (0.0, None, self.from.max(self.least).min(self.most));
        if self.most < self.least {
            return Ok(Found { rate: good, missed_at: bad, bound_by: None, trials });
        }
        for _ in 0..DOUBLINGS_MAX {
            if self.is_good(rate, &mut trials, &mut trial)? {
                good = rate;
                if rate >= self.most {
                    break;
                }
                rate = (rate * 2.0).min(self.most);
            } else {
                bad = Some(rate);
                break;
            }
        }
        // The first rate may have been too high already: look below it.
        while let Some(too_much) = bad {
            if too_much - good <= self.precision * good || too_much < self.from * LEAST || too_much <= self.least {
                break;
            }
            let middle = if good > 0.0 { f64::midpoint(good, too_much) } else { too_much / 2.0 };
            let middle = middle.max(self.least);
            if self.is_good(middle, &mut trials, &mut trial)? {
                good = middle;
            } else {
                bad = Some(middle);
            }
        }
        let lowest = trials.iter().filter(|trial| Some(trial.rate) == bad && !trial.met);
        let bound_by = lowest.filter_map(Trial::bound_by).next_back();
        Ok(Found { rate: good, missed_at: bad, bound_by, trials })
    }

    /// One window, or the majority of several if the first is too near to call.
    fn is_good<E>(
        &self,
        rate: f64,
        trials: &mut Vec<Trial>,
        trial: &mut impl FnMut(f64) -> Result<Trial, E>,
    ) -> Result<bool, E> {
        let (mut met, mut missed) = (0, 0);
        for _ in 0..WINDOWS_MAX {
            let window = trial(rate)?;
            let unsure = window.is_unsure();
            if window.met {
                met += 1;
            } else {
                missed += 1;
            }
            trials.push(window);
            if (!unsure && met + missed == 1) || met.max(missed) > WINDOWS_MAX / 2 {
                break;
            }
        }
        Ok(met > missed)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::convert::Infallible;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::load::Profile;
    use crate::mock_model::{Limit, LimitState};

    const SERVICE: Duration = Duration::from_millis(1);

    /// Poisson or even arrivals at a queue, in virtual time: a window without a clock.
    fn window(rate: f64, requests: f64, limit: Limit, bound: Duration, seed: Option<u64>) -> Trial {
        let profile = Profile::constant(rate, Duration::from_secs_f64(requests / rate), seed);
        let (start, mut queue) = (Instant::now(), LimitState::new(limit));
        let due = profile.offsets().unwrap();
        let mut times: Vec<Duration> = due
            .iter()
            .map(|at| {
                let arrival = start + *at;
                queue.admit(arrival).map_or(Duration::MAX, |ready| ready.duration_since(arrival))
            })
            .collect();
        times.sort_unstable();
        let p99 = times[(times.len() * 99).div_ceil(100) - 1];
        let of_bound = (p99 < Duration::MAX).then(|| p99.as_secs_f64() / bound.as_secs_f64());
        let met = p99 < bound;
        let verdict = Verdict { slo: "p99".to_owned(), met, measured: format!("{p99:?}"), of_bound };
        Trial {
            rate,
            ok_per_second: rate,
            met,
            verdicts: vec![verdict],
            doubts: Vec::new(),
            p50_ns: 0,
            p99_ns: 0,
            cpu_cores: None,
            memory_bytes: None,
        }
    }

    fn find(limit: Limit, bound: Duration, poisson: Option<u64>) -> f64 {
        let (search, mut number) = (Search { from: 10.0, least: 0.0, most: 1e6, precision: 0.005 }, 0);
        let found = search.run(|rate| {
            number += 1;
            Ok::<_, Infallible>(window(rate, 200_000.0, limit, bound, poisson.map(|seed| seed * 1000 + number)))
        });
        let found = found.unwrap();
        assert!(found.missed_at.unwrap() > found.rate && found.bound_by.as_deref() == Some("p99"), "{found:?}");
        found.rate
    }

    #[test]
    fn even_arrivals_at_a_queue_are_held_up_to_its_rate() {
        for servers in [1, 4] {
            let found = find(Limit::Queue { service: SERVICE, servers }, 20 * SERVICE, None);
            let truth = 1000.0 * servers as f64;
            assert!((found / truth - 1.0).abs() < 0.03, "{found} against {truth}");
        }
    }

    #[test]
    fn an_m_d_1_queue_is_found_within_three_percent_in_each_of_five_runs() {
        let (limit, bound) = (Limit::Queue { service: SERVICE, servers: 1 }, 10 * SERVICE);
        // The truth, from a window so long that chance is gone.
        let (mut low, mut high) = (100.0, 1000.0);
        while high - low > 1.0 {
            let middle = f64::midpoint(low, high);
            let met = window(middle, 1_000_000.0, limit, bound, Some(99)).met;
            (low, high) = if met { (middle, high) } else { (low, middle) };
        }
        let found: Vec<f64> = (1..=5).map(|seed| find(limit, bound, Some(seed))).collect();
        for rate in &found {
            assert!((rate / low - 1.0).abs() < 0.03, "{found:?} against {low}");
        }
        let (least, most) = found.iter().fold((f64::MAX, 0.0_f64), |(a, b), rate| (a.min(*rate), b.max(*rate)));
        assert!(most / least - 1.0 <= 0.02, "{found:?}");
    }

    #[test]
    fn a_bucket_is_found() {
        let found = find(Limit::TokenBucket { rate: 750.0, burst: 20.0 }, SERVICE, None);
        // One in a hundred may be refused before the 99th percentile is.
        assert!((found / 750.0 - 1.0).abs() < 0.03, "{found}");
    }

    #[test]
    fn one_bad_window_is_not_the_limit() {
        let (search, mut windows) = (Search { from: 10.0, least: 0.0, most: 1e6, precision: 0.01 }, 0);
        let limit = Limit::Queue { service: SERVICE, servers: 1 };
        let found = search.run(|rate| {
            windows += 1;
            let mut trial = window(rate, 5000.0, limit, 20 * SERVICE, None);
            if windows == 3 {
                // Something else ran on the machine.
                (trial.met, trial.verdicts[0].met, trial.verdicts[0].of_bound) = (false, false, Some(1.5));
            }
            Ok::<_, Infallible>(trial)
        });
        let rate = found.unwrap().rate;
        assert!((rate / 1000.0 - 1.0).abs() < 0.03, "{rate}");
    }

    #[test]
    fn a_client_too_slow_for_a_window_tries_nothing() {
        let search = Search { from: 500.0, least: 10.0, most: 8.0, precision: 0.01 };
        let found = search.run(|_| Err("a trial")).unwrap();
        assert!(found.trials.is_empty() && found.rate == 0.0 && found.missed_at.is_none(), "{found:?}");
    }

    #[test]
    fn no_window_with_too_few_requests_is_tried() {
        let (search, mut lowest) = (Search { from: 500.0, least: 50.0, most: 1e6, precision: 0.01 }, f64::MAX);
        let found = search.run(|rate| {
            lowest = lowest.min(rate);
            Ok::<_, Infallible>(window(rate, 1000.0, Limit::Queue { service: SERVICE, servers: 1 }, SERVICE / 2, None))
        });
        assert_eq!((found.unwrap().rate, lowest), (0.0, 50.0));
    }

    #[test]
    fn what_the_client_cannot_reach_is_not_claimed() {
        let search = Search { from: 10.0, least: 0.0, most: 300.0, precision: 0.01 };
        let limit = Limit::Queue { service: SERVICE, servers: 1 };
        let found = search.run(|rate| Ok::<_, Infallible>(window(rate, 1000.0, limit, 20 * SERVICE, None))).unwrap();
        assert_eq!((found.rate, found.missed_at), (300.0, None));
    }
}
