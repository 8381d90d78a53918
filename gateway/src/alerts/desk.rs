//! Which alerts people are told of: the same one once in a while, and not too many in an hour. A severity has its own share, so
//! that many small ones hide no great one.

use crate::metrics::AlertKind;
use policy_lang::Severity;
use std::collections::HashMap;
use std::time::Duration;

/// Alerts that are remembered; above, further ones count as too many.
const OPEN_MAX: usize = 4096;
const HOUR_MS: u64 = 3_600_000;

/// What makes two alerts the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) kind: AlertKind,
    /// Rule and name, or model; empty where the kind says all.
    pub(super) name: String,
    /// The caller; 0 for none.
    pub(super) who: u64,
}

/// Whether people are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// They are.
    Tell,
    /// They were, a while ago.
    Duplicate,
    /// There were too many others in this hour: it is only recorded.
    TooMany,
    /// There are more than can be remembered: it is only counted.
    Full,
}

/// What was raised, and how often.
#[derive(Debug, Default)]
pub(super) struct Desk {
    open: HashMap<Key, Open>,
    shares: [Share; 4],
}

#[derive(Debug)]
struct Open {
    since_ms: u64,
    /// How often it came up again.
    repeats: u64,
}

/// Messages left for a severity, and when that was so; refilled evenly over an hour.
#[derive(Debug, Default)]
struct Share {
    left: f64,
    at_ms: Option<u64>,
}

impl Desk {
    pub(super) fn judge(
        &mut self,
        key: &Key,
        severity: Severity,
        now_ms: u64,
        repeat_after: Duration,
        per_hour: u32,
    ) -> Verdict {
        if let Some(open) = self.open.get_mut(key)
            && now_ms < open.since_ms.saturating_add(ms(repeat_after))
        {
            open.repeats += 1;
            return Verdict::Duplicate;
        }
        if self.open.len() >= OPEN_MAX {
            return Verdict::Full;
        }
        // An older one under this key was told of by `ended`.
        self.open.insert(key.clone(), Open { since_ms: now_ms, repeats: 0 });
        let share = self.shares.get_mut(severity as usize);
        if share.is_some_and(|share| share.take(now_ms, per_hour)) { Verdict::Tell } else { Verdict::TooMany }
    }

    /// Forgets alerts whose time is over; gives those that came up again meanwhile, and how often. To be called before
    /// [`Desk::judge`].
    pub(super) fn ended(&mut self, now_ms: u64, repeat_after: Duration) -> Vec<(Key, u64)> {
        let over = |open: &Open| now_ms >= open.since_ms.saturating_add(ms(repeat_after));
        let ended = self.open.extract_if(|_, open| over(open));
        ended.filter(|(_, open)| open.repeats > 0).map(|(key, open)| (key, open.repeats)).collect()
    }
}

impl Share {
    fn take(&mut self, now_ms: u64, per_hour: u32) -> bool {
        let most = f64::from(per_hour);
        let gained = match self.at_ms {
            None => most,
            Some(at_ms) => {
                Duration::from_millis(now_ms.saturating_sub(at_ms)).as_secs_f64() * most * 1000.0 / HOUR_MS as f64
            }
        };
        self.left = (self.left + gained).min(most);
        self.at_ms = Some(now_ms);
        let may = self.left >= 1.0;
        if may {
            self.left -= 1.0;
        }
        may
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_mins(10);

    fn key(name: &str, who: u64) -> Key {
        Key { kind: AlertKind::Policy, name: name.to_owned(), who }
    }

    #[test]
    fn the_same_alert_is_told_once_in_a_while() {
        let mut desk = Desk::default();
        let judge = |desk: &mut Desk, key: &Key, now| desk.judge(key, Severity::High, now, AFTER, 30);
        assert_eq!(judge(&mut desk, &key("a", 1), 0), Verdict::Tell);
        for now in 1..100 {
            assert_eq!(judge(&mut desk, &key("a", 1), now), Verdict::Duplicate);
        }
        assert_eq!(judge(&mut desk, &key("a", 2), 100), Verdict::Tell, "of another caller");
        assert_eq!(judge(&mut desk, &key("b", 1), 100), Verdict::Tell, "of another rule");
        assert!(desk.ended(599_999, AFTER).is_empty());
        assert_eq!(desk.ended(600_000, AFTER), [(key("a", 1), 99)]);
        assert_eq!(judge(&mut desk, &key("a", 1), 600_000), Verdict::Tell);
    }

    #[test]
    fn each_severity_has_its_share_of_an_hour() {
        let mut desk = Desk::default();
        let mut told = |severity, from: u64, now| {
            let mut judge = |who| desk.judge(&key("x", who), severity, now, AFTER, 30);
            (from..from + 100).filter(|who| judge(*who) == Verdict::Tell).count()
        };
        assert_eq!(told(Severity::Low, 0, 0), 30);
        assert_eq!(told(Severity::Critical, 1000, 0), 30, "small ones hide no great one");
        assert_eq!(told(Severity::Low, 2000, HOUR_MS / 2), 15);
        assert_eq!(told(Severity::Low, 3000, HOUR_MS / 2), 0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut desk = Desk::default();
        for who in 0..10_000 {
            desk.judge(&key("x", who), Severity::Low, 0, AFTER, 30);
        }
        assert_eq!(desk.open.len(), OPEN_MAX);
        assert!(desk.ended(600_000, AFTER).is_empty());
        assert!(desk.open.is_empty());
    }
}
