//! `sallyport policy docs`

use super::super::Failure;
use super::set::{Paths, print};
use clap::ValueEnum;
use policy_lang::register::{Register, html, markdown};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    paths: Paths,
    /// In which form
    #[arg(long, value_enum, default_value_t = Format::Markdown)]
    format: Format,
    /// Writes into this file instead of standard output
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Markdown
    Markdown,
    /// One HTML page that needs nothing else
    Html,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let sets = args.paths.load()?;
    let registers: Vec<Register> = sets.iter().map(|set| Register::new(&set.loaded, &set.test(""))).collect();
    let text = match args.format {
        Format::Markdown => markdown(&registers),
        Format::Html => html(&registers),
    };
    match &args.output {
        None => print(&text),
        Some(path) => {
            std::fs::write(path, text).map_err(|error| Failure::bad(format!("{}: {error}", path.display())))?;
        }
    }
    // A register that says "failed" is still a true register; `policy test` is the command that judges.
    Ok(())
}
