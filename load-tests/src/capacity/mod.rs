//! How much can it take? Calibrates the measuring side, searches the highest rate that meets the objectives, holds 80 % of it for a
//! while, measures what the gateway adds to the same calls made directly, and says how many cores a target needs.
//!
//! An answer that the measuring side may have caused is [`Capacity::is_valid`] `== false`, and says why.

mod process;
mod search;
mod settings;
mod text;
mod usl;

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::duration::display_ns;
use crate::load::{self, Arrivals, Doubt, Plan, Profile, Report, Target};
use crate::mock_model::{self, MockOptions};
use process::Process;
pub use search::{Found, Search, Trial};
pub use settings::Settings;
pub use usl::Fit;

/// Name and version of the JSON form; `load-tests/schema/capacity.v1.json` describes it.
pub const SCHEMA: &str = "sallyport-load/capacity/1";

/// Requests that must be due in a window for it to say anything.
const WINDOW_REQUESTS_MIN: f64 = 10.0;

/// Share of the client's own maximum beyond which the client may be what was measured.
const OWN_SHARE_MAX: f64 = 0.7;

/// Share of the capacity at which it is soaked and bought for.
const SOAK_SHARE: f64 = 0.8;

/// Share of the capacity at which direct and indirect calls are compared.
const PAIR_SHARE: f64 = 0.3;

/// How much faster than the capacity the server behind the gateway must be when it is called directly.
const DIRECT_MARGIN: f64 = 1.25;

/// Callers with which the client's own maximum is taken.
const CALIBRATION_CALLERS: usize = 32;

/// Time for the server to get rid of what a trial left behind.
const PAUSE: Duration = Duration::from_millis(300);

/// What was found out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Capacity {
    /// [`SCHEMA`].
    pub schema: String,
    /// Where requests went.
    pub url: String,
    /// What had to hold.
    pub slos: Vec<String>,
    /// What the measuring side can do.
    pub calibration: Calibration,
    /// One search per number of cores.
    pub points: Vec<Point>,
    /// The added latency.
    pub added: Option<Added>,
    /// The law of the points.
    pub usl: Option<Fit>,
    /// Calls per second that are wanted.
    pub target_rate: Option<f64>,
    /// Cores for that, at 80 % of what they hold.
    pub cores_for_target: Option<u32>,
    /// Why this is no answer.
    pub invalid: Vec<Doubt>,
    /// What narrows it.
    pub notes: Vec<String>,
}

/// One search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Cores of the gateway.
    pub cores: Option<u32>,
    /// What was found.
    pub found: Found,
    /// The soak at 80 %.
    pub soak: Option<Trial>,
}

/// What the measuring side can do.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Calls per second of the same requests against a server that does nothing, with a thread for each of ours.
    pub own_maximum: f64,
    /// How late the schedule was at a tenth of that, at the 99th percentile, in nanoseconds.
    pub late_p99_ns: u64,
}

/// What the gateway adds: medians over pairs, and their range.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Added {
    /// Calls per second at which it was taken.
    pub rate: f64,
    /// Pairs.
    pub pairs: usize,
    /// Added to the median, in nanoseconds.
    pub p50_ns: [f64; 3],
    /// Added to the 99th percentile: least, middle, most of the pairs.
    pub p99_ns: [f64; 3],
}

impl Capacity {
    /// Whether this is an answer.
    pub fn is_valid(&self) -> bool {
        self.invalid.is_empty()
    }
}

