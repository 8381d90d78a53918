//! Reloading the whole configuration: on SIGHUP, and when a file changes that it was read from. A good one is written down and
//! swapped in; of a broken one only the message is left.
//!
//! Files are compared by what stat(2) says, once a second: that sees renames, exchanged links (ConfigMaps, certbot) and
//! network file systems alike, and costs nothing worth naming.

use super::{Control, FIRST_KEYS_WITHIN, credentials};
use crate::config::Config;
use crate::credentials::Slot;
use crate::data_plane::upstream::Fleet;
use crate::metrics::Event;
use audit_shipper::{EvidenceError, Note, NoteKind};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often endpoints' names are looked up again.
const RESOLVE_EVERY: Duration = Duration::from_secs(30);

/// What a file is known by; `None` while it is not there.
type Fingerprint = Vec<Option<(u64, u64, i64, i64, u64)>>;

/// Reloads when asked to or when something changed, until the gateway ends.
pub(super) async fn watch(control: Arc<Control>) {
    let shared = Arc::clone(&control.shared);
    let mut seen = fingerprint(shared.live.current().config.files.clone()).await;
    let mut look = tokio::time::interval(LOOK_EVERY);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut resolve = tokio::time::interval(RESOLVE_EVERY);
    resolve.tick().await;
    loop {
        tokio::select! {
            () = shared.lifecycle.reload_requested() => {
                crate::lifecycle::notify::reloading();
                control.reload_config().await;
                drop(control.reload_policy(None).await);
                crate::lifecycle::notify::ready();
                seen = fingerprint(shared.live.current().config.files.clone()).await;
            }
            _ = look.tick() => {
                let now = fingerprint(shared.live.current().config.files.clone()).await;
                if now != seen {
                    control.reload_config().await;
                    // The new configuration may name other files; those of before count if it was refused.
                    let files = shared.live.current().config.files.clone();
                    seen = if files.len() == now.len() { now } else { fingerprint(files).await };
                }
            }
            _ = resolve.tick() => control.resolve_again().await,
        }
    }
}

impl Control {
    /// Reads the configuration again and puts it in force.
    async fn reload_config(&self) {
        let _one_at_a_time = self.reloading.lock().await;
        let events = &self.shared.metrics.events;
        match self.next_config().await {
            Ok((config, fleet)) => {
                let generation = self.shared.live.replace(config, fleet);
                self.shared.lifecycle.note_config_error(None);
                events.count(Event::ReloadGood);
                tracing::info!(generation, "a new configuration is in force");
            }
            Err(message) => {
                events.count(Event::ReloadBad);
                self.shared.alerts.push(crate::alerts::Event::NotTaken(crate::alerts::Files::Config));
                tracing::error!("the configuration was not taken, the old one stays in force\n{message}");
                self.shared.lifecycle.note_config_error(Some(message));
            }
        }
    }

    async fn next_config(&self) -> Result<(Arc<Config>, Fleet), String> {
        let Some(source) = self.shared.source.clone() else { return self.same_config().await };
        let live = self.shared.live.current();
        let prepared = tokio::task::spawn_blocking(move || {
            let mut next = source()?;
            let fixed = next.keep_what_needs_a_restart(&live.config);
            let fleet = Fleet::resolve(&next, Some(&live.fleet)).map_err(|error| error.to_string())?;
            Ok::<_, String>((Arc::new(next), fleet, fixed))
        });
        let (next, fleet, fixed) =
            prepared.await.map_err(|_| "reading the configuration panicked; this is a bug".to_owned())??;
        if !fixed.is_empty() {
            tracing::warn!(keys = fixed.join(", "), "these settings changed but are read at start-up only");
        }
        // Written down first: a configuration that the evidence does not know serves no call.
        let recorded = self.record_config(&next).await;
        recorded.map_err(|error| format!("the new configuration could not be written to the evidence: {error}"))?;
        self.fetch_credentials(&fleet).await;
        Ok((next, fleet))
    }

    /// Has the credentials that are new kept fresh. The first calls should find theirs; if one cannot be had now, its upstream
    /// gets no calls until it is there.
    async fn fetch_credentials(&self, fleet: &Fleet) {
        let live = self.shared.live.current();
        let known = |slot: &Arc<Slot>| live.fleet.credentials().any(|own| Arc::ptr_eq(own, slot));
        let new: Vec<Arc<Slot>> = fleet.credentials().filter(|slot| !known(slot)).cloned().collect();
        let fetched = credentials::keep_fresh(new, self.shared.clock.clone(), Arc::clone(&self.http));
        if tokio::time::timeout(FIRST_KEYS_WITHIN, fetched).await.is_err() {
            tracing::warn!("the new configuration is put in force before every new access token was fetched");
        }
    }

    /// Without a file there is nothing to read again but names.
    async fn same_config(&self) -> Result<(Arc<Config>, Fleet), String> {
        let live = self.shared.live.current();
        let resolved = tokio::task::spawn_blocking(move || {
            let fleet = Fleet::resolve(&live.config, Some(&live.fleet)).map_err(|error| error.to_string())?;
            Ok((Arc::clone(&live.config), fleet))
        });
        resolved.await.map_err(|_| "looking up names panicked; this is a bug".to_owned())?
    }

    /// Servers come and go behind a name.
    async fn resolve_again(&self) {
        let _one_at_a_time = self.reloading.lock().await;
        let before = self.shared.live.current();
        match self.same_config().await {
            Ok((config, fleet)) if !fleet.same_servers(&before.fleet) => {
                let generation = self.shared.live.replace(config, fleet);
                tracing::info!(generation, "the addresses of upstreams changed");
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error, "the names of upstreams could not be looked up"),
        }
    }

    async fn record_config(&self, config: &Config) -> Result<(), EvidenceError> {
        let note = Note::new(NoteKind::Config, "reloaded");
        let text = crate::config::redacted(config).to_string();
        self.journal.note(&note, vec![("application/json", text)]).await.map(drop)
    }
}

async fn fingerprint(files: Vec<PathBuf>) -> Fingerprint {
    let look = |path: &PathBuf| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.size()))
    };
    let looked = tokio::task::spawn_blocking(move || files.iter().map(look).collect());
    looked.await.unwrap_or_default()
}
