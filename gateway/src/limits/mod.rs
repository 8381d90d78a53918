//! What `limit requests` and `limit tokens` of a policy let through: accounts that all cores charge with atomics.
//!
//! The way of a call: [`Limits::charge`] takes its requests and promises its tokens, by an estimate, before it is masked or shown
//! to anyone. [`Charged::sent`] says that the model may see it; [`Charged::settle`] puts what was really used in the place of the
//! estimate. Whatever is over the limit then is a debt, which time pays off; an answer is never cut for it (DECISIONS 16). So the
//! ledger is exact, and admission is as good as the estimates.
//!
//! An account belongs to the rule's name, the limit as it is written, and the values that it is counted by: it outlives a reload
//! that leaves the rule as it was. Accounts are in memory, one table per node; a restart opens them afresh.

mod rate;
mod table;
mod waiting;

use crate::clock::monotonic_now;
use policy_lang::{LimitKind, RateLimit};
use rate::{Rate, retry_after_s};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Instant;
use table::{Account, Table};
use waiting::Waiting;

/// The accounts of one node.
#[derive(Debug)]
pub struct Limits {
    table: Table,
    /// Seeded at the start, so that nobody can choose values that share an account.
    hasher: RandomState,
    started: Instant,
    waiting: Waiting,
}

/// One limit that a call is under.
#[derive(Clone, Debug)]
pub struct Due<'a> {
    /// The rule that says so.
    pub rule: &'a str,
    /// What it says.
    pub limit: &'a RateLimit,
    /// The call's values of the fields that the limit is counted by; absent ones are empty.
    pub values: Vec<String>,
}

/// How large a call is before its answer is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Calls that are sent as one: the lines of a batch.
    pub requests: u64,
    /// Tokens that are promised until their count is known.
    pub tokens: u64,
}

/// Why a call has to wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exceeded {
    /// Which of the dues.
    pub due: usize,
    /// When it may be tried again.
    pub retry_after_s: u64,
    /// The table has no room for the account: too many calls are on their way at once.
    pub no_room: bool,
}

/// A call that waits for people, by a digest of it: it is charged once however often it is sent again meanwhile (DECISIONS 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingCall {
    /// Of everything that makes it that call.
    pub digest: [u8; 32],
    /// How long it may wait, and its approval be used, in ms.
    pub for_ms: u64,
}

/// What a call was charged. Dropped before [`Charged::sent`], it gives its tokens back; dropped after, it leaves the estimate.
#[derive(Debug)]
pub struct Charged {
    limits: Arc<Limits>,
    /// Promises of tokens, each with a hold on its account.
    promises: Vec<Promise>,
    /// Requests, for a call that is charged only when it passes: an identical one was charged already.
    requests: Vec<Taken>,
    waiting: Option<WaitingCall>,
    estimate: u64,
    sent: bool,
}

#[derive(Debug)]
struct Promise {
    account: usize,
    rate: Rate,
    cost_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Taken {
    hash: u64,
    cost_ns: u64,
}

impl Limits {
    /// Room for at least so many accounts, 32 bytes each.
    #[must_use]
    pub fn new(accounts: usize) -> Self {
        Self {
            table: Table::new(accounts),
            hasher: RandomState::new(),
            started: monotonic_now(),
            waiting: Waiting::default(),
        }
    }

