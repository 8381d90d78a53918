//! A worker: one thread, one single-threaded runtime, its own connections and its own tally.

use std::cell::RefCell;
use std::io::{self, Write};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::{JoinSet, LocalSet};

use super::Shared;
use super::client::{Answer, Client, Failure};
use super::schedule::Due;
use super::tally::Tally;

/// What a worker does.
pub(super) enum Work {
    /// Sends requests as they fall due.
    Due { due: UnboundedReceiver<Due>, connections: Option<usize> },
    /// Plays this many callers of a closed model.
    Callers(usize),
}

pub(super) struct Worker {
    shared: Arc<Shared>,
    client: Client,
    tally: RefCell<Tally>,
}

impl Worker {
    /// Starts a worker thread. It ends when its work is done and gives back its tally.
    pub(super) fn spawn(number: usize, shared: Arc<Shared>, work: Work) -> io::Result<JoinHandle<Tally>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        std::thread::Builder::new().name(format!("load-{number}")).spawn(move || {
            let connections = match work {
                Work::Due { connections, .. } => connections,
                Work::Callers(_) => None,
            };
            let client = Client::new(&shared.plan, connections);
            let worker = Rc::new(Self { shared, client, tally: RefCell::new(Tally::new()) });
            let tasks = LocalSet::new();
            runtime.block_on(tasks.run_until(Rc::clone(&worker).work(work)));
            worker.tally.replace(Tally::new())
        })
    }

    async fn work(self: Rc<Self>, work: Work) {
        let mut tasks = JoinSet::new();
        match work {
            Work::Due { mut due, .. } => {
                while let Some(next) = due.recv().await {
                    let worker = Rc::clone(&self);
                    tasks.spawn_local(async move {
                        worker.exchange(next).await;
                        worker.shared.in_flight.fetch_sub(1, Ordering::Relaxed);
                    });
                    // Ended tasks are let go as we go, so that a long run does not collect them.
                    while tasks.try_join_next().is_some() {}
                }
            }
            Work::Callers(callers) => {
                let start = tokio::time::Instant::from_std(self.shared.start);
                tokio::time::sleep_until(start).await;
                for _ in 0..callers {
                    tasks.spawn_local(Rc::clone(&self).call_in_turn());
                }
            }
        }
        // A panicked task leaves its request out of the tally, which the report shows as unaccounted for.
        while tasks.join_next().await.is_some() {}
    }

    /// One caller of a closed model.
    async fn call_in_turn(self: Rc<Self>) {
        loop {
            let at = Instant::now();
            if at >= self.shared.end {
                return;
            }
            let measured = at >= self.shared.measured_from;
            self.tally.borrow_mut().due += u64::from(measured);
            self.exchange(Due { at, measured }).await;
        }
    }

    /// One request, from when it is due to its place in the tally.
    async fn exchange(&self, due: Due) {
        let begun = Instant::now();
        let timeout = self.shared.plan.timeout;
        let outcome = match tokio::time::timeout(timeout, self.client.exchange()).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::Timeout),
        };
        if let Ok(answer) = &outcome {
            self.note_end(answer);
        }
        if due.measured {
            let mut tally = self.tally.borrow_mut();
            tally.lateness(begun.saturating_duration_since(due.at));
            match outcome {
                Ok(answer) => tally.answered(due.at, &answer, self.shared.plan.accepts(answer.status)),
                Err(failure) => tally.failed(failure),
            }
        }
    }

    /// Writes a line about a call whose end we saw, in one write, so that lines of several threads do not mix.
    fn note_end(&self, answer: &Answer) {
        let Some(mut journal) = self.shared.journal.as_ref() else {
            return;
        };
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let id = answer.request_id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or("-");
        let line = format!("{} {id} {}\n", since_1970.as_nanos(), answer.status);
        if journal.write_all(line.as_bytes()).is_err() {
            self.tally.borrow_mut().journal_errors += 1;
        }
    }
}
