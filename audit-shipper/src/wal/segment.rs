//! Segment files: zeroed ahead, so that a synchronous write into one changes no metadata.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::error::EvidenceError;
use crate::evidence::Durability;
use crate::layout::{segment_name, segment_numbers, sync_directory};
use crate::wal::disk::{Disk, ReadSegment, WriteSegment};
use crate::wal::format::BLOCK_ALIGN;

/// Zeros are written in pieces of this size, in bytes; each is synced, so that no write behind it waits for all of them.
const ZEROING_STEP_BYTES: usize = 1 << 20;

/// An aligned buffer, as `O_DIRECT` wants it.
pub(crate) struct AlignedBuffer {
    storage: Vec<u8>,
    start: usize,
    capacity: usize,
}

impl AlignedBuffer {
    pub(crate) fn new(capacity: usize) -> Self {
        let capacity = capacity.next_multiple_of(BLOCK_ALIGN);
        let storage = vec![0; capacity + BLOCK_ALIGN];
        // The vector never grows, so what is aligned now stays aligned.
        let start = storage.as_ptr().align_offset(BLOCK_ALIGN).min(BLOCK_ALIGN);
        Self { storage, start, capacity }
    }

    /// The first `length` bytes, to be filled; none if there are not so many.
    pub(crate) fn get_mut(&mut self, length: usize) -> Option<&mut [u8]> {
        if length > self.capacity {
            return None;
        }
        self.storage.get_mut(self.start..self.start + length)
    }
}

/// The segments of a directory.
#[derive(Clone, Debug)]
pub(crate) struct Files {
    wal: PathBuf,
}

impl Files {
    pub(crate) fn new(wal: &Path) -> Self {
        Self { wal: wal.to_owned() }
    }

    fn path(&self, number: u32) -> PathBuf {
        self.wal.join(segment_name(number))
    }
}

impl Disk for Files {
    fn segments(&self) -> Result<Vec<u32>, EvidenceError> {
        segment_numbers(&self.wal)
    }

    fn reader(&self, number: u32) -> Result<Option<Box<dyn ReadSegment>>, EvidenceError> {
        let path = self.path(number);
        match File::open(&path) {
            Ok(file) => Ok(Some(Box::new(Reader { file, path }))),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(EvidenceError::io("open", &path, &error)),
        }
    }

    fn writer(
        &self,
        number: u32,
        durability: Durability,
        probe_at: u64,
    ) -> Result<Box<dyn WriteSegment>, EvidenceError> {
        Ok(Box::new(Segment::open(self.path(number), durability, probe_at)?))
    }

    fn create(&self, number: u32, bytes: u64) -> Result<(), EvidenceError> {
        let path = self.path(number);
        let temporary = self.wal.join(format!("{number:08}.new"));
        let make = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
            let zeros = vec![0; ZEROING_STEP_BYTES];
            let mut left = bytes;
            while left > 0 {
                let step = left.min(ZEROING_STEP_BYTES as u64);
                file.write_all(zeros.get(..usize::try_from(step).unwrap_or(0)).unwrap_or_default())?;
                file.sync_data()?;
                left -= step;
            }
            file.sync_all()?;
            std::fs::rename(&temporary, &path)
        };
        make().map_err(|error| {
            let _ = std::fs::remove_file(&temporary);
            EvidenceError::io("make the segment", &path, &error)
        })?;
        sync_directory(&self.wal)
    }

    fn zero(&self, number: u32, from: u64, until: u64) -> Result<(), EvidenceError> {
        let path = self.path(number);
        let cut = || {
            let file = File::options().write(true).open(&path)?;
            let length = usize::try_from(until.saturating_sub(from)).unwrap_or(usize::MAX);
            let zeros = vec![0; length.min(ZEROING_STEP_BYTES)];
            let mut at = from;
            while at < until {
                let step = zeros.len().min(usize::try_from(until - at).unwrap_or(usize::MAX));
                file.write_all_at(zeros.get(..step).unwrap_or_default(), at)?;
                at += step as u64;
            }
            file.sync_all()
        };
        cut().map_err(|e| EvidenceError::io("repair", &path, &e))
    }

    fn extend(&self, number: u32, bytes: u64) -> Result<(), EvidenceError> {
        let path = self.path(number);
        let file = File::options().write(true).open(&path).map_err(|e| EvidenceError::io("open", &path, &e))?;
        let length = file.metadata().map_err(|e| EvidenceError::io("inspect", &path, &e))?.len();
        if length < bytes {
            file.set_len(bytes).and_then(|()| file.sync_all()).map_err(|e| EvidenceError::io("extend", &path, &e))?;
        }
        Ok(())
    }

    fn remove(&self, number: u32) -> Result<(), EvidenceError> {
        let path = self.path(number);
        std::fs::remove_file(&path).map_err(|e| EvidenceError::io("remove", &path, &e))
    }

    fn sync(&self, number: u32) -> Result<(), EvidenceError> {
        let path = self.path(number);
        File::open(&path).and_then(|file| file.sync_data()).map_err(|e| EvidenceError::io("sync", &path, &e))
    }
}

