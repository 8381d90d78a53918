//! Refusals of callers whom nobody knows, when they come too fast: above ten a second from one address, one record stands for
//! many, with their count (DECISIONS 22). The answer carries the id of the record that will count it.

use std::borrow::Cow;
use std::collections::HashMap;

use audit_shipper::{RecordId, Refusal};

/// Refusals of one address and kind that get a record of their own, in each window.
const OWN_RECORDS: u32 = 10;
/// Length of a window, in µs.
const WINDOW_US: u64 = 1_000_000;
/// Addresses told apart; what is above shares one count.
const ADDRESSES_MAX: usize = 10_000;

/// What one core counts.
#[derive(Debug, Default)]
pub(super) struct Flood(HashMap<(String, Cow<'static, str>), Window>);

#[derive(Debug)]
struct Window {
    began_us: u64,
    seen: u32,
    summary: Option<(RecordId, Refusal)>,
}

impl Flood {
    /// Counts a refusal. None if it is to be written by itself; else the id of the record that will stand for it.
    pub(super) fn count(
        &mut self,
        refusal: &Refusal,
        now_us: u64,
        new_id: impl FnOnce() -> RecordId,
    ) -> Option<RecordId> {
        let mut key = (refusal.request.address.clone(), refusal.code.clone());
        if self.0.len() >= ADDRESSES_MAX && !self.0.contains_key(&key) {
            key.0 = "many".to_owned();
        }
        let window = self.0.entry(key).or_insert(Window { began_us: now_us, seen: 0, summary: None });
        if window.summary.is_none() && now_us.saturating_sub(window.began_us) >= WINDOW_US {
            (window.began_us, window.seen) = (now_us, 0);
        }
        window.seen += 1;
        if window.seen <= OWN_RECORDS {
            return None;
        }
        let (id, summary) = window.summary.get_or_insert_with(|| (new_id(), Refusal { count: 0, ..refusal.clone() }));
        summary.count += 1;
        Some(*id)
    }

    /// The summaries of the windows that are over, or of all.
    pub(super) fn due(&mut self, now_us: u64, all: bool) -> Vec<(RecordId, Refusal)> {
        let is_over = |window: &Window| all || now_us.saturating_sub(window.began_us) >= WINDOW_US;
        let mut due = Vec::new();
        self.0.retain(|_, window| {
            let over = is_over(window);
            if over {
                due.extend(window.summary.take());
            }
            !over
        });
        due
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use audit_shipper::RequestInfo;

    fn refusal(address: &str) -> Refusal {
        let request = RequestInfo { address: address.to_owned(), ..RequestInfo::default() };
        Refusal { request, code: "invalid_token".into(), status: 401, ..Refusal::default() }
    }

    #[test]
    fn ten_are_written_and_the_rest_counted_in_one() {
        let mut flood = Flood::default();
        let mut own = 0;
        for number in 0..1000_u64 {
            match flood.count(&refusal("192.0.2.7"), number, || RecordId(7)) {
                None => own += 1,
                Some(id) => assert_eq!(id, RecordId(7)),
            }
        }
        assert_eq!(own, 10);
        assert!(flood.count(&refusal("192.0.2.8"), 1000, || RecordId(8)).is_none(), "another address");
        assert!(flood.due(500_000, false).is_empty());
        let due = flood.due(WINDOW_US, false);
        assert_eq!(due.len(), 1);
        assert_eq!((due[0].0, due[0].1.count, due[0].1.status), (RecordId(7), 990, 401));
        assert!(flood.count(&refusal("192.0.2.7"), WINDOW_US + 1, || RecordId(9)).is_none(), "a new window");
        assert!(flood.due(0, true).is_empty());
    }

    #[test]
    fn slow_ones_are_never_summed_up_and_addresses_are_bounded() {
        let mut flood = Flood::default();
        for second in 0..100 {
            for number in 0..10 {
                let now_us = second * WINDOW_US + number;
                assert!(flood.count(&refusal("192.0.2.7"), now_us, || RecordId(1)).is_none());
            }
        }
        for number in 0..20_000 {
            flood.count(&refusal(&format!("a{number}")), 0, || RecordId(1));
        }
        assert!(flood.0.len() <= ADDRESSES_MAX + 1);
        assert_eq!(flood.due(0, true).iter().map(|(_, summary)| summary.count).sum::<u64>(), 20_000 - 9_999 - 10);
    }
}
