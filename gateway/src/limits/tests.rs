//! The ledger beside a sequential model, alone and under contention.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;
use proptest::prelude::*;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

fn limit(kind: LimitKind, amount: u64, seconds: u64, burst: Option<u64>) -> RateLimit {
    RateLimit { kind, amount, period: Duration::from_secs(seconds), keys: Vec::new(), burst }
}

fn due<'a>(limit: &'a RateLimit, value: &str) -> Due<'a> {
    Due { rule: "limits.test", limit, values: vec![value.to_owned()] }
}

fn tokens(count: u64) -> Size {
    Size { requests: 1, tokens: count }
}

/// What an account should be, by the book: a level that drains, in exact fractions of a unit.
#[derive(Default)]
struct Model {
    full_at_ns: u64,
    reserved_ns: u64,
}

#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    Take(u64),
    Reserve(u64),
    Settle(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3_000_000_000u64).prop_map(Step::Wait),
        (1..8u64).prop_map(Step::Take),
        (1..8u64).prop_map(Step::Reserve),
        (0..12u64).prop_map(Step::Settle),
    ]
}

proptest! {
    #[test]
    fn an_account_is_what_the_model_says(
        amount in 1..50u64,
        seconds in 1..100u64,
        burst in proptest::option::of(1..60u64),
        steps in proptest::collection::vec(step(), 1..80),
    ) {
        let rate = Rate::of(&limit(LimitKind::Requests, amount, seconds, burst));
        let table = Table::new(64);
        let (mut model, mut promised, mut now_ns) = (Model::default(), Vec::new(), 1_000_000_000);
        for step in steps {
            let account = table.open(7, now_ns).unwrap();
            let level = model.full_at_ns.max(now_ns) + model.reserved_ns - now_ns;
            let admits = |cost: u64| level + cost <= rate.tolerance_ns || (level == 0 && cost > rate.tolerance_ns);
            match step {
                Step::Wait(ns) => now_ns += ns,
                Step::Take(count) => {
                    let cost = rate.cost_ns(count);
                    let taken = account.take(&rate, cost, now_ns);
                    prop_assert_eq!(taken.is_ok(), admits(cost));
                    match taken {
                        Ok(()) => model.full_at_ns = model.full_at_ns.max(now_ns) + cost,
                        // Whoever waits as long as it was told gets in, if nothing else happens.
                        Err(wait_ns) if model.reserved_ns == 0 => {
                            let later = now_ns + wait_ns;
                            prop_assert!(rate::fits(&rate, cost, model.full_at_ns, 0, later).is_ok());
                            prop_assert!(rate::fits(&rate, cost, model.full_at_ns, 0, later - 1).is_err());
                        }
                        Err(_) => {}
                    }
                }
                Step::Reserve(count) => {
                    let cost = rate.cost_ns(count);
                    let reserved = account.reserve(&rate, cost, now_ns);
                    prop_assert_eq!(reserved.is_ok(), admits(cost));
                    if reserved.is_ok() {
                        model.reserved_ns += cost;
                        promised.push((account.keep(), cost));
                        continue;
                    }
                }
                Step::Settle(count) => if let Some((index, promise)) = promised.pop() {
                    let held = table.at(index).unwrap();
                    held.owe(rate.cost_ns(count), now_ns);
                    held.release(promise);
                    model.full_at_ns = model.full_at_ns.max(now_ns) + rate.cost_ns(count);
                    model.reserved_ns -= promise;
                },
            }
            prop_assert_eq!(account.state(), (model.full_at_ns, model.reserved_ns));
        }
    }

    #[test]
    fn a_whole_burst_fits_at_once_however_it_is_split(
        amount in 1..2_000_000u64,
        seconds in 1..100_000u64,
        pieces in proptest::collection::vec(1..500u64, 1..40),
    ) {
        let burst = pieces.iter().sum();
        let rate = Rate::of(&limit(LimitKind::Tokens, amount, seconds, Some(burst)));
        let table = Table::new(8);
        let account = table.open(1, 5).unwrap();
        for piece in &pieces {
            prop_assert_eq!(account.take(&rate, rate.cost_ns(*piece), 5), Ok(()));
        }
        // And no more than the rounding of each piece allows: a nanosecond each.
        let left_ns = rate.tolerance_ns - (account.state().0 - 5);
        prop_assert!(left_ns <= pieces.len() as u64);
    }
}

