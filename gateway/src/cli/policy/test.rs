//! `sallyport policy test`

use super::super::Failure;
use super::coverage::Bounds;
use super::set::{Paths, color, print};
use clap::ValueEnum;
use policy_lang::testing::{junit, to_json, to_text};
use serde_json::{Value, json};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    paths: Paths,
    /// Runs only tests whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,
    /// Shows which rules and conditions no test reaches
    #[arg(long)]
    coverage: bool,
    #[command(flatten)]
    bounds: Bounds,
    /// How the results are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// One JSON array with an object for each path
    Json,
    /// The XML that build servers read
    Junit,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let sets = args.paths.load()?;
    let mut text = String::new();
    let mut all = Vec::new();
    let mut good = true;
    let mut short = Vec::new();
    for set in &sets {
        let report = set.test(&args.filter);
        let (program, sources) = (&set.loaded.program, &set.loaded.sources);
        good &= report.passed();
        if args.bounds.any() || args.coverage {
            short.extend(args.bounds.missed(&set.name, &report.coverage));
        }
        match args.format {
            Format::Text => {
                text += &format!("{}\n{}", set.title(), to_text(&report, sources, color()));
                if args.coverage {
                    text += &format!("\n{}", report.coverage.to_text(sources));
                }
            }
            Format::Json => {
                let name = |rule: policy_lang::RuleId| {
                    program.rules.get(rule.0 as usize).map_or_else(String::new, |rule| rule.name.clone())
                };
                let mut json = to_json(&report, sources, &name);
                json["path"] = set.name.clone().into();
                json["policy"] = program.name.clone().into();
                json["coverage"] = if args.coverage { report.coverage.to_json(sources) } else { Value::Null };
                all.push(json);
            }
            Format::Junit => text += &junit(&report, sources, &set.name),
        }
    }
    match args.format {
        Format::Text => print(&text),
        Format::Json => print(&format!("{}\n", json!(all))),
        Format::Junit => print(&format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"sallyport policy test\">\n{text}</testsuites>\n"
        )),
    }
    match (good, short.is_empty()) {
        (true, true) => Ok(()),
        (_, true) => Err(Failure::bad("")),
        (_, false) => Err(Failure::bad(short.join("\n"))),
    }
}