struct Reader {
    file: File,
    path: PathBuf,
}

impl ReadSegment for Reader {
    fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, EvidenceError> {
        let mut bytes = vec![0; length];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..)
            && !rest.is_empty()
        {
            match self.file.read_at(rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(more) => filled += more,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(EvidenceError::io("read", &self.path, &error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }
}

/// A segment that is written to.
struct Segment {
    bytes: u64,
    direct: bool,
    file: File,
    path: PathBuf,
}

impl Segment {
    fn open(path: PathBuf, durability: Durability, probe_at: u64) -> Result<Self, EvidenceError> {
        let with_flags = |flags: i32| OpenOptions::new().write(true).custom_flags(flags).open(&path);
        let (file, direct) = match durability {
            Durability::Strict => {
                match with_flags(libc::O_DIRECT | libc::O_DSYNC).and_then(|file| probe(file, probe_at)) {
                    Ok(file) => (Ok(file), true),
                    // File systems without O_DIRECT say so when opening or at the first write.
                    Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (with_flags(libc::O_DSYNC), false),
                    Err(error) => (Err(error), false),
                }
            }
            Durability::Crash | Durability::Observe => (with_flags(0), false),
        };
        let file = file.map_err(|e| EvidenceError::io("open", &path, &e))?;
        let bytes = file.metadata().map_err(|e| EvidenceError::io("inspect", &path, &e))?.len();
        Ok(Self { bytes, direct, file, path })
    }

    fn replaced(&self, how: &str) -> EvidenceError {
        EvidenceError::Damaged(format!("{} {how} while it was written to", self.path.display()))
    }
}

impl WriteSegment for Segment {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn is_direct(&self) -> bool {
        self.direct
    }

    fn write(&self, block: &[u8], offset: u64) -> Result<(), EvidenceError> {
        let written = loop {
            match self.file.write_at(block, offset) {
                // Interrupted before anything was written.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        let error = match written {
            Ok(length) if length == block.len() => return Ok(()),
            Ok(length) => io::Error::other(format!("only {length} of {} bytes were written", block.len())),
            Err(error) => error,
        };
        Err(EvidenceError::io("write", &self.path, &error))
    }

    fn check(&self, block: Option<(u64, usize, u32)>) -> Result<(), EvidenceError> {
        let inspect = |e: &io::Error| EvidenceError::io("inspect", &self.path, e);
        let ours = self.file.metadata().map_err(|e| inspect(&e))?;
        if ours.nlink() == 0 {
            return Err(self.replaced("was deleted"));
        }
        let found = match std::fs::metadata(&self.path) {
            Ok(found) => found,
            Err(error) if error.kind() == ErrorKind::NotFound => return Err(self.replaced("was moved away")),
            Err(error) => return Err(inspect(&error)),
        };
        if (found.dev(), found.ino()) != (ours.dev(), ours.ino()) {
            return Err(self.replaced("was replaced by another file"));
        }
        if ours.len() < self.bytes {
            return Err(self.replaced("was cut short"));
        }
        if let Some((offset, length, crc)) = block {
            let file = File::open(&self.path).map_err(|e| EvidenceError::io("open", &self.path, &e))?;
            let held = Reader { file, path: self.path.clone() }.read(offset, length)?;
            if crc32c::crc32c(&held) != crc {
                return Err(self.replaced("was changed"));
            }
        }
        Ok(())
    }
}

/// Writes a block of zeros where there are zeros.
fn probe(file: File, at: u64) -> io::Result<File> {
    let mut buffer = AlignedBuffer::new(BLOCK_ALIGN);
    if at + BLOCK_ALIGN as u64 <= file.metadata()?.len()
        && let Some(zeros) = buffer.get_mut(BLOCK_ALIGN)
    {
        file.write_all_at(zeros, at)?;
    }
    Ok(file)
}
