//! One changed byte, anywhere: the verifier names the record.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::support::{Bench, call, refusal};
use crate::RecordId;
use crate::read::Verdict;
use crate::wal::format::{BlockHeader, END_MARK, Entries, EntryKind, HEADER_BYTES, chain_digest, push_entry};
use crate::wal::scan::{Block, Found, Scanner};

/// A closed log with three calls and a refusal, each record in a block of its own.
pub(super) fn closed_log() -> (Bench, Vec<RecordId>) {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut ids: Vec<RecordId> = (0..3).map(|_| call(&mut producer)).collect();
    let id = producer.new_id();
    producer.refusal(id, &refusal()).commit.wait_blocking().unwrap();
    ids.push(id);
    evidence.close().unwrap();
    (bench, ids)
}

pub(super) fn blocks(bench: &Bench) -> Vec<Block> {
    let mut scanner = Scanner::new(&bench.log().join("wal"));
    let mut blocks = Vec::new();
    while let Found::Block(block) = scanner.next().unwrap() {
        blocks.push(block);
    }
    blocks
}

fn expect_tampered(bench: &Bench, named: &str, what: &str) {
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Tampered, "{what}: {report}");
    assert!(report.contains(named), "{what} should name {named:?}: {report}");
}

#[test]
fn a_flipped_byte_of_a_block_names_the_record() {
    let (bench, _) = closed_log();
    let path = bench.segment(1);
    let whole = fs::read(&path).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    for block in blocks(&bench) {
        let record = format!("record #{}", block.header.first_index);
        let start = usize::try_from(block.offset).unwrap();
        let stored = block.header.stored_bytes();
        let content = block.header.content_bytes();
        // Every byte of the header, samples of the entries, the end mark, the padding.
        let positions = (0..HEADER_BYTES)
            .step_by(13)
            .chain((HEADER_BYTES..content).step_by(211))
            .chain((HEADER_BYTES..HEADER_BYTES + 12).step_by(4))
            .chain((content - END_MARK.len()..content).step_by(3))
            .chain([content, stored - 1].into_iter().filter(|&position| position >= content && position < stored));
        for position in positions {
            let place = (start + position) as u64;
            file.write_all_at(&[whole[start + position] ^ 0x20], place).unwrap();
            expect_tampered(&bench, &record, &format!("byte {position} of block {}", block.header.sequence));
            file.write_all_at(&[whole[start + position]], place).unwrap();
        }
    }
}

#[test]
fn the_report_names_kind_id_and_place() {
    let (bench, ids) = closed_log();
    let path = bench.segment(1);
    let mut bytes = fs::read(&path).unwrap();
    let block = &blocks(&bench)[1];
    bytes[usize::try_from(block.offset).unwrap() + HEADER_BYTES + 100] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let named = format!("record #1, intent {} (wal/00000001.seg, offset 4176): its leaf was changed", ids[0]);
    expect_tampered(&bench, &named, "a leaf");
}

/// Changes the log as somebody would who knows the format: all checksums and the chain are made good again.
fn rewrite(bench: &Bench, change: impl Fn(u64, EntryKind, &[u8]) -> Option<Vec<u8>>) {
    let mut bytes = fs::read(bench.segment(1)).unwrap();
    let mut previous = [0; 32];
    for block in blocks(bench) {
        let mut payload = Vec::new();
        let mut index = block.header.first_index;
        for entry in Entries::new(&block.payload) {
            let data = change(index, entry.kind, entry.data).unwrap_or(entry.data.to_vec());
            push_entry(&mut payload, entry.kind, &data);
            index += u64::from(entry.kind == EntryKind::Blob);
        }
        let header = BlockHeader {
            payload_len: u32::try_from(payload.len()).unwrap(),
            payload_crc: crc32c::crc32c(&payload),
            previous,
            ..block.header.clone()
        };
        let mut content = header.encode().to_vec();
        content.extend_from_slice(&payload);
        content.extend_from_slice(&END_MARK);
        previous = chain_digest(&content);
        content.resize(block.header.stored_bytes(), 0);
        let start = usize::try_from(block.offset).unwrap();
        bytes[start..start + content.len()].copy_from_slice(&content);
    }
    fs::write(bench.segment(1), bytes).unwrap();
}

pub(super) fn tiles(bench: &Bench) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![bench.log().join("tiles")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
        } else {
            found.push(path);
        }
    }
    found
}

/// The outcome of the first call: boot, intent, two payload records, outcome.
const OUTCOME_INDEX: u64 = 4;

fn change_status(index: u64, kind: EntryKind, data: &[u8]) -> Option<Vec<u8>> {
    let text = String::from_utf8(data.to_vec()).ok()?;
    (index == OUTCOME_INDEX && kind == EntryKind::Leaf)
        .then(|| text.replace("\"status\":200", "\"status\":201").into_bytes())
}

#[test]
fn a_leaf_rewritten_with_right_checksums_is_found_by_the_tree() {
    let (bench, _) = closed_log();
    rewrite(&bench, |_, _, _| None);
    assert_eq!(bench.verify().0, Verdict::Sound, "rewriting without a change changes nothing: {}", bench.verify().1);
    rewrite(&bench, change_status);
    expect_tampered(&bench, "record #4, outcome", "a rewritten leaf");
    expect_tampered(&bench, "it is not the record that was written", "a rewritten leaf");
    // Also with the tiles gone: the signature alone tells, if less exactly.
    fs::remove_dir_all(bench.log().join("tiles")).unwrap();
    expect_tampered(&bench, "not what was signed", "a rewritten leaf, no tiles");
    let error = bench.try_open().err().unwrap().to_string();
    assert!(error.contains("does not contain what it signed before"), "{error}");
}

