//! Taking out of the index what is encrypted under keys that are being destroyed. Only the shards that hold some of it are touched:
//! its rows are taken out and put back by what their leaves alone say.
//!
//! What is to be forgotten is written down before the keys go, so that a start or the next update completes what a crash cut off.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::blind::Blind;
use super::calls::{self, Keys};
use super::index::{self, CHANGING};
use super::shard::{Enough, Listed, Shard, ShardWriter};
use super::source::{Log, Source};
use super::spoken;
use super::walk::ended_at;
use crate::error::EvidenceError;
use crate::keystore::KeyId;
use crate::layout;

/// Rows gathered before they are put back: some tens of megabytes.
const ROWS_AT_ONCE: usize = 100_000;

fn list(log: &Log) -> PathBuf {
    log.layout.index().join("forget")
}

/// Notes which keys will be destroyed.
pub(crate) fn announce(source: &Source, keys: &HashSet<KeyId>) -> Result<(), EvidenceError> {
    let _one_at_a_time = CHANGING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let log = source.locate()?;
    let mut all = announced(&log)?;
    if all.is_superset(keys) || !log.layout.index().is_dir() {
        return Ok(());
    }
    all.extend(keys);
    layout::replace(&list(&log), all.into_iter().collect::<Vec<_>>().as_flattened())
}

fn announced(log: &Log) -> Result<HashSet<KeyId>, EvidenceError> {
    let bytes = layout::read_if_there(&list(log))?.unwrap_or_default();
    Ok(bytes.as_chunks::<16>().0.iter().copied().collect())
}

/// Takes out what was announced, and these keys, as far as they are gone: what is put back is what can still be read. An index that
/// this cannot be done to is removed, to be made again.
pub(crate) fn forget(source: &Source, keys: &HashSet<KeyId>) -> Result<(), EvidenceError> {
    let _one_at_a_time = CHANGING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let log = source.locate()?;
    forget_all(source, &log, keys).or_else(|error| {
        tracing::warn!(%error, "the search index is removed, since an erasure could not be carried out in it");
        index::remove(&log.layout.index())
    })
}

/// As [`forget`], for whoever changes the index already.
pub(super) fn forget_announced(source: &Source, log: &Log) -> Result<(), EvidenceError> {
    forget_all(source, log, &HashSet::new())
}

/// An index that was begun anew since does not know what was announced, but may hold it: hence `more`.
fn forget_all(source: &Source, log: &Log, more: &HashSet<KeyId>) -> Result<(), EvidenceError> {
    let wanted: HashSet<KeyId> = announced(log)?.union(more).copied().collect();
    if wanted.is_empty() || !log.layout.index().is_dir() {
        return Ok(());
    }
    let keys = source.subject_keys(log)?;
    // Not destroyed after all, or not yet: their turn comes.
    let (alive, gone): (Vec<KeyId>, Vec<KeyId>) = wanted.into_iter().partition(|key| keys.get(key).is_some());
    if gone.is_empty() {
        return Ok(());
    }
    let blind = Blind::of(source)?;
    let place = index::stored_place(&log.layout.index());
    let tokens: Vec<u64> = gone.iter().map(|key| blind.key(key)).collect();
    let forgetting = Forgetting { log, keys, blind, text: place.text };
    let index = log.layout.index();
    let entries = std::fs::read_dir(&index).map_err(|e| EvidenceError::io("list", &index, &e))?;
    // Also those that a crash kept from being named in the place.
    let is_shard = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u64>().ok()).is_some();
    for directory in entries.flatten().map(|entry| entry.path()).filter(is_shard) {
        let mut left = tokens.as_slice();
        while !left.is_empty() {
            left = forgetting.take_out(&directory, left)?;
        }
        if let Some(shard) = Shard::open(&directory)?
            && shard.holds_deleted()?
        {
            shard.writer()?.purge()?;
        }
    }
    if !alive.is_empty() {
        return layout::replace(&list(log), alive.as_flattened());
    }
    match std::fs::remove_file(list(log)) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(EvidenceError::io("remove", &list(log), &error))
        }
        _ => Ok(()),
    }
}

struct Forgetting<'l> {
    log: &'l Log,
    keys: Keys,
    blind: Blind,
    text: bool,
}

impl Forgetting<'_> {
    /// Takes the rows of the first of these keys out of a shard and puts them back without them. Returns the keys that are left.
    fn take_out<'t>(&self, directory: &Path, tokens: &'t [u64]) -> Result<&'t [u64], EvidenceError> {
        let Some(shard) = Shard::open(directory)? else { return Ok(&[]) };
        let finder = shard.finder()?;
        let (mut rows, mut done) = (BTreeMap::new(), 0);
        for token in tokens {
            finder.find(&[*token], u64::MAX, &mut |listed| {
                rows.insert(listed.first.index, listed);
                Ok(Enough::No)
            })?;
            done += 1;
            if rows.len() >= ROWS_AT_ONCE {
                break;
            }
        }
        let (done, left) = tokens.split_at(done);
        if rows.is_empty() {
            return Ok(left);
        }
        let writer = shard.writer()?;
        done.iter().for_each(|token| writer.take_out(*token));
        for listed in rows.into_values() {
            self.put_back(&writer, &listed)?;
        }
        writer.commit_alone()?;
        Ok(left)
    }

    fn put_back(&self, writer: &ShardWriter, listed: &Listed) -> Result<(), EvidenceError> {
        let Some(ended) = ended_at(self.log, &self.keys, listed.first, listed.end)? else { return Ok(()) };
        let mut tokens = self.blind.of_row(&ended.row);
        // Of a call whose keys changed while it lasted, one may be left.
        let left = ended.keys.iter().flatten().filter(|key| self.keys.get(key).is_some());
        let before = tokens.len();
        tokens.extend(left.map(|key| self.blind.key(key)));
        if self.text && tokens.len() > before {
            let id = ended.row.id.parse()?;
            let call = calls::find(self.log, &self.keys, id)?;
            let said = call.iter().flat_map(|call| [&call.request, &call.response]).flat_map(spoken::texts);
            tokens.extend(said.flat_map(|text| self.blind.words(&text)));
        }
        tokens.sort_unstable();
        tokens.dedup();
        writer.add(listed, &tokens)
    }
}