/// Finds out. `say` hears what happens, a line at a time.
///
/// # Errors
/// [`load::Error`] when the settings make no sense, or requests cannot be sent at all.
pub fn run(settings: &Settings, mut say: impl FnMut(&str)) -> Result<Capacity, load::Error> {
    settings.check()?;
    let calibration = calibrate(settings)?;
    say(&format!(
        "this client: {:.0} calls/s against a server that does nothing; schedule late by {} at p99",
        calibration.own_maximum,
        display_ns(calibration.late_p99_ns)
    ));
    let search = Search {
        from: settings.from,
        least: WINDOW_REQUESTS_MIN / settings.window.as_secs_f64(),
        most: calibration.own_maximum * OWN_SHARE_MAX,
        precision: settings.precision,
    };
    let found = search.run(|rate| {
        let trial = trial(settings, &settings.plan, rate, settings.window)?;
        let verdict = if trial.met { "good" } else { "missed" };
        say(&format!(
            "{rate:>10.1}/s  {verdict:<6}  p50 {}  p99 {}",
            display_ns(trial.p50_ns),
            display_ns(trial.p99_ns)
        ));
        std::thread::sleep(PAUSE);
        Ok::<_, load::Error>(trial)
    })?;
    let mut capacity = Capacity {
        schema: SCHEMA.to_owned(),
        url: settings.plan.target.url().to_owned(),
        slos: settings.slos.iter().map(ToString::to_string).collect(),
        calibration,
        points: vec![Point { cores: settings.cores, found, soak: None }],
        added: None,
        usl: None,
        target_rate: settings.target_rate,
        cores_for_target: None,
        invalid: Vec::new(),
        notes: Vec::new(),
    };
    let rate = capacity.points[0].found.rate;
    if rate > 0.0 && !settings.soak.is_zero() {
        say(&format!("soaking at {:.1}/s for {} s", rate * SOAK_SHARE, settings.soak.as_secs_f64()));
        capacity.points[0].soak = Some(trial(settings, &settings.plan, rate * SOAK_SHARE, settings.soak)?);
    }
    if let Some(direct) = settings.direct.as_ref().filter(|_| rate > 0.0) {
        let direct = Plan { target: direct.clone(), ..settings.plan.clone() };
        if settings.pairs > 0 {
            capacity.added = Some(pairs(settings, &direct, rate * PAIR_SHARE, &mut say)?);
        }
        let beyond = rate * DIRECT_MARGIN;
        say(&format!("the server behind it, directly, at {beyond:.1}/s"));
        if !trial(settings, &direct, beyond, settings.window)?.met {
            capacity.invalid.push(Doubt::new(
                "mock_bottleneck",
                format!("the server behind it, called directly, does not hold {beyond:.1}/s itself: it may be what was measured"),
            ));
        }
    }
    capacity.judge();
    capacity.answer();
    Ok(capacity)
}

/// Joins searches with different numbers of cores into one answer.
pub fn combine(mut all: Vec<Capacity>) -> Option<Capacity> {
    let mut first = all.pop()?;
    for other in all {
        first.points.splice(0..0, other.points);
        first.invalid.extend(other.invalid);
        first.added = first.added.or(other.added);
        first.target_rate = first.target_rate.or(other.target_rate);
    }
    first.points.sort_by_key(|point| point.cores);
    first.answer();
    Some(first)
}

impl Capacity {
    /// What speaks against the figures.
    fn judge(&mut self) {
        let Some(point) = self.points.first() else { return };
        let found = &point.found;
        let mut reasons = Vec::new();
        if found.trials.is_empty() {
            reasons.push(Doubt::new(
                "client_bottleneck",
                format!(
                    "this client sends {:.1}/s at most, even to a server that does nothing: too few for a window",
                    self.calibration.own_maximum
                ),
            ));
        } else if found.rate <= 0.0 {
            reasons.push(Doubt::new(
                "not_stationary",
                "no rate met the objectives: is the target up, and the token good?".to_owned(),
            ));
        } else if found.missed_at.is_none() {
            reasons.push(Doubt::new("client_bottleneck", format!(
                "the objectives still held at {:.1}/s, {:.0} % of what this client can send: it takes more threads or machines to find the limit",
                found.rate, OWN_SHARE_MAX * 100.0
            )));
        }
        // The windows that decided: good ones at the rate that was found, bad ones at the next.
        let deciding =
            found.trials.iter().filter(|t| Some(t.rate) == found.missed_at || (t.rate >= found.rate && t.met));
        for doubt in deciding.flat_map(|trial| &trial.doubts).filter(|doubt| doubt.kind != "not_stationary") {
            if !reasons.iter().any(|reason: &Doubt| reason.kind == doubt.kind) {
                reasons.push(doubt.clone());
            }
        }
        if let Some(soak) = &point.soak {
            if !soak.met {
                reasons.push(Doubt::new(
                    "not_stationary",
                    format!(
                        "the soak at {:.0} % of it missed {}",
                        SOAK_SHARE * 100.0,
                        soak.bound_by().unwrap_or_default()
                    ),
                ));
            }
            reasons.extend(soak.doubts.iter().filter(|doubt| doubt.kind == "not_stationary").cloned());
        }
        self.invalid.extend(reasons);
    }

    /// The law of the points, and the cores for the target.
    fn answer(&mut self) {
        let points: Vec<(f64, f64)> =
            self.points.iter().filter_map(|point| Some((f64::from(point.cores?), point.found.rate))).collect();
        self.usl = Fit::of(&points);
        self.cores_for_target = None;
        self.notes.clear();
        let (Some(usl), Some(target)) = (self.usl, self.target_rate) else { return };
        self.cores_for_target = usl.cores_for(target / SOAK_SHARE);
        if usl.points < 3 {
            self.notes.push(format!(
                "measured at {} core count{}: growth beyond is {}; measure three or more before buying many",
                usl.points,
                if usl.points == 1 { "" } else { "s" },
                if usl.points == 1 { "taken as linear" } else { "taken without the cost of coherency" }
            ));
        }
    }
}

