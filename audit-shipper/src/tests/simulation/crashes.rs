//! The power goes at every kind of write: while appending, while starting, while the start repairs what the last crash
//! left. Every acknowledged record is there again byte for byte, no other one is half visible, the tree is the same.

use std::sync::Arc;

use super::disk::{Fault, Random, SimulatedDisk};
use crate::Durability;
use crate::checkpoint::Checkpoint;
use crate::crypto::Digest32;
use crate::encode::Item;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::merkle::{Tree, leaf_hash};
use crate::recovery::{recover_log, tidy_segments};
use crate::wal::disk::Disk;
use crate::wal::format::{Entries, EntryKind, push_entry};
use crate::wal::scan::{Found, Scanner};
use crate::wal::supply::Supply;
use crate::wal::writer::Writer;

const SEGMENT_BYTES: u64 = 64 << 10;
const CRASHES_PER_SEED: u64 = 20;
/// In the suite; `scripts/deep-test` sets `SALLYPORT_SIM_CRASHES` higher.
const CRASHES: u64 = 100_000;

/// A record as it lies in a block.
type Stored = Vec<u8>;

struct World {
    seed: u64,
    random: Random,
    disk: SimulatedDisk,
    /// Acknowledged: must be there after every crash.
    acknowledged: Vec<Stored>,
    /// Being written when the power went: may be there as a whole, or not at all.
    in_flight: Vec<Stored>,
    signed: Option<Checkpoint>,
    crashes: u64,
}

impl World {
    fn new(seed: u64) -> Self {
        Self {
            seed,
            random: Random(seed ^ 0x5a11),
            disk: SimulatedDisk::new(seed),
            acknowledged: Vec::new(),
            in_flight: Vec::new(),
            signed: None,
            crashes: 0,
        }
    }

    fn disk(&self) -> Arc<dyn Disk> {
        Arc::new(self.disk.clone())
    }

    fn run(&mut self) {
        while self.crashes < CRASHES_PER_SEED {
            // Now and then the start itself is cut off.
            if self.random.below(4) == 0 {
                let writes = self.random.below(4);
                self.disk.set(Fault::CrashIn(writes));
            }
            match self.start() {
                Ok(writer) => {
                    let error = self.append_until_crash(writer);
                    assert!(self.disk.reboot(), "seed {}: a write failed without a crash: {error}", self.seed);
                }
                Err(error) => assert!(self.disk.reboot(), "seed {}: the start was refused: {error}", self.seed),
            }
            self.crashes += 1;
            self.check();
        }
    }

    fn start(&mut self) -> Result<Writer, EvidenceError> {
        let disk = self.disk();
        let is_new = disk.segments()?.is_empty();
        let recovered = recover_log(&disk, self.signed.as_slice(), |_, _| {})?;
        if is_new {
            disk.create(recovered.position.segment, SEGMENT_BYTES)?;
        }
        tidy_segments(disk.as_ref(), recovered.position.segment, SEGMENT_BYTES)?;
        let supply = Supply::inline(Arc::clone(&disk), SEGMENT_BYTES);
        Writer::new(disk, SEGMENT_BYTES, Durability::Strict, recovered.position, supply)
    }

    fn append_until_crash(&mut self, mut writer: Writer) -> EvidenceError {
        let writes = self.random.below(12);
        self.disk.set(Fault::CrashIn(writes));
        loop {
            let items: Vec<Item> = (0..1 + self.random.below(4)).map(|_| record(&mut self.random)).collect();
            self.in_flight = items.iter().map(|item| item.entries.clone()).collect();
            if let Err(error) = append(&mut writer, &items) {
                return error;
            }
            self.acknowledged.append(&mut self.in_flight);
            if self.random.below(3) == 0 {
                self.signed = Some(self.checkpoint());
            }
        }
    }

    /// What a checkpoint signed now would say.
    fn checkpoint(&self) -> Checkpoint {
        Checkpoint { origin: "sim".to_owned(), size: self.acknowledged.len() as u64, root: root_of(&self.acknowledged) }
    }

