//! Which sockets of a core can be read or written: one epoll descriptor, which the core's ring polls.
//!
//! glommio's own sockets ask the ring anew for every read. Here each socket is announced once, when it is made, and the kernel
//! says only what changed (edge-triggered): reading and writing are tried first, and a socket is waited for only after the kernel
//! has said that there is nothing. What became of that is in docs/performance.md.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, IntoRawFd as _, OwnedFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use futures_lite::AsyncRead as _;
use glommio::net::TcpStream;

/// What changed on at most so many sockets is taken at once.
const EVENTS_MAX: usize = 256;

/// The sockets of one core.
pub(crate) struct Readiness {
    epoll: OwnedFd,
    slots: RefCell<Slots>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

/// The place of a socket. What the kernel still has to say of its predecessor in the same place has another generation.
#[derive(Default)]
struct Slot {
    generation: u32,
    interest: Option<Rc<Interest>>,
}

/// What is known of a socket, and who waits for it.
struct Interest {
    reading: Side,
    writing: Side,
    /// The other side will send no more, or the connection is broken: there is always something to read, if only the end.
    ended: Cell<bool>,
}

struct Side {
    ready: Cell<bool>,
    waiting: Cell<Option<Waker>>,
}

/// A socket that was announced.
pub(super) struct Announced {
    readiness: Rc<Readiness>,
    interest: Rc<Interest>,
    index: u32,
}

impl Readiness {
    /// An epoll descriptor without sockets. Nothing is heard of them until [`Self::run`] runs.
    ///
    /// # Errors
    /// Out of descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1(2) takes no pointers.
        let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given this descriptor to us and to nobody else.
        let epoll = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(Self { epoll, slots: RefCell::default() })
    }

    /// Announces a socket, which must stay open as long as the result lives and be closed then. The kernel says at once when
    /// there is something to read; writing is worth a try before it has said anything.
    ///
    /// # Errors
    /// What epoll_ctl(2) says.
    pub(super) fn announce(self: &Rc<Self>, fd: RawFd) -> io::Result<Announced> {
        let side = |ready| Side { ready: Cell::new(ready), waiting: Cell::new(None) };
        let interest = Rc::new(Interest { reading: side(false), writing: side(true), ended: Cell::new(false) });
        let (index, generation) = self.slots.borrow_mut().take(&interest)?;
        let announced = Announced { readiness: Rc::clone(self), interest, index };
        let events = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;
        // The constant is a bit pattern: EPOLLET is the sign bit.
        let mut event = libc::epoll_event { events: events as u32, u64: key(index, generation) };
        // SAFETY: the event lives through the call, and epoll_ctl(2) keeps no pointer to it.
        let done = unsafe { libc::epoll_ctl(self.epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) };
        if done < 0 { Err(io::Error::last_os_error()) } else { Ok(announced) }
    }

    /// Hears what the kernel has to say and wakes who waits for it, as long as the executor lives.
    pub(crate) async fn run(self: Rc<Self>) {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        loop {
            if let Err(error) = self.told().await {
                // Only when descriptors ran out: some will come back.
                tracing::warn!(%error, "sockets cannot be waited for");
                super::sleep(std::time::Duration::from_millis(10)).await;
            }
            let count = self.take(&mut events);
            let slots = self.slots.borrow();
            for event in events.iter().take(count) {
                slots.dispatch(event.u64, event.events);
            }
        }
    }

    /// Takes events without waiting for them.
    fn take(&self, events: &mut [libc::epoll_event; EVENTS_MAX]) -> usize {
        let max = i32::try_from(EVENTS_MAX).unwrap_or(i32::MAX);
        // SAFETY: pointer and length are those of `events`, which lives through the call.
        let count = unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), max, 0) };
        // It fails only when a signal came, and then nothing is lost.
        usize::try_from(count).unwrap_or(0)
    }

    /// Waits until the epoll descriptor has events. glommio polls only descriptors that it takes for its sockets, and each of
    /// these once before it reads: so each time it gets a duplicate, from which nobody ever reads.
    async fn told(&self) -> io::Result<()> {
        let duplicate = self.epoll.try_clone()?;
        // SAFETY: the descriptor is open, and `duplicate` gives it up here. glommio closes it; it only polls it before.
        let mut polled = unsafe { TcpStream::from_raw_fd(duplicate.into_raw_fd()) };
        let mut armed = false;
        poll_fn(|context| {
            if std::mem::replace(&mut armed, true) {
                return Poll::Ready(());
            }
            // The ring was asked when `polled` was made; this only leaves the waker there.
            Pin::new(&mut polled).poll_read(context, &mut [0]).map(|_| ())
        })
        .await;
        Ok(())
    }
}

