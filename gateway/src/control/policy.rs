//! Watching and reloading policy files: a good set is written down and swapped in, a broken one changes nothing.

use super::Control;
use super::journal::caller;
use crate::identity::Identity;
use crate::policy_slot::{self, PolicyError, Prepared};
use audit_shipper::Caller;
use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use policy_lang::Cache;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long all must be quiet before files are read that were just closed or exchanged: who writes several does it in one go.
const QUIET: Duration = Duration::from_millis(20);
/// Likewise while a file is being written, in the hope that it will be closed.
const QUIET_WRITING: Duration = Duration::from_millis(200);
/// The longest time that changes are waited out.
const QUIET_MAX: Duration = Duration::from_secs(2);
/// How often files are looked at where nobody tells of changes: network file systems, links in directories above.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// Parsed items of the last set.
pub(super) type Parsed = Arc<Mutex<Cache>>;

/// What a reload came to.
#[derive(Debug)]
pub(super) enum Reloaded {
    /// The files are what was active already.
    Unchanged,
    /// A new set is active.
    Activated(u64),
    /// The files are broken (as people read it), or their activation could not be written down; the old set stays.
    Rejected(Arc<String>),
}

impl Control {
    /// Reads the files again. `by` is the person who asked, if one did.
    pub(super) async fn reload_policy(&self, by: Option<&Identity>) -> Reloaded {
        let _one_at_a_time = self.reloading.lock().await;
        let actor = by.map(caller).unwrap_or_default();
        match self.prepare().await {
            Ok(next) => self.activate(next, actor).await,
            Err(diagnostics) => self.reject(diagnostics, actor).await,
        }
    }

    async fn prepare(&self) -> Result<Prepared, String> {
        let (path, parsed) = (self.shared.config.policy.clone(), Arc::clone(&self.parsed));
        let can_seal = self.shared.sealer.is_some();
        let prepared = tokio::task::spawn_blocking(move || {
            // Whatever a panic left of it, a cache is only a cache: it is looked up by the whole text.
            let mut cache = parsed.lock().unwrap_or_else(PoisonError::into_inner);
            policy_slot::prepare_cached(&path, &mut cache, can_seal)
        });
        let prepared = prepared.await;
        match prepared {
            Ok(prepared) => prepared.map_err(|error: PolicyError| error.render(false)),
            Err(_) => Err("error: reading the policy set panicked; this is a bug\n".to_owned()),
        }
    }

    async fn activate(&self, next: Prepared, actor: Caller) -> Reloaded {
        let slot = &self.shared.policy;
        if next.compiled.program().digest == slot.current().digest() {
            slot.confirm();
            return Reloaded::Unchanged;
        }
        // Never trust the compiler blindly: the set that judges now was compiled without such a finding.
        if let Some(divergence) = next.compiled.divergence() {
            let words =
                format!("error: {divergence}; this is a bug of the compiler, please report it with the policy\n");
            return self.reject(words, actor).await;
        }
        if !next.warnings.is_empty() {
            tracing::warn!("the new policy set has warnings\n{}", next.warnings.render(false));
        }
        // Written down first: a set that the evidence does not know judges no call.
        if let Err(error) = self.record_next(&next, actor).await {
            let words = Arc::new(format!("the new policy set could not be written to the evidence: {error}\n"));
            return self.keep_old(words);
        }
        let generation = slot.replace(next);
        self.shared.metrics.policy_reloaded(true);
        let active = slot.current();
        tracing::info!(generation, digest = active.digest(), engine = %active.compiled.engine(), "a new policy set is active");
        Reloaded::Activated(generation)
    }

    async fn reject(&self, diagnostics: String, actor: Caller) -> Reloaded {
        // The same broken files, looked at again, are no news.
        if let Some(last) = self.shared.policy.last_error()
            && *last == diagnostics
        {
            return Reloaded::Rejected(last);
        }
        if let Err(error) = self.record_rejection(&diagnostics, actor).await {
            tracing::error!(%error, "a refused policy set could not be written to the evidence");
        }
        self.keep_old(Arc::new(diagnostics))
    }

    fn keep_old(&self, words: Arc<String>) -> Reloaded {
        tracing::error!("the policy files were not taken, the old set stays active\n{words}");
        self.shared.metrics.policy_reloaded(false);
        self.shared.alerts.push(crate::alerts::Event::NotTaken(crate::alerts::Files::Policy));
        self.shared.policy.reject(String::clone(&words));
        Reloaded::Rejected(words)
    }
}

