//! TCP listeners and sockets with deadlines.

use std::future::poll_fn;
use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd as _;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use socket2::{Domain, Protocol, SockRef, Type};

use super::readiness::Announced;
use super::watchdog::{Deadline, Watchdog};

/// A listener of one core (SO_REUSEPORT: the kernel spreads connections over the cores).
pub(crate) struct Listener {
    // Dropped before the socket is closed.
    announced: Announced,
    listener: TcpListener,
}

impl Listener {
    /// Takes over a socket that listens already, for the current executor.
    ///
    /// # Errors
    /// Out of descriptors or memory.
    pub(crate) fn new(listener: TcpListener, watchdog: &Rc<Watchdog>) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        Ok(Self { announced: watchdog.readiness.announce(listener.as_raw_fd())?, listener })
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// What accept(2) says, for example that descriptors ran out.
    pub(crate) async fn accept(&self, watchdog: &Rc<Watchdog>) -> io::Result<Socket> {
        loop {
            match self.listener.accept() {
                Ok((stream, _)) => return Socket::new(stream, watchdog),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.announced.nothing_to_read(),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            poll_fn(|context| self.announced.poll_readable(context)).await;
        }
    }
}

/// A connected socket with TCP_NODELAY and a deadline.
pub(crate) struct Socket {
    // Dropped before the socket is closed.
    announced: Announced,
    deadline: Rc<Deadline>,
    stream: TcpStream,
    watchdog: Rc<Watchdog>,
}

impl Socket {
    /// Connects on the current executor.
    ///
    /// # Errors
    /// What connect(2) says, or `TimedOut`.
    pub(crate) async fn connect(address: SocketAddr, timeout: Duration, watchdog: &Rc<Watchdog>) -> io::Result<Self> {
        let socket = socket2::Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        let own = Self::new(socket.into(), watchdog)?;
        // Nothing can be written before it is connected, and the kernel says when it can.
        own.announced.no_room();
        let connected = async {
            poll_fn(|context| own.announced.poll_writable(context)).await;
            SockRef::from(&own.stream).take_error()?.map_or(Ok(()), Err)
        };
        let late = async {
            super::sleep(timeout).await;
            Err(io::ErrorKind::TimedOut.into())
        };
        connected.or(late).await?;
        Ok(own)
    }

    fn new(stream: TcpStream, watchdog: &Rc<Watchdog>) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        let fd = stream.as_raw_fd();
        let announced = watchdog.readiness.announce(fd)?;
        Ok(Self { announced, deadline: watchdog.watch(fd), stream, watchdog: Rc::clone(watchdog) })
    }

    /// Address of the other side.
    ///
    /// # Errors
    /// When it left already.
    pub(crate) fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
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

    /// Waits until reading is worth a try.
    pub(crate) async fn readable(&self) {
        poll_fn(|context| self.announced.poll_readable(context)).await;
    }

