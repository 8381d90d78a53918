//! `sallyport policy check`: what is wrong with a policy set, for people or for machines.

use super::Failure;
use crate::policy_slot::{self, PolicyError};
use clap::{Subcommand, ValueEnum};
use serde_json::{Value, json};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Checks policy sets: each PATH is one file or one directory
    Check {
        /// A `.policy` file, or a directory of them
        #[arg(required = true, value_name = "PATH")]
        paths: Vec<PathBuf>,
        /// How the findings are printed
        #[arg(long, value_enum, default_value_t = Format::Text)]
        format: Format,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// For people
    Text,
    /// One JSON array with an object for each path
    Json,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let Command::Check { paths, format } = command;
    for path in &paths {
        // `load_path` tells of an unreadable path too, but a path that is not there says nothing about a policy.
        if let Err(error) = std::fs::metadata(path) {
            return Err(Failure::cannot_tell(format!("{}: {error}", path.display())));
        }
    }
    let reports: Vec<Report> = paths.iter().map(|path| check(path)).collect();
    match format {
        Format::Text => reports.iter().for_each(|report| print!("{}", report.text)),
        Format::Json => println!("{}", Value::from_iter(reports.iter().map(|report| report.json.clone()))),
    }
    if reports.iter().all(|report| report.good) { Ok(()) } else { Err(Failure::bad("")) }
}

struct Report {
    good: bool,
    text: String,
    json: Value,
}

fn check(path: &Path) -> Report {
    let color = std::io::stdout().is_terminal();
    let name = path.display().to_string();
    match policy_slot::prepare(path) {
        Ok(prepared) => {
            let program = prepared.compiled.program();
            let engine = prepared.compiled.engine().to_string();
            let text = format!(
                "{}{name}: policy \"{}\" version {}, {} rules, {engine}\n",
                prepared.warnings.render(color),
                program.name,
                program.version,
                program.rules.len(),
            );
            let json = json!({
                "path": name,
                "ok": true,
                "policy": program.name,
                "version": program.version,
                "sha256": program.digest,
                "rules": program.rules.len(),
                "engine": engine,
                "diagnostics": prepared.warnings.to_json(),
            });
            Report { good: true, text, json }
        }
        Err(error) => {
            let diagnostics = match &error {
                PolicyError::Language(diagnostics) => diagnostics.to_json(),
                PolicyError::Regex(_) | PolicyError::NotEnforced(_) => {
                    json!([{ "severity": "error", "message": error.to_string() }])
                }
            };
            let json = json!({ "path": name, "ok": false, "diagnostics": diagnostics });
            Report { good: false, text: error.render(color), json }
        }
    }
}