impl Slots {
    fn take(&mut self, interest: &Rc<Interest>) -> io::Result<(u32, u32)> {
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(self.slots.len()).map_err(|_| io::ErrorKind::OutOfMemory)?;
                self.slots.push(Slot::default());
                index
            }
        };
        let slot = self.slots.get_mut(index as usize).ok_or(io::ErrorKind::NotFound)?;
        slot.interest = Some(Rc::clone(interest));
        Ok((index, slot.generation))
    }

    fn give_back(&mut self, index: u32) {
        if let Some(slot) = self.slots.get_mut(index as usize) {
            *slot = Slot { generation: slot.generation.wrapping_add(1), interest: None };
            self.free.push(index);
        }
    }

    fn dispatch(&self, key: u64, events: u32) {
        let (index, generation) = ((key & 0xffff_ffff) as usize, (key >> 32) as u32);
        let slot = self.slots.get(index).filter(|slot| slot.generation == generation);
        let Some(interest) = slot.and_then(|slot| slot.interest.as_ref()) else { return };
        let has = |bits: i32| events & (bits as u32) != 0;
        if has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) {
            interest.ended.set(true);
        }
        if has(libc::EPOLLIN) || interest.ended.get() {
            interest.reading.becomes_ready();
        }
        if has(libc::EPOLLOUT | libc::EPOLLHUP | libc::EPOLLERR) {
            interest.writing.becomes_ready();
        }
    }
}

fn key(index: u32, generation: u32) -> u64 {
    (u64::from(generation) << 32) | u64::from(index)
}

impl Announced {
    /// Waits until reading is worth a try.
    pub(super) fn poll_readable(&self, context: &Context<'_>) -> Poll<()> {
        self.interest.reading.poll(context)
    }

    /// Likewise for writing.
    pub(super) fn poll_writable(&self, context: &Context<'_>) -> Poll<()> {
        self.interest.writing.poll(context)
    }

    /// A read came back empty-handed, or with less than there was room for: the kernel will say when there is more. At the end
    /// it has nothing more to say.
    pub(super) fn nothing_to_read(&self) {
        self.interest.reading.ready.set(self.interest.ended.get());
    }

    /// The socket takes no more bytes now.
    pub(super) fn no_room(&self) {
        self.interest.writing.ready.set(false);
    }

    /// Whether nothing came since all was read, as far as was heard.
    pub(super) fn is_quiet(&self) -> bool {
        !self.interest.reading.ready.get()
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        self.readiness.slots.borrow_mut().give_back(self.index);
    }
}

impl Side {
    fn becomes_ready(&self) {
        self.ready.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    fn poll(&self, context: &Context<'_>) -> Poll<()> {
        if self.ready.get() {
            return Poll::Ready(());
        }
        let waiting = self.waiting.take().filter(|waker| waker.will_wake(context.waker()));
        self.waiting.set(Some(waiting.unwrap_or_else(|| context.waker().clone())));
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    #[derive(Default)]
    struct Counting(AtomicUsize);

    impl Wake for Counting {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn pair() -> (std::os::unix::net::UnixStream, std::os::unix::net::UnixStream) {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (ours, theirs)
    }

    fn hear(readiness: &Readiness) -> usize {
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX];
        let count = readiness.take(&mut events);
        events.iter().take(count).for_each(|event| readiness.slots.borrow().dispatch(event.u64, event.events));
        count
    }

    #[test]
    fn who_waits_is_woken_once_and_only_after_the_kernel_spoke() {
        use std::io::{Read as _, Write as _};
        let readiness = Rc::new(Readiness::new().unwrap());
        let (mut ours, mut theirs) = pair();
        let announced = readiness.announce(ours.as_raw_fd()).unwrap();
        let counting = Arc::new(Counting::default());
        let waker = Waker::from(Arc::clone(&counting));
        let context = Context::from_waker(&waker);
        assert!(announced.poll_writable(&context).is_ready());
        hear(&readiness);
        assert!(announced.poll_readable(&context).is_pending() && announced.is_quiet());
        theirs.write_all(b"x").unwrap();
        assert_eq!((hear(&readiness), counting.0.load(Ordering::Relaxed)), (1, 1));
        assert!(announced.poll_readable(&context).is_ready());
        assert_eq!(ours.read(&mut [0; 9]).unwrap(), 1);
        announced.nothing_to_read();
        assert_eq!(hear(&readiness), 0);
        assert!(announced.poll_readable(&context).is_pending());
        // The end is there to be read for good.
        drop(theirs);
        hear(&readiness);
        announced.nothing_to_read();
        assert!(announced.poll_readable(&context).is_ready());
        assert_eq!(counting.0.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn a_predecessor_in_the_same_place_is_not_mistaken_for_its_successor() {
        let readiness = Rc::new(Readiness::new().unwrap());
        let (first, _) = pair();
        let announced = readiness.announce(first.as_raw_fd()).unwrap();
        let stale = key(announced.index, 0);
        drop((announced, first));
        let (second, _other) = pair();
        let announced = readiness.announce(second.as_raw_fd()).unwrap();
        hear(&readiness);
        readiness.slots.borrow().dispatch(stale, libc::EPOLLIN as u32);
        assert!(announced.is_quiet());
        assert_eq!((announced.index, readiness.slots.borrow().slots.len()), (0, 1));
    }
}
