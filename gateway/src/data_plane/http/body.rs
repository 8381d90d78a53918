//! A message body by its framing (RFC 9112 §6), read as it comes.

use std::io;

use super::chunked::{ChunkError, Decoder};
use super::wire::Wire;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// So many bytes; zero is no body.
    Length(u64),
    /// Chunked transfer coding.
    Chunked,
    /// Until the connection closes (answers only).
    UntilClose,
}

/// A body that is being read from a wire.
#[derive(Debug)]
pub(crate) struct Body {
    state: State,
}

#[derive(Debug)]
enum State {
    Length(u64),
    Chunked(Decoder),
    UntilClose,
    Done,
}

/// Why a body ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    #[error("the connection ended within the body")]
    Truncated,
    #[error("no byte of the body came in time")]
    TimedOut,
    #[error("the body is larger than {0} bytes")]
    TooLarge(usize),
    #[error(transparent)]
    Chunked(#[from] ChunkError),
    #[error("the body could not be read: {0}")]
    Io(#[from] io::Error),
}

impl Body {
    pub(crate) fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Length(length),
            Framing::Chunked => State::Chunked(Decoder::new()),
            Framing::UntilClose => State::UntilClose,
        };
        Self { state }
    }

    /// Whether it was read to its end.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Appends what came to `out`; false when the body is at its end. Reads from the wire only when nothing is there yet.
    ///
    /// # Errors
    /// [`BodyError`]; the wire must not be used for another message then.
    pub(crate) async fn read_some(&mut self, wire: &mut Wire, out: &mut Vec<u8>) -> Result<bool, BodyError> {
        let before = out.len();
        while !self.is_done() && out.len() == before {
            if wire.unread().is_empty() {
                let got = match wire.fill().await {
                    Ok(got) => got,
                    Err(_) if wire.socket.timed_out() => return Err(BodyError::TimedOut),
                    Err(error) => return Err(error.into()),
                };
                if got == 0 {
                    return self.ended(wire);
                }
            }
            self.take(wire, out)?;
        }
        Ok(!self.is_done() || out.len() > before)
    }

    /// Reads all of it. `before_read` is called before each wait for more, with how much is there.
    ///
    /// # Errors
    /// [`BodyError`], also when there is more than `bytes_max`; a declared length above it is refused before a byte is read.
    pub(crate) async fn read_whole(
        &mut self,
        wire: &mut Wire,
        bytes_max: usize,
        mut before_read: impl FnMut(&Wire, usize),
    ) -> Result<Vec<u8>, BodyError> {
        let mut out = Vec::new();
        if let State::Length(length) = self.state {
            if length > bytes_max as u64 {
                return Err(BodyError::TooLarge(bytes_max));
            }
            // Not more than one buffer ahead of what was really sent.
            out.reserve(usize::try_from(length).unwrap_or(0).min(64 * 1024));
        }
        before_read(wire, 0);
        while self.read_some(wire, &mut out).await? {
            if out.len() > bytes_max {
                return Err(BodyError::TooLarge(bytes_max));
            }
            before_read(wire, out.len());
        }
        Ok(out)
    }

    fn take(&mut self, wire: &mut Wire, out: &mut Vec<u8>) -> Result<(), BodyError> {
        let unread = wire.unread();
        let taken = match &mut self.state {
            State::Length(left) => {
                let take = usize::try_from(*left).map_or(unread.len(), |left| left.min(unread.len()));
                out.extend_from_slice(unread.get(..take).unwrap_or_default());
                *left -= take as u64;
                take
            }
            State::Chunked(decoder) => decoder.decode(unread, out)?,
            State::UntilClose => {
                out.extend_from_slice(unread);
                unread.len()
            }
            State::Done => 0,
        };
        wire.consume(taken);
        let finished = match &self.state {
            State::Length(left) => *left == 0,
            State::Chunked(decoder) => decoder.is_done(),
            State::UntilClose => false,
            State::Done => true,
        };
        if finished {
            self.state = State::Done;
        }
        Ok(())
    }

    fn ended(&mut self, wire: &Wire) -> Result<bool, BodyError> {
        if wire.socket.timed_out() {
            return Err(BodyError::TimedOut);
        }
        if matches!(self.state, State::UntilClose) {
            self.state = State::Done;
            return Ok(false);
        }
        Err(BodyError::Truncated)
    }
}
