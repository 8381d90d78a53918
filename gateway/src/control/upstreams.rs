//! How the model servers are.

use super::Control;
use super::access::Viewer;
use super::api::Shared;
use crate::config::Dialect;
use crate::data_plane::upstream::now_ms;
use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/upstreams", get(show))
}

async fn show(State(control): Shared, _: Viewer) -> Json<Value> {
    Json(json!({ "upstreams": all(&control) }))
}

/// Every upstream with its servers, in the order of the configuration.
pub(super) fn all(control: &Control) -> Value {
    let live = control.shared.live.current();
    let now_ms = now_ms();
    let routes = live.fleet.routes().iter().map(|route| {
        let servers = route.servers.iter().map(|server| {
            json!({
                "address": server.address.to_string(),
                "authority": server.authority,
                "tls": server.tls.is_some(),
                "healthy": server.state.is_healthy(),
                "ejected": server.state.is_ejected(now_ms),
                "ejected_for_ms": server.state.ejected_for_ms(now_ms),
                "ejections": server.state.ejections(),
                "failures_in_a_row": server.state.failures(),
                "in_flight": server.state.in_flight(),
                "latency_us": server.state.usual_latency_us(),
            })
        });
        json!({
            "name": route.config.name,
            "dialect": match &route.config.dialect {
                Dialect::Auto => "auto",
                Dialect::Named(name) => name,
                Dialect::Json(_) => "json",
            },
            "in_flight": route.burden.in_flight.load(Relaxed),
            "connections": route.burden.connections.load(Relaxed),
            "checked": route.config.health.is_some(),
            "credential": route.credential.is_some(),
            "servers": servers.collect::<Vec<_>>(),
        })
    });
    routes.collect()
}
