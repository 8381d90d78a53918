//! The threads that check signatures, so that a burst of fresh tokens never holds up a core's other callers. Their number and
//! their queue are bounded; what does not fit is turned away at once.

use super::{Identity, IdentityError, Verifier};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Threads that verify tokens.
#[derive(Debug)]
pub struct VerifyPool {
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Debug)]
struct Job {
    token: Box<str>,
    now_unix_s: u64,
    answer: oneshot::Sender<Result<Identity, IdentityError>>,
}

impl VerifyPool {
    /// Starts the threads; `queue` tokens may wait for them.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub fn start(verifier: &Arc<Verifier>, threads: usize, queue: usize) -> io::Result<Self> {
        let (jobs, waiting) = bounded(queue.max(1));
        let spawn = |number| {
            let (verifier, waiting) = (Arc::clone(verifier), waiting.clone());
            std::thread::Builder::new().name(format!("verify-{number}")).spawn(move || work(&verifier, &waiting))
        };
        let threads = (0..threads.max(1)).map(spawn).collect::<Result<_, _>>()?;
        Ok(Self { jobs: Some(jobs), threads })
    }

    /// Who the token stands for. Works on any executor.
    ///
    /// # Errors
    /// The check that failed; [`IdentityError::Busy`] if the queue is full.
    pub async fn verify(&self, token: &str, now_unix_s: u64) -> Result<Identity, IdentityError> {
        let (answer, verified) = oneshot::channel();
        let job = Job { token: token.into(), now_unix_s, answer };
        let jobs = self.jobs.as_ref().ok_or(IdentityError::Busy)?;
        match jobs.try_send(job) {
            Ok(()) => verified.await.unwrap_or(Err(IdentityError::Busy)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(IdentityError::Busy),
        }
    }
}

impl Drop for VerifyPool {
    fn drop(&mut self) {
        // Without a sender the threads find the end of the queue.
        self.jobs = None;
        for thread in self.threads.drain(..) {
            // A thread that panicked has nothing left to say; callers got an error instead of an answer.
            let _ = thread.join();
        }
    }
}

fn work(verifier: &Verifier, waiting: &Receiver<Job>) {
    for job in waiting {
        // The caller may have left meanwhile: then its signature is nobody's business.
        if !job.answer.is_closed() {
            let _ = job.answer.send(verifier.verify(&job.token, job.now_unix_s));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::IdentitySettings;
    use futures_lite::future::{block_on, poll_once};

    #[test]
    fn tokens_that_do_not_fit_are_turned_away_and_the_threads_end() {
        let verifier = Arc::new(Verifier::new(&[], &IdentitySettings::default()));
        // Nobody works, so that the queue stays full.
        let (jobs, waiting) = bounded(1);
        let pool = VerifyPool { jobs: Some(jobs), threads: Vec::new() };
        block_on(async {
            let mut first = Box::pin(pool.verify("a.b.c", 0));
            assert!(poll_once(first.as_mut()).await.is_none());
            assert_eq!(pool.verify("a.b.c", 0).await, Err(IdentityError::Busy));
            drop(waiting.recv());
            assert_eq!(first.await, Err(IdentityError::Busy));
        });
        let pool = VerifyPool::start(&verifier, 2, 4).unwrap();
        assert_eq!(block_on(pool.verify("a.b.c", 0)), Err(IdentityError::Malformed));
        drop(pool);
        assert_eq!(Arc::strong_count(&verifier), 1);
    }
}
