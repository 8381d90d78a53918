//! Calls as they end, to whoever watches: server-sent events, one for each row that a search would give.

use super::Control;
use super::access::Auditor;
use super::api::Shared;
use super::error::ApiError;
use super::evidence::{bad_request, blocking, record_access, source};
use audit_shipper::EvidenceError;
use audit_shipper::read::{Follower, Query};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query as UrlQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::mpsc;

/// How often the log is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Looks between two comments that keep the connection alive.
const LOOKS_PER_COMMENT: u32 = 20;
/// Looks until it ends, so that who watches is asked for again: browsers come back by themselves.
const LOOKS_MAX: u32 = 1200;
/// Who may watch at a time.
const WATCHERS_MAX: usize = 32;
/// Pieces under way to one watcher.
const PIECES: usize = 16;

static WATCHERS: AtomicUsize = AtomicUsize::new(0);

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/exchanges/live", get(watch))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// As `audit search` takes it, without `text:`.
    #[serde(default)]
    q: String,
}

/// One who watches; counted until dropped.
struct Watcher;

impl Watcher {
    fn new() -> Option<Self> {
        let counted = WATCHERS.fetch_update(Relaxed, Relaxed, |now| (now < WATCHERS_MAX).then_some(now + 1));
        counted.is_ok().then_some(Self)
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        WATCHERS.fetch_sub(1, Relaxed);
    }
}

async fn watch(
    State(control): Shared,
    Auditor(auditor): Auditor,
    UrlQuery(asked): UrlQuery<Asked>,
) -> Result<Response, ApiError> {
    let query = Query::parse(&asked.q).map_err(|error| bad_request(&error))?;
    let watcher = Watcher::new().ok_or_else(|| {
        ApiError::new(StatusCode::TOO_MANY_REQUESTS, "too_many_watchers", "too many watch already; try again later")
    })?;
    record_access(&control, &auditor, "followed", None, &asked.q).await?;
    let source = source(&control.shared);
    let follower = blocking(move || Follower::new(&source, &query)).await?;
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::spawn(follow(follower, sender, watcher));
    let stream = futures_lite::stream::unfold(pieces, |mut pieces| async move {
        pieces.recv().await.map(|piece: Bytes| (Ok::<_, std::io::Error>(piece), pieces))
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(stream)).into_response())
}

async fn follow(mut follower: Follower, sender: mpsc::Sender<Bytes>, _counted: Watcher) {
    for look in 0..LOOKS_MAX {
        let polled = tokio::task::spawn_blocking(move || {
            let mut lines = Vec::new();
            follower.poll(true, &mut lines)?;
            Ok::<_, EvidenceError>((follower, lines))
        });
        let lines;
        (follower, lines) = match polled.await {
            Ok(Ok(polled)) => polled,
            Ok(Err(error)) => {
                tracing::warn!(%error, "the log can no longer be followed");
                return;
            }
            Err(error) => {
                tracing::error!(%error, "following the log panicked");
                return;
            }
        };
        let mut events = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            events.extend_from_slice(b"data: ");
            events.extend_from_slice(line);
            events.extend_from_slice(b"\n\n");
        }
        if events.is_empty() && look % LOOKS_PER_COMMENT == 0 {
            events.extend_from_slice(b": \n\n");
        }
        if !events.is_empty() && sender.send(events.into()).await.is_err() {
            return;
        }
        if sender.is_closed() {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
