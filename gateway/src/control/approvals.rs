//! Requests for approval and grants over the admin API, and how they outlive the process.
//!
//! Whoever may look sees what waits, without the payload; looking into one request, and every decision, is written down first
//! (a revocation at once after it, since it must not come too late). Deciding also needs membership of the group that is asked.

use super::Control;
use super::access::{Approver, Viewer};
use super::api::Shared;
use super::error::ApiError;
use super::evidence::{blocking, record_access, source};
use crate::approvals::{DecideError, Decided, Event, Filter, Kind, Page, Restored, Status, View};
use crate::identity::Identity;
use audit_shipper::read::{self, Past};
use audit_shipper::{EvidenceError, NoteKind, RecordId};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How often the place is noted from which the next start has to read.
const PLACE_EVERY: Duration = Duration::from_secs(10);
/// Where, below the data directory. It may be deleted: then the next start reads the whole log.
const PLACE_FILE: &str = "approvals.place";

/// Below `/api/v1`.
pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/approvals", get(list))
        .route("/approvals/{id}", get(show))
        .route("/approvals/{id}/history", get(history))
        .route("/approvals/{id}/approve", post(approve))
        .route("/approvals/{id}/deny", post(deny))
        .route("/approvals/{id}/revoke", post(take_back))
}

/// What happened to a request: everything passes here once, after it is in the evidence. Messages to people hang on here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happening {
    /// A call asks.
    Asked,
    /// Someone approved, denied or revoked; where the request stands tells what came of it.
    Decided,
    /// Its time is over.
    Expired,
}

pub(super) fn happened(control: &Control, what: Happening, id: &str) {
    let Some(View { kind, status, subject, .. }) = control.shared.approvals.view(id) else { return };
    tracing::info!(id, ?kind, ?status, subject, "approval: {what:?}");
    control.tell_of(what, id);
}

/// An event is durable (with its place in the log), or could not be written.
pub(super) fn recorded(control: &Control, event: &Event, written: Option<Option<u64>>) {
    let approvals = &control.shared.approvals;
    match (event, written) {
        (Event::Asked(_, id), Some(index)) => {
            approvals.recorded(id, index);
            happened(control, Happening::Asked, id);
        }
        (Event::Asked(_, id), None) => approvals.unrecorded(id),
        (Event::Expired(id), _) => happened(control, Happening::Expired, id),
    }
}

/// In lists the payload is left out: looking into it is written down.
async fn list(State(control): Shared, Viewer(caller): Viewer, Query(filter): Query<Filter>) -> Json<Page> {
    let mut page = control.shared.approvals.page(&caller, &filter);
    page.approvals.iter_mut().for_each(|view| view.preview.clear());
    Json(page)
}

async fn show(State(control): Shared, Viewer(caller): Viewer, Path(id): Path<String>) -> Result<Json<View>, ApiError> {
    let view = control.shared.approvals.show(&id, &caller).ok_or(DecideError::NotFound)?;
    record_shown(&control, &caller, &id).await?;
    Ok(Json(view))
}

/// Somebody looks into a request.
pub(super) async fn record_shown(control: &Control, viewer: &Identity, id: &str) -> Result<(), ApiError> {
    record_access(control, viewer, "approval-shown", id.parse().ok(), "").await
}

async fn history(
    State(control): Shared,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    told(&control, &caller, &id).await.map(Json)
}

/// What the evidence says of one request, in order, for somebody of its tenant; also of one that is settled and forgotten here.
pub(super) async fn told(control: &Control, viewer: &Identity, id: &str) -> Result<Value, ApiError> {
    let about: RecordId = id.parse().map_err(|_| DecideError::NotFound)?;
    record_access(control, viewer, "approval-shown", Some(about), "history").await?;
    let source = source(&control.shared);
    let past = blocking(move || read::history_of(&source, NoteKind::Approval, about)).await?;
    let remembered = control.shared.approvals.show(id, viewer).map(|view| (view.kind, view.status));
    let (kind, status) = remembered.or_else(|| forgotten(&past, viewer)).ok_or(DecideError::NotFound)?;
    let lines: Vec<Value> = past.iter().map(line).collect();
    Ok(json!({ "id": about.to_string(), "kind": kind, "status": status, "history": lines }))
}

