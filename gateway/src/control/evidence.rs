//! The evidence over the admin API: what the command line does with the files, beside the running gateway. Everything that
//! shows, proves, exports or changes evidence is itself written down first.
//!
//! Reading what people said is for the role auditor, erasing and holding for the role admin; any verified caller may report what was done
//! elsewhere (`POST /events`). The public part of the log is [`super::public_log`]'s.

use super::Control;
use super::access::{Admin, Auditor, Verified};
use super::api::Shared;
use super::error::ApiError;
use super::journal::caller;
use crate::identity::Identity;
use audit_shipper::read::{self, ExportFormat, Query, SearchOptions, Source};
use audit_shipper::{Detail, Erasure, EvidenceError, Note, NoteKind, RecordId};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query as UrlQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::Write;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Most rows of one answer.
const ROWS_MAX: usize = 1000;
const ROWS_DEFAULT: usize = 50;
/// Pages of rows that are looked through for calls.
const CALL_PAGES_MAX: usize = 20;
/// Bytes gathered before a piece of a long answer is sent, and pieces under way.
const PIECE_BYTES: usize = 64 << 10;
const PIECES: usize = 4;
/// Details of an event reported from elsewhere.
const EVENT_DETAILS_MAX: usize = 32;

/// Below `/api/v1`.
pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new()
        .route("/exchanges", get(search))
        .route("/exchanges/{id}", get(show))
        .route("/evidence/proof/{id}", get(prove))
        .route("/evidence/verify", post(verify))
        .route("/evidence/export", get(export))
        .route("/evidence/erase", post(erase))
        .route("/evidence/hold", post(hold))
        .route("/events", post(report))
}

/// Indexes what is written, on a thread of its own that yields to all others (DECISIONS 7), until the data plane has drained.
pub(super) fn keep_index(shared: &Arc<crate::shared::Shared>) -> std::io::Result<std::thread::JoinHandle<()>> {
    let (source, shared) = (source(shared), Arc::clone(shared));
    let text = shared.config.evidence.index_text;
    let index = move || read::keep_index(&source, text, || shared.lifecycle.is_drained());
    std::thread::Builder::new().name("evidence-index".to_owned()).spawn(index)
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// As `audit search` takes it.
    #[serde(default)]
    q: String,
    limit: Option<usize>,
    /// The smallest index of the page before.
    before: Option<u64>,
    /// For exports.
    #[serde(default)]
    format: String,
    /// Calls and refusals alone, without the log's notes about itself and its readers.
    #[serde(default)]
    calls: bool,
}

async fn search(
    State(control): Shared,
    Auditor(auditor): Auditor,
    UrlQuery(asked): UrlQuery<Asked>,
) -> Result<Json<Value>, ApiError> {
    let limit = asked.limit.unwrap_or(ROWS_DEFAULT);
    find(&control, &auditor, &asked.q, limit, asked.before, asked.calls).await.map(Json)
}

/// Searches for somebody: written down, then done. The rows, the oldest first, and where the page before them begins.
pub(super) async fn find(
    control: &Control,
    auditor: &Identity,
    q: &str,
    limit: usize,
    before: Option<u64>,
    calls: bool,
) -> Result<Value, ApiError> {
    let query = Query::parse(q).map_err(|error| bad_request(&error))?;
    record_access(control, auditor, "searched", None, q).await?;
    let limit = limit.clamp(1, ROWS_MAX);
    let source = source(&control.shared);
    let (rows, next) = blocking(move || {
        if calls { found_calls(&source, &query, limit, before) } else { found(&source, &query, limit, before) }
    })
    .await?;
    Ok(json!({ "exchanges": rows, "before": next }))
}

