//! The active policy set for people: its rules and files, what they did to the traffic of a day, and what they would do to a call
//! that somebody describes.

use super::Control;
use super::access::Viewer;
use super::api::Shared;
use super::error::ApiError;
use super::evidence::{self, blocking, record_access};
use crate::clock::Clock;
use crate::identity::Identity;
use crate::policy_slot::ActivePolicy;
use audit_shipper::read::Query;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use jiff::tz::TimeZone;
use policy_compiler::PolicyHost;
use policy_lang::explain::{explain, to_json};
use policy_lang::testing::Call;
use policy_lang::{Date, Rule};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a call that is explained.
pub(super) const CALL_BYTES_MAX: usize = 256 * 1024;
/// The traffic that is counted by rule: at most so many of the newest calls of a day.
const TRAFFIC_CALLS_MAX: usize = 10_000;
const TRAFFIC_QUERY: &str = "since:24h";
const CHANGES_QUERY: &str = "kind:policy";
/// Activations and refusals of policy sets that are shown.
const CHANGES_SHOWN: usize = 10;

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/policy/rules", get(show_rules))
        .route("/policy/traffic", get(show_traffic))
        .route("/policy/changes", get(show_changes))
        .route("/policy/explain", post(show_explanation).layer(DefaultBodyLimit::max(CALL_BYTES_MAX)))
}

/// Which set is active, and why the newest files are not, if they are not.
pub(super) fn active(control: &Control) -> Value {
    let active = control.shared.policy.current();
    let program = active.compiled.program();
    json!({
        "name": program.name,
        "version": program.version,
        "docs": program.docs,
        "sha256": program.digest,
        "generation": active.generation,
        "rules": program.rules.len(),
        "engine": active.engine(),
        "files": active.sources.files().iter().map(|file| file.name.as_str()).collect::<Vec<_>>(),
        "last_error": control.shared.policy.last_error().as_deref(),
    })
}

async fn show_rules(State(control): Shared, _: Viewer) -> Json<Value> {
    Json(rules(&control))
}

/// Every rule with its text, and every file.
pub(super) fn rules(control: &Control) -> Value {
    let active = control.shared.policy.current();
    let program = active.compiled.program();
    let files = active.sources.files().iter().map(|file| json!({ "name": file.name, "text": file.text }));
    json!({
        "sha256": program.digest,
        "rules": program.rules.iter().map(|own| rule(&active, own)).collect::<Vec<_>>(),
        "files": files.collect::<Vec<_>>(),
    })
}

fn rule(active: &ActivePolicy, rule: &Rule) -> Value {
    let file = active.sources.files().get(rule.place.file);
    json!({
        "name": rule.name,
        "shadow": rule.shadow,
        "docs": rule.docs,
        "file": file.map(|file| file.name.as_str()),
        "line": active.sources.position(rule.place.file, rule.place.span.start).0,
        "text": file.and_then(|file| file.text.get(rule.place.span.clone())),
        "effects": rule.effects.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

async fn show_traffic(State(control): Shared, Viewer(viewer): Viewer) -> Result<Json<Value>, ApiError> {
    traffic(&control, &viewer).await.map(Json)
}

/// How many of the newest calls each rule held for: by name as the records have it, shadow rules as `shadow:NAME`, rules that could not be
/// judged as `error:NAME`. What is given is counts alone, nobody's words; the search behind them is written down as any other.
pub(super) async fn traffic(control: &Control, viewer: &Identity) -> Result<Value, ApiError> {
    record_access(control, viewer, "searched", None, TRAFFIC_QUERY).await?;
    let source = evidence::source(&control.shared);
    let query = Query::parse(TRAFFIC_QUERY).map_err(|error| evidence::bad_request(&error))?;
    let (rows, more) = blocking(move || evidence::found(&source, &query, TRAFFIC_CALLS_MAX, None)).await?;
    let mut by_rule: BTreeMap<String, u64> = BTreeMap::new();
    let mut by_decision: BTreeMap<String, u64> = BTreeMap::new();
    let mut calls = 0_u64;
    for row in &rows {
        let text = |name: &str| row.get(name).and_then(Value::as_str).unwrap_or_default();
        if !matches!(text("kind"), "call" | "refusal") {
            continue;
        }
        calls += 1;
        *by_decision.entry(text("decision").to_owned()).or_default() += 1;
        let names = row.get("rules").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        for name in names {
            *by_rule.entry(name.to_owned()).or_default() += 1;
        }
    }
    let since = rows.first().and_then(|row| row.get("time").cloned());
    Ok(
        json!({ "calls": calls, "since": since, "whole_day": more.is_none(), "by_rule": by_rule, "by_decision": by_decision }),
    )
}

async fn show_changes(State(control): Shared, Viewer(viewer): Viewer) -> Result<Json<Value>, ApiError> {
    changes(&control, &viewer).await.map(Json)
}

/// When sets were activated and refused, the newest first; the search is written down.
pub(super) async fn changes(control: &Control, viewer: &Identity) -> Result<Value, ApiError> {
    record_access(control, viewer, "searched", None, CHANGES_QUERY).await?;
    let source = evidence::source(&control.shared);
    let query = Query::parse(CHANGES_QUERY).map_err(|error| evidence::bad_request(&error))?;
    let (rows, _) = blocking(move || evidence::found(&source, &query, CHANGES_SHOWN, None)).await?;
    let changes = rows.iter().rev().map(|row| {
        let field = |name: &str| row.get(name).cloned().unwrap_or_default();
        json!({ "time": field("time"), "action": field("decision"), "record": field("id") })
    });
    Ok(json!({ "changes": changes.collect::<Vec<_>>() }))
}

async fn show_explanation(State(control): Shared, _: Viewer, Json(call): Json<Value>) -> Result<Json<Value>, ApiError> {
    explanation(&control, call).await.map(Json)
}

/// What the active set says to a call that is described as `policy explain` takes it. Regexes and detectors take their time, so it is
/// done on a thread of its own.
pub(super) async fn explanation(control: &Control, described: Value) -> Result<Value, ApiError> {
    let bad = |message: String| ApiError::new(StatusCode::BAD_REQUEST, "bad_call", message);
    let mut parts = Call::parse_parts(&described).map_err(|error| bad(error.to_string()))?;
    let facts = &control.shared.live.current().config.facts;
    if parts.time.is_empty() {
        parts.time = now(&control.shared.clock, &facts.zone);
    }
    for (name, value) in &facts.env {
        parts.env.entry(name.clone()).or_insert_with(|| value.clone().into());
    }
    let call = Call::new(&parts).map_err(|error| bad(error.to_string()))?;
    let active = control.shared.policy.current();
    let explained = tokio::task::spawn_blocking(move || {
        let program = active.compiled.program();
        let host = PolicyHost::new(program).map_err(|error| error.to_string())?;
        Ok::<_, String>(to_json(&explain(program, &host, &call), program, &active.sources))
    });
    match explained.await {
        Ok(Ok(explained)) => Ok(explained),
        Ok(Err(message)) => Err(bad(message)),
        Err(error) => {
            tracing::error!(%error, "explaining a call panicked");
            Err(ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, "not_explained", "this call cannot be explained"))
        }
    }
}

fn now(clock: &Clock, zone: &TimeZone) -> Map<String, Value> {
    let now = clock.moment(zone);
    Map::from_iter([
        ("hour".to_owned(), now.hour.into()),
        ("weekday".to_owned(), now.weekday.into()),
        ("date".to_owned(), Date::from_days(now.date).to_string().into()),
    ])
}
