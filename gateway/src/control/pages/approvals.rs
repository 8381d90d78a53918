//! Calls that wait for people.

use super::{ForApprovers, ForViewers, Visitor, failed, field, page, proved};
use crate::approvals::DecideError;
use crate::console::{self, Section};
use crate::control::api::{self, DecisionBody};
use crate::control::error::ApiError;
use crate::control::{Control, policy_view};
use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;

pub(super) async fn list(State(control): State<Arc<Control>>, ForViewers(visitor): ForViewers) -> Response {
    let view = serde_json::to_value(control.shared.approvals.list(&visitor.identity)).unwrap_or_default();
    page(&control, &visitor, Section::Approvals, "Approvals", console::approvals::list(&view))
}

pub(super) async fn show(
    State(control): State<Arc<Control>>,
    ForViewers(visitor): ForViewers,
    Path(id): Path<String>,
) -> Response {
    show_one(&control, &visitor, &id, None)
}

pub(super) async fn decide(
    State(control): State<Arc<Control>>,
    ForApprovers(visitor): ForApprovers,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: String,
) -> Response {
    if let Err(error) = proved(&control, &visitor, &headers, &form) {
        return failed(&control, &visitor, &error);
    }
    let approve = match field(&form, "decision").as_deref() {
        Some("approve") => true,
        Some("deny") => false,
        _ => {
            let error = ApiError::new(StatusCode::BAD_REQUEST, "bad_request", "Choose to approve or to deny.");
            return show_one(&control, &visitor, &id, Some(&error));
        }
    };
    let body = Some(Json(DecisionBody { reason: field(&form, "reason") }));
    match api::decide(&control, &visitor.identity, &id, approve, body).await {
        // A page that can be loaded again without deciding again.
        Ok(_) => see_again(&id),
        Err(error) => show_one(&control, &visitor, &id, Some(&error)),
    }
}

fn show_one(control: &Control, visitor: &Visitor, id: &str, error: Option<&ApiError>) -> Response {
    let approvals = &control.shared.approvals;
    let Some(view) = approvals.show(id, &visitor.identity) else {
        return failed(control, visitor, &DecideError::NotFound.into());
    };
    let view = serde_json::to_value(view).unwrap_or_default();
    let hindrance = match visitor.may("approver") {
        true => approvals.examine(id, &visitor.identity, true, Some("?")).err().map(|error| error.to_string()),
        false => Some("deciding needs the role approver".to_owned()),
    };
    let decide = console::approvals::Decide {
        csrf: &visitor.csrf,
        hindrance: hindrance.as_deref(),
        error: error.map(|error| error.message.as_str()),
    };
    let rules = policy_view::rules(control);
    let body = console::approvals::one(&view, &rules, &decide, control.shared.clock.unix_ms());
    let mut response = page(control, visitor, Section::Approvals, "Approval", body);
    if let Some(error) = error {
        *response.status_mut() = error.status;
    }
    response
}

fn see_again(id: &str) -> Response {
    let to = HeaderValue::try_from(format!("/approvals/{id}")).unwrap_or(HeaderValue::from_static("/approvals"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response()
}
