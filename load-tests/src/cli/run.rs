//! `sallyport-load run`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use clap::Args as ClapArgs;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use load_tests::duration;
use load_tests::load::{self, Arrivals, Plan, Slo, Target};

/// Send chat completions at a constant rate and report latency from the intended start
///
/// The schedule is fixed before the first request: a server that stalls does not slow the load down, and the wait shows
/// in the percentiles. Exit code 1: an objective (--slo) was missed; 3: nothing was answered.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Where to send requests
    #[arg(long, default_value = "http://127.0.0.1:8080/v1/chat/completions", value_parser = Target::new)]
    url: Target,
    /// Requests per second (open model)
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0)]
    rate: f64,
    /// Bound the connections of the open model; requests then queue, and their wait counts
    #[arg(long, value_name = "N", conflicts_with = "concurrency")]
    connections: Option<usize>,
    /// Closed model instead: this many callers, each waiting for its answer
    #[arg(long, value_name = "N", conflicts_with = "rate")]
    concurrency: Option<usize>,
    /// How long to measure
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = duration::parse)]
    duration: Duration,
    /// How long to send unmeasured requests before
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration::parse)]
    warmup: Duration,
    /// Bearer token
    #[arg(long, env = "SALLYPORT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// More headers, as "name: value"
    #[arg(long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Model named in the default body
    #[arg(long, default_value = "mock-model", conflicts_with = "body")]
    model: String,
    /// User message of the default body
    #[arg(long, default_value = "What is the number on file?", conflicts_with = "body")]
    prompt: String,
    /// Send this file as the body instead
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Ask for streams; each must end with [DONE]. With --body, the file must ask for it
    #[arg(long)]
    stream: bool,
    /// Longest time for one request
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,
    /// Requests in flight at which due requests are dropped, and counted
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_in_flight: usize,
    /// Statuses that count as good beside 2xx
    #[arg(long, value_name = "STATUSES", value_delimiter = ',')]
    accept: Vec<u16>,
    /// An objective: p99<50ms, ttft.p95<300ms, service.p50<2ms, errors<0.1% (repeatable)
    #[arg(long = "slo", value_name = "OBJECTIVE")]
    slos: Vec<Slo>,
    /// Worker threads [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Append "NANOSECONDS REQUEST-ID STATUS" per call whose end was seen to this file
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Report as JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let (json, slos) = (args.json, args.slos.clone());
    let plan = match plan(args) {
        Ok(plan) => plan,
        Err(message) => return super::fail(super::USAGE, message),
    };
    let mut report = match load::run(plan) {
        Ok(report) => report,
        Err(error @ load::Error::Plan(_)) => return super::fail(super::USAGE, error),
        Err(error) => return super::fail(super::CANNOT_TELL, error),
    };
    let met = report.judge(&slos);
    if json {
        match serde_json::to_string_pretty(&report) {
            Ok(text) => println!("{text}"),
            Err(error) => return super::fail(super::CANNOT_TELL, error),
        }
    } else {
        print!("{report}");
    }
    if !met {
        ExitCode::from(super::BAD)
    } else if report.ok + report.other_status == 0 {
        super::fail(super::CANNOT_TELL, "no request was answered")
    } else {
        ExitCode::SUCCESS
    }
}

fn plan(args: Args) -> Result<Plan, String> {
    let arrivals = match args.concurrency {
        Some(concurrency) => Arrivals::Closed { concurrency },
        None => Arrivals::Open { rate: args.rate, connections: args.connections },
    };
    let body = match &args.body {
        Some(path) => Bytes::from(std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?),
        None => default_body(&args.model, &args.prompt, args.stream),
    };
    let mut plan = Plan::new(args.url, arrivals, args.duration, body);
    if let Some(token) = &args.token {
        let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
            .map_err(|_| "the token has characters that no header may have")?;
        value.set_sensitive(true);
        plan.headers.push((AUTHORIZATION, value));
    }
    // A header given by hand replaces the default.
    if args.headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
        plan.headers.retain(|(name, _)| name != CONTENT_TYPE);
    }
    plan.headers.extend(args.headers);
    plan.warmup = args.warmup;
    plan.stream = args.stream;
    plan.timeout = args.timeout;
    plan.in_flight_max = args.max_in_flight;
    plan.accept = args.accept;
    plan.threads = args.threads.unwrap_or(plan.threads);
    plan.journal = args.journal;
    Ok(plan)
}

fn default_body(model: &str, prompt: &str, stream: bool) -> Bytes {
    let mut body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
    if stream {
        body["stream"] = true.into();
    }
    Bytes::from(body.to_string())
}

pub(super) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write a header as \"name: value\"")?;
    let name = name.trim().parse().map_err(|_| format!("`{name}` is not a header name"))?;
    let value = value.trim().parse().map_err(|_| format!("`{value}` is not a header value"))?;
    Ok((name, value))
}