/// The client's own maximum, and how exact its schedule is.
fn calibrate(settings: &Settings) -> Result<Calibration, load::Error> {
    let cannot = |cause| load::Error::Io("the server for the calibration cannot start", cause);
    let threads = settings.plan.threads.max(1);
    let null = mock_model::spawn(MockOptions { null: true, threads, ..MockOptions::default() }).map_err(cannot)?;
    let target = Target::new(&format!("{}{}", null.url(), settings.plan.target.path())).map_err(load::Error::Plan)?;
    let time = Duration::from_secs(2);
    // Nothing of a stream comes from a server that does nothing: the ceiling is that of calls.
    let plan = Plan {
        target,
        warmup: Duration::from_millis(300),
        duration: time,
        mix: None,
        stream: false,
        ..settings.plan.clone()
    };
    let closed = Plan { arrivals: Arrivals::Closed { concurrency: CALIBRATION_CALLERS }, ..plan.clone() };
    let own_maximum = load::run(closed)?.ok_per_second;
    let tenth = Arrivals::Open { rate: (own_maximum / 10.0).max(1.0), connections: None };
    let late = load::run(Plan { arrivals: tenth, ..plan })?.schedule_late;
    Ok(Calibration { own_maximum, late_p99_ns: late.map_or(0, |late| late.p99) })
}

/// One window at one rate.
fn trial(settings: &Settings, plan: &Plan, rate: f64, length: Duration) -> Result<Trial, load::Error> {
    let process = settings.pid.map(Process::new);
    let plan = at_rate(settings, plan, rate, length);
    let start = Instant::now() + Duration::from_millis(20);
    let (measured_from, mut before, mut used) = (plan.warmup, None, None);
    let end = plan.warmup + plan.duration;
    let tally = load::measure(plan.clone(), start, |sample| {
        // The clocks are read while the window goes on, so that neither warm-up nor the tail is in them.
        let Some(process) = process else { return };
        if before.is_none() && sample.at >= measured_from {
            before = process.look();
        } else if let Some(before) = before.filter(|_| sample.at <= end) {
            used = process.cores_since(before);
        }
    })?;
    let mut report = Report::new(&plan, tally);
    let met = report.judge(&settings.slos);
    Ok(Trial {
        rate,
        ok_per_second: report.ok_per_second,
        met,
        p50_ns: report.latency.map_or(0, |latency| latency.p50),
        p99_ns: report.latency.map_or(0, |latency| latency.p99),
        cpu_cores: used,
        memory_bytes: process.and_then(|process| process.memory()),
        verdicts: report.slos,
        doubts: report.doubts,
    })
}

fn at_rate(settings: &Settings, plan: &Plan, rate: f64, length: Duration) -> Plan {
    let arrivals = if settings.poisson {
        // Each window has its own chance, the same in every search.
        let seed = settings.plan.seed.wrapping_add(rate.to_bits());
        Arrivals::Scheduled { profile: Profile::constant(rate, length, Some(seed)), connections: None }
    } else {
        Arrivals::Open { rate, connections: None }
    };
    Plan { arrivals, duration: length, warmup: settings.warmup, ..plan.clone() }
}

/// The same load directly and through the gateway in turn, first one, then the other in front.
fn pairs(settings: &Settings, direct: &Plan, rate: f64, say: &mut impl FnMut(&str)) -> Result<Added, load::Error> {
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for number in 0..settings.pairs {
        let run = |plan: &Plan| trial(settings, plan, rate, settings.window);
        let (straight, through) = if number % 2 == 0 {
            let straight = run(direct)?;
            (straight, run(&settings.plan)?)
        } else {
            let through = run(&settings.plan)?;
            (run(direct)?, through)
        };
        p50.push(through.p50_ns as f64 - straight.p50_ns as f64);
        p99.push(through.p99_ns as f64 - straight.p99_ns as f64);
        say(&format!(
            "pair {} of {}: direct p99 {}, through p99 {}",
            number + 1,
            settings.pairs,
            display_ns(straight.p99_ns),
            display_ns(through.p99_ns)
        ));
    }
    let range = |mut all: Vec<f64>| {
        all.sort_by(f64::total_cmp);
        let at = |index: usize| all.get(index).copied().unwrap_or(0.0);
        [at(0), at(all.len() / 2), at(all.len().saturating_sub(1))]
    };
    Ok(Added { rate, pairs: settings.pairs, p50_ns: range(p50), p99_ns: range(p99) })
}
