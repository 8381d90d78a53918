//! After an erasure nothing can be read any more, and everything is still proved.

use std::fs;
use std::path::Path;

use super::support::{Bench, call, caller, refusal};
use crate::read::{self, Verdict};
use crate::{Caller, Erasure, EvidenceError, Moment};

fn alice() -> Erasure {
    Erasure::Subject { tenant: caller().tenant, subject: caller().subject }
}

fn officer() -> Caller {
    Caller { subject: "dpo@example.com".to_owned(), ..Caller::default() }
}

fn files_with(directory: &Path, text: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, text));
        } else if fs::read(&path).unwrap().windows(text.len()).any(|window| window == text.as_bytes()) {
            found.push(path);
        }
    }
    found
}

#[test]
fn an_erased_person_cannot_be_read_and_the_log_is_sound() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let id = call(&mut producer);
    let other = producer.new_id();
    producer.refusal(other, &refusal()).commit.wait_blocking().unwrap();
    assert!(bench.show(id).contains("wombat"));
    let before = bench.copy();
    assert_eq!(evidence.erase(&mut producer, &alice(), &officer(), "Art. 17(1)(a)").unwrap(), 1);
    let later = call(&mut producer);
    evidence.close().unwrap();
    let page = bench.show(id);
    assert!(!page.contains("wombat") && !page.contains("alice") && page.contains(&id.to_string()), "{page}");
    assert!(bench.show(other).contains("mallory"), "others are not touched");
    assert!(bench.show(later).contains("alice"), "what comes later has a new key");
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert!(report.contains("erased (proved): the encrypted parts of 4 records; 1 key destroyed"), "{report}");
    assert!(files_with(bench.dir.path(), "alice").is_empty());
    drop((producer, evidence));
    // Neither an older keystore with the new master key nor the other way round opens anything; both copies do.
    let keystore = "keys/gw.example.com+ai/keystore";
    let newest = fs::read(bench.dir.path().join(keystore)).unwrap();
    fs::copy(before.dir.path().join(keystore), bench.dir.path().join(keystore)).unwrap();
    assert!(matches!(bench.try_open(), Err(EvidenceError::Keys(_))));
    // A whole old copy of the keys put back: verify says so, and the next start erases again.
    fs::copy(before.dir.path().join("keys/keystore.key"), bench.dir.path().join("keys/keystore.key")).unwrap();
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::CannotTell, "{report}");
    assert!(report.contains("an old copy was restored"), "{report}");
    assert!(bench.show(id).contains("wombat"));
    drop(bench.open());
    assert!(!bench.show(id).contains("wombat"));
    assert_ne!(fs::read(bench.dir.path().join(keystore)).unwrap(), newest);
}

#[test]
fn a_key_that_is_gone_without_a_record_is_not_called_erased() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    call(&mut producer);
    let plan = evidence.plan_erasure(&alice(), &officer(), "a test").unwrap();
    assert_eq!((plan.keys(), plan.notes.len()), (1, 1));
    evidence.carry_out(&plan).unwrap();
    evidence.close().unwrap();
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::CannotTell, "{report}");
    assert!(report.contains("lacks the key of 4 records, from record #1 on"), "{report}");
}

#[test]
fn a_start_completes_an_erasure_that_was_written_down_only() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let id = call(&mut producer);
    let plan = evidence.plan_erasure(&alice(), &officer(), "a test").unwrap();
    for note in &plan.notes {
        producer.note(note).commit.wait_blocking().unwrap();
    }
    evidence.close().unwrap();
    drop((producer, evidence));
    assert!(bench.show(id).contains("wombat"));
    drop(bench.open());
    assert!(!bench.show(id).contains("wombat"));
    assert_eq!(bench.verify().0, Verdict::Sound, "{}", bench.verify().1);
}

#[test]
fn legal_hold_refuses_and_retention_spares_it() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let id = call(&mut producer);
    let note = evidence.hold(&caller().tenant, &caller().subject, true, &officer(), "case 12/26").unwrap();
    producer.note(&note).commit.wait_blocking().unwrap();
    assert!(matches!(evidence.erase(&mut producer, &alice(), &officer(), "Art. 17"), Err(EvidenceError::Held)));
    assert!(evidence.plan_erasure(&alice(), &officer(), " ").is_err());
    // The synthetic records are dated to the past, seen from any clock that runs this.
    evidence.erase(&mut producer, &Erasure::OlderThan { days: 0 }, &officer(), "retention").unwrap();
    assert!(bench.show(id).contains("wombat"));
    let note = evidence.hold(&caller().tenant, &caller().subject, false, &officer(), "case closed").unwrap();
    producer.note(&note).commit.wait_blocking().unwrap();
    assert_eq!(evidence.erase(&mut producer, &alice(), &officer(), "Art. 17").unwrap(), 1);
    assert!(!bench.show(id).contains("wombat"));
    evidence.close().unwrap();
    let page = bench.search("kind:erasure", false);
    for action in ["hold_began", "hold_ended", "erased"] {
        assert!(page.contains(action), "{page}");
    }
    assert_eq!(bench.verify().0, Verdict::Sound, "{}", bench.verify().1);
}

