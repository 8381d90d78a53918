//! `sallyport policy bench`: what a decision costs, and what each rule does.

use super::super::Failure;
use super::bench_calls::{Maker, of_evidence, of_file, of_tests};
use super::set::{Format, Paths, Set, print};
use policy_compiler::bench::{Options, Report, measure};
use policy_compiler::{CompileOptions, CompiledPolicy, compile_with};
use policy_lang::Facts;
use policy_lang::testing::{Call, CallView};
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Times that the interpreter judges all calls: it is slow, and only there to compare with.
const INTERPRETER_ROUNDS: usize = 2;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Args {
    #[command(flatten)]
    paths: Paths,
    /// Calls that are made from the words of the set, besides those of its tests; the same ones every time
    #[arg(long, value_name = "N", default_value_t = 4_096, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    calls: u32,
    /// How often all calls are judged
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    rounds: u32,
    /// Judge the calls of this file instead: a JSON array of calls as `policy explain` takes them
    #[arg(long, value_name = "FILE", conflicts_with = "data")]
    requests: Option<PathBuf>,
    /// Judge the last recorded calls of this data directory instead, as many as --calls says; claims are not recorded
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// How the figures are printed
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<(), Failure> {
    let sets = args.paths.load()?;
    let given = match (&args.requests, &args.data) {
        (Some(file), _) => Some(("from the file", of_file(file)?)),
        (None, Some(data)) => Some(("recorded", of_evidence(data, args.calls as usize)?)),
        (None, None) => None,
    };
    let mut text = String::new();
    let mut all = Vec::new();
    for set in &sets {
        let measured = Measured::of(set, args, given.as_ref())?;
        match args.format {
            Format::Text => text += &measured.to_text(set),
            Format::Json => all.push(measured.to_json(set)),
        }
    }
    match args.format {
        Format::Text => print(&text),
        Format::Json => print(&format!("{}\n", json!(all))),
    }
    Ok(())
}

struct Measured {
    engine: String,
    /// Where the calls come from, and how many there are of each kind.
    calls: Vec<(&'static str, usize)>,
    /// Those that the gateway would refuse before any rule is judged.
    unreadable: usize,
    native: Report,
    interpreter: Report,
}

impl Measured {
    fn of(set: &Set, args: &Args, given: Option<&(&'static str, Vec<Call>)>) -> Result<Self, Failure> {
        let program = &set.loaded.program;
        let made;
        let (kinds, calls): (Vec<(&'static str, usize)>, &[Call]) = match given {
            Some((kind, calls)) => (vec![(kind, calls.len())], calls),
            None => {
                let mut calls = of_tests(program);
                let tests = calls.len();
                let mut maker = Maker::new(program);
                calls.extend((0..args.calls).filter_map(|_| maker.call()));
                made = calls;
                (vec![("of the set's tests", tests), ("made of its words", made.len() - tests)], &made)
            }
        };
        let views: Vec<CallView<'_>> = calls.iter().filter_map(|call| CallView::new(call, &set.host).ok()).collect();
        let unreadable = calls.len() - views.len();
        if views.is_empty() {
            return Err(Failure::cannot_tell(format!("{}: there is no call to judge", set.name)));
        }
        let facts: Vec<Facts<'_>> = views.iter().map(|view| view.facts(&set.host)).collect();
        let native = policy_compiler::compile(Arc::clone(program));
        let interpreter =
            compile_with(Arc::clone(program), CompileOptions { interpreter_only: true, ..CompileOptions::default() });
        let rounds = args.rounds as usize;
        let judge =
            |policy: &CompiledPolicy, rounds, per_rule| measure(policy, &facts, Options { rounds, per_rule }, cpu_time);
        Ok(Self {
            engine: native.engine().to_string(),
            calls: kinds,
            unreadable,
            native: judge(&native, rounds, true),
            interpreter: judge(&interpreter, rounds.min(INTERPRETER_ROUNDS), false),
        })
    }

    fn to_text(&self, set: &Set) -> String {
        let kinds: Vec<String> = self.calls.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        let mut out = format!("{}\n  calls        {}", set.title(), kinds.join(", "));
        if self.unreadable > 0 {
            out += &format!("; {} of them cannot be read and are left out", self.unreadable);
        }
        let report = &self.native;
        out += &format!(
            "\n  verdicts     {} forward, {} pending, {} deny\n  engine       {}\n",
            report.forwarded, report.pending, report.denied, self.engine
        );
        for (name, report) in [("a decision", report), ("interpreter", &self.interpreter)] {
            out += &format!(
                "  {name:<12} mean {:.0} ns, p50 {:.0} ns, p99.9 {:.0} ns over {} decisions\n",
                report.mean_ns, report.p50_ns, report.p999_ns, report.decisions
            );
        }
        let width = report.rules.iter().map(|rule| rule.name.len()).max().unwrap_or_default().max(4);
        out += &format!("  {:<width$} {:>9} {:>9} {:>9}\n", "RULE", "HELD", "ERRORS", "NS");
        for rule in &report.rules {
            let ns = rule.ns.map_or_else(String::new, |ns| format!("{ns:.0}"));
            out += &format!("  {:<width$} {:>9} {:>9} {:>9}\n", rule.name, rule.fired, rule.errors, ns);
        }
        out
    }

    fn to_json(&self, set: &Set) -> Value {
        let program = &set.loaded.program;
        let figures = |report: &Report| {
            json!({
                "decisions": report.decisions,
                "mean_ns": report.mean_ns,
                "p50_ns": report.p50_ns,
                "p999_ns": report.p999_ns,
            })
        };
        let rules = self.native.rules.iter().map(
            |rule| json!({ "name": rule.name, "held": rule.fired, "errors": rule.errors, "interpreted_ns": rule.ns }),
        );
        json!({
            "path": set.name,
            "policy": program.name,
            "version": program.version,
            "engine": self.engine,
            "calls": self.calls.iter().map(|(kind, count)| json!({ "from": kind, "count": count })).collect::<Vec<_>>(),
            "unreadable": self.unreadable,
            "verdicts": {
                "forward": self.native.forwarded,
                "pending": self.native.pending,
                "deny": self.native.denied,
            },
            "decision": figures(&self.native),
            "interpreter": figures(&self.interpreter),
            "rules": rules.collect::<Vec<_>>(),
        })
    }
}

/// What this thread has used: what else runs on the machine does not count.
fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0))
}
