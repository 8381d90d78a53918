//! `sallyport-load`: the load generator and the mock model server on the command line.
//!
//! Exit codes, as everywhere in Sallyport: 0 good, 1 the thing checked is bad, 2 usage, 3 cannot tell.
#![forbid(unsafe_code)]

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Load generator and mock model server for inference gateways.
#[derive(Debug, Parser)]
#[command(name = "sallyport-load", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(Box<cli::run::Args>),
    Capacity(Box<cli::capacity::Args>),
    MockModel(Box<cli::mock_model::Args>),
    Report(cli::report::Args),
    LeakTest(Box<cli::leak_test::Args>),
    Agent(cli::agent::Args),
}

fn main() -> ExitCode {
    match Cli::parse().command {
        Command::Run(args) => cli::run::run(*args),
        Command::Capacity(args) => cli::capacity::run(*args),
        Command::MockModel(args) => cli::mock_model::run(*args),
        Command::Report(args) => cli::report::run(args),
        Command::LeakTest(args) => cli::leak_test::run(*args),
        Command::Agent(args) => cli::agent::run(args),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        super::Cli::command().debug_assert();
    }
}
