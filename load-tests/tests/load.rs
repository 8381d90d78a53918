//! The load generator against the mock model. Counts only: the machine may be slow, the arithmetic may not be wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::num::NonZeroU64;
use std::time::Duration;

use bytes::Bytes;
use load_tests::load::{Arrivals, Plan, Report, Target, run};
use load_tests::mock_model::{Fail, FailKind, Journal, MockHandle, MockOptions, spawn};

const STALL: Duration = Duration::from_millis(400);

fn mock(fail: Option<(u64, FailKind)>) -> MockHandle {
    let fail = fail.map(|(every, how)| Fail { every: NonZeroU64::new(every).unwrap(), how });
    spawn(MockOptions { fail, ..MockOptions::default() }).unwrap()
}

fn plan(mock: &MockHandle, arrivals: Arrivals, stream: bool) -> Plan {
    let target = Target::new(&format!("{}/v1/chat/completions", mock.url())).unwrap();
    let body = format!(r#"{{"model":"m","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#);
    let mut plan = Plan::new(target, arrivals, Duration::from_millis(500), Bytes::from(body));
    plan.stream = stream;
    plan
}

fn open(rate: f64, connections: Option<usize>) -> Arrivals {
    Arrivals::Open { rate, connections }
}

fn assert_all_accounted_for(report: &Report) {
    assert_eq!(report.due, report.ok + report.other_status + report.failed + report.dropped);
    assert_eq!(report.unaccounted, 0);
}

#[test]
fn a_stall_shows_in_corrected_percentiles() {
    // One connection and a stall on requests 40 and 80: without correction two requests are slow, whatever the load.
    let mock = mock(Some((40, FailKind::Stall(STALL))));
    let report = run(plan(&mock, open(200.0, Some(1)), false)).unwrap();
    assert_all_accounted_for(&report);
    assert_eq!((report.due, report.ok), (100, 100));
    let (corrected, uncorrected) = report.slower_than(100_000_000);
    // The stall covers 400 of the 500 ms, so most requests after it waited for more than 100 ms.
    assert!(uncorrected >= 2, "{report}");
    assert!(corrected >= 2 * uncorrected, "corrected {corrected}, uncorrected {uncorrected}\n{report}");
}

#[test]
fn an_open_model_does_not_wait() {
    // Every request stalls, none may hold up the next: all are in flight at once.
    let mock = mock(Some((1, FailKind::Stall(STALL))));
    let mut plan = plan(&mock, open(100.0, None), false);
    plan.duration = Duration::from_millis(200);
    let report = run(plan).unwrap();
    assert_eq!((report.due, report.ok, mock.requests_seen()), (20, 20, 20));
}

#[test]
fn drops_are_counted_not_sent() {
    let mock = mock(Some((1, FailKind::Stall(Duration::from_secs(3600)))));
    let mut plan = plan(&mock, open(100.0, None), false);
    (plan.in_flight_max, plan.timeout) = (5, Duration::from_secs(2));
    let report = run(plan).unwrap();
    assert_all_accounted_for(&report);
    assert_eq!((report.due, report.failed, report.dropped), (50, 5, 45));
    assert_eq!(report.failures.get("timeout"), Some(&5));
    assert_eq!(mock.requests_seen(), 5);
}

#[test]
fn streams_have_first_events_and_an_end() {
    let mock = mock(Some((10, FailKind::CutAfter(3))));
    let mut report = run(plan(&mock, open(100.0, None), true)).unwrap();
    assert_all_accounted_for(&report);
    assert_eq!((report.due, report.ok, report.failed), (50, 45, 5));
    assert_eq!(report.first_event.unwrap().count, 45);
    assert!(report.events >= 45 * 4);
    assert!(!report.judge(&["errors<=0%".parse().unwrap()]));
    assert!(report.judge(&["errors<=10%".parse().unwrap(), "p50<1h".parse().unwrap()]));
}

#[test]
fn statuses_are_told_apart_and_warmup_is_left_out() {
    // One connection keeps the order, so that the warm-up gets exactly its share of failures.
    let mock = mock(Some((2, FailKind::Status(503))));
    let mut plan = plan(&mock, open(100.0, Some(1)), true);
    plan.warmup = Duration::from_millis(100);
    let report = run(plan.clone()).unwrap();
    assert_all_accounted_for(&report);
    assert_eq!((report.due, mock.requests_seen()), (50, 60));
    assert_eq!((report.statuses[&200], report.statuses[&503], report.other_status), (25, 25, 25));
    plan.accept = vec![503];
    assert_eq!(run(plan).unwrap().ok, 50);
}

#[test]
fn closed_model_keeps_its_callers_busy() {
    let mock = mock(Some((1, FailKind::Stall(Duration::from_millis(5)))));
    let report = run(plan(&mock, Arrivals::Closed { concurrency: 3 }, false)).unwrap();
    assert_all_accounted_for(&report);
    assert!(report.ok >= 3 && report.ok == mock.requests_seen(), "{report}");
    assert!(report.warnings.iter().any(|w| w.contains("closed model")));
}

#[test]
fn a_dead_server_is_a_failure_per_request() {
    let mock = mock(None);
    let plan = plan(&mock, open(100.0, None), false);
    mock.shutdown();
    let report = run(plan).unwrap();
    assert_all_accounted_for(&report);
    assert_eq!((report.due, report.failed), (50, 50));
    assert_eq!(report.failures.get("connect: connection refused"), Some(&50));
}

#[test]
fn headers_and_journal() {
    let server = spawn(MockOptions { journal: Journal::in_memory(), ..MockOptions::default() }).unwrap();
    let path = std::env::temp_dir().join(format!("load-journal-{}", std::process::id()));
    let mut plan = plan(&server, open(100.0, None), false);
    plan.journal = Some(path.clone());
    plan.headers.push(("authorization".parse().unwrap(), "Bearer t".parse().unwrap()));
    run(plan).unwrap();
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(lines.lines().filter(|line| line.ends_with(" - 200")).count(), 50);
    let entries = server.journal().entries();
    assert_eq!(entries.len(), 50);
    assert!(entries.iter().all(|e| e.header("authorization") == Some("Bearer t") && e.header("host").is_some()));
}
