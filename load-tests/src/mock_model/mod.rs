//! A model server that is not a model: every API that the gateway knows, with made-up answers.
//!
//! It answers OpenAI's chat completions, completions, responses and embeddings, Anthropic's messages, TGI's and Triton's
//! generate and KServe v2's infer (JSON, or server-sent events where the request asks for them), `GET /v1/models`,
//! `GET /health` and `GET /mock/stats`. An answer is something friendly about the last user message followed by the text
//! of [`MockOptions::say`]. Streams arrive in pieces of [`MockOptions::chunk`] characters, so that a social security
//! number in that text is spread over several events: the case a masking gateway has to get right.
//!
//! What the server received is kept in a [`Journal`], written before any byte of the answer is sent. A test can thus ask
//! what really reached the upstream, and a crash test can compare it with the evidence.
//!
//! ## Decisions
//! * One thread per core with its own listener and epoll descriptor, and timers exact to the clock's tick: a mock that
//!   rounds to milliseconds or tops out early would be measured in place of what stands before it.
//! * Events have due times counted from the arrival of the request, so that a late one does not delay all after it.
//! * Any model name is accepted. Refusing models is the gateway's work, and a refusal from here would hide its failure.
//! * `max_tokens` is read over: an answer always contains the text it was told to say.
//! * The server runs on threads of its own, so it can be embedded in a program with any runtime or none.

mod answer;
mod behaviour;
mod chat;
mod dialect;
mod events;
mod journal;
mod serve;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

pub use behaviour::{Fail, FailKind, Freeze, Limit, ScriptedAnswer};
pub(crate) use behaviour::{LimitState, Pace, Words};
pub use journal::{Entry, Journal, REQUEST_ID_HEADER};
pub use serve::Stats;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 4096;

/// How a mock model behaves. Build one with struct update: `MockOptions { chunk: 1, ..MockOptions::default() }`.
#[derive(Clone, Debug)]
pub struct MockOptions {
    /// Where to listen; port 0 takes a free one, see [`MockHandle::addr`].
    pub addr: SocketAddr,
    /// Size of one streamed piece of text, in characters; 0 counts as 1.
    pub chunk: usize,
    /// Whether pieces have 1 to `chunk` characters by chance, of which the seed decides.
    pub random_pieces: bool,
    /// Most bytes of a stream's body in one chunk of the wire, however long events are; 0: an event is a chunk.
    pub wire_chunk: usize,
    /// Wait before the first event of a stream, or before a JSON answer.
    pub first_token: Duration,
    /// Wait between two pieces. A JSON answer waits for all of them at once.
    pub between_tokens: Duration,
    /// Text that ends every answer.
    pub say: Option<String>,
    /// Length of every answer's text, in characters. A short answer loses its start.
    pub answer_chars: Option<usize>,
    /// Prompt and completion tokens that usage numbers say, in place of counted ones.
    pub usage: Option<(usize, usize)>,
    /// Model names listed by `GET /v1/models`. Requests may name any model.
    pub models: Vec<String>,
    /// Where received requests are noted.
    pub journal: Journal,
    /// Seed of the answers' ids, wording and pieces: the same seed and the same order of requests give the same answers.
    pub seed: u64,
    /// Answers that take turns, each with its own pace, text and fate.
    pub script: Vec<ScriptedAnswer>,
    /// Misbehaviour on every n-th model request.
    pub fail: Option<Fail>,
    /// Standing still, again and again.
    pub freeze: Option<Freeze>,
    /// What the server can take.
    pub limit: Option<Limit>,
    /// Answers every request with the same few bytes without looking at it: the ceiling of a load generator.
    pub null: bool,
    /// Worker threads, each with its own listener on the same port; 0 counts as 1.
    pub threads: usize,
}

impl Default for MockOptions {
    fn default() -> Self {
        Self {
            addr: SocketAddr::from(([127, 0, 0, 1], 0)),
            chunk: 3,
            random_pieces: false,
            wire_chunk: 0,
            first_token: Duration::ZERO,
            between_tokens: Duration::ZERO,
            say: None,
            answer_chars: None,
            usage: None,
            models: vec!["mock-model".to_owned()],
            journal: Journal::none(),
            seed: 0,
            script: Vec::new(),
            fail: None,
            freeze: None,
            limit: None,
            null: false,
            threads: 1,
        }
    }
}

/// A running mock model. Dropping it stops the server.
#[derive(Debug)]
pub struct MockHandle {
    addr: SocketAddr,
    shared: Arc<Shared>,
    /// Threads end when their end of the pair is closed.
    stop: Vec<UnixStream>,
    threads: Vec<JoinHandle<()>>,
}

/// What all threads of one server share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) options: MockOptions,
    pub(crate) words: Words,
    pub(crate) start: Instant,
    pub(crate) requests_seen: AtomicU64,
    pub(crate) answers_begun: AtomicU64,
    pub(crate) limit: Option<Mutex<LimitState>>,
    pub(crate) stats: Mutex<Vec<Stats>>,
}

/// Starts a mock model on threads of its own. It accepts connections when this returns.
///
/// # Errors
/// When the address cannot be bound, or a thread or its epoll descriptor cannot be had.
pub fn spawn(options: MockOptions) -> io::Result<MockHandle> {
    let count = options.threads.max(1);
    let first = listener(options.addr, count > 1)?;
    let addr = first.local_addr()?;
    let mut listeners = vec![first];
    for _ in 1..count {
        listeners.push(listener(addr, true)?);
    }
    let words = Words {
        say: options.say.clone(),
        chunk: options.chunk,
        random_pieces: options.random_pieces,
        answer_chars: options.answer_chars,
        usage: options.usage,
    };
    let shared = Arc::new(Shared {
        words,
        start: Instant::now(),
        requests_seen: AtomicU64::new(0),
        answers_begun: AtomicU64::new(0),
        limit: options.limit.map(|limit| Mutex::new(LimitState::new(limit))),
        stats: Mutex::new(vec![Stats::default(); count]),
        options,
    });
    let mut handle = MockHandle { addr, shared: Arc::clone(&shared), stop: Vec::new(), threads: Vec::new() };
    for (number, listener) in listeners.into_iter().enumerate() {
        let (stop, stopped) = UnixStream::pair()?;
        let server = serve::Server::new(Arc::clone(&shared), number, listener, stopped)?;
        handle.stop.push(stop);
        handle.threads.push(std::thread::Builder::new().name(format!("mock-{number}")).spawn(move || server.run())?);
    }
    Ok(handle)
}

fn listener(addr: SocketAddr, share_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
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
        self.stop.clear();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl Drop for MockHandle {
    fn drop(&mut self) {
        self.stop_and_join();
    }
}
