//! One epoll descriptor, edge-triggered, with waits that are exact to the clock's tick instead of to a millisecond.

use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU64;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::time::Timespec;

/// Sockets taken from the kernel per wait.
const EVENTS_MAX: usize = 1024;

/// Sockets of one thread, and what became of them.
#[derive(Debug)]
pub(crate) struct Reactor {
    epoll: OwnedFd,
}

/// What became of one socket.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    /// The number given to [`Reactor::add`].
    pub(crate) token: u64,
    /// There may be bytes to read, or the end of them.
    pub(crate) readable: bool,
    /// There may be room to write.
    pub(crate) writable: bool,
    /// The other side will send no more, or the connection broke: read until that shows.
    pub(crate) closing: bool,
}

impl Reactor {
    /// # Errors
    /// When the process is out of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        // The kernel lets an ordinary thread sleep 50 µs longer than asked for; a schedule cannot have that. A refusal costs
        // those 50 µs, and lateness is measured anyway.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1));
        Ok(Self { epoll: epoll::create(CreateFlags::CLOEXEC)? })
    }

    /// Watches a socket until it is closed.
    ///
    /// # Errors
    /// When the kernel refuses, as for lack of memory.
    pub(crate) fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), flags)?)
    }

    /// Watches a listening socket, level-triggered, for one of the threads that share it.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn add_listener(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, socket, EventData::new_u64(token), EventFlags::IN)?)
    }

    /// Waits until something is ready or the time is over, and puts what is ready into `ready`.
    ///
    /// # Errors
    /// When the kernel refuses to wait at all; an interruption by a signal is no error.
    pub(crate) fn wait(&self, timeout: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let mut room = [const { MaybeUninit::<Event>::uninit() }; EVENTS_MAX];
        let timeout = timeout.map(|time| Timespec {
            tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        let events = match epoll::wait(&self.epoll, &mut room, timeout.as_ref()) {
            Ok((events, _)) => events,
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        ready.extend(events.iter().map(|event| {
            let flags = event.flags;
            let broken = flags.intersects(EventFlags::ERR | EventFlags::HUP);
            Ready {
                token: event.data.u64(),
                readable: broken || flags.intersects(EventFlags::IN | EventFlags::RDHUP),
                writable: broken || flags.contains(EventFlags::OUT),
                closing: broken || flags.contains(EventFlags::RDHUP),
            }
        }));
        Ok(())
    }
}

/// Begins a connection without waiting for it; it is there when its socket is writable and has no error.
///
/// # Errors
/// What the kernel says at once, such as that no port is left.
pub(crate) fn connect(address: SocketAddr) -> io::Result<TcpStream> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = socket_with(family, SocketType::STREAM, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC, None)?;
    match rustix::net::connect(&socket, &address) {
        Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
        Err(error) => return Err(error.into()),
    }
    let socket = TcpStream::from(socket);
    // A refusal costs speed only.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}
