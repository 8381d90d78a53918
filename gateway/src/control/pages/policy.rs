//! The active policy set, and a place to try calls on it.

use super::{ForAdmins, ForViewers, Visitor, failed, field, page, proved};
use crate::console::policy::{Playground, View};
use crate::console::{self, Section};
use crate::control::error::ApiError;
use crate::control::policy::Reloaded;
use crate::control::policy_view::{self, CALL_BYTES_MAX};
use crate::control::{Control, evidence};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use serde::Deserialize;
use std::sync::Arc;

/// Bytes of a posted form: percent-encoding makes three of one.
pub(super) const FORM_BYTES_MAX: usize = 3 * CALL_BYTES_MAX + 1024;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// A recorded call to begin with in the playground.
    exchange: Option<String>,
}

pub(super) async fn show(
    State(control): State<Arc<Control>>,
    ForViewers(visitor): ForViewers,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Query(asked) = asked.unwrap_or_default();
    let Some(id) = asked.exchange else { return shown(&control, &visitor, &Playground::default()).await };
    if !visitor.may("auditor") {
        let message = "Trying a recorded call needs the role auditor.";
        return failed(&control, &visitor, &ApiError::new(StatusCode::FORBIDDEN, "role_missing", message));
    }
    match evidence::story(&control, &visitor.identity, &id).await {
        Ok(story) => {
            let call = console::policy::described(&story);
            shown(&control, &visitor, &Playground { call: Some(call), ..Playground::default() }).await
        }
        Err(error) => failed(&control, &visitor, &error),
    }
}

/// What the active set says to the call in the form.
pub(super) async fn explain(
    State(control): State<Arc<Control>>,
    ForViewers(visitor): ForViewers,
    headers: HeaderMap,
    form: String,
) -> Response {
    if let Err(error) = proved(&control, &visitor, &headers, &form) {
        return failed(&control, &visitor, &error);
    }
    let call = field(&form, "call").unwrap_or_default();
    let explained = match serde_json::from_str(&call) {
        Ok(described) => policy_view::explanation(&control, described).await.map_err(|error| error.message),
        Err(error) => Err(format!("This is not JSON: {error}")),
    };
    shown(&control, &visitor, &Playground { call: Some(call), explained: Some(explained), reloaded: None }).await
}

pub(super) async fn reload(
    State(control): State<Arc<Control>>,
    ForAdmins(visitor): ForAdmins,
    headers: HeaderMap,
    form: String,
) -> Response {
    if let Err(error) = proved(&control, &visitor, &headers, &form) {
        return failed(&control, &visitor, &error);
    }
    let reloaded = match control.reload_policy(Some(&visitor.identity)).await {
        Reloaded::Unchanged => "The files are the active set: nothing changed.".to_owned(),
        Reloaded::Activated(generation) => format!("A new set is active: generation {generation}."),
        Reloaded::Rejected(_) => "The files were not taken; the set before stays active.".to_owned(),
    };
    shown(&control, &visitor, &Playground { reloaded: Some(reloaded), ..Playground::default() }).await
}

async fn shown(control: &Control, visitor: &Visitor, playground: &Playground) -> Response {
    let (active, rules) = (policy_view::active(control), policy_view::rules(control));
    let (traffic, changes) = match (
        policy_view::traffic(control, &visitor.identity).await,
        policy_view::changes(control, &visitor.identity).await,
    ) {
        (Ok(traffic), Ok(changes)) => (traffic, changes),
        (Err(error), _) | (_, Err(error)) => return failed(control, visitor, &error),
    };
    let view = View {
        active: &active,
        rules: &rules,
        traffic: &traffic,
        changes: &changes,
        may_reload: visitor.may("admin"),
        csrf: &visitor.csrf,
    };
    page(control, visitor, Section::Policy, "Policy", console::policy::page(&view, playground))
}