/// The newest rows below an index, and the cursor for those before them if there may be more.
pub(super) fn found(
    source: &Source,
    query: &Query,
    limit: usize,
    before: Option<u64>,
) -> Result<(Vec<Value>, Option<u64>), EvidenceError> {
    let mut lines = Vec::new();
    read::search(source, query, SearchOptions { json: true, limit, before }, &mut lines)?;
    let rows: Vec<Value> =
        lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect();
    let next = rows.first().filter(|_| rows.len() == limit).and_then(|row| row.get("index")?.as_u64());
    Ok((rows, next))
}

/// The same of calls and refusals alone: looks through as many rows as [`ROWS_MAX`] at a time until there are enough.
fn found_calls(
    source: &Source,
    query: &Query,
    limit: usize,
    mut before: Option<u64>,
) -> Result<(Vec<Value>, Option<u64>), EvidenceError> {
    let is_call = |row: &Value| matches!(row.get("kind").and_then(Value::as_str), Some("call" | "refusal"));
    let mut calls: Vec<Value> = Vec::new();
    for _ in 0..CALL_PAGES_MAX {
        let (rows, next) = found(source, query, ROWS_MAX, before)?;
        let mut newest_first = rows.into_iter().rev().filter(is_call);
        calls.extend(newest_first.by_ref().take(limit - calls.len()));
        let more = newest_first.next().is_some();
        before = if more { calls.last().and_then(|row| row.get("index")?.as_u64()) } else { next };
        if calls.len() == limit || before.is_none() {
            break;
        }
    }
    calls.reverse();
    Ok((calls, before))
}

/// As text for people, or as JSON if that is asked for.
async fn show(
    State(control): Shared,
    Auditor(auditor): Auditor,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let accepts = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if accepts.contains("application/json") {
        return story(&control, &auditor, &id).await.map(|story| Json(story).into_response());
    }
    let id = record_id(&id)?;
    record_access(&control, &auditor, "shown", Some(id), "").await?;
    let source = source(&control.shared);
    let (found, page) = blocking(move || {
        let mut out = Vec::new();
        read::show(&source, id, &mut out).map(|found| (found, out))
    })
    .await?;
    if !found {
        return Err(not_found());
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], page).into_response())
}

/// Everything about one call, for somebody: written down, then read.
pub(super) async fn story(control: &Control, auditor: &Identity, id: &str) -> Result<Value, ApiError> {
    let id = record_id(id)?;
    record_access(control, auditor, "shown", Some(id), "").await?;
    let source = source(&control.shared);
    blocking(move || read::story(&source, id)).await?.ok_or_else(not_found)
}

async fn prove(
    State(control): Shared,
    Verified(reader): Verified,
    Path(id): Path<String>,
) -> Result<Json<Value>, ApiError> {
    proofs(&control, &reader, &id).await.map(Json)
}

/// The proofs of what an id names, for somebody: written down, then each computed from the leaf's bytes up to the signed root.
pub(super) async fn proofs(control: &Control, reader: &Identity, id: &str) -> Result<Value, ApiError> {
    let id = record_id(id)?;
    record_access(control, reader, "proved", Some(id), "").await?;
    let source = source(&control.shared);
    let proofs = blocking(move || read::prove(&source, id)).await?;
    if proofs.is_empty() { Err(not_found()) } else { Ok(json!({ "proofs": proofs })) }
}

async fn verify(State(control): Shared, Auditor(auditor): Auditor) -> Result<Json<Value>, ApiError> {
    verified(&control, &auditor).await.map(Json)
}

/// Verifies the whole log, for somebody.
pub(super) async fn verified(control: &Control, auditor: &Identity) -> Result<Value, ApiError> {
    record_access(control, auditor, "verified", None, "").await?;
    let source = source(&control.shared);
    let (verdict, report) = blocking(move || {
        let mut out = Vec::new();
        read::verify(&source, &mut out).map(|verdict| (verdict, out))
    })
    .await?;
    let words = match verdict {
        read::Verdict::Sound => "sound",
        read::Verdict::Tampered => "tampered",
        read::Verdict::CannotTell => "cannot_tell",
    };
    Ok(json!({ "verdict": words, "report": String::from_utf8_lossy(&report) }))
}

