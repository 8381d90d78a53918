//! A proof that a record is in the log, to be checked without the log and without our code.

use std::path::Path;

use serde::Serialize;

use super::ids;
use super::source::Source;
use crate::checkpoint::Checkpoint;
use crate::crypto::Digest32;
use crate::derived::tile_path;
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::layout;
use crate::merkle::{NodeId, TILE_WIDTH, TileId, Tree, fold, inclusion_path, leaf_hash, root_of_path};

/// Everything that is needed to check one record against a signed checkpoint: RFC 6962 §2.1.1, C2SP tlog-checkpoint.
#[derive(Clone, Debug, Serialize)]
pub struct Proof {
    /// The name of the format.
    pub format: &'static str,
    /// The record's id.
    pub id: String,
    /// The exact bytes of its leaf.
    pub leaf: String,
    /// SHA-256 of `0x00 ‖ leaf`, in hexadecimal.
    pub leaf_hash: String,
    /// Its index in the tree.
    pub index: u64,
    /// Size of the signed tree.
    pub tree_size: u64,
    /// Root of the signed tree, in hexadecimal.
    pub root: String,
    /// The audit path, nearest sibling first, in hexadecimal.
    pub hashes: Vec<String>,
    /// The signed note.
    pub checkpoint: String,
    /// The key that it is signed with: compare it with the one you were given by another way.
    pub verifier_key: String,
}

/// The root of the tree over these leaves (RFC 6962 §2.1), for whoever has them.
pub fn root_of<'l>(leaves: impl IntoIterator<Item = &'l [u8]>) -> [u8; 32] {
    let mut tree = Tree::default();
    leaves.into_iter().for_each(|leaf| tree.push(leaf_hash(leaf), |_, _| {}));
    tree.root()
}

/// The proofs of the records that an id names: the record itself, and for a call its end and its payload too.
///
/// # Errors
/// [`EvidenceError`] if the log cannot be read, or does not lead to what was signed. An empty list means that there is no such
/// record under the newest checkpoint; a second later there may be.
pub fn prove(source: &Source, id: RecordId) -> Result<Vec<Proof>, EvidenceError> {
    let log = source.locate()?;
    let (key, _) = source.verifier_key(&log)?;
    let path = log.layout.checkpoint();
    let note = layout::read_if_there(&path)?
        .ok_or_else(|| EvidenceError::Malformed(format!("there is no checkpoint at {}", path.display())))?;
    let checkpoint = Checkpoint::open(&note, &key)
        .map_err(|why| EvidenceError::Damaged(format!("the checkpoint {}: {why}", path.display())))?;
    let name = id.to_string();
    let mut proofs = Vec::new();
    for record in ids::records_of(&log, &name)? {
        let (index, leaf) = (record.index, &record.stored);
        if index >= checkpoint.size || (record.id() != name && record.text("call") != name) {
            continue;
        }
        let tiles = Tiles { directory: log.layout.tiles(), size: checkpoint.size };
        let hash = leaf_hash(leaf);
        let hashes = inclusion_path(index, checkpoint.size, &mut |node| tiles.node(node))?;
        if root_of_path(hash, index, checkpoint.size, &hashes) != Some(checkpoint.root) {
            return Err(EvidenceError::Damaged(format!(
                "record #{index} does not lead to the root that was signed; run verify"
            )));
        }
        proofs.push(Proof {
            format: "sallyport-proof-1",
            id: record.id().to_owned(),
            leaf: String::from_utf8_lossy(leaf).into_owned(),
            leaf_hash: hex::encode(hash),
            index,
            tree_size: checkpoint.size,
            root: hex::encode(checkpoint.root),
            hashes: hashes.iter().map(hex::encode).collect(),
            checkpoint: String::from_utf8_lossy(&note).into_owned(),
            verifier_key: key.to_string(),
        });
    }
    Ok(proofs)
}

/// The stored tiles of a tree of this size.
struct Tiles {
    directory: std::path::PathBuf,
    size: u64,
}

impl Tiles {
    fn node(&self, node: NodeId) -> Result<Digest32, EvidenceError> {
        let (id, first, number) = node.in_tile();
        let hashes = read_tile(&self.directory, id, width(self.size, id))?;
        let part = hashes.get(first..first + number);
        part.map(fold).ok_or_else(|| EvidenceError::Damaged(format!("the tile {} is too short", id.path(TILE_WIDTH))))
    }
}

/// How many hashes a tile has in a tree of this size.
pub(super) fn width(size: u64, id: TileId) -> usize {
    let at_level = size >> (8 * id.level);
    let left = at_level.saturating_sub(id.index * TILE_WIDTH as u64);
    usize::try_from(left).unwrap_or(TILE_WIDTH).min(TILE_WIDTH)
}

/// Reads a tile of at least this width: the tile itself, or the full one that has come in its place meanwhile.
pub(super) fn read_tile(tiles: &Path, id: TileId, width: usize) -> Result<Vec<Digest32>, EvidenceError> {
    for stored in [width, TILE_WIDTH] {
        if let Some(bytes) = layout::read_if_there(&tile_path(tiles, id, stored))? {
            let (hashes, _) = bytes.as_chunks::<32>();
            return Ok(hashes.get(..width).unwrap_or(hashes).to_vec());
        }
    }
    Err(EvidenceError::Malformed(format!(
        "the tile {} is missing; `audit rebuild` makes it again",
        tile_path(tiles, id, width).display()
    )))
}
