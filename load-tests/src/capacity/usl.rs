//! The Universal Scalability Law (Gunther 1993): throughput over cores, X(N) = λN / (1 + σ(N−1) + κN(N−1)).
//! σ is what has to wait its turn, κ what has to be agreed between all.

use serde::{Deserialize, Serialize};

/// Most cores that are looked at for an answer.
const CORES_MAX: u32 = 4096;

/// A fit of measured throughputs.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Fit {
    /// Throughput of one core.
    pub lambda: f64,
    /// Contention.
    pub sigma: f64,
    /// Coherency.
    pub kappa: f64,
    /// How many different core counts it stands on: with fewer than three, κ (and with one, σ) is taken as 0.
    pub points: usize,
}

impl Fit {
    /// Fits cores and throughputs by least squares of relative errors on the linear form N/X = a + b(N−1) + cN(N−1).
    /// `None` without a usable point.
    pub fn of(points: &[(f64, f64)]) -> Option<Self> {
        let usable: Vec<(f64, f64)> =
            points.iter().copied().filter(|(cores, rate)| *cores >= 1.0 && *rate > 0.0).collect();
        let mut counts: Vec<f64> = usable.iter().map(|(cores, _)| *cores).collect();
        counts.sort_by(f64::total_cmp);
        counts.dedup();
        let mut terms = counts.len().min(3);
        loop {
            let [a, b, c] = solve(&usable, terms)?;
            // Less than nothing has no meaning: leave the last term out and fit again.
            if terms > 1 && (b < 0.0 || c < 0.0) {
                terms -= 1;
                continue;
            }
            return (a > 0.0).then(|| Self { lambda: 1.0 / a, sigma: b / a, kappa: c / a, points: counts.len() });
        }
    }

    /// Throughput of so many cores.
    pub fn at(&self, cores: f64) -> f64 {
        let waiting = self.sigma.mul_add(cores - 1.0, 1.0);
        self.lambda * cores / (self.kappa * cores).mul_add(cores - 1.0, waiting)
    }

    /// The fewest cores of one machine that reach a rate; `None` if no number does.
    pub fn cores_for(&self, rate: f64) -> Option<u32> {
        (1..=CORES_MAX).find(|cores| self.at(f64::from(*cores)) >= rate)
    }

    /// The number of cores beyond which more make it slower.
    pub fn peak(&self) -> Option<f64> {
        (self.kappa > 0.0).then(|| ((1.0 - self.sigma).max(0.0) / self.kappa).sqrt())
    }
}

/// Weighted least squares with the first `terms` of three terms, by the normal equations.
fn solve(points: &[(f64, f64)], terms: usize) -> Option<[f64; 3]> {
    let (mut matrix, mut right) = ([[0.0; 3]; 3], [0.0; 3]);
    for (cores, rate) in points {
        let (value, row) = (cores / rate, [1.0, cores - 1.0, cores * (cores - 1.0)]);
        let weight = 1.0 / (value * value);
        for i in 0..terms {
            right[i] += weight * row[i] * value;
            for j in 0..terms {
                matrix[i][j] += weight * row[i] * row[j];
            }
        }
    }
    // Gauss-Jordan with the largest pivot.
    for column in 0..terms {
        let pivot = (column..terms).max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        right.swap(column, pivot);
        if matrix[column][column].abs() < 1e-30 {
            return None;
        }
        for other in (0..terms).filter(|other| *other != column) {
            let factor = matrix[other][column] / matrix[column][column];
            let from = matrix[column];
            for (cell, above) in matrix[other].iter_mut().zip(from) {
                *cell -= factor * above;
            }
            right[other] -= factor * right[column];
        }
    }
    let mut solution = [0.0; 3];
    for at in 0..terms {
        solution[at] = right[at] / matrix[at][at];
    }
    Some(solution)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::random::Random;

    #[test]
    fn known_parameters_come_back_within_five_percent() {
        let truth = Fit { lambda: 12_000.0, sigma: 0.06, kappa: 0.002, points: 8 };
        for seed in 0..20 {
            let mut random = Random::new(seed);
            // Every measurement is off by up to half a percent.
            let measured: Vec<(f64, f64)> = [1.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 32.0]
                .map(|cores| (cores, truth.at(cores) * (1.0 + (random.unit() - 0.5) * 0.01)))
                .to_vec();
            let fit = Fit::of(&measured).unwrap();
            for (got, wanted) in [(fit.lambda, truth.lambda), (fit.sigma, truth.sigma), (fit.kappa, truth.kappa)] {
                assert!((got / wanted - 1.0).abs() < 0.05, "seed {seed}: {fit:?}");
            }
        }
    }

    #[test]
    fn answers() {
        let fit = Fit { lambda: 1000.0, sigma: 0.1, kappa: 0.01, points: 3 };
        assert_eq!(fit.cores_for(1000.0), Some(1));
        assert_eq!(fit.cores_for(2000.0), Some(3));
        assert_eq!(fit.cores_for(100_000.0), None);
        assert!((fit.peak().unwrap() - 9.49).abs() < 0.01);
    }

    #[test]
    fn few_points_claim_little() {
        let one = Fit::of(&[(2.0, 500.0)]).unwrap();
        assert_eq!((one.lambda, one.sigma, one.kappa, one.points), (250.0, 0.0, 0.0, 1));
        let two = Fit::of(&[(1.0, 100.0), (2.0, 180.0)]).unwrap();
        assert!((two.at(2.0) - 180.0).abs() < 1e-6 && two.kappa == 0.0);
        // Better than linear is taken as linear.
        assert_eq!(Fit::of(&[(1.0, 100.0), (2.0, 210.0), (4.0, 430.0)]).unwrap().kappa, 0.0);
        assert_eq!(Fit::of(&[]), None);
    }
}
