//! Histograms of times (HdrHistogram, Gil Tene): exact to three digits, merged without loss, stored in the project's own
//! V2 form so that every other HdrHistogram library can read them.

use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer as Hdr, Serializer as _, V2DeflateSerializer};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Shortest time told apart, in nanoseconds.
const NS_MIN: u64 = 1_000;

/// Longest time told apart, in nanoseconds: one hour. Longer ones count as this.
const NS_MAX: u64 = 3_600_000_000_000;

/// Significant decimal digits kept.
const DIGITS: u8 = 3;

/// Times in nanoseconds.
#[derive(Clone, PartialEq)]
pub struct Times(Histogram<u64>);

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.summary().fmt(f)
    }
}

/// Percentiles in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Summary {
    pub count: u64,
    pub min: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p95: u64,
    pub p99: u64,
    pub p999: u64,
    pub max: u64,
}

impl Default for Times {
    fn default() -> Self {
        #[expect(clippy::expect_used, reason = "the bounds are constants within the documented limits")]
        Self(Histogram::new_with_bounds(NS_MIN, NS_MAX, DIGITS).expect("constant bounds"))
    }
}

impl Times {
    pub(crate) fn record(&mut self, time: Duration) {
        self.record_ns(u64::try_from(time.as_nanos()).unwrap_or(NS_MAX));
    }

    pub(crate) fn record_ns(&mut self, ns: u64) {
        self.0.saturating_record(ns.min(NS_MAX));
    }

    /// Adds what another histogram has.
    pub(crate) fn add(&mut self, other: &Self) {
        // All have the same bounds, or came through `deserialize`, which checks them.
        let added = self.0.add(&other.0);
        debug_assert!(added.is_ok());
    }

    /// How many times there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time at a quantile between 0 and 1, in nanoseconds.
    pub fn at(&self, quantile: f64) -> u64 {
        self.0.value_at_quantile(quantile)
    }

    /// The mean, in nanoseconds.
    pub fn mean(&self) -> f64 {
        self.0.mean()
    }

    /// How many are longer than `ns`.
    pub fn longer_than(&self, ns: u64) -> u64 {
        self.0.len() - self.0.count_between(0, ns)
    }

    /// `None` if nothing was recorded.
    pub fn summary(&self) -> Option<Summary> {
        (!self.0.is_empty()).then(|| Summary {
            count: self.0.len(),
            min: self.0.min(),
            mean: self.0.mean(),
            p50: self.at(0.5),
            p90: self.at(0.9),
            p95: self.at(0.95),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: self.0.max(),
        })
    }

    /// HdrHistogram's percentile distribution as text (`.hgrm`), in milliseconds: what its plotters read.
    pub fn hgrm(&self) -> String {
        use std::fmt::Write as _;
        const TICKS_PER_HALF: u32 = 5;
        let ms = |ns: u64| ns as f64 / 1e6;
        let mut text = String::from("       Value     Percentile TotalCount 1/(1-Percentile)\n\n");
        for point in self.0.iter_quantiles(TICKS_PER_HALF) {
            let (quantile, count) = (point.quantile_iterated_to(), self.0.count_between(0, point.value_iterated_to()));
            let value = ms(point.value_iterated_to());
            // Writing to a String cannot fail.
            let _ = if quantile < 1.0 {
                writeln!(text, "{value:12.3} {quantile:2.12} {count:10} {:14.2}", 1.0 / (1.0 - quantile))
            } else {
                writeln!(text, "{value:12.3} {quantile:2.12} {count:10}")
            };
        }
        let _ =
            writeln!(text, "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]", self.0.mean() / 1e6, self.0.stdev() / 1e6);
        let _ = writeln!(text, "#[Max     = {:12.3}, Total count    = {:12}]", ms(self.0.max()), self.0.len());
        let _ = writeln!(text, "#[Buckets = {:12}, SubBuckets     = {:12}]", self.0.buckets(), 2048);
        text
    }

    /// Quantile and time in nanoseconds, for a plot.
    pub fn curve(&self) -> Vec<(f64, u64)> {
        self.0.iter_quantiles(4).map(|point| (point.quantile_iterated_to(), point.value_iterated_to())).collect()
    }
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).map_err(serde::ser::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(bytes))
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text).map_err(D::Error::custom)?;
        let read: Histogram<u64> = Hdr::new().deserialize(&mut bytes.as_slice()).map_err(D::Error::custom)?;
        let mut times = Self::default();
        times.0.add(&read).map_err(D::Error::custom)?;
        Ok(times)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn some() -> Times {
        let mut times = Times::default();
        (1..=1000).for_each(|ms| times.record(Duration::from_millis(ms)));
        times
    }

    #[test]
    fn what_is_stored_is_read_again_exactly() {
        let (mut times, json) = (some(), serde_json::to_string(&some()).unwrap());
        let read: Times = serde_json::from_str(&json).unwrap();
        assert_eq!(read, times);
        times.add(&read);
        assert_eq!((times.count(), times.at(0.5), times.longer_than(1)), (2000, some().at(0.5), 2000));
        assert!(serde_json::from_str::<Times>("\"AAAA\"").is_err());
    }

    #[test]
    fn hgrm_has_the_form_that_plotters_read() {
        let text = some().hgrm();
        let line = text.lines().find(|line| line.contains(" 0.500000000000 ")).unwrap();
        let fields: Vec<&str> = line.split_whitespace().collect();
        assert_eq!((fields[2], fields[3]), ("500", "2.00"), "{line}");
        assert!(text.lines().any(|line| line.split_whitespace().nth(1) == Some("1.000000000000")), "{text}");
        assert!(text.contains("#[Max     ="), "{text}");
    }
}
