//! What happened over time: the measured part in slots of equal length, each request in the slot in which it was due.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::histogram::{Summary, Times};

/// Most slots of a run: longer runs have longer slots.
const SLOTS_MAX: u32 = 300;

/// The slots of a run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Timeline {
    slot_ns: u64,
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Slot {
    due: u64,
    ok: u64,
    bad: u64,
    tokens: u64,
    latency: Times,
}

/// One slot, for reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Start of the slot, in seconds after the start of the measured part.
    pub at_s: f64,
    /// Its length in seconds.
    pub seconds: f64,
    /// Requests due in it.
    pub due: u64,
    /// Of these, good answers.
    pub ok: u64,
    /// Of these, failed, dropped or answered with another status.
    pub bad: u64,
    /// Output tokens of the good answers.
    pub tokens: u64,
    /// Latency of the good answers, from when they were due.
    pub latency: Option<Summary>,
}

impl Timeline {
    /// Slots of a second, or longer ones if the run is long.
    pub(crate) fn new(duration: Duration) -> Self {
        let slot = (duration / SLOTS_MAX).max(Duration::from_secs(1)).as_secs_f64().ceil();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive and far below 2^64")]
        let slot_ns = (slot * 1e9) as u64;
        let count = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX).div_ceil(slot_ns).max(1);
        Self { slot_ns, slots: vec![Slot::default(); usize::try_from(count).unwrap_or(1).min(SLOTS_MAX as usize + 1)] }
    }

    fn slot(&mut self, at: Duration) -> Option<&mut Slot> {
        let number = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX) / self.slot_ns.max(1);
        // What is due at the very end belongs to the last slot.
        let last = self.slots.len().checked_sub(1)?;
        self.slots.get_mut(usize::try_from(number).unwrap_or(last).min(last))
    }

    pub(crate) fn due(&mut self, at: Duration) {
        if let Some(slot) = self.slot(at) {
            slot.due += 1;
        }
    }

    pub(crate) fn ok(&mut self, at: Duration, latency: Duration, tokens: u64) {
        if let Some(slot) = self.slot(at) {
            slot.ok += 1;
            slot.tokens += tokens;
            slot.latency.record(latency);
        }
    }

    pub(crate) fn bad(&mut self, at: Duration) {
        if let Some(slot) = self.slot(at) {
            slot.bad += 1;
        }
    }

    /// Adds another one of the same run.
    pub(crate) fn add(&mut self, other: &Self) {
        if self.slots.is_empty() {
            *self = other.clone();
            return;
        }
        for (mine, theirs) in self.slots.iter_mut().zip(&other.slots) {
            mine.due += theirs.due;
            mine.ok += theirs.ok;
            mine.bad += theirs.bad;
            mine.tokens += theirs.tokens;
            mine.latency.add(&theirs.latency);
        }
    }

    /// For reports.
    pub(crate) fn moments(&self) -> Vec<Moment> {
        let seconds = self.slot_ns as f64 / 1e9;
        let moment = |(number, slot): (usize, &Slot)| Moment {
            at_s: number as f64 * seconds,
            seconds,
            due: slot.due,
            ok: slot.ok,
            bad: slot.bad,
            tokens: slot.tokens,
            latency: slot.latency.summary(),
        };
        self.slots.iter().enumerate().map(moment).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_cover_the_run() {
        let mut timeline = Timeline::new(Duration::from_millis(2500));
        for ms in [0, 999, 1000, 2499, 2500, 9000] {
            timeline.due(Duration::from_millis(ms));
        }
        let mut other = timeline.clone();
        other.ok(Duration::from_millis(1500), Duration::from_millis(7), 3);
        other.bad(Duration::ZERO);
        timeline.add(&other);
        let moments = timeline.moments();
        assert_eq!(moments.iter().map(|m| m.due).collect::<Vec<_>>(), [4, 2, 6]);
        assert_eq!((moments[1].ok, moments[1].tokens, moments[0].bad), (1, 3, 1));
        assert!(Timeline::new(Duration::from_secs(100_000)).moments().len() <= 301);
    }
}
