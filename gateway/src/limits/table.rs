//! The accounts: a table of fixed size that all cores share. A known account is found and charged with atomics alone; only a new
//! one claims its bucket for the time that it takes to write two words.
//!
//! An account that is full again says nothing that a new one would not, so its place is free. Where every place of a bucket is in
//! debt, the account that is nearest to full again is forgotten, and counted: who owes most is held longest, so a flood of new
//! accounts (a caller that makes up values of a header) frees nobody from what they owe.

use super::rate::{Rate, fits};
use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed, Ordering::SeqCst};

/// Accounts that share a bucket.
const PLACES: usize = 8;
/// Set in [`Place::users`] while an account is replaced.
const REPLACED: u32 = 1 << 31;
/// Looks at a claimed bucket before the core lets others run.
const SPINS: u32 = 1_000;

/// One account; all times in ns of [`super::Limits`]'s own clock.
#[derive(Debug, Default)]
struct Place {
    /// Whose it is: a keyed hash; 0 is nobody's.
    key: AtomicU64,
    /// How many look at it or have a reservation in it: while there are any, it is not replaced.
    users: AtomicU32,
    /// When it is full again.
    full_at_ns: AtomicU64,
    /// Promised to calls on their way.
    reserved_ns: AtomicU64,
}

#[derive(Debug, Default)]
struct Bucket {
    /// Held while a new account is written.
    claimed: AtomicBool,
    places: [Place; PLACES],
}

/// All accounts of a node.
#[derive(Debug)]
pub(super) struct Table {
    buckets: Box<[Bucket]>,
    /// Accounts in debt that had to make room.
    forgotten: AtomicU64,
}

/// A hold on an account. It is not replaced before the hold is dropped.
#[derive(Debug)]
pub(super) struct Account<'t> {
    place: &'t Place,
    /// Where it is, for [`Table::at`].
    pub(super) index: usize,
}

impl Table {
    /// Room for at least so many accounts.
    pub(super) fn new(accounts: usize) -> Self {
        let buckets = accounts.div_ceil(PLACES).next_power_of_two();
        Self { buckets: (0..buckets).map(|_| Bucket::default()).collect(), forgotten: AtomicU64::new(0) }
    }

    /// How many accounts were forgotten while they were in debt.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten.load(Relaxed)
    }

    /// How many accounts are in debt.
    pub(super) fn in_debt(&self, now_ns: u64) -> usize {
        let places = self.buckets.iter().flat_map(|bucket| &bucket.places);
        places.filter(|place| place.key.load(Relaxed) != 0 && !place.is_full(now_ns)).count()
    }

    /// The account of a key, opened if there is none. `None` where every place has calls on their way: the call must be refused.
    pub(super) fn open(&self, hash: u64, now_ns: u64) -> Option<Account<'_>> {
        let key = hash.max(1);
        // The low bits choose the bucket; there are never as many buckets as hashes.
        let number = (hash as usize) & (self.buckets.len() - 1);
        let bucket = self.buckets.get(number)?;
        let found = bucket.find(key).or_else(|| {
            let _claim = Claim::of(&bucket.claimed);
            // Another core may have opened it meanwhile.
            bucket.find(key).or_else(|| self.replace(bucket, key, now_ns))
        });
        found.map(|(position, place)| Account { place, index: number * PLACES + position })
    }

    /// An account that the caller has a hold on already, which [`Account::keep`] left open.
    pub(super) fn at(&self, index: usize) -> Option<Account<'_>> {
        let place = self.buckets.get(index / PLACES)?.places.get(index % PLACES)?;
        Some(Account { place, index })
    }

    /// Takes a place for a new account: a free one, else one that is full again, else the nearest to it.
    fn replace<'t>(&self, bucket: &'t Bucket, key: u64, now_ns: u64) -> Option<(usize, &'t Place)> {
        // Others may get hold of the place chosen; then the next best is taken.
        for _ in 0..PLACES {
            let unused = bucket.places.iter().enumerate().filter(|(_, place)| place.users.load(SeqCst) == 0);
            let (position, place) = unused.min_by_key(|(_, place)| place.full_at_ns.load(SeqCst))?;
            if place.users.compare_exchange(0, REPLACED, SeqCst, SeqCst).is_err() {
                continue;
            }
            if place.key.load(SeqCst) != 0 && !place.is_full(now_ns) {
                self.forgotten.fetch_add(1, Relaxed);
            }
            place.key.store(key, SeqCst);
            place.full_at_ns.store(0, SeqCst);
            place.reserved_ns.store(0, SeqCst);
            // From replaced to one user, beside those who are about to see that it was replaced.
            place.users.fetch_sub(REPLACED - 1, SeqCst);
            return Some((position, place));
        }
        None
    }
}

