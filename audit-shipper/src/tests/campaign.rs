//! The tamper campaign: every class of bytes flipped; blocks and records dropped, repeated, reordered, swapped, truncated, also
//! with all checksums made good; old checkpoints and old directories put back. Every mutant is found, and named.
//!
//! Mutants that no verifier can find from the directory alone are listed with their reason in
//! [`what_is_equivalent_to_an_honest_log`] and in `docs/evidence/crash-testing.md`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::support::{Bench, call, copy_directory};
use super::tampering::{blocks, closed_log, tiles};
use crate::read::Verdict;
use crate::wal::format::{
    BlockHeader, END_MARK, ENTRY_HEAD_BYTES, Entries, EntryKind, HEADER_BYTES, chain_digest, push_entry,
};
use crate::wal::scan::Block;

/// Every how many bytes of the long classes one is flipped; `SALLYPORT_TAMPER_STEP=1` flips all of them.
const STEP: usize = 29;
const OUTSIDE: &str = "keys/gw.example.com+ai/last-checkpoint";

/// Mutants per class: tried and found.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, (u32, u32)>);

impl Tally {
    /// Counts a mutant as found if the report says TAMPERED and names one of these.
    fn judge(&mut self, bench: &Bench, class: &'static str, named: &[String], what: &str) {
        let (verdict, report) = bench.verify();
        let found = verdict == Verdict::Tampered && named.iter().any(|name| report.contains(name.as_str()));
        let counts = self.0.entry(class).or_default();
        counts.0 += 1;
        counts.1 += u32::from(found);
        assert!(found, "{class}, {what}: should name one of {named:?}\n{report}");
    }

    fn print(&self) {
        for (class, (tried, found)) in &self.0 {
            println!("{class:<28} {found:>6} of {tried:>6} found and named");
        }
    }
}

/// `record #5` as the report writes it, never as a part of `record #51`.
fn record(index: u64) -> String {
    format!("record #{index}")
}

fn step() -> usize {
    std::env::var("SALLYPORT_TAMPER_STEP").ok().and_then(|step| step.parse().ok()).unwrap_or(STEP)
}

/// The fields of a block's header: `docs/evidence/record.md`.
const HEADER: [(&str, std::ops::Range<usize>); 10] = [
    ("header: magic", 0..8),
    ("header: epoch", 8..12),
    ("header: segment", 12..16),
    ("header: sequence", 16..24),
    ("header: first index", 24..32),
    ("header: leaves", 32..36),
    ("header: length", 36..40),
    ("header: previous digest", 40..72),
    ("header: entries CRC", 72..76),
    ("header: CRC", 76..80),
];
const ENTRY: [(&str, std::ops::Range<usize>); 4] =
    [("entry: kind", 0..1), ("entry: zeros", 1..4), ("entry: length", 4..8), ("entry: CRC", 8..12)];
const BLOB: [(&str, std::ops::Range<usize>); 4] = [
    ("blob: version", 0..1),
    ("blob: key id", 1..17),
    ("blob: wrapped key", 17..77),
    ("blob: sealed text", 77..usize::MAX),
];

/// Every byte of a class, or some of a long one.
fn some(range: std::ops::Range<usize>) -> impl Iterator<Item = usize> {
    let step = if range.len() > 32 { step() } else { 1 };
    range.step_by(step)
}

