//! A disk that fails or fills up under the real threads: what was acknowledged is there at the next start.

use std::sync::Arc;
use std::time::Duration;

use super::crashes::read_all;
use super::disk::{Fault, SimulatedDisk};
use crate::tests::support::{Bench, intent, outcome, refusal};
use crate::wal::disk::Disk;
use crate::wal::format::{Entries, EntryKind};
use crate::{Commit, Durability, Evidence, EvidenceError, OnFailure, RecordId};

/// Starts until it succeeds: while calls fail, a start may, too, but it must never call that damage. None if a start needs
/// more calls in a row than succeed.
fn open_at_last(bench: &Bench, disk: &Arc<dyn Disk>) -> Option<Evidence> {
    for _ in 0..50 {
        match Evidence::open_on(bench.options.clone(), Arc::clone(disk)) {
            Ok(evidence) => return Some(evidence),
            Err(EvidenceError::Io { .. } | EvidenceError::Poisoned(_)) => {}
            Err(error) => panic!("a failing disk was taken for something else: {error}"),
        }
    }
    None
}

fn ids_in(disk: &Arc<dyn Disk>) -> Vec<String> {
    let leaf_id = |record: &Vec<u8>| {
        let leaf = Entries::new(record).find(|entry| entry.kind == EntryKind::Leaf).unwrap();
        let leaf: serde_json::Value = serde_json::from_slice(leaf.data).unwrap();
        leaf["id"].as_str().unwrap().to_owned()
    };
    read_all(Arc::clone(disk)).iter().map(leaf_id).collect()
}

#[test]
fn an_error_on_every_nth_call_loses_nothing_that_was_acknowledged() {
    let mut survived_errors = 0;
    for n in (1..24).chain([31, 47, 64, 101]) {
        let mut bench = Bench::new();
        bench.options.durability = Durability::Strict;
        let simulated = SimulatedDisk::new(n);
        let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
        drop(Evidence::open_on(bench.options.clone(), Arc::clone(&disk)).unwrap());
        simulated.set(Fault::FailEvery(n));
        let mut acknowledged: Vec<RecordId> = Vec::new();
        if let Some(evidence) = open_at_last(&bench, &disk) {
            let mut producer = evidence.producer(0).unwrap();
            for _ in 0..40 {
                let id = producer.new_id();
                match producer.refusal(id, &refusal()).commit.wait_blocking() {
                    Ok(_) => acknowledged.push(id),
                    Err(EvidenceError::QueueFull) => std::thread::sleep(Duration::from_millis(1)),
                    Err(_) => break,
                }
            }
            survived_errors += u64::from(evidence.status().healthy && evidence.status().last_error.is_some());
            drop((producer, evidence));
        }
        simulated.set(Fault::None);
        let evidence = Evidence::open_on(bench.options.clone(), Arc::clone(&disk)).unwrap();
        assert!(evidence.status().healthy);
        drop(evidence);
        let found = ids_in(&disk);
        for id in &acknowledged {
            assert!(found.contains(&id.to_string()), "n = {n}: {id} was acknowledged and is gone");
        }
        let mut once = found.clone();
        once.sort();
        once.dedup();
        assert_eq!(once.len(), found.len(), "n = {n}: a record written twice is found once");
    }
    assert!(survived_errors > 0, "some errors are survived by going to the next segment");
}

#[test]
fn a_full_disk_stops_admission_keeps_its_promises_and_recovers() {
    let mut bench = Bench::new();
    bench.options.durability = Durability::Strict;
    let simulated = SimulatedDisk::new(1);
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let evidence = Evidence::open_on(bench.options.clone(), Arc::clone(&disk)).unwrap();
    let mut producer = evidence.producer(0).unwrap();
    simulated.set(Fault::Full);
    let mut commits: Vec<(RecordId, Commit)> = Vec::new();
    // Fill what there is; calls that were let in before it was full are open meanwhile.
    let mut open = Vec::new();
    let refused = loop {
        match producer.admit() {
            Ok(mut permit) => {
                let receipt = producer.intent(&mut permit, &intent());
                receipt.commit.wait_blocking().unwrap();
                let id = producer.new_id();
                let receipt = producer.refusal(id, &refusal());
                commits.push((id, receipt.commit));
                if open.len() < 20 { open.push(permit) } else { drop(permit) }
            }
            Err(unavailable) if unavailable.reason.contains("queue") => std::thread::sleep(Duration::from_millis(1)),
            Err(unavailable) => break unavailable,
        }
    };
    assert!(refused.reason.contains("full") || refused.reason.contains("room"), "{refused}");
    assert!(refused.retry_after_s > 0);
    // What was admitted can be closed, on the full disk.
    for permit in open {
        let receipt = producer.outcome(permit, &outcome());
        commits.push((receipt.id, receipt.commit));
    }
    let mut acknowledged = Vec::new();
    for (id, commit) in commits {
        match commit.wait_blocking() {
            Ok(_) => acknowledged.push(id),
            Err(EvidenceError::QueueFull) => {}
            Err(error) => panic!("{error}"),
        }
    }
    simulated.set(Fault::None);
    // Room is made, and calls are let in again.
    while producer.admit().is_err() {
        std::thread::sleep(Duration::from_millis(20));
    }
    evidence.close().unwrap();
    let found = ids_in(&disk);
    assert!(acknowledged.iter().all(|id| found.contains(&id.to_string())));
}

#[test]
fn calls_go_on_unrecorded_only_where_that_is_asked_for_and_are_counted() {
    let mut bench = Bench::new();
    bench.options.durability = Durability::Strict;
    bench.options.on_failure = OnFailure::Continue;
    let simulated = SimulatedDisk::new(3);
    let disk: Arc<dyn Disk> = Arc::new(simulated.clone());
    let evidence = Evidence::open_on(bench.options.clone(), Arc::clone(&disk)).unwrap();
    let mut producer = evidence.producer(0).unwrap();
    // A full disk: what does not fit is counted, and the count is written once there is room.
    simulated.set(Fault::Full);
    let mut unrecorded = 0;
    while unrecorded < 5 {
        let mut permit = producer.admit().unwrap();
        let intent = producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
        producer.outcome(permit, &outcome()).commit.wait_blocking().unwrap();
        unrecorded += u64::from(intent.index.is_none());
    }
    simulated.set(Fault::None);
    assert_eq!(evidence.status().lost, 10);
    // A log that cannot be written at all any more.
    simulated.set(Fault::FailEvery(1));
    for _ in 0..3 {
        let mut permit = producer.admit().unwrap();
        assert_eq!(producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap().index, None);
        assert_eq!(producer.outcome(permit, &outcome()).commit.wait_blocking().unwrap().index, None);
    }
    assert!(evidence.status().lost >= 16);
    assert!(evidence.close().is_err());
    simulated.set(Fault::None);
    drop((producer, evidence));
    drop(Evidence::open_on(bench.options.clone(), Arc::clone(&disk)).unwrap());
    assert!(!ids_in(&disk).is_empty());
}
