//! How the gateway is, on one page: traffic of the last quarter of an hour, who waits, policy, evidence, upstreams.

use super::Control;
use super::access::Viewer;
use super::api::Shared;
use super::{policy_view, upstreams};
use crate::approvals::{Filter, Status};
use crate::config::{Durability, OnFailure};
use crate::identity::Identity;
use crate::metrics::Totals;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};

/// How often the counters are looked at, and how many looks are kept: fifteen minutes.
const LOOK_EVERY: Duration = Duration::from_secs(10);
const LOOKS_KEPT: usize = 90;
/// Calls that wait for people, the oldest first.
const WAITING_SHOWN: usize = 10;

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/overview", get(show))
}

async fn show(State(control): Shared, Viewer(viewer): Viewer) -> Json<Value> {
    Json(overview(&control, &viewer).await)
}

/// What happened between two looks at the counters.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Look {
    at_unix_ms: u64,
    forwarded: u64,
    refused: u64,
    masked: u64,
}

/// Figures of the last quarter of an hour.
#[derive(Debug, Default)]
pub(super) struct History(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    before: Totals,
    looks: VecDeque<Look>,
    started_unix_ms: u64,
}

impl History {
    fn look(&self, totals: Totals, now_unix_ms: u64) {
        let mut kept = self.lock();
        if kept.started_unix_ms == 0 {
            kept.started_unix_ms = now_unix_ms;
        }
        let before = std::mem::replace(&mut kept.before, totals);
        if kept.looks.len() >= LOOKS_KEPT {
            kept.looks.pop_front();
        }
        kept.looks.push_back(Look {
            at_unix_ms: now_unix_ms,
            forwarded: totals.forwarded.saturating_sub(before.forwarded),
            refused: totals.refused.saturating_sub(before.refused),
            masked: totals.masked.saturating_sub(before.masked),
        });
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Looks at the counters until the gateway ends.
pub(super) async fn keep_history(control: Arc<Control>) {
    let mut every = tokio::time::interval(LOOK_EVERY);
    loop {
        every.tick().await;
        control.history.look(control.shared.metrics.totals(), control.shared.clock.unix_ms());
    }
}

/// Everything that a viewer may see at a glance.
pub(super) async fn overview(control: &Control, viewer: &Identity) -> Value {
    let shared = &control.shared;
    let totals = shared.metrics.totals();
    let (traffic, started_unix_ms) = {
        let kept = control.history.lock();
        (kept.looks.iter().copied().collect::<Vec<_>>(), kept.started_unix_ms)
    };
    let waiting = Filter { status: Some(Status::Pending), limit: Some(WAITING_SHOWN), ..Filter::default() };
    let mut pending = shared.approvals.page(viewer, &waiting).approvals;
    pending.iter_mut().for_each(|view| view.preview.clear());
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "started_unix_ms": started_unix_ms,
        "serving": shared.lifecycle.is_serving(),
        "draining": shared.lifecycle.is_draining(),
        "config_last_error": shared.lifecycle.config_error().as_deref(),
        "totals": totals,
        "traffic": { "every_s": LOOK_EVERY.as_secs(), "looks": traffic },
        "approvals_pending": pending,
        "policy": policy_view::active(control),
        "evidence": evidence(control).await,
        "upstreams": upstreams::all(control),
        "issuers": shared.verifier.key_counts().map(|(issuer, keys)| json!({ "issuer": issuer, "keys": keys })).collect::<Vec<_>>(),
    })
}

/// How the log is.
pub(super) async fn evidence(control: &Control) -> Value {
    let evidence = &control.shared.evidence;
    let (status, settings) = (evidence.status(), &control.shared.config.evidence);
    let directory = evidence.directory().to_owned();
    let checkpoint = directory.join("checkpoint");
    let looked = tokio::task::spawn_blocking(move || {
        let signed_at = std::fs::metadata(&checkpoint).and_then(|found| found.modified()).ok();
        let signed_at = signed_at.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let note = std::fs::read_to_string(&checkpoint).ok();
        (bytes_below(&directory), signed_at.map(|since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX)), note)
    });
    let (bytes, checkpoint_unix_ms, checkpoint) = looked.await.unwrap_or_default();
    json!({
        "healthy": status.healthy,
        "durable": status.durable,
        "tree_size": status.tree_size,
        "lag": status.durable.saturating_sub(status.tree_size),
        "last_error": status.last_error,
        "aborted_at_start": status.aborted_at_start,
        "torn_bytes_at_start": status.torn_bytes_at_start,
        "lost": status.lost,
        "direct_io": status.direct_io,
        "origin": settings.origin,
        "durability": match settings.durability {
            Durability::Strict => "strict",
            Durability::Crash => "crash",
            Durability::Observe => "observe",
        },
        "on_failure": match settings.on_failure {
            OnFailure::Refuse => "refuse",
            OnFailure::Continue => "continue",
        },
        "bytes": bytes,
        "checkpoint": checkpoint,
        "checkpoint_unix_ms": checkpoint_unix_ms,
        "verifier_key": evidence.verifier_key(),
    })
}

/// Bytes that the files below a directory take; those that vanish meanwhile do not count.
fn bytes_below(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes_below(&entry.path()),
        // Blocks of 512 bytes: segments are laid out before they are full.
        Ok(found) => found.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn history_is_bounded_and_keeps_differences() {
        let history = History::default();
        for step in 1..=100_u64 {
            history.look(Totals { forwarded: step * 3, ..Totals::default() }, step);
        }
        let kept = history.lock();
        assert_eq!(kept.looks.len(), LOOKS_KEPT);
        assert!(kept.looks.iter().all(|look| look.forwarded == 3));
        assert_eq!(kept.started_unix_ms, 1);
    }
}
