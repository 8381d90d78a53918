//! Overview, upstreams, evidence.

use super::{ForAuditors, ForViewers, Visitor, failed, page, proved};
use crate::console::{self, Section};
use crate::control::Control;
use crate::control::{evidence as log, overview as glance, upstreams as servers};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;

pub(super) async fn overview(State(control): State<Arc<Control>>, ForViewers(visitor): ForViewers) -> Response {
    let view = glance::overview(&control, &visitor.identity).await;
    page(&control, &visitor, Section::Overview, "Overview", console::overview::page(&view))
}

pub(super) async fn upstreams(State(control): State<Arc<Control>>, ForViewers(visitor): ForViewers) -> Response {
    let view = servers::all(&control);
    page(&control, &visitor, Section::Upstreams, "Upstreams", console::upstreams::page(&view))
}

pub(super) async fn evidence(State(control): State<Arc<Control>>, ForViewers(visitor): ForViewers) -> Response {
    show_evidence(&control, &visitor, None).await
}

/// Verifies the whole log now.
pub(super) async fn verify(
    State(control): State<Arc<Control>>,
    ForAuditors(visitor): ForAuditors,
    headers: HeaderMap,
    form: String,
) -> Response {
    if let Err(error) = proved(&control, &visitor, &headers, &form) {
        return failed(&control, &visitor, &error);
    }
    match log::verified(&control, &visitor.identity).await {
        Ok(verdict) => show_evidence(&control, &visitor, Some(&verdict)).await,
        Err(error) => failed(&control, &visitor, &error),
    }
}

async fn show_evidence(control: &Control, visitor: &Visitor, verdict: Option<&Value>) -> Response {
    let view = glance::evidence(control).await;
    let may_verify = visitor.may("auditor");
    let body = console::evidence::page(&view, verdict, may_verify, &visitor.csrf);
    page(control, visitor, Section::Evidence, "Evidence", body)
}
