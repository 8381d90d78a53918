//! Service level objectives: `p99<50ms`, `ttft.p95<=300ms`, `service.p50<2ms`, `errors<0.1%`.

use std::fmt;
use std::str::FromStr;

use hdrhistogram::Histogram;

use super::tally::Tally;
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
        of: Series,
        quantile: f64,
        bound_ns: u64,
    },
    /// Share of due requests that were dropped, failed or answered with another status.
    Errors {
        share: f64,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Series {
    Latency,
    Service,
    FirstEvent,
}

/// Whether an [`Slo`] was met.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Verdict {
    /// The objective as it was written.
    pub slo: String,
    /// Whether it was met.
    pub met: bool,
    /// What was measured, for people.
    pub measured: String,
}

impl Slo {
    pub(super) fn judge(&self, tally: &Tally) -> Verdict {
        let bad = tally.due.saturating_sub(tally.ok);
        let (met, measured) = match self.metric {
            Metric::Errors { share } => {
                let measured = ratio(bad, tally.due);
                (tally.due > 0 && self.within(measured.partial_cmp(&share)), format!("{:.3} %", measured * 100.0))
            }
            Metric::Quantile { of, quantile, bound_ns } => {
                let histogram = match of {
                    Series::Latency => &tally.latency,
                    Series::Service => &tally.service,
                    Series::FirstEvent => &tally.first_event,
                };
                match quantile_with_failures(histogram, quantile, bad) {
                    Some(ns) => (self.within(Some(ns.cmp(&bound_ns))), duration::display_ns(ns)),
                    None => (false, "never: too many requests got no good answer".to_owned()),
                }
            }
        };
        Verdict { slo: self.text.clone(), met, measured }
    }

    fn within(&self, order: Option<std::cmp::Ordering>) -> bool {
        order.is_some_and(|order| order.is_lt() || (self.or_equal && order.is_eq()))
    }
}

/// A quantile over good answers and `bad` requests, which count as infinitely slow: `None` if it falls among them.
fn quantile_with_failures(histogram: &Histogram<u64>, quantile: f64, bad: u64) -> Option<u64> {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "counts stay below 2^53"
    )]
    let rank = ((quantile * (histogram.len() + bad) as f64).ceil() as u64).max(1);
    if rank > histogram.len() {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    // Half a rank down, so that rounding cannot push it to the next one.
    Some(histogram.value_at_quantile((rank as f64 - 0.5) / histogram.len() as f64))
}

pub(super) fn ratio(part: u64, whole: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, bound) = text.split_once('<').ok_or("write it like p99<50ms, ttft.p95<300ms or errors<0.1%")?;
        let (bound, or_equal) = match bound.strip_prefix('=') {
            Some(bound) => (bound, true),
            None => (bound, false),
        };
        let (name, bound) = (name.trim(), bound.trim());
        let metric = if name == "errors" {
            let percent: Option<f64> = bound.strip_suffix('%').unwrap_or("").trim().parse().ok();
            let percent = percent.filter(|p| (0.0..=100.0).contains(p));
            Metric::Errors {
                share: percent.ok_or_else(|| format!("`{bound}` is not a percentage such as 0.1%"))? / 100.0,
            }
        } else {
            let (of, percentile) = match name.split_once('.') {
                Some(("ttft", rest)) => (Series::FirstEvent, rest),
                Some(("service", rest)) => (Series::Service, rest),
                _ => (Series::Latency, name),
            };
            let percentile: Option<f64> = percentile.strip_prefix('p').and_then(|p| p.parse().ok());
            let percentile = percentile.filter(|p| (0.0..=100.0).contains(p)).ok_or_else(|| {
                format!("`{name}` is not measured here: use p50 to p100, ttft.p…, service.p… or errors")
            })?;
            let bound = duration::parse(bound)?;
            let bound_ns = u64::try_from(bound.as_nanos()).map_err(|_| format!("`{text}` is too long"))?;
            Metric::Quantile { of, quantile: percentile / 100.0, bound_ns }
        };
        Ok(Self { text: text.to_owned(), metric, or_equal })
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// 100 requests due; the good ones took 1 ms, 2 ms, 3 ms …
    fn tally(good: u64) -> Tally {
        let mut tally = Tally::new();
        tally.due = 100;
        tally.ok = good;
        for ms in 1..=good {
            tally.latency.record(ms * 1_000_000).unwrap();
        }
        tally
    }

    #[test]
    fn judges() {
        for (slo, good, met) in [
            ("p50<60ms", 100, true),
            ("p50<50ms", 100, false),
            ("p99 <= 100ms", 100, true),
            ("p100<90ms", 100, false),
            // Two bad ones count as infinitely slow: p98 is the slowest good one, p99 is never.
            ("p98<99ms", 98, true),
            ("p99<1h", 98, false),
            ("p50<1h", 0, false),
            ("ttft.p50<1h", 100, false),
            ("errors<3%", 98, true),
            ("errors<2%", 98, false),
            ("errors<=2%", 98, true),
            ("errors<=0%", 100, true),
        ] {
            assert_eq!(slo.parse::<Slo>().unwrap().judge(&tally(good)).met, met, "{slo} with {good} good");
        }
    }

    #[test]
    fn says_what_it_does_not_understand() {
        for text in ["p99", "p99<50", "p101<1s", "q99<1s", "errors<5", "p99>1s", "foo.p99<1s", "errors<200%"] {
            assert!(text.parse::<Slo>().is_err(), "{text}");
        }
    }
}
