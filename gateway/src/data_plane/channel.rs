//! A connection's bytes, in the clear or under TLS: the same calls either way.

use std::io::{self, Read as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, Connection, HandshakeKind, ProtocolVersion, ServerConfig, ServerConnection,
};

use super::rt::Socket;

/// What one read of a handshake brings at most, in bytes.
const HANDSHAKE_READ_BYTES: usize = 4 * 1024;
/// rustls takes no more ciphertext while so much plaintext was not taken, in bytes.
const PLAINTEXT_BYTES_MAX: usize = 16 * 1024;
/// What a connection keeps of its sending buffer while it rests, in bytes.
const OUTGOING_BYTES_KEPT: usize = 4 * 1024;
/// What is looked at to see whether a resting connection is still good, in bytes.
const LOOK_BYTES: usize = 4 * 1024;

/// A socket, and TLS over it if there is any.
pub(crate) struct Channel {
    socket: Socket,
    tls: Option<Box<Tls>>,
}

struct Tls {
    connection: Connection,
    /// Ciphertext that rustls had no room for yet.
    pending: Vec<u8>,
    outgoing: Vec<u8>,
}

/// Why a handshake failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HandshakeError {
    #[error("it did not end in time")]
    TimedOut,
    #[error("the other side closed the connection in the middle of it")]
    Closed,
    #[error(transparent)]
    Tls(#[from] rustls::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a handshake came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Agreed {
    /// TLS 1.3; otherwise 1.2.
    pub(crate) tls13: bool,
    /// An earlier session went on.
    pub(crate) resumed: bool,
}

/// What came to a port that speaks TLS.
pub(crate) enum Accepted {
    /// TLS, as agreed.
    Tls(Channel, Agreed),
    /// Plain HTTP, of which some was read.
    Plain(Channel),
}

async fn receive(socket: &mut Socket, buffer: &mut [u8]) -> Result<usize, HandshakeError> {
    match socket.read(buffer).await {
        _ if socket.timed_out() => Err(HandshakeError::TimedOut),
        Ok(0) => Err(HandshakeError::Closed),
        other => Ok(other?),
    }
}

impl From<Socket> for Channel {
    fn from(socket: Socket) -> Self {
        Self { socket, tls: None }
    }
}

impl Channel {
    /// The server's side of a handshake over a socket that was just accepted. The caller sets the deadline.
    ///
    /// # Errors
    /// [`HandshakeError`]; the other side has got the alert that says why.
    pub(crate) async fn accept(mut socket: Socket, config: Arc<ServerConfig>) -> Result<Accepted, HandshakeError> {
        let connection = ServerConnection::new(config)?;
        let mut first = vec![0; HANDSHAKE_READ_BYTES];
        let got = receive(&mut socket, &mut first).await?;
        first.truncate(got);
        // A method begins with a letter, a handshake never does (RFC 8446 §5.1).
        if first.first().is_some_and(u8::is_ascii_alphabetic) {
            return Ok(Accepted::Plain(socket.into()));
        }
        let channel = Self::shake_hands(socket, connection.into(), &first).await?;
        let agreed = channel.agreed();
        Ok(Accepted::Tls(channel, agreed))
    }

