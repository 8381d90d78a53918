//! Who fails too often: a limit on failed identifications per address, and the count of refusals that are summarised in the
//! evidence instead of written one by one (DECISIONS 22). Looked at only when a token is not remembered, so that callers who
//! are known never pay for their neighbours.

use audit_shipper::RecordId;
use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Refusals per second and address that are written one by one.
pub const RECORDS_PER_S: u32 = 10;
/// Addresses that are remembered at a time, per shard.
const ADDRESSES_MAX: usize = 4096;
const SHARDS: usize = 16;
/// Milli-failures in a failure: the bucket refills in fractions.
const MILLI: u64 = 1000;

/// The failures of every address, sharded so that cores seldom meet.
#[derive(Debug)]
pub struct Failures {
    per_minute: u64,
    hash: RandomState,
    shards: [Mutex<HashMap<IpAddr, Bucket>>; SHARDS],
}

#[derive(Debug)]
struct Bucket {
    /// Failures that are still free, in thousandths.
    left_milli: u64,
    at_ms: u64,
    /// The second that `written` counts in.
    second: u64,
    written: u32,
    summary: Option<Summary>,
}

/// Refusals of one address that were not written one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The record that will say so; callers were given its id.
    pub id: RecordId,
    /// How many.
    pub count: u64,
}

impl Failures {
    /// `per_minute` failures are allowed to each address, at once or spread; 0 allows any number.
    #[must_use]
    pub fn new(per_minute: u32) -> Self {
        Self {
            per_minute: per_minute.into(),
            hash: RandomState::new(),
            shards: std::array::from_fn(|_| Mutex::default()),
        }
    }

    /// Whether the address may try; else after how many seconds it may again.
    ///
    /// # Errors
    /// Seconds to wait.
    pub fn check(&self, address: IpAddr, now_ms: u64) -> Result<(), u64> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let mut shard = self.shard(address);
        let Some(bucket) = shard.get_mut(&block(address)) else { return Ok(()) };
        bucket.refill(self.per_minute, now_ms);
        if bucket.left_milli >= MILLI {
            return Ok(());
        }
        Err(((MILLI - bucket.left_milli) * 60).div_ceil(self.per_minute * MILLI).max(1))
    }

    /// Counts a failure.
    pub fn failed(&self, address: IpAddr, now_ms: u64) {
        let per_minute = self.per_minute;
        self.with(address, now_ms, |bucket| {
            bucket.refill(per_minute, now_ms);
            bucket.left_milli = bucket.left_milli.saturating_sub(MILLI);
        });
    }

    /// Whether this refusal is written by itself (`None`), or only counted: then by which record's id. `new_id` makes one for
    /// the first that is counted.
    pub fn summarise(&self, address: IpAddr, now_ms: u64, new_id: impl FnOnce() -> RecordId) -> Option<RecordId> {
        self.with(address, now_ms, |bucket| {
            let second = now_ms / 1000;
            if bucket.second != second {
                (bucket.second, bucket.written) = (second, 0);
            }
            if bucket.written < RECORDS_PER_S {
                bucket.written += 1;
                return None;
            }
            let summary = bucket.summary.get_or_insert_with(|| Summary { id: new_id(), count: 0 });
            summary.count += 1;
            Some(summary.id)
        })
    }

    /// Takes what was only counted until now, to be written.
    #[must_use]
    pub fn take_summaries(&self) -> Vec<(IpAddr, Summary)> {
        let mut taken = Vec::new();
        for shard in &self.shards {
            let mut shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            taken.extend(shard.iter_mut().filter_map(|(address, bucket)| Some((*address, bucket.summary.take()?))));
        }
        taken
    }

    fn with<T>(&self, address: IpAddr, now_ms: u64, then: impl FnOnce(&mut Bucket) -> T) -> T {
        let mut shard = self.shard(address);
        if shard.len() >= ADDRESSES_MAX {
            let per_minute = self.per_minute;
            // Those that are whole again need no memory; those with something to write are kept.
            shard.retain(|_, bucket| {
                bucket.refill(per_minute, now_ms);
                bucket.summary.is_some() || bucket.left_milli < per_minute * MILLI
            });
            if shard.len() >= ADDRESSES_MAX {
                shard.retain(|_, bucket| bucket.summary.is_some());
            }
        }
        let full = Bucket { left_milli: self.per_minute * MILLI, at_ms: now_ms, second: 0, written: 0, summary: None };
        then(shard.entry(block(address)).or_insert(full))
    }

    fn shard(&self, address: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, Bucket>> {
        let index = usize::try_from(self.hash.hash_one(block(address)) % SHARDS as u64).unwrap_or(0);
        // Both branches exist: the index is below the length.
        let shard = self.shards.get(index).unwrap_or(&self.shards[0]);
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Bucket {
    fn refill(&mut self, per_minute: u64, now_ms: u64) {
        let passed_ms = now_ms.saturating_sub(self.at_ms);
        self.left_milli = (self.left_milli + passed_ms.saturating_mul(per_minute) / 60).min(per_minute * MILLI);
        self.at_ms = self.at_ms.max(now_ms);
    }
}

/// One customer of an IPv6 provider has a whole /64.
fn block(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));

    #[test]
    fn an_address_that_fails_too_often_waits_and_others_do_not() {
        let failures = Failures::new(60);
        for _ in 0..60 {
            failures.check(HERE, 0).unwrap();
            failures.failed(HERE, 0);
        }
        assert_eq!(failures.check(HERE, 0), Err(1));
        assert_eq!(failures.check("192.0.2.2".parse().unwrap(), 0), Ok(()));
        assert_eq!(failures.check("::ffff:192.0.2.1".parse().unwrap(), 0), Err(1), "the same host in other clothes");
        assert_eq!(failures.check(HERE, 999), Err(1));
        assert_eq!(failures.check(HERE, 1000), Ok(()));
        failures.failed(HERE, 1000);
        assert_eq!(failures.check(HERE, 1000), Err(1));
        assert_eq!(Failures::new(1).check(HERE, 0), Ok(()));
    }

    #[test]
    fn a_whole_network_of_ipv6_counts_as_one() {
        let failures = Failures::new(1);
        failures.failed("2001:db8::1".parse().unwrap(), 0);
        assert_eq!(failures.check("2001:db8::ffff:2".parse().unwrap(), 0), Err(60));
        assert_eq!(failures.check("2001:db8:0:1::1".parse().unwrap(), 0), Ok(()));
    }

    #[test]
    fn what_is_not_written_by_itself_is_counted_under_one_id() {
        let failures = Failures::new(0);
        for _ in 0..RECORDS_PER_S {
            assert_eq!(failures.summarise(HERE, 5000, || RecordId(1)), None);
        }
        for _ in 0..100 {
            assert_eq!(failures.summarise(HERE, 5500, || RecordId(7)), Some(RecordId(7)));
        }
        assert_eq!(failures.summarise(HERE, 6000, || RecordId(8)), None);
        assert_eq!(failures.take_summaries(), [(HERE, Summary { id: RecordId(7), count: 100 })]);
        assert!(failures.take_summaries().is_empty());
        assert_eq!(failures.check(HERE, 6000), Ok(()), "0 is no limit");
    }

    #[test]
    fn the_memory_is_bounded() {
        let failures = Failures::new(60);
        for number in 0..200_000_u32 {
            failures.failed(IpAddr::V4(number.into()), u64::from(number) / 100);
        }
        let kept: usize = failures.shards.iter().map(|shard| shard.lock().unwrap().len()).sum();
        assert!(kept <= SHARDS * ADDRESSES_MAX);
    }
}
