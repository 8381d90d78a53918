//! Calls that wait for people.

use super::{ForApprovers, ForViewers, Visitor, failed, field, page, proved};
use crate::approvals::{Filter, Status};
use crate::console::{self, Section};
use crate::control::approvals::{decide as decided, record_shown, revoke as revoked, told};
use crate::control::error::ApiError;
use crate::control::{Control, policy_view};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// Requests of one state that a page shows.
const SHOWN: usize = 100;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    /// Only those after this id.
    after: Option<String>,
}

pub(super) async fn list(
    State(control): State<Arc<Control>>,
    ForViewers(visitor): ForViewers,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Query(asked) = asked.unwrap_or_default();
    let approvals = &control.shared.approvals;
    let of = |status, after, limit| {
        let filter = Filter { status: Some(status), after, limit: Some(limit), ..Filter::default() };
        let mut page = approvals.page(&visitor.identity, &filter);
        // As the API's list: looking into one is written down.
        page.approvals.iter_mut().for_each(|view| view.preview.clear());
        page
    };
    let pending = of(Status::Pending, asked.after, SHOWN);
    let granted = of(Status::Approved, None, usize::MAX).approvals;
    let settled = [Status::Consumed, Status::Denied, Status::Expired, Status::Revoked];
    let mut settled: Vec<_> = settled.into_iter().flat_map(|status| of(status, None, usize::MAX).approvals).collect();
    settled.sort_by(|a, b| b.id.cmp(&a.id));
    settled.truncate(SHOWN);
    let view = json!({ "pending": pending.approvals, "next": pending.next, "granted": granted, "settled": settled });
    page(&control, &visitor, Section::Approvals, "Approvals", console::approvals::list(&view))
}

pub(super) async fn show(
    State(control): State<Arc<Control>>,
    ForViewers(visitor): ForViewers,
    Path(id): Path<String>,
) -> Response {
    show_one(&control, &visitor, &id, None).await
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
    let reason = field(&form, "reason");
    let done = match field(&form, "decision").as_deref() {
        Some("approve") => decided(&control, &visitor.identity, &id, true, reason.as_deref()).await,
        Some("deny") => decided(&control, &visitor.identity, &id, false, reason.as_deref()).await,
        Some("revoke") => revoked(&control, &visitor.identity, &id, reason.as_deref()).await,
        _ => Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_request", "Choose what to do.")),
    };
    match done {
        // A page that can be loaded again without deciding again.
        Ok(_) => see_again(&id),
        Err(error) => show_one(&control, &visitor, &id, Some(&error)).await,
    }
}

async fn show_one(control: &Control, visitor: &Visitor, id: &str, error: Option<&ApiError>) -> Response {
    let approvals = &control.shared.approvals;
    let Some(view) = approvals.show(id, &visitor.identity) else {
        return match (error, told(control, &visitor.identity, id).await) {
            (None, Ok(told)) => page(control, visitor, Section::Approvals, "Approval", console::approvals::past(&told)),
            (Some(error), _) => failed(control, visitor, error),
            (None, Err(error)) => failed(control, visitor, &error),
        };
    };
    if let Err(error) = record_shown(control, &visitor.identity, id).await {
        return failed(control, visitor, &error);
    }
    let in_force = view.status == Status::Approved;
    let view = serde_json::to_value(view).unwrap_or_default();
    let hindrance = match visitor.may("approver") {
        // What is in force can be taken back; by whom is looked at then.
        true if in_force => None,
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
