//! Checking a whole log: blocks, checksums, chain, tree, tiles, signatures, blobs, and that every call has one end.

use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::{Path, PathBuf};

use super::erased::KeyCheck;
use super::findings::{Place, examine, range_name};
use super::signed::Signed;
use super::source::{Log, Source};
use super::text::{count, line};
use crate::checkpoint::VerifierKey;
use crate::crypto::{Digest32, sha256};
use crate::derived::tile_path;
use crate::encode::{Tallies, Tally};
use crate::error::EvidenceError;
use crate::id::RecordId;
use crate::layout::{self, segment_name};
use crate::merkle::{TILE_WIDTH, TileId, Tree, leaf_hash};
use crate::recovery::{LeafLinks, PayloadLink};
use crate::wal::format::{Entries, EntryKind, HEADER_BYTES};
use crate::wal::scan::{Bad, Block, End, Found, Scanner};

/// Findings printed at most.
const MAX_PRINTED: usize = 20;
/// Findings kept at most.
const MAX_KEPT: usize = 10_000;
/// Kinds of records counted apart.
const MAX_KINDS: usize = 64;
/// Bytes between two reports of progress.
const PROGRESS_EVERY_BYTES: u64 = 8 << 20;

/// What [`verify`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is there and unchanged.
    Sound,
    /// Something was changed or removed.
    Tampered,
    /// It cannot be told: a key or a file is missing, or a killed gateway has not been started again.
    CannotTell,
}

impl Verdict {
    /// The exit code of the command: 0, 1, 3.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Sound => 0,
            Self::Tampered => 1,
            Self::CannotTell => 3,
        }
    }
}

/// How far a check of a log is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Records checked.
    pub records: u64,
    /// Bytes of segments read.
    pub bytes: u64,
    /// Bytes of segments in all.
    pub bytes_total: u64,
}

/// Checks the whole log and prints a short report.
///
/// # Errors
/// Only if the output cannot be written; everything else is a verdict.
pub fn verify(source: &Source, out: &mut dyn Write) -> Result<Verdict, EvidenceError> {
    verify_with(source, out, &mut |_| {})
}

/// As [`verify`], and tells how far it is, about once per [`PROGRESS_EVERY_BYTES`]. Memory is bounded whatever the log's size:
/// by the calls that are open at once, the subject keys, and [`MAX_KEPT`] findings.
///
/// # Errors
/// As [`verify`].
pub fn verify_with(
    source: &Source,
    out: &mut dyn Write,
    progress: &mut dyn FnMut(Progress),
) -> Result<Verdict, EvidenceError> {
    let log = match source.locate() {
        Ok(log) => log,
        Err(error) => return cannot_tell(out, &error),
    };
    let key = match source.verifier_key(&log) {
        Ok(key) => key,
        Err(error) => return cannot_tell(out, &error),
    };
    match Check::run(source, &log, &key.0, progress) {
        Ok(check) => check.report(&log, key.1, out),
        Err(error) => cannot_tell(out, &error),
    }
}

fn cannot_tell(out: &mut dyn Write, error: &EvidenceError) -> Result<Verdict, EvidenceError> {
    line(out, &format!("CANNOT TELL: {error}"))?;
    Ok(Verdict::CannotTell)
}

/// What was seen so far.
struct Check {
    wal: PathBuf,
    tiles: PathBuf,
    running: bool,
    /// None once records are missing, so that nothing behind them can be placed in the tree.
    tree: Option<Tree>,
    signed: Signed,
    /// Size of the largest signed tree that the log agrees with.
    agreed: u64,
    /// The smallest signed tree that the log does not agree with, and the largest before it that it does.
    first_wrong: Option<(u64, u64)>,
    records: u64,
    kinds: BTreeMap<String, u64>,
    open: HashMap<RecordId, (Place, Tallies)>,
    /// Records whose hashes go into the tile now being filled.
    in_tile: Vec<Place>,
    wrong_hashes: Vec<WrongHash>,
    changed: Findings,
    /// Contradictions between records; they may just follow from what was changed.
    contradictions: Findings,
    unclear: Findings,
    lost: u64,
    /// Writes that failed and were given up; nothing was acknowledged of them.
    given_up: u64,
    keys: KeyCheck,
}

/// A bounded list of findings.
#[derive(Default)]
struct Findings {
    list: Vec<String>,
    more: usize,
}

