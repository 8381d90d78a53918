//! `sallyport-load run`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use load_tests::load::{self, Arrivals, Piece, Plan, Profile, Recorded, Report, Slo, Target};
use load_tests::{agents, duration};

use super::requests::{Requests, read};
use super::{live, output};

/// Send requests by a schedule and report latency from the intended start
///
/// The schedule is computed before the first request: a server that stalls does not slow the load down, and the wait shows
/// in the percentiles. Exit code 1: an objective (--slo) was missed; 3: nothing was answered, or an objective was missed
/// while this side was too slow to say whose fault that was.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where to send requests
    #[arg(long, default_value = "http://127.0.0.1:8080/v1/chat/completions", value_parser = Target::new)]
    url: Target,
    #[command(flatten)]
    shape: Shape,
    /// Bound the connections of the open model; requests then queue, and their wait counts
    #[arg(long, value_name = "N", conflicts_with = "concurrency")]
    connections: Option<usize>,
    /// How long to send unmeasured requests before
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    warmup: Duration,
    #[command(flatten)]
    requests: Requests,
    /// An objective: p99<50ms, ttft_p95<300ms, itl_p99<40ms, tpot_mean<25ms, service_p50<2ms, errors<0.1%, rate>=990
    #[arg(long = "slo", value_name = "OBJECTIVE")]
    slos: Vec<Slo>,
    /// Append "NANOSECONDS REQUEST-ID STATUS" per call whose end was seen to this file
    #[arg(long, value_name = "FILE", conflicts_with = "agents")]
    journal: Option<PathBuf>,
    /// Let these agents (`sallyport-load agent`) share the schedule, and add up what they measured
    #[arg(long, value_name = "ADDRESSES", value_delimiter = ',')]
    agents: Vec<SocketAddr>,
    /// Secret that the agents ask for
    #[arg(long, env = "SALLYPORT_AGENT_SECRET", hide_env_values = true, default_value = "")]
    secret: String,
    /// Show rate, latency and errors on the terminal while it runs
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    output: output::Output,
}

/// When requests start.
#[derive(Debug, ClapArgs)]
struct Shape {
    /// Requests per second (open model)
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0)]
    rate: f64,
    /// Random arrivals of that rate (a Poisson process) in place of even distances
    #[arg(long)]
    poisson: bool,
    /// Rates one after the other, such as 100:30s,200:30s
    #[arg(long, value_name = "RATE:TIME,…", value_delimiter = ',', value_parser = parse_step, conflicts_with_all = ["rate", "duration"])]
    steps: Vec<Piece>,
    /// A rate that changes evenly, such as 100:1000:60s
    #[arg(long, value_name = "FROM:TO:TIME", value_parser = parse_ramp, conflicts_with_all = ["rate", "steps", "duration"])]
    ramp: Option<Piece>,
    /// Requests and arrival times from `sallyport audit export --format jsonl|har`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rate", "steps", "ramp", "duration", "poisson", "concurrency", "mix", "body", "stream"])]
    replay: Option<PathBuf>,
    /// How much faster than it was recorded
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, requires = "replay")]
    speed: f64,
    /// Closed model instead: this many callers, each waiting for its answer
    #[arg(long, value_name = "N", conflicts_with_all = ["rate", "poisson", "steps", "ramp"])]
    concurrency: Option<usize>,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    duration: Duration,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let plan = match plan(&args) {
        Ok(plan) => plan,
        Err(message) => return super::fail(super::USAGE, message),
    };
    let report = match measure(&args, plan) {
        Ok(report) => report,
        Err(error) => return error,
    };
    finish(report, &args.slos, &args.output)
}

fn measure(args: &Args, plan: Plan) -> Result<Report, ExitCode> {
    if !args.agents.is_empty() {
        return agents::coordinate(&plan, &args.agents, &args.secret)
            .map_err(|error| super::fail(super::CANNOT_TELL, error));
    }
    let start = Instant::now() + Duration::from_millis(20);
    let report = if args.live {
        let mut screen = live::Screen::open(&plan).map_err(|error| super::fail(super::USAGE, error))?;
        load::run_watched(plan, start, |sample| screen.show(sample))
    } else {
        load::run_watched(plan, start, |_| {})
    };
    report.map_err(|error| match error {
        load::Error::Plan(_) => super::fail(super::USAGE, error),
        _ => super::fail(super::CANNOT_TELL, error),
    })
}

fn finish(mut report: Report, slos: &[Slo], output: &output::Output) -> ExitCode {
    let met = report.judge(slos);
    if let Err(message) = output.write(&report) {
        return super::fail(super::CANNOT_TELL, message);
    }
    if report.ok + report.other_status == 0 {
        super::fail(super::CANNOT_TELL, "no request was answered")
    } else if met {
        ExitCode::SUCCESS
    } else if report.doubts.is_empty() {
        ExitCode::from(super::BAD)
    } else {
        super::fail(
            super::CANNOT_TELL,
            "an objective was missed, but the measuring side was too slow to blame the server",
        )
    }
}

fn plan(args: &Args) -> Result<Plan, String> {
    let (shape, connections) = (&args.shape, args.connections);
    let poisson = shape.poisson.then_some(args.requests.seed);
    let recorded = match &shape.replay {
        Some(path) => Some(Recorded::parse(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))?),
        None => None,
    };
    let scheduled = |profile| Arrivals::Scheduled { profile, connections };
    let arrivals = match (&recorded, shape.concurrency, shape.ramp) {
        (Some(recorded), ..) => scheduled(recorded.profile(shape.speed)?),
        (None, Some(concurrency), _) => Arrivals::Closed { concurrency },
        (None, None, Some(ramp)) => scheduled(Profile::Curve { pieces: vec![ramp], poisson }),
        (None, None, None) if !shape.steps.is_empty() => {
            scheduled(Profile::Curve { pieces: shape.steps.clone(), poisson })
        }
        (None, None, None) if shape.poisson => scheduled(Profile::constant(shape.rate, shape.duration, poisson)),
        (None, None, None) => Arrivals::Open { rate: shape.rate, connections },
    };
    let mut plan = args.requests.plan(args.url.clone(), arrivals, shape.duration, recorded.as_ref())?;
    plan.warmup = if recorded.is_some() { Duration::ZERO } else { args.warmup };
    plan.journal = args.journal.clone();
    if let Some(recorded) = recorded.filter(|recorded| recorded.made_up + recorded.skipped > 0) {
        eprintln!(
            "sallyport-load: {} bodies were not recorded and are made up in their size; {} records are no calls",
            recorded.made_up, recorded.skipped
        );
    }
    Ok(plan)
}

fn parse_step(text: &str) -> Result<Piece, String> {
    let (rate, time) = text.split_once(':').ok_or("write it like 100:30s")?;
    let rate = rate.parse().map_err(|_| format!("`{rate}` is not a rate"))?;
    Ok(Piece { from: rate, to: rate, seconds: duration::parse(time)?.as_secs_f64() })
}

fn parse_ramp(text: &str) -> Result<Piece, String> {
    let mut parts = text.split(':');
    let (Some(from), Some(to), Some(time), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return Err("write it like 100:1000:60s".to_owned());
    };
    let rate = |text: &str| text.parse().map_err(|_| format!("`{text}` is not a rate"));
    Ok(Piece { from: rate(from)?, to: rate(to)?, seconds: duration::parse(time)?.as_secs_f64() })
}
