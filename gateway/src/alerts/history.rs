//! What is usual for a caller: calls per hour, as an exponentially weighted mean and variance; and refusals in a short window.
//!
//! With x calls in an hour that is over, α = 0.1 and d = x − mean: mean += α·d; variance = (1 − α)·(variance + α·d²) (the
//! incremental form of Finch, *Incremental calculation of weighted mean and variance*, 2009). The first hour seen is not counted,
//! since it began before we looked; hours without a call count as 0, up to a week of them: after that the history begins anew.
//! The deviation is at least √mean, what a caller with a steady rate has by chance alone, and at least 1.

use super::Who;
use crate::config::WatchConfig;
use std::collections::HashMap;

/// Callers that are remembered. Above, the tenth that was quiet for longest is forgotten.
const CALLERS_MAX: usize = 10_000;
/// The weight of the newest hour.
const ALPHA: f64 = 0.1;
const HOUR_MS: u64 = 3_600_000;
/// Hours without a call after which a history begins anew.
const QUIET_HOURS_MAX: u64 = 7 * 24;

/// The histories of all callers.
#[derive(Debug, Default)]
pub(super) struct Histories(HashMap<u64, History>);

/// What stands out in a call.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Findings {
    /// So many refusals within the window; once per window.
    pub(super) denials: Option<u32>,
    /// Calls in this hour, and the mean and deviation they are judged by; once per hour.
    pub(super) volume: Option<(u32, f64, f64)>,
}

#[derive(Debug)]
struct History {
    /// The current hour since 1970, and the calls in it.
    hour: u64,
    calls: u32,
    told: bool,
    /// Whole hours that mean and variance are made of.
    hours: u32,
    mean: f64,
    variance: f64,
    /// Whether the current hour was seen from its beginning.
    whole: bool,
    denials_since_ms: u64,
    denials: u32,
    seen_ms: u64,
}

impl Histories {
    /// Counts a call; one that was `counted` before only as refused, if it is.
    pub(super) fn count(
        &mut self,
        who: &Who,
        denied: bool,
        counted: bool,
        now_ms: u64,
        config: &WatchConfig,
    ) -> Findings {
        if self.0.len() >= CALLERS_MAX && !self.0.contains_key(&who.key) {
            self.make_room();
        }
        let history = self.0.entry(who.key).or_insert_with(|| History::new(now_ms));
        history.seen_ms = now_ms;
        Findings {
            volume: if counted { None } else { history.call(now_ms, config) },
            denials: if denied { history.denial(now_ms, config) } else { None },
        }
    }

    fn make_room(&mut self) {
        let mut seen: Vec<u64> = self.0.values().map(|history| history.seen_ms).collect();
        let (_, oldest, _) = seen.select_nth_unstable(CALLERS_MAX / 10);
        let oldest = *oldest;
        let mut too_many = CALLERS_MAX / 10;
        // Among those that were seen in the same millisecond, whichever come first.
        self.0.retain(|_, history| {
            let goes = history.seen_ms <= oldest && too_many > 0;
            too_many -= usize::from(goes);
            !goes
        });
    }
}

impl History {
    fn new(now_ms: u64) -> Self {
        Self {
            hour: now_ms / HOUR_MS,
            calls: 0,
            told: false,
            hours: 0,
            mean: 0.0,
            variance: 0.0,
            whole: false,
            denials_since_ms: now_ms,
            denials: 0,
            seen_ms: now_ms,
        }
    }

    fn call(&mut self, now_ms: u64, config: &WatchConfig) -> Option<(u32, f64, f64)> {
        self.turn_to(now_ms / HOUR_MS);
        self.calls = self.calls.saturating_add(1);
        let judged = config.volume_deviations > 0 && self.hours >= config.volume_hours;
        if !judged || self.told || self.calls < config.volume_calls_min {
            return None;
        }
        let deviation = self.variance.sqrt().max(self.mean.sqrt()).max(1.0);
        let unusual = f64::from(self.calls) > self.mean + f64::from(config.volume_deviations) * deviation;
        self.told |= unusual;
        unusual.then_some((self.calls, self.mean, deviation))
    }

    /// Closes the hours before `hour`. A clock that was set back goes on with the hour that it had reached.
    fn turn_to(&mut self, hour: u64) {
        if hour <= self.hour {
            return;
        }
        let quiet = hour - self.hour - 1;
        if self.whole {
            self.learn(f64::from(self.calls));
        }
        if quiet > QUIET_HOURS_MAX {
            (self.hours, self.mean, self.variance) = (0, 0.0, 0.0);
        } else {
            (0..quiet).for_each(|_| self.learn(0.0));
        }
        (self.hour, self.calls, self.told, self.whole) = (hour, 0, false, true);
    }

    fn learn(&mut self, calls: f64) {
        if self.hours == 0 {
            self.mean = calls;
        } else {
            let difference = calls - self.mean;
            self.mean += ALPHA * difference;
            self.variance = (1.0 - ALPHA) * (self.variance + ALPHA * difference * difference);
        }
        self.hours = self.hours.saturating_add(1);
    }