/// What a request came to that only the log knows, if it is of the viewer's tenant. Whatever else it was, its time is over.
fn forgotten(past: &[Past], viewer: &Identity) -> Option<(Kind, Status)> {
    let note = |past: &Past| match past {
        Past::Note(note) if note.action != "expired" => Some((**note).clone()),
        Past::Note(_) | Past::Used { .. } => None,
    };
    let asked = past.iter().filter_map(note).find(|note| note.action == "asked")?;
    // Of an asker who was erased the tenant is gone; whoever decided is of the same one.
    let (actor, _) = past.iter().filter_map(note).find_map(|note| note.opened)?;
    if actor.tenant != viewer.tenant {
        return None;
    }
    let is_grant = asked.details.get("kind").and_then(Value::as_str) == Some(Kind::Grant.noun());
    let kind = if is_grant { Kind::Grant } else { Kind::Call };
    let came_to = |past: &Past| match past {
        Past::Used { .. } => (kind == Kind::Call).then_some(Status::Consumed),
        Past::Note(note) => match note.action.as_str() {
            "denied" => Some(Status::Denied),
            "revoked" => Some(Status::Revoked),
            _ => None,
        },
    };
    Some((kind, past.iter().rev().find_map(came_to).unwrap_or(Status::Expired)))
}

fn line(past: &Past) -> Value {
    match past {
        Past::Used { call, index, .. } => {
            json!({ "action": "used", "call": call.to_string(), "index": index, "at_unix_ms": call.unix_ms() })
        }
        Past::Note(note) => {
            let (by, text) = note.opened.as_ref().map(|(actor, text)| (&actor.subject, text)).unzip();
            json!({
                "action": note.action,
                "by": by,
                "reason": text.filter(|_| note.action != "asked"),
                "index": note.index,
                "at_unix_ms": note.unix_ms,
                "details": note.details,
            })
        }
    }
}

/// The body of a decision.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionBody {
    reason: Option<String>,
}

async fn approve(
    State(control): Shared,
    Approver(caller): Approver,
    Path(id): Path<String>,
    body: Option<Json<DecisionBody>>,
) -> Result<Json<Value>, ApiError> {
    decide(&control, &caller, &id, true, reason(body).as_deref()).await
}

async fn deny(
    State(control): Shared,
    Approver(caller): Approver,
    Path(id): Path<String>,
    body: Option<Json<DecisionBody>>,
) -> Result<Json<Value>, ApiError> {
    decide(&control, &caller, &id, false, reason(body).as_deref()).await
}

fn reason(body: Option<Json<DecisionBody>>) -> Option<String> {
    body.and_then(|Json(body)| body.reason)
}

/// Examined, written down, then taken: a decision that the evidence does not hold does not count. Whichever way a decision
/// comes, it comes here.
pub(super) async fn decide(
    control: &Control,
    approver: &Identity,
    id: &str,
    approve: bool,
    reason: Option<&str>,
) -> Result<Json<Value>, ApiError> {
    let approvals = &control.shared.approvals;
    let _one_at_a_time = control.deciding.lock().await;
    let decided = approvals.examine(id, approver, approve, reason)?;
    let record = control.record_decision(&decided, approver, approve, reason).await;
    let record = record.map_err(|error| {
        unrecorded(&error, "the decision could not be written to the evidence, so it does not count")
    })?;
    let decided = approvals.decide(id, approver, approve, reason)?;
    happened(control, Happening::Decided, id);
    Ok(answer(&decided, record))
}

async fn take_back(
    State(control): Shared,
    Approver(caller): Approver,
    Path(id): Path<String>,
    body: Option<Json<DecisionBody>>,
) -> Result<Json<Value>, ApiError> {
    revoke(&control, &caller, &id, reason(body).as_deref()).await
}

