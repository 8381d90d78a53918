//! TCP listeners and sockets with deadlines.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd as _, IntoRawFd as _, RawFd};
use std::rc::Rc;
use std::time::Duration;

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::{TcpListener, TcpStream};

use super::watchdog::{Deadline, Watchdog};

/// A listener of one core (SO_REUSEPORT: the kernel spreads connections over the cores).
pub(crate) struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Takes over a socket that listens already, for the current executor. Nobody else may accept from it meanwhile.
    pub(crate) fn new(listener: std::net::TcpListener) -> Self {
        // SAFETY: the descriptor was owned by `listener`, which gives it up here, and it is a listening TCP socket.
        Self { listener: unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) } }
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// What accept(2) says, for example that descriptors ran out.
    pub(crate) async fn accept(&self, watchdog: &Rc<Watchdog>) -> io::Result<Socket> {
        let stream = self.listener.accept().await.map_err(io::Error::from)?;
        Socket::new(stream, watchdog)
    }
}

/// A connected socket with TCP_NODELAY and a deadline.
pub(crate) struct Socket {
    stream: TcpStream,
    fd: RawFd,
    watchdog: Rc<Watchdog>,
    deadline: Rc<Deadline>,
}

impl Socket {
    /// Connects on the current executor.
    ///
    /// # Errors
    /// What connect(2) says, or `TimedOut`.
    pub(crate) async fn connect(address: SocketAddr, timeout: Duration, watchdog: &Rc<Watchdog>) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(address, timeout).await.map_err(io::Error::from)?;
        Self::new(stream, watchdog)
    }

    fn new(stream: TcpStream, watchdog: &Rc<Watchdog>) -> io::Result<Self> {
        stream.set_nodelay(true).map_err(io::Error::from)?;
        let fd = stream.as_raw_fd();
        Ok(Self { stream, fd, watchdog: Rc::clone(watchdog), deadline: watchdog.watch(fd) })
    }

    /// Address of the other side.
    ///
    /// # Errors
    /// When it left already.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr().map_err(io::Error::from)
    }

    /// From now on, reading ends after `timeout` as if the other side had closed; writing still works. See [`Self::timed_out`].
    pub(crate) fn read_within(&self, timeout: Duration) {
        self.deadline.arm(self.at_ms(timeout), true);
    }

    /// From now on, both directions end after `timeout`.
    pub(crate) fn move_within(&self, timeout: Duration) {
        self.deadline.arm(self.at_ms(timeout), false);
    }

    /// Takes the deadline away.
    pub(crate) fn never_times_out(&self) {
        self.deadline.disarm();
    }

    /// Marks that this socket only waits for a next request.
    pub(crate) fn set_idle(&self, idle: bool) {
        self.deadline.set_idle(idle);
    }

    /// Whether a deadline passed; the socket is of no use for reading any more.
    pub(crate) fn timed_out(&self) -> bool {
        self.deadline.passed()
    }

    /// Reads into `buffer`; 0 is the end.
    ///
    /// # Errors
    /// What recv(2) says.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.stream.read(buffer).await {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What send(2) says, or `TimedOut`.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Reads what is there already, without waiting; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, otherwise what recv(2) says.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // SAFETY: pointer and length are those of `buffer`, which lives through the call; the descriptor is open while `self`
        // lives.
        let got = unsafe { libc::recv(self.fd, buffer.as_mut_ptr().cast(), buffer.len(), libc::MSG_DONTWAIT) };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// Sends what goes out without waiting; how much that was.
    ///
    /// # Errors
    /// `WouldBlock` when nothing does, otherwise what send(2) says.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
        // SAFETY: pointer and length are those of `bytes`, which lives through the call; the descriptor is open while `self`
        // lives.
        let sent = unsafe { libc::send(self.fd, bytes.as_ptr().cast(), bytes.len(), flags) };
        usize::try_from(sent).map_err(|_| io::Error::last_os_error())
    }

    /// Whether the other side closed or sent something unasked: a kept-alive connection that must not be used again.
    pub(crate) fn is_stale(&self) -> bool {
        !matches!(self.peek(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Whether the other side closed its writing side and nothing it sent is left to read.
    pub(crate) fn peer_closed(&self) -> bool {
        matches!(self.peek(), Ok(0))
    }

    /// Tells the other side that nothing more will be sent.
    pub(crate) fn close_writing(&self) {
        // SAFETY: shutdown(2) takes no pointers and the descriptor is open while `self` lives.
        unsafe {
            libc::shutdown(self.fd, libc::SHUT_WR);
        }
    }

    fn peek(&self) -> io::Result<usize> {
        let mut byte = 0u8;
        // SAFETY: the buffer is one byte of this frame, its length is 1, and the descriptor is open while `self` lives.
        let got = unsafe { libc::recv(self.fd, (&raw mut byte).cast(), 1, libc::MSG_PEEK | libc::MSG_DONTWAIT) };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    fn at_ms(&self, timeout: Duration) -> u64 {
        self.watchdog.now_ms().saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX / 2))
    }
}
