//! `sallyport-load capacity`.

use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use clap::Args as ClapArgs;
use load_tests::capacity::{self, Capacity, Settings};
use load_tests::load::{self, Arrivals, Slo, Target};
use load_tests::{duration, html};

use super::output::write;
use super::requests::{Requests, read};

/// Longest time that a started gateway has to become ready.
const READY_IN: Duration = Duration::from_secs(60);

/// Longest time for one request while searching: an overloaded server must not hold up the search for a minute.
const TIMEOUT_MAX: Duration = Duration::from_secs(10);

/// Find the highest rate that meets the objectives, and the number of cores for a target
///
/// Calibrates itself, doubles and halves, soaks at 80 %, compares with the same calls made directly. Exit code 3: the answer is
/// INVALID, and why stands in it; 1: the cores that were measured do not hold the target.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where to send requests: the gateway
    #[arg(long, default_value = "http://127.0.0.1:8080/v1/chat/completions", value_parser = Target::new)]
    url: Target,
    /// The server behind the gateway; the same requests go there to see what the gateway adds
    #[arg(long, value_name = "URL", value_parser = Target::new)]
    direct: Option<Target>,
    /// What must hold, as in `run` [default: p99<50ms and errors<0.1%]
    #[arg(long = "slo", value_name = "OBJECTIVE")]
    slos: Vec<Slo>,
    /// The first rate
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0)]
    from: f64,
    /// Distance between good and bad at which the search ends, in percent
    #[arg(long, value_name = "PERCENT", default_value_t = 2.0)]
    precision: f64,
    /// Length of one window
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = duration::parse)]
    window: Duration,
    /// Time before each window
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    warmup: Duration,
    /// Length of the soak at 80 %; 0 leaves it out
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration::parse)]
    soak: Duration,
    /// Pairs of direct and indirect windows, with --direct
    #[arg(long, value_name = "N", default_value_t = 5)]
    pairs: usize,
    /// Random arrivals (a Poisson process) in place of even distances
    #[arg(long)]
    poisson: bool,
    /// Cores that the gateway has; several with --command
    #[arg(long, value_name = "N,…", value_delimiter = ',')]
    cores: Vec<u32>,
    /// Start the gateway anew for each number of --cores: a shell command in which {cores} is replaced
    #[arg(long, value_name = "COMMAND", requires = "cores", conflicts_with = "pid")]
    command: Option<String>,
    /// The gateway's process id, for CPU and memory
    #[arg(long, value_name = "PID")]
    pid: Option<u32>,
    /// Calls per second that you want
    #[arg(long, value_name = "PER_SECOND")]
    target: Option<f64>,
    /// Earlier answers (--out) for other numbers of cores, to fit one law
    #[arg(long = "with", value_name = "FILE", requires = "cores")]
    with: Vec<PathBuf>,
    #[command(flatten)]
    requests: Requests,
    /// Answer as JSON on standard output
    #[arg(long)]
    json: bool,
    /// Write the answer as JSON to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the answer as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let mut all = Vec::new();
    for path in &args.with {
        let earlier = read(path).and_then(|text| {
            serde_json::from_str::<Capacity>(&text).map_err(|error| format!("{}: {error}", path.display()))
        });
        match earlier {
            Ok(earlier) => all.push(earlier),
            Err(message) => return super::fail(super::USAGE, message),
        }
    }
    if args.cores.len() > 1 && args.command.is_none() {
        return super::fail(super::USAGE, "several --cores need a --command that starts the gateway with them");
    }
    let counts: Vec<Option<u32>> =
        if args.cores.is_empty() { vec![None] } else { args.cores.iter().copied().map(Some).collect() };
    for cores in counts {
        match measure(&args, cores) {
            Ok(capacity) => all.push(capacity),
            Err(code) => return code,
        }
    }
    let Some(capacity) = capacity::combine(all) else { return super::fail(super::CANNOT_TELL, "nothing was measured") };
    match show(&args, &capacity) {
        Err(message) => super::fail(super::CANNOT_TELL, message),
        Ok(()) if !capacity.is_valid() => ExitCode::from(super::CANNOT_TELL),
        Ok(()) if args.target.is_some_and(|target| capacity.points.iter().all(|point| point.found.rate < target)) => {
            ExitCode::from(super::BAD)
        }
        Ok(()) => ExitCode::SUCCESS,
    }
}

fn measure(args: &Args, cores: Option<u32>) -> Result<Capacity, ExitCode> {
    let usage = |message: String| super::fail(super::USAGE, message);
    let gateway = match (&args.command, cores) {
        (Some(command), Some(cores)) => Some(Gateway::start(command, cores, &args.url).map_err(usage)?),
        _ => None,
    };
    let arrivals = Arrivals::Open { rate: args.from, connections: None };
    let mut plan = args.requests.plan(args.url.clone(), arrivals, args.window, None).map_err(usage)?;
    plan.timeout = plan.timeout.min(TIMEOUT_MAX);
    let default = ["p99<50ms", "errors<0.1%"].iter().filter_map(|text| text.parse().ok());
    let settings = Settings {
        plan,
        direct: args.direct.clone(),
        slos: if args.slos.is_empty() { default.collect() } else { args.slos.clone() },
        from: args.from,
        precision: args.precision / 100.0,
        window: args.window,
        warmup: args.warmup,
        soak: args.soak,
        pairs: args.pairs,
        poisson: args.poisson,
        cores,
        pid: gateway.as_ref().map(|gateway| gateway.child.id()).or(args.pid),
        target_rate: args.target,
    };
    capacity::run(&settings, |line| eprintln!("{line}")).map_err(|error| match error {
        load::Error::Plan(_) => usage(error.to_string()),
        _ => super::fail(super::CANNOT_TELL, error),
    })
}

fn show(args: &Args, capacity: &Capacity) -> Result<(), String> {
    let json = serde_json::to_string_pretty(capacity).map_err(|error| error.to_string())?;
    if args.json {
        println!("{json}");
    } else {
        print!("{capacity}");
    }
    if let Some(path) = &args.out {
        write(path, &(json + "\n"))?;
    }
    match &args.html {
        Some(path) => write(path, &html::capacity(capacity)),
        None => Ok(()),
    }
}

/// A gateway that we started; it ends with us.
struct Gateway {
    child: Child,
}

impl Gateway {
    fn start(command: &str, cores: u32, url: &Target) -> Result<Self, String> {
        // The shell gives its place to the program, so that its process id is the gateway's.
        let command = format!("exec {}", command.replace("{cores}", &cores.to_string()));
        let child = Command::new("sh").args(["-c", &command]).spawn();
        let mut gateway = Self { child: child.map_err(|error| format!("`{command}` cannot be started: {error}"))? };
        let deadline = Instant::now() + READY_IN;
        while TcpStream::connect_timeout(&url.address(), READY_IN).is_err() {
            if let Ok(Some(status)) = gateway.child.try_wait() {
                return Err(format!("`{command}` ended: {status}"));
            }
            if Instant::now() > deadline {
                return Err(format!("`{command}` does not listen on {}", url.address()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(gateway)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // Killed and not asked: a drain would wait for our own connections.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
