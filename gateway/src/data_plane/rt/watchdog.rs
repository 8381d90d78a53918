//! Deadlines without timers: a cell per socket, looked at by the heartbeat of its core.

use std::cell::{Cell, RefCell};
use std::os::fd::RawFd;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

use super::Readiness;
use super::sleep;

/// Heartbeat of an executor; also the resolution of [`Watchdog::now_ms`].
const HEARTBEAT: Duration = Duration::from_millis(10);
/// Every so many heartbeats the deadlines are looked at.
const BEATS_PER_SWEEP: u64 = 10;
/// No deadline.
const NEVER: u64 = u64::MAX;

/// The deadlines of one core.
pub(crate) struct Watchdog {
    started: Instant,
    now_ms: Cell<u64>,
    watched: RefCell<Vec<Weak<Deadline>>>,
    /// Where its sockets are announced.
    pub(super) readiness: Rc<Readiness>,
}

/// The deadline of one socket. When it passes, the socket is shut down, so that whatever waits for it ends.
pub(super) struct Deadline {
    fd: RawFd,
    at_ms: Cell<u64>,
    reading_only: Cell<bool>,
    idle: Cell<bool>,
    passed: Cell<bool>,
}

impl Watchdog {
    /// A watchdog that nobody feeds yet: see [`Self::run`].
    pub(crate) fn new(readiness: Rc<Readiness>) -> Rc<Self> {
        Rc::new(Self { started: Instant::now(), now_ms: Cell::new(0), watched: RefCell::default(), readiness })
    }

    /// Milliseconds since the core started, as of the last heartbeat.
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.get()
    }

    /// Beats until `alive` says no.
    pub(crate) async fn run(self: Rc<Self>, alive: impl Fn() -> bool) {
        let mut beats = 0u64;
        while alive() {
            sleep(HEARTBEAT).await;
            self.now_ms.set(u64::try_from(self.started.elapsed().as_millis()).unwrap_or(NEVER - 1));
            beats += 1;
            if beats.is_multiple_of(BEATS_PER_SWEEP) {
                self.sweep();
            }
        }
    }

    /// Ends the sockets that only wait for a next request: the first thing a drain does.
    pub(crate) fn close_idle(&self) {
        for deadline in self.watched.borrow().iter().filter_map(Weak::upgrade) {
            if deadline.idle.get() {
                deadline.pass();
            }
        }
    }

    /// Ends every socket: the last thing a drain does.
    pub(crate) fn close_all(&self) {
        for deadline in self.watched.borrow().iter().filter_map(Weak::upgrade) {
            deadline.reading_only.set(false);
            deadline.pass();
        }
    }

    pub(super) fn watch(&self, fd: RawFd) -> Rc<Deadline> {
        let deadline = Rc::new(Deadline {
            fd,
            at_ms: Cell::new(NEVER),
            reading_only: Cell::new(true),
            idle: Cell::new(false),
            passed: Cell::new(false),
        });
        self.watched.borrow_mut().push(Rc::downgrade(&deadline));
        deadline
    }

    fn sweep(&self) {
        let now_ms = self.now_ms.get();
        self.watched.borrow_mut().retain(|weak| {
            let Some(deadline) = weak.upgrade() else { return false };
            if deadline.at_ms.get() <= now_ms {
                deadline.pass();
            }
            true
        });
    }
}

impl Deadline {
    /// Sets the deadline; `reading_only` leaves the writing side open, so that an answer can still be sent.
    pub(super) fn arm(&self, at_ms: u64, reading_only: bool) {
        self.reading_only.set(reading_only);
        self.at_ms.set(at_ms);
    }

    /// Takes the deadline away.
    pub(super) fn disarm(&self) {
        self.at_ms.set(NEVER);
    }

    /// Marks the socket as waiting for a next request.
    pub(super) fn set_idle(&self, idle: bool) {
        self.idle.set(idle);
    }

    /// Whether the deadline passed.
    pub(super) fn passed(&self) -> bool {
        self.passed.get()
    }

    fn pass(&self) {
        self.passed.set(true);
        self.at_ms.set(NEVER);
        let how = if self.reading_only.get() { libc::SHUT_RD } else { libc::SHUT_RDWR };
        // SAFETY: shutdown(2) takes no pointers. The descriptor is open: the socket that owns it also owns this deadline, and
        // the caller has just upgraded a weak reference to it on the same thread.
        unsafe {
            libc::shutdown(self.fd, how);
        }
    }
}