#[test]
fn an_erasure_takes_out_of_the_index_what_was_encrypted_and_nothing_else() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let day = |number: u64| Moment { unix_us: 1_795_000_000_000_000 + number * 86_400_000_000, mono_us: 0 };
    let mut ids = Vec::new();
    for number in 0..40 {
        let id = producer.new_id();
        let mut refusal = refusal();
        refusal.at = day(number % 4);
        refusal.caller.subject = format!("person-{}", if number % 4 == 3 { 9 } else { number % 3 });
        producer.refusal(id, &refusal).commit.wait_blocking().unwrap();
        ids.push(id);
    }
    let until_indexed = || {
        while evidence.status().tree_size < evidence.status().durable {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        read::update_index(&bench.source(), None).unwrap()
    };
    assert!(until_indexed() >= 40);
    let rows = |query: &str| bench.search(query, true).lines().map(str::to_owned).collect::<Vec<_>>();
    let others = ["subject:person-0", "subject:person-2", "subject:person-9"];
    let before = others.map(rows);
    assert!(before.iter().all(|rows| rows.len() >= 10));
    let files = || {
        let day_of = |number: u64| (day(number).unix_us / 86_400_000_000).to_string();
        let untouched = bench.log().join("index").join(day_of(3));
        let mut names: Vec<_> = fs::read_dir(untouched).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let untouched = files();
    let erasure = Erasure::Subject { tenant: refusal().caller.tenant, subject: "person-1".to_owned() };
    assert_eq!(evidence.erase(&mut producer, &erasure, &officer(), "Art. 17").unwrap(), 1);
    // At once, and not by making everything anew.
    assert!(bench.log().join("index/place").exists() && !bench.log().join("index/forget").exists());
    assert_eq!(files(), untouched, "the shard of a day without the person");
    only_what_is_named(&bench.log().join("index"));
    assert!(rows("subject:person-1").is_empty());
    assert_eq!(others.map(rows), before);
    assert_eq!(rows("kind:refusal").len(), 40, "by what their leaves say, all are found");
    // What a crash cuts off is completed: the keys are gone, the index still has it.
    let erasure = Erasure::Subject { tenant: refusal().caller.tenant, subject: "person-2".to_owned() };
    let plan = evidence.plan_erasure(&erasure, &officer(), "Art. 17").unwrap();
    for note in &plan.notes {
        producer.note(note).commit.wait_blocking().unwrap();
    }
    until_indexed();
    evidence.close().unwrap();
    drop((producer, evidence));
    drop(bench.open());
    assert!(rows("subject:person-2").is_empty() && !bench.log().join("index/forget").exists());
    assert_eq!(rows("kind:refusal").len(), 40);
    assert_eq!(rows("subject:person-0"), before[0]);
    assert_eq!(bench.verify().0, Verdict::Sound, "{}", bench.verify().1);
}

/// No shard has files of a segment that it does not name: what was taken out is gone from the disk as well.
fn only_what_is_named(index: &std::path::Path) {
    let of_index = fs::read_dir(index).unwrap().map(|entry| entry.unwrap().path());
    for shard in of_index.filter(|path| path.join("meta.json").exists()) {
        let meta: serde_json::Value = serde_json::from_slice(&fs::read(shard.join("meta.json")).unwrap()).unwrap();
        let segments = meta["segments"].as_array().unwrap().iter();
        let named: Vec<_> = segments.map(|segment| segment["segment_id"].as_str().unwrap().replace('-', "")).collect();
        for file in fs::read_dir(&shard).unwrap() {
            let name = file.unwrap().file_name().into_string().unwrap();
            let of = name.split('.').next().unwrap_or_default();
            assert!(of.len() != 32 || named.iter().any(|segment| segment == of), "{name} in {}", shard.display());
        }
    }
}
