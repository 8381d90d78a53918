//! Service level objectives: `p99<50ms`, `ttft_p95<=300ms`, `itl_p99<40ms`, `service_p50<2ms`, `errors<0.1%`, `rate>=990`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::histogram::Times;
use super::report::Report;
use crate::duration;

/// Something that must hold, as written on the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Slo {
    text: String,
    metric: Metric,
    /// Whether the bound itself still meets it.
    or_equal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Metric {
    Quantile {
        of: Of,
        quantile: f64,
        bound_ns: u64,
    },
    Mean {
        of: Of,
        bound_ns: u64,
    },
    /// Share of due requests that were dropped, failed or answered with another status.
    Errors {
        share: f64,
    },
    /// Good answers per second, at least.
    Rate {
        per_second: f64,
    },
}

/// Which times are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    Latency,
    Service,
    FirstEvent,
    FirstToken,
    BetweenTokens,
    PerToken,
}

/// Names of series on the command line.
const NAMES: [(&str, Of); 6] = [
    ("latency", Of::Latency),
    ("service", Of::Service),
    ("first_event", Of::FirstEvent),
    ("ttft", Of::FirstToken),
    ("itl", Of::BetweenTokens),
    ("tpot", Of::PerToken),
];

/// Whether an [`Slo`] was met.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The objective as it was written.
    pub slo: String,
    /// Whether it was met.
    pub met: bool,
    /// What was measured, for people.
    pub measured: String,
    /// What was measured over what was allowed, so that 1 is the bound; `None` if it cannot be said.
    pub of_bound: Option<f64>,
}

impl Slo {
    /// Judges a report. Requests without a good answer count as infinitely slow.
    pub fn judge(&self, report: &Report) -> Verdict {
        let bad = report.due.saturating_sub(report.ok);
        let (met, measured, of_bound) = match self.metric {
            Metric::Errors { share } => {
                let measured = ratio(bad, report.due);
                let met = report.due > 0 && self.within(measured.partial_cmp(&share));
                (met, format!("{:.3} %", measured * 100.0), Some(measured / share.max(1e-9)))
            }
            Metric::Rate { per_second } => {
                let met = self.within(per_second.partial_cmp(&report.ok_per_second));
                (met, format!("{:.1}/s", report.ok_per_second), Some(per_second / report.ok_per_second.max(1e-9)))
            }
            Metric::Quantile { of, quantile, bound_ns } => {
                // Failed streams have no gaps to count.
                let bad = if matches!(of, Of::BetweenTokens | Of::PerToken) { 0 } else { bad };
                let measured = quantile_with_failures(of.times(report), quantile, bad);
                self.time(measured, bound_ns, bad)
            }
            Metric::Mean { of, bound_ns } => {
                let times = of.times(report);
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a mean of times")]
                self.time((times.count() > 0 && bad == 0).then(|| times.mean() as u64), bound_ns, bad)
            }
        };
        Verdict { slo: self.text.clone(), met, measured, of_bound }
    }

    fn time(&self, measured: Option<u64>, bound_ns: u64, bad: u64) -> (bool, String, Option<f64>) {
        match measured {
            Some(ns) => (
                self.within(Some(ns.cmp(&bound_ns))),
                duration::display_ns(ns),
                Some(ns as f64 / bound_ns.max(1) as f64),
            ),
            None if bad > 0 => (false, "never: too many requests got no good answer".to_owned(), None),
            None => (false, "nothing of that kind was measured".to_owned(), None),
        }
    }

    fn within(&self, order: Option<Ordering>) -> bool {
        order.is_some_and(|order| order.is_lt() || (self.or_equal && order.is_eq()))
    }
}

impl Of {
    fn times(self, report: &Report) -> &Times {
        let series = &report.histograms;
        match self {
            Self::Latency => &series.latency,
            Self::Service => &series.service,
            Self::FirstEvent => &series.first_event,
            Self::FirstToken => &series.first_token,
            Self::BetweenTokens => &series.between_tokens,
            Self::PerToken => &series.per_token,
        }
    }
}

/// A quantile over good answers and `bad` requests, which count as infinitely slow: `None` if it falls among them.
pub(super) fn quantile_with_failures(times: &Times, quantile: f64, bad: u64) -> Option<u64> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts stay below 2^53")]
    let rank = ((quantile * (times.count() + bad) as f64).ceil() as u64).max(1);
    if rank > times.count() {
        return None;
    }
    // Half a rank down, so that rounding cannot push it to the next one.
    Some(times.at((rank as f64 - 0.5) / times.count() as f64))
}

pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        const FORM: &str = "write it like p99<50ms, ttft_p95<=300ms, itl_p99<40ms, errors<0.1% or rate>=990";
        let at = text.find(['<', '>']).ok_or(FORM)?;
        let (name, rest) = (text[..at].trim(), &text[at + 1..]);
        let (bound, or_equal) = rest.strip_prefix('=').map_or((rest, false), |bound| (bound, true));
        let (bound, at_least) = (bound.trim(), text[at..].starts_with('>'));
        if at_least != (name == "rate") {
            return Err(format!("`{text}`: a rate has a lower bound (>), everything else an upper one (<)"));
        }
        let metric = match name {
            "rate" => {
                let per_second = bound.strip_suffix("/s").unwrap_or(bound).parse().ok().filter(|rate| *rate >= 0.0);
                Metric::Rate { per_second: per_second.ok_or_else(|| format!("`{bound}` is not a rate such as 990"))? }
            }
            "errors" | "error_rate" => {
                let percent: Option<f64> = bound.strip_suffix('%').unwrap_or("").trim().parse().ok();
                let percent = percent.filter(|p| (0.0..=100.0).contains(p));
                Metric::Errors {
                    share: percent.ok_or_else(|| format!("`{bound}` is not a percentage such as 0.1%"))? / 100.0,
                }
            }
            _ => time_metric(name, bound)?,
        };
        Ok(Self { text: text.to_owned(), metric, or_equal })
    }
}

fn time_metric(name: &str, bound: &str) -> Result<Metric, String> {
    // `p99.9` has a dot of its own: what stands before the first separator must be a series.
    let series = NAMES.iter().find_map(|(known, of)| Some((*of, name.strip_prefix(known)?.strip_prefix(['.', '_'])?)));
    let (of, point) = series.unwrap_or((Of::Latency, name));
    let what = || {
        format!(
            "`{name}` is not measured here: use p50 to p100 or mean, alone or after ttft_, itl_, tpot_, service_, first_event_; or errors, rate"
        )
    };
    let bound = duration::parse(bound)?;
    let bound_ns = u64::try_from(bound.as_nanos()).map_err(|_| format!("`{name}`: that bound is too long"))?;
    if point == "mean" {
        return Ok(Metric::Mean { of, bound_ns });
    }
    let percentile: Option<f64> = point.strip_prefix('p').and_then(|p| p.parse().ok());
    let percentile = percentile.filter(|p| (0.0..=100.0).contains(p)).ok_or_else(what)?;
    Ok(Metric::Quantile { of, quantile: percentile / 100.0, bound_ns })
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use super::*;
    use crate::load::report::tests::empty;

    /// 100 requests due; the good ones took 1 ms, 2 ms, 3 ms …
    fn report(good: u64) -> Report {
        let mut report = Report { due: 100, ok: good, ok_per_second: 10.0, ..empty() };
        (1..=good).for_each(|ms| report.histograms.latency.record(Duration::from_millis(ms)));
        report.histograms.between_tokens.record(Duration::from_millis(20));
        report
    }

    #[test]
    fn judges() {
        for (slo, good, met) in [
            ("p50<60ms", 100, true),
            ("p50<50ms", 100, false),
            ("p99 <= 100ms", 100, true),
            ("p100<90ms", 100, false),
            ("p99.9<101ms", 100, true),
            ("latency_p99.9<101ms", 100, true),
            // Two bad ones count as infinitely slow: p98 is the slowest good one, p99 is never.
            ("p98<99ms", 98, true),
            ("p99<1h", 98, false),
            ("p50<1h", 0, false),
            ("mean<51ms", 100, true),
            ("mean<51ms", 99, false),
            ("ttft.p50<1h", 100, false),
            ("itl_p99<21ms", 50, true),
            ("errors<3%", 98, true),
            ("error_rate<2%", 98, false),
            ("errors<=2%", 98, true),
            ("errors<=0%", 100, true),
            ("rate>=10", 98, true),
            ("rate>10/s", 98, false),
        ] {
            assert_eq!(slo.parse::<Slo>().unwrap().judge(&report(good)).met, met, "{slo} with {good} good");
        }
        let verdict = "p50<100ms".parse::<Slo>().unwrap().judge(&report(100));
        assert!((verdict.of_bound.unwrap() - 0.5).abs() < 0.01, "{verdict:?}");
    }

    #[test]
    fn says_what_it_does_not_understand() {
        for text in [
            "p99",
            "p99<50",
            "p101<1s",
            "q99<1s",
            "errors<5",
            "p99>1s",
            "foo.p99<1s",
            "errors<200%",
            "rate<5",
            "rate>x",
        ] {
            assert!(text.parse::<Slo>().is_err(), "{text}");
        }
    }
}
