//! What a start does with what it finds: cut what was torn, refuse what was damaged or rolled back, close open calls.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use serde::Deserialize;

use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::crypto::Digest32;
use crate::derived::{tile_path, write_tile};
use crate::encode::Tallies;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::keystore::KeyId;
use crate::layout::{self, Layout, segment_name};
use crate::merkle::{TILE_WIDTH, TileId, Tree, leaf_hash};
use crate::read::findings::examine;
use crate::read::source::Log;
use crate::read::{ids, index, records};
use crate::wal::disk::Disk;
use crate::wal::format::{Entries, EntryKind};
use crate::wal::scan::{Bad, Block, End, Found, Resume, Scanner};
use crate::wal::writer::Position;

/// Damaged records named in one message.
const MAX_NAMED: usize = 5;

/// The state that a log was left in.
#[derive(Default)]
pub(crate) struct Recovered {
    /// Where to go on; the epoch is the new one.
    pub(crate) position: Position,
    pub(crate) tree: Tree,
    /// Calls without an end, and what was written of their payload.
    pub(crate) open_calls: Vec<(RecordId, Tallies)>,
    pub(crate) torn_bytes: u64,
    /// Keys that records say were destroyed.
    pub(crate) erased: HashSet<KeyId>,
}

/// The fields of a leaf that pairing needs.
#[derive(Deserialize)]
pub(crate) struct LeafLinks {
    pub(crate) id: String,
    pub(crate) t: String,
    pub(crate) call: Option<String>,
    pub(crate) role: Option<String>,
    pub(crate) len: Option<u64>,
    pub(crate) n: Option<u64>,
    pub(crate) count: Option<u64>,
    pub(crate) blob: Option<BlobLink>,
    #[serde(default)]
    pub(crate) payloads: Vec<PayloadLink>,
    #[serde(default)]
    details: serde_json::Value,
}

#[derive(Deserialize)]
pub(crate) struct BlobLink {
    pub(crate) len: u64,
    pub(crate) sha256: String,
}

#[derive(Deserialize, Debug, PartialEq, Eq)]
pub(crate) struct PayloadLink {
    pub(crate) chunks: u64,
    pub(crate) len: u64,
    pub(crate) role: String,
    pub(crate) sha256: String,
}

impl LeafLinks {
    /// None if the bytes are not a leaf.
    pub(crate) fn parse(leaf: &[u8]) -> Option<Self> {
        serde_json::from_slice(leaf).ok()
    }

    pub(crate) fn id(&self) -> Option<RecordId> {
        self.id.parse().ok()
    }

    pub(crate) fn call(&self) -> Option<RecordId> {
        self.call.as_ref()?.parse().ok()
    }

    /// The keys that an erasure record says were destroyed.
    pub(crate) fn erased_keys(&self) -> impl Iterator<Item = KeyId> {
        let is_erasure = self.t == "erasure";
        let keys = self.details.get("keys").and_then(serde_json::Value::as_array).filter(|_| is_erasure);
        keys.into_iter().flatten().filter_map(|key| hex::decode(key.as_str()?).ok()?.try_into().ok())
    }

    /// The digests of the old and the new key that a key record names.
    pub(crate) fn rotated_keys(&self) -> Option<(Digest32, Digest32)> {
        let digest = |name| hex::decode(self.details.get(name)?.as_str()?).ok()?.try_into().ok();
        if self.t == "key" { Some((digest("old")?, digest("new")?)) } else { None }
    }

    /// The blob's digest.
    pub(crate) fn blob_sha256(&self) -> Option<Digest32> {
        hex::decode(&self.blob.as_ref()?.sha256).ok()?.try_into().ok()
    }
}

/// Reads the log from the place that the index covers on, or the whole of it, repairs its torn end, and checks it against what was
/// signed.
pub(crate) fn recover(layout: &Layout, disk: &Arc<dyn Disk>, key: &VerifierKey) -> Result<Recovered, EvidenceError> {
    let signed = signed_checkpoints(layout, key)?;
    let mut failed = None;
    let mut repair = |id, hashes: &[Digest32]| {
        if let Err(error) = repair_tile(layout, id, hashes) {
            failed = Some(error);
        }
    };
    let shortened = start_point(layout, &signed).and_then(|start| {
        let recovered = recover_from(start, disk, &signed, &mut repair);
        // The index is derived: if it leads nowhere, the log says what is there.
        recovered
            .inspect_err(|error| tracing::warn!(%error, "the whole log is read, since the index does not fit"))
            .ok()
    });
    let recovered = match shortened {
        Some(recovered) => recovered,
        None => recover_log(disk, &signed, &mut repair)?,
    };
    if let Some(error) = failed {
        return Err(error);
    }
    for (id, hashes) in recovered.tree.partial_tiles() {
        repair_tile(layout, id, hashes)?;
    }
    tidy_checkpoint_log(layout)?;
    Ok(recovered)
}

