//! `sallyport-load mock-model`.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args as ClapArgs;
use load_tests::duration;
use load_tests::mock_model::{Fail, FailKind, Freeze, Journal, Limit, MockOptions, ScriptedAnswer, spawn};

/// Serve made-up answers in the APIs of OpenAI, Anthropic, TGI and Triton
///
/// Answers POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings, /v1/messages, /generate[_stream],
/// /v2/models/M/infer|generate[_stream], GET /v1/models, /health and /mock/stats until interrupted.
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
    /// Let pieces have 1 to --chunk characters by chance (--seed)
    #[arg(long)]
    random_pieces: bool,
    /// Most bytes of a stream per chunk on the wire; 0: an event is a chunk
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    wire_chunk: usize,
    /// Length of every answer's text; short answers keep the end, where --say stands
    #[arg(long, value_name = "CHARS")]
    answer_chars: Option<usize>,
    /// Usage numbers to claim, as PROMPT,COMPLETION tokens
    #[arg(long, value_name = "P,C", value_parser = parse_usage)]
    usage: Option<(usize, usize)>,
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
    /// Stand still again and again, as LENGTH/CYCLE, such as 500ms/5s
    #[arg(long, value_name = "TIME/TIME", value_parser = parse_freeze)]
    freeze: Option<Freeze>,
    /// Take no more than this: queue:SERVICE-TIME[xSERVERS] (others wait) or bucket:PER-SECOND[,BURST] (others get 429)
    #[arg(long, value_name = "LIMIT", value_parser = parse_limit)]
    limit: Option<Limit>,
    /// Answer everything with the same two bytes: the ceiling of a load generator
    #[arg(long)]
    null: bool,
    /// Answers that take turns: JSON Lines with first_token_ms, gaps_ms, say, chunk, answer_chars, usage, status, cut_after
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Misbehave on every N-th model request (with --fail)
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
    let script = match args.script.as_deref().map(read_script) {
        None => Vec::new(),
        Some(Ok(script)) => script,
        Some(Err(error)) => return super::fail(super::USAGE, error),
    };
    let options = MockOptions {
        addr: args.listen,
        script,
        chunk: args.chunk,
        random_pieces: args.random_pieces,
        wire_chunk: args.wire_chunk,
        answer_chars: args.answer_chars,
        usage: args.usage,
        freeze: args.freeze,
        limit: args.limit,
        null: args.null,
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

fn read_script(path: &Path) -> Result<Vec<ScriptedAnswer>, String> {
    ScriptedAnswer::parse(&super::requests::read(path)?).map_err(|error| format!("{}: {error}", path.display()))
}

fn parse_usage(text: &str) -> Result<(usize, usize), String> {
    let (prompt, completion) = text.split_once(',').ok_or("write it like 120,45")?;
    let number = |text: &str| text.trim().parse().map_err(|_| format!("`{text}` is not a number of tokens"));
    Ok((number(prompt)?, number(completion)?))
}

fn parse_freeze(text: &str) -> Result<Freeze, String> {
    let (length, every) = text.split_once('/').ok_or("write it like 500ms/5s")?;
    let freeze = Freeze { length: duration::parse(length)?, every: duration::parse(every)? };
    if freeze.length >= freeze.every { Err("it would never move".to_owned()) } else { Ok(freeze) }
}

fn parse_limit(text: &str) -> Result<Limit, String> {
    let (kind, value) = text.split_once(':').ok_or("write queue:1ms, queue:1msx4 or bucket:1000,50")?;
    match kind {
        "queue" => {
            let (service, servers) = value.split_once('x').unwrap_or((value, "1"));
            let servers = servers.parse().ok().filter(|n| *n > 0).ok_or("a queue needs at least one server")?;
            Ok(Limit::Queue { service: duration::parse(service)?, servers })
        }
        "bucket" => {
            let (rate, burst) = value.split_once(',').unwrap_or((value, "1"));
            let number = |text: &str| text.trim().parse().ok().filter(|n: &f64| *n > 0.0 && n.is_finite());
            match (number(rate), number(burst)) {
                (Some(rate), Some(burst)) => Ok(Limit::TokenBucket { rate, burst }),
                _ => Err("write bucket:PER-SECOND,BURST".to_owned()),
            }
        }
        other => Err(format!("`{other}` is not a limit: use queue or bucket")),
    }
}
