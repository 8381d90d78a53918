//! `sallyport-load report`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args as ClapArgs;
use load_tests::capacity::{self, Capacity};
use load_tests::html;
use load_tests::load::{Report, SCHEMA};

use super::output::{hgrm, write};
use super::requests::read;

/// Turn saved reports into text, one HTML page, or HdrHistogram's files
///
/// Takes what `run --out` and `capacity --out` wrote; several runs are compared side by side.
#[derive(Debug, ClapArgs)]
pub(crate) struct Args {
    /// Saved reports
    #[arg(required = true, value_name = "REPORT")]
    reports: Vec<PathBuf>,
    /// Write one HTML page, which needs nothing from anywhere
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write each histogram of each run as REPORT/NAME.hgrm below this directory
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

pub(crate) fn run(args: Args) -> ExitCode {
    match show(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => super::fail(super::USAGE, message),
    }
}

fn show(args: &Args) -> Result<(), String> {
    let (mut runs, mut capacities) = (Vec::new(), Vec::new());
    for path in &args.reports {
        let text = read(path)?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        match schema(&text, path)?.as_str() {
            SCHEMA => runs.push((name, parse::<Report>(&text, path)?)),
            capacity::SCHEMA => capacities.push(parse::<Capacity>(&text, path)?),
            other => return Err(format!("{}: `{other}` is not a report that this version knows", path.display())),
        }
    }
    if !capacities.is_empty() && (!runs.is_empty() || capacities.len() > 1) {
        return Err("give one capacity report, or any number of runs".to_owned());
    }
    for (name, report) in &runs {
        println!("== {name}\n{report}");
        if let Some(directory) = &args.hgrm {
            hgrm(&directory.join(name), report)?;
        }
    }
    if let Some(capacity) = capacities.first() {
        print!("{capacity}");
    }
    match (&args.html, capacities.first()) {
        (Some(path), Some(capacity)) => write(path, &html::capacity(capacity)),
        (Some(path), None) => write(path, &html::runs(&runs)),
        (None, _) => Ok(()),
    }
}

fn schema(text: &str, path: &Path) -> Result<String, String> {
    #[derive(serde::Deserialize)]
    struct Named {
        schema: String,
    }
    parse::<Named>(text, path).map(|named| named.schema)
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, path: &Path) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| format!("{} is no saved report: {error}", path.display()))
}
