//! When a call reached which point of its way.

use std::cell::Cell;
use std::time::Instant;

/// The points, in the order of `data_plane/exchange.rs`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Phase {
    /// Who calls is known.
    Identified,
    /// What the policy reads of the request is there.
    Read,
    /// The policy has said what it says.
    Decided,
    /// The request is masked.
    Masked,
    /// People have agreed, where the policy asks for them.
    Approved,
    /// The INTENT is durable.
    Intent,
    /// A connection to the model server is there.
    Connected,
    /// The head of the answer is there.
    FirstByte,
    /// The answer is whole, and the OUTCOME is on its way to the log.
    Answered,
}

/// How many points there are.
pub(super) const PHASES: usize = 9;

impl Phase {
    /// Every point with its name in metrics, the access log and traces.
    pub(super) const ALL: [(Self, &'static str); PHASES] = [
        (Self::Identified, "identified"),
        (Self::Read, "read"),
        (Self::Decided, "decided"),
        (Self::Masked, "masked"),
        (Self::Approved, "approved"),
        (Self::Intent, "intent_durable"),
        (Self::Connected, "connected"),
        (Self::FirstByte, "first_byte"),
        (Self::Answered, "answered"),
    ];
}

/// Microseconds from the head of the request to each point that was reached.
#[derive(Debug)]
pub(crate) struct Marks {
    started: Instant,
    at_us: [Cell<Option<u32>>; PHASES],
}

impl Marks {
    /// The head of the request is there.
    pub(crate) fn begin() -> Self {
        Self { started: Instant::now(), at_us: Default::default() }
    }

    /// The call is here now. The first time counts: a call that waited for people is judged again.
    pub(crate) fn reached(&self, phase: Phase) {
        if let Some(slot) = self.at_us.get(phase as usize) {
            slot.set(slot.get().or_else(|| Some(self.so_far_us())));
        }
    }

    /// Microseconds since the head of the request; an hour and eleven minutes at most.
    pub(crate) fn so_far_us(&self) -> u32 {
        u32::try_from(self.started.elapsed().as_micros()).unwrap_or(u32::MAX)
    }

    /// All points.
    pub(crate) fn all(&self) -> [Option<u32>; PHASES] {
        self.at_us.each_ref().map(Cell::get)
    }
}
