//! The load generator against the mock model. Counts only: the machine may be slow, the arithmetic may not be wrong.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::{Arc, mpsc};
use std::time::Duration;

use bytes::Bytes;
use load_tests::agents;
use load_tests::load::{Arrivals, Mix, Part, Plan, Profile, Recorded, Report, Target, run};
use load_tests::mock_model::{Fail, FailKind, Journal, MockHandle, MockOptions, spawn};
use socket2::{Domain, Socket, Type};

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
    // One connection and a stall on requests 40 and 80, due at 195 and 395 ms: what is due behind them cannot be sent before they end,
    // at 595 and 995 ms or later. That bounds every wait from below, however slow the machine is.
    let mock = mock(Some((40, FailKind::Stall(STALL))));
    let report = run(plan(&mock, open(200.0, Some(1)), false)).unwrap();
    assert_all_accounted_for(&report);
    assert_eq!((report.due, report.ok), (100, 100));
    // Request 80 was due 200 ms before the first stall could end; all from 40 on waited that long.
    assert!(report.slower_than(190_000_000).0 >= 61, "{report}");
    // What they waited before they were sent, 22.8 s in all, is in the corrected figures alone.
    let (corrected, uncorrected) = (report.latency.unwrap().mean, report.service.unwrap().mean);
    assert!(corrected - uncorrected >= 225e6, "corrected {corrected}, uncorrected {uncorrected}\n{report}");
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
    // They were sent: a busy server may look at them later.
    while mock.requests_seen() < 5 {
        std::thread::sleep(Duration::from_millis(5));
    }
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
    // Bound and not listening: the port is nobody else's meanwhile.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let target = Target::new(&format!("http://{}", socket.local_addr().unwrap().as_socket().unwrap())).unwrap();
    let report = run(Plan::new(target, open(100.0, None), Duration::from_millis(500), Bytes::new())).unwrap();
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

#[test]
fn every_streaming_api_comes_to_its_end() {
    let server = spawn(MockOptions { usage: Some((3, 41)), ..MockOptions::default() }).unwrap();
    for (path, body) in [
        (
            "/v1/chat/completions",
            r#"{"model":"m","stream":true,"stream_options":{"include_usage":true},"messages":[]}"#,
        ),
        ("/v1/completions", r#"{"model":"m","stream":true,"prompt":"hi"}"#),
        ("/v1/responses", r#"{"model":"m","stream":true,"input":"hi"}"#),
        ("/v1/messages", r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#),
        ("/generate_stream", r#"{"inputs":"hi"}"#),
        ("/v2/models/m/generate_stream", r#"{"text_input":"hi"}"#),
    ] {
        let mut plan = plan(&server, open(100.0, None), false);
        let line = format!("{{\"path\":\"{path}\",\"body\":{body}}}");
        (plan.mix, plan.duration) = (Some(Arc::new(Mix::parse(&line, "/").unwrap())), Duration::from_millis(100));
        let report = run(plan).unwrap();
        assert_eq!((report.due, report.ok), (10, 10), "{path}: {report}");
        assert_eq!(report.first_token.unwrap().count, 10, "{path}");
        assert!(report.between_tokens.unwrap().count > report.per_token.unwrap().count, "{path}");
        // Triton has no usage: its events are counted.
        let tokens = if path.starts_with("/v2") { report.output_tokens > 10 } else { report.output_tokens == 410 };
        assert!(tokens, "{path}: {}", report.output_tokens);
    }
}

#[test]
fn tokens_take_turns_and_recorded_traffic_keeps_its_order() {
    let server = spawn(MockOptions { journal: Journal::in_memory(), ..MockOptions::default() }).unwrap();
    let line = |at: u64, model: &str| {
        format!(
            r#"{{"record":{{"leaf":{{"t":"intent","time":"2026-05-01T10:00:00.{:06}Z"}}}},"envelope":{{"path":"/v1/embeddings"}},"request":{{"events":[[0,"{{\"model\":\"{model}\",\"input\":\"x\"}}"]]}}}}"#,
            at * 1000
        )
    };
    let recorded = Recorded::parse(&[line(200, "c"), line(0, "a"), line(100, "b")].join("\n")).unwrap();
    let profile: Profile = recorded.profile(2.0).unwrap();
    let arrivals = Arrivals::Scheduled { profile, connections: Some(1) };
    let target = Target::new(&server.url()).unwrap();
    let mut plan = Plan::new(target, arrivals, Duration::ZERO, Bytes::new());
    (plan.mix, plan.tokens) = (Some(Arc::new(recorded.mix())), ["one".to_owned(), "two".to_owned()].into());
    let report = run(plan).unwrap();
    assert_all_accounted_for(&report);
    assert_eq!((report.due, report.ok), (3, 3), "{report}");
    let seen: Vec<(String, Option<String>)> = server
        .journal()
        .entries()
        .iter()
        .map(|entry| {
            let body: serde_json::Value = serde_json::from_slice(&entry.body).unwrap();
            (body["model"].as_str().unwrap().to_owned(), entry.header("authorization").map(str::to_owned))
        })
        .collect();
    let expected = [("a", "Bearer one"), ("b", "Bearer two"), ("c", "Bearer one")];
    assert_eq!(seen, expected.map(|(model, token)| (model.to_owned(), Some(token.to_owned()))));
}

#[test]
fn agents_share_one_schedule_and_their_sum_is_whole() {
    let server = mock(None);
    let agents: Vec<_> = (0..3)
        .map(|_| {
            let (told, address) = mpsc::channel();
            // They serve until the program ends.
            std::thread::spawn(move || {
                agents::serve("127.0.0.1:0".parse().unwrap(), "s", |at| told.send(at).unwrap()).unwrap();
            });
            address.recv().unwrap()
        })
        .collect();
    let mut plan = plan(&server, open(100.0, None), true);
    plan.warmup = Duration::from_millis(100);
    let refused = agents::coordinate(&plan, &agents, "wrong").unwrap_err().to_string();
    assert!(refused.contains("the secret is wrong"), "{refused}");
    let report = agents::coordinate(&plan, &agents, "s").unwrap();
    assert_all_accounted_for(&report);
    assert_eq!((report.due, report.ok, server.requests_seen()), (50, 50, 60), "{report}");
    assert_eq!(report.latency.unwrap().count, 50);
    assert_eq!(report.timeline.iter().map(|moment| moment.ok).sum::<u64>(), 50);
    plan.part = Part { index: 1, of: 1 };
    assert!(run(plan).is_err(), "a part that is none");
}

#[test]
fn an_agent_is_not_open_to_everybody() {
    let error = agents::serve("0.0.0.0:0".parse().unwrap(), "", |_| panic!("it listens")).unwrap_err();
    assert!(error.to_string().contains("--secret"), "{error}");
}