    /// Reads into `buffer`; 0 is the end.
    ///
    /// # Errors
    /// What recv(2) says.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.readable().await;
            match self.read_now(buffer) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
    }

    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What send(2) says, or `TimedOut`.
    pub(crate) async fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_both(bytes, &[]).await
    }

    /// Writes all of `first`, then all of `second`, in one go where the kernel has room.
    ///
    /// # Errors
    /// As [`Self::write_all`].
    pub(crate) async fn write_both(&mut self, mut first: &[u8], mut second: &[u8]) -> io::Result<()> {
        while !(first.is_empty() && second.is_empty()) {
            let sent = match (first, second) {
                (all, []) | ([], all) => self.write_now(all),
                _ => retried(|| (&self.stream).write_vectored(&[IoSlice::new(first), IoSlice::new(second)])),
            };
            match sent {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(sent) => {
                    second = second.get(sent.saturating_sub(first.len())..).unwrap_or_default();
                    first = first.get(sent..).unwrap_or_default();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.announced.no_room();
                    poll_fn(|context| self.announced.poll_writable(context)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what is there already, without waiting; 0 is the end.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is there, otherwise what recv(2) says.
    pub(crate) fn read_now(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let room = buffer.len();
        let got = retried(|| (&self.stream).read(buffer));
        let all = match &got {
            Ok(got) => *got > 0 && *got < room,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        if all {
            self.announced.nothing_to_read();
        }
        got
    }

    /// Sends what goes out without waiting; how much that was.
    ///
    /// # Errors
    /// `WouldBlock` when nothing does, otherwise what send(2) says.
    pub(crate) fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        retried(|| (&self.stream).write(bytes))
    }

    /// Whether nothing came since all was read, as far as was heard: not of this very moment, but free of charge.
    pub(crate) fn is_quiet(&self) -> bool {
        self.announced.is_quiet()
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
        // It fails when there is no connection any more.
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
    }

    fn peek(&self) -> io::Result<usize> {
        retried(|| self.stream.peek(&mut [0]))
    }

    fn at_ms(&self, timeout: Duration) -> u64 {
        self.watchdog.now_ms().saturating_add(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX / 2))
    }
}

/// Again when a signal came.
fn retried(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read as _, Write as _};
    use std::sync::mpsc;

    use super::super::{Readiness, spawn, spawn_executor};
    use super::*;

    /// More than the kernel takes at once.
    const LARGE_BYTES: usize = 8 << 20;

    /// Runs `serve` on an executor with each connection that comes to the address.
    fn serving<F: Future<Output = ()> + 'static>(
        serve: impl Fn(Socket, Rc<Watchdog>) -> F + Send + 'static,
    ) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // Not joined: it ends with the tests.
        let executor = spawn_executor(0, move || async move {
            let readiness = Rc::new(Readiness::new().unwrap());
            let watchdog = Watchdog::new(Rc::clone(&readiness));
            let listener = Listener::new(listener, &watchdog).unwrap();
            spawn(readiness.run());
            spawn(Rc::clone(&watchdog).run(|| true));
            loop {
                spawn(serve(listener.accept(&watchdog).await.unwrap(), Rc::clone(&watchdog)));
            }
        });
        std::mem::forget(executor.unwrap());
        address
    }

    #[test]
    fn all_bytes_pass_whatever_the_sizes_and_however_slowly_they_are_read() {
        let address = serving(|mut socket, _| async move {
            let mut buffer = vec![0; 1 << 16];
            while let Ok(got @ 1..) = socket.read(&mut buffer).await {
                let (first, second) = buffer[..got].split_at(got / 3);
                socket.write_both(first, second).await.unwrap();
            }
        });
        let calls = (0..20_u8).map(|number| {
            std::thread::spawn(move || {
                let mut stream = TcpStream::connect(address).unwrap();
                for size in [1, 100, 1 << 16, if number == 0 { LARGE_BYTES } else { 5 }, 3] {
                    let sent: Vec<u8> = (0..size).map(|at| (at % 251) as u8 ^ number).collect();
                    let (mut writing, also) = (stream.try_clone().unwrap(), sent.clone());
                    let writer = std::thread::spawn(move || writing.write_all(&also).unwrap());
                    if size == LARGE_BYTES {
                        // Until both directions are full, so that the gateway's side has to wait for room.
                        std::thread::sleep(Duration::from_millis(50));
                    }
                    let mut got = vec![0; size];
                    stream.read_exact(&mut got).unwrap();
                    writer.join().unwrap();
                    assert!(got == sent);
                }
            })
        });
        calls.collect::<Vec<_>>().into_iter().for_each(|call| call.join().unwrap());
    }

    #[test]
    fn a_deadline_ends_reading_and_leaves_writing() {
        let address = serving(|mut socket, _| async move {
            socket.read_within(Duration::from_millis(20));
            assert_eq!(socket.read(&mut [0; 9]).await.unwrap(), 0);
            assert!(socket.timed_out());
            socket.write_all(b"late").await.unwrap();
        });
        let mut said = String::new();
        TcpStream::connect(address).unwrap().read_to_string(&mut said).unwrap();
        assert_eq!(said, "late");
    }

    #[test]
    fn the_end_is_seen_also_when_it_came_with_the_last_bytes() {
        let (say, said) = mpsc::channel();
        let address = serving(move |mut socket, _| {
            let say = say.clone();
            async move {
                // Bytes and end are both there before the first read.
                super::super::sleep(Duration::from_millis(30)).await;
                let mut buffer = [0; 99];
                let first = socket.read(&mut buffer).await.unwrap();
                say.send((first, socket.read(&mut buffer).await.unwrap())).unwrap();
            }
        });
        TcpStream::connect(address).unwrap().write_all(b"bye").unwrap();
        assert_eq!(said.recv().unwrap(), (3, 0));
    }

    #[test]
    fn connecting_says_what_became_of_it() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = server.local_addr().unwrap();
        let nowhere = {
            let gone = TcpListener::bind("127.0.0.1:0").unwrap();
            gone.local_addr().unwrap()
        };
        let (say, said) = mpsc::channel();
        let address = serving(move |_, watchdog| {
            let say = say.clone();
            async move {
                let connect = |to| Socket::connect(to, Duration::from_secs(5), &watchdog);
                let connected = connect(there).await.map(|socket| (socket.peer_addr().unwrap(), socket.is_stale()));
                say.send((connected.ok(), connect(nowhere).await.err().map(|error| error.kind()))).unwrap();
            }
        });
        let _caller = TcpStream::connect(address).unwrap();
        assert_eq!(said.recv().unwrap(), (Some((there, false)), Some(io::ErrorKind::ConnectionRefused)));
    }
}