    fn denial(&mut self, now_ms: u64, config: &WatchConfig) -> Option<u32> {
        let within_ms = u64::try_from(config.denials_within.as_millis()).unwrap_or(u64::MAX);
        if now_ms.saturating_sub(self.denials_since_ms) >= within_ms {
            (self.denials_since_ms, self.denials) = (now_ms, 0);
        }
        self.denials = self.denials.saturating_add(1);
        (config.denials > 0 && self.denials == config.denials).then_some(self.denials)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::{Short, Who};
    use super::*;

    fn who(key: u64) -> Who {
        Who { key, subject: Short::new("alice"), tenant: Short::new("default") }
    }

    /// So many calls within an hour; what stood out.
    fn hour(histories: &mut Histories, hour: u64, calls: u32, config: &WatchConfig) -> Vec<(u32, f64, f64)> {
        let count = |_| histories.count(&who(1), false, false, hour * HOUR_MS + 5, config).volume;
        (0..calls).filter_map(count).collect()
    }

    #[test]
    fn many_more_calls_than_usual_stand_out_once_an_hour() {
        let (mut histories, config) = (Histories::default(), WatchConfig::default());
        // The hour in which it was first seen does not count, and without a day of history nothing is unusual.
        assert!(hour(&mut histories, 0, 5000, &config).is_empty());
        for number in 1..=24 {
            assert!(hour(&mut histories, number, 200, &config).is_empty());
        }
        let history = &histories.0[&1];
        assert_eq!((history.hours, history.mean, history.variance), (23, 200.0, 0.0));
        // The deviation is √200 by chance alone, so 200 + 6·14.14 is still usual.
        assert!(hour(&mut histories, 25, 284, &config).is_empty());
        let unusual = hour(&mut histories, 26, 1000, &config);
        assert_eq!(unusual.len(), 1, "{unusual:?}");
        let (calls, mean, deviation) = unusual[0];
        // mean 208.4 = 200 + 0.1·84; variance 0.9·0.1·84² = 635.04.
        assert!((mean - 208.4).abs() < 1e-9 && (deviation - 25.2).abs() < 1e-9, "{mean} {deviation}");
        assert_eq!(calls, 360, "the first that is more than 208.4 + 6·25.2 = 359.6");
        // What becomes usual stands out no more.
        let mut last = 0;
        for number in 27..60 {
            last = hour(&mut histories, number, 1000, &config).len();
        }
        assert_eq!(last, 0);
    }

    #[test]
    fn small_numbers_and_condition_off_are_quiet() {
        let (mut histories, config) = (Histories::default(), WatchConfig::default());
        (0..=30).for_each(|number| assert!(hour(&mut histories, number, 1, &config).is_empty()));
        assert!(hour(&mut histories, 31, 99, &config).is_empty(), "below the least that is judged");
        let off = WatchConfig { volume_deviations: 0, denials: 0, ..WatchConfig::default() };
        assert!(hour(&mut histories, 32, 5000, &off).is_empty());
        for _ in 0..100 {
            assert_eq!(histories.count(&who(1), true, false, 32 * HOUR_MS, &off).denials, None);
        }
    }

    #[test]
    fn quiet_hours_count_and_a_quiet_week_begins_anew() {
        let (mut histories, config) = (Histories::default(), WatchConfig::default());
        hour(&mut histories, 0, 1, &config);
        hour(&mut histories, 1, 100, &config);
        hour(&mut histories, 4, 1, &config);
        let history = &histories.0[&1];
        assert_eq!(history.hours, 3);
        assert!((history.mean - 81.0).abs() < 1e-9, "100, then 0 twice: {}", history.mean);
        // A clock set back changes nothing.
        hour(&mut histories, 2, 1, &config);
        assert_eq!((histories.0[&1].hour, histories.0[&1].calls), (4, 2));
        hour(&mut histories, 4 + 7 * 24 + 2, 1, &config);
        assert_eq!(histories.0[&1].hours, 0);
    }

    #[test]
    fn refusals_are_counted_in_windows() {
        let (mut histories, config) = (Histories::default(), WatchConfig::default());
        let mut deny = |at_ms: u64| histories.count(&who(1), true, false, at_ms, &config).denials;
        let told: Vec<u32> = (0..50).filter_map(|_| deny(10)).collect();
        assert_eq!(told, [20], "once per window");
        assert_eq!((0..50).filter_map(|_| deny(60_010)).count(), 1);
        // 19 in each minute never are.
        assert_eq!((0..190).filter_map(|number| deny(200_000 + (number / 19) * 60_000)).count(), 0);
    }

    #[test]
    fn a_call_that_is_judged_again_counts_once() {
        let (mut histories, config) = (Histories::default(), WatchConfig { denials: 1, ..WatchConfig::default() });
        let mut judged = |denied, counted| histories.count(&who(1), denied, counted, 5, &config).denials;
        assert_eq!((judged(false, false), judged(false, true), judged(true, true)), (None, None, Some(1)));
        assert_eq!((histories.0[&1].calls, histories.0[&1].denials), (1, 1));
    }

    #[test]
    fn the_table_is_bounded_and_forgets_the_quiet() {
        let (mut histories, config) = (Histories::default(), WatchConfig::default());
        let more = CALLERS_MAX as u64 + 500;
        for key in 0..more {
            histories.count(&who(key), false, false, key, &config);
        }
        assert!(histories.0.len() <= CALLERS_MAX);
        assert!(histories.0.contains_key(&(more - 1)) && !histories.0.contains_key(&0));
    }
}
