//! Which records share a key, and when that key goes. A person's records of one month share one; where the policy bounds how
//! long they are kept, those with the same bounds do, and a short bound makes the shares smaller.

use std::time::Duration;

use crate::model::Keep;

const HOUR_S: u64 = 3600;
const DAY_S: u64 = 24 * HOUR_S;
/// The longest month.
const MONTH_S: u64 = 31 * DAY_S;
/// A share is at most this part of the time that its records may be kept, so that none goes much too early.
const SHARE_OF_TIME: u64 = 8;

/// The time in which the records that share a key were written; UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Period {
    /// Months since year 0.
    Month(u32),
    /// Days since 1970.
    Day(u32),
    /// Hours since 1970.
    Hour(u32),
}

impl Period {
    pub(super) fn of(unix_us: u64, bounds: Bounds) -> Self {
        let unix_s = unix_us / 1_000_000;
        let number = |of_s: u64| u32::try_from(unix_s / of_s).unwrap_or(u32::MAX);
        match bounds.share_s() {
            MONTH_S.. => Self::Month(month_of(unix_us)),
            DAY_S.. => Self::Day(number(DAY_S)),
            _ => Self::Hour(number(HOUR_S)),
        }
    }

    fn begin_s(self) -> u64 {
        match self {
            Self::Month(month) => begin_of_month_s(month),
            Self::Day(day) => u64::from(day) * DAY_S,
            Self::Hour(hour) => u64::from(hour) * HOUR_S,
        }
    }

    /// The first second that is not in it any more.
    pub(super) fn end_s(self) -> u64 {
        match self {
            Self::Month(month) => begin_of_month_s(month.saturating_add(1)),
            Self::Day(day) => (u64::from(day) + 1) * DAY_S,
            Self::Hour(hour) => (u64::from(hour) + 1) * HOUR_S,
        }
    }
}

/// How long the policy wants records kept, in seconds; 0 is no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Bounds {
    pub(super) at_least_s: u64,
    pub(super) at_most_s: u64,
}

impl Bounds {
    pub(super) fn of(keep: Keep) -> Self {
        // Never less than asked for, never more.
        let up = |time: Duration| time.as_secs() + u64::from(time.subsec_nanos() > 0);
        Self {
            at_least_s: keep.at_least.map_or(0, up),
            at_most_s: keep.at_most.map_or(0, |time| time.as_secs().max(1)),
        }
    }

    /// How long the period may be whose records share a key.
    fn share_s(self) -> u64 {
        if self.at_most_s == 0 {
            return MONTH_S;
        }
        (self.at_most_s / SHARE_OF_TIME).min(self.at_most_s.saturating_sub(self.at_least_s))
    }

    /// When the key of a period goes, in seconds since 1970; none if never. `kept_s` is for how long records are kept where the
    /// policy does not bound it. What must be kept and what must go contradict each other only where the policy does; then it is
    /// kept.
    pub(super) fn due_s(self, period: Period, kept_s: Option<u64>) -> Option<u64> {
        let at_most = (self.at_most_s > 0).then_some(self.at_most_s);
        let kept = kept_s.map(|kept| period.end_s().saturating_add(kept.max(self.at_least_s)));
        let deadline = at_most.map(|most| period.begin_s().saturating_add(most));
        let due = kept.into_iter().chain(deadline).min()?;
        Some(due.max(self.kept_until_s(period)))
    }

    /// Until when the newest record of a period must be there, in seconds since 1970.
    pub(super) fn kept_until_s(self, period: Period) -> u64 {
        period.end_s().saturating_add(self.at_least_s)
    }
}

/// Months since year 0 of a time, UTC.
pub(crate) fn month_of(unix_us: u64) -> u32 {
    let date = i64::try_from(unix_us)
        .ok()
        .and_then(|us| jiff::Timestamp::from_microsecond(us).ok())
        .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
        .to_zoned(jiff::tz::TimeZone::UTC);
    u32::try_from(i32::from(date.year()) * 12 + i32::from(date.month()) - 1).unwrap_or(0)
}

/// A month that there is not never ends.
fn begin_of_month_s(month: u32) -> u64 {
    let year = i16::try_from(month / 12).ok();
    let date = year.and_then(|year| jiff::civil::Date::new(year, i8::try_from(month % 12 + 1).ok()?, 1).ok());
    let begin = date.and_then(|date| date.to_zoned(jiff::tz::TimeZone::UTC).ok());
    begin.map_or(u64::MAX, |begin| u64::try_from(begin.timestamp().as_second()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use proptest::prelude::*;

    /// 2026-11-18T13:46:40Z
    const NOW_US: u64 = 1_795_009_600_000_000;

    fn bounds(at_least_s: u64, at_most_s: u64) -> Bounds {
        Bounds { at_least_s, at_most_s }
    }

    #[test]
    fn the_shorter_the_time_the_smaller_the_share() {
        assert_eq!(Period::of(NOW_US, Bounds::default()), Period::Month(2026 * 12 + 10));
        assert_eq!(Period::of(NOW_US, bounds(400 * DAY_S, 0)), Period::Month(2026 * 12 + 10));
        assert_eq!(Period::of(NOW_US, bounds(0, 400 * DAY_S)), Period::Month(2026 * 12 + 10));
        assert_eq!(Period::of(NOW_US, bounds(0, 30 * DAY_S)), Period::Day(20_775));
        assert_eq!(Period::of(NOW_US, bounds(0, 2 * HOUR_S)), Period::Hour(498_613));
        assert_eq!(Period::of(NOW_US, bounds(390 * DAY_S, 400 * DAY_S)), Period::Day(20_775));
        let month = Period::Month(2026 * 12 + 10);
        assert_eq!((month.begin_s(), month.end_s()), (1_793_491_200, 1_796_083_200));
    }

    #[test]
    fn only_what_somebody_bounds_ever_goes() {
        let month = Period::Month(2026 * 12 + 10);
        assert_eq!(Bounds::default().due_s(month, None), None);
        assert_eq!(bounds(DAY_S, 0).due_s(month, None), None);
        assert_eq!(Bounds::default().due_s(month, Some(DAY_S)), Some(month.end_s() + DAY_S));
        assert_eq!(bounds(3 * DAY_S, 0).due_s(month, Some(DAY_S)), Some(month.end_s() + 3 * DAY_S));
        assert_eq!(begin_of_month_s(u32::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn no_record_goes_before_its_least_or_after_its_most(
            at_us in 0_u64..4_000_000_000_000_000,
            least in 0_u64..800 * DAY_S,
            slack in 2 * HOUR_S..800 * DAY_S,
            kept in proptest::option::of(0_u64..800 * DAY_S),
        ) {
            let bounds = bounds(least, least + slack);
            let period = Period::of(at_us, bounds);
            let at_s = at_us / 1_000_000;
            prop_assert!((period.begin_s()..period.end_s()).contains(&at_s));
            let due = bounds.due_s(period, kept).unwrap();
            prop_assert!(due >= at_s + least, "too early");
            prop_assert!(due <= at_s + least + slack, "too late");
        }
    }
}
