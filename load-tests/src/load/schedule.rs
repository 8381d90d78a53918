//! When each request of an open model is due: computed before the first one is sent, and never touched again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::random::Random;

/// Fastest rate, in requests per second.
const RATE_MAX: f64 = 10_000_000.0;

/// Most requests of one schedule: 8 bytes each.
const REQUESTS_MAX: f64 = 100_000_000.0;

/// How the rate of arrivals changes over the measured time, and how single arrivals are spread.
#[derive(Clone, Debug, PartialEq)]
pub enum Profile {
    /// Pieces of constant or steadily changing rate, one after the other.
    Curve {
        /// The pieces.
        pieces: Vec<Piece>,
        /// `None`: arrivals at even distances. With a seed: a Poisson process of that rate.
        poisson: Option<u64>,
    },
    /// Arrivals as they were recorded, counted from the first one.
    Recorded(Arc<[Duration]>),
}

/// A stretch of time in which the rate goes evenly from one value to another.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Piece {
    /// Requests per second at its start.
    pub from: f64,
    /// Requests per second at its end.
    pub to: f64,
    /// Its length in seconds.
    pub seconds: f64,
}

/// The moments at which requests are due.
#[derive(Clone, Debug)]
pub(super) struct Schedule {
    /// Nanoseconds after the start, ascending.
    pub(super) due_ns: Arc<[u64]>,
    /// Requests before this one belong to the warm-up.
    pub(super) measured_from: usize,
}

impl Profile {
    /// One rate for the whole time.
    pub fn constant(rate: f64, duration: Duration, poisson: Option<u64>) -> Self {
        Self::Curve { pieces: vec![Piece { from: rate, to: rate, seconds: duration.as_secs_f64() }], poisson }
    }

    /// Length of the measured time.
    pub fn duration(&self) -> Duration {
        match self {
            Self::Curve { pieces, .. } => Duration::from_secs_f64(pieces.iter().map(|piece| piece.seconds).sum()),
            Self::Recorded(offsets) => offsets.last().copied().unwrap_or_default(),
        }
    }

    /// Requests that are due over the measured time, on average.
    pub fn expected(&self) -> f64 {
        match self {
            Self::Curve { pieces, .. } => pieces.iter().map(Piece::area).sum(),
            #[expect(clippy::cast_precision_loss, reason = "counts stay below 2^53")]
            Self::Recorded(offsets) => offsets.len() as f64,
        }
    }

    /// Every arrival of the measured time, counted from its start.
    ///
    /// # Errors
    /// A sentence for the user when the rates make no sense or there would be too many arrivals.
    pub fn offsets(&self) -> Result<Vec<Duration>, String> {
        let schedule = self.schedule(Duration::ZERO)?;
        Ok(schedule.due_ns.iter().copied().map(Duration::from_nanos).collect())
    }

    /// Computes every arrival. The warm-up has the rate of the first moment.
    pub(super) fn schedule(&self, warmup: Duration) -> Result<Schedule, String> {
        match self {
            Self::Recorded(offsets) if offsets.is_empty() => Err("nothing was recorded".to_owned()),
            Self::Recorded(offsets) => {
                let due_ns = offsets.iter().map(|at| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX)).collect();
                Ok(Schedule { due_ns, measured_from: 0 })
            }
            Self::Curve { pieces, poisson } => curve(pieces, *poisson, warmup),
        }
    }
}

impl Piece {
    /// Requests in this piece: the area under its rate.
    fn area(&self) -> f64 {
        (self.from + self.to) / 2.0 * self.seconds
    }

    /// Seconds after which `area` requests of this piece were due: its inverse, in the form that loses no digits.
    fn seconds_until(&self, area: f64) -> f64 {
        if self.seconds <= 0.0 {
            return 0.0;
        }
        let slope = (self.to - self.from) / self.seconds;
        let root = 2.0_f64.mul_add(slope * area, self.from * self.from).max(0.0).sqrt();
        let denominator = self.from + root;
        if denominator > 0.0 { (2.0 * area / denominator).min(self.seconds) } else { 0.0 }
    }
}

fn curve(pieces: &[Piece], poisson: Option<u64>, warmup: Duration) -> Result<Schedule, String> {
    for rate in pieces.iter().flat_map(|piece| [piece.from, piece.to]) {
        if !(0.0..=RATE_MAX).contains(&rate) {
            return Err(format!("a rate of {rate} is not between 0 and {RATE_MAX} requests per second"));
        }
    }
    let first = pieces.first().map_or(0.0, |piece| piece.from);
    let warm = Piece { from: first, to: first, seconds: warmup.as_secs_f64() };
    let all: Vec<Piece> = std::iter::once(warm).chain(pieces.iter().copied()).collect();
    let total: f64 = all.iter().map(Piece::area).sum();
    if total > REQUESTS_MAX {
        return Err(format!(
            "{total:.0} requests are more than a schedule holds ({REQUESTS_MAX:.0}); take a shorter run"
        ));
    }
    if (total - warm.area()).round() < 1.0 {
        return Err("at this rate no request falls into the measured time".to_owned());
    }
    let mut due_ns = Vec::new();
    let (mut measured_from, mut at_piece, mut area_before, mut seconds_before) = (None, 0, 0.0, 0.0);
    for area in areas(total, poisson) {
        while at_piece + 1 < all.len() && area - area_before >= all[at_piece].area() - 1e-9 {
            area_before += all[at_piece].area();
            seconds_before += all[at_piece].seconds;
            at_piece += 1;
        }
        if at_piece > 0 && measured_from.is_none() {
            measured_from = Some(due_ns.len());
        }
        let seconds = seconds_before + all[at_piece].seconds_until((area - area_before).max(0.0));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^64")]
        due_ns.push((seconds * 1e9).round() as u64);
    }
    match measured_from {
        Some(measured_from) => Ok(Schedule { due_ns: due_ns.into(), measured_from }),
        None => Err("by chance no request falls into the measured time; take a longer run".to_owned()),
    }
}