    /// Charges every limit that a call is under, or none.
    ///
    /// # Errors
    /// The first limit that has no room for it.
    pub fn charge(
        self: &Arc<Self>,
        dues: &[Due<'_>],
        size: Size,
        waiting: Option<WaitingCall>,
    ) -> Result<Charged, Exceeded> {
        let now_ns = self.now_ns();
        let again = waiting.is_some_and(|call| self.waiting.is_known(&call.digest, now_ns));
        let mut open: Vec<(Account<'_>, Rate, u64, LimitKind)> = Vec::with_capacity(dues.len());
        let mut requests = Vec::new();
        for (number, due) in dues.iter().enumerate() {
            let (hash, rate) = (self.hash(due), Rate::of(due.limit));
            let count = if due.limit.kind == LimitKind::Requests { size.requests } else { size.tokens };
            let cost_ns = rate.cost_ns(count);
            if due.limit.kind == LimitKind::Requests {
                requests.push(Taken { hash, cost_ns });
                if again {
                    continue;
                }
            }
            let account = self.table.open(hash, now_ns);
            let charged = match (&account, due.limit.kind) {
                (None, _) => Err(None),
                (Some(account), LimitKind::Requests) => account.take(&rate, cost_ns, now_ns).map_err(Some),
                (Some(account), LimitKind::Tokens) => account.reserve(&rate, cost_ns, now_ns).map_err(Some),
            };
            if let Err(wait_ns) = charged {
                open.iter().for_each(|(account, _, cost_ns, kind)| undo(account, *kind, *cost_ns));
                let retry_after_s = retry_after_s(wait_ns.unwrap_or_default());
                return Err(Exceeded { due: number, retry_after_s, no_room: wait_ns.is_none() });
            }
            open.extend(account.map(|account| (account, rate, cost_ns, due.limit.kind)));
        }
        if let Some(call) = waiting
            && !again
        {
            self.waiting.remember(call, now_ns);
        }
        let tokens = open.into_iter().filter(|(_, _, _, kind)| *kind == LimitKind::Tokens);
        let promises = tokens.map(|(account, rate, cost_ns, _)| Promise { account: account.keep(), rate, cost_ns });
        Ok(Charged {
            limits: Arc::clone(self),
            promises: promises.collect(),
            requests: if waiting.is_some() { requests } else { Vec::new() },
            waiting,
            estimate: size.tokens,
            sent: false,
        })
    }

    /// How many accounts had to be forgotten while they were in debt, since the table is too small for its callers.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.table.forgotten()
    }

    /// How many accounts are in debt now.
    #[must_use]
    pub fn in_debt(&self) -> usize {
        self.table.in_debt(self.now_ns())
    }

    /// Nanoseconds since the start; 1 at least, since an account that was never touched is full again at 0.
    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    fn hash(&self, due: &Due<'_>) -> u64 {
        self.hasher.hash_one((due.rule, due.limit, &due.values))
    }
}

fn undo(account: &Account<'_>, kind: LimitKind, cost_ns: u64) {
    match kind {
        LimitKind::Requests => account.give_back(cost_ns),
        LimitKind::Tokens => account.release(cost_ns),
    }
}

impl Charged {
    /// Whether it waits for the count of tokens.
    #[must_use]
    pub fn counts_tokens(&self) -> bool {
        !self.promises.is_empty()
    }

    /// The model may see the call from now on.
    pub fn sent(&mut self) {
        self.sent = true;
        let Some(call) = self.waiting.take() else { return };
        // Of identical calls that waited together, the charge was for the one that passes first.
        if !self.limits.waiting.forget(&call.digest) {
            let now_ns = self.limits.now_ns();
            for taken in std::mem::take(&mut self.requests) {
                if let Some(account) = self.limits.table.open(taken.hash, now_ns) {
                    account.owe(taken.cost_ns, now_ns);
                }
            }
        }
    }

    /// Puts the tokens that were used in the place of the estimate; `None` where nobody counted them, so that it stays.
    pub fn settle(mut self, used: Option<u64>) {
        self.close(used.unwrap_or(self.estimate));
    }

    fn close(&mut self, used: u64) {
        let now_ns = self.limits.now_ns();
        for promise in self.promises.drain(..) {
            let Some(account) = self.limits.table.at(promise.account) else { continue };
            // In this order, so that no other call sees an account with neither.
            if used > 0 {
                account.owe(promise.rate.cost_ns(used), now_ns);
            }
            account.release(promise.cost_ns);
        }
    }
}

impl Drop for Charged {
    fn drop(&mut self) {
        self.close(if self.sent { self.estimate } else { 0 });
    }
}

impl Exceeded {
    /// For the caller.
    #[must_use]
    pub fn message(&self, limit: &RateLimit) -> String {
        if self.no_room {
            return "Too many calls are counted at once. Try again shortly.".to_owned();
        }
        let what = match limit.kind {
            LimitKind::Requests => "requests",
            LimitKind::Tokens => "tokens",
        };
        let rate = rate::in_words(limit.amount, limit.period);
        format!("Too many {what}: the limit is {rate}. Try again in {} s.", self.retry_after_s)
    }
}

#[cfg(test)]
mod tests;
