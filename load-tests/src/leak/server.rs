//! The model server: finds the case in the request, and says what it is about.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::cases::{self, Api, Case, Wire};
use super::script;

type Body = Either<Full<Bytes>, Channel<Bytes>>;

/// Serves until it is dropped.
pub(crate) async fn serve(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of descriptors, most likely: wait for some to come back.
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        tokio::spawn(async move {
            // A connection that breaks is the client's to report.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let api = Api::of_path(request.uri().path());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let case = cases::all().into_iter().find(|case| Some(case.api) == api && text.contains(&case.word()));
    Ok(case.map_or_else(unknown, |case| say(&case)))
}

fn unknown() -> Response<Body> {
    let mut response = Response::new(Either::Left(Full::new(Bytes::from_static(b"{\"error\":\"no such case\"}"))));
    *response.status_mut() = StatusCode::NOT_FOUND;
    response
}

fn say(case: &Case) -> Response<Body> {
    let (bytes, coding) = script::answer(case);
    let media_type = if case.streams() { "text/event-stream" } else { "application/json" };
    let mut response = Response::builder().header("content-type", media_type);
    if let Some(coding) = coding {
        response = response.header("content-encoding", coding);
    }
    let body = if case.wire == Wire::Bytes || case.wire == Wire::Gzip {
        let (mut sender, body) = Channel::<Bytes>::new(64);
        tokio::spawn(async move {
            for byte in bytes {
                if sender.send_data(Bytes::copy_from_slice(&[byte])).await.is_err() {
                    return;
                }
            }
        });
        Either::Right(body)
    } else {
        Either::Left(Full::new(Bytes::from(bytes)))
    };
    // Both header values are constants.
    response.body(body).unwrap_or_else(|_| unknown())
}