/// What is known of the log up to a place, so that a start need not read it from its beginning.
struct StartPoint {
    resume: Resume,
    tree: Tree,
    open: HashMap<RecordId, Tallies>,
    erased: HashSet<KeyId>,
}

/// The place up to which the index covers the log, if everything that a start has to know of what is before it is there. What was
/// changed before it is found by `verify`; that the tree is the right one, the signed checkpoints behind it tell.
fn start_point(layout: &Layout, signed: &[Checkpoint]) -> Option<StartPoint> {
    let log = Log { origin: String::new(), layout: layout.clone() };
    let place = index::stored_place(&layout.index());
    let covered = place.index();
    if covered == 0 || signed.is_empty() || signed.iter().any(|checkpoint| checkpoint.size < covered) {
        return None;
    }
    let erasures = ids::listed_erasures(&log, &place).ok()??;
    let erased = erasures
        .iter()
        .filter_map(|record| LeafLinks::parse(&record.stored))
        .flat_map(|links| links.erased_keys().collect::<Vec<_>>());
    let mut open = HashMap::new();
    for spots in &place.open {
        let intent = records::at(&log, spots.first).ok()??;
        let mut tallies = Tallies::default();
        for spot in &spots.payload {
            let payload = records::at(&log, *spot).ok()??;
            tally(&LeafLinks::parse(&payload.stored)?, &mut tallies);
        }
        open.insert(intent.id().parse().ok()?, tallies);
    }
    let tree = Tree::from_tiles(covered, |id, width| tile_of_width(layout, id, width)).ok()??;
    // A checkpoint of just this tree is not met again on the way.
    let wrong = signed.iter().any(|checkpoint| checkpoint.size == covered && checkpoint.root != tree.root());
    (!wrong).then(|| StartPoint { resume: place.resume.clone(), tree, open, erased: erased.collect() })
}

/// The first hashes of a tile, which may have grown since.
fn tile_of_width(layout: &Layout, id: TileId, width: usize) -> Result<Vec<Digest32>, EvidenceError> {
    for stored in width..=TILE_WIDTH {
        if let Some(bytes) = layout::read_if_there(&tile_path(&layout.tiles(), id, stored))? {
            let (hashes, _) = bytes.as_chunks::<32>();
            return Ok(hashes.get(..width).unwrap_or_default().to_vec());
        }
    }
    Ok(Vec::new())
}

/// The part of a start that concerns the log alone: reads it, checks it against what was signed, cuts its torn end.
pub(crate) fn recover_log(
    disk: &Arc<dyn Disk>,
    signed: &[Checkpoint],
    mut full_tile: impl FnMut(TileId, &[Digest32]),
) -> Result<Recovered, EvidenceError> {
    let (tree, open, erased) = (Tree::default(), HashMap::new(), HashSet::new());
    recover_from(StartPoint { resume: Resume::default(), tree, open, erased }, disk, signed, &mut full_tile)
}

fn recover_from(
    start: StartPoint,
    disk: &Arc<dyn Disk>,
    signed: &[Checkpoint],
    mut full_tile: &mut impl FnMut(TileId, &[Digest32]),
) -> Result<Recovered, EvidenceError> {
    let StartPoint { resume, tree, mut open, erased } = start;
    let mut recovered = Recovered { tree, erased, ..Recovered::default() };
    let mut scanner = Scanner::resume_alone(Arc::clone(disk), &resume);
    let end = loop {
        match scanner.next()? {
            Found::Block(block) => {
                take_block(&block, &mut recovered, &mut open, signed, &mut full_tile)?;
            }
            Found::Bad(bad) => return Err(EvidenceError::Damaged(describe(&bad))),
            Found::End(end) => break end,
        }
    };
    if let Some(checkpoint) = signed.iter().find(|checkpoint| checkpoint.size > recovered.tree.size()) {
        return Err(EvidenceError::RolledBack(format!(
            "{} records were signed, {} are there",
            checkpoint.size,
            recovered.tree.size()
        )));
    }
    cut_torn_tail(disk.as_ref(), &end)?;
    let expected = scanner.expected();
    recovered.torn_bytes = end.torn_bytes;
    recovered.position = Position {
        segment: end.segment,
        offset: end.offset,
        epoch: expected.epoch + 1,
        sequence: expected.sequence,
        index: expected.index,
        previous: expected.previous,
    };
    recovered.open_calls = open.into_iter().collect();
    recovered.open_calls.sort_by_key(|(id, _)| *id);
    Ok(recovered)
}

