//! Watching and reloading policy files: a good set is written down and swapped in, a broken one changes nothing.

use super::Control;
use super::journal::caller;
use crate::identity::Identity;
use crate::policy_slot::{self, PolicyError, Prepared};
use audit_shipper::Caller;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Editors and `kubectl` write in several steps: how long the files must rest before they are read.
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Pause before a watch that could not be set up is tried again.
const WATCH_AGAIN: Duration = Duration::from_secs(10);

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
        let (path, can_seal) = (self.shared.config.policy.clone(), self.shared.sealer.is_some());
        let prepared = tokio::task::spawn_blocking(move || policy_slot::prepare(&path, can_seal)).await;
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
        self.shared.policy.reject(String::clone(&words));
        Reloaded::Rejected(words)
    }
}

/// Reloads whenever something changes on disk.
pub(super) async fn watch(control: Arc<Control>) {
    let (changed, mut changes) = mpsc::channel(1);
    let path = control.shared.config.policy.clone();
    loop {
        // A new watch for every round: files may have been replaced by other files of the same name, and a watch stays
        // with the old ones.
        let watcher = match start_watching(&path, changed.clone()) {
            Ok(watcher) => watcher,
            Err(error) => {
                tracing::error!(%error, path = %path.display(), "policy files cannot be watched; reload them over the admin API");
                tokio::time::sleep(WATCH_AGAIN).await;
                continue;
            }
        };
        // What changed before this watch began is seen by looking once.
        drop(control.reload_policy(None).await);
        if changes.recv().await.is_none() {
            return;
        }
        tokio::time::sleep(DEBOUNCE).await;
        drop(watcher);
        while changes.try_recv().is_ok() {}
    }
}

/// Watches the files, and the directory that they lie in: an editor's rename and a ConfigMap's exchanged link show there.
fn start_watching(path: &Path, changed: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let own = path.to_owned();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // Errors count as changes: look again.
        if event.map_or(true, |event| concerns(&event, &own)) {
            // A full channel means that a look is due already.
            let _ = changed.try_send(());
        }
    })?;
    let directory = if path.is_dir() {
        watcher.watch(path, RecursiveMode::Recursive)?;
        path.canonicalize().ok().and_then(|path| path.parent().map(Path::to_owned))
    } else {
        path.parent().map(Path::to_owned)
    };
    if let Some(parent) = directory {
        let parent = if parent.as_os_str().is_empty() { Path::new(".").to_owned() } else { parent };
        watcher.watch(&parent, RecursiveMode::NonRecursive)?;
    }
    Ok(watcher)
}

/// Whether an event is about the policy files, not about something else in the directory above them. Reading is no change
/// (and we read them ourselves). Names with two dots are those of a ConfigMap's links.
fn concerns(event: &notify::Event, policy: &Path) -> bool {
    let about = |path: &std::path::PathBuf| {
        let name = path.file_name().map(std::ffi::OsStr::as_encoded_bytes).unwrap_or_default();
        path.extension().is_some_and(|extension| extension == "policy")
            || name.starts_with(b"..")
            || path.file_name() == policy.file_name()
            || (policy.is_dir() && path.is_dir())
    };
    !event.kind.is_access() && (event.paths.is_empty() || event.paths.iter().any(about))
}
