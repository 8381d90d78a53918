//! The index finds what a scan finds, whatever part of the log it covers; by id without reading the log.

use std::fs;

use super::support::{Bench, call, caller, chunk, intent, outcome, refusal};
use crate::read::{self, ExportFormat, Follower, Past, Query, SearchOptions, Verdict};
use crate::{Detail, Erasure, Evidence, EvidenceError, Moment, Note, NoteKind, Producer, RecordId, Role};

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

/// The index never goes beyond the newest checkpoint.
fn until_signed(evidence: &crate::Evidence) {
    while evidence.status().tree_size < evidence.status().durable {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
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
    until_signed(&evidence);
    assert!(read::update_index(&bench.source(), None).unwrap() > 100);
    assert_eq!(read::update_index(&bench.source(), None).unwrap(), 0, "nothing is new");
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

#[test]
fn what_is_derived_is_made_anew_by_the_writer_alone() {
    let bench = Bench::new();
    let evidence = bench.open();
    let id = call(&mut evidence.producer(0).unwrap());
    until_signed(&evidence);
    read::update_index(&bench.source(), Some(true)).unwrap();
    let place = bench.log().join("index/place");
    let before = fs::read(&place).unwrap();
    assert!(matches!(Evidence::open_anew(bench.options.clone()), Err(EvidenceError::Locked { .. })));
    assert_eq!(fs::read(&place).unwrap(), before, "another writer's index was touched");
    drop(evidence);
    let (evidence, text) = Evidence::open_anew(bench.options.clone()).unwrap();
    assert!(text && !place.exists());
    until_signed(&evidence);
    assert!(read::update_index(&bench.source(), Some(text)).unwrap() >= 2);
    evidence.close().unwrap();
    assert!(bench.search("kind:call", false).contains(&id.to_string()));
}

#[test]
fn what_was_said_is_found_by_its_words_with_an_index_and_without() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let id = call(&mut producer).to_string();
    fill(&mut producer, 20);
    let queries = [
        "text:wombat",
        "text:\"SAYS wombat\"",
        "text:wom*",
        "text:womb",
        "text:\"wombat says\"",
        "text:hello subject:alice*",
    ];
    let by_scan = queries.map(|query| found(&bench, query, None));
    assert_eq!(by_scan.each_ref().map(Vec::len), [1, 1, 1, 0, 0, 1]);
    assert_eq!(by_scan[0][0]["id"], id.as_str());
    until_signed(&evidence);
    assert!(read::update_index(&bench.source(), Some(false)).unwrap() > 20);
    assert_eq!(queries.map(|query| found(&bench, query, None)), by_scan, "not indexed");
    assert!(read::update_index(&bench.source(), Some(true)).unwrap() > 20, "made anew");
    assert_eq!(read::update_index(&bench.source(), None).unwrap(), 0);
    assert_eq!(queries.map(|query| found(&bench, query, None)), by_scan, "indexed");
    for entry in walk(&bench.log().join("index")) {
        let bytes = fs::read(&entry).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"wombat"), "{}", entry.display());
    }
    // Behind the index.
    let fresh = call(&mut producer).to_string();
    assert!(found(&bench, "text:wombat", None).iter().any(|row| row["id"] == fresh.as_str()));
}