#[test]
fn every_class_of_bytes_of_the_log() {
    let (bench, _) = closed_log();
    let path = bench.segment(1);
    let whole = fs::read(&path).unwrap();
    let mut tally = Tally::default();
    let mut flip = |class, position: usize, named: &[String]| {
        let mut changed = whole.clone();
        changed[position] ^= 0x11;
        fs::write(&path, &changed).unwrap();
        tally.judge(&bench, class, named, &format!("byte {position}"));
    };
    for block in blocks(&bench) {
        let start = usize::try_from(block.offset).unwrap();
        let first = block.header.first_index;
        let any: Vec<String> = (first..first + u64::from(block.header.leaves)).map(record).collect();
        for (class, range) in HEADER {
            some(range).for_each(|position| flip(class, start + position, &any));
        }
        let mut index = first;
        for entry in Entries::new(&block.payload) {
            let named = [record(index)];
            let at = start + HEADER_BYTES + entry.offset;
            for (class, range) in ENTRY {
                some(range).for_each(|position| flip(class, at + position, &named));
            }
            let data = at + ENTRY_HEAD_BYTES;
            match entry.kind {
                EntryKind::Leaf => {
                    some(0..entry.data.len()).for_each(|position| flip("leaf", data + position, &named));
                    let followed = Entries::new(&block.payload).any(|next| {
                        next.kind == EntryKind::Blob
                            && next.offset == entry.offset + ENTRY_HEAD_BYTES + entry.data.len()
                    });
                    index += u64::from(!followed);
                }
                EntryKind::Blob => {
                    for (class, range) in BLOB {
                        let range = range.start..range.end.min(entry.data.len());
                        some(range).for_each(|position| flip(class, data + position, &named));
                    }
                    index += 1;
                }
            }
        }
        let end = start + block.header.content_bytes();
        some(end - END_MARK.len()..end).for_each(|position| flip("end mark", position, &any));
        some(end..start + block.header.stored_bytes()).for_each(|position| flip("padding", position, &any));
    }
    tally.print();
}

