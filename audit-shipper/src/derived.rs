//! Work that is derived from the log and never on the way of an acknowledgement: tiles and signed checkpoints.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::checkpoint::{Checkpoint, SigningKey};
use crate::committer::Written;
use crate::crypto::Digest32;
use crate::error::EvidenceError;
use crate::evidence::Durability;
use crate::layout::{self, Layout};
use crate::merkle::{TILE_WIDTH, TileId, Tree};
use crate::shared::Shared;
use crate::wal::disk::Disk;

/// How often a checkpoint is signed while the log grows.
const CHECKPOINT_EVERY: Duration = Duration::from_secs(1);
/// Niceness of the thread.
const NICENESS: i32 = 10;

pub(crate) struct Derived {
    pub(crate) shared: Arc<Shared>,
    pub(crate) layout: Layout,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) key: SigningKey,
    pub(crate) tree: Tree,
    /// The first segment that may hold writes not yet synced (only without `strict`).
    pub(crate) unsynced_from: u32,
}

impl Derived {
    /// Runs until the committer ends; signs a last checkpoint then.
    pub(crate) fn run(mut self, written: Receiver<Written>) {
        lower_priority();
        let mut due = Instant::now() + CHECKPOINT_EVERY;
        let mut newest_segment = self.unsynced_from;
        loop {
            let received = written.recv_timeout(due.saturating_duration_since(Instant::now()));
            let ending = matches!(received, Err(RecvTimeoutError::Disconnected));
            if let Ok(batch) = received {
                newest_segment = newest_segment.max(batch.segment);
                self.add(&batch.hashes);
            }
            if ending || Instant::now() >= due {
                if let Err(error) = self.sign(newest_segment) {
                    tracing::error!(%error, "the checkpoint could not be written; it will be tried again");
                    self.shared.remember(&error);
                }
                due = Instant::now() + CHECKPOINT_EVERY;
            }
            if ending {
                return;
            }
        }
    }

    fn add(&mut self, hashes: &[Digest32]) {
        let tiles = self.layout.tiles();
        for hash in hashes {
            self.tree.push(*hash, |id, hashes| {
                if let Err(error) = write_tile(&tiles, id, hashes) {
                    tracing::error!(%error, "a tile could not be written; the next start makes it");
                }
            });
        }
    }

    /// Writes the unfinished tiles and signs the tree, if it has grown.
    pub(crate) fn sign(&mut self, newest_segment: u32) -> Result<(), EvidenceError> {
        if self.tree.size() == self.shared.signed.load(Ordering::Relaxed) {
            return Ok(());
        }
        if self.shared.durability != Durability::Strict {
            // What is signed must survive, or the next start would look like a rollback.
            for number in self.unsynced_from..=newest_segment {
                self.disk.sync(number)?;
            }
            self.shared.keystore.sync()?;
            self.unsynced_from = newest_segment;
        }
        publish(&self.layout, &self.key, &self.tree)?;
        self.shared.signed.store(self.tree.size(), Ordering::Relaxed);
        Ok(())
    }
}

/// Writes the tree's right edge and a signed checkpoint of it.
pub(crate) fn publish(layout: &Layout, key: &SigningKey, tree: &Tree) -> Result<(), EvidenceError> {
    for (id, hashes) in tree.partial_tiles() {
        write_tile(&layout.tiles(), id, hashes)?;
    }
    let checkpoint = Checkpoint { origin: key.verifier.name.clone(), size: tree.size(), root: tree.root() };
    let note = checkpoint.sign(key);
    layout::replace(&layout.checkpoint(), note.as_bytes())?;
    layout::replace(&layout.last_signed(), note.as_bytes())?;
    let path = layout.checkpoint_log();
    let append = || {
        let mut file = File::options().append(true).create(true).open(&path)?;
        file.write_all(checkpoint.log_line(&note).as_bytes())?;
        file.sync_data()
    };
    append().map_err(|e| EvidenceError::io("append to", &path, &e))
}

/// Where a tile is stored.
pub(crate) fn tile_path(tiles: &Path, id: TileId, width: usize) -> PathBuf {
    tiles.join(id.path(width))
}

/// Writes a tile. A full one makes the partial ones before it useless; of partial ones the two newest stay, for readers
/// that hold the checkpoint before this.
pub(crate) fn write_tile(tiles: &Path, id: TileId, hashes: &[Digest32]) -> Result<(), EvidenceError> {
    let path = tile_path(tiles, id, hashes.len());
    if let Some(parent) = path.parent() {
        layout::make_directory(parent)?;
        if hashes.len() < TILE_WIDTH {
            remove_old_partials(parent, hashes.len());
        }
    }
    // Not synced: a tile lost by a power failure is made again at the next start.
    let temporary = path.with_extension("new");
    std::fs::write(&temporary, hashes.as_flattened())
        .and_then(|()| std::fs::rename(&temporary, &path))
        .map_err(|e| EvidenceError::io("write", &path, &e))?;
    if hashes.len() == TILE_WIDTH {
        let partials = path.with_extension("p");
        match std::fs::remove_dir_all(&partials) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(EvidenceError::io("remove", &partials, &error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Removes all partial tiles but the newest one below this width. What cannot be removed does no harm.
fn remove_old_partials(directory: &Path, below: usize) {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return;
    };
    let width = |entry: &std::fs::DirEntry| entry.file_name().to_str().and_then(|name| name.parse::<usize>().ok());
    let mut widths: Vec<usize> = entries.flatten().filter_map(|entry| width(&entry)).filter(|&w| w < below).collect();
    widths.sort_unstable();
    widths.pop();
    for width in widths {
        let _ = std::fs::remove_file(directory.join(width.to_string()));
    }
}

/// Makes this thread yield to all others. On Linux, niceness is a property of the thread.
pub(crate) fn lower_priority() {
    #[expect(unsafe_code, reason = "the standard library has no way to set a thread's niceness")]
    // SAFETY: setpriority takes plain integers and touches no memory of ours; 0 names the calling thread.
    let result = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
    if result != 0 {
        tracing::debug!("the priority of the derived work could not be lowered");
    }
}