/// The newest checkpoint in the log, and its copy outside.
fn signed_checkpoints(layout: &Layout, key: &VerifierKey) -> Result<Vec<Checkpoint>, EvidenceError> {
    let mut checkpoints = Vec::new();
    for path in [layout.checkpoint(), layout.last_signed()] {
        if let Some(note) = layout::read_if_there(&path)? {
            let checkpoint = Checkpoint::open(&note, key)
                .map_err(|why| EvidenceError::Damaged(format!("the checkpoint {}: {why}", path.display())))?;
            checkpoints.push(checkpoint);
        }
    }
    Ok(checkpoints)
}

fn take_block(
    block: &Block,
    recovered: &mut Recovered,
    open: &mut HashMap<RecordId, Tallies>,
    signed: &[Checkpoint],
    full_tile: &mut impl FnMut(TileId, &[Digest32]),
) -> Result<(), EvidenceError> {
    let tree = &mut recovered.tree;
    for entry in Entries::new(&block.payload) {
        if entry.kind == EntryKind::Blob {
            continue;
        }
        let links = LeafLinks::parse(entry.data)
            .ok_or_else(|| EvidenceError::Damaged(format!("record #{} is not a leaf", tree.size())))?;
        follow(&links, open);
        recovered.erased.extend(links.erased_keys());
        tree.push(leaf_hash(entry.data), &mut *full_tile);
        if let Some(checkpoint) = signed.iter().find(|signed| signed.size == tree.size() && signed.root != tree.root())
        {
            return Err(EvidenceError::RolledBack(format!(
                "the first {} records are not the ones that were signed",
                checkpoint.size
            )));
        }
    }
    Ok(())
}

/// Keeps the list of open calls.
fn follow(links: &LeafLinks, open: &mut HashMap<RecordId, Tallies>) {
    match links.t.as_str() {
        "intent" => {
            if let Some(id) = links.id() {
                open.insert(id, Tallies::default());
            }
        }
        "outcome" | "abort" => {
            if let Some(call) = links.call() {
                open.remove(&call);
            }
        }
        "payload" => {
            if let Some(tallies) = links.call().and_then(|call| open.get_mut(&call)) {
                tally(links, tallies);
            }
        }
        _ => {}
    }
}

/// Counts a piece of payload.
fn tally(links: &LeafLinks, tallies: &mut Tallies) {
    let Some(digest) = links.blob_sha256() else { return };
    let tally = match links.role.as_deref() {
        Some("response") => &mut tallies.response,
        Some("request") => &mut tallies.request,
        _ => &mut tallies.beside,
    };
    tally.add(links.len.unwrap_or(0), &digest);
}

/// Makes a tile what the log says. Tiles are derived: the log decides.
fn repair_tile(layout: &Layout, id: TileId, hashes: &[Digest32]) -> Result<(), EvidenceError> {
    let path = tile_path(&layout.tiles(), id, hashes.len());
    match layout::read_if_there(&path)? {
        Some(bytes) if bytes == hashes.as_flattened() => return Ok(()),
        Some(_) => {
            tracing::warn!(tile = %path.display(), "a tile was not what the log says; it is written anew")
        }
        None => {}
    }
    write_tile(&layout.tiles(), id, hashes)
}

/// Zeroes what an unfinished write left, so that the next block is written onto zeros.
fn cut_torn_tail(disk: &dyn Disk, end: &End) -> Result<(), EvidenceError> {
    if end.torn_bytes == 0 {
        return Ok(());
    }
    tracing::warn!(
        segment = end.segment,
        offset = end.offset,
        bytes = end.torn_bytes,
        "a write that was never acknowledged is cut off"
    );
    disk.zero(end.segment, end.offset, end.offset + end.torn_bytes)
}

/// Cuts an unfinished last line off the log of checkpoints.
fn tidy_checkpoint_log(layout: &Layout) -> Result<(), EvidenceError> {
    let path = layout.checkpoint_log();
    let Some(bytes) = layout::read_if_there(&path)? else {
        return Ok(());
    };
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |position| position + 1);
    if whole == bytes.len() {
        return Ok(());
    }
    File::options()
        .write(true)
        .open(&path)
        .and_then(|file| file.set_len(whole as u64))
        .map_err(|e| EvidenceError::io("repair", &path, &e))
}

/// Brings the last segment back to its size and removes what is behind it.
pub(crate) fn tidy_segments(disk: &dyn Disk, end_segment: u32, segment_bytes: u64) -> Result<(), EvidenceError> {
    disk.extend(end_segment, segment_bytes)?;
    // Segments behind the end hold no good block (the scan has looked); they are made anew, in the size of this start.
    for number in disk.segments()?.into_iter().filter(|&number| number > end_segment) {
        disk.remove(number)?;
    }
    Ok(())
}

/// Names the records of a damaged stretch.
fn describe(bad: &Bad) -> String {
    let mut findings = examine(bad, &PathBuf::from("wal").join(segment_name(bad.segment)));
    findings.truncate(MAX_NAMED);
    findings.join("; ")
}
