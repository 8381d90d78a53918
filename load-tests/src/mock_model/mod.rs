//! A model server that is not a model: OpenAI Chat Completions with made-up answers.
//!
//! It answers `POST /v1/chat/completions` (JSON, or server-sent events when the request says `"stream": true`),
//! `GET /v1/models` and `GET /health`. An answer is something friendly about the last user message followed by the text
//! of [`MockOptions::say`]. Streams arrive in pieces of [`MockOptions::chunk`] characters, so that a social security
//! number in that text is spread over several events: the case a masking gateway has to get right.
//!
//! What the server received is kept in a [`Journal`], written before any byte of the answer is sent. A test can thus ask
//! what really reached the upstream, and a crash test can compare it with the evidence.
//!
//! ## Decisions
//! * hyper and tokio, not the gateway's data path: our own code on both ends of the wire could not contradict itself.
//! * Any model name is accepted. Refusing models is the gateway's work, and a refusal from here would hide its failure.
//! * `max_tokens` is read over: an answer always contains the text it was told to say.
//! * The server runs on threads of its own, so it can be embedded in a program with any runtime or none.

mod answer;
mod chat;
mod journal;
mod serve;

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

pub use journal::{Entry, Journal, REQUEST_ID_HEADER};

/// How a mock model behaves. Build one with struct update: `MockOptions { chunk: 1, ..MockOptions::default() }`.
#[derive(Clone, Debug)]
pub struct MockOptions {
    /// Where to listen; port 0 takes a free one, see [`MockHandle::addr`].
    pub addr: SocketAddr,
    /// Size of one streamed piece of text, in characters; 0 counts as 1.
    pub chunk: usize,
    /// Wait before the first event of a stream, or before a JSON answer.
    pub first_token: Duration,
    /// Wait between two pieces. A JSON answer waits for all of them at once.
    pub between_tokens: Duration,
    /// Text that ends every answer.
    pub say: Option<String>,
    /// Model names listed by `GET /v1/models`. Requests may name any model.
    pub models: Vec<String>,
    /// Where received requests are noted.
    pub journal: Journal,
    /// Seed of the answers' ids and wording: the same seed and the same order of requests give the same answers.
    pub seed: u64,
    /// Misbehaviour on every n-th chat request.
    pub fail: Option<Fail>,
    /// Worker threads; 0 counts as 1.
    pub threads: usize,
}

impl Default for MockOptions {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            chunk: 3,
            first_token: Duration::ZERO,
            between_tokens: Duration::ZERO,
            say: None,
            models: vec!["mock-model".to_owned()],
            journal: Journal::none(),
            seed: 0,
            fail: None,
            threads: 1,
        }
    }
}

/// Misbehaviour on the chat requests number `every`, `2 × every`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fail {
    /// Which requests fail; 1 is all of them.
    pub every: NonZeroU64,
    /// What happens to them.
    pub how: FailKind,
}

/// What a failing request experiences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailKind {
    /// An OpenAI-shaped error with this status; a code that is no HTTP status counts as 500.
    Status(u16),
    /// The connection breaks after this many events of a stream. JSON answers break before their body.
    CutAfter(usize),
    /// Nothing happens for this long, then the ordinary answer.
    Stall(Duration),
}

/// A running mock model. Dropping it stops the server.
#[derive(Debug)]
pub struct MockHandle {
    addr: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    thread: Option<JoinHandle<()>>,
}

/// What all connections of one server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: MockOptions,
    pub(crate) requests_seen: AtomicU64,
    pub(crate) chats_seen: AtomicU64,
}

/// Starts a mock model on threads of its own. It accepts connections when this returns.
///
/// # Errors
/// When the address cannot be bound, the journal file cannot be opened, or the runtime cannot start.
pub fn spawn(options: MockOptions) -> io::Result<MockHandle> {
    let listener = std::net::TcpListener::bind(options.addr)?;
    listener.set_nonblocking(true)?;
    let addr = listener.local_addr()?;
    let runtime = runtime(options.threads)?;
    let shared = Arc::new(Shared { options, requests_seen: AtomicU64::new(0), chats_seen: AtomicU64::new(0) });
    let (stop, stopped) = watch::channel(false);
    let serving = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("mock-model".to_owned()).spawn(move || {
        runtime.block_on(serve::listen(listener, serving, stopped));
        // Connections still open belong to nobody now; their tasks end with the runtime.
        runtime.shutdown_background();
    })?;
    Ok(MockHandle { addr, shared, stop, thread: Some(thread) })
}

impl MockHandle {
    /// The address it listens on, with the real port.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// The base URL of the API's host, without `/v1`.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// How many requests arrived so far, of any kind; each is counted when its head is complete.
    pub fn requests_seen(&self) -> u64 {
        self.shared.requests_seen.load(Ordering::Relaxed)
    }

    /// The journal given in the options.
    pub fn journal(&self) -> &Journal {
        &self.shared.options.journal
    }

    /// Stops the server, breaking connections that are still open, and waits for its threads.
    pub fn shutdown(mut self) {
        self.stop_and_join();
    }

    fn stop_and_join(&mut self) {
        // An error means that the server has already ended.
        let _ = self.stop.send(true);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for MockHandle {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}

fn runtime(threads: usize) -> io::Result<tokio::runtime::Runtime> {
    let mut builder = if threads > 1 {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        builder.worker_threads(threads);
        builder
    } else {
        tokio::runtime::Builder::new_current_thread()
    };
    builder.thread_name("mock-model").enable_io().enable_time().build()
}
