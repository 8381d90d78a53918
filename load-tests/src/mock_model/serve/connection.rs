//! One connection: requests one after the other, each with its answer written when its parts are due.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use super::exchange::{self, Answering};
use crate::load::Times;
use crate::mock_model::Shared;
use crate::wire::{Message, Request};

/// Largest request body that is read, in bytes.
const BODY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of an answer that are made ready before the socket must take some.
const OUT_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Connection {
    socket: TcpStream,
    pub(super) generation: u32,
    /// When it will be looked at again.
    pub(super) timer: Option<Instant>,
    message: Message<Request>,
    head_noted: bool,
    body: Vec<u8>,
    /// Bytes of the next requests, which came too early.
    early: Vec<u8>,
    /// The last read left nothing behind: what comes next will be told.
    is_drained: bool,
    out: Vec<u8>,
    written: usize,
    answering: Option<Answering>,
    /// The client will send no more, or this was the last request.
    is_last: bool,
}

/// What a connection needs next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// For its socket to be ready.
    Wait,
    /// To be written to, now.
    Write,
    /// To be written to, then.
    At(Instant),
    /// An answer is done: the next request may be read.
    Request,
    Close,
}

impl Connection {
    pub(super) fn new(socket: TcpStream, generation: u32) -> Self {
        Self {
            socket,
            generation,
            timer: None,
            message: Message::default(),
            head_noted: false,
            body: Vec::new(),
            early: Vec::new(),
            is_drained: false,
            out: Vec::new(),
            written: 0,
            answering: None,
            is_last: false,
        }
    }

    /// An answer is done: the next request, if it is there already.
    pub(super) fn next_request(&mut self, shared: &Shared, scratch: &mut [u8], now: Instant) -> Next {
        if !self.early.is_empty() {
            let early = std::mem::take(&mut self.early);
            match self.take(shared, &early, now) {
                Next::Wait => {}
                next => return next,
            }
        }
        if self.is_drained { Next::Wait } else { self.read(shared, scratch, false, now) }
    }

    /// Reads what there is, up to a whole request; what comes while one is answered waits.
    pub(super) fn read(&mut self, shared: &Shared, scratch: &mut [u8], closing: bool, now: Instant) -> Next {
        loop {
            let count = match self.socket.read(scratch) {
                Ok(0) => {
                    self.is_last = true;
                    return if self.answering.is_none() { Next::Close } else { Next::Wait };
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_drained = true;
                    // The socket may also have become writable again.
                    return if self.answering.is_some() { Next::Write } else { Next::Wait };
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return Next::Close,
            };
            // A short read means that the socket is empty, unless its end is behind it.
            self.is_drained = count < scratch.len() && !closing;
            let next = self.take(shared, &scratch[..count], now);
            if !matches!(next, Next::Wait) || self.is_drained {
                return next;
            }
        }
    }

    fn take(&mut self, shared: &Shared, bytes: &[u8], now: Instant) -> Next {
        if self.answering.is_some() {
            self.early.extend_from_slice(bytes);
            return if self.early.len() > BODY_BYTES_MAX { Next::Close } else { Next::Wait };
        }
        let body = &mut self.body;
        let mut too_large = false;
        let Ok(used) = self.message.read(bytes, &mut |data| {
            too_large |= body.len() + data.len() > BODY_BYTES_MAX;
            if !too_large {
                body.extend_from_slice(data);
            }
        }) else {
            return self.answer(exchange::bad_request(), Vec::new());
        };
        if let Some(head) = self.message.head()
            && !self.head_noted
        {
            self.head_noted = true;
            if exchange::head_came(shared, head).is_err() {
                // A journal that cannot be written would make a crash test pass for the wrong reason.
                return Next::Close;
            }
            if head.expects_continue && !self.message.is_whole(false) {
                self.out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
                if self.flush().is_err() {
                    return Next::Close;
                }
            }
        }
        if too_large {
            return self.answer(exchange::too_large(), Vec::new());
        }
        if !self.message.is_whole(false) {
            return Next::Wait;
        }
        let Some(head) = self.message.take() else { return Next::Wait };
        self.head_noted = false;
        self.is_last |= !head.keep_alive;
        let body = std::mem::take(&mut self.body);
        match exchange::answer(shared, &head, &body, now) {
            Some(answering) => {
                // The room is used again for the next request.
                self.body = body;
                self.body.clear();
                self.answer(answering, bytes[used..].to_vec())
            }
            None => Next::Close,
        }
    }

    fn answer(&mut self, answering: Answering, early: Vec<u8>) -> Next {
        self.is_last |= answering.closes;
        (self.answering, self.early) = (Some(answering), early);
        Next::Write
    }

    /// Writes what is due.
    pub(super) fn write(&mut self, shared: &Shared, now: Instant, late: &mut Times) -> Next {
        loop {
            match self.flush() {
                Ok(true) => {}
                Ok(false) => return Next::Wait,
                Err(_) => return Next::Close,
            }
            let Some(answering) = self.answering.as_mut() else { return Next::Wait };
            match answering.next_due() {
                Some(at) if at > now => return Next::At(at),
                Some(at) => {
                    if answering.is_timed {
                        late.record(now.saturating_duration_since(at));
                    }
                    while self.out.len() < OUT_BYTES_MAX && answering.next_due().is_some_and(|at| at <= now) {
                        answering.write_next(shared, &mut self.out);
                    }
                }
                None => {
                    let breaks = answering.breaks;
                    self.answering = None;
                    return if breaks || self.is_last { Next::Close } else { Next::Request };
                }
            }
        }
    }

    /// Hands the socket what is ready; says whether it took all.
    fn flush(&mut self) -> io::Result<bool> {
        while self.written < self.out.len() {
            match self.socket.write(&self.out[self.written..]) {
                Ok(count) => self.written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(true)
    }
}
