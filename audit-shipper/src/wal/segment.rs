//! Segment files: zeroed ahead, so that a synchronous write into one changes no metadata.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::EvidenceError;
use crate::evidence::Durability;
use crate::layout::{segment_name, sync_directory};
use crate::wal::format::BLOCK_ALIGN;

/// Zeros are written in pieces of this size, in bytes; each is synced, so that no write behind it waits for all of them.
const ZEROING_STEP_BYTES: usize = 1 << 20;

/// Pause after a segment could not be made.
const RETRY_AFTER: Duration = Duration::from_secs(1);

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

/// A segment that is written to.
pub(crate) struct Segment {
    pub(crate) bytes: u64,
    /// Whether writes go around the page cache.
    pub(crate) direct: bool,
    file: File,
    path: PathBuf,
}

impl Segment {
    /// Opens a segment for appending. `probe_at` is an offset that is still free: direct I/O is tried out there.
    pub(crate) fn open(wal: &Path, number: u32, durability: Durability, probe_at: u64) -> Result<Self, EvidenceError> {
        let path = wal.join(segment_name(number));
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

    /// Writes a block in one call. A short write is an error: nothing may be known about what reached the disk.
    pub(crate) fn write(&self, block: &[u8], offset: u64) -> Result<(), EvidenceError> {
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

/// Makes a segment of zeros. It appears under its name only when it is whole and durable.
pub(crate) fn create(wal: &Path, number: u32, bytes: u64) -> Result<(), EvidenceError> {
    let path = wal.join(segment_name(number));
    let temporary = wal.join(format!("{number:08}.new"));
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
    sync_directory(wal)
}

/// Makes segments on a thread of its own, one ahead of need.
pub(crate) struct Supply {
    orders: Option<Sender<u32>>,
    ready: Receiver<Result<u32, EvidenceError>>,
    thread: Option<JoinHandle<()>>,
    ordered: bool,
    waiting: Option<u32>,
    /// After a failure nothing is ordered until then: each try writes until the disk is full.
    not_before: Option<Instant>,
}

impl Supply {
    pub(crate) fn start(
        wal: PathBuf,
        bytes: u64,
        on_segment: impl Fn() + Send + 'static,
    ) -> Result<Self, EvidenceError> {
        let (orders, incoming) = channel::<u32>();
        let (outgoing, ready) = channel();
        let thread = std::thread::Builder::new()
            .name("evidence-segments".to_owned())
            .spawn(move || {
                for number in incoming {
                    if outgoing.send(create(&wal, number, bytes).map(|()| number)).is_err() {
                        return;
                    }
                    on_segment();
                }
            })
            .map_err(|e| EvidenceError::io("start a thread for", Path::new("segments"), &e))?;
        Ok(Self { orders: Some(orders), ready, thread: Some(thread), ordered: false, waiting: None, not_before: None })
    }

    /// Asks for a segment, unless one is on its way or a try just failed.
    pub(crate) fn order(&mut self, number: u32) {
        if !self.ordered
            && self.waiting.is_none()
            && self.not_before.is_none_or(|time| time <= Instant::now())
            && let Some(orders) = &self.orders
        {
            self.ordered = orders.send(number).is_ok();
        }
    }

    /// Takes note of a segment that is ready, without waiting. An error ends the order.
    pub(crate) fn poll(&mut self) -> Result<bool, EvidenceError> {
        if let Ok(result) = self.ready.try_recv() {
            self.note(result)?;
        }
        Ok(self.waiting.is_some())
    }

    /// Waits for the segment that was ordered.
    pub(crate) fn take(&mut self) -> Result<u32, EvidenceError> {
        if self.ordered && self.waiting.is_none() {
            let result = self.ready.recv().unwrap_or(Err(EvidenceError::Closed));
            self.note(result)?;
        }
        self.waiting.take().ok_or_else(|| {
            EvidenceError::Poisoned("the last try to make a segment failed; it is tried again soon".to_owned())
        })
    }

    fn note(&mut self, result: Result<u32, EvidenceError>) -> Result<(), EvidenceError> {
        self.ordered = false;
        match result {
            Ok(number) => self.waiting = Some(number),
            Err(error) => {
                self.not_before = Some(Instant::now() + RETRY_AFTER);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
