//! The public part of the log as C2SP tlog-tiles: checkpoints and hashes, nothing personal, no entries. On the admin port any verified
//! caller may read it; a listener of its own (`[evidence] public_log`) shows it, and nothing else, to everybody.

use super::Control;
use super::access::Verified;
use super::error::ApiError;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// Files that the public listener reads at once; who asks meanwhile waits.
const READS_MAX: usize = 16;

/// On the admin port.
pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route("/log/checkpoint", get(checkpoint)).route("/log/tile/{*path}", get(tile))
}

/// Serves everybody until the data plane has drained.
pub(super) async fn serve(control: Arc<Control>, listener: std::net::TcpListener) {
    let public = Public {
        directory: control.shared.evidence.directory().to_owned(),
        reads: Arc::new(Semaphore::new(READS_MAX)),
    };
    let router = Router::new()
        .route("/log/checkpoint", get(public_checkpoint))
        .route("/log/tile/{*path}", get(public_tile))
        .fallback(|| async { not_found() })
        .with_state(public);
    let served = async { axum::serve(tokio::net::TcpListener::from_std(listener)?, router).await };
    tokio::select! {
        served = served => {
            if let Err(error) = served {
                tracing::error!(%error, "the public log is not served any more");
            }
        }
        () = control.shared.lifecycle.drained() => {}
    }
}

async fn checkpoint(State(control): State<Arc<Control>>, _: Verified) -> Result<Response, ApiError> {
    stored(control.shared.evidence.directory().join("checkpoint"), "text/plain; charset=utf-8").await
}

async fn tile(
    State(control): State<Arc<Control>>,
    _: Verified,
    Path(path): Path<String>,
) -> Result<Response, ApiError> {
    stored(tile_file(control.shared.evidence.directory().to_owned(), &path)?, "application/octet-stream").await
}

#[derive(Clone)]
struct Public {
    directory: PathBuf,
    reads: Arc<Semaphore>,
}

async fn public_checkpoint(State(public): State<Public>) -> Result<Response, ApiError> {
    let _turn = public.reads.acquire().await;
    stored(public.directory.join("checkpoint"), "text/plain; charset=utf-8").await
}

async fn public_tile(State(public): State<Public>, Path(path): Path<String>) -> Result<Response, ApiError> {
    let _turn = public.reads.acquire().await;
    stored(tile_file(public.directory, &path)?, "application/octet-stream").await
}

/// Tiles of hashes; the entries themselves are not public.
fn tile_file(directory: PathBuf, path: &str) -> Result<PathBuf, ApiError> {
    let is_tile = |part: &str| {
        let number = part.strip_prefix('x').unwrap_or(part);
        let number = number.strip_suffix(".p").unwrap_or(number);
        (1..=3).contains(&number.len()) && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    if path.split('/').all(is_tile) { Ok(directory.join("tiles").join(path)) } else { Err(not_found()) }
}

async fn stored(path: PathBuf, media_type: &'static str) -> Result<Response, ApiError> {
    let read = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let bytes = read.ok().and_then(Result::ok).ok_or_else(not_found)?;
    Ok(([(header::CONTENT_TYPE, media_type)], bytes).into_response())
}

fn not_found() -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "not_found", "there is no such part of the log")
}
