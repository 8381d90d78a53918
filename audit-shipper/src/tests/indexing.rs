//! The index finds what a scan finds, whatever part of the log it covers; by id without reading the log.

use std::fs;

use super::support::{Bench, call, intent, outcome, refusal};
use crate::read::{self, Follower, Query, SearchOptions};
use crate::{Moment, Producer, RecordId};

/// Fills segments with calls of several people on several days.
fn fill(producer: &mut Producer, calls: u64) -> Vec<RecordId> {
    (0..calls)
        .map(|number| {
            let mut permit = loop {
                if let Ok(permit) = producer.admit() {
                    break permit;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            };
            let id = permit.id();
            let mut intent = intent();
            intent.caller.subject = format!("person-{}", number % 7);
            intent.at = Moment { unix_us: 1_795_000_000_000_000 + number * 60_000_000, mono_us: 0 };
            intent.request.path = "x".repeat(1500);
            producer.intent(&mut permit, &intent).commit.wait_blocking().unwrap();
            let mut outcome = outcome();
            outcome.status = if number % 5 == 0 { 502 } else { 200 };
            producer.outcome(permit, &outcome).commit.wait_blocking().unwrap();
            id
        })
        .collect()
}

fn found(bench: &Bench, query: &str, before: Option<u64>) -> Vec<serde_json::Value> {
    let mut out = Vec::new();
    let options = SearchOptions { json: true, limit: 20, before };
    read::search(&bench.source(), &Query::parse(query).unwrap(), options, &mut out).unwrap();
    String::from_utf8(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn the_index_and_a_scan_find_the_same_and_pages_follow_each_other() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut ids = fill(&mut producer, 300);
    // Open at the end of what is indexed, and ended behind it.
    let mut open = producer.admit().unwrap();
    ids.push(open.id());
    producer.intent(&mut open, &intent()).commit.wait_blocking().unwrap();
    ids.extend(fill(&mut producer, 300));
    producer.outcome(open, &outcome()).commit.wait_blocking().unwrap();
    let id = producer.new_id();
    producer.refusal(id, &refusal()).commit.wait_blocking().unwrap();
    let queries = [
        "",
        "subject:PERSON-3",
        "subject:pers*",
        "subject:person-3 status:502",
        "status:5xx",
        "kind:refusal",
        "kind:boot",
        "model:gpt-secret-project until:2026-11-19T00:00:00Z",
        "since:2026-11-18T09:00:00Z until:2026-11-18T12:00:00Z rule:mask-ssn masked:us_ssn",
        "subject:alice@example.com",
        "subject:nobody",
    ];
    let by_scan = queries.map(|query| found(&bench, query, None));
    let page_by_scan = found(&bench, "subject:person-3", by_scan[1][0]["index"].as_u64());
    let shown = ids.iter().step_by(97).map(|id| bench.show(*id)).collect::<Vec<_>>();
    assert!(read::update_index(&bench.source()).unwrap() > 100);
    assert_eq!(read::update_index(&bench.source()).unwrap(), 0, "nothing is new");
    assert!(bench.log().join("index/ids/00000001.ids").exists());
    for (query, expected) in queries.iter().zip(&by_scan) {
        assert_eq!(&found(&bench, query, None), expected, "{query}");
    }
    assert!(by_scan[1].len() == 20 && page_by_scan.len() == 20);
    assert_eq!(found(&bench, "subject:person-3", by_scan[1][0]["index"].as_u64()), page_by_scan);
    assert_eq!(ids.iter().step_by(97).map(|id| bench.show(*id)).collect::<Vec<_>>(), shown);
    // Fresh records are found at once, and followed.
    let mut follower = Follower::new(&bench.source(), &Query::parse("subject:alice@example.com").unwrap()).unwrap();
    let fresh = call(&mut producer);
    assert!(bench.search("subject:alice@example.com", false).contains(&fresh.to_string()));
    let mut out = Vec::new();
    assert_eq!(follower.poll(false, &mut out).unwrap(), 1);
    assert!(String::from_utf8(out).unwrap().contains(&fresh.to_string()));
    assert_eq!(follower.poll(false, &mut Vec::new()).unwrap(), 0);
    // Nothing of it is to be read in the index; what is damaged or gone costs time, not records.
    for entry in walk(&bench.log().join("index")) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!bytes.windows(7).any(|window| window == b"person-" || window == b"PERSON-"), "{}", entry.display());
    }
    fs::remove_file(bench.log().join("index/ids/00000001.ids")).unwrap();
    assert_eq!(bench.show(ids[0]), shown[0]);
    read::drop_index(&bench.source()).unwrap();
    assert_eq!(found(&bench, "status:5xx", None), by_scan[4]);
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}
