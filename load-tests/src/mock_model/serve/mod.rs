//! One thread of the mock model: its listener, its connections, its timers.

mod connection;
mod exchange;
mod script;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::Shared;
use crate::load::Times;
use crate::wire::{Reactor, Ready};
use connection::{Connection, Next};

/// Number of the listener among what is watched; connections have a generation, so none can be it.
const LISTENER: u64 = u64::MAX;

/// Number of the socket that ends the thread.
const STOP: u64 = u64::MAX - 1;

/// Pause after a failed accept, such as when descriptors ran out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(5);

/// Time between two looks at our own clocks.
const STATS_EVERY: Duration = Duration::from_millis(500);

/// Bytes read from a socket at once.
const READ_BYTES: usize = 64 * 1024;

/// How one thread of a mock model fares: whether the mock itself was the bottleneck.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Stats {
    /// CPU time over wall time in the last half second.
    pub busy: f64,
    /// How much later than scripted events were sent, in nanoseconds, at the 99th percentile.
    pub late_p99_ns: u64,
    /// Requests answered.
    pub answered: u64,
}

/// One thread's server.
pub(super) struct Server {
    shared: Arc<Shared>,
    number: usize,
    listener: TcpListener,
    stopped: UnixStream,
    reactor: Reactor,
    connections: Vec<Option<Connection>>,
    free: Vec<usize>,
    generation: u32,
    timers: BinaryHeap<Reverse<(Instant, usize, u32)>>,
    /// The end of the freeze that we are in.
    frozen: Option<Instant>,
    /// Connections that have something to say when it is over, with their generations, in order.
    held: Vec<(usize, u32)>,
    scratch: Vec<u8>,
    late: Times,
    answered: u64,
}

impl Server {
    pub(super) fn new(
        shared: Arc<Shared>,
        number: usize,
        listener: TcpListener,
        stopped: UnixStream,
    ) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        reactor.add_listener(&listener, LISTENER)?;
        reactor.add(&stopped, STOP)?;
        Ok(Self {
            shared,
            number,
            listener,
            stopped,
            reactor,
            connections: Vec::new(),
            free: Vec::new(),
            generation: 0,
            timers: BinaryHeap::new(),
            frozen: None,
            held: Vec::new(),
            scratch: vec![0; READ_BYTES],
            late: Times::default(),
            answered: 0,
        })
    }

    /// Serves until told to stop.
    pub(super) fn run(mut self) {
        let mut ready: Vec<Ready> = Vec::new();
        let (mut looked, mut cpu) = (Instant::now(), cpu_time());
        loop {
            let ring = self.timers.peek().map(|Reverse((at, ..))| *at);
            let next = self.frozen.or(ring).map(|at| at.saturating_duration_since(Instant::now()));
            // Without sockets that can be watched there is nothing left to serve.
            if self.reactor.wait(Some(next.unwrap_or(STATS_EVERY).min(STATS_EVERY)), &mut ready).is_err() {
                return;
            }
            let now = Instant::now();
            self.freeze_or_thaw(now);
            for event in &ready {
                match event.token {
                    LISTENER => self.accept(),
                    STOP if event.closing => return,
                    STOP => {}
                    _ => self.socket_is_ready(*event, now),
                }
            }
            self.ring_timers();
            if now.saturating_duration_since(looked) >= STATS_EVERY {
                let used = cpu_time();
                self.publish((used.saturating_sub(cpu)).as_secs_f64() / looked.elapsed().as_secs_f64());
                (looked, cpu) = (Instant::now(), used);
            }
        }
    }

    /// While it stands still nothing is answered. What came meanwhile is answered at once when that is over: it was read before, so
    /// that a wait is what was left of the freeze and not the time to work off what piled up.
    fn freeze_or_thaw(&mut self, now: Instant) {
        if self.frozen.is_some_and(|end| end <= now) {
            self.frozen = None;
            for (index, generation) in std::mem::take(&mut self.held) {
                if self.connections[index].as_ref().is_some_and(|connection| connection.generation == generation) {
                    self.go_on(index, Next::Write, now);
                }
            }
            self.ring_timers();
        }
        if self.frozen.is_none() {
            self.frozen = self.shared.options.freeze.and_then(|freeze| freeze.until(self.shared.start, now));
        }
    }

    fn accept(&mut self) {
        loop {
            let socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return std::thread::sleep(ACCEPT_PAUSE),
            };
            // Without the second, small events wait for the client's acknowledgements. A refusal costs speed only.
            if socket.set_nonblocking(true).is_err() || socket.set_nodelay(true).is_err() {
                continue;
            }
            self.generation = self.generation.wrapping_add(1) & 0x7fff_ffff;
            let index = self.free.pop().unwrap_or_else(|| {
                self.connections.push(None);
                self.connections.len() - 1
            });
            let token = (u64::from(self.generation) << 32) | index as u64;
            if self.reactor.add(&socket, token).is_ok() {
                self.connections[index] = Some(Connection::new(socket, self.generation));
            } else {
                self.free.push(index);
            }
        }
    }

    fn socket_is_ready(&mut self, event: Ready, now: Instant) {
        let (index, generation) = ((event.token & 0xffff_ffff) as usize, (event.token >> 32) as u32);
        let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else { return };
        if connection.generation != generation {
            return;
        }
        let mut next = Next::Wait;
        if event.readable {
            next = connection.read(&self.shared, &mut self.scratch, event.closing, now);
        }
        // Room to write is told only once: it must not be lost behind something to read.
        if event.writable && matches!(next, Next::Wait) {
            next = Next::Write;
        }
        self.go_on(index, next, now);
    }

    fn ring_timers(&mut self) {
        if self.frozen.is_some() {
            return;
        }
        let now = Instant::now();
        while let Some(Reverse((at, index, generation))) = self.timers.peek().copied() {
            if at > now {
                return;
            }
            self.timers.pop();
            let Some(connection) = self.connections.get_mut(index).and_then(Option::as_mut) else { continue };
            if connection.generation == generation && connection.timer == Some(at) {
                connection.timer = None;
                let next = connection.write(&self.shared, now, &mut self.late);
                self.go_on(index, next, now);
            }
        }
    }

    /// Does what a connection asks for after it read or wrote.
    fn go_on(&mut self, index: usize, mut next: Next, now: Instant) {
        loop {
            let Some(connection) = self.connections[index].as_mut() else { return };
            match next {
                Next::Wait => return,
                Next::At(at) => {
                    if connection.timer != Some(at) {
                        connection.timer = Some(at);
                        self.timers.push(Reverse((at, index, connection.generation)));
                    }
                    return;
                }
                Next::Write if self.frozen.is_some() => return self.held.push((index, connection.generation)),
                Next::Write => next = connection.write(&self.shared, now, &mut self.late),
                Next::Request => {
                    self.answered += 1;
                    next = connection.next_request(&self.shared, &mut self.scratch, now);
                }
                Next::Close => {
                    self.connections[index] = None;
                    self.free.push(index);
                    return;
                }
            }
        }
    }

    fn publish(&self, busy: f64) {
        let mut all = self.shared.stats.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stats) = all.get_mut(self.number) {
            *stats = Stats { busy, late_p99_ns: self.late.at(0.99), answered: self.answered };
        }
        // Held until the thread ends: closing it would tell nobody anything.
        let _ = &self.stopped;
    }
}

/// CPU time of this thread.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}
