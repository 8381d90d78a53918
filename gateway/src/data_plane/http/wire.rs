//! A connection with the bytes that were received and not yet taken.

use std::io;

use super::buffers;
use crate::data_plane::channel::Channel;

/// A connection and its receive buffer. While nothing is there it has none: one is taken when there is something to read, so that
/// resting connections and slow streams hold no memory for it.
pub(crate) struct Wire {
    pub(crate) socket: Channel,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
}

impl Wire {
    pub(crate) fn new(socket: impl Into<Channel>) -> Self {
        Self { socket: socket.into(), buffer: Vec::new(), start: 0, end: 0 }
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
        if self.start == self.end {
            self.rest();
            self.socket.readable().await;
        }
        if self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.buffer.is_empty() {
            self.buffer = buffers::take();
        } else if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let got = self.socket.read(self.buffer.get_mut(self.end..).unwrap_or_default()).await?;
        self.end += got;
        Ok(got)
    }

    /// Gives the buffer back before a connection goes idle.
    pub(crate) fn rest(&mut self) {
        if self.start == self.end {
            buffers::give_back(std::mem::take(&mut self.buffer));
            (self.start, self.end) = (0, 0);
        }
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        buffers::give_back(std::mem::take(&mut self.buffer));
    }
}
