//! One run, or several side by side.

use super::plot::{Line, Scale, plot};
use super::{escaped, page, table};
use crate::duration::display_ns;
use crate::load::{Report, Summary, Times};

/// A page about one or several named runs.
pub fn runs(runs: &[(String, Report)]) -> String {
    let mut body = String::new();
    for (name, report) in runs {
        body += &about(name, report);
    }
    body += &percentiles(runs);
    body += &over_time(runs);
    body += &distributions(runs);
    page(if runs.len() > 1 { "Load runs compared" } else { "Load run" }, &body)
}

fn about(name: &str, report: &Report) -> String {
    let mut text = format!(
        "<h2>{}</h2>\n<p>{}<br><span class=\"soft\">{} model: {}; {} s after {} s of warm-up</span></p>\n",
        escaped(name),
        escaped(&report.url),
        report.model,
        escaped(&report.arrivals),
        report.duration_s,
        report.warmup_s
    );
    for verdict in &report.slos {
        let (class, met) = if verdict.met { ("", "met") } else { (" bad", "missed") };
        let (slo, measured) = (escaped(&verdict.slo), escaped(&verdict.measured));
        text += &format!("<p class=\"answer{class}\">{met}: <b>{slo}</b>, measured {measured}</p>\n");
    }
    for doubt in &report.doubts {
        text += &format!("<p class=\"answer bad\">doubtful: {}</p>\n", escaped(&doubt.text));
    }
    for warning in &report.warnings {
        text += &format!("<p class=\"bad\">{}</p>\n", escaped(warning));
    }
    let mut rows = vec![vec!["good".to_owned(), report.ok.to_string()]];
    rows.extend(report.statuses.iter().map(|(status, count)| vec![format!("status {status}"), count.to_string()]));
    rows.extend(report.failures.iter().map(|(failure, count)| vec![failure.clone(), count.to_string()]));
    rows.push(vec!["dropped".to_owned(), report.dropped.to_string()]);
    rows.push(vec!["due".to_owned(), report.due.to_string()]);
    rows.push(vec!["good per second".to_owned(), format!("{:.1}", report.ok_per_second)]);
    if report.output_tokens > 0 {
        rows.push(vec!["output tokens per second".to_owned(), format!("{:.1}", report.output_tokens_per_second)]);
    }
    let busy = report.client.busy.iter().copied().fold(0.0, f64::max);
    rows.push(vec!["busiest client thread".to_owned(), format!("{:.0} % of a core", busy * 100.0)]);
    text + &table(&["requests", "count"], &rows)
}

fn percentiles(runs: &[(String, Report)]) -> String {
    let mut rows = Vec::new();
    for (name, report) in runs {
        let kinds: [(&str, Option<Summary>); 7] = [
            ("latency from intended start", report.latency),
            ("uncorrected service time", report.service),
            ("time to first token", report.first_token),
            ("uncorrected", report.first_token_service),
            ("inter-token: every gap", report.between_tokens),
            ("inter-token: mean of a stream", report.per_token),
            ("schedule ran late by", report.schedule_late),
        ];
        for (kind, summary) in kinds {
            let Some(s) = summary else { continue };
            let title = if runs.len() > 1 { format!("{name}: {kind}") } else { kind.to_owned() };
            rows.push(
                std::iter::once(title).chain([s.p50, s.p90, s.p95, s.p99, s.p999, s.max].map(display_ns)).collect(),
            );
        }
    }
    table(&["times", "p50", "p90", "p95", "p99", "p99.9", "max"], &rows)
}

fn over_time(runs: &[(String, Report)]) -> String {
    let line = |name: &str, report: &Report, what: &dyn Fn(&crate::load::Moment) -> Option<f64>| {
        Line::new(name, report.timeline.iter().filter_map(|m| Some((m.at_s, what(m)?))).collect())
    };
    let (mut latency, mut rate) = (Vec::new(), Vec::new());
    for (name, report) in runs {
        let named = |what: &str| if runs.len() > 1 { format!("{name} {what}") } else { what.to_owned() };
        latency.push(line(&named("p99"), report, &|m| m.latency.map(|l| l.p99 as f64 / 1e6)));
        latency.push(line(&named("p50"), report, &|m| m.latency.map(|l| l.p50 as f64 / 1e6)));
        rate.push(line(&named("due"), report, &|m| Some(m.due as f64 / m.seconds)));
        rate.push(line(&named("good"), report, &|m| Some(m.ok as f64 / m.seconds)));
        if report.ok < report.due {
            rate.push(line(&named("bad"), report, &|m| Some(m.bad as f64 / m.seconds)));
        }
    }
    let time = ("seconds", Scale::Linear);
    plot("Latency over time, by when requests were due", time, ("ms", Scale::Log), &latency)
        + &plot("Requests per second over time", time, ("per second", Scale::Linear), &rate)
}

fn distributions(runs: &[(String, Report)]) -> String {
    let curve = |times: &Times| times.curve().into_iter().map(|(q, ns)| (q, ns as f64 / 1e6)).collect::<Vec<_>>();
    let mut lines = Vec::new();
    for (name, report) in runs {
        let named = |what: &str| if runs.len() > 1 { format!("{name} {what}") } else { what.to_owned() };
        lines.push(Line::new(named("latency"), curve(&report.histograms.latency)));
        lines.push(Line::new(named("uncorrected"), curve(&report.histograms.service)));
        if report.first_token.is_some() {
            lines.push(Line::new(named("first token"), curve(&report.histograms.first_token)));
        }
    }
    plot("Latency by percentile", ("percentile", Scale::Nines), ("ms", Scale::Log), &lines)
}
