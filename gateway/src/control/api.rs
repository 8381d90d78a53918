//! The admin port. `/healthz` and `/readyz` are open, everything else asks for a token that the gateway's own verifier
//! accepts, or a session of the console, and for a role ([`super::access`]). Deciding on an approval also needs membership of
//! the group that is asked.

use super::Control;
use super::access::{self, Admin, Approver, Auditor, Viewer};
use super::error::ApiError;
use super::policy::Reloaded;
use super::{login, sessions};
use crate::approvals::{DecideError, Status};
use crate::config;
use crate::identity::Identity;
use crate::metrics::Gauges;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;

/// Bytes of the longest request body.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// Serves until the data plane has drained.
pub(super) async fn serve(control: Arc<Control>, listener: std::net::TcpListener) {
    let shared = Arc::clone(&control.shared);
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "the admin port cannot be served");
            shared.lifecycle.drained().await;
            return;
        }
    };
    // Dropped, not shut down gracefully, at the end: a client that keeps its connection open must not keep us.
    tokio::select! {
        served = axum::serve(listener, router(control).into_make_service_with_connect_info::<SocketAddr>()).into_future() => {
            if let Err(error) = served {
                tracing::error!(%error, "the admin port is closed");
            }
            shared.lifecycle.drained().await;
        }
        () = shared.lifecycle.drained() => {}
    }
}

/// Every route of the admin port.
pub(super) fn router(control: Arc<Control>) -> Router {
    let api = Router::new()
        .route("/approvals", get(list_approvals))
        .route("/approvals/{id}", get(show_approval))
        .route("/approvals/{id}/approve", post(approve))
        .route("/approvals/{id}/deny", post(deny))
        .route("/policy", get(show_policy))
        .route("/policy/reload", post(reload_policy))
        .route("/evidence/status", get(show_evidence))
        .route("/config", get(show_config))
        .route("/session", get(show_session));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .nest("/api/v1", api.merge(super::evidence::routes()))
        .merge(super::evidence::log_routes())
        .merge(login::routes())
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(control)
}

pub(super) type Shared = State<Arc<Control>>;

/// Whether calls are served, and what speaks against it. Why a policy set was refused is only told to those who may look,
/// since it shows the policy's text.
async fn ready(State(control): Shared, parts: axum::http::request::Parts) -> Response {
    let shared = &control.shared;
    let evidence = shared.evidence.status().healthy;
    let draining = shared.lifecycle.is_draining();
    let issuers: Vec<Value> =
        shared.verifier.key_counts().map(|(issuer, keys)| json!({ "issuer": issuer, "keys": keys })).collect();
    let keys = shared.verifier.key_counts().any(|(_, keys)| keys > 0);
    let last_error = shared.policy.last_error();
    let (serving, config_error) = (shared.lifecycle.is_serving(), shared.lifecycle.config_error());
    let ready = serving && evidence && keys && !draining;
    let mut body = json!({
        "ready": ready,
        "serving": serving,
        "draining": draining,
        "evidence_healthy": evidence,
        "keys_known": keys,
        "policy_generation": shared.policy.generation(),
        "policy_current": last_error.is_none(),
        "config_generation": shared.live.generation(),
        "config_current": config_error.is_none(),
    });
    if let (true, Some(fields)) = (access::is_viewer(&parts, &control).await, body.as_object_mut()) {
        fields.insert("issuers".to_owned(), issuers.into());
        fields.insert("policy_last_error".to_owned(), json!(last_error.as_deref()));
        fields.insert("config_last_error".to_owned(), json!(config_error.as_deref()));
    }
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

async fn metrics(State(control): Shared, _: Viewer) -> Response {
    let shared = &control.shared;
    let mut page = shared.metrics.render(Gauges {
        policy_generation: shared.policy.generation(),
        evidence_healthy: shared.evidence.status().healthy,
        approvals_pending: shared.approvals.pending(),
        draining: shared.lifecycle.is_draining(),
    });
    page.push_str(&shared.telemetry.page());
    page.push_str(&crate::metrics::fleet_page(&shared.live.current().fleet));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

async fn list_approvals(State(control): Shared, Viewer(caller): Viewer) -> Json<Value> {
    Json(json!({ "approvals": control.shared.approvals.list(&caller) }))
}

async fn show_approval(
    State(control): Shared,
    Viewer(caller): Viewer,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let view = control.shared.approvals.show(&id, &caller).ok_or(DecideError::NotFound)?;
    Ok(Json(view).into_response())
}

/// The body of a decision; it may be left out where no reason is needed.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecisionBody {
    reason: Option<String>,
}

async fn approve(
    State(control): Shared,
    caller: Approver,
    Path(id): Path<String>,
    body: Option<Json<DecisionBody>>,
) -> Result<Json<Value>, ApiError> {
    decide(&control, &caller.0, &id, true, body).await
}

async fn deny(
    State(control): Shared,
    caller: Approver,
    Path(id): Path<String>,
    body: Option<Json<DecisionBody>>,
) -> Result<Json<Value>, ApiError> {
    decide(&control, &caller.0, &id, false, body).await
}

/// Examined, written down, then taken: a decision that the evidence does not hold does not count.
async fn decide(
    control: &Control,
    approver: &Identity,
    id: &str,
    approve: bool,
    body: Option<Json<DecisionBody>>,
) -> Result<Json<Value>, ApiError> {
    let reason = body.and_then(|Json(body)| body.reason);
    let reason = reason.as_deref();
    let approvals = &control.shared.approvals;
    let _one_at_a_time = control.deciding.lock().await;
    let decided = approvals.examine(id, approver, approve, reason)?;
    let record = control.record_decision(&decided, approver, approve, reason).await.map_err(|error| {
        tracing::error!(%error, "a decision could not be written to the evidence");
        ApiError::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "evidence_unavailable",
            "the decision could not be written to the evidence, so it does not count",
        )
    })?;
    let decided = approvals.decide(id, approver, approve, reason)?;
    tracing::info!(id, approve, by = approver.subject, status = ?decided.status, "an approval was decided on");
    Ok(Json(json!({
        "id": decided.id,
        "status": decided.status,
        "subject": decided.subject,
        "settled": decided.status != Status::Pending,
        "record": record.to_string(),
    })))
}