    /// The client's side. The caller sets the deadline.
    ///
    /// # Errors
    /// [`HandshakeError`], for example that the certificate does not have the name.
    pub(crate) async fn connect(
        socket: Socket,
        config: Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> Result<Self, HandshakeError> {
        Self::shake_hands(socket, ClientConnection::new(config, name)?.into(), &[]).await
    }

    /// `received` came already.
    async fn shake_hands(mut socket: Socket, connection: Connection, received: &[u8]) -> Result<Self, HandshakeError> {
        let mut tls = Box::new(Tls { connection, pending: Vec::new(), outgoing: Vec::new() });
        let mut buffer = received.to_vec();
        loop {
            if !buffer.is_empty()
                && let Err(error) = tls.take(&buffer)
            {
                // The alert; nobody is left to tell when this fails.
                let _ = tls.flush(&mut socket).await;
                return Err(error.into());
            }
            tls.flush(&mut socket).await?;
            if !tls.connection.is_handshaking() {
                return Ok(Self { socket, tls: Some(tls) });
            }
            buffer.resize(HANDSHAKE_READ_BYTES, 0);
            let got = receive(&mut socket, &mut buffer).await?;
            buffer.truncate(got);
        }
    }

    fn agreed(&self) -> Agreed {
        let connection = self.tls.as_ref().map(|tls| &tls.connection);
        Agreed {
            tls13: connection.is_some_and(|own| own.protocol_version() == Some(ProtocolVersion::TLSv1_3)),
            resumed: connection.is_some_and(|own| own.handshake_kind() == Some(HandshakeKind::Resumed)),
        }
    }

    /// The verified certificate of the other side and its issuers, the end certificate first; `None` when it showed none.
    pub(crate) fn verified_chain(&self) -> Option<&[CertificateDer<'static>]> {
        self.tls.as_ref()?.connection.peer_certificates()
    }

    /// See [`Socket::read_within`].
    pub(crate) fn read_within(&self, timeout: Duration) {
        self.socket.read_within(timeout);
    }

    /// See [`Socket::move_within`].
    pub(crate) fn move_within(&self, timeout: Duration) {
        self.socket.move_within(timeout);
    }

    /// See [`Socket::never_times_out`].
    pub(crate) fn never_times_out(&self) {
        self.socket.never_times_out();
    }

    /// See [`Socket::set_idle`].
    pub(crate) fn set_idle(&self, idle: bool) {
        self.socket.set_idle(idle);
    }

    /// See [`Socket::timed_out`].
    pub(crate) fn timed_out(&self) -> bool {
        self.socket.timed_out()
    }

    /// Waits until reading is worth a try.
    pub(crate) async fn readable(&mut self) {
        if self.tls.as_mut().is_none_or(|tls| tls.has_taken_all()) {
            self.socket.readable().await;
        }
    }

    /// Reads into `buffer`; 0 is the end.
    ///
    /// # Errors
    /// What recv(2) or rustls says; `UnexpectedEof` when TLS was cut without a farewell (RFC 8446 §6.1), which may be an attack
    /// on whatever has no other end.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match &mut self.tls {
            None => self.socket.read(buffer).await,
            Some(tls) => tls.read(&mut self.socket, buffer).await,
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What send(2) or rustls says, or `TimedOut`.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.socket.write_all(bytes).await,
            Some(tls) => tls.write_all(&mut self.socket, bytes).await,
        }
    }

    /// Writes all of `first`, then all of `second`, in the clear without copying either.
    ///
    /// # Errors
    /// As [`Self::write_all`].
    pub(crate) async fn write_both(&mut self, first: &[u8], second: &[u8]) -> io::Result<()> {
        match &mut self.tls {
            None => self.socket.write_both(first, second).await,
            // As few records as possible: the copy is cheaper than a record of its own.
            Some(tls) => tls.write_all(&mut self.socket, &[first, second].concat()).await,
        }
    }

    /// See [`Socket::is_quiet`]; under TLS nothing may be left of what came before, either.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.socket.is_quiet() && self.tls.as_mut().is_none_or(|tls| tls.has_taken_all())
    }

    /// Whether the other side closed or sent something unasked: a kept-alive connection that must not be used again.
    pub(crate) fn is_stale(&mut self) -> bool {
        match &mut self.tls {
            None => self.socket.is_stale(),
            Some(tls) => tls.look(&mut self.socket) != Look::Quiet,
        }
    }

    /// Whether the other side closed its writing side and nothing it sent is left to read.
    pub(crate) fn peer_closed(&mut self) -> bool {
        match &mut self.tls {
            None => self.socket.peer_closed(),
            Some(tls) => tls.look(&mut self.socket) == Look::Closed,
        }
    }

    /// Tells the other side that nothing more will be sent.
    pub(crate) fn close_writing(&mut self) {
        self.say_farewell();
        self.socket.close_writing();
    }

    /// Without the farewell, careful peers take what they got for cut.
    fn say_farewell(&mut self) {
        let Some(tls) = &mut self.tls else { return };
        tls.connection.send_close_notify();
        tls.outgoing.clear();
        while tls.connection.wants_write() && tls.connection.write_tls(&mut tls.outgoing).is_ok() {}
        // It is small; where the socket has no room for it, the other side does not listen anyway.
        let _ = self.socket.write_now(&tls.outgoing);
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.say_farewell();
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Open, and nothing to read.
    Quiet,
    /// There is something to read.
    Talking,
    /// At its end, or broken.
    Closed,
}