#[test]
fn a_start_goes_on_where_the_index_ends_and_knows_what_was_before() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    fill(&mut producer, 300);
    // Open at the index's end, with payload on both sides of it.
    let mut open = producer.admit().unwrap();
    let id = open.id();
    producer.intent(&mut open, &intent()).commit.wait_blocking().unwrap();
    producer.payload(&mut open, &chunk(Role::Request, "before")).unwrap().commit.wait_blocking().unwrap();
    let erasure = Erasure::Subject { tenant: caller().tenant, subject: "person-3".to_owned() };
    evidence.erase(&mut producer, &erasure, &caller(), "a test").unwrap();
    until_signed(&evidence);
    assert!(read::update_index(&bench.source(), None).unwrap() > 100);
    producer.payload(&mut open, &chunk(Role::Request, "behind")).unwrap().commit.wait_blocking().unwrap();
    until_signed(&evidence);
    let killed = bench.copy();
    // As a kill leaves it: nobody closes the call.
    std::mem::forget(open);
    drop((producer, evidence));
    let size = read_size(&killed);
    // What is before the index's end is not read: a start does not see what only verify can see there.
    let changed = killed.copy();
    let mut bytes = fs::read(changed.segment(1)).unwrap();
    bytes[5000] ^= 1;
    fs::write(changed.segment(1), bytes).unwrap();
    drop(changed.open());
    assert_eq!(changed.verify().0, Verdict::Tampered);
    // With the index and without, a start comes to the same.
    let whole = killed.copy();
    read::drop_index(&whole.source()).unwrap();
    for bench in [&killed, &whole] {
        let evidence = bench.open();
        assert_eq!(evidence.status().aborted_at_start, 1);
        evidence.close().unwrap();
        let (verdict, report) = bench.verify();
        assert_eq!(verdict, Verdict::Sound, "{report}");
        assert!(read_size(bench) > size);
        assert!(bench.show(id).contains("ABORTED"), "{}", bench.show(id));
        let abort = found(bench, &format!("id:{id}"), None);
        assert_eq!(abort[0]["ended_by"], "aborted");
    }
    // An index that leads astray costs time only.
    let astray = whole.copy();
    let place = killed.log().join("index/place");
    fs::create_dir_all(astray.log().join("index")).unwrap();
    fs::copy(place, astray.log().join("index/place")).unwrap();
    drop(astray.open());
    assert_eq!(astray.verify().0, Verdict::Sound, "{}", astray.verify().1);
}

/// Size of the newest signed tree.
fn read_size(bench: &Bench) -> u64 {
    fs::read_to_string(bench.log().join("checkpoint")).unwrap().lines().nth(1).unwrap().parse().unwrap()
}

#[test]
fn what_happened_to_a_request_is_found_by_its_id() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let about = RecordId((1_795_009_600_000 << 80) + 7);
    let write = |producer: &mut Producer, action: &'static str| {
        let mut note = Note::new(NoteKind::Approval, action);
        (note.actor, note.text, note.about) = (caller(), format!("because of {action}"), Some(about));
        note.details = vec![("rule".into(), Detail::Name("people".to_owned()))];
        producer.note(&note).commit.wait_blocking().unwrap();
    };
    write(&mut producer, "asked");
    fill(&mut producer, 10);
    let past = |kind| read::history_of(&bench.source(), kind, about).unwrap();
    let before = format!("{:?}", past(NoteKind::Approval));
    until_signed(&evidence);
    read::update_index(&bench.source(), None).unwrap();
    assert_eq!(format!("{:?}", past(NoteKind::Approval)), before);
    write(&mut producer, "approved");
    let mut permit = producer.admit().unwrap();
    let call = permit.id();
    let citing = crate::Intent { approval: Some(about), ..intent() };
    producer.intent(&mut permit, &citing).commit.wait_blocking().unwrap();
    producer.outcome(permit, &outcome()).commit.wait_blocking().unwrap();
    let happened = past(NoteKind::Approval);
    let [Past::Note(asked), Past::Note(approved), Past::Used { call: used_by, .. }] = happened.as_slice() else {
        panic!("{happened:?}")
    };
    assert_eq!((asked.action.as_str(), approved.action.as_str(), *used_by), ("asked", "approved", call));
    let (actor, text) = asked.opened.as_ref().unwrap();
    assert_eq!((actor.subject.as_str(), text.as_str()), (caller().subject.as_str(), "because of asked"));
    assert_eq!(asked.details["rule"], "people");
    assert!(past(NoteKind::Alert).iter().all(|past| matches!(past, Past::Used { .. })));
    assert!(read::history_of(&bench.source(), NoteKind::Approval, RecordId(about.0 + 1)).unwrap().is_empty());
}

fn walk(directory: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files.extend(walk(&path)) } else { files.push(path) }
    }
    files
}