/// Reloads whenever something changes on disk.
pub(super) async fn watch(control: Arc<Control>) {
    let (changed, mut changes) = mpsc::channel(CHANGES_MAX);
    let path = control.shared.config.policy.clone();
    let mut before = None;
    loop {
        // A new watch for every round, begun before the old one ends: files may have been replaced by other files of the same
        // name, and a watch stays with the old ones.
        let watcher = start_watching(&path, changed.clone());
        if let Err(error) = &watcher {
            tracing::warn!(%error, path = %path.display(), "policy files cannot be watched, so they are looked at now and then");
        }
        drop(before.take());
        if let Ok(change) = changes.try_recv() {
            until_quiet(change, &mut changes).await;
        }
        // What nobody told of is seen by looking once.
        let seen = looked_at(&path).await;
        drop(control.reload_policy(None).await);
        tokio::select! {
            change = changes.recv() => {
                let Some(change) = change else { return };
                until_quiet(change, &mut changes).await;
            }
            () = until_different(&path, seen) => {}
        }
        before = watcher.ok();
    }
}

/// What is known of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// A file is being written.
    Writing,
    /// A file was closed, moved, linked or removed.
    Done,
}

/// Changes that wait to be looked at; more say nothing new.
const CHANGES_MAX: usize = 16;

/// Waits until nothing changes any more, and longer while a file is open for writing: half a file may be a set, too.
async fn until_quiet(first: Change, changes: &mut mpsc::Receiver<Change>) {
    let settle = async {
        let mut last = first;
        loop {
            let quiet = if last == Change::Writing { QUIET_WRITING } else { QUIET };
            match tokio::time::timeout(quiet, changes.recv()).await {
                Ok(Some(change)) => last = change,
                Ok(None) | Err(_) => return,
            }
        }
    };
    // Elapsed: somebody writes all the time; what is there is looked at.
    let _ = tokio::time::timeout(QUIET_MAX, settle).await;
}

/// Waits until the files are not those that were seen.
async fn until_different(path: &Path, seen: Vec<FileSeen>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if looked_at(path).await != seen {
            return;
        }
    }
}

/// What a file is known by: its path with every link followed, device, inode, size and time of its last change.
type FileSeen = (PathBuf, u64, u64, u64, i64, i64);

/// Files and directories that are looked at at most; a policy set has no more.
const LOOKED_AT_MAX: usize = 10_000;

async fn looked_at(path: &Path) -> Vec<FileSeen> {
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || look(&path)).await.unwrap_or_default()
}

fn look(path: &Path) -> Vec<FileSeen> {
    let (mut seen, mut next) = (Vec::new(), vec![path.to_owned()]);
    while let Some(path) = next.pop() {
        let Ok(meta) = std::fs::metadata(&path) else { continue };
        if seen.len() >= LOOKED_AT_MAX {
            break;
        }
        if meta.is_dir() {
            let entries = std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
            // Names with a dot are not part of the set.
            let shown =
                |path: &PathBuf| !path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            next.extend(entries.filter(shown));
        } else if path.extension().is_some_and(|extension| extension == "policy") {
            let real = path.canonicalize().unwrap_or(path);
            seen.push((real, meta.dev(), meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()));
        }
    }
    seen.sort();
    seen
}

/// Watches the files, and the directories that they and the path itself lie in: an editor's rename and a ConfigMap's exchanged
/// link show there.
fn start_watching(path: &Path, changed: mpsc::Sender<Change>) -> notify::Result<RecommendedWatcher> {
    let own = path.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Errors count as changes: look again.
        let change = event.map_or(Some(Change::Done), |event| change_of(&event, &own));
        if let Some(change) = change {
            // A full channel means that a look is due already.
            let _ = changed.try_send(change);
        }
    })?;
    let is_directory = path.is_dir();
    if is_directory {
        watcher.watch(path, RecursiveMode::Recursive)?;
    }
    let above = |path: &Path| match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Some(PathBuf::from(".")),
        parent => parent.map(Path::to_owned),
    };
    let mut directories = vec![above(path), path.canonicalize().ok().and_then(|real| above(&real))];
    directories.dedup();
    for directory in directories.into_iter().flatten() {
        watcher.watch(&directory, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// What an event says of the policy files; `None` if it is about something else in the directory above them, or only reads (we
/// read them ourselves). Names with two dots are those of a ConfigMap's links.
fn change_of(event: &notify::Event, policy: &Path) -> Option<Change> {
    let change = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => Change::Done,
        EventKind::Access(_) => return None,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Any) => Change::Writing,
        EventKind::Create(CreateKind::File) => Change::Writing,
        _ => Change::Done,
    };
    let about = |path: &PathBuf| {
        let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes).unwrap_or_default();
        path.extension().is_some_and(|extension| extension == "policy")
            || name.starts_with(b"..")
            || path.file_name() == policy.file_name()
            || (policy.is_dir() && path.is_dir())
    };
    (event.paths.is_empty() || event.paths.iter().any(about)).then_some(change)
}
