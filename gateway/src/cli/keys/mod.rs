//! `sallyport keys`: the key that signs the evidence, and API keys of callers.

mod api;
mod log;

use super::{DataArg, Failure, parse_duration, printable};
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    #[command(flatten)]
    Api(api::Command),
    #[command(flatten)]
    Log(log::Command),
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Api(command) => api::run(command),
        Command::Log(command) => log::run(command),
    }
}