#[test]
fn a_blob_rewritten_or_swapped_with_right_checksums_is_found_by_its_leaf() {
    let (bench, _) = closed_log();
    let kept = fs::read(bench.segment(1)).unwrap();
    rewrite(&bench, |index, kind, data| {
        let mut data = data.to_vec();
        (index == OUTCOME_INDEX && kind == EntryKind::Blob).then(|| {
            data[40] ^= 1;
            data
        })
    });
    expect_tampered(&bench, "record #4, outcome", "a rewritten blob");
    fs::write(bench.segment(1), kept).unwrap();
    // The outcome blobs of two calls change places.
    let blobs: Vec<Vec<u8>> = blocks(&bench)
        .iter()
        .filter_map(|block| {
            Entries::new(&block.payload).find(|entry| entry.kind == EntryKind::Blob).map(|e| e.data.to_vec())
        })
        .collect();
    let (first, second) = (blobs[3].clone(), blobs[7].clone());
    rewrite(&bench, |index, kind, _| match (index, kind) {
        (4, EntryKind::Blob) => Some(second.clone()),
        (8, EntryKind::Blob) => Some(first.clone()),
        _ => None,
    });
    expect_tampered(&bench, "record #4, outcome", "swapped blobs");
    expect_tampered(&bench, "record #8, outcome", "swapped blobs");
}

#[test]
fn a_record_cut_off_the_end_is_missed() {
    let (bench, ids) = closed_log();
    let mut bytes = fs::read(bench.segment(1)).unwrap();
    let last = usize::try_from(blocks(&bench).last().unwrap().offset).unwrap();
    bytes[last..].fill(0);
    fs::write(bench.segment(1), bytes).unwrap();
    expect_tampered(&bench, "record #13: missing", "a record cut off");
    assert!(!bench.search("", false).contains(&ids[3].to_string()));
}

#[test]
fn blocks_removed_from_the_middle_or_reordered_are_found() {
    let (bench, _) = closed_log();
    let bytes = fs::read(bench.segment(1)).unwrap();
    let all = blocks(&bench);
    let range = |number: usize| {
        let start = usize::try_from(all[number].offset).unwrap();
        start..start + all[number].header.stored_bytes()
    };
    let mut removed = bytes.clone();
    removed[range(3)].fill(0);
    fs::write(bench.segment(1), removed).unwrap();
    expect_tampered(&bench, "record #3: there are only zeros", "a block of zeros");
    let mut swapped = bytes.clone();
    assert_eq!(range(2).len(), range(3).len());
    let (second, third) = (bytes[range(2)].to_vec(), bytes[range(3)].to_vec());
    swapped[range(2)].copy_from_slice(&third);
    swapped[range(3)].copy_from_slice(&second);
    fs::write(bench.segment(1), swapped).unwrap();
    assert_eq!(bench.verify().0, Verdict::Tampered, "{}", bench.verify().1);
}

#[test]
fn a_flipped_byte_of_a_tile_names_the_record() {
    let (bench, _) = closed_log();
    let tile = tiles(&bench).into_iter().find(|path| path.ends_with("0/000.p/14")).unwrap();
    let whole = fs::read(&tile).unwrap();
    for position in (0..whole.len()).step_by(13) {
        let mut changed = whole.clone();
        changed[position] ^= 1;
        fs::write(&tile, &changed).unwrap();
        expect_tampered(&bench, &format!("record #{}, ", position / 32), "a tile");
        expect_tampered(&bench, "the tile", "a tile");
    }
    fs::write(&tile, &whole[..whole.len() - 1]).unwrap();
    expect_tampered(&bench, "wrong length", "a tile cut short");
    // A missing tile takes nothing away: it is derived, and the next start writes it.
    fs::remove_file(&tile).unwrap();
    assert_eq!(bench.verify().0, Verdict::Sound);
    drop(bench.open());
    assert!(!tiles(&bench).is_empty());
}

#[test]
fn a_flipped_byte_of_a_checkpoint_is_found() {
    let (bench, _) = closed_log();
    for name in ["checkpoint", "ckpt.log"] {
        let path = bench.log().join(name);
        let whole = fs::read(&path).unwrap();
        for position in (0..whole.len() - 1).step_by(3) {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            fs::write(&path, &changed).unwrap();
            expect_tampered(&bench, name, &format!("byte {position} of {name}"));
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(bench.verify().0, Verdict::Sound);
}

#[test]
fn without_key_or_checkpoint_nothing_is_claimed() {
    let (bench, _) = closed_log();
    fs::remove_file(bench.log().join("checkpoint")).unwrap();
    fs::remove_file(bench.dir.path().join("keys/gw.example.com+ai/last-checkpoint")).unwrap();
    assert_eq!(bench.verify().0, Verdict::CannotTell, "{}", bench.verify().1);
    let (bench, _) = closed_log();
    fs::remove_dir_all(bench.dir.path().join("keys")).unwrap();
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert!(report.contains("was taken from the log itself"), "{report}");
    fs::remove_file(bench.log().join("log.vkey")).unwrap();
    assert_eq!(bench.verify().0, Verdict::CannotTell);
    let empty = Bench::new();
    assert_eq!(empty.verify().0, Verdict::CannotTell);
}
