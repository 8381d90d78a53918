//! Queues, permits, the committer, and who is woken.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::support::{Bench, call, chunk, intent, outcome, refusal};
use crate::read::Verdict;
use crate::{Durability, EvidenceError, Role};

/// The smallest executor: polls, sleeps until woken.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn many_producers_commit_in_groups_and_every_index_is_given_once() {
    let mut bench = Bench::new();
    bench.options.producers = 4;
    bench.options.durability = Durability::Strict;
    let evidence = bench.open();
    let threads: Vec<_> = (0..4)
        .map(|number| {
            let mut producer = evidence.producer(number).unwrap();
            std::thread::spawn(move || {
                let mut indices = Vec::new();
                for _ in 0..20 {
                    let mut permits: Vec<_> = (0..5).map(|_| producer.admit().unwrap()).collect();
                    let intents: Vec<_> = permits.iter_mut().map(|permit| producer.intent(permit, &intent())).collect();
                    indices.extend(intents.into_iter().map(|receipt| block_on(receipt.commit).unwrap().index.unwrap()));
                    let outcomes: Vec<_> =
                        permits.into_iter().map(|permit| producer.outcome(permit, &outcome())).collect();
                    indices
                        .extend(outcomes.into_iter().map(|receipt| block_on(receipt.commit).unwrap().index.unwrap()));
                }
                indices
            })
        })
        .collect();
    let mut indices: Vec<u64> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    indices.sort_unstable();
    // Index 0 is the boot record.
    assert_eq!(indices, (1..=800).collect::<Vec<_>>());
    assert!(evidence.producer(0).is_none(), "a producer is taken once");
    evidence.close().unwrap();
    assert_eq!(evidence.status().tree_size, 801);
    assert_eq!(bench.verify().0, Verdict::Sound, "{}", bench.verify().1);
}

#[test]
fn an_acknowledged_record_is_in_the_file() {
    let mut bench = Bench::new();
    bench.options.durability = Durability::Strict;
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let id = call(&mut producer);
    assert!(bench.search("", false).contains(&id.to_string()), "also beside the running gateway");
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound, "{report}");
}

#[test]
fn a_permit_keeps_room_for_both_ends() {
    let mut bench = Bench::new();
    bench.options.queue_slots = 4;
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut first = producer.admit().unwrap();
    let second = producer.admit().unwrap();
    let refused = producer.admit().unwrap_err();
    assert_eq!(refused.reason, "the evidence queue is full");
    let id = producer.new_id();
    let full = producer.refusal(id, &refusal()).commit.wait_blocking();
    assert!(matches!(full, Err(EvidenceError::QueueFull)));
    producer.intent(&mut first, &intent()).commit.wait_blocking().unwrap();
    assert!(matches!(producer.payload(&mut first, &chunk(Role::Request, "x")), Ok(_) | Err(EvidenceError::QueueFull)));
    drop(second);
    producer.outcome(first, &outcome()).commit.wait_blocking().unwrap();
    assert!(producer.admit().is_ok());
    evidence.close().unwrap();
    assert_eq!(bench.verify().0, Verdict::Sound);
}

#[test]
fn a_permit_dropped_after_its_intent_closes_the_call() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut permit = producer.admit().unwrap();
    let id = permit.id();
    producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
    producer.payload(&mut permit, &chunk(Role::Request, "half a question")).unwrap().commit.wait_blocking().unwrap();
    drop(permit);
    evidence.close().unwrap();
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert!(bench.show(id).contains("ABORTED"), "{}", bench.show(id));
}

#[test]
fn the_order_of_a_call_is_enforced() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut permit = producer.admit().unwrap();
    assert!(producer.payload(&mut permit, &chunk(Role::Request, "x")).is_err(), "payload before the intent");
    assert!(producer.outcome(permit, &outcome()).commit.wait_blocking().is_err(), "outcome before the intent");
    let mut permit = producer.admit().unwrap();
    producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
    assert!(producer.intent(&mut permit, &intent()).commit.wait_blocking().is_err(), "a second intent");
    let large = chunk(Role::Request, &"x".repeat(crate::MAX_CHUNK_BYTES + 1));
    assert!(matches!(producer.payload(&mut permit, &large), Err(EvidenceError::TooLarge { .. })));
    producer.outcome(permit, &outcome()).commit.wait_blocking().unwrap();
    evidence.close().unwrap();
    assert_eq!(bench.verify().0, Verdict::Sound);
}