#[test]
fn threads_take_exactly_what_is_there() {
    // Two threads more than cores here; the clock stands still, so the model is one number.
    let rate = Rate::of(&limit(LimitKind::Requests, 10_000, 3_600, None));
    let table = Table::new(1024);
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..5_000 {
                    let account = table.open(42, 9).unwrap();
                    if account.take(&rate, rate.cost_ns(1), 9).is_ok() {
                        admitted.fetch_add(1, SeqCst);
                    }
                }
            });
        }
    });
    assert_eq!(admitted.load(SeqCst), 10_000);
    assert_eq!(table.open(42, 9).unwrap().state(), (9 + rate.tolerance_ns, 0));
}

/// Many accounts in few places: each is opened, charged and replaced all the time. What every account still says is exactly what
/// was taken from it since it was opened last, so no charge ever lands on another account.
#[test]
fn a_charge_never_lands_on_another_account() {
    let table = Table::new(8);
    let now_ns = AtomicU64::new(1_000);
    std::thread::scope(|scope| {
        for thread in 0..4u64 {
            let (table, now_ns) = (&table, &now_ns);
            scope.spawn(move || {
                let rate = Rate::of(&limit(LimitKind::Requests, 1_000_000_000, 1, None));
                for round in 0..20_000u64 {
                    let now = now_ns.fetch_add(3, SeqCst);
                    // 24 keys of one thread, 8 places, 4 threads; costs tell whose a charge is: multiples of a thread's prime.
                    let cost = [101, 103, 107, 109][thread as usize];
                    let Some(account) = table.open(thread * 1_000 + 1 + round % 24, now) else { continue };
                    let before = account.state().0;
                    account.take(&rate, cost, now).unwrap();
                    let after = account.state().0;
                    // Nobody else has this key, and while it is held it is nobody else's place.
                    assert_eq!(after, before.max(now) + cost);
                }
            });
        }
    });
}

#[test]
fn tokens_are_promised_settled_and_owed() {
    let limits = Arc::new(Limits::new(64));
    let by_day = limit(LimitKind::Tokens, 1_000, 86_400, None);
    let dues = [due(&by_day, "a")];
    let mut first = limits.charge(&dues, tokens(600), None).unwrap();
    assert!(first.counts_tokens());
    // 600 of 1,000 are promised.
    let refused = limits.charge(&dues, tokens(600), None).unwrap_err();
    assert_eq!((refused.due, refused.no_room), (0, false));
    assert!((17_000..=17_281).contains(&refused.retry_after_s), "{refused:?}: 200 tokens come back in 17,280 s");
    first.sent();
    first.settle(Some(100));
    // 100 of 1,000 are used.
    let mut second = limits.charge(&dues, tokens(600), None).unwrap();
    second.sent();
    // Four times the estimate: a debt.
    second.settle(Some(2_400));
    assert_eq!(limits.charge(&dues, tokens(1), None).unwrap_err().due, 0);
    // Another value is another account.
    assert!(limits.charge(&[due(&by_day, "b")], tokens(1_000), None).is_ok());
    assert_eq!(limits.in_debt(), 1, "what was not sent is given back");
}

#[test]
fn what_is_not_sent_costs_no_tokens_and_what_nobody_counted_costs_the_estimate() {
    let limits = Arc::new(Limits::new(64));
    let by_day = limit(LimitKind::Tokens, 1_000, 86_400, None);
    let dues = [due(&by_day, "a")];
    drop(limits.charge(&dues, tokens(1_000), None).unwrap());
    let mut cut = limits.charge(&dues, tokens(900), None).unwrap();
    cut.sent();
    drop(cut);
    assert!(limits.charge(&dues, tokens(200), None).is_err());
    assert!(limits.charge(&dues, tokens(100), None).is_ok());
}

#[test]
fn larger_than_the_burst_passes_alone_and_leaves_a_debt() {
    let limits = Arc::new(Limits::new(64));
    let small = limit(LimitKind::Tokens, 100, 3_600, None);
    let dues = [due(&small, "a")];
    let mut large = limits.charge(&dues, tokens(500), None).unwrap();
    assert!(limits.charge(&dues, tokens(500), None).is_err());
    large.sent();
    large.settle(None);
    let refused = limits.charge(&dues, tokens(500), None).unwrap_err();
    assert!((17_999..=18_000).contains(&refused.retry_after_s), "{refused:?}: 500 tokens come back in five hours");
}

