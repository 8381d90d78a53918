//! A connection with the bytes that were received and not yet taken.

use std::io;

use crate::data_plane::channel::Channel;

/// What a connection holds while it is idle, in bytes.
const BUFFER_BYTES_MIN: usize = 4 * 1024;
/// What one read may bring at most, in bytes.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// A connection and its receive buffer.
pub(crate) struct Wire {
    pub(crate) socket: Channel,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    pub(crate) fn new(socket: impl Into<Channel>) -> Self {
        Self { socket: socket.into(), buffer: vec![0; BUFFER_BYTES_MIN], start: 0, end: 0 }
    }

    /// Received and not yet taken.
    pub(crate) fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes the first `n` unread bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
    }

    /// Reads more behind what is unread; 0 is the end of the connection.
    ///
    /// # Errors
    /// What the socket says.
    pub(crate) async fn fill(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == self.buffer.len() {
            self.buffer.resize((self.buffer.len() * 2).max(BUFFER_BYTES_MIN), 0);
        }
        let space = self.buffer.get_mut(self.end..).unwrap_or_default();
        let got = self.socket.read(space).await?;
        self.end += got;
        // A read that filled the space is a sign of a large body: read in larger steps from now on.
        if self.end == self.buffer.len() && self.buffer.len() < BUFFER_BYTES_MAX {
            self.buffer.resize(BUFFER_BYTES_MAX, 0);
        }
        Ok(got)
    }

    /// Gives memory back before a connection goes idle.
    pub(crate) fn rest(&mut self) {
        if self.unread().is_empty() && self.buffer.len() > BUFFER_BYTES_MIN {
            self.buffer = vec![0; BUFFER_BYTES_MIN];
            (self.start, self.end) = (0, 0);
        }
    }
}