#[test]
fn every_class_of_bytes_of_what_is_signed_and_derived() {
    let (bench, _) = closed_log();
    let mut tally = Tally::default();
    let mut files: Vec<(&str, PathBuf)> = vec![
        ("checkpoint", bench.log().join("checkpoint")),
        ("ckpt.log", bench.log().join("ckpt.log")),
        ("last-checkpoint", bench.dir.path().join(OUTSIDE)),
    ];
    files.extend(tiles(&bench).into_iter().map(|path| ("tile", path)));
    for (class, path) in files {
        let whole = fs::read(&path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        for position in 0..whole.len() {
            let mut changed = whole.clone();
            changed[position] ^= 1;
            fs::write(&path, &changed).unwrap();
            if class == "ckpt.log" && position == whole.len() - 1 {
                // Its last line now looks like one that is being written; the same checkpoint stands in the other two files.
                assert_eq!(bench.verify().0, Verdict::Sound);
                continue;
            }
            let named = if class == "tile" { record(position as u64 / 32) } else { name.clone() };
            tally.judge(&bench, class, &[named], &format!("byte {position}"));
        }
        fs::write(&path, whole).unwrap();
    }
    assert_eq!(bench.verify().0, Verdict::Sound);
    tally.print();
}

/// One entry after the other, with the index of its record.
type Listed = Vec<(u64, EntryKind, Vec<u8>)>;

fn listed(block: &Block) -> Listed {
    let mut index = block.header.first_index.wrapping_sub(1);
    let mut list = Vec::new();
    for entry in Entries::new(&block.payload) {
        index = index.wrapping_add(u64::from(entry.kind == EntryKind::Leaf));
        list.push((index, entry.kind, entry.data.to_vec()));
    }
    list
}

/// Writes blocks as somebody would who knows the format: all numbers, checksums and the chain are made good again.
fn forge(bench: &Bench, contents: &[Listed], epochs: &[u32]) {
    let (mut bytes, mut previous, mut first_index) = (Vec::new(), [0; 32], 0);
    for (sequence, list) in contents.iter().enumerate() {
        let mut payload = Vec::new();
        for (_, kind, data) in list {
            push_entry(&mut payload, *kind, data);
        }
        let leaves = list.iter().filter(|(_, kind, _)| *kind == EntryKind::Leaf).count();
        let header = BlockHeader {
            epoch: epochs[sequence.min(epochs.len() - 1)],
            segment: 1,
            sequence: sequence as u64,
            first_index,
            leaves: u32::try_from(leaves).unwrap(),
            payload_len: u32::try_from(payload.len()).unwrap(),
            previous,
            payload_crc: crc32c::crc32c(&payload),
        };
        let mut content = header.encode().to_vec();
        content.extend_from_slice(&payload);
        content.extend_from_slice(&END_MARK);
        previous = chain_digest(&content);
        first_index += leaves as u64;
        content.resize(header.stored_bytes(), 0);
        bytes.extend(content);
    }
    bytes.resize(usize::try_from(bench.options.segment_bytes).unwrap(), 0);
    fs::write(bench.segment(1), bytes).unwrap();
}

#[test]
fn every_forgery_with_right_checksums() {
    let (bench, _) = closed_log();
    let honest: Vec<Block> = blocks(&bench);
    let epochs: Vec<u32> = honest.iter().map(|block| block.header.epoch).collect();
    let contents: Vec<Listed> = honest.iter().map(listed).collect();
    forge(&bench, &contents, &epochs);
    assert_eq!(bench.verify().0, Verdict::Sound, "forging nothing changes nothing: {}", bench.verify().1);
    let last = contents.len() - 1;
    let mut tally = Tally::default();
    let mut judge = |class, contents: &[Listed], named: &[String], what: String| {
        forge(&bench, contents, &epochs);
        tally.judge(&bench, class, named, &what);
    };
    for number in 0..contents.len() {
        let index = number as u64;
        // From here on, records stand in the place of others.
        let from_here = [record(index), format!("records #{index} to")];
        for (entry, (_, kind, data)) in contents[number].iter().enumerate() {
            for position in (0..data.len()).step_by(step()) {
                let mut forged = contents.clone();
                forged[number][entry].2[position] ^= 1;
                let class = if *kind == EntryKind::Leaf { "forged leaf" } else { "forged blob" };
                judge(class, &forged, &from_here, format!("record {index}, byte {position}"));
            }
        }
        let mut forged = contents.clone();
        forged.remove(number);
        judge("forged: dropped", &forged, &[from_here.as_slice(), &[record(last as u64)]].concat(), format!("{index}"));
        let mut forged = contents.clone();
        forged.insert(number, contents[number].clone());
        let next = [record(index + 1), format!("records #{} to", index + 1)];
        // A repeat of the newest record is new: see below.
        if number < last {
            judge("forged: repeated", &forged, &next, format!("{index}"));
        }
        if number < last {
            let mut forged = contents.clone();
            forged.swap(number, number + 1);
            judge("forged: reordered", &forged, &from_here, format!("{index}"));
        }
        let mut forged = contents.clone();
        forged.truncate(number);
        if number > 0 {
            let missing = [record(index), format!("records #{index} to")];
            judge("forged: truncated", &forged, &missing, format!("{index}"));
        }
        let other = (number + 4) % contents.len();
        if let (Some(mine), Some(theirs)) = (contents[number].get(1), contents[other].get(1)) {
            let mut forged = contents.clone();
            (forged[number][1].2, forged[other][1].2) = (theirs.2.clone(), mine.2.clone());
            judge("forged: blobs swapped", &forged, &from_here, format!("{index} and {other}"));
        }
        if contents[number].len() > 1 {
            let mut forged = contents.clone();
            forged[number].truncate(1);
            judge("forged: blob dropped", &forged, &from_here, format!("{index}"));
        }
    }
    tally.print();
}

#[test]
fn every_clumsy_cut_of_the_log() {
    let (bench, _) = closed_log();
    let path = bench.segment(1);
    let whole = fs::read(&path).unwrap();
    let mut tally = Tally::default();
    let mut judge = |class, bytes: &[u8], named: &[String], what: &str| {
        fs::write(&path, bytes).unwrap();
        tally.judge(&bench, class, named, what);
    };
    let all = blocks(&bench);
    for (number, block) in all.iter().enumerate() {
        let start = usize::try_from(block.offset).unwrap();
        let end = start + block.header.stored_bytes();
        let index = block.header.first_index;
        let named = [record(index), format!("records #{index} to")];
        let what = format!("block {number}");
        let mut zeroed = whole.clone();
        zeroed[start..end].fill(0);
        judge("block of zeros", &zeroed, &named, &what);
        judge("file cut off", &whole[..start], &named, &what);
        judge("file cut inside", &whole[..start + 100], &named, &what);
        let mut removed = whole.clone();
        removed.drain(start..end);
        judge("block taken out", &removed, &named, &what);
        let mut tail = whole.clone();
        tail[start..].fill(0);
        judge("everything after", &tail, &named, &what);
        if let Some(next) = all.get(number + 1) {
            let (next_start, next_end) = (end, end + next.header.stored_bytes());
            let swapped =
                [&whole[..start], &whole[next_start..next_end], &whole[start..end], &whole[next_end..]].concat();
            let either = [named.as_slice(), &[record(index + 1), format!("records #{} to", index + 1)]].concat();
            judge("blocks swapped", &swapped, &either, &what);
            let repeated = [&whole[..end], &whole[start..end], &whole[next_start..]].concat();
            judge("block repeated", &repeated, &either, &what);
        }
    }
    tally.print();
}

#[test]
fn old_checkpoints_and_old_directories() {
    let bench = Bench::new();
    let evidence = bench.open();
    call(&mut evidence.producer(0).unwrap());
    evidence.close().unwrap();
    drop(evidence);
    let old = bench.copy();
    let evidence = bench.open();
    call(&mut evidence.producer(0).unwrap());
    evidence.close().unwrap();
    drop(evidence);
    assert_eq!(bench.verify().0, Verdict::Sound);
    let mut tally = Tally::default();
    // The signed note alone, inside and outside.
    for name in ["evidence/gw.example.com+ai/checkpoint", OUTSIDE] {
        let newest = fs::read(bench.dir.path().join(name)).unwrap();
        fs::copy(old.dir.path().join(name), bench.dir.path().join(name)).unwrap();
        let named = Path::new(name).file_name().unwrap().to_str().unwrap().to_owned();
        tally.judge(&bench, "old checkpoint", &[named], name);
        fs::write(bench.dir.path().join(name), newest).unwrap();
    }
    // The whole evidence, but not the keys: what a careless restore does.
    let rolled_back = bench.copy();
    fs::remove_dir_all(rolled_back.log()).unwrap();
    copy_directory(&old.log(), &rolled_back.log());
    tally.judge(&rolled_back, "old directory", &["missing".to_owned()], "evidence/");
    let error = rolled_back.try_open().err().unwrap().to_string();
    assert!(error.contains("nothing is signed on this origin any more"), "{error}");
    // The log and its own checkpoint, but not the log of checkpoints.
    let rolled_back = bench.copy();
    for name in ["wal/00000001.seg", "checkpoint"] {
        fs::copy(old.log().join(name), rolled_back.log().join(name)).unwrap();
    }
    fs::copy(old.dir.path().join(OUTSIDE), rolled_back.dir.path().join(OUTSIDE)).unwrap();
    tally.judge(&rolled_back, "old directory", &["missing".to_owned()], "log and checkpoints");
    tally.print();
}

/// What nobody can tell from the directory alone. Each stands for a reason that only a copy kept elsewhere (a checkpoint that
/// a witness has seen) can mend.
#[test]
fn what_is_equivalent_to_an_honest_log() {
    // 1. Everything put back together, keys as well: this is the log as it was then.
    let (bench, _) = closed_log();
    let old = bench.copy();
    let evidence = bench.open();
    call(&mut evidence.producer(0).unwrap());
    evidence.close().unwrap();
    assert_eq!(old.verify().0, Verdict::Sound);
    // 2. A derived file that is gone: it says nothing, and the next start makes it.
    let (bench, _) = closed_log();
    fs::remove_dir_all(bench.log().join("tiles")).unwrap();
    assert_eq!(bench.verify().0, Verdict::Sound);
    // 3. Newer records that no checkpoint covers yet: an honest gateway that was killed leaves the same.
    let (bench, _) = closed_log();
    let all = blocks(&bench);
    let epochs: Vec<u32> = all.iter().map(|block| block.header.epoch).collect();
    let mut contents: Vec<Listed> = all.iter().map(listed).collect();
    let refusal = contents.last().unwrap().clone();
    contents.push(refusal);
    forge(&bench, &contents, &epochs);
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound);
    assert!(report.contains("1 newer, chained but not yet under a checkpoint"), "{report}");
}
