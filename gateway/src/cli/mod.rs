//! The command line. Exit codes: 0 good, 1 the thing checked is bad (or the command failed), 2 usage, 3 cannot tell.

mod approvals;
mod audit;
mod keys;
mod mask;
mod policy;
mod quickstart;
mod run;
mod serve;
mod token;

use clap::{Parser, Subcommand};
use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Where the quickstart keeps its things, below the working directory.
const DEFAULT_DATA: &str = "sallyport-data";

/// A gateway in front of model servers: every call is identified, judged by policy, masked, approved by a person where the
/// policy says so, and written down.
///
/// Without a command it starts the quickstart: gateway, mock model and development issuer on the loopback.
#[derive(Debug, Parser)]
#[command(name = "sallyport", version, args_conflicts_with_subcommands = true)]
#[command(after_help = "Exit codes: 0 good, 1 the thing checked is bad or the command failed, 2 usage, 3 cannot tell.")]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    quickstart: quickstart::Args,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the gateway as a configuration file says
    Run(run::Args),
    /// Checks, tests, explains and formats policies
    #[command(subcommand)]
    Policy(policy::Command),
    /// Searches, shows and verifies the evidence
    #[command(subcommand)]
    Audit(audit::Command),
    /// Masks text, JSON or a stream from standard input as a policy says
    Mask(mask::Args),
    /// Lists and decides on calls that wait for a person
    #[command(subcommand)]
    Approvals(approvals::Command),
    /// Issues, lists and revokes API keys for clients that cannot do OpenID Connect
    #[command(subcommand)]
    Keys(keys::Command),
    /// Prints a token of the development issuer (quickstart only)
    Token(token::Args),
}

/// Why a command did not do what it was asked to: what is told, and the exit code.
#[derive(Debug)]
struct Failure {
    code: u8,
    message: String,
}

impl Failure {
    /// The thing checked is bad, or the command failed.
    fn bad(message: impl ToString) -> Self {
        Self { code: 1, message: message.to_string() }
    }

    /// The command was called wrongly.
    fn usage(message: impl ToString) -> Self {
        Self { code: 2, message: message.to_string() }
    }

    /// It cannot be told.
    fn cannot_tell(message: impl ToString) -> Self {
        Self { code: 3, message: message.to_string() }
    }
}

/// Reads the command line, does what it says, and returns the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to be done about a closed terminal.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let done = match cli.command {
        None => quickstart::run(cli.quickstart),
        Some(Command::Run(args)) => run::run(args),
        Some(Command::Policy(command)) => policy::run(command),
        Some(Command::Audit(command)) => audit::run(command),
        Some(Command::Mask(args)) => mask::run(&args),
        Some(Command::Approvals(command)) => approvals::run(command),
        Some(Command::Keys(command)) => keys::run(command),
        Some(Command::Token(args)) => token::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message.is_empty() {
                eprintln!("sallyport: {}", failure.message.trim_end());
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Log lines go to standard error; `SALLYPORT_LOG` chooses which (such as `info` or `sallyport=debug`).
fn start_logging(default: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("SALLYPORT_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(default));
    // An error means that a subscriber is there already.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .try_init();
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    crate::config::parse_duration(text)
}

/// Text from callers may hold control characters that would move the cursor or the colours of whoever reads it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Where evidence lies; shared by the commands that read it.
#[derive(Debug, clap::Args)]
struct DataArg {
    /// The data directory
    #[arg(long, value_name = "DIR", default_value = DEFAULT_DATA)]
    data: PathBuf,
}
