//! Searching calls, and everything about one of them. Each look is written down, as with the API.

use super::{ForAuditors, Visitor, failed, page, proved};
use crate::console::{self, Section};
use crate::control::{Control, evidence, policy_view};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::HeaderMap;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;

/// Rows of a page.
const ROWS: usize = 50;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Asked {
    #[serde(default)]
    q: String,
    before: Option<u64>,
    /// Also the log's notes about itself and its readers.
    #[serde(default)]
    all: bool,
}

pub(super) async fn list(
    State(control): State<Arc<Control>>,
    ForAuditors(visitor): ForAuditors,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let Query(asked) = asked.unwrap_or_default();
    let found = evidence::find(&control, &visitor.identity, &asked.q, ROWS, asked.before, !asked.all).await;
    let (view, error) = match found {
        Ok(view) => (view, None),
        Err(error) => (Value::Null, Some(error)),
    };
    let search = console::exchanges::Search {
        q: &asked.q,
        all: asked.all,
        paged: asked.before.is_some(),
        error: error.as_ref().map(|error| error.message.as_str()),
    };
    let mut response =
        page(&control, &visitor, Section::Exchanges, "Exchanges", console::exchanges::list(&view, &search));
    if let Some(error) = error {
        *response.status_mut() = error.status;
    }
    response
}

pub(super) async fn show(
    State(control): State<Arc<Control>>,
    ForAuditors(visitor): ForAuditors,
    Path(id): Path<String>,
) -> Response {
    show_one(&control, &visitor, &id, None).await
}

/// Proves the call's records now.
pub(super) async fn verify(
    State(control): State<Arc<Control>>,
    ForAuditors(visitor): ForAuditors,
    Path(id): Path<String>,
    headers: HeaderMap,
    form: String,
) -> Response {
    if let Err(error) = proved(&control, &visitor, &headers, &form) {
        return failed(&control, &visitor, &error);
    }
    let proofs = evidence::proofs(&control, &visitor.identity, &id).await;
    let proofs = proofs.map_err(|error| match error.code {
        "not_found" => {
            "No signed checkpoint covers this record yet. One is signed about once a second: try again.".to_owned()
        }
        _ => error.message,
    });
    show_one(&control, &visitor, &id, Some(&proofs)).await
}

async fn show_one(control: &Control, visitor: &Visitor, id: &str, proofs: Option<&Result<Value, String>>) -> Response {
    let story = match evidence::story(control, &visitor.identity, id).await {
        Ok(story) => story,
        Err(error) => return failed(control, visitor, &error),
    };
    let signed = control.shared.evidence.status().tree_size;
    let proof = console::proof::Proof { csrf: &visitor.csrf, signed, proofs };
    let body = console::exchange::page(&story, &policy_view::rules(control), &proof);
    page(control, visitor, Section::Exchanges, "Exchange", body)
}
