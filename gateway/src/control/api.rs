//! The admin port. `/healthz` and `/readyz` are open, everything else asks for a token that the gateway's own verifier
//! accepts, or a session of the console, and for a role ([`super::access`]). Deciding on an approval also needs membership of
//! the group that is asked.

use super::Control;
use super::access::{self, Admin, Auditor, Viewer};
use super::error::ApiError;
use super::policy::Reloaded;
use super::{approvals, live, login, openapi, overview, pages, policy_view, sessions, upstreams};
use crate::config;
use crate::metrics::Gauges;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
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
        .route("/policy", get(show_policy))
        .route("/policy/reload", post(reload_policy))
        .route("/evidence/status", get(show_evidence))
        .route("/config", get(show_config))
        .route("/session", get(show_session));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .nest("/api/v1", api.merge(super::evidence::routes()).merge(approvals::routes()).merge(views()))
        .merge(pages::routes())
        .merge(super::public_log::routes())
        .merge(login::routes())
        .merge(super::links::routes())
        .merge(super::slack::routes())
        .fallback(|| async { ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path") })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(control)
}

/// What the console shows, for machines.
fn views() -> Router<Arc<Control>> {
    live::routes()
        .merge(openapi::routes())
        .merge(overview::routes())
        .merge(policy_view::routes())
        .merge(upstreams::routes())
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
        grants_in_force: shared.approvals.granted(),
        draining: shared.lifecycle.is_draining(),
        limit_accounts: shared.limits.in_debt(),
        limit_accounts_forgotten: shared.limits.forgotten(),
        judged_twice: shared.second_opinion.counts(),
    });
    page.push_str(&shared.telemetry.page());
    page.push_str(&crate::metrics::fleet_page(&shared.live.current().fleet));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page).into_response()
}

async fn show_policy(State(control): Shared, _: Viewer) -> Json<Value> {
    Json(policy_view::active(&control))
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
    Json(overview::evidence(&control).await)
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
