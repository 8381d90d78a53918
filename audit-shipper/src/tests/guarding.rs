//! The file is still the file; the clock may go back.

use std::fs;
use std::time::Duration;

use super::support::{Bench, intent, outcome, refusal};
use crate::read::Verdict;
use crate::{Evidence, Moment};

/// The committer looks once a second by itself.
fn until_unhealthy(evidence: &Evidence) {
    for _ in 0..600 {
        if !evidence.is_healthy() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("nobody noticed");
}

#[test]
fn a_file_taken_away_behind_our_back_stops_all_acknowledgement() {
    type Change = fn(&std::path::Path);
    let changes: [(&str, Change); 4] = [
        ("was deleted", |path| fs::remove_file(path).unwrap()),
        ("was replaced", |path| {
            let copy = path.with_extension("copy");
            fs::copy(path, &copy).unwrap();
            fs::rename(copy, path).unwrap();
        }),
        ("was cut short", |path| fs::File::options().write(true).open(path).unwrap().set_len(8192).unwrap()),
        ("was changed", |path| {
            let bytes = fs::read(path).unwrap();
            let newest = bytes.iter().rposition(|&byte| byte != 0).unwrap();
            let mut changed = bytes;
            changed[newest] ^= 1;
            fs::write(path, changed).unwrap();
        }),
    ];
    std::thread::scope(|scope| {
        for (how, change) in changes {
            scope.spawn(move || {
                let bench = Bench::new();
                let evidence = bench.open();
                let mut producer = evidence.producer(0).unwrap();
                let id = producer.new_id();
                producer.refusal(id, &refusal()).commit.wait_blocking().unwrap();
                change(&bench.segment(1));
                until_unhealthy(&evidence);
                let error = producer.admit().unwrap_err().reason;
                // A replaced file is deleted, too, seen from the one that is open.
                assert!(error.contains(how) || (how == "was replaced" && error.contains("was deleted")), "{error}");
                let id = producer.new_id();
                assert!(producer.refusal(id, &refusal()).commit.wait_blocking().is_err());
            });
        }
    });
}

#[test]
fn a_clock_that_goes_back_takes_nothing_away() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut ids = Vec::new();
    for unix_us in [1_795_254_076_000_000, 1_795_000_000_000_000, 1_000_000, 1_795_254_077_000_000] {
        let mut permit = producer.admit().unwrap();
        ids.push(permit.id());
        let mut intent = intent();
        intent.at = Moment { unix_us, mono_us: 0 };
        producer.intent(&mut permit, &intent).commit.wait_blocking().unwrap();
        let mut outcome = outcome();
        outcome.at = Moment { unix_us: unix_us / 2, mono_us: 0 };
        producer.outcome(permit, &outcome).commit.wait_blocking().unwrap();
    }
    evidence.close().unwrap();
    assert!(ids.is_sorted());
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound, "{report}");
    let table = bench.search("kind:call", false);
    assert!(ids.iter().all(|id| table.contains(&id.to_string())), "{table}");
    drop((producer, evidence));
    drop(bench.open());
    assert_eq!(bench.verify().0, Verdict::Sound);
}
