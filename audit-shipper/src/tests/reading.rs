//! Search and show, as people see them.

use super::support::{Bench, call, refusal};
use crate::model::{Note, NoteKind};
use crate::read::Verdict;
use crate::{Caller, RecordId};

fn log() -> (Bench, RecordId, RecordId) {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let called = call(&mut producer);
    let refused = producer.new_id();
    producer.refusal(refused, &refusal()).commit.wait_blocking().unwrap();
    let note = Note {
        actor: Caller { subject: "bob@example.com".to_owned(), ..Caller::default() },
        about: Some(called),
        text: "checked with \u{1b}[31mlegal".to_owned(),
        ..Note::new(NoteKind::Approval, "approved")
    };
    producer.note(&note).commit.wait_blocking().unwrap();
    evidence.close().unwrap();
    (bench, called, refused)
}

/// Ids and times that differ from run to run are replaced.
fn calm(text: &str, ids: &[(RecordId, &str)]) -> String {
    let mut text = text.to_owned();
    for (id, name) in ids {
        text = text.replace(&id.to_string(), &format!("{name:-<26}"));
    }
    text
}

#[test]
fn a_table_reads_like_this() {
    let (bench, called, refused) = log();
    let names = [(called, "id-of-call"), (refused, "id-of-refusal")];
    insta::assert_snapshot!(calm(&bench.search("kind:call", false), &names));
    insta::assert_snapshot!(calm(&bench.search("kind:refusal", true), &names));
}

#[test]
fn every_term_finds_and_excludes() {
    let (bench, called, refused) = log();
    let (call, refusal) = (called.to_string(), refused.to_string());
    for (query, finds_call, finds_refusal) in [
        ("", true, true),
        ("subject:alice@example.com", true, false),
        ("subject:MALLORY", false, true),
        ("subject:mal*", false, true),
        ("model:gpt-secret-project", true, true),
        ("decision:deny", false, true),
        ("kind:call", true, false),
        ("status:403", false, true),
        ("status:2xx", true, false),
        ("rule:mask-ssn", true, false),
        ("masked:us_ssn", true, false),
        ("trace:abababababababababababababababab", true, true),
        ("since:2026-11-21T00:00:00Z", true, true),
        ("since:2999-01-01T00:00:00Z", false, false),
        ("subject:alice@example.com decision:deny", false, false),
    ] {
        let table = bench.search(query, false);
        assert_eq!((table.contains(&call), table.contains(&refusal)), (finds_call, finds_refusal), "{query}: {table}");
    }
    assert!(bench.search(&format!("id:{call}"), false).contains(&call));
    assert_eq!(bench.search("subject:nobody", false), "nothing found\n");
}

#[test]
fn a_page_tells_the_whole_story() {
    let (bench, called, refused) = log();
    let page = bench.show(called);
    let note = page.lines().find(|line| line.contains("approved by bob@example.com")).unwrap();
    assert!(note.contains("checked with ·[31mlegal"), "terminals are not told to do anything: {note}");
    let without_note: Vec<&str> = page.lines().filter(|line| *line != note).collect();
    insta::assert_snapshot!(calm(&without_note.join("\n"), &[(called, "id-of-call")]));
    insta::assert_snapshot!(calm(&bench.show(refused), &[(refused, "id-of-refusal")]));
}

#[test]
fn the_report_of_a_sound_log_reads_like_this() {
    let (bench, ..) = log();
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound);
    insta::assert_snapshot!(report);
}

#[test]
fn without_keys_the_page_says_so() {
    let (bench, called, _) = log();
    std::fs::remove_file(bench.dir.path().join("keys/keystore.key")).unwrap();
    let page = bench.show(called);
    assert!(!page.contains("alice") && page.contains("encrypted fields cannot be shown"), "{page}");
    assert!(bench.search("", false).contains("encrypted fields stay empty"));
}

#[test]
fn verifying_beside_a_busy_gateway_never_cries_wolf() {
    for durability in [crate::Durability::Strict, crate::Durability::Crash] {
        let mut bench = Bench::new();
        bench.options.durability = durability;
        let evidence = bench.open();
        let mut producer = evidence.producer(0).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    call(&mut producer);
                }
            });
            let reports: Vec<_> = (0..3).map(|_| bench.verify()).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            for (verdict, report) in reports {
                assert_eq!(verdict, Verdict::Sound, "{report}");
            }
        });
    }
}