async fn export(
    State(control): Shared,
    Auditor(auditor): Auditor,
    UrlQuery(asked): UrlQuery<Asked>,
) -> Result<Response, ApiError> {
    let query = Query::parse(&asked.q).map_err(|error| bad_request(&error))?;
    let (format, media_type) = match asked.format.as_str() {
        "" | "jsonl" => (ExportFormat::JsonLines, "application/x-ndjson"),
        "ocsf" => (ExportFormat::Ocsf, "application/x-ndjson"),
        "ecs" => (ExportFormat::Ecs, "application/x-ndjson"),
        "cef" => (ExportFormat::Cef, "text/plain; charset=utf-8"),
        "har" => (ExportFormat::Har, "application/json"),
        _ => {
            let why = "format is one of jsonl, ocsf, ecs, cef, har";
            return Err(ApiError::new(StatusCode::BAD_REQUEST, "bad_request", why));
        }
    };
    let mut note = Note::new(NoteKind::Export, "exported");
    note.actor = caller(&auditor);
    note.text.clone_from(&asked.q);
    note.details = vec![("format".into(), Detail::Name(asked.format.clone()))];
    control.journal.plain(&note).await.map_err(no_evidence)?;
    let source = source(&control.shared);
    let (sender, pieces) = mpsc::channel(PIECES);
    tokio::task::spawn_blocking(move || {
        let mut out = Pieces { sender, gathered: Vec::new() };
        let done = read::export(&source, &query, format, &mut out).map(drop);
        let done = done.and_then(|()| out.flush().map_err(|error| EvidenceError::Malformed(error.to_string())));
        if let Err(error) = done {
            // The answer breaks off, so that nobody takes a part for the whole.
            let _ = out.sender.blocking_send(Err(std::io::Error::other(error.to_string())));
        }
    });
    let stream =
        futures_lite::stream::unfold(
            pieces,
            |mut pieces| async move { pieces.recv().await.map(|piece| (piece, pieces)) },
        );
    Ok(([(header::CONTENT_TYPE, media_type)], Body::from_stream(stream)).into_response())
}

/// Sends what is written in pieces; waits while the reader is slow.
struct Pieces {
    sender: mpsc::Sender<std::io::Result<Bytes>>,
    gathered: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.gathered));
        self.sender.blocking_send(Ok(piece)).map_err(|_| std::io::ErrorKind::BrokenPipe.into())
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EraseBody {
    #[serde(default)]
    tenant: String,
    subject: String,
    basis: String,
}

async fn erase(
    State(control): Shared,
    Admin(officer): Admin,
    Json(body): Json<EraseBody>,
) -> Result<Json<Value>, ApiError> {
    let what = Erasure::Subject { tenant: body.tenant, subject: body.subject };
    let evidence = Arc::clone(&control.shared.evidence);
    let plan = evidence.plan_erasure(&what, &caller(&officer), &body.basis).map_err(|error| refused(&error))?;
    // Durable first: a start completes what a crash cuts off.
    for note in &plan.notes {
        control.journal.plain(note).await.map_err(no_evidence)?;
    }
    let keys = blocking(move || evidence.carry_out(&plan)).await?;
    Ok(Json(json!({ "keys_destroyed": keys })))
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldBody {
    #[serde(default)]
    tenant: String,
    subject: String,
    basis: String,
    held: bool,
}

async fn hold(
    State(control): Shared,
    Admin(officer): Admin,
    Json(body): Json<HoldBody>,
) -> Result<Json<Value>, ApiError> {
    let evidence = &control.shared.evidence;
    let note = evidence
        .hold(&body.tenant, &body.subject, body.held, &caller(&officer), &body.basis)
        .map_err(|error| refused(&error))?;
    let id = control.journal.plain(&note).await.map_err(no_evidence)?;
    Ok(Json(json!({ "held": body.held, "record": id.to_string() })))
}

/// Something that was done elsewhere: a data set loaded, a model changed (DECISIONS 27).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct EventBody {
    /// What was done; a short word.
    action: String,
    /// Digest of what was loaded, 64 hexadecimal digits.
    sha256: Option<String>,
    /// Counts.
    #[serde(default)]
    numbers: std::collections::BTreeMap<String, u64>,
    /// In words; kept encrypted.
    #[serde(default)]
    text: String,
}