async fn show_policy(State(control): Shared, _: Viewer) -> Json<Value> {
    let active = control.shared.policy.current();
    let program = active.compiled.program();
    Json(json!({
        "name": program.name,
        "version": program.version,
        "sha256": program.digest,
        "generation": active.generation,
        "rules": program.rules.len(),
        "engine": active.compiled.engine().to_string(),
        "files": active.sources.files().iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
        "last_error": control.shared.policy.last_error().as_deref(),
    }))
}

async fn reload_policy(State(control): Shared, Admin(caller): Admin) -> Response {
    match control.reload_policy(Some(&caller)).await {
        Reloaded::Unchanged => Json(json!({ "result": "unchanged" })).into_response(),
        Reloaded::Activated(generation) => {
            Json(json!({ "result": "activated", "generation": generation })).into_response()
        }
        Reloaded::Rejected(diagnostics) => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "policy_rejected", diagnostics.as_str()).into_response()
        }
    }
}

async fn show_evidence(State(control): Shared, _: Viewer) -> Json<Value> {
    let evidence = &control.shared.evidence;
    let status = evidence.status();
    Json(json!({
        "healthy": status.healthy,
        "durable": status.durable,
        "tree_size": status.tree_size,
        "last_error": status.last_error,
        "aborted_at_start": status.aborted_at_start,
        "torn_bytes_at_start": status.torn_bytes_at_start,
        "lost": status.lost,
        "direct_io": status.direct_io,
        "verifier_key": evidence.verifier_key(),
    }))
}

async fn show_config(State(control): Shared, _: Auditor) -> Json<Value> {
    Json(config::redacted(&control.shared.live.current().config))
}

/// Who asks, what they may do, and what a page must repeat to change something.
async fn show_session(State(control): Shared, headers: HeaderMap, Viewer(caller): Viewer) -> Json<Value> {
    let session = sessions::find(&headers, &control);
    Json(json!({
        "subject": caller.subject,
        "issuer": caller.issuer,
        "tenant": caller.tenant,
        "groups": caller.groups,
        "roles": access::roles_of(&caller, &control.shared.config.admin.roles),
        "csrf": session.map(|(_, session)| session.csrf),
    }))
}
