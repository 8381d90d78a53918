//! One connection and the call that is on it.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use super::Call;
use crate::load::stream::Reading;
use crate::load::tally::Tally;
use crate::wire::{EventSplitter, Message, Reply, connect};

/// Bytes at the end of a whole answer that are searched for its usage.
const TAIL_BYTES: usize = 512;

/// Room for requests that is kept when they were sent.
const OUT_BYTES_KEPT: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) generation: u32,
    pub(super) is_connecting: bool,
    pub(super) call: Option<Call>,
    /// Bytes to send, of which `written` are gone.
    pub(super) out: Vec<u8>,
    written: usize,
    pub(super) message: Message<Reply>,
    events: EventSplitter,
    /// The newest bytes of a body that is no stream: that is where the usage stands.
    pub(super) tail: Vec<u8>,
    /// Answers that came over it.
    pub(super) answers: u64,
}

/// How far an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    More,
    Whole { keep: bool },
    Closed,
    NotHttp,
}

impl Connection {
    pub(super) fn open(address: SocketAddr, generation: u32) -> io::Result<Self> {
        Ok(Self {
            socket: connect(address)?,
            generation,
            is_connecting: true,
            call: None,
            out: Vec::new(),
            written: 0,
            message: Message::default(),
            events: EventSplitter::default(),
            tail: Vec::new(),
            answers: 0,
        })
    }

    pub(super) fn is_idle(&self, generation: u32) -> bool {
        self.generation == generation && self.call.is_none() && !self.is_connecting
    }

    /// The socket became writable for the first time: is there a connection?
    pub(super) fn has_connected(&mut self) -> Result<(), io::ErrorKind> {
        match self.socket.take_error() {
            Ok(None) => {
                self.is_connecting = false;
                Ok(())
            }
            Ok(Some(error)) | Err(error) => Err(error.kind()),
        }
    }

    /// Writes what the socket takes.
    pub(super) fn write(&mut self, now: Instant) -> io::Result<()> {
        while self.written < self.out.len() {
            if let Some(call) = &mut self.call {
                call.sent.get_or_insert(now);
            }
            match self.socket.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.out.shrink_to(OUT_BYTES_KEPT);
        self.written = 0;
        Ok(())
    }

    /// Reads what there is. `closing` says that the end may be behind it, so that it is read for even after a short read.
    pub(super) fn read(&mut self, scratch: &mut [u8], closing: bool, woke: Instant, tally: &mut Tally) -> Progress {
        loop {
            let count = match self.socket.read(scratch) {
                Ok(0) if self.call.is_some() && self.message.is_whole(true) => return Progress::Whole { keep: false },
                Ok(0) => return Progress::Closed,
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::More,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Progress::Closed,
            };
            match self.take(&scratch[..count], woke, tally) {
                Progress::More if closing || count == scratch.len() => {}
                progress => return progress,
            }
        }
    }

    fn take(&mut self, bytes: &[u8], woke: Instant, tally: &mut Tally) -> Progress {
        // Bytes that nobody asked for.
        let Some(call) = &mut self.call else { return Progress::NotHttp };
        // A wait may end before the call was sent: never let an answer be older than its request.
        let now = call.sent.map_or(woke, |sent| sent.max(woke));
        let (events, tail) = (&mut self.events, &mut self.tail);
        let mut gaps = call.due.measured.then_some(&mut tally.times.between_tokens);
        let (stream, seen, body_bytes) = (call.stream, &mut call.seen, &mut call.body_bytes);
        let used = self.message.read(bytes, &mut |data| {
            *body_bytes += data.len() as u64;
            if stream {
                events.read(data, &mut Reading { seen: &mut *seen, now, gaps: gaps.as_deref_mut() });
            } else {
                keep_tail(tail, data);
            }
        });
        match used {
            Err(_) => Progress::NotHttp,
            Ok(used) if !self.message.is_whole(false) => {
                debug_assert_eq!(used, bytes.len());
                Progress::More
            }
            Ok(used) => {
                self.events = EventSplitter::default();
                // An answer before the whole request was sent, or more than one answer: the connection is no good any more.
                let clean = used == bytes.len() && self.out.is_empty();
                Progress::Whole { keep: clean && self.message.head().is_some_and(|head| head.keep_alive) }
            }
        }
    }
}

/// Keeps the newest bytes.
fn keep_tail(tail: &mut Vec<u8>, data: &[u8]) {
    let data = &data[data.len().saturating_sub(TAIL_BYTES)..];
    let surplus = (tail.len() + data.len()).saturating_sub(TAIL_BYTES);
    tail.drain(..surplus.min(tail.len()));
    tail.extend_from_slice(data);
}
