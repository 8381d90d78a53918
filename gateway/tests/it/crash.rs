//! `kill -9` under load, again and again: what a client saw the end of has both records, what the model saw has an INTENT, and
//! what was open is closed as aborted by the next start.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::{Client, Gateway, POLICY, Setup, binary, chat_body, chat_request, stream_text, token};
use load_tests::mock_model::{self, Journal, MockOptions};

/// Streams in flight when the gateway is killed.
const STREAMS: usize = 200;
/// Kills; `SALLYPORT_CRASH_ROUNDS` asks for more.
const ROUNDS: usize = 20;

#[test]
fn nothing_that_was_acknowledged_is_lost() {
    let rounds = std::env::var("SALLYPORT_CRASH_ROUNDS").map_or(ROUNDS, |rounds| rounds.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("test.policy");
    std::fs::write(&policy, POLICY).unwrap();
    let data = directory.path().join("data");
    let mock = mock_model::spawn(MockOptions {
        say: Some("The number on file is 536-22-8145.".to_owned()),
        chunk: 6,
        between_tokens: Duration::from_millis(5),
        journal: Journal::in_memory(),
        ..MockOptions::default()
    })
    .unwrap();
    let start =
        || Gateway::start(&Setup { data: &data, policy: &policy, upstream: mock.addr(), cores: 2, extra: Vec::new() });

    let ended = Arc::new(Mutex::new(BTreeSet::new()));
    let mut token = String::new();
    for round in 0..rounds {
        let gateway = start();
        if token.is_empty() {
            token = self::token(&data, &["--user", "alice", "--group", "ml-apps", "--ttl", "24h"]);
        }
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..STREAMS)
            .map(|_| {
                let (token, ended, stop) = (token.clone(), Arc::clone(&ended), Arc::clone(&stop));
                let address = gateway.address;
                std::thread::spawn(move || stream_until_killed(address, &token, &ended, &stop))
            })
            .collect();
        // Not always at the same point of the streams' lives.
        std::thread::sleep(Duration::from_millis(700 + (round as u64 * 137) % 900));
        gateway.kill_dash_nine();
        stop.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().unwrap();
        }
    }
    // The last start closes what the last kill left open.
    assert_eq!(start().stop(), Some(0));

    let records = records(&data);
    let ended = ended.lock().unwrap();
    assert!(ended.len() > rounds, "only {} calls ended", ended.len());
    for id in ended.iter() {
        let record = records.get(id).unwrap_or_else(|| panic!("{id} was answered whole but is not in the evidence"));
        assert_eq!(record["ended_by"], "complete", "{id} was answered whole but its OUTCOME is {record}");
    }
    let mut seen = 0;
    for entry in mock.journal().entries() {
        let Some(id) = entry.request_id() else { panic!("the model got a request without an id") };
        assert!(records.contains_key(id), "the model saw {id} but there is no INTENT");
        seen += 1;
    }
    let open: Vec<_> = records.values().filter(|record| record["ended_by"].is_null()).collect();
    assert!(open.is_empty(), "calls without an end: {open:?}");
    let aborted = records.values().filter(|record| record["ended_by"] == "aborted").count();
    assert!(aborted > 0, "no kill ever hit an open call, so this test showed nothing");
    let verify = binary().args(["audit", "verify", "--data"]).arg(&data).output().unwrap();
    assert_eq!(verify.status.code(), Some(0), "{}", String::from_utf8_lossy(&verify.stdout));
    println!(
        "{rounds} kills: {} calls, {} ended whole, {seen} seen by the model, {aborted} aborted",
        records.len(),
        ended.len()
    );
}

fn stream_until_killed(address: SocketAddr, token: &str, ended: &Mutex<BTreeSet<String>>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let Some(mut client) = Client::try_connect(address) else { return };
        while let Some(answer) = client.try_answer_to(&chat_request(token, &chat_body("m", "hello", true))) {
            // A disk that others keep busy may not make room in time: then no call passes, which is what this is about.
            if answer.status == 503 && answer.text().contains("evidence_unavailable") {
                std::thread::sleep(Duration::from_millis(20));
                continue;
            }
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert!(stream_text(&answer.text()).contains("[US_SSN]"), "{}", answer.text());
            ended.lock().unwrap().insert(answer.request_id());
            if stop.load(Ordering::Relaxed) {
                return;
            }
        }
    }
}

fn records(data: &std::path::Path) -> BTreeMap<String, serde_json::Value> {
    let search = binary()
        .args(["audit", "search", "--json", "--limit", "10000000", "kind:call", "--data"])
        .arg(data)
        .output()
        .unwrap();
    assert!(search.status.success(), "{}", String::from_utf8_lossy(&search.stderr));
    let lines = String::from_utf8(search.stdout).unwrap();
    let records = lines.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    records.map(|record| (record["id"].as_str().unwrap().to_owned(), record)).collect()
}