impl Findings {
    fn push(&mut self, finding: String) {
        if self.list.len() < MAX_KEPT { self.list.push(finding) } else { self.more += 1 }
    }

    fn extend(&mut self, findings: impl IntoIterator<Item = String>) {
        findings.into_iter().for_each(|finding| self.push(finding));
    }

    fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

struct WrongHash {
    tile: PathBuf,
    size_after: u64,
    /// Whether the hash is that of one record.
    exact: bool,
    record: String,
}

impl Check {
    fn run(
        source: &Source,
        log: &Log,
        key: &VerifierKey,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self, EvidenceError> {
        let mut check = Self {
            wal: log.layout.wal(),
            tiles: log.layout.tiles(),
            running: log.is_running(),
            tree: Some(Tree::default()),
            // First: what is signed now is durable already, however the log grows meanwhile.
            signed: Signed::open(log, key)?,
            agreed: 0,
            first_wrong: None,
            records: 0,
            kinds: BTreeMap::new(),
            open: HashMap::new(),
            in_tile: Vec::new(),
            wrong_hashes: Vec::new(),
            changed: Findings::default(),
            contradictions: Findings::default(),
            unclear: Findings::default(),
            lost: 0,
            given_up: 0,
            keys: KeyCheck::default(),
        };
        let sizes = segment_sizes(&check.wal)?;
        let bytes_total = sizes.values().sum();
        let mut reported = 0;
        let mut scanner = Scanner::new(&check.wal);
        loop {
            let (segment, offset) = match scanner.next()? {
                Found::Block(block) => {
                    check.block(&block);
                    (block.segment, block.offset)
                }
                Found::Bad(bad) => {
                    check.bad(&bad);
                    (bad.segment, bad.offset)
                }
                Found::End(end) => {
                    check.given_up = scanner.given_up();
                    check.end(&end);
                    check.keys_at_end(source, log);
                    progress(Progress { records: check.records, bytes: bytes_total, bytes_total });
                    return Ok(check);
                }
            };
            let bytes = sizes.range(..segment).map(|(_, size)| size).sum::<u64>() + offset;
            if bytes >= reported + PROGRESS_EVERY_BYTES {
                reported = bytes;
                progress(Progress { records: check.records, bytes, bytes_total });
            }
        }
    }

    fn block(&mut self, block: &Block) {
        let mut entries = Entries::new(&block.payload);
        let mut expected_blob: Option<(Place, u64, Option<Digest32>)> = None;
        for entry in entries.by_ref() {
            let offset = block.offset + (HEADER_BYTES + entry.offset) as u64;
            match entry.kind {
                EntryKind::Leaf => {
                    self.missing_blob(expected_blob.take());
                    let (place, links) = self.leaf(entry.data, block.segment, offset);
                    if !entry.intact {
                        self.changed.push(format!("{}: its leaf was changed", place.name()));
                    }
                    let blob = links.as_ref().and_then(|links| Some((links.blob.as_ref()?.len, links.blob_sha256())));
                    expected_blob = blob.map(|(length, digest)| (place.clone(), length, digest));
                    match links {
                        Some(links) => self.follow(&place, &links),
                        None => self.changed.push(format!("{}: this is not a leaf", place.name())),
                    }
                }
                EntryKind::Blob => match expected_blob.take() {
                    Some((place, length, digest)) => {
                        self.keys.blob(entry.data, place.index);
                        let right = entry.intact && entry.data.len() as u64 == length;
                        if !right || digest != Some(sha256(&[entry.data])) {
                            let name = place.name();
                            self.changed.push(format!("{name}: its blob was changed (at offset {offset})"));
                        }
                    }
                    None => {
                        let file = self.file(block.segment);
                        self.changed.push(format!("{}, offset {offset}: a blob without a leaf", file.display()));
                    }
                },
            }
        }
        self.missing_blob(expected_blob);
        let understood = entries.rest() == 0;
        let expected = block.header.first_index + u64::from(block.header.leaves);
        if !understood || self.records != expected {
            let (file, offset) = (self.file(block.segment), block.offset);
            self.changed
                .push(format!("{}, offset {offset}: the block does not hold what its header says", file.display()));
            self.lose_count(expected);
        }
    }

    fn missing_blob(&mut self, expected: Option<(Place, u64, Option<Digest32>)>) {
        if let Some((place, ..)) = expected {
            self.changed.push(format!("{}: its blob is missing", place.name()));
        }
    }

    /// Puts a leaf into the tree.
    fn leaf(&mut self, leaf: &[u8], segment: u32, offset: u64) -> (Place, Option<LeafLinks>) {
        let links = LeafLinks::parse(leaf);
        let (kind, id) = links.as_ref().map(|links| (links.t.clone(), links.id.clone())).unwrap_or_default();
        if self.kinds.len() < MAX_KINDS || self.kinds.contains_key(&kind) {
            *self.kinds.entry(kind.clone()).or_default() += 1;
        }
        let place = Place { index: self.records, kind, id, file: self.file(segment), offset };
        self.records += 1;
        self.in_tile.push(place.clone());
        if let Some(mut tree) = self.tree.take() {
            tree.push(leaf_hash(leaf), |id, hashes| self.compare_tile(id, hashes, TILE_WIDTH));
            if tree.size().is_multiple_of(TILE_WIDTH as u64) {
                self.in_tile.clear();
            }
            self.compare_roots(&tree);
            self.tree = Some(tree);
        }
        (place, links)
    }

    fn compare_roots(&mut self, tree: &Tree) {
        let size = tree.size();
        for (root, key) in self.signed.roots_at(size) {
            if root == tree.root() {
                self.agreed = size;
                self.signed.agrees(key, size);
            } else if self.first_wrong.is_none() {
                self.first_wrong = Some((size, self.agreed));
            }
        }
    }

    /// Compares what the records say with a stored tile. A missing tile proves nothing: it can be made from the log.
    fn compare_tile(&mut self, id: TileId, hashes: &[Digest32], width: usize) {
        let path = tile_path(&self.tiles, id, width);
        let Ok(Some(stored)) = layout::read_if_there(&path) else {
            return;
        };
        let (stored, odd) = stored.as_chunks::<32>();
        if !odd.is_empty() || stored.len() != width {
            self.changed.push(format!("the tile {} has the wrong length", path.display()));
        }
        let below = (TILE_WIDTH as u64).saturating_pow(u32::try_from(id.level).unwrap_or(u32::MAX));
        for (number, _) in stored.iter().zip(hashes).enumerate().filter(|(_, (a, b))| a != b) {
            if self.wrong_hashes.len() >= MAX_KEPT {
                return;
            }
            let first = (id.index * TILE_WIDTH as u64 + number as u64).saturating_mul(below);
            let place = self.in_tile.get(number).filter(|_| id.level == 0);
            let record = place.map(Place::name);
            self.wrong_hashes.push(WrongHash {
                tile: path.clone(),
                size_after: first.saturating_add(below),
                exact: record.is_some(),
                record: record.unwrap_or_else(|| range_name(first, first.saturating_add(below))),
            });
        }
    }

    /// Pairs the records of a call.
    fn follow(&mut self, place: &Place, links: &LeafLinks) {
        let call = links.call();
        match links.t.as_str() {
            "intent" => {
                if let Some(id) = links.id()
                    && self.open.insert(id, (place.clone(), Tallies::default())).is_some()
                {
                    self.contradictions.push(format!("{}: a second intent of the same call", place.name()));
                }
            }
            "outcome" | "abort" => match call.and_then(|call| self.open.remove(&call)) {
                Some((_, tallies)) if references(&tallies) != links.payloads => {
                    let why = "the payload it refers to is not the payload that is there";
                    self.contradictions.push(format!("{}: {why}", place.name()));
                }
                Some(_) => {}
                None => self.contradictions.push(format!("{}: it ends no open call", place.name())),
            },
            "payload" => self.follow_payload(place, links),
            "gap" => self.lost += links.count.unwrap_or(0),
            "erasure" => self.keys.erasure(links),
            "key" => self.signed.rotation(links, place.index),
            "boot" => {
                let left: Vec<Place> = self.open.drain().map(|(_, (place, _))| place).collect();
                for place in left {
                    self.contradictions.push(format!("{}: this call has no end", place.name()));
                }
            }
            _ => {}
        }
    }

    fn follow_payload(&mut self, place: &Place, links: &LeafLinks) {
        if links.role.as_deref() == Some("attachment") {
            return;
        }
        let open = links.call().and_then(|call| self.open.get_mut(&call));
        let Some((_, tallies)) = open else {
            self.contradictions.push(format!("{}: payload of a call that is not open", place.name()));
            return;
        };
        let tally: &mut Tally = match links.role.as_deref() {
            Some("response") => &mut tallies.response,
            Some("request") => &mut tallies.request,
            _ => &mut tallies.beside,
        };
        let in_order = links.n == Some(tally.chunks());
        tally.add(links.len.unwrap_or(0), &links.blob_sha256().unwrap_or_default());
        if !in_order {
            self.contradictions.push(format!("{}: a piece of payload before it is missing", place.name()));
        }
    }

    fn bad(&mut self, bad: &Bad) {
        let findings = examine(bad, &self.file(bad.segment));
        if bad.only_out_of_order {
            // Tiles and signatures tell better which of the two blocks was changed.
            self.contradictions.extend(findings);
        } else {
            self.changed.extend(findings);
        }
        // The records are taken as far as they go, so that what is behind keeps its place in the tree.
        let whole = bad.next_index.is_some_and(|next| {
            let mut entries = Entries::new(&bad.payload);
            let leaves = entries.by_ref().filter(|entry| entry.kind == EntryKind::Leaf).count() as u64;
            self.records == bad.first_index && self.records + leaves == next
        });
        if whole {
            for entry in Entries::new(&bad.payload).filter(|entry| entry.kind == EntryKind::Leaf) {
                let offset = bad.offset + (HEADER_BYTES + entry.offset) as u64;
                if let (place, Some(links)) = self.leaf(entry.data, bad.segment, offset) {
                    self.follow(&place, &links);
                }
            }
        } else {
            self.lose_count(bad.next_index.unwrap_or(self.records));
        }
    }

    fn lose_count(&mut self, next_index: u64) {
        self.tree = None;
        self.in_tile.clear();
        self.records = next_index;
    }

    fn end(&mut self, end: &End) {
        if let Some(tree) = self.tree.take() {
            for (id, hashes) in tree.partial_tiles() {
                self.compare_partial_tiles(id, hashes);
            }
            self.tree = Some(tree);
        }
        if !self.running {
            if end.torn_bytes > 0 {
                self.unclear.push(format!(
                    "{}, offset {}: the last write was never finished (the gateway was killed); start the gateway once",
                    self.file(end.segment).display(),
                    end.offset
                ));
            }
            if !self.open.is_empty() {
                self.unclear.push(format!(
                    "{} open, and no gateway is running: it was killed; start it once, then it writes ABORTED",
                    count(self.open.len() as u64, "call")
                ));
            }
        }
        self.signed.finish();
        if let Some(tree) = self.tree.take() {
            self.compare_with_signatures(&tree);
        }
        let findings = std::mem::take(&mut self.signed.findings);
        self.changed.extend(findings);
        if !self.signed.is_there && self.changed.is_empty() {
            self.unclear.push("there is no signed checkpoint".to_owned());
        }
    }

    /// All the partial tiles that are stored for one place at the right edge.
    fn compare_partial_tiles(&mut self, id: TileId, hashes: &[Digest32]) {
        let Some(directory) = tile_path(&self.tiles, id, 1).parent().map(Path::to_owned) else {
            return;
        };
        let Ok(entries) = std::fs::read_dir(directory) else {
            return;
        };
        let widths = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<usize>().ok());
        for width in widths.filter(|width| (1..TILE_WIDTH).contains(width)).collect::<Vec<_>>() {
            self.compare_tile(id, hashes, width);
        }
    }