#[test]
fn all_limits_of_a_call_are_charged_or_none() {
    let limits = Arc::new(Limits::new(64));
    let (wide, narrow) = (limit(LimitKind::Requests, 10, 86_400, None), limit(LimitKind::Requests, 1, 86_400, None));
    let dues = [due(&wide, "a"), due(&narrow, "a")];
    assert!(limits.charge(&dues, tokens(0), None).is_ok());
    for _ in 0..5 {
        assert_eq!(limits.charge(&dues, tokens(0), None).unwrap_err().due, 1);
    }
    let of_wide = (0..20).filter(|_| limits.charge(&dues[..1], tokens(0), None).is_ok()).count();
    assert_eq!(of_wide, 9, "the refused ones cost nothing");
}

#[test]
fn a_call_that_waits_for_people_is_charged_once() {
    let limits = Arc::new(Limits::new(64));
    let two = limit(LimitKind::Requests, 2, 86_400, None);
    let dues = [due(&two, "a")];
    let call = Some(WaitingCall { digest: [1; 32], for_ms: 60_000 });
    for _ in 0..5 {
        assert!(limits.charge(&dues, tokens(0), call).is_ok(), "it is the same call that is sent again");
    }
    let (mut one, mut other) =
        (limits.charge(&dues, tokens(0), call).unwrap(), limits.charge(&dues, tokens(0), call).unwrap());
    one.sent();
    // Both got an approval of their own: then these were two calls.
    other.sent();
    assert!(limits.charge(&dues, tokens(0), None).is_err());
    assert!(limits.charge(&dues, tokens(0), call).is_err(), "after it passed it is a new call");
}

#[test]
fn accounts_belong_to_rule_limit_and_values() {
    let limits = Arc::new(Limits::new(64));
    let (one, other) = (limit(LimitKind::Requests, 1, 86_400, None), limit(LimitKind::Requests, 1, 86_401, None));
    assert!(limits.charge(&[due(&one, "a")], tokens(0), None).is_ok());
    assert!(limits.charge(&[due(&one, "a")], tokens(0), None).is_err());
    assert!(limits.charge(&[due(&other, "a")], tokens(0), None).is_ok());
    let elsewhere = Due { rule: "limits.other", ..due(&one, "a") };
    assert!(limits.charge(&[elsewhere], tokens(0), None).is_ok());
    let split = Due { values: vec!["x".to_owned(), "yz".to_owned()], ..due(&one, "") };
    let otherwise = Due { values: vec!["xy".to_owned(), "z".to_owned()], ..due(&one, "") };
    assert!(limits.charge(&[split], tokens(0), None).is_ok());
    assert!(limits.charge(&[otherwise], tokens(0), None).is_ok());
}

#[test]
fn whoever_owes_most_is_held_through_a_flood_of_new_accounts() {
    let table = Table::new(64);
    let rate = Rate::of(&limit(LimitKind::Requests, 100, 3_600, None));
    let heavy = 1u64 << 40;
    table.open(heavy, 1).unwrap().owe(rate.cost_ns(10_000), 1);
    let mut opened: HashMap<u64, ()> = HashMap::new();
    for key in 1..10_000u64 {
        if table.open(key << 3, 1).is_some_and(|account| account.take(&rate, rate.cost_ns(1), 1).is_ok()) {
            opened.insert(key, ());
        }
    }
    assert_eq!(opened.len(), 9_999);
    assert!(table.forgotten() > 9_000);
    assert!(table.open(heavy, 1).unwrap().take(&rate, rate.cost_ns(1), 1).is_err(), "the flood freed nobody");
}

#[test]
fn a_bucket_full_of_calls_on_their_way_refuses() {
    let table = Table::new(8);
    let held: Vec<_> = (0..8u64).map(|key| table.open((key + 1) << 20, 1).unwrap()).collect();
    assert!(table.open(9 << 20, 1).is_none());
    drop(held);
    assert!(table.open(9 << 20, 1).is_some());
}