    /// What a start after the crash finds.
    fn check(&mut self) {
        let seed = self.seed;
        let disk = self.disk();
        let recovered = recover_log(&disk, self.signed.as_slice(), |_, _| {})
            .unwrap_or_else(|error| panic!("seed {seed}: the start was refused: {error}"));
        let found = read_all(disk);
        let known = self.acknowledged.len();
        assert!(found.len() >= known, "seed {seed}: {} of {known} acknowledged records are left", found.len());
        assert!(found[..known] == self.acknowledged[..], "seed {seed}: an acknowledged record was changed");
        let more = &found[known..];
        assert!(more.is_empty() || more == self.in_flight, "seed {seed}: a write is half visible");
        assert_eq!(recovered.tree.root(), root_of(&found), "seed {seed}: the tree");
        assert_eq!(recovered.position.index, found.len() as u64, "seed {seed}: the next index");
        self.acknowledged = found;
        self.in_flight.clear();
    }
}

fn append(writer: &mut Writer, items: &[Item]) -> Result<(), EvidenceError> {
    writer.room().1.map_or(Ok(()), Err)?;
    writer.make_way(items.iter().map(|item| item.entries.len()).sum())?;
    writer.append(items).map(drop)
}

pub(super) fn record(random: &mut Random) -> Item {
    let id = RecordId(u128::from(random.next()) << 64 | u128::from(random.next()));
    let pad: String = (0..random.below(40)).map(|_| format!("{:x}", random.next())).collect();
    let leaf = format!("{{\"id\":\"{id}\",\"pad\":\"{pad}\",\"t\":\"sim\"}}").into_bytes();
    let mut entries = Vec::new();
    push_entry(&mut entries, EntryKind::Leaf, &leaf);
    if random.below(3) > 0 {
        let most = if random.below(8) == 0 { 6000 } else { 600 };
        let length = random.below(most);
        let blob: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        push_entry(&mut entries, EntryKind::Blob, &blob);
    }
    Item { entries, leaf_hash: leaf_hash(&leaf), cell: None }
}

fn root_of(records: &[Stored]) -> Digest32 {
    let mut tree = Tree::default();
    for record in records {
        let leaf = Entries::new(record).next().unwrap();
        tree.push(leaf_hash(leaf.data), |_, _| {});
    }
    tree.root()
}

/// All records of all blocks, each as its entries.
pub(super) fn read_all(disk: Arc<dyn Disk>) -> Vec<Stored> {
    let mut scanner = Scanner::alone(disk);
    let mut records: Vec<Stored> = Vec::new();
    loop {
        match scanner.next().unwrap() {
            Found::Block(block) => {
                for entry in Entries::new(&block.payload) {
                    if entry.kind == EntryKind::Leaf {
                        records.push(Vec::new());
                    }
                    push_entry(records.last_mut().unwrap(), entry.kind, entry.data);
                }
            }
            Found::Bad(bad) => panic!("damage: {}", bad.why),
            Found::End(_) => return records,
        }
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn no_crash_loses_an_acknowledged_record_or_shows_half_of_another() {
    if let Some(seed) = number("SALLYPORT_SIM_SEED") {
        return World::new(seed).run();
    }
    let seeds = number("SALLYPORT_SIM_CRASHES").unwrap_or(CRASHES).div_ceil(CRASHES_PER_SEED);
    let halves = [0, 1].map(|half| move || (half..seeds).step_by(2).for_each(|seed| World::new(seed).run()));
    std::thread::scope(|scope| halves.map(|half| scope.spawn(half)).into_iter().for_each(|half| half.join().unwrap()));
    println!("{} crashes survived, seeds 0 to {}", seeds * CRASHES_PER_SEED, seeds - 1);
}

#[test]
fn one_rotten_bit_anywhere_is_refused_and_never_covered_up() {
    let mut world = World::new(7);
    let mut writer = world.start().unwrap();
    for _ in 0..12 {
        append(&mut writer, &[record(&mut world.random)]).unwrap();
    }
    let disk = world.disk();
    let stored = read_all(Arc::clone(&disk));
    let mut scanner = Scanner::alone(Arc::clone(&disk));
    while let Found::Block(block) = scanner.next().unwrap() {
        let start = usize::try_from(block.offset).unwrap();
        for position in (0..block.header.content_bytes()).step_by(7) {
            let bit = (position % 8) as u8;
            world.disk.rot(block.segment, start + position, bit);
            let error = recover_log(&disk, &[], |_, _| {}).err();
            assert!(matches!(error, Some(EvidenceError::Damaged(_))), "block at {start}, byte {position}: {error:?}");
            world.disk.rot(block.segment, start + position, bit);
        }
    }
    assert!(read_all(disk) == stored);
}
