//! A report for people.

use std::fmt;

use super::histogram::Summary;
use super::report::Report;
use crate::duration::display_ns;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = match (self.model.as_str(), self.connections) {
            ("open", Some(n)) => format!(", at most {n} connections"),
            _ => String::new(),
        };
        let kind = if self.stream { "streams" } else { "calls" };
        writeln!(
            f,
            "{}\n{kind}, {} model: {}{bound}; after {} s of warm-up\n",
            self.url, self.model, self.arrivals, self.warmup_s
        )?;
        writeln!(
            f,
            "due {} = ok {} + other status {} + failed {} + dropped {}   ({:.1} ok/s)",
            self.due, self.ok, self.other_status, self.failed, self.dropped, self.ok_per_second
        )?;
        for (status, count) in &self.statuses {
            writeln!(f, "  status {status}: {count}")?;
        }
        for (failure, count) in &self.failures {
            writeln!(f, "  {failure}: {count}")?;
        }
        if self.output_tokens > 0 {
            writeln!(f, "  output tokens: {} ({:.1}/s)", self.output_tokens, self.output_tokens_per_second)?;
        }
        writeln!(f, "\n{:<36}{:>10}{:>10}{:>10}{:>10}{:>10}", "", "p50", "p95", "p99", "p99.9", "max")?;
        let from = if self.model == "open" { "from intended start" } else { "from the caller's turn" };
        row(f, &format!("latency, {from}"), self.latency)?;
        row(f, "  uncorrected (service time)", self.service)?;
        if self.stream {
            row(f, "time to first token, from then", self.first_token)?;
            row(f, "  uncorrected", self.first_token_service)?;
            row(f, "inter-token: every gap", self.between_tokens)?;
            row(f, "inter-token: mean of each stream", self.per_token)?;
        }
        if self.model == "open" {
            row(f, "schedule ran late by", self.schedule_late)?;
        }
        let busiest = self.client.busy.iter().copied().fold(0.0, f64::max);
        writeln!(
            f,
            "\nclient: {} threads, the busiest used {:.0} % of a core; {} connections opened",
            self.client.threads,
            busiest * 100.0,
            self.client.connections_opened
        )?;
        for verdict in &self.slos {
            let met = if verdict.met { "met" } else { "MISSED" };
            writeln!(f, "\n{met}: {} (measured: {})", verdict.slo, verdict.measured)?;
        }
        for doubt in &self.doubts {
            writeln!(f, "\ndoubtful: {}", doubt.text)?;
        }
        for warning in &self.warnings {
            writeln!(f, "\nwarning: {warning}")?;
        }
        Ok(())
    }
}

fn row(f: &mut fmt::Formatter<'_>, name: &str, summary: Option<Summary>) -> fmt::Result {
    let Some(s) = summary else {
        return writeln!(f, "{name:<36}{:>10}", "none");
    };
    write!(f, "{name:<36}")?;
    for ns in [s.p50, s.p95, s.p99, s.p999, s.max] {
        write!(f, "{:>10}", display_ns(ns))?;
    }
    writeln!(f)
}
