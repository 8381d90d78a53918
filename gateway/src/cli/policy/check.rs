//! `sallyport policy check`: what is wrong with policy sets, for people or for machines.

use super::super::Failure;
use super::set::{color, print, there};
use crate::clock::Clock;
use crate::policy_slot::not_enforced;
use clap::ValueEnum;
use jiff::tz::TimeZone;
use policy_compiler::PolicyHost;
use policy_lang::{Date, Diagnostics, Loaded, load_path};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    /// A `.policy` file, or a directory of them: each is one set
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Warnings fail the check too
    #[arg(long)]
    deny_warnings: bool,
    /// The day from which `until` is looked at, instead of today
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    today: Option<Date>,
    /// How the findings are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON array with an object for each path
    Json,
    /// One SARIF 2.1.0 log, for code scanning
    Sarif,
}

fn day(text: &str) -> Result<Date, String> {
    Date::parse(text).ok_or_else(|| "a day is written 2027-03-31".to_owned())
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    there(&args.paths)?;
    let today = args.today.unwrap_or_else(|| Date::from_days(Clock::system().moment(&TimeZone::system()).date));
    let reports: Vec<Report> = args.paths.iter().map(|path| check(path, today)).collect();
    match args.format {
        Format::Text => print(&reports.iter().map(Report::text).collect::<String>()),
        Format::Json => print(&format!("{}\n", Value::from_iter(reports.iter().map(Report::json)))),
        Format::Sarif => print(&format!("{}\n", sarif(&reports))),
    }
    let good = |report: &Report| report.good() && !(args.deny_warnings && report.warns());
    if reports.iter().all(good) { Ok(()) } else { Err(Failure::bad("")) }
}

/// One log with a run for each set.
fn sarif(reports: &[Report]) -> Value {
    let mut logs = reports.iter().map(|report| report.found.to_sarif());
    let mut whole = logs.next().unwrap_or_default();
    for mut log in logs {
        if let (Some(Value::Array(runs)), Some(Value::Array(more))) = (whole.get_mut("runs"), log.get_mut("runs")) {
            runs.append(more);
        }
    }
    whole
}

/// What is to be said about one set.
struct Report {
    path: String,
    found: Diagnostics,
    loaded: Option<Loaded>,
    /// Why it cannot be judged by, though it is well written.
    unusable: Option<String>,
    /// What this version of the gateway would refuse it for.
    not_enforced: Vec<String>,
}

fn check(path: &Path, today: Date) -> Report {
    let name = path.display().to_string();
    let nothing = |found| Report { path: name, found, loaded: None, unusable: None, not_enforced: Vec::new() };
    match load_path(path) {
        Err(found) => nothing(found),
        Ok(loaded) => {
            let mut found = loaded.diagnostics();
            found.list.extend(loaded.check());
            found.list.extend(loaded.expiring(today));
            let unusable = PolicyHost::new(&loaded.program).err().map(|error| error.to_string());
            let not_enforced = not_enforced(&loaded.program, true);
            Report { unusable, not_enforced, loaded: Some(loaded), ..nothing(found) }
        }
    }
}

impl Report {
    fn good(&self) -> bool {
        self.loaded.is_some() && self.unusable.is_none()
    }

    fn warns(&self) -> bool {
        !self.found.list.is_empty() || !self.not_enforced.is_empty()
    }

    fn text(&self) -> String {
        let mut out = match self.found.list.is_empty() {
            true => String::new(),
            false => self.found.render_all(color()),
        };
        out.extend(self.unusable.iter().map(|why| format!("error: {why}\n")));
        out.extend(self.not_enforced.iter().map(|finding| format!("warning: {finding}\n")));
        if let Some(loaded) = &self.loaded {
            let program = &loaded.program;
            let count = |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
            out += &format!(
                "{}: policy \"{}\" version {}, {}, {}\n",
                self.path,
                program.name,
                program.version,
                count(program.rules.len(), "rule"),
                count(program.tests.len(), "test"),
            );
        }
        out
    }

    fn json(&self) -> Value {
        let mut diagnostics = self.found.to_json();
        if let (Some(why), Value::Array(list)) = (&self.unusable, &mut diagnostics) {
            list.push(json!({ "severity": "error", "message": why }));
        }
        let program = self.loaded.as_ref().map(|loaded| &loaded.program);
        json!({
            "path": self.path,
            "ok": self.good(),
            "policy": program.map(|program| program.name.as_str()),
            "version": program.map(|program| program.version),
            "sha256": program.map(|program| program.digest.as_str()),
            "rules": program.map(|program| program.rules.len()),
            "tests": program.map(|program| program.tests.len()),
            "diagnostics": diagnostics,
            "not_enforced": self.not_enforced,
        })
    }
}
