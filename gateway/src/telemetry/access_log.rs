//! One JSON line per call, at its end.

use super::finished::Finished;
use super::marks::Phase;
use crate::config::AccessLog;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// The line of a call. Keys without a value are left out.
fn line(call: &Finished) -> Value {
    let mut line = Map::new();
    let mut put = |key: &str, value: Value| {
        if !matches!(&value, Value::Null) && value != json!("") {
            line.insert(key.to_owned(), value);
        }
    };
    let began = i64::try_from(call.began_unix_us).ok().and_then(|us| Timestamp::from_microsecond(us).ok());
    put("time", began.map_or(Value::Null, |began| json!(began.to_string())));
    put("request_id", json!(call.request_id));
    put("trace_id", call.spans.map_or(Value::Null, |spans| json!(hex::encode(spans.trace))));
    put("method", json!(call.method));
    put("route", json!(call.route));
    put("api", json!(call.api));
    put("model", json!(call.model));
    put("upstream", json!(call.upstream));
    put("server", json!(call.server));
    put("status", json!(call.status));
    put("code", json!(call.code));
    put("fault", json!(call.fault.name()));
    put("policy_generation", json!(call.policy_generation));
    put("request_bytes", json!(call.request_bytes));
    put("response_bytes", json!(call.response_bytes));
    put("input_tokens", json!(call.input_tokens));
    put("output_tokens", json!(call.output_tokens));
    put("finish_reason", json!(call.finish_reason));
    put("duration_us", json!(call.duration_us));
    let reached =
        Phase::ALL.iter().zip(call.marks).filter_map(|((_, name), at)| Some(((*name).to_owned(), json!(at?))));
    put("reached_us", Value::Object(reached.collect()));
    Value::Object(line)
}

/// Where the lines go.
#[derive(Debug)]
pub(super) struct Writer {
    target: AccessLog,
    file: Option<File>,
}

impl Writer {
    pub(super) fn new(target: AccessLog) -> Self {
        Self { target, file: None }
    }

    /// Appends a line for each call, with one write. A file that was moved away (as log rotation does) is made anew.
    ///
    /// # Errors
    /// What the system says; then none of them may be there.
    pub(super) fn append(&mut self, calls: &[Finished]) -> io::Result<()> {
        let mut lines = Vec::new();
        for call in calls {
            serde_json::to_writer(&mut lines, &line(call))?;
            lines.push(b'\n');
        }
        match &self.target {
            AccessLog::Stdout => io::stdout().lock().write_all(&lines),
            AccessLog::Stderr => io::stderr().lock().write_all(&lines),
            AccessLog::File(path) => {
                if !self.file.as_ref().is_some_and(|file| is_still(file, path)) {
                    self.file = Some(OpenOptions::new().create(true).append(true).open(path)?);
                }
                self.file.as_mut().map_or(Ok(()), |file| file.write_all(&lines))
            }
        }
    }
}

fn is_still(file: &File, path: &Path) -> bool {
    let place = |metadata: &std::fs::Metadata| (metadata.dev(), metadata.ino());
    matches!((file.metadata(), path.metadata()), (Ok(open), Ok(named)) if place(&open) == place(&named))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::finished::{Fault, Spans};
    use super::*;

    pub(in super::super) fn call() -> Finished {
        let mut marks = [None; 9];
        marks[0] = Some(12);
        marks[7] = Some(900);
        Finished {
            request_id: "01m7zdkhf1w8s0000y3ejhzysy".to_owned(),
            began_unix_us: 1_795_000_000_123_456,
            duration_us: 1_234,
            marks,
            method: "POST".to_owned(),
            route: "/v1/chat/completions",
            api: "openai",
            model: "tiny".to_owned(),
            upstream: "chat".to_owned(),
            server: "10.0.0.5:8000".to_owned(),
            status: 200,
            code: "",
            fault: Fault::Nobody,
            policy_generation: 3,
            request_bytes: 120,
            response_bytes: 512,
            input_tokens: Some(9),
            output_tokens: None,
            finish_reason: "stop".to_owned(),
            spans: Some(Spans { trace: [0xab; 16], parent: Some([1; 8]), server: [2; 8], client: [3; 8] }),
        }
    }

    #[test]
    fn a_line_says_what_is_known_and_no_more() {
        insta::assert_snapshot!(serde_json::to_string_pretty(&line(&call())).unwrap());
    }

    #[test]
    fn a_file_that_was_moved_away_is_made_anew() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("access.log");
        let mut writer = Writer::new(AccessLog::File(path.clone()));
        writer.append(&[call()]).unwrap();
        writer.append(&[call()]).unwrap();
        std::fs::rename(&path, directory.path().join("access.log.1")).unwrap();
        writer.append(&[call()]).unwrap();
        let lines = |name: &str| std::fs::read_to_string(directory.path().join(name)).unwrap().lines().count();
        assert_eq!((lines("access.log.1"), lines("access.log")), (2, 1));
    }
}
