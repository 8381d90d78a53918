//! The HTTP side of the mock model.

use std::io;
use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt, Either, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use super::answer::{self, Answer};
use super::chat::ChatRequest;
use super::{FailKind, Shared};

/// Largest request body that is read, in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Connections served at once; more wait in the listen queue.
const CONNECTIONS_MAX: usize = 20_000;

/// Time for a client to send a request's head.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Pause after a failed accept, such as when descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// Events that wait for a slow reader before the stream does.
const EVENTS_AHEAD_MAX: usize = 16;

type Body = Either<Full<Bytes>, Channel<Bytes, io::Error>>;

/// Accepts connections until told to stop.
pub(super) async fn listen(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else {
        return;
    };
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let mut stop = pin!(stopped.wait_for(|stopped| *stopped));
    loop {
        let accept = async {
            // The semaphore is never closed, so the permit is always there.
            let permit = Arc::clone(&room).acquire_owned().await.ok();
            (permit, listener.accept().await)
        };
        tokio::select! {
            _ = &mut stop => return,
            (permit, accepted) = accept => match accepted {
                Ok((socket, _)) => drop(tokio::spawn(connection(socket, Arc::clone(&shared), permit))),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
}

async fn connection(socket: TcpStream, shared: Arc<Shared>, _permit: Option<OwnedSemaphorePermit>) {
    // Without this, small events wait for the client's acknowledgements. A refusal costs speed only.
    let _ = socket.set_nodelay(true);
    let service = service_fn(move |request| {
        let shared = Arc::clone(&shared);
        async move { exchange(&shared, request).await }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    // Errors here are broken connections; the client knows.
    let _ = http.serve_connection(TokioIo::new(socket), service).await;
}

/// One request, from its head to its answer. An error breaks the connection.
async fn exchange(shared: &Arc<Shared>, request: Request<Incoming>) -> Result<Response<Body>, io::Error> {
    shared.requests_seen.fetch_add(1, Ordering::Relaxed);
    let (head, body) = request.into_parts();
    let journal = &shared.options.journal;
    // A journal that cannot be written would make a crash test pass for the wrong reason.
    journal.note_head(&head)?;
    let body = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(refuse(
                StatusCode::PAYLOAD_TOO_LARGE,
                "The request body is too large.",
                "invalid_request_error",
                None,
            ));
        }
        Err(error) => return Err(io::Error::other(error)),
    };
    journal.note_whole(&head, &body);
    match (head.uri.path(), &head.method) {
        ("/v1/chat/completions", &Method::POST) => chat(shared, &body).await,
        ("/v1/models", &Method::GET) => Ok(respond(StatusCode::OK, answer::models_body(&shared.options.models, now()))),
        ("/health", &Method::GET) => Ok(respond(StatusCode::OK, Bytes::from_static(b"{\"status\":\"ok\"}"))),
        ("/v1/chat/completions" | "/v1/models" | "/health", method) => {
            let message = format!("Not allowed to {method} on {}", head.uri.path());
            Ok(refuse(StatusCode::METHOD_NOT_ALLOWED, &message, "invalid_request_error", Some("method_not_supported")))
        }
        (path, method) => {
            let message = format!("Unknown request URL: {method} {path}");
            Ok(refuse(StatusCode::NOT_FOUND, &message, "invalid_request_error", Some("unknown_url")))
        }
    }
}

async fn chat(shared: &Arc<Shared>, body: &[u8]) -> Result<Response<Body>, io::Error> {
    let options = &shared.options;
    let number = shared.chats_seen.fetch_add(1, Ordering::Relaxed) + 1;
    let mut cut_after = None;
    if let Some(fail) = options.fail.filter(|fail| number.is_multiple_of(fail.every.get())) {
        match fail.how {
            FailKind::Status(code) => {
                let status = StatusCode::from_u16(code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                return Ok(refuse(status, "The mock model was told to fail.", "server_error", None));
            }
            FailKind::CutAfter(events) => cut_after = Some(events),
            FailKind::Stall(pause) => tokio::time::sleep(pause).await,
        }
    }
    let request = match ChatRequest::parse(body) {
        Ok(request) => request,
        Err(message) => {
            return Ok(refuse(StatusCode::BAD_REQUEST, &message, "invalid_request_error", None));
        }
    };
    let stream = request.stream;
    let answer = Answer::new(request, options.say.as_deref(), options.chunk, options.seed, number, now());
    if stream {
        let (sender, body) = Channel::new(EVENTS_AHEAD_MAX);
        tokio::spawn(send_events(Arc::clone(shared), answer, sender, cut_after));
        return Ok(stream_response(body));
    }
    if cut_after.is_some() {
        return Err(io::Error::other("the mock model was told to break this connection"));
    }
    let gaps = u32::try_from(answer.piece_count().saturating_sub(1)).unwrap_or(u32::MAX);
    pause(options.first_token + options.between_tokens.saturating_mul(gaps)).await;
    Ok(respond(StatusCode::OK, answer.whole()))
}

/// Sends a stream's events at the pace of the options; ends early when the client is gone or the stream is to be cut.
async fn send_events(
    shared: Arc<Shared>,
    answer: Answer,
    mut sender: Sender<Bytes, io::Error>,
    cut_after: Option<usize>,
) {
    let options = &shared.options;
    let mut left = cut_after.unwrap_or(usize::MAX);
    pause(options.first_token).await;
    // Opening, pieces, closing; only pieces after the first one have a pause before them.
    let last = answer.piece_count() + 1;
    for step in 0..=last {
        let events = match step {
            0 => answer.opening(),
            step if step == last => answer.closing(),
            step => {
                if step > 1 {
                    pause(options.between_tokens).await;
                }
                answer.piece(step - 1)
            }
        };
        for event in events {
            if left == 0 {
                sender.abort(io::Error::other("the mock model was told to break this stream"));
                return;
            }
            left -= 1;
            if sender.send_data(event).await.is_err() {
                return;
            }
        }
    }
}

/// A zero pause costs no trip through the timer.
async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}

fn stream_response(body: Channel<Bytes, io::Error>) -> Response<Body> {
    let mut response = Response::new(Either::Right(body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-cache"));
    response
}

fn respond(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(body)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    response
}

fn refuse(status: StatusCode, message: &str, kind: &str, code: Option<&str>) -> Response<Body> {
    respond(status, answer::error_body(message, kind, code))
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
