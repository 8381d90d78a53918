//! One load from several machines: agents share a schedule, a coordinator starts them together and adds up what they measured.
//!
//! A coordinator opens one TCP connection to each agent and speaks JSON, one object per line: the errand (with the secret), then
//! some questions for the time that a line takes there and back, then the start. Each agent takes every n-th arrival of the one
//! schedule, and sends its counts and histograms back whole, so that the sum is exactly what one machine would have counted.
//!
//! The connection is not encrypted and carries the tokens of the load: use it on a network of your own.

use std::io::{self, BufRead, BufReader, Read as _, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use hyper::header::{HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::load::{self, Arrivals, Mix, Part, Piece, Plan, Profile, Report, Tally, Target, share};

/// Longest line, in bytes.
const LINE_BYTES_MAX: u64 = 1 << 30;

/// From the last agent's readiness to the first arrival.
const START_IN: Duration = Duration::from_millis(300);

/// Lines sent there and back to learn how long that takes.
const PINGS: usize = 9;

/// Time for the other side to answer while nothing is measured.
const PATIENCE: Duration = Duration::from_secs(60);

/// Why agents could not work together.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The agent cannot be reached, or its connection broke.
    #[error("agent {address}: {cause}")]
    Connection {
        /// Which.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
    /// The agent said no.
    #[error("agent {address} refused: {reason}")]
    Refused {
        /// Which.
        address: SocketAddr,
        /// What it said.
        reason: String,
    },
    /// An agent must not be open to everybody.
    #[error("{0} can be reached from outside: give the agent a --secret")]
    Unprotected(SocketAddr),
    /// The agent cannot listen.
    #[error("cannot listen on {address}: {cause}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        cause: io::Error,
    },
}

/// What an agent is to do.
#[derive(Serialize, Deserialize)]
struct Errand {
    secret: String,
    url: String,
    arrivals: WireArrivals,
    duration: Duration,
    warmup: Duration,
    headers: Vec<(String, String)>,
    mix: Mix,
    tokens: Vec<String>,
    seed: u64,
    timeout: Duration,
    in_flight_max: usize,
    accept: Vec<u16>,
    threads: usize,
    part: Part,
}

#[derive(Serialize, Deserialize)]
enum WireArrivals {
    Open { rate: f64, connections: Option<usize> },
    Curve { pieces: Vec<Piece>, poisson: Option<u64>, connections: Option<usize> },
    Recorded { offsets: Vec<Duration>, connections: Option<usize> },
    Closed { concurrency: usize },
}

/// From the coordinator, after the errand.
#[derive(Serialize, Deserialize)]
enum Word {
    Ping,
    StartIn(Duration),
}

/// From an agent.
#[derive(Serialize, Deserialize)]
enum Answer {
    Ready,
    Pong,
    Done(Box<Tally>),
    Refused(String),
}

/// Carries out a plan with agents. Bounds (connections, callers, requests in flight) are those of all together.
///
/// # Errors
/// [`AgentError`]; if one agent fails, so does the whole.
pub fn coordinate(plan: &Plan, agents: &[SocketAddr], secret: &str) -> Result<Report, AgentError> {
    let mut lines = Vec::new();
    for (index, address) in agents.iter().enumerate() {
        let mut line = Line::open(*address)?;
        line.send(&errand(plan, secret, Part { index, of: agents.len() }))?;
        lines.push(line);
    }
    for line in &mut lines {
        line.expect_ready()?;
    }
    let mut there_and_back = Vec::new();
    for line in &mut lines {
        there_and_back.push(line.there_and_back()?);
    }
    // Each is told how long to wait from when it hears it, which is half of there-and-back after we say it.
    let start = Instant::now() + START_IN;
    for (line, back) in lines.iter_mut().zip(there_and_back) {
        line.send(&Word::StartIn(start.saturating_duration_since(Instant::now()).saturating_sub(back / 2)))?;
        // From here on the run takes the time it takes.
        let limit = plan.warmup + plan.duration + plan.timeout + PATIENCE;
        line.patience(limit)?;
    }
    let mut sum = Tally::default();
    for line in &mut lines {
        sum.add(&line.result()?);
    }
    Ok(Report::new(plan, sum))
}

/// Serves coordinators, one after the other, until the process ends. `listening` is told the address.
///
/// # Errors
/// [`AgentError`] if it cannot listen, or would be open to everybody.
pub fn serve(address: SocketAddr, secret: &str, listening: impl FnOnce(SocketAddr)) -> Result<(), AgentError> {
    if secret.is_empty() && !address.ip().is_loopback() {
        return Err(AgentError::Unprotected(address));
    }
    let cannot = |cause| AgentError::Listen { address, cause };
    let listener = TcpListener::bind(address).map_err(cannot)?;
    listening(listener.local_addr().map_err(cannot)?);
    for socket in listener.incoming() {
        let Ok(socket) = socket else { continue };
        // A coordinator that went away is its own business; the next one is welcome.
        if let Err(error) = work(socket, secret) {
            eprintln!("sallyport-load: {error}");
        }
    }
    Ok(())
}

fn work(socket: TcpStream, secret: &str) -> Result<(), AgentError> {
    let address = socket.peer_addr().unwrap_or_else(|_| SocketAddr::from(([0, 0, 0, 0], 0)));
    let mut line = Line::new(socket, address)?;
    let errand: Errand = line.receive()?;
    if errand.secret != secret {
        return line.send(&Answer::Refused("the secret is wrong".to_owned()));
    }
    let plan = match errand.plan() {
        Ok(plan) => plan,
        Err(reason) => return line.send(&Answer::Refused(reason)),
    };
    line.send(&Answer::Ready)?;
    let start = loop {
        match line.receive()? {
            Word::Ping => line.send(&Answer::Pong)?,
            Word::StartIn(wait) => break Instant::now() + wait,
        }
    };
    match load::measure(plan, start, |_| {}) {
        Ok(tally) => line.send(&Answer::Done(Box::new(tally))),
        Err(error) => line.send(&Answer::Refused(error.to_string())),
    }
}

fn errand(plan: &Plan, secret: &str, part: Part) -> Errand {
    let own = |all: usize| share(all, part.index, part.of).max(1);
    let arrivals = match &plan.arrivals {
        Arrivals::Open { rate, connections } => WireArrivals::Open { rate: *rate, connections: connections.map(own) },
        Arrivals::Scheduled { profile: Profile::Curve { pieces, poisson }, connections } => {
            WireArrivals::Curve { pieces: pieces.clone(), poisson: *poisson, connections: connections.map(own) }
        }
        Arrivals::Scheduled { profile: Profile::Recorded(offsets), connections } => {
            WireArrivals::Recorded { offsets: offsets.to_vec(), connections: connections.map(own) }
        }
        Arrivals::Closed { concurrency } => WireArrivals::Closed { concurrency: own(*concurrency) },
    };
    Errand {
        secret: secret.to_owned(),
        url: plan.target.url().to_owned(),
        arrivals,
        duration: plan.duration,
        warmup: plan.warmup,
        headers: plan
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect(),
        mix: plan.requests(),
        tokens: plan.tokens.to_vec(),
        seed: plan.seed,
        timeout: plan.timeout,
        in_flight_max: own(plan.in_flight_max),
        accept: plan.accept.clone(),
        threads: plan.threads,
        part,
    }
}

impl Errand {
    fn plan(self) -> Result<Plan, String> {
        let arrivals = match self.arrivals {
            WireArrivals::Open { rate, connections } => Arrivals::Open { rate, connections },
            WireArrivals::Curve { pieces, poisson, connections } => {
                Arrivals::Scheduled { profile: Profile::Curve { pieces, poisson }, connections }
            }
            WireArrivals::Recorded { offsets, connections } => {
                Arrivals::Scheduled { profile: Profile::Recorded(offsets.into()), connections }
            }
            WireArrivals::Closed { concurrency } => Arrivals::Closed { concurrency },
        };
        let mut plan = Plan::new(Target::new(&self.url)?, arrivals, self.duration, bytes::Bytes::new());
        plan.headers.clear();
        for (name, value) in self.headers {
            let header = name.parse::<HeaderName>().ok().zip(HeaderValue::from_str(&value).ok());
            plan.headers.push(header.ok_or_else(|| format!("`{name}` is not a header"))?);
        }
        (plan.mix, plan.tokens, plan.seed) = (Some(self.mix.into()), self.tokens.into(), self.seed);
        (plan.warmup, plan.timeout, plan.accept) = (self.warmup, self.timeout, self.accept);
        (plan.in_flight_max, plan.threads, plan.part) = (self.in_flight_max, self.threads, self.part);
        Ok(plan)
    }
}

/// One connection, read and written in lines.
struct Line {
    address: SocketAddr,
    reader: BufReader<TcpStream>,
}

impl Line {
    fn open(address: SocketAddr) -> Result<Self, AgentError> {
        let connection = |cause| AgentError::Connection { address, cause };
        Self::new(TcpStream::connect_timeout(&address, PATIENCE).map_err(connection)?, address)
    }

    fn new(socket: TcpStream, address: SocketAddr) -> Result<Self, AgentError> {
        let line = Self { address, reader: BufReader::new(socket) };
        line.reader.get_ref().set_nodelay(true).map_err(|cause| line.broken(cause))?;
        line.patience(PATIENCE)?;
        Ok(line)
    }

    fn broken(&self, cause: io::Error) -> AgentError {
        AgentError::Connection { address: self.address, cause }
    }

    fn patience(&self, limit: Duration) -> Result<(), AgentError> {
        self.reader.get_ref().set_read_timeout(Some(limit)).map_err(|cause| self.broken(cause))
    }

    fn send(&mut self, word: &impl Serialize) -> Result<(), AgentError> {
        let mut text = serde_json::to_vec(word).map_err(|error| self.broken(error.into()))?;
        text.push(b'\n');
        self.reader.get_mut().write_all(&text).map_err(|cause| self.broken(cause))
    }

    fn receive<T: DeserializeOwned>(&mut self) -> Result<T, AgentError> {
        let mut text = Vec::new();
        let read = self.reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
        read.map_err(|cause| self.broken(cause))?;
        if text.is_empty() {
            return Err(self.broken(io::ErrorKind::UnexpectedEof.into()));
        }
        serde_json::from_slice(&text).map_err(|error| self.broken(error.into()))
    }

    fn expect_ready(&mut self) -> Result<(), AgentError> {
        match self.receive()? {
            Answer::Refused(reason) => Err(AgentError::Refused { address: self.address, reason }),
            _ => Ok(()),
        }
    }

    /// The shortest time that a line took there and back.
    fn there_and_back(&mut self) -> Result<Duration, AgentError> {
        let mut shortest = Duration::MAX;
        for _ in 0..PINGS {
            let sent = Instant::now();
            self.send(&Word::Ping)?;
            let _: Answer = self.receive()?;
            shortest = shortest.min(sent.elapsed());
        }
        Ok(shortest)
    }

    fn result(&mut self) -> Result<Tally, AgentError> {
        let reason = match self.receive()? {
            Answer::Done(tally) => return Ok(*tally),
            Answer::Refused(reason) => reason,
            Answer::Ready | Answer::Pong => "it answered out of turn".to_owned(),
        };
        Err(AgentError::Refused { address: self.address, reason })
    }
}
