//! The log as a C2SP tlog-tiles directory (<https://c2sp.org/tlog-tiles>): leaves, tiles, checkpoint, key. Nothing that is
//! encrypted leaves with it.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use super::records;
use super::source::Source;
use crate::checkpoint::Checkpoint;
use crate::crypto::Digest32;
use crate::error::EvidenceError;
use crate::layout;
use crate::merkle::{TILE_WIDTH, TileId, Tree, leaf_hash};

/// Writes the log up to its newest checkpoint into a new directory; returns the number of leaves.
///
/// # Errors
/// [`EvidenceError`] if the directory exists already, the log cannot be read, or it is not what was signed.
pub fn export_tlog(source: &Source, directory: &Path) -> Result<u64, EvidenceError> {
    let log = source.locate()?;
    let (key, _) = source.verifier_key(&log)?;
    let path = log.layout.checkpoint();
    let note = layout::read_if_there(&path)?
        .ok_or_else(|| EvidenceError::Malformed(format!("there is no checkpoint at {}", path.display())))?;
    let checkpoint = Checkpoint::open(&note, &key)
        .map_err(|why| EvidenceError::Damaged(format!("the checkpoint {}: {why}", path.display())))?;
    std::fs::create_dir(directory).map_err(|e| EvidenceError::io("make the directory", directory, &e))?;
    let mut export =
        Export { directory: directory.to_owned(), tree: Tree::default(), bundle: Vec::new(), failed: None };
    records::for_each_leaf(&log, |_, leaf| {
        if export.tree.size() < checkpoint.size {
            export.leaf(leaf);
        }
    })?;
    export.finish()?;
    if export.tree.size() != checkpoint.size || export.tree.root() != checkpoint.root {
        return Err(EvidenceError::Damaged("the log is not what was signed; run verify".to_owned()));
    }
    write(&directory.join("checkpoint"), &note)?;
    write(&directory.join("log.vkey"), format!("{key}\n").as_bytes())?;
    Ok(checkpoint.size)
}

struct Export {
    directory: PathBuf,
    tree: Tree,
    /// The entry bundle being filled: each leaf with its length in front, as 16 bits, big-endian.
    bundle: Vec<u8>,
    failed: Option<EvidenceError>,
}

impl Export {
    fn leaf(&mut self, leaf: &[u8]) {
        // A leaf has at most 16 KiB.
        self.bundle.extend_from_slice(&u16::try_from(leaf.len()).unwrap_or(u16::MAX).to_be_bytes());
        self.bundle.extend_from_slice(leaf);
        let (directory, failed) = (&self.directory, &mut self.failed);
        self.tree.push(leaf_hash(leaf), |id, hashes| {
            if let Err(error) = write_hashes(directory, id, hashes) {
                failed.get_or_insert(error);
            }
        });
        if self.tree.size().is_multiple_of(TILE_WIDTH as u64)
            && let Err(error) = self.write_bundle(TILE_WIDTH)
        {
            self.failed.get_or_insert(error);
        }
    }

    fn finish(&mut self) -> Result<(), EvidenceError> {
        let left = (self.tree.size() % TILE_WIDTH as u64) as usize;
        if left > 0 {
            self.write_bundle(left)?;
        }
        for (id, hashes) in self.tree.partial_tiles() {
            write_hashes(&self.directory, id, hashes)?;
        }
        self.failed.take().map_or(Ok(()), Err)
    }

    fn write_bundle(&mut self, width: usize) -> Result<(), EvidenceError> {
        let index = (self.tree.size() - 1) / TILE_WIDTH as u64;
        let name = TileId { level: 0, index }.path(width);
        let name = name.strip_prefix("0/").unwrap_or(&name);
        let bundle = std::mem::take(&mut self.bundle);
        write(&self.directory.join("tile/entries").join(name), &bundle)
    }
}

fn write_hashes(directory: &Path, id: TileId, hashes: &[Digest32]) -> Result<(), EvidenceError> {
    write(&directory.join("tile").join(id.path(hashes.len())), hashes.as_flattened())
}

fn write(path: &Path, content: &[u8]) -> Result<(), EvidenceError> {
    if let Some(parent) = path.parent() {
        layout::make_directory(parent)?;
    }
    let write = || {
        let mut file = BufWriter::new(File::create(path)?);
        file.write_all(content)?;
        file.flush()
    };
    write().map_err(|e| EvidenceError::io("write", path, &e))
}
