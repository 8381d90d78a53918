//! What a start does with what it finds: cut what was torn, refuse what was damaged or rolled back, close open calls.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use serde::Deserialize;

use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::crypto::Digest32;
use crate::derived::{tile_path, write_tile};
use crate::encode::Tallies;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::layout::{self, Layout, segment_name};
use crate::merkle::{TileId, Tree, leaf_hash};
use crate::read::findings::examine;
use crate::wal::format::{Entries, EntryKind};
use crate::wal::scan::{Bad, Block, End, Found, Scanner};
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

    /// The blob's digest.
    pub(crate) fn blob_sha256(&self) -> Option<Digest32> {
        hex::decode(&self.blob.as_ref()?.sha256).ok()?.try_into().ok()
    }
}

/// Reads the whole log, repairs its torn end, and checks it against what was signed.
pub(crate) fn recover(layout: &Layout, key: &VerifierKey) -> Result<Recovered, EvidenceError> {
    let mut signed = signed_checkpoints(layout, key)?;
    let mut recovered = Recovered::default();
    let mut open = HashMap::new();
    let mut scanner = Scanner::new(&layout.wal());
    let end = loop {
        match scanner.next()? {
            Found::Block(block) => {
                take_block(&block, layout, &mut recovered.tree, &mut open, &mut signed)?;
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
    for (id, hashes) in recovered.tree.partial_tiles() {
        repair_tile(layout, id, hashes)?;
    }
    cut_torn_tail(layout, &end)?;
    tidy_checkpoint_log(layout)?;
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
    layout: &Layout,
    tree: &mut Tree,
    open: &mut HashMap<RecordId, Tallies>,
    signed: &mut [Checkpoint],
) -> Result<(), EvidenceError> {
    let mut entries = Entries::new(&block.payload);
    for entry in entries.by_ref() {
        if entry.kind == EntryKind::Blob {
            continue;
        }
        let links = LeafLinks::parse(entry.data)
            .ok_or_else(|| EvidenceError::Damaged(format!("record #{} is not a leaf", tree.size())))?;
        follow(&links, open);
        let mut failed = None;
        tree.push(leaf_hash(entry.data), |id, hashes| {
            if let Err(error) = repair_tile(layout, id, hashes) {
                failed = Some(error);
            }
        });
        if let Some(error) = failed {
            return Err(error);
        }
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
            if let Some(tallies) = links.call().and_then(|call| open.get_mut(&call))
                && let Some(digest) = links.blob_sha256()
            {
                let tally = if links.role.as_deref() == Some("response") {
                    &mut tallies.response
                } else {
                    &mut tallies.request
                };
                tally.add(links.len.unwrap_or(0), &digest);
            }
        }
        _ => {}
    }
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
fn cut_torn_tail(layout: &Layout, end: &End) -> Result<(), EvidenceError> {
    let path = layout.wal().join(segment_name(end.segment));
    if end.torn_bytes == 0 {
        return Ok(());
    }
    tracing::warn!(segment = %path.display(), offset = end.offset, bytes = end.torn_bytes,
        "a write that was never acknowledged is cut off");
    let cut = || {
        let file = File::options().write(true).open(&path)?;
        let zeros = vec![0; usize::try_from(end.torn_bytes).unwrap_or(usize::MAX).min(1 << 20)];
        let mut at = end.offset;
        let until = end.offset + end.torn_bytes;
        while at < until {
            let step = zeros.len().min(usize::try_from(until - at).unwrap_or(usize::MAX));
            file.write_all_at(zeros.get(..step).unwrap_or_default(), at)?;
            at += step as u64;
        }
        file.sync_all()
    };
    cut().map_err(|e| EvidenceError::io("repair", &path, &e))
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

/// Brings the last segment back to its size and removes half-made ones.
pub(crate) fn tidy_segments(layout: &Layout, end_segment: u32, segment_bytes: u64) -> Result<(), EvidenceError> {
    let wal = layout.wal();
    let path = wal.join(segment_name(end_segment));
    let file = File::options().write(true).open(&path).map_err(|e| EvidenceError::io("open", &path, &e))?;
    let length = file.metadata().map_err(|e| EvidenceError::io("inspect", &path, &e))?.len();
    if length < segment_bytes {
        file.set_len(segment_bytes)
            .and_then(|()| file.sync_all())
            .map_err(|e| EvidenceError::io("extend", &path, &e))?;
    }
    // Segments behind the end hold no good block (the scan has looked); they are made anew, in the size of this start.
    for number in layout::segment_numbers(&wal)?.into_iter().filter(|&number| number > end_segment) {
        let path = wal.join(segment_name(number));
        fs::remove_file(&path).map_err(|e| EvidenceError::io("remove", &path, &e))?;
    }
    Ok(())
}

/// Names the records of a damaged stretch.
fn describe(bad: &Bad) -> String {
    let mut findings = examine(bad, &PathBuf::from("wal").join(segment_name(bad.segment)));
    findings.truncate(MAX_NAMED);
    findings.join("; ")
}
