//! `audit replay`: the recorded answer again, or the recorded request to another server.

use super::{Place, cannot_tell, not_recorded};
use crate::cli::{Failure, printable};
use audit_shipper::RecordId;
use audit_shipper::read::{self, Recorded};
use std::io::Write;
use std::time::Duration;

/// Longest pause that is waited for, whatever was recorded.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// How long another server may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);
/// Differing lines shown.
const LINES_SHOWN: usize = 40;

pub(super) fn run(id: &str, speed: f64, to: Option<String>, place: Place, out: &mut dyn Write) -> Result<(), Failure> {
    let record: RecordId = id.parse().map_err(Failure::usage)?;
    if !speed.is_finite() || speed < 0.0 {
        return Err(Failure::usage("--speed takes a number that is not negative"));
    }
    let recorded = read::recorded(&place.into(), record).map_err(cannot_tell)?;
    let recorded = recorded.ok_or_else(|| Failure::bad(format!("there is no call {id}")))?;
    not_recorded();
    match to {
        None => emit(&recorded, speed, out),
        Some(url) => compare(&recorded, &url, out),
    }
}

fn emit(recorded: &Recorded, speed: f64, out: &mut dyn Write) -> Result<(), Failure> {
    if recorded.response.is_empty() {
        return Err(Failure::bad("no answer was recorded for this call"));
    }
    for frame in &recorded.response {
        if speed > 0.0 {
            let pause = Duration::from_micros(frame.dt_us).div_f64(speed).min(LONGEST_PAUSE);
            std::thread::sleep(pause);
        }
        if out.write_all(&frame.bytes).and_then(|()| out.flush()).is_err() {
            // The reader has gone.
            return Ok(());
        }
    }
    Ok(())
}

fn compare(recorded: &Recorded, url: &str, out: &mut dyn Write) -> Result<(), Failure> {
    if recorded.request.is_empty() && recorded.method != "GET" {
        return Err(Failure::bad("the body of this request was not recorded"));
    }
    let (status, answer) = ask(recorded, url)?;
    let before: Vec<u8> = recorded.response.iter().flat_map(|frame| frame.bytes.iter().copied()).collect();
    let same_status = recorded.status == Some(u64::from(status));
    if same_status && before == answer {
        let _ = writeln!(out, "the same: status {status}, {} bytes", answer.len());
        return Ok(());
    }
    let _ = writeln!(out, "- recorded: status {}", recorded.status.map_or("none".to_owned(), |own| own.to_string()));
    let _ = writeln!(out, "+ {}: status {status}", printable(url));
    let (before, answer) = (String::from_utf8_lossy(&before), String::from_utf8_lossy(&answer));
    let mut shown = 0;
    let (mut old, mut new) = (before.lines(), answer.lines());
    loop {
        match (old.next(), new.next()) {
            (None, None) => break,
            (left, right) if left == right => {}
            (left, right) => {
                for (mark, line) in [('-', left), ('+', right)] {
                    if let Some(line) = line {
                        let _ = writeln!(out, "{mark} {}", printable(line));
                    }
                }
                shown += 1;
            }
        }
        if shown == LINES_SHOWN {
            let _ = writeln!(out, "… and perhaps more");
            break;
        }
    }
    Err(Failure::bad("the answers differ"))
}

fn ask(recorded: &Recorded, url: &str) -> Result<(u16, Vec<u8>), Failure> {
    let base = reqwest::Url::parse(url).map_err(|error| Failure::usage(format!("--to {url}: {error}")))?;
    let target = format!("{}{}", base.as_str().trim_end_matches('/'), recorded.path);
    let method = reqwest::Method::from_bytes(recorded.method.as_bytes()).map_err(cannot_tell)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(Failure::cannot_tell)?.block_on(async {
        let client = reqwest::Client::builder().timeout(ANSWER_WITHIN).no_proxy().build().map_err(cannot_tell)?;
        let mut request = client.request(method, &target).body(recorded.request.clone());
        if !recorded.request_type.is_empty() {
            request = request.header("content-type", &recorded.request_type);
        }
        let answer = request.send().await.map_err(|error| Failure::cannot_tell(format!("{target}: {error}")))?;
        let status = answer.status().as_u16();
        let body = answer.bytes().await.map_err(|error| Failure::cannot_tell(format!("{target}: {error}")))?;
        Ok((status, body.to_vec()))
    })
}