/// Where on the area under the rate the arrivals are: at whole numbers, or a Poisson process of unit rate.
fn areas(total: f64, poisson: Option<u64>) -> Box<dyn Iterator<Item = f64>> {
    match poisson {
        None => {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most REQUESTS_MAX")]
            let count = total.round() as u32;
            Box::new((0..count).map(f64::from))
        }
        Some(seed) => {
            let mut random = Random::new(seed);
            let process = std::iter::successors(Some(random.exponential()), move |at| Some(at + random.exponential()));
            Box::new(process.take_while(move |at| *at < total))
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Recorded(offsets) => write!(f, "{} arrivals as recorded", offsets.len()),
            Self::Curve { pieces, poisson } => {
                for (number, piece) in pieces.iter().enumerate() {
                    let comma = if number > 0 { ", " } else { "" };
                    if (piece.from - piece.to).abs() < f64::EPSILON {
                        write!(f, "{comma}{}/s for {} s", piece.from, piece.seconds)?;
                    } else {
                        write!(f, "{comma}{} to {}/s in {} s", piece.from, piece.to, piece.seconds)?;
                    }
                }
                match poisson {
                    Some(seed) => write!(f, ", Poisson (seed {seed})"),
                    None => write!(f, ", evenly spaced"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn piece(from: f64, to: f64, seconds: f64) -> Piece {
        Piece { from, to, seconds }
    }

    #[test]
    fn constant_rates_are_exact() {
        let schedule = Profile::constant(400.0, 2 * SECOND, None).schedule(SECOND / 2).unwrap();
        assert_eq!((schedule.measured_from, schedule.due_ns.len()), (200, 1000));
        assert_eq!((schedule.due_ns[0], schedule.due_ns[1], schedule.due_ns[400]), (0, 2_500_000, 1_000_000_000));
        let third = Profile::constant(3.0, 10 * SECOND, None).schedule(Duration::ZERO).unwrap();
        assert_eq!((third.due_ns.len(), third.due_ns[29]), (30, 9_666_666_667));
    }

    #[test]
    fn offered_rates_are_within_a_thousandth_of_what_was_asked() {
        for rate in [1.0, 33.3, 1000.0, 9999.9, 123_456.0] {
            let schedule = Profile::constant(rate, 10 * SECOND, None).schedule(3 * SECOND).unwrap();
            let measured = (schedule.due_ns.len() - schedule.measured_from) as f64;
            // A whole number of requests cannot be nearer than one.
            assert!((measured / 10.0 - rate).abs() <= (rate / 1000.0).max(0.1), "{rate}: {measured} in 10 s");
        }
    }

    #[test]
    fn steps_and_ramps_follow_their_curve() {
        let pieces =
            vec![piece(100.0, 100.0, 1.0), piece(200.0, 400.0, 2.0), piece(0.0, 0.0, 1.0), piece(50.0, 0.0, 2.0)];
        let schedule = Profile::Curve { pieces, poisson: None }.schedule(SECOND).unwrap();
        let within =
            |from: f64, to: f64| schedule.due_ns.iter().filter(|at| (from..to).contains(&(**at as f64 / 1e9))).count();
        assert_eq!(schedule.measured_from, 100);
        assert_eq!((within(0.0, 1.0), within(1.0, 2.0), within(2.0, 4.0), within(4.0, 5.0)), (100, 100, 600, 0));
        // The rate rises from 200 to 400: the first half has 250, the second 350.
        assert!(within(2.0, 3.0).abs_diff(250) <= 1, "{}", within(2.0, 3.0));
        assert!(within(5.0, 7.0).abs_diff(50) <= 1 && within(5.0, 6.0).abs_diff(37) <= 1);
        assert!(schedule.due_ns.is_sorted());
    }

    /// The largest distance between the gaps' distribution and the exponential one, against the critical value.
    #[test]
    fn poisson_gaps_pass_a_kolmogorov_smirnov_test() {
        for seed in 0..5 {
            let rate = 1000.0;
            let schedule = Profile::constant(rate, 100 * SECOND, Some(seed)).schedule(Duration::ZERO).unwrap();
            let mut gaps: Vec<f64> = schedule.due_ns.windows(2).map(|pair| (pair[1] - pair[0]) as f64 / 1e9).collect();
            gaps.sort_by(f64::total_cmp);
            let count = gaps.len() as f64;
            let distance = gaps.iter().enumerate().fold(0.0_f64, |far, (number, gap)| {
                let expected = 1.0 - (-gap * rate).exp();
                let (below, above) = (number as f64 / count, (number + 1) as f64 / count);
                far.max((expected - below).abs()).max((above - expected).abs())
            });
            let critical = 1.63 / count.sqrt();
            assert!(distance < critical, "seed {seed}: {distance} ≥ {critical} (1 % level, {count} gaps)");
            assert!((count / 100.0 / rate - 1.0).abs() < 0.02, "{count}");
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_schedule() {
        let of = |seed| Profile::constant(50.0, SECOND, Some(seed)).schedule(SECOND).unwrap().due_ns;
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
    }

    #[test]
    fn refuses_what_cannot_be_kept() {
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 2e7, 0.1] {
            assert!(Profile::constant(rate, SECOND, None).schedule(Duration::ZERO).is_err(), "{rate}");
        }
        assert!(Profile::constant(1e6, 1000 * SECOND, None).schedule(Duration::ZERO).is_err());
        assert!(Profile::Recorded(Arc::new([])).schedule(Duration::ZERO).is_err());
    }
}
