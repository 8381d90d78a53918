//! Starts after kills, power cuts, damage and rollbacks.

use std::fs;
use std::os::unix::fs::FileExt;

use super::support::{Bench, call, chunk, copy_directory, intent, moment, outcome, refusal};
use crate::read::Verdict;
use crate::wal::scan::{Found, Scanner};
use crate::{EvidenceError, Role};

/// What `kill -9` leaves: a copy of the files while the gateway is running.
fn killed(bench: &Bench) -> Bench {
    bench.copy()
}

/// Offset and stored length of every block of the first segment.
fn blocks(bench: &Bench) -> Vec<(u64, u64)> {
    let mut scanner = Scanner::new(&bench.log().join("wal"));
    let mut blocks = Vec::new();
    while let Found::Block(block) = scanner.next().unwrap() {
        blocks.push((block.offset, block.header.stored_bytes() as u64));
    }
    blocks
}

#[test]
fn open_calls_get_an_abort_that_names_their_payload() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    call(&mut producer);
    let mut permit = producer.admit().unwrap();
    let id = permit.id();
    producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
    producer.payload(&mut permit, &chunk(Role::Request, "half a question")).unwrap().commit.wait_blocking().unwrap();
    let after = killed(&bench);
    let (verdict, report) = after.verify();
    assert_eq!(verdict, Verdict::CannotTell, "{report}");
    assert!(report.contains("1 call open"), "{report}");
    let again = after.open();
    assert_eq!(again.status().aborted_at_start, 1);
    again.close().unwrap();
    let (verdict, report) = after.verify();
    assert_eq!(verdict, Verdict::Sound, "{report}");
    let page = after.show(id);
    assert!(page.contains("ABORTED") && page.contains("half a question"), "{page}");
}

#[test]
fn a_last_block_cut_anywhere_is_torn_and_nothing_before_it_is_lost() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    call(&mut producer);
    let id = producer.new_id();
    // Signed before the last block is written, as a checkpoint a second ago would be.
    evidence.close().unwrap();
    drop(evidence);
    let signed = fs::read(bench.log().join("checkpoint")).unwrap();
    let signed_outside = bench.dir.path().join("keys/gw.example.com+ai/last-checkpoint");
    let checkpoints = fs::read(bench.log().join("ckpt.log")).unwrap();
    let tiles = bench.dir.path().join("tiles-before");
    copy_directory(&bench.log().join("tiles"), &tiles);
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    producer.refusal(id, &refusal()).commit.wait_blocking().unwrap();
    let blocks = blocks(&bench);
    let segment = fs::read(bench.segment(1)).unwrap();
    let (start, length) = *blocks.last().unwrap();
    drop((producer, evidence));
    fs::write(bench.log().join("checkpoint"), &signed).unwrap();
    fs::write(&signed_outside, &signed).unwrap();
    fs::write(bench.log().join("ckpt.log"), &checkpoints).unwrap();
    let content = segment.iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1 - start;
    // A file that ends at any byte: the write had not got further.
    for cut in (0..content).step_by(if content > 600 { 7 } else { 1 }).chain([content - 1]) {
        fs::write(bench.segment(1), &segment[..usize::try_from(start + cut).unwrap()]).unwrap();
        let mut scanner = Scanner::new(&bench.log().join("wal"));
        let found: Vec<Found> = std::iter::from_fn(|| match scanner.next().unwrap() {
            Found::Block(block) => Some(Found::Block(block)),
            _ => None,
        })
        .collect();
        assert_eq!(found.len(), blocks.len() - 1, "cut at {cut}");
        assert!(matches!(scanner.next().unwrap(), Found::End(_)), "cut at {cut}");
    }
    // Sectors that were not written, at either side of the cut, and the whole way through a start.
    for sector in (start..start + length).step_by(512).filter(|&sector| sector < start + content) {
        for (from, to) in [(sector, start + length), (start, sector)] {
            if from == to {
                continue;
            }
            let mut torn = segment.clone();
            torn[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()].fill(0);
            fs::write(bench.segment(1), &torn).unwrap();
            let evidence = bench.open();
            let report = bench.verify();
            assert_eq!(report.0, Verdict::Sound, "zeros from {from} to {to}: {}", report.1);
            assert!(!bench.search("kind:refusal", false).contains(&id.to_string()));
            drop(evidence);
            fs::write(bench.segment(1), &segment).unwrap();
            fs::write(bench.log().join("checkpoint"), &signed).unwrap();
            fs::write(&signed_outside, &signed).unwrap();
            fs::write(bench.log().join("ckpt.log"), &checkpoints).unwrap();
            let _ = fs::remove_dir_all(bench.log().join("tiles"));
            copy_directory(&tiles, &bench.log().join("tiles"));
        }
    }
}

#[test]
fn damage_to_acknowledged_blocks_is_refused_by_name() {
    let bench = Bench::new();
    let evidence = bench.open();
    let id = call(&mut evidence.producer(0).unwrap());
    evidence.close().unwrap();
    drop(evidence);
    let blocks = blocks(&bench);
    let whole = fs::read(bench.segment(1)).unwrap();
    // Every block, also the last one; header, entries, end.
    for &(offset, length) in &blocks {
        let content = whole[usize::try_from(offset).unwrap()..usize::try_from(offset + length).unwrap()]
            .iter()
            .rposition(|&byte| byte != 0)
            .unwrap() as u64;
        for position in [0, 9, 40, 79, 80, 84, 88, 92, content / 2, content - 9, content] {
            let mut damaged = whole.clone();
            damaged[usize::try_from(offset + position).unwrap()] ^= 0x04;
            fs::write(bench.segment(1), &damaged).unwrap();
            let error = bench.try_open().err().unwrap();
            assert!(matches!(error, EvidenceError::Damaged(_)), "byte {position} of block {offset}: {error}");
        }
    }
    let (offset, _) = blocks[1];
    let mut damaged = whole.clone();
    damaged[usize::try_from(offset + 200).unwrap()] ^= 1;
    fs::write(bench.segment(1), &damaged).unwrap();
    let error = bench.try_open().err().unwrap().to_string();
    assert!(error.contains(&format!("record #1, intent {id}")), "{error}");
    fs::write(bench.segment(1), &whole).unwrap();
    drop(bench.open());
    assert_eq!(bench.verify().0, Verdict::Sound);
}

