//! What a thread has to do.

use std::time::{Duration, Instant};

use crate::load::plan::Part;
use crate::load::schedule::Schedule;

/// A request that is due.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) at: Instant,
    /// Its number in the whole schedule, of all threads and agents.
    pub(crate) number: u64,
    pub(crate) measured: bool,
}

/// What a thread has to do.
#[derive(Debug)]
pub(crate) enum Work {
    /// Sends requests as they fall due.
    Scheduled(ScheduledPart),
    /// Plays callers of a closed model; the number of those who have not begun. `usize::MAX` when the time is over.
    Callers(usize),
}

/// Every `step`-th arrival of a schedule.
#[derive(Debug)]
pub(crate) struct ScheduledPart {
    schedule: Schedule,
    next: usize,
    step: usize,
}

impl Work {
    pub(crate) fn scheduled(schedule: Schedule, part: Part, thread: usize, threads: usize) -> Self {
        Self::Scheduled(ScheduledPart { schedule, next: part.index + part.of * thread, step: part.of * threads })
    }

    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Scheduled(part) => part.next_at().is_none(),
            Self::Callers(callers) => *callers == usize::MAX,
        }
    }

    /// The time of a closed model is over.
    pub(crate) fn end(&mut self) {
        *self = Self::Callers(usize::MAX);
    }
}

impl ScheduledPart {
    /// When the next one is due, after the start.
    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.schedule.due_ns.get(self.next).copied().map(Duration::from_nanos)
    }

    /// Takes the next one: its number and whether it is measured.
    pub(crate) fn take(&mut self) -> (u64, bool) {
        let number = self.next;
        self.next += self.step;
        (number as u64, number >= self.schedule.measured_from)
    }
}