    fn compare_with_signatures(&mut self, tree: &Tree) {
        let size = self.signed.largest;
        if size > tree.size() {
            self.changed.push(format!(
                "{}: missing ({size} were signed, {} are there)",
                range_name(tree.size(), size),
                tree.size()
            ));
        }
        self.explain_wrong_hashes();
        if let Some((size, agreed)) = self.first_wrong
            && self.changed.is_empty()
        {
            self.changed.push(format!("{}: not what was signed", range_name(agreed, size)));
        }
    }

    /// A stored hash differs from the record's: the signatures tell which of them was changed.
    fn explain_wrong_hashes(&mut self) {
        let wrong = std::mem::take(&mut self.wrong_hashes);
        let exact = wrong.iter().any(|wrong| wrong.exact);
        let vague_ones_help = !exact && self.changed.is_empty();
        for wrong in wrong.iter().filter(|wrong| wrong.exact || vague_ones_help) {
            if self.changed.list.iter().any(|finding| finding.starts_with(&wrong.record)) {
                continue;
            }
            let tile = wrong.tile.display();
            self.changed.push(if wrong.size_after <= self.agreed {
                format!("the tile {tile} was changed, at {}", wrong.record)
            } else {
                format!("{}: it is not the record that was written (see the tile {tile})", wrong.record)
            });
        }
    }

