//! What is told of calls besides the evidence.

use super::error::Findings;
use super::file::At;
use super::table::table;
use std::path::{Path, PathBuf};

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    /// Standard output.
    Stdout,
    /// Standard error, among the gateway's own lines.
    Stderr,
    /// A file that is appended to.
    File(PathBuf),
}

/// What is told of calls besides the evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct TelemetryConfig {
    /// A line per call.
    pub access_log: Option<AccessLog>,
    /// The collector that takes traces.
    pub traces: Option<String>,
    /// The share of calls without a `traceparent` that are traced.
    pub traces_sample: f64,
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { access_log: None, traces: None, traces_sample: 1.0 }
    }
}

table! {
    /// What is told of calls besides the evidence: a line each, and traces. Neither has a body, a subject or a secret in it. Read at start-up only.
    TelemetryFile = "[telemetry]" {
        /// A JSON line per call, at its end: `stdout`, `stderr`, or a file. A file that is moved away is made anew.
        access_log: Option<String> = "word or path", "–";
        /// An OpenTelemetry collector that takes OTLP over HTTP in JSON, such as `http://127.0.0.1:4318/v1/traces`.
        traces: Option<At<String>> = "URL", "–";
        /// Of calls that come without a `traceparent`, this share is traced; for the others the caller decides.
        traces_sample: Option<At<f64>> = "0 to 1", "1";
    }
}

pub(super) fn telemetry(
    file: Option<TelemetryFile>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<TelemetryConfig> {
    let Some(file) = file else { return Some(TelemetryConfig::default()) };
    let access_log = file.access_log.map(|target| match target.as_str() {
        "stdout" => AccessLog::Stdout,
        "stderr" => AccessLog::Stderr,
        path => AccessLog::File(base.join(path)),
    });
    let traces = match file.traces {
        None => None,
        Some(at) if url::Url::parse(at.as_ref()).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) => {
            Some(at.into_inner())
        }
        Some(at) => {
            findings.at(
                at.span().start,
                format!("`{}` is no address of a collector", at.as_ref()),
                "write the whole address, such as \"http://127.0.0.1:4318/v1/traces\"",
            );
            return None;
        }
    };
    let traces_sample = match file.traces_sample {
        None => 1.0,
        Some(at) if (0.0..=1.0).contains(at.as_ref()) => at.into_inner(),
        Some(at) => {
            findings.at(at.span().start, format!("{} is no share", at.as_ref()), "write a number from 0.0 to 1.0");
            return None;
        }
    };
    Some(TelemetryConfig { access_log, traces, traces_sample })
}
