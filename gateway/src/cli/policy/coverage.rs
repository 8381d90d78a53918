//! `sallyport policy coverage`, and the bounds that `policy test` takes too.

use super::super::Failure;
use super::set::{Format, Paths, print};
use policy_lang::testing::{Coverage, percent};
use serde_json::json;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    paths: Paths,
    #[command(flatten)]
    bounds: Bounds,
    /// How the coverage is printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// How much must be covered.
#[derive(Debug, clap::Args)]
pub(super) struct Bounds {
    /// Fails unless this percentage of rules held in some test
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    min: Option<u8>,
    /// Fails unless this percentage of the outcomes of conditions (each one true, each one false) was seen
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    min_conditions: Option<u8>,
}

impl Bounds {
    pub(super) fn any(&self) -> bool {
        self.min.is_some() || self.min_conditions.is_some()
    }

    /// What falls short, in words.
    pub(super) fn missed(&self, set: &str, coverage: &Coverage) -> Vec<String> {
        let (held, rules) = coverage.rules_held();
        let (seen, outcomes) = coverage.outcomes_seen();
        let check = |wanted: Option<u8>, part, whole, what: &str| {
            let found = percent(part, whole);
            let wanted = usize::from(wanted?);
            (found < wanted).then(|| format!("{set}: {found} % of {what} are covered, {wanted} % are asked for"))
        };
        let rules = check(self.min, held, rules, "the rules");
        rules.into_iter().chain(check(self.min_conditions, seen, outcomes, "the outcomes of conditions")).collect()
    }
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let sets = args.paths.load()?;
    let mut text = String::new();
    let mut all = Vec::new();
    let mut short = Vec::new();
    for set in &sets {
        let report = set.test("");
        short.extend(args.bounds.missed(&set.name, &report.coverage));
        match args.format {
            Format::Text => {
                text += &format!("{}\n{}", set.title(), report.coverage.to_text(&set.loaded.sources));
            }
            Format::Json => {
                let mut json = report.coverage.to_json(&set.loaded.sources);
                json["path"] = set.name.clone().into();
                all.push(json);
            }
        }
    }
    match args.format {
        Format::Text => print(&text),
        Format::Json => print(&format!("{}\n", json!(all))),
    }
    if short.is_empty() { Ok(()) } else { Err(Failure::bad(short.join("\n"))) }
}
