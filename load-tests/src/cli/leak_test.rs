//! `sallyport-load leak-test`.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use hyper::header::{HeaderName, HeaderValue};
use load_tests::duration;
use load_tests::leak::{self, LeakError, LeakPlan};
use load_tests::load::Target;

/// Try to get known synthetic values through a masking gateway, in every way that a text can be split
///
/// The gateway has to mask US social security numbers, payment cards and e-mail addresses in answers, and to have --listen
/// as its upstream. Prints a table. Exit code 1: something leaked; 3: nothing came through.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// The gateway, such as http://127.0.0.1:8080
    #[arg(long, value_name = "URL", value_parser = Target::new)]
    target: Target,
    /// Where the model server listens that says the values
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Bearer token
    #[arg(long, env = "SALLYPORT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// More headers, as "name: value"
    #[arg(long = "header", value_name = "HEADER", value_parser = super::requests::parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Model to ask for
    #[arg(long, default_value = "mock-model")]
    model: String,
    /// Longest time for one answer
    #[arg(long, value_name = "TIME", default_value = "20s", value_parser = duration::parse)]
    timeout: Duration,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let Args { target, listen, token, headers, model, timeout } = args;
    match leak::run(&LeakPlan { target, listen, token, headers, model, timeout }) {
        Ok(report) => {
            print!("{report}");
            if report.leaked() > 0 { ExitCode::from(super::BAD) } else { ExitCode::SUCCESS }
        }
        Err(error @ (LeakError::Listen { .. } | LeakError::Runtime(_) | LeakError::Nothing(..))) => {
            super::fail(super::CANNOT_TELL, error)
        }
    }
}