/// A permit, when there is room.
fn admitted(producer: &mut Producer) -> crate::Permit {
    loop {
        match producer.admit() {
            Ok(permit) => return permit,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
}

/// The lines of an export by their ids, so that the order does not matter.
fn exported(bench: &Bench, query: &str) -> std::collections::BTreeMap<String, String> {
    let mut out = Vec::new();
    read::export(&bench.source(), &Query::parse(query).unwrap(), ExportFormat::JsonLines, &mut out).unwrap();
    let lines = String::from_utf8(out).unwrap();
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["record"]["leaf"]["id"].to_string();
    lines.lines().map(|line| (id(line), line.to_owned())).collect()
}

#[test]
fn exports_and_the_answer_to_a_person_are_the_same_with_the_index_and_without() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let ids = fill(&mut producer, 100);
    call(&mut producer);
    let id = producer.new_id();
    producer.refusal(id, &refusal()).commit.wait_blocking().unwrap();
    // One is open where the index ends, with payload before and behind, and ends behind it; one stays open.
    let mut permits = [(); 2].map(|()| admitted(&mut producer));
    for permit in &mut permits {
        producer.intent(permit, &intent()).commit.wait_blocking().unwrap();
        producer.payload(permit, &chunk(Role::Request, "before")).unwrap().commit.wait_blocking().unwrap();
    }
    fill(&mut producer, 30);
    until_signed(&evidence);
    let [ended, mut open] = permits;
    let finish = |producer: &mut Producer, mut ended: crate::Permit| {
        producer.payload(&mut ended, &chunk(Role::Response, "behind")).unwrap().commit.wait_blocking().unwrap();
        producer.outcome(ended, &outcome()).commit.wait_blocking().unwrap();
    };
    assert!(read::update_index(&bench.source(), None).unwrap() > 100);
    finish(&mut producer, ended);
    producer.payload(&mut open, &chunk(Role::Request, "still")).unwrap().commit.wait_blocking().unwrap();
    call(&mut producer);
    let day = "since:2026-11-18T11:30:00Z until:2026-11-18T11:50:00Z";
    let queries = [
        "subject:alice@example.com".to_owned(),
        "kind:refusal".to_owned(),
        format!("id:{}", ids[50]),
        day.to_owned(),
        format!("subject:person-3 {day}"),
        "subject:nobody".to_owned(),
        "kind:call".to_owned(),
    ];
    let person = |subject: &str| {
        let mut out = Vec::new();
        let written = read::dsar(&bench.source(), &caller().tenant, subject, &mut out).unwrap();
        let mut lines: Vec<String> = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        assert_eq!(lines.len() as u64, written);
        lines
    };
    let with_index = queries.each_ref().map(|query| exported(&bench, query));
    let of_alice = person("alice@example.com");
    assert_eq!(with_index.each_ref().map(|lines| !lines.is_empty()), [true, true, true, true, true, false, true]);
    assert!(of_alice.len() >= 4 && of_alice.iter().any(|line| line.contains("behind")));
    let erasure = Erasure::Subject { tenant: caller().tenant, subject: "person-3".to_owned() };
    read::drop_index(&bench.source()).unwrap();
    for (query, lines) in queries.iter().zip(&with_index) {
        assert_eq!(&exported(&bench, query), lines, "{query}");
    }
    assert_eq!(person("alice@example.com"), of_alice);
    // What was erased is told.
    evidence.erase(&mut producer, &erasure, &caller(), "a test").unwrap();
    until_signed(&evidence);
    read::update_index(&bench.source(), None).unwrap();
    let told = person("person-3");
    assert!(told.len() == 1 && told[0].contains("erasure"), "{told:?}");
}

#[test]
fn pages_are_the_same_after_many_small_updates_that_were_merged() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut open = Vec::new();
    for round in 0..10 {
        // Calls that begin in one update and end in another.
        let mut permit = admitted(&mut producer);
        producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
        open.push(permit);
        if round % 3 == 2 {
            producer.outcome(open.remove(0), &outcome()).commit.wait_blocking().unwrap();
        }
        fill(&mut producer, 20);
        until_signed(&evidence);
        read::update_index(&bench.source(), None).unwrap();
    }
    for permit in open {
        producer.outcome(permit, &outcome()).commit.wait_blocking().unwrap();
    }
    until_signed(&evidence);
    read::update_index(&bench.source(), None).unwrap();
    let all_pages = |query: &str| {
        let (mut rows, mut before) = (Vec::new(), None);
        loop {
            let page = found(&bench, query, before);
            let Some(first) = page.first() else { return rows };
            before = first["index"].as_u64();
            rows.extend(page.into_iter().rev());
        }
    };
    let queries = ["", "kind:call", "subject:person-3", "status:5xx subject:person-0", "subject:alice*"];
    let by_index = queries.map(all_pages);
    for rows in &by_index {
        let indices: Vec<_> = rows.iter().map(|row| row["index"].as_u64().unwrap()).collect();
        assert!(indices.is_sorted_by(|a, b| a > b) && indices.len() >= 5, "{indices:?}");
    }
    read::drop_index(&bench.source()).unwrap();
    assert_eq!(queries.map(all_pages), by_index);
}
