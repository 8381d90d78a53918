//! What was signed: the two newest checkpoints, and the log of all checkpoints, read as a stream.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Take};
use std::path::{Path, PathBuf};

use super::source::Log;
use crate::checkpoint::{Checkpoint, VerifierKey};
use crate::crypto::Digest32;
use crate::error::EvidenceError;
use crate::layout;
use crate::recovery::LeafLinks;
use crate::rotation;

/// Longest line of the log of checkpoints, in bytes: two numbers, a hash, a signature.
const MAX_LINE_BYTES: u64 = 1024;
/// Most keys, and rotations, that are followed.
const MAX_KEYS: usize = 1000;

/// Everything that is signed about a log, in the order of tree sizes and in bounded memory.
pub(super) struct Signed {
    /// First the one that is trusted, then all that the log itself says have signed it.
    keys: Vec<VerifierKey>,
    /// For each key: the largest size it signed that the log agrees with, and whether it signed anything.
    agreed: Vec<u64>,
    used: Vec<bool>,
    rotations: Vec<Rotated>,
    notes: Vec<(PathBuf, Checkpoint, usize)>,
    lines: Option<Lines>,
    next: Option<(Checkpoint, usize)>,
    /// Largest size that was signed.
    pub(super) largest: u64,
    /// Whether there is a checkpoint at all.
    pub(super) is_there: bool,
    /// What is wrong with the signatures themselves.
    pub(super) findings: Vec<String>,
}

/// A record that names the successor of a key.
struct Rotated {
    old: Digest32,
    new: Digest32,
    index: u64,
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
        let mut keys = vec![key.clone()];
        keys.extend(VerifierKey::load_all(&log.layout.verifier_key())?.into_iter().filter(|known| known != key));
        keys.truncate(MAX_KEYS);
        let mut signed = Self {
            agreed: vec![0; keys.len()],
            used: vec![false; keys.len()],
            keys,
            rotations: Vec::new(),
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
            match signed.by_any_key(|key| Checkpoint::open(&note, key)) {
                Ok((checkpoint, key)) => {
                    signed.is_there = true;
                    signed.largest = signed.largest.max(checkpoint.size);
                    signed.notes.push((path, checkpoint, key));
                }
                Err(why) => signed.findings.push(format!("the checkpoint {}: {why}", path.display())),
            }
        }
        signed.advance();
        Ok(signed)
    }

    /// The roots that were signed for this size, and the number of the key. Sizes must be asked for in order.
    pub(super) fn roots_at(&mut self, size: u64) -> Vec<(Digest32, usize)> {
        let notes = self.notes.iter().filter(|(_, note, _)| note.size == size);
        let mut roots: Vec<(Digest32, usize)> = notes.map(|(_, note, key)| (note.root, *key)).collect();
        while let Some((next, key)) = self.next.take_if(|(next, _)| next.size <= size) {
            if next.size == size {
                roots.push((next.root, key));
            }
            self.advance();
        }
        roots
    }

    /// The log agrees with what a key signed.
    pub(super) fn agrees(&mut self, key: usize, size: u64) {
        if let Some(agreed) = self.agreed.get_mut(key) {
            *agreed = size;
        }
    }

    /// Takes note of a record that names the successor of a key.
    pub(super) fn rotation(&mut self, links: &LeafLinks, index: u64) {
        if let Some((old, new)) = links.rotated_keys()
            && self.rotations.len() < MAX_KEYS
        {
            self.rotations.push(Rotated { old, new, index });
        }
    }

    /// Keys that signed something but that no chain of records joins to the one that is trusted.
    fn strangers(&self) -> Vec<String> {
        let digests: Vec<Digest32> = self.keys.iter().map(rotation::digest).collect();
        let mut trusted = vec![false; self.keys.len()];
        if let Some(first) = trusted.first_mut() {
            *first = true;
        }
        // Each round joins one more key, if any.
        for _ in 0..self.keys.len() {
            for rotated in &self.rotations {
                let place = |digest: &Digest32| digests.iter().position(|known| known == digest);
                let (Some(old), Some(new)) = (place(&rotated.old), place(&rotated.new)) else { continue };
                let [old_trusted, new_trusted] = [old, new].map(|key| trusted.get(key).copied().unwrap_or(false));
                // Forwards only if the old key itself signed the record that names the new one.
                let signed = self.agreed.get(old).is_some_and(|agreed| *agreed > rotated.index);
                if (old_trusted && signed) || new_trusted {
                    for key in [old, new] {
                        trusted.get_mut(key).into_iter().for_each(|trusted| *trusted = true);
                    }
                }
            }
        }
        let keys = self.keys.iter().zip(&self.used).zip(trusted);
        keys.filter(|((_, used), trusted)| **used && !trusted)
            .map(|((key, _), _)| format!("checkpoints are signed by a key that no signed record names: {key}"))
            .collect()
    }

    fn by_any_key<T>(&mut self, open: impl Fn(&VerifierKey) -> Result<T, String>) -> Result<(T, usize), String> {
        let mut first_error = None;
        for (number, key) in self.keys.iter().enumerate() {
            match open(key) {
                Ok(opened) => {
                    self.used.get_mut(number).into_iter().for_each(|used| *used = true);
                    return Ok((opened, number));
                }
                Err(why) => {
                    first_error.get_or_insert(why);
                }
            }
        }
        Err(first_error.unwrap_or_default())
    }

    /// Reads what is left, and compares the notes with it.
    pub(super) fn finish(&mut self) {
        while self.next.take().is_some() {
            self.advance();
        }
        let strangers = self.strangers();
        self.findings.extend(strangers);
        let Some(lines) = &self.lines else { return };
        // A checkpoint is written to its own files first and to the log of checkpoints last.
        for (path, note, _) in self.notes.iter().filter(|(_, note, _)| note.size < lines.largest) {
            self.findings.push(format!(
                "the checkpoint {} is an older one: it is of size {}, but {} were signed already",
                path.display(),
                note.size,
                lines.largest
            ));
        }
    }

    fn advance(&mut self) {
        let Some(mut lines) = self.lines.take() else { return };
        while let Some(line) = lines.next() {
            let read = line.and_then(|line| self.by_any_key(|key| Checkpoint::from_log_line(&line, key)));
            match read {
                Ok((checkpoint, _)) if checkpoint.size < lines.largest => {
                    self.findings.push(lines.blame("it is out of order"));
                }
                Ok((checkpoint, key)) => {
                    lines.largest = checkpoint.size;
                    self.largest = self.largest.max(checkpoint.size);
                    self.next = Some((checkpoint, key));
                    break;
                }
                Err(why) => self.findings.push(lines.blame(&why)),
            }
        }
        self.lines = Some(lines);
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
