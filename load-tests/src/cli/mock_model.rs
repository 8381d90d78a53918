//! `sallyport-load mock-model`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use load_tests::duration;
use load_tests::mock_model::{Fail, FailKind, Journal, MockOptions, spawn};

/// Serve made-up chat completions in OpenAI's format
///
/// Answers POST /v1/chat/completions (JSON or, with "stream": true, server-sent events), GET /v1/models and GET /health
/// until interrupted.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8000")]
    listen: SocketAddr,
    /// Text that ends every answer
    #[arg(long, value_name = "TEXT")]
    say: Option<String>,
    /// Characters per streamed piece
    #[arg(long, value_name = "CHARS", default_value_t = 3)]
    chunk: usize,
    /// Wait before the first piece, such as 200ms
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse)]
    first_token: Duration,
    /// Wait between two pieces, such as 20ms
    #[arg(long, value_name = "TIME", default_value = "0", value_parser = duration::parse)]
    between_tokens: Duration,
    /// Append "NANOSECONDS REQUEST-ID" per received request to this file
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Model names for GET /v1/models (requests may name any)
    #[arg(long, value_name = "NAMES", value_delimiter = ',', default_value = "mock-model")]
    models: Vec<String>,
    /// Seed of ids and wording
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Worker threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Misbehave on every N-th chat request (with --fail)
    #[arg(long, value_name = "N", requires = "fail")]
    fail_every: Option<NonZeroU64>,
    /// How: status:CODE, cut:EVENTS or stall:TIME
    #[arg(long, value_name = "HOW", requires = "fail_every", value_parser = parse_fail)]
    fail: Option<FailKind>,
}

pub(crate) fn run(args: Args) -> ExitCode {
    let journal = match args.journal.as_deref().map(Journal::to_file) {
        None => Journal::none(),
        Some(Ok(journal)) => journal,
        Some(Err(error)) => {
            return super::fail(super::USAGE, format!("cannot open the journal: {error}"));
        }
    };
    let options = MockOptions {
        addr: args.listen,
        chunk: args.chunk,
        first_token: args.first_token,
        between_tokens: args.between_tokens,
        say: args.say,
        models: args.models,
        journal,
        seed: args.seed,
        fail: args.fail.zip(args.fail_every).map(|(how, every)| Fail { every, how }),
        threads: args.threads,
    };
    match serve(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            super::fail(super::CANNOT_TELL, format!("the mock model cannot serve on {}: {error}", args.listen))
        }
    }
}

fn serve(options: MockOptions) -> io::Result<()> {
    let mock = spawn(options)?;
    // Scripts read this line to learn the port; a closed pipe is no reason to stop.
    let _ = writeln!(io::stdout(), "mock model on {}", mock.url());
    let _ = io::stdout().flush();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(tokio::signal::ctrl_c())?;
    eprintln!("mock model: {} requests seen", mock.requests_seen());
    mock.shutdown();
    Ok(())
}

fn parse_fail(text: &str) -> Result<FailKind, String> {
    let (kind, value) = text.split_once(':').ok_or("write status:CODE, cut:EVENTS or stall:TIME")?;
    match kind {
        "status" => match value.parse() {
            Ok(code @ 100..=999) => Ok(FailKind::Status(code)),
            _ => Err(format!("`{value}` is not an HTTP status")),
        },
        "cut" => value.parse().map(FailKind::CutAfter).map_err(|_| format!("`{value}` is not a number of events")),
        "stall" => duration::parse(value).map(FailKind::Stall),
        other => Err(format!("`{other}` is not a way to fail: use status, cut or stall")),
    }
}
