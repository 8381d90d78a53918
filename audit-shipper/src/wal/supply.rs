//! The next segment, made one ahead of need.

use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::error::EvidenceError;
use crate::wal::disk::Disk;

/// Pause after a segment could not be made.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Makes segments, usually on a thread of its own.
pub(crate) struct Supply {
    maker: Maker,
    ordered: bool,
    waiting: Option<u32>,
    /// After a failure nothing is ordered until then: each try writes until the disk is full.
    not_before: Option<Instant>,
}

enum Maker {
    Thread {
        orders: Option<Sender<u32>>,
        ready: Receiver<Result<u32, EvidenceError>>,
        thread: Option<JoinHandle<()>>,
    },
    /// At once, on the thread that orders: for runs that must be repeatable.
    #[cfg(test)]
    Inline {
        disk: Arc<dyn Disk>,
        bytes: u64,
        made: Option<Result<u32, EvidenceError>>,
    },
}

impl Supply {
    /// `on_segment` is called on the thread when a segment was made or could not be made.
    pub(crate) fn start(
        disk: Arc<dyn Disk>,
        bytes: u64,
        on_segment: impl Fn() + Send + 'static,
    ) -> Result<Self, EvidenceError> {
        let (orders, incoming) = channel::<u32>();
        let (outgoing, ready) = channel();
        let thread = std::thread::Builder::new()
            .name("evidence-segments".to_owned())
            .spawn(move || {
                for number in incoming {
                    if outgoing.send(disk.create(number, bytes).map(|()| number)).is_err() {
                        return;
                    }
                    on_segment();
                }
            })
            .map_err(|e| EvidenceError::io("start a thread for", Path::new("segments"), &e))?;
        Ok(Self::with(Maker::Thread { orders: Some(orders), ready, thread: Some(thread) }))
    }

    #[cfg(test)]
    pub(crate) fn inline(disk: Arc<dyn Disk>, bytes: u64) -> Self {
        Self::with(Maker::Inline { disk, bytes, made: None })
    }

    fn with(maker: Maker) -> Self {
        Self { maker, ordered: false, waiting: None, not_before: None }
    }

    /// Asks for a segment, unless one is on its way or a try just failed.
    pub(crate) fn order(&mut self, number: u32) {
        if self.ordered || self.waiting.is_some() || self.not_before.is_some_and(|time| time > Instant::now()) {
            return;
        }
        match &mut self.maker {
            Maker::Thread { orders, .. } => {
                self.ordered = orders.as_ref().is_some_and(|orders| orders.send(number).is_ok());
            }
            #[cfg(test)]
            Maker::Inline { disk, bytes, made } => {
                *made = Some(disk.create(number, *bytes).map(|()| number));
                self.ordered = true;
            }
        }
    }

    /// Takes note of a segment that is ready, without waiting. An error ends the order.
    pub(crate) fn poll(&mut self) -> Result<bool, EvidenceError> {
        let made = match &mut self.maker {
            Maker::Thread { ready, .. } => ready.try_recv().ok(),
            #[cfg(test)]
            Maker::Inline { made, .. } => made.take(),
        };
        if let Some(result) = made {
            self.note(result)?;
        }
        Ok(self.waiting.is_some())
    }

    /// Waits for the segment that was ordered.
    pub(crate) fn take(&mut self) -> Result<u32, EvidenceError> {
        if self.ordered && self.waiting.is_none() {
            let made = match &mut self.maker {
                Maker::Thread { ready, .. } => ready.recv().unwrap_or(Err(EvidenceError::Closed)),
                #[cfg(test)]
                Maker::Inline { made, .. } => made.take().unwrap_or(Err(EvidenceError::Closed)),
            };
            self.note(made)?;
        }
        self.waiting.take().ok_or_else(|| {
            EvidenceError::Poisoned("the last try to make a segment failed; it is tried again soon".to_owned())
        })
    }

    fn note(&mut self, result: Result<u32, EvidenceError>) -> Result<(), EvidenceError> {
        self.ordered = false;
        match result {
            Ok(number) => self.waiting = Some(number),
            Err(error) => {
                self.not_before = Some(Instant::now() + RETRY_AFTER);
                return Err(error);
            }
        }
        Ok(())
    }
}

impl Drop for Supply {
    fn drop(&mut self) {
        match &mut self.maker {
            Maker::Thread { orders, thread, .. } => {
                drop(orders.take());
                if let Some(thread) = thread.take() {
                    let _ = thread.join();
                }
            }
            #[cfg(test)]
            Maker::Inline { .. } => {}
        }
    }
}