/// Taken back at once, then written down.
pub(super) async fn revoke(
    control: &Control,
    approver: &Identity,
    id: &str,
    reason: Option<&str>,
) -> Result<Json<Value>, ApiError> {
    let _one_at_a_time = control.deciding.lock().await;
    let decided = control.shared.approvals.revoke(id, approver, reason)?;
    let record = control.record_decided(&decided, approver, "revoked", reason).await;
    let why = "it is revoked until this gateway ends, but that could not be written to the evidence";
    let record = record.map_err(|error| unrecorded(&error, why))?;
    happened(control, Happening::Decided, id);
    Ok(answer(&decided, record))
}

fn answer(decided: &Decided, record: RecordId) -> Json<Value> {
    Json(json!({
        "id": decided.id,
        "kind": decided.kind,
        "status": decided.status,
        "subject": decided.subject,
        "settled": decided.status != Status::Pending,
        "record": record.to_string(),
    }))
}

fn unrecorded(error: &EvidenceError, why: &str) -> ApiError {
    tracing::error!(%error, "a decision could not be written to the evidence");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "evidence_unavailable", why)
}

/// Brings back what waited, was approved and unused, granted, or refused when the last process ended.
pub(super) async fn restore(control: &Control) -> Result<(), EvidenceError> {
    let shared = Arc::clone(&control.shared);
    let read = tokio::task::spawn_blocking(move || {
        let from = Place::load(&shared).map_or(0, |place| place.from);
        let (mut restored, clock) = (Restored::default(), &shared.clock);
        let whole = read::history(&source(&shared), NoteKind::Approval, from, &mut |past| {
            restored.take(past, clock.unix_ms(), clock.mono_ms());
        });
        whole.map(|whole| (restored, whole))
    });
    let (restored, whole) =
        read.await.map_err(|error| EvidenceError::Malformed(format!("reading the log panicked: {error}")))??;
    if !whole {
        tracing::error!("the evidence is damaged: requests for approval behind the damage are not known");
    }
    let (open, unreadable) = control.shared.approvals.restore(restored);
    if open > 0 || unreadable > 0 {
        tracing::info!(open, unreadable, "requests for approval are back");
    }
    Ok(())
}

/// Notes now and then from where the next start has to read.
pub(super) async fn keep_place(control: Arc<Control>) {
    let mut every = tokio::time::interval(PLACE_EVERY);
    loop {
        every.tick().await;
        note_place(&control).await;
    }
}

pub(super) async fn note_place(control: &Control) {
    let shared = Arc::clone(&control.shared);
    let end = shared.evidence.status().durable;
    let Some(from) = shared.approvals.oldest_of_use(end) else { return };
    // If it cannot be written, the next start reads more than it has to.
    let _ = tokio::task::spawn_blocking(move || {
        Place { key: shared.evidence.verifier_key().to_owned(), from }.store(&shared)
    })
    .await;
}

/// From where in which log the next start has to read. Always too early rather than too late.
#[derive(Debug, Serialize, Deserialize)]
struct Place {
    /// The log's verifier key, which names it: another log has other places.
    key: String,
    /// The first leaf of use.
    from: u64,
}

impl Place {
    fn path(shared: &crate::shared::Shared) -> PathBuf {
        shared.config.data.join(PLACE_FILE)
    }

    fn load(shared: &crate::shared::Shared) -> Option<Self> {
        let place: Self = serde_json::from_slice(&std::fs::read(Self::path(shared)).ok()?).ok()?;
        (place.key == shared.evidence.verifier_key()).then_some(place)
    }

    fn store(&self, shared: &crate::shared::Shared) {
        let (path, next) = (Self::path(shared), Self::path(shared).with_extension("next"));
        let written = serde_json::to_vec(self).map(|bytes| std::fs::write(&next, bytes));
        if matches!(written, Ok(Ok(()))) {
            let _ = std::fs::rename(next, path);
        }
    }
}
