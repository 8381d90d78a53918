//! What was signed: the two newest checkpoints, and the log of all checkpoints, read as a stream.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Take};
use std::path::{Path, PathBuf};

use super::source::Log;
use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::crypto::Digest32;
use crate::error::EvidenceError;
use crate::layout;

/// Longest line of the log of checkpoints, in bytes: two numbers, a hash, a signature.
const MAX_LINE_BYTES: u64 = 1024;

/// Everything that is signed about a log, in the order of tree sizes and in bounded memory.
pub(super) struct Signed {
    key: VerifierKey,
    notes: Vec<(PathBuf, Checkpoint)>,
    lines: Option<Lines>,
    next: Option<Checkpoint>,
    /// Largest size that was signed.
    pub(super) largest: u64,
    /// Whether there is a checkpoint at all.
    pub(super) is_there: bool,
    /// What is wrong with the signatures themselves.
    pub(super) findings: Vec<String>,
}

struct Lines {
    path: PathBuf,
    reader: Take<BufReader<File>>,
    number: u64,
    largest: u64,
}

impl Signed {
    /// Reads the notes; the log is read as it is needed, up to its length now: what is signed later is not asked for.
    pub(super) fn open(log: &Log, key: &VerifierKey) -> Result<Self, EvidenceError> {
        let lines = Lines::open(&log.layout.checkpoint_log())?;
        let mut signed = Self {
            key: key.clone(),
            notes: Vec::new(),
            lines,
            next: None,
            largest: 0,
            is_there: false,
            findings: Vec::new(),
        };
        for path in [log.layout.checkpoint(), log.layout.last_signed()] {
            let Some(note) = layout::read_if_there(&path)? else {
                continue;
            };
            match Checkpoint::open(&note, key) {
                Ok(checkpoint) => {
                    signed.is_there = true;
                    signed.largest = signed.largest.max(checkpoint.size);
                    signed.notes.push((path, checkpoint));
                }
                Err(why) => signed.findings.push(format!("the checkpoint {}: {why}", path.display())),
            }
        }
        signed.advance();
        Ok(signed)
    }

    /// The roots that were signed for this size. Sizes must be asked for in order.
    pub(super) fn roots_at(&mut self, size: u64) -> Vec<Digest32> {
        let mut roots: Vec<Digest32> =
            self.notes.iter().filter(|(_, note)| note.size == size).map(|(_, note)| note.root).collect();
        while let Some(next) = self.next.take_if(|next| next.size <= size) {
            if next.size == size {
                roots.push(next.root);
            }
            self.advance();
        }
        roots
    }

    /// Reads what is left, and compares the notes with it.
    pub(super) fn finish(&mut self) {
        while self.next.take().is_some() {
            self.advance();
        }
        let Some(lines) = &self.lines else { return };
        // A checkpoint is written to its own files first and to the log of checkpoints last.
        for (path, note) in self.notes.iter().filter(|(_, note)| note.size < lines.largest) {
            self.findings.push(format!(
                "the checkpoint {} is an older one: it is of size {}, but {} were signed already",
                path.display(),
                note.size,
                lines.largest
            ));
        }
    }

    fn advance(&mut self) {
        let Some(lines) = &mut self.lines else { return };
        while let Some(line) = lines.next() {
            match line.and_then(|line| Checkpoint::from_log_line(&line, &self.key)) {
                Ok(checkpoint) if checkpoint.size < lines.largest => {
                    self.findings.push(lines.blame("it is out of order"));
                }
                Ok(checkpoint) => {
                    lines.largest = checkpoint.size;
                    self.largest = self.largest.max(checkpoint.size);
                    self.next = Some(checkpoint);
                    return;
                }
                Err(why) => self.findings.push(lines.blame(&why)),
            }
        }
    }
}

impl Lines {
    fn open(path: &Path) -> Result<Option<Self>, EvidenceError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(EvidenceError::io("read", path, &error)),
        };
        let length = file.metadata().map_err(|e| EvidenceError::io("inspect", path, &e))?.len();
        let reader = BufReader::new(file).take(length);
        Ok(Some(Self { path: path.to_owned(), reader, number: 0, largest: 0 }))
    }

    /// The next whole line. A last line without its end is being written, or was when the gateway was killed.
    fn next(&mut self) -> Option<Result<String, String>> {
        let mut line = Vec::new();
        let read = self.reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line);
        self.number += 1;
        match read {
            Err(error) => {
                self.reader.set_limit(0);
                Some(Err(error.to_string()))
            }
            Ok(_) if line.last() == Some(&b'\n') => {
                line.pop();
                Some(String::from_utf8(line).map_err(|_| "it is not text".to_owned()))
            }
            Ok(length) if length as u64 == MAX_LINE_BYTES => Some(Err("it is too long".to_owned())),
            Ok(_) => None,
        }
    }

    fn blame(&self, why: &str) -> String {
        format!("line {} of {}: {why}", self.number, self.path.display())
    }
}