#[test]
fn an_older_copy_is_refused() {
    let bench = Bench::new();
    let evidence = bench.open();
    call(&mut evidence.producer(0).unwrap());
    evidence.close().unwrap();
    drop(evidence);
    let older = bench.copy();
    let evidence = bench.open();
    call(&mut evidence.producer(0).unwrap());
    evidence.close().unwrap();
    drop(evidence);
    // Only the evidence comes from the older copy; the keys are their own backup class.
    fs::remove_dir_all(bench.log()).unwrap();
    copy_directory(&older.log(), &bench.log());
    let error = bench.try_open().err().unwrap();
    assert!(matches!(error, EvidenceError::RolledBack(_)), "{error}");
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Tampered, "{report}");
    assert!(report.contains(": missing"), "{report}");
    // And with no evidence at all.
    fs::remove_dir_all(bench.log()).unwrap();
    assert!(bench.try_open().is_err());
}

#[test]
fn there_is_one_writer() {
    let bench = Bench::new();
    let evidence = bench.open();
    assert!(matches!(bench.try_open(), Err(EvidenceError::Locked { .. })));
    drop(evidence);
    drop(bench.open());
}

#[test]
fn lost_keys_are_not_replaced() {
    let bench = Bench::new();
    let evidence = bench.open();
    call(&mut evidence.producer(0).unwrap());
    drop(evidence);
    for key in ["keys/log.key", "keys/keystore.key", "keys/gw.example.com+ai/keystore"] {
        let path = bench.dir.path().join(key);
        let kept = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let error = bench.try_open().err().unwrap().to_string();
        assert!(error.contains("is missing"), "{key}: {error}");
        fs::write(&path, kept).unwrap();
    }
    drop(bench.open());
}

#[test]
fn settings_are_checked() {
    let mut bench = Bench::new();
    bench.options.keystore = bench.dir.path().join("evidence/keystore.key");
    assert!(bench.try_open().err().unwrap().to_string().contains("must not lie inside evidence/"));
    let mut bench = Bench::new();
    bench.options.origin = "has spaces".to_owned();
    assert!(matches!(bench.try_open(), Err(EvidenceError::Setting { .. })));
}

#[test]
fn keys_are_only_for_their_owner() {
    use std::os::unix::fs::PermissionsExt;
    let bench = Bench::new();
    drop(bench.open());
    for key in ["keys/log.key", "keys/keystore.key", "keys/gw.example.com+ai/keystore"] {
        let mode = fs::metadata(bench.dir.path().join(key)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{key}");
    }
}

#[test]
fn a_keyed_digest_is_the_same_after_a_restart() {
    let bench = Bench::new();
    let evidence = bench.open();
    let digest = evidence.mac("approval", &[b"POST", b"/v1"]);
    assert_ne!(digest, evidence.mac("approval", &[b"POST/", b"v1"]));
    assert_ne!(digest, evidence.mac("other", &[b"POST", b"/v1"]));
    drop(evidence);
    assert_eq!(bench.open().mac("approval", &[b"POST", b"/v1"]), digest);
    assert_eq!(moment().unix_us / 1_000_000, 1_795_254_076);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn random_segments_are_never_trouble(
        noise in proptest::collection::vec((0_u32..40_000, proptest::prelude::any::<u8>()), 0..40),
        length in 0_usize..50_000,
    ) {
        // One real log, bytes of which are overwritten, and its length.
        static LOG: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
        let log = LOG.get_or_init(|| {
            let bench = Bench::new();
            let evidence = bench.open();
            call(&mut evidence.producer(0).unwrap());
            drop(evidence);
            fs::read(bench.segment(1)).unwrap()[..60_000].to_vec()
        });
        let dir = tempfile::tempdir().unwrap();
        let file = fs::File::create(dir.path().join("00000001.seg")).unwrap();
        file.write_all_at(&log[..length], 0).unwrap();
        for (offset, byte) in noise {
            file.write_all_at(&[byte], u64::from(offset)).unwrap();
        }
        let mut scanner = Scanner::new(dir.path());
        let mut steps = 0;
        while !matches!(scanner.next().unwrap(), Found::End(_)) {
            steps += 1;
            proptest::prop_assert!(steps < 100);
        }
    }
}

#[test]
fn an_outcome_after_a_restart_belongs_to_nobody() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut permit = producer.admit().unwrap();
    producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
    evidence.close().unwrap();
    // The gateway ended without an outcome: the next start writes ABORTED, and the old permit can write nothing.
    assert!(producer.outcome(permit, &outcome()).commit.wait_blocking().is_err());
    drop((producer, evidence));
    let evidence = bench.open();
    assert_eq!(evidence.status().aborted_at_start, 1);
    evidence.close().unwrap();
    assert_eq!(bench.verify().0, Verdict::Sound);
}