impl Bucket {
    fn find(&self, key: u64) -> Option<(usize, &Place)> {
        let own = |(_, place): &(usize, &Place)| place.key.load(SeqCst) == key && place.hold(key);
        self.places.iter().enumerate().find(own)
    }
}

impl Place {
    /// Takes a hold, if the account is still that of the key.
    fn hold(&self, key: u64) -> bool {
        let before = self.users.fetch_add(1, SeqCst);
        let kept = before & REPLACED == 0 && self.key.load(SeqCst) == key;
        if !kept {
            self.users.fetch_sub(1, SeqCst);
        }
        kept
    }

    fn is_full(&self, now_ns: u64) -> bool {
        self.full_at_ns.load(SeqCst) <= now_ns && self.reserved_ns.load(SeqCst) == 0
    }
}

impl Account<'_> {
    /// Takes the cost now if it fits.
    ///
    /// # Errors
    /// How long to wait, in ns.
    pub(super) fn take(&self, rate: &Rate, cost_ns: u64, now_ns: u64) -> Result<(), u64> {
        let reserved_ns = self.place.reserved_ns.load(SeqCst);
        let mut wait_ns = 0;
        let taken = self.place.full_at_ns.try_update(SeqCst, SeqCst, |full_at_ns| {
            match fits(rate, cost_ns, full_at_ns, reserved_ns, now_ns) {
                Ok(full_at_ns) => Some(full_at_ns),
                Err(wait) => {
                    wait_ns = wait;
                    None
                }
            }
        });
        taken.map(drop).map_err(|_| wait_ns)
    }

    /// Gives back what [`Account::take`] took a moment ago.
    pub(super) fn give_back(&self, cost_ns: u64) {
        self.place.full_at_ns.update(SeqCst, SeqCst, |full_at_ns| full_at_ns.saturating_sub(cost_ns));
    }

    /// Promises the cost to a call if it fits. [`Account::release`] follows.
    ///
    /// # Errors
    /// How long to wait, in ns.
    pub(super) fn reserve(&self, rate: &Rate, cost_ns: u64, now_ns: u64) -> Result<(), u64> {
        let mut wait_ns = 0;
        let promised = self.place.reserved_ns.try_update(SeqCst, SeqCst, |reserved_ns| {
            // Read after the promises: a call that settles in between counts twice rather than not at all.
            let full_at_ns = self.place.full_at_ns.load(SeqCst);
            match fits(rate, cost_ns, full_at_ns, reserved_ns, now_ns) {
                Ok(_) => Some(reserved_ns.saturating_add(cost_ns)),
                Err(wait) => {
                    wait_ns = wait;
                    None
                }
            }
        });
        promised.map(drop).map_err(|_| wait_ns)
    }

    /// Takes the cost whether it fits or not; what does not fit is a debt.
    pub(super) fn owe(&self, cost_ns: u64, now_ns: u64) {
        self.place.full_at_ns.update(SeqCst, SeqCst, |full_at_ns| full_at_ns.max(now_ns).saturating_add(cost_ns));
    }

    /// Gives a promise back.
    pub(super) fn release(&self, cost_ns: u64) {
        self.place.reserved_ns.update(SeqCst, SeqCst, |reserved_ns| reserved_ns.saturating_sub(cost_ns));
    }

    /// Leaves the hold open; whoever goes on with it by [`Table::at`] and drops that ends it.
    pub(super) fn keep(self) -> usize {
        let index = self.index;
        std::mem::forget(self);
        index
    }
}

impl Drop for Account<'_> {
    fn drop(&mut self) {
        self.place.users.fetch_sub(1, SeqCst);
    }
}

/// A bucket that is written by one core.
struct Claim<'b>(&'b AtomicBool);

impl<'b> Claim<'b> {
    fn of(claimed: &'b AtomicBool) -> Self {
        let mut spins = 0;
        while claimed.swap(true, SeqCst) {
            spins += 1;
            if spins % SPINS == 0 { std::thread::yield_now() } else { spin_loop() }
        }
        Self(claimed)
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.0.store(false, SeqCst);
    }
}

#[cfg(test)]
impl Account<'_> {
    pub(super) fn state(&self) -> (u64, u64) {
        (self.place.full_at_ns.load(SeqCst), self.place.reserved_ns.load(SeqCst))
    }
}
