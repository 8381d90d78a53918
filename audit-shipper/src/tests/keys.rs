//! Rotating the signing key; sealing originals.

use std::fs;

use age::secrecy::ExposeSecret;

use super::support::{Bench, call, chunk, intent, outcome};
use crate::read::{self, Verdict};
use crate::{Caller, EvidenceError, Frame, Original, PayloadChunk, Role, Sealer, rotate_key};

fn verified_with(bench: &Bench, key: &str) -> (Verdict, String) {
    let path = bench.dir.path().join("given.vkey");
    fs::write(&path, key).unwrap();
    let mut source = bench.source();
    source.log_key = Some(path);
    let mut out = Vec::new();
    let verdict = read::verify(&source, &mut out).unwrap();
    (verdict, String::from_utf8(out).unwrap())
}

#[test]
fn a_rotation_can_be_followed_from_either_key_and_no_stranger_slips_in() {
    let bench = Bench::new();
    let evidence = bench.open();
    call(&mut evidence.producer(0).unwrap());
    assert!(matches!(rotate_key(&bench.options, &Caller::default(), ""), Err(EvidenceError::Locked { .. })));
    drop(evidence);
    let rotation = rotate_key(&bench.options, &Caller::default(), "yearly").unwrap();
    assert_ne!(rotation.old, rotation.new);
    let evidence = bench.open();
    assert_eq!(evidence.verifier_key(), rotation.new);
    call(&mut evidence.producer(0).unwrap());
    drop(evidence);
    let again = rotate_key(&bench.options, &Caller::default(), "yearly").unwrap();
    assert_eq!(again.old, rotation.new);
    for key in [&rotation.old, &rotation.new, &again.new] {
        let (verdict, report) = verified_with(&bench, key);
        assert_eq!(verdict, Verdict::Sound, "{key}: {report}");
    }
    assert!(bench.search("kind:key", false).contains("rotated"));
    // Somebody signs the log with a key of his own and lists it.
    let other = Bench::new();
    drop(other.open());
    let stranger = fs::read_to_string(other.log().join("log.vkey")).unwrap();
    let known = fs::read_to_string(bench.log().join("log.vkey")).unwrap();
    let key = fs::read(other.dir.path().join("keys/log.key")).unwrap();
    fs::write(bench.log().join("log.vkey"), format!("{known}{stranger}")).unwrap();
    fs::write(bench.dir.path().join("keys/log.key"), key).unwrap();
    assert!(bench.try_open().is_err(), "the newest checkpoint is not his");
    fs::remove_file(bench.log().join("checkpoint")).unwrap();
    fs::remove_file(bench.dir.path().join("keys/gw.example.com+ai/last-checkpoint")).unwrap();
    drop(bench.open());
    let (verdict, report) = verified_with(&bench, &again.new);
    assert_eq!(verdict, Verdict::Tampered, "{report}");
    assert!(report.contains("no signed record names"), "{report}");
}

#[test]
fn an_original_is_sealed_in_the_log_and_opened_with_the_private_key_alone() {
    let bench = Bench::new();
    let private = age::x25519::Identity::generate();
    let sealer = Sealer::new([private.to_public().to_string().as_str()]).unwrap();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut permit = producer.admit().unwrap();
    let id = permit.id();
    producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
    let originals = [b"my number is 536-22-8145, says wombat".repeat(3000), b"short".to_vec()];
    for original in &originals {
        for piece in sealer.seal(original).unwrap() {
            let frames = vec![Frame { dt_us: 0, bytes: piece }];
            let sealed = PayloadChunk { role: Role::Sealed, media_type: "application/age".to_owned(), frames };
            producer.payload(&mut permit, &sealed).unwrap().commit.wait_blocking().unwrap();
        }
        producer.payload(&mut permit, &chunk(Role::Request, "masked")).unwrap().commit.wait_blocking().unwrap();
    }
    producer.outcome(permit, &outcome()).commit.wait_blocking().unwrap();
    evidence.close().unwrap();
    assert_eq!(bench.verify().0, Verdict::Sound, "{}", bench.verify().1);
    let unsealer = private.to_string().expose_secret().parse().unwrap();
    let opened = originals.map(|text| Original { text, is_whole: true });
    assert_eq!(read::unsealed(&bench.source(), id, &unsealer).unwrap(), opened);
    let other = age::x25519::Identity::generate().to_string().expose_secret().parse().unwrap();
    assert!(read::unsealed(&bench.source(), id, &other).is_err());
    assert!(!bench.show(id).contains("wombat"));
}

#[test]
fn a_sealed_answer_that_a_crash_cut_is_opened_as_far_as_it_was_written() {
    let bench = Bench::new();
    let private = age::x25519::Identity::generate();
    let sealer = Sealer::new([private.to_public().to_string().as_str()]).unwrap();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut permit = producer.admit().unwrap();
    let id = permit.id();
    producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
    let (request, answer) = (b"the request".to_vec(), b"what the model said, wombat ".repeat(12_000));
    let mut pieces = sealer.seal(&request).unwrap();
    let sealed = sealer.seal(&answer).unwrap();
    // The rest of it was never written.
    pieces.extend_from_slice(&sealed[..sealed.len() - 2]);
    for bytes in pieces {
        let frames = vec![Frame { dt_us: 0, bytes }];
        let sealed = PayloadChunk { role: Role::Sealed, media_type: "application/age".to_owned(), frames };
        producer.payload(&mut permit, &sealed).unwrap().commit.wait_blocking().unwrap();
    }
    let killed = bench.copy();
    std::mem::forget(permit);
    drop((producer, evidence));
    let evidence = killed.open();
    assert_eq!(evidence.status().aborted_at_start, 1);
    evidence.close().unwrap();
    assert_eq!(killed.verify().0, Verdict::Sound, "{}", killed.verify().1);
    let unsealer = private.to_string().expose_secret().parse().unwrap();
    let opened = read::unsealed(&killed.source(), id, &unsealer).unwrap();
    assert_eq!(opened[0], Original { text: request, is_whole: true });
    assert!(!opened[1].is_whole && opened[1].text.len() > 100_000 && answer.starts_with(&opened[1].text));
    assert_eq!(opened.len(), 2);
}