impl Tls {
    /// Whether all that came was taken, and the other side is not at its end: then only the socket can bring more.
    fn has_taken_all(&mut self) -> bool {
        let state = self.connection.process_new_packets();
        self.pending.is_empty()
            && state.is_ok_and(|state| state.plaintext_bytes_to_read() == 0 && !state.peer_has_closed())
    }

    async fn read(&mut self, socket: &mut Socket, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            match self.connection.reader().read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            let taken = if self.pending.is_empty() {
                // The space for plaintext is big enough for the ciphertext that it comes from.
                let got = socket.read(buffer).await?;
                self.take(buffer.get(..got).unwrap_or_default())
            } else {
                let pending = std::mem::take(&mut self.pending);
                self.take(&pending)
            };
            // Answers to what came, such as key updates and alerts.
            self.flush(socket).await?;
            taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        }
    }

    /// Gives ciphertext to rustls, no bytes being the end of the connection; what it has no room for waits.
    fn take(&mut self, mut ciphertext: &[u8]) -> Result<(), rustls::Error> {
        loop {
            // Reading from memory fails only when rustls has no room, which was seen below.
            let read = self.connection.read_tls(&mut ciphertext);
            let state = self.connection.process_new_packets()?;
            if ciphertext.is_empty() {
                return Ok(());
            }
            if read.is_err() || state.plaintext_bytes_to_read() >= PLAINTEXT_BYTES_MAX {
                self.pending = ciphertext.to_vec();
                return Ok(());
            }
        }
    }

    async fn write_all(&mut self, socket: &mut Socket, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let taken = self.connection.writer().write(bytes)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            self.flush(socket).await?;
        }
        Ok(())
    }

    /// Sends everything that rustls has for the other side.
    async fn flush(&mut self, socket: &mut Socket) -> io::Result<()> {
        if !self.connection.wants_write() {
            return Ok(());
        }
        self.outgoing.clear();
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.outgoing)?;
        }
        socket.write_all(&self.outgoing).await?;
        if self.outgoing.capacity() > OUTGOING_BYTES_KEPT {
            self.outgoing = Vec::new();
        }
        Ok(())
    }

    /// Takes what came without waiting: session tickets come after the handshake and mean nothing; a farewell does.
    fn look(&mut self, socket: &mut Socket) -> Look {
        let mut buffer = [0; LOOK_BYTES];
        loop {
            // With something waiting there is no room for more, and no need to look.
            match self.connection.process_new_packets() {
                Ok(state) if state.plaintext_bytes_to_read() > 0 || !self.pending.is_empty() => return Look::Talking,
                Ok(state) if state.peer_has_closed() => return Look::Closed,
                Ok(_) => {}
                Err(_) => return Look::Closed,
            }
            match socket.read_now(&mut buffer) {
                Ok(0) => return Look::Closed,
                Ok(got) if self.take(buffer.get(..got).unwrap_or_default()).is_ok() => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Look::Quiet,
                _ => return Look::Closed,
            }
        }
    }
}
