//! `sallyport policy …`: what the writers of policies work with.

mod bench;
mod bench_calls;
mod check;
mod coverage;
mod docs;
mod explain;
mod fmt;
mod set;
mod test;

use super::Failure;
use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Checks policy sets: each PATH is one file or one directory
    Check(check::Args),
    /// Writes policy files in their one form
    Fmt(fmt::Args),
    /// Runs the tests that are written in policy sets
    Test(test::Args),
    /// Shows for one call how every rule comes out, and why
    Explain(explain::Args),
    /// Shows which rules and conditions no test reaches
    Coverage(coverage::Args),
    /// Measures what a decision costs and what each rule does, on calls made from the set or recorded ones
    Bench(bench::Args),
    /// Writes the register of controls: every rule with its meaning, its place and its tests
    Docs(docs::Args),
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Check(args) => check::run(&args),
        Command::Fmt(args) => fmt::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Explain(args) => explain::run(&args),
        Command::Coverage(args) => coverage::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Docs(args) => docs::run(&args),
    }
}
