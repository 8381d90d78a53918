//! Waiting until a record is durable, from any runtime or none.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use futures_util::task::AtomicWaker;

use crate::error::EvidenceError;

/// What an acknowledged record got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its index in the tree. None in `observe` mode, which acknowledges before the index is known.
    pub index: Option<u64>,
}

/// Resolves when the record is as durable as [`crate::Durability`] promises, or never will be.
///
/// Dropping it does not take the record back. It may be polled by any executor: the committer thread wakes it.
#[derive(Debug)]
#[must_use = "a record is only durable when its commit has resolved"]
pub struct Commit {
    cell: Arc<CommitCell>,
}

impl Commit {
    /// Blocks this thread until the record is durable. Not for executors.
    ///
    /// # Errors
    /// As the future.
    pub fn wait_blocking(mut self) -> Result<Committed, EvidenceError> {
        let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => std::thread::park(),
            }
        }
    }

    /// The result, if it is known already.
    #[must_use]
    pub fn peek(&self) -> Option<Result<Committed, EvidenceError>> {
        self.cell.result.get().cloned()
    }
}

impl Future for Commit {
    type Output = Result<Committed, EvidenceError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(result) = self.peek() {
            return Poll::Ready(result);
        }
        self.cell.waker.register(context.waker());
        // Between the first look and the registration it may have been resolved.
        self.peek().map_or(Poll::Pending, Poll::Ready)
    }
}

/// The committer's end.
#[derive(Debug, Default)]
pub(crate) struct CommitCell {
    result: OnceLock<Result<Committed, EvidenceError>>,
    waker: AtomicWaker,
}

impl CommitCell {
    pub(crate) fn pair() -> (Arc<Self>, Commit) {
        let cell = Arc::new(Self::default());
        (Arc::clone(&cell), Commit { cell })
    }

    /// A commit that is resolved from the start.
    pub(crate) fn ready(result: Result<Committed, EvidenceError>) -> Commit {
        let (cell, commit) = Self::pair();
        cell.resolve(result);
        commit
    }

    /// The first result counts.
    pub(crate) fn resolve(&self, result: Result<Committed, EvidenceError>) {
        if self.result.set(result).is_ok() {
            self.waker.wake();
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Lets one thread sleep until others have something for it, without a system call while it is awake.
#[derive(Debug)]
pub(crate) struct Parker {
    state: AtomicU8,
    thread: OnceLock<Thread>,
}

const AWAKE: u8 = 0;
const PARKED: u8 = 1;

impl Parker {
    pub(crate) fn new() -> Self {
        Self { state: AtomicU8::new(AWAKE), thread: OnceLock::new() }
    }

    /// To be called once, by the thread that will park.
    pub(crate) fn adopt_current_thread(&self) {
        let _ = self.thread.set(std::thread::current());
    }

    /// Sleeps unless `has_work` turns true after the flag is up; that order is what makes a lost wake-up impossible.
    pub(crate) fn park_unless(&self, has_work: impl Fn() -> bool, at_most: std::time::Duration) {
        self.state.store(PARKED, Ordering::SeqCst);
        std::sync::atomic::fence(Ordering::SeqCst);
        if !has_work() {
            std::thread::park_timeout(at_most);
        }
        self.state.store(AWAKE, Ordering::SeqCst);
    }

    /// After work was made visible: wakes the thread if it is parked.
    pub(crate) fn wake(&self) {
        std::sync::atomic::fence(Ordering::SeqCst);
        if self.state.load(Ordering::SeqCst) == PARKED
            && self.state.swap(AWAKE, Ordering::SeqCst) == PARKED
            && let Some(thread) = self.thread.get()
        {
            thread.unpark();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_commit_resolves_once_and_wakes_whoever_waits() {
        let (cell, commit) = CommitCell::pair();
        assert!(commit.peek().is_none());
        let waiter = std::thread::spawn(move || commit.wait_blocking());
        cell.resolve(Ok(Committed { index: Some(7) }));
        cell.resolve(Err(EvidenceError::Closed));
        assert_eq!(waiter.join().unwrap().unwrap().index, Some(7));
    }

    #[test]
    fn a_failed_commit_says_why() {
        let commit = CommitCell::ready(Err(EvidenceError::QueueFull));
        assert_eq!(commit.wait_blocking().unwrap_err().to_string(), "the evidence queue is full");
    }

    #[test]
    fn a_commit_can_be_sent_and_moved() {
        fn check<T: Send + Unpin + Future>() {}
        check::<Commit>();
    }
}
