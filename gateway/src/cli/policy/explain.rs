//! `sallyport policy explain`

use super::super::Failure;
use super::set::{Format, Paths, color, print};
use crate::clock::Clock;
use jiff::tz::TimeZone;
use policy_lang::Date;
use policy_lang::explain::{explain, to_json, to_text};
use policy_lang::testing::Call;
use serde_json::{Value, json};
use std::io::Read as _;
use std::path::PathBuf;

/// Bytes of a call that is explained.
const CALL_BYTES_MAX: u64 = 16 << 20;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    paths: Paths,
    /// The call as JSON: {"identity": …, "request": …, "response": …, "time": …, "env": …} as in a test; `-` reads standard input.
    /// Without a time it is now, in the zone of this machine
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// How the explanation is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let call = read_call(args)?;
    let sets = args.paths.load()?;
    let mut text = String::new();
    let mut all = Vec::new();
    for set in &sets {
        let (program, sources) = (&set.loaded.program, &set.loaded.sources);
        let explanation = explain(program, &set.host, &call);
        match args.format {
            Format::Text => {
                text += &format!("{}\n{}", set.title(), to_text(&explanation, program, sources, color()));
            }
            Format::Json => {
                let mut json = to_json(&explanation, program, sources);
                json["path"] = set.name.clone().into();
                all.push(json);
            }
        }
    }
    match args.format {
        Format::Text => print(&text),
        Format::Json => print(&format!("{}\n", json!(all))),
    }
    Ok(())
}

fn read_call(args: &Args) -> Result<Call, Failure> {
    let name = args.request.display();
    let unreadable = |error: std::io::Error| Failure::cannot_tell(format!("{name}: {error}"));
    let mut bytes = Vec::new();
    match args.request.to_str() {
        Some("-") => std::io::stdin().lock().take(CALL_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?,
        _ => {
            let file = std::fs::File::open(&args.request).map_err(unreadable)?;
            file.take(CALL_BYTES_MAX).read_to_end(&mut bytes).map_err(unreadable)?
        }
    };
    let json: Value = serde_json::from_slice(&bytes).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    let mut given = Call::parse_parts(&json).map_err(|error| Failure::usage(format!("{name}: {error}")))?;
    if given.time.is_empty() {
        let now = Clock::system().moment(&TimeZone::system());
        given.time.insert("hour".to_owned(), now.hour.into());
        given.time.insert("weekday".to_owned(), now.weekday.into());
        given.time.insert("date".to_owned(), Date::from_days(now.date).to_string().into());
    }
    Call::new(&given).map_err(|error| Failure::usage(format!("{name}: {error}")))
}