    /// Compares the keys that blobs ask for with the keystore. Read last: a key is in it before its first record is.
    fn keys_at_end(&mut self, source: &Source, log: &Log) {
        match source.subject_keys(log) {
            Ok(keys) => self.unclear.extend(self.keys.conclude(&keys)),
            Err(_) => self.keys.not_looked_at(),
        }
    }

    fn report(&self, log: &Log, key_from_log: bool, out: &mut dyn Write) -> Result<Verdict, EvidenceError> {
        let of = |kind: &str| self.kinds.get(kind).copied().unwrap_or(0);
        line(out, &format!("{}: {}", log.origin, count(self.records, "record")))?;
        let mut calls =
            format!("  {}: {} with an outcome, {} aborted", count(of("intent"), "call"), of("outcome"), of("abort"));
        if !self.open.is_empty() {
            calls.push_str(&format!(", {} open", self.open.len()));
        }
        line(out, &calls)?;
        let others: Vec<String> = self
            .kinds
            .iter()
            .filter(|(kind, _)| !["intent", "outcome", "abort", ""].contains(&kind.as_str()))
            .map(|(kind, number)| format!("{number} {kind}"))
            .collect();
        line(out, &format!("  others: {}", others.join(", ")))?;
        if self.given_up > 0 {
            let writes = count(self.given_up, "failed write");
            line(
                out,
                &format!("  {writes} given up and written again to the next segment; nothing was acknowledged of them"),
            )?;
        }
        if let Some(told) = self.keys.told() {
            line(out, &format!("  {told}"))?;
        }
        if self.lost > 0 {
            line(out, &format!("  {} lost in observe mode, as the log itself says", count(self.lost, "record")))?;
        }
        let newer = self.records.saturating_sub(self.agreed);
        let unsigned =
            if newer > 0 { format!("; {newer} newer, chained but not yet under a checkpoint") } else { String::new() };
        line(out, &format!("  {} under a signed checkpoint{unsigned}", self.agreed))?;
        if key_from_log {
            line(out, "  the verifying key was taken from the log itself; give the one you keep elsewhere to be sure")?;
        }
        self.conclude(out)
    }

