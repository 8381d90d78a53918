//! Calls and people that wait for people: approvals of one exact call, and grants of access for a time.
//!
//! One map for the node (DECISIONS 4), rebuilt from the evidence at the start ([`restore`]): a question is asked only once its
//! record is durable, a decision counts only once its record is, and what a call used up is told by the INTENT that cites it.
//!
//! The way of one call: [`Approvals::ask`] gives a [`Gate`]. `Waiting` carries a [`Waiter`]; once it resolves,
//! [`Approvals::resume`] gives the next gate. An identical call that is pending attaches to the same request. An approval is
//! good for exactly one call: whichever of the waiting calls comes first claims it by a [`Pass`], which uses it up when the
//! call's INTENT is durable and gives it back if the call never gets so far. The others wait for a new one.

pub(crate) mod ask;
mod decide;
mod desk;
mod hold;
mod pass;
mod request;
mod restore;
#[cfg(test)]
mod tests;
mod view;
mod waiter;

pub use ask::{Ask, Kind};
pub use decide::{DecideError, Decided};
pub use desk::{Approvals, Event, Gate};
pub use hold::Held;
pub use pass::{ApprovalRef, Pass};
pub use restore::{Restored, asked_text};
pub use view::{DecisionView, Filter, Page, RequirementView, View};
pub use waiter::Waiter;

use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Requests kept at a time, waiting or decided; above, calls that need a person are turned away.
pub const REQUESTS_MAX: usize = 10_000;
/// Requests that one caller may have waiting.
pub const WAITING_PER_SUBJECT_MAX: usize = 100;
/// Bytes of a preview that are kept.
pub const PREVIEW_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a reason.
pub const REASON_BYTES_MAX: usize = 2000;
/// How long a request that is over is still shown.
const REMEMBERED: Duration = Duration::from_mins(15);

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// It waits for people.
    Pending,
    /// Enough people approved: one call may pass, or the person has access until it lapses.
    Approved,
    /// A call passed by it.
    Consumed,
    /// Someone said no.
    Denied,
    /// Nobody decided in time, nobody used the approval in time, or the time of a grant is over.
    Expired,
    /// Someone took the approval or the grant back.
    Revoked,
}

/// Where a request stands, as calls that wait see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its record is not durable yet, so nobody sees it.
    Asking,
    Pending,
    Approved,
    /// A call has the approval, and its INTENT is not durable yet.
    Claimed,
    Consumed,
    Denied,
    Expired,
    Revoked,
    /// Its record could not be written.
    Unrecorded,
}

impl Stage {
    fn status(self) -> Status {
        match self {
            Self::Asking | Self::Pending => Status::Pending,
            Self::Approved | Self::Claimed => Status::Approved,
            Self::Consumed => Status::Consumed,
            Self::Denied => Status::Denied,
            Self::Expired | Self::Unrecorded => Status::Expired,
            Self::Revoked => Status::Revoked,
        }
    }

    /// Whether something may still come of it by itself.
    fn is_open(self) -> bool {
        matches!(self, Self::Asking | Self::Pending | Self::Approved | Self::Claimed)
    }

    /// Whether a call that waits has to go on waiting.
    fn waits(self) -> bool {
        matches!(self, Self::Asking | Self::Pending | Self::Claimed)
    }
}

/// A moment on both clocks: whichever says that a time is over is believed, so that nothing lasts longer because someone set
/// the machine's clock back.
#[derive(Clone, Copy, Debug)]
struct Now {
    unix_ms: u64,
    mono_ms: u64,
}

/// When something lapses.
#[derive(Clone, Copy, Debug)]
struct Deadline {
    unix_ms: u64,
    mono_ms: u64,
}

impl Deadline {
    fn after(now: Now, time: Duration) -> Self {
        Self { unix_ms: after(now.unix_ms, time), mono_ms: after(now.mono_ms, time) }
    }

    /// Of something that began earlier, maybe in another process: what is left of its time, and never more than all of it.
    fn since(unix_ms: u64, time: Duration, now: Now) -> Self {
        let unix_ms = after(unix_ms, time);
        let left = Duration::from_millis(unix_ms.saturating_sub(now.unix_ms)).min(time);
        Self { unix_ms, mono_ms: after(now.mono_ms, left) }
    }

    fn later(self, by: Duration) -> Self {
        Self { unix_ms: after(self.unix_ms, by), mono_ms: after(self.mono_ms, by) }
    }

    fn is_over(self, now: Now) -> bool {
        now.unix_ms >= self.unix_ms || now.mono_ms >= self.mono_ms
    }
}

fn after(ms: u64, duration: Duration) -> u64 {
    ms.saturating_add(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}
