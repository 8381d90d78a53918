//! Sends one request over a kept-alive connection and reads its answer to the end.

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Method, Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::Plan;
use super::events::EventCounter;

/// The header by which the gateway names a call to its caller.
const REQUEST_ID_HEADER: &str = "x-sallyport-request-id";

/// A pool of connections to one target, used by one thread.
pub(super) struct Client {
    addr: SocketAddr,
    path: Uri,
    headers: HeaderMap,
    body: Bytes,
    stream: bool,
    /// Idle connections, the last used on top: the fewest stay warm.
    idle: RefCell<Vec<Connection>>,
    /// Permits to hold a connection, if their number is bounded. Waiters are served in order.
    permits: Option<Semaphore>,
}

type Connection = SendRequest<Full<Bytes>>;

/// An answer that came to its end.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// When the request was handed to its connection.
    pub(super) sent: Instant,
    /// When the first event of a stream was complete.
    pub(super) first_event: Option<Instant>,
    pub(super) end: Instant,
    pub(super) events: u64,
    pub(super) body_bytes: u64,
    pub(super) request_id: Option<HeaderValue>,
}

/// Why there was no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Failure {
    Connect(io::ErrorKind),
    /// The connection broke before the answer's head.
    NoAnswer,
    /// The answer is no HTTP.
    NotHttp,
    /// The connection broke inside the body.
    BrokenBody,
    /// The stream ended without `data: [DONE]`.
    NoDone,
    /// The stream carried an error event.
    ErrorEvent,
    Timeout,
}

impl Failure {
    /// As it stands in the report.
    pub(super) fn label(self) -> String {
        match self {
            Self::Connect(kind) => format!("connect: {kind}"),
            Self::NoAnswer => "connection closed before an answer".to_owned(),
            Self::NotHttp => "answer is not HTTP".to_owned(),
            Self::BrokenBody => "answer broke off".to_owned(),
            Self::NoDone => "stream ended without [DONE]".to_owned(),
            Self::ErrorEvent => "error event in stream".to_owned(),
            Self::Timeout => "timeout".to_owned(),
        }
    }
}

impl Client {
    pub(super) fn new(plan: &Plan, connections: Option<usize>) -> Self {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, plan.target.host.clone());
        for (name, value) in &plan.headers {
            headers.append(name, value.clone());
        }
        Self {
            addr: plan.target.addr,
            path: plan.target.path.clone(),
            headers,
            body: plan.body.clone(),
            stream: plan.stream,
            idle: RefCell::default(),
            permits: connections.map(Semaphore::new),
        }
    }

    /// Sends the request and reads the whole answer.
    pub(super) async fn exchange(&self) -> Result<Answer, Failure> {
        let _permit = match &self.permits {
            // The semaphore is never closed.
            Some(permits) => permits.acquire().await.ok(),
            None => None,
        };
        let mut request = self.request();
        let (connection, sent, response) = loop {
            let (mut connection, reused) = self.connection().await?;
            let sent = Instant::now();
            match connection.try_send_request(request).await {
                Ok(response) => break (connection, sent, response),
                Err(mut failed) => match failed.take_message() {
                    // The server closed an idle connection just as we took it: nothing was sent, so try another.
                    Some(unsent) if reused => request = unsent,
                    _ => {
                        return Err(if failed.error().is_parse() { Failure::NotHttp } else { Failure::NoAnswer });
                    }
                },
            }
        };
        let status = response.status().as_u16();
        let request_id = response.headers().get(REQUEST_ID_HEADER).cloned();
        let mut body = response.into_body();
        let mut events = EventCounter::default();
        let mut first_event = None;
        let mut body_bytes = 0;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Failure::BrokenBody)?;
            let Some(data) = frame.data_ref() else {
                continue;
            };
            body_bytes += data.len() as u64;
            if self.stream {
                events.read(data);
                if first_event.is_none() && events.complete > 0 {
                    first_event = Some(Instant::now());
                }
            }
        }
        let end = Instant::now();
        self.idle.borrow_mut().push(connection);
        if self.stream && (200..300).contains(&status) {
            if events.errors > 0 {
                return Err(Failure::ErrorEvent);
            }
            if !events.done {
                return Err(Failure::NoDone);
            }
        }
        Ok(Answer { status, sent, first_event, end, events: events.complete, body_bytes, request_id })
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }

    /// An idle connection that is still good, or a new one; says whether it was used before.
    async fn connection(&self) -> Result<(Connection, bool), Failure> {
        loop {
            let Some(mut idle) = self.idle.borrow_mut().pop() else {
                break;
            };
            if idle.ready().await.is_ok() {
                return Ok((idle, true));
            }
        }
        let socket = TcpStream::connect(self.addr).await.map_err(|e| Failure::Connect(e.kind()))?;
        // A refusal costs speed only.
        let _ = socket.set_nodelay(true);
        let (connection, driver) = handshake(TokioIo::new(socket)).await.map_err(|_| Failure::NoAnswer)?;
        // The driver's error is seen by the request that it belongs to.
        tokio::task::spawn_local(async move { drop(driver.await) });
        Ok((connection, false))
    }
}