    fn conclude(&self, out: &mut dyn Write) -> Result<Verdict, EvidenceError> {
        let (verdict, head, findings) = if !self.changed.is_empty() {
            (Verdict::Tampered, "TAMPERED", &self.changed)
        } else if !self.contradictions.is_empty() {
            (Verdict::Tampered, "TAMPERED", &self.contradictions)
        } else if !self.unclear.is_empty() {
            (Verdict::CannotTell, "CANNOT TELL", &self.unclear)
        } else {
            line(out, "SOUND: every record is there and unchanged")?;
            return Ok(Verdict::Sound);
        };
        line(out, &format!("{head}:"))?;
        for finding in findings.list.iter().take(MAX_PRINTED) {
            line(out, &format!("  {finding}"))?;
        }
        let more = findings.list.len().saturating_sub(MAX_PRINTED) + findings.more;
        if more > 0 {
            line(out, &format!("  and {more} more"))?;
        }
        Ok(verdict)
    }

    fn file(&self, segment: u32) -> PathBuf {
        PathBuf::from("wal").join(segment_name(segment))
    }
}

/// Size of every segment, in bytes.
fn segment_sizes(wal: &Path) -> Result<BTreeMap<u32, u64>, EvidenceError> {
    let size = |number: u32| std::fs::metadata(wal.join(segment_name(number))).map_or(0, |found| found.len());
    Ok(layout::segment_numbers(wal)?.into_iter().map(|number| (number, size(number))).collect())
}

fn references(tallies: &Tallies) -> Vec<PayloadLink> {
    let link = |reference: crate::leaf::PayloadRef| PayloadLink {
        chunks: reference.chunks,
        len: reference.len,
        role: reference.role.to_owned(),
        sha256: hex::encode(reference.sha256.0),
    };
    tallies.references().into_iter().map(link).collect()
}
