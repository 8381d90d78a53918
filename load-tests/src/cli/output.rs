//! Where a report goes: the terminal, and files.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use load_tests::html;
use load_tests::load::Report;

/// Where the report goes.
#[derive(Debug, ClapArgs)]
pub(crate) struct Output {
    /// Report as JSON on standard output
    #[arg(long)]
    json: bool,
    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the report as one HTML page
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write each histogram as NAME.hgrm into this directory
    #[arg(long, value_name = "DIR")]
    hgrm: Option<PathBuf>,
}

impl Output {
    /// Writes what was asked for; without --json a text for people goes to standard output.
    pub(crate) fn write(&self, report: &Report) -> Result<(), String> {
        let json = serde_json::to_string_pretty(report).map_err(|error| error.to_string())?;
        if self.json {
            println!("{json}");
        } else {
            print!("{report}");
        }
        if let Some(path) = &self.out {
            write(path, &(json + "\n"))?;
        }
        if let Some(path) = &self.html {
            write(path, &html::runs(&[("this run".to_owned(), report.clone())]))?;
        }
        if let Some(directory) = &self.hgrm {
            hgrm(directory, report)?;
        }
        Ok(())
    }
}

/// Writes every histogram that has something in it.
pub(crate) fn hgrm(directory: &std::path::Path, report: &Report) -> Result<(), String> {
    std::fs::create_dir_all(directory).map_err(|e| format!("cannot create {}: {e}", directory.display()))?;
    for (name, times) in report.histograms.all().into_iter().filter(|(_, times)| times.count() > 0) {
        write(&directory.join(format!("{name}.hgrm")), &times.hgrm())?;
    }
    Ok(())
}

pub(crate) fn write(path: &std::path::Path, text: &str) -> Result<(), String> {
    std::fs::write(path, text).map_err(|e| format!("cannot write {}: {e}", path.display()))
}
