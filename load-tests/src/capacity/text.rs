//! The answer for people.

use std::fmt;

use super::{Capacity, SOAK_SHARE};
use crate::duration::display_ns;

impl fmt::Display for Capacity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_valid() {
            writeln!(f, "INVALID: these figures are no answer.")?;
            for reason in &self.invalid {
                writeln!(f, "  {}: {}", reason.kind, reason.text)?;
            }
            writeln!(f)?;
        }
        let slos = self.slos.join(", ");
        for point in &self.points {
            let cores = point.cores.map_or("It holds".to_owned(), |cores| {
                format!("{cores} core{} hold{}", if cores == 1 { "" } else { "s" }, if cores == 1 { "s" } else { "" })
            });
            writeln!(f, "{cores} {:.1} calls/s with {slos}", point.found.rate)?;
            if let (Some(at), Some(slo)) = (point.found.missed_at, &point.found.bound_by) {
                writeln!(f, "  at {at:.1}/s it does not; {slo} bound first")?;
            }
            if let Some(soak) = &point.soak {
                let met = if soak.met { "held" } else { "MISSED" };
                write!(f, "  soak at {:.1}/s: {met}, p99 {}", soak.rate, display_ns(soak.p99_ns))?;
                if let Some(cores) = soak.cpu_cores {
                    write!(
                        f,
                        "; {cores:.2} cores, {:.1} µs of CPU per call",
                        cores / soak.ok_per_second.max(1e-9) * 1e6
                    )?;
                }
                if let Some(bytes) = soak.memory_bytes {
                    write!(f, ", {:.0} MiB", bytes as f64 / 1_048_576.0)?;
                }
                writeln!(f)?;
            }
        }
        if let Some(added) = &self.added {
            let us = |ns: f64| format!("{:.0} µs", ns / 1e3);
            let [least, middle, most] = added.p99_ns.map(us);
            writeln!(
                f,
                "It adds {} to the median and {middle} to p99 at {:.1}/s (p99 over {} pairs: {least} to {most})",
                us(added.p50_ns[1]),
                added.rate,
                added.pairs
            )?;
        }
        if let Some(usl) = &self.usl {
            writeln!(
                f,
                "Scalability: λ = {:.1} calls/s per core, σ = {:.4}, κ = {:.6}, from {} core counts",
                usl.lambda, usl.sigma, usl.kappa, usl.points
            )?;
        }
        if !self.is_valid() {
            if self.target_rate.is_some() {
                writeln!(f, "What to buy cannot be said from this.")?;
            }
        } else if let (Some(target), Some(usl)) = (self.target_rate, &self.usl) {
            match self.cores_for_target {
                Some(cores) => writeln!(
                    f,
                    "For your target of {target} calls/s buy {cores} cores: they hold {:.1}/s, and {:.0} % of that is yours to use",
                    usl.at(f64::from(cores)),
                    SOAK_SHARE * 100.0
                )?,
                None => writeln!(
                    f,
                    "For your target of {target} calls/s no number of cores of one machine is enough: use several"
                )?,
            }
        } else if self.target_rate.is_some() {
            writeln!(f, "How many cores the target needs cannot be said: give the gateway's --cores")?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        writeln!(
            f,
            "client: at most {:.0} calls/s of its own, late by {} at p99",
            self.calibration.own_maximum,
            display_ns(self.calibration.late_p99_ns)
        )
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use crate::capacity::{Added, Calibration, Capacity, Found, Point, SCHEMA, Trial, combine};
    use crate::load::{Doubt, Verdict};

    fn trial(rate: f64, of_bound: f64) -> Trial {
        let slo = |slo: &str, of_bound: f64| Verdict {
            slo: slo.to_owned(),
            met: of_bound < 1.0,
            measured: String::new(),
            of_bound: Some(of_bound),
        };
        Trial {
            rate,
            ok_per_second: rate,
            met: of_bound < 1.0,
            verdicts: vec![slo("p99<50ms", of_bound), slo("errors<0.1%", of_bound / 2.0)],
            doubts: Vec::new(),
            p50_ns: 1_000_000,
            p99_ns: 20_000_000,
            cpu_cores: Some(0.9),
            memory_bytes: Some(64 << 20),
        }
    }

    fn measured(cores: u32, rate: f64) -> Capacity {
        let found = Found {
            rate,
            missed_at: Some(rate * 1.02),
            bound_by: trial(rate, 4.0).bound_by(),
            trials: vec![trial(rate, 0.5), trial(rate * 1.02, 4.0)],
        };
        Capacity {
            schema: SCHEMA.to_owned(),
            url: "http://127.0.0.1:8080/v1/chat/completions".to_owned(),
            slos: vec!["p99<50ms".to_owned(), "errors<0.1%".to_owned()],
            calibration: Calibration { own_maximum: 60_000.0, late_p99_ns: 90_000 },
            points: vec![Point { cores: Some(cores), found, soak: Some(trial(rate * 0.8, 0.5)) }],
            added: None,
            usl: None,
            target_rate: Some(20_000.0),
            cores_for_target: None,
            invalid: Vec::new(),
            notes: Vec::new(),
        }
    }

    #[test]
    fn says_what_to_buy() {
        let mut one = measured(1, 5000.0);
        let range = [100_000.0, 150_000.0, 210_000.0];
        one.added = Some(Added { rate: 1500.0, pairs: 5, p50_ns: range.map(|ns| ns / 2.0), p99_ns: range });
        let whole = combine(vec![one, measured(4, 17_500.0), measured(2, 9500.0)]).unwrap();
        assert_eq!(whole.points.iter().map(|point| point.cores).collect::<Vec<_>>(), [Some(1), Some(2), Some(4)]);
        insta::assert_snapshot!(whole.to_string());
        let json = serde_json::to_string(&whole).unwrap();
        assert_eq!(serde_json::from_str::<Capacity>(&json).unwrap(), whole);
        let page = crate::html::capacity(&whole);
        assert!(page.matches("<svg").count() == 4 && !page.contains("http://www"), "{page}");
    }

    #[test]
    fn an_invalid_answer_says_so_first() {
        let mut doubtful = measured(1, 5000.0);
        doubtful.invalid.push(Doubt::new("schedule_late", "the schedule ran late".to_owned()));
        let alone = combine(vec![doubtful]).unwrap();
        assert!(!alone.is_valid() && alone.notes.len() == 1, "{alone}");
        let text = alone.to_string();
        assert!(text.starts_with("INVALID") && !text.contains("buy 5") && text.contains("cannot be said"), "{text}");
    }

    #[test]
    fn what_speaks_against_the_figures_is_found() {
        let kinds = |capacity: &mut Capacity| {
            capacity.judge();
            capacity.invalid.iter().map(|doubt| doubt.kind.clone()).collect::<Vec<_>>()
        };
        assert_eq!(kinds(&mut measured(1, 100.0)), [""; 0]);
        let mut unreached = measured(1, 100.0);
        unreached.points[0].found.missed_at = None;
        assert_eq!(kinds(&mut unreached), ["client_bottleneck"]);
        let mut starved = measured(1, 100.0);
        starved.points[0].found.trials[1].doubts.push(Doubt::new("schedule_late", String::new()));
        // An overloaded server is not stationary: that is how it shows.
        starved.points[0].found.trials[1].doubts.push(Doubt::new("not_stationary", String::new()));
        assert_eq!(kinds(&mut starved), ["schedule_late"]);
        let mut unsteady = measured(1, 100.0);
        unsteady.points[0].soak = Some(trial(80.0, 2.0));
        assert_eq!(kinds(&mut unsteady), ["not_stationary"]);
    }
}