async fn report(
    State(control): Shared,
    Verified(reporter): Verified,
    Json(body): Json<EventBody>,
) -> Result<(StatusCode, Json<Value>), ApiError> {
    let is_word = |text: &str| {
        (1..=64).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.-".contains(&byte))
    };
    let bad = |why: &str| ApiError::new(StatusCode::BAD_REQUEST, "bad_request", why);
    // These stand in the leaf, for everybody to read: no place for free text.
    if !is_word(&body.action) || !body.numbers.keys().all(|name| is_word(name)) {
        return Err(bad("action and the names of numbers are words of a-z, 0-9, _ . - (at most 64 characters)"));
    }
    if body.numbers.len() > EVENT_DETAILS_MAX {
        return Err(bad("at most 32 numbers"));
    }
    let mut note = Note::new(NoteKind::DataLoad, body.action);
    note.actor = caller(&reporter);
    note.text = body.text;
    if let Some(digest) = body.sha256 {
        let mut bytes = [0; 32];
        hex::decode_to_slice(&digest, &mut bytes).map_err(|_| bad("sha256 is 64 hexadecimal digits"))?;
        note.details.push(("sha256".into(), Detail::Digest(bytes)));
    }
    note.details.extend(body.numbers.into_iter().map(|(name, number)| (name.into(), Detail::Number(number))));
    let id = control.journal.plain(&note).await.map_err(no_evidence)?;
    Ok((StatusCode::CREATED, Json(json!({ "record": id.to_string() }))))
}

/// Where the evidence is read, and with which keys.
pub(super) fn source(shared: &crate::shared::Shared) -> Source {
    let config = &shared.config;
    let mut source = Source::new(&config.data);
    source.origin = Some(config.evidence.origin.clone());
    source.keystore.clone_from(&config.evidence.keystore);
    source.log_key.clone_from(&config.evidence.key);
    source
}

pub(super) async fn record_access(
    control: &Control,
    by: &Identity,
    action: &'static str,
    about: Option<RecordId>,
    query: &str,
) -> Result<(), ApiError> {
    let mut note = Note::new(NoteKind::Access, action);
    note.actor = caller(by);
    note.about = about;
    query.clone_into(&mut note.text);
    control.journal.plain(&note).await.map(drop).map_err(no_evidence)
}

/// Files are read on a thread of their own: the control plane has one.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, EvidenceError> + Send + 'static,
) -> Result<T, ApiError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| refused(&error)),
        Err(error) => {
            tracing::error!(%error, "reading evidence panicked");
            Err(ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the evidence could not be read"))
        }
    }
}

fn record_id(text: &str) -> Result<RecordId, ApiError> {
    text.parse().map_err(|error| bad_request(&error))
}

pub(super) fn bad_request(error: &EvidenceError) -> ApiError {
    ApiError::new(StatusCode::BAD_REQUEST, "bad_request", error.to_string())
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such record")
}

fn refused(error: &EvidenceError) -> ApiError {
    match error {
        EvidenceError::Held => ApiError::new(StatusCode::CONFLICT, "on_hold", error.to_string()),
        EvidenceError::Malformed(_) => bad_request(error),
        error => {
            tracing::error!(%error, "evidence could not be read or changed");
            ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "evidence_unavailable", error.to_string())
        }
    }
}

fn no_evidence(error: EvidenceError) -> ApiError {
    tracing::error!(%error, "it could not be written to the evidence, so it is not done");
    let why = "it could not be written to the evidence, so it is not done";
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "evidence_unavailable", why)
}