#[test]
fn a_log_goes_on_over_many_segments() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut permit = producer.admit().unwrap();
    producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
    // Text that does not compress.
    let noise: String = (0..2000).map(|_| hex::encode(crate::crypto::random::<16>())).collect();
    for _ in 0..60 {
        loop {
            match producer.payload(&mut permit, &chunk(Role::Response, &noise)) {
                Ok(receipt) => {
                    receipt.commit.wait_blocking().unwrap();
                    break;
                }
                Err(EvidenceError::QueueFull) => std::thread::yield_now(),
                Err(error) => panic!("{error}"),
            }
        }
    }
    producer.outcome(permit, &outcome()).commit.wait_blocking().unwrap();
    evidence.close().unwrap();
    drop(evidence);
    assert!(bench.segment(2).exists() && bench.segment(3).exists());
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound, "{report}");
    drop(bench.open());
    assert_eq!(bench.verify().0, Verdict::Sound, "also after another start");
}

#[test]
fn observe_counts_what_it_loses_and_pairs_stay_pairs() {
    let mut bench = Bench::new();
    bench.options.durability = Durability::Observe;
    bench.options.queue_slots = 4;
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let permits: Vec<_> = (0..50).map(|_| producer.admit().unwrap()).collect();
    for mut permit in permits {
        producer.intent(&mut permit, &intent()).commit.wait_blocking().unwrap();
        producer.outcome(permit, &outcome()).commit.wait_blocking().unwrap();
    }
    evidence.close().unwrap();
    assert_eq!(evidence.status().lost, 96, "48 calls were admitted without a slot");
    let (verdict, report) = bench.verify();
    assert_eq!(verdict, Verdict::Sound, "{report}");
    assert!(report.contains("96 records lost in observe mode"), "{report}");
}

#[test]
fn after_closing_everything_is_refused() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    evidence.close().unwrap();
    evidence.close().unwrap();
    assert_eq!(producer.admit().unwrap_err().reason, "the gateway is shutting down");
    let id = producer.new_id();
    assert!(matches!(producer.refusal(id, &refusal()).commit.wait_blocking(), Err(EvidenceError::Closed)));
}

#[test]
fn a_write_that_fails_stops_all_acknowledgement() {
    let bench = Bench::new();
    let evidence = bench.open();
    let mut producer = evidence.producer(0).unwrap();
    let mut admitted = producer.admit().unwrap();
    producer.intent(&mut admitted, &intent()).commit.wait_blocking().unwrap();
    // Somebody empties the next segment behind our back, so that no block can be written into it.
    let next = bench.segment(2);
    while !next.exists() {
        std::thread::yield_now();
    }
    std::fs::File::create(&next).unwrap();
    let noise: String = (0..2000).map(|_| hex::encode(crate::crypto::random::<16>())).collect();
    let mut commits = Vec::new();
    let refused = loop {
        match producer.payload(&mut admitted, &chunk(Role::Response, &noise)) {
            Ok(receipt) => commits.push(receipt.commit),
            Err(EvidenceError::QueueFull) => std::thread::yield_now(),
            Err(error) => break error,
        }
    };
    assert!(matches!(refused, EvidenceError::Poisoned(_)), "{refused}");
    let results: Vec<_> = commits.into_iter().map(|commit| commit.wait_blocking()).collect();
    let good = results.iter().take_while(|result| result.is_ok()).count();
    assert!(good > 5 && results[good..].iter().all(Result::is_err) && good < results.len());
    let end = producer.outcome(admitted, &outcome()).commit.wait_blocking();
    assert!(matches!(end, Err(EvidenceError::Poisoned(_))));
    assert!(producer.admit().unwrap_err().reason.contains("cannot be written"));
    let status = evidence.status();
    assert!(!status.healthy && status.last_error.is_some());
    assert!(evidence.close().is_err());
    drop((producer, evidence));
    // What was acknowledged is there; the call that could not be closed is closed by the next start.
    let evidence = bench.open();
    assert_eq!(evidence.status().aborted_at_start, 1);
    evidence.close().unwrap();
    assert_eq!(bench.verify().0, Verdict::Sound);
}
