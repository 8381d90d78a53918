//! The capacity answer as a page: the knee, the law, the CPU.

use super::plot::{Line, Scale, plot};
use super::{escaped, page, table};
use crate::capacity::{Capacity, Point};
use crate::duration::display_ns;

/// Cores beyond the measured ones that the law is drawn for, as a factor.
const BEYOND: f64 = 2.0;

/// A page about what a gateway can take.
pub fn capacity(capacity: &Capacity) -> String {
    let class = if capacity.is_valid() { "" } else { " bad" };
    let answer: String = capacity.to_string().lines().map(|line| escaped(line) + "<br>\n").collect();
    let mut body =
        format!("<p class=\"soft\">{}</p>\n<p class=\"answer{class}\">{answer}</p>\n", escaped(&capacity.url));
    let name = |point: &Point| point.cores.map_or("measured".to_owned(), |cores| format!("{cores} cores"));
    let by_rate = |point: &Point, what: &dyn Fn(&crate::capacity::Trial) -> Option<f64>| {
        let mut points: Vec<(f64, f64)> = point.found.trials.iter().filter_map(|t| Some((t.rate, what(t)?))).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        Line::new(name(point), points)
    };
    let lines = |what: &dyn Fn(&crate::capacity::Trial) -> Option<f64>| {
        capacity.points.iter().map(|point| by_rate(point, what)).collect::<Vec<_>>()
    };
    let rate = ("calls per second asked for", Scale::Linear);
    body += &plot("The knee: p99 over rate", rate, ("ms", Scale::Log), &lines(&|t| Some(t.p99_ns as f64 / 1e6)));
    body += &plot("Good answers over rate", rate, ("per second", Scale::Linear), &lines(&|t| Some(t.ok_per_second)));
    body += &plot("CPU of the process under test", rate, ("cores", Scale::Linear), &lines(&|t| t.cpu_cores));
    if let Some(usl) = &capacity.usl {
        let measured: Vec<(f64, f64)> =
            capacity.points.iter().filter_map(|p| Some((f64::from(p.cores?), p.found.rate))).collect();
        let most = measured.iter().fold(1.0_f64, |most, (cores, _)| most.max(*cores)) * BEYOND;
        let law = (0..=100).map(|n| 1.0 + (most - 1.0) * f64::from(n) / 100.0).map(|n| (n, usl.at(n))).collect();
        let lines = [Line::new("law", law), Line { name: "measured".to_owned(), points: measured, dots: true }];
        body +=
            &plot("Universal Scalability Law", ("cores", Scale::Linear), ("calls per second", Scale::Linear), &lines);
    }
    let rows: Vec<Vec<String>> = capacity
        .points
        .iter()
        .flat_map(|point| point.found.trials.iter().map(move |t| (name(point), t)))
        .map(|(name, t)| {
            let met = if t.met { "met".to_owned() } else { format!("missed {}", t.bound_by().unwrap_or_default()) };
            let cpu = t.cpu_cores.map_or(String::new(), |cores| format!("{cores:.2}"));
            vec![
                name,
                format!("{:.1}", t.rate),
                format!("{:.1}", t.ok_per_second),
                display_ns(t.p50_ns),
                display_ns(t.p99_ns),
                cpu,
                met,
            ]
        })
        .collect();
    body += &table(&["trial", "rate", "good/s", "p50", "p99", "CPU cores", "objectives"], &rows);
    page("Capacity", &body)
}
