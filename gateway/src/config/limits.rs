//! `[limits]`: how the rate limits of policies are counted. And how often native code is checked, of `[policy]`.

use super::check::{number, word};
use super::error::Findings;
use super::file::{At, PolicyFile};
use super::table::table;
use crate::second_opinion::OnDivergence;

/// How `limit requests` and `limit tokens` of policies are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimits {
    /// Accounts that are kept: one for each value that a limit is counted by and that is not full again.
    pub accounts: usize,
    /// Tokens that an answer is taken to have where the call does not say.
    pub answer_tokens: u64,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { accounts: 65_536, answer_tokens: 1_000 }
    }
}

/// How often native code is checked by the interpreter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling {
    /// One call in so many on each core; 0 is none.
    pub every: u64,
    /// What is done about a difference.
    pub on_divergence: OnDivergence,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { every: 1_024, on_divergence: OnDivergence::default() }
    }
}

table! {
    /// How `limit requests` and `limit tokens` of policies are counted. Read at start-up only.
    RateLimitsFile = "[limits]" {
        /// Accounts that are kept, 32 bytes each: one for each caller, model or whatever a limit is counted by, until it is full again. Where they do not suffice, those that owe least are forgotten, and counted.
        accounts: Option<At<i64>> = "number", "65536";
        /// Tokens that an answer is taken to have where the call does not say (`max_tokens`), until the model server has counted them.
        answer_tokens: Option<At<i64>> = "number", "1000";
    }
}

pub(super) fn limits(file: Option<RateLimitsFile>, findings: &mut Findings<'_>) -> RateLimits {
    let mut limits = RateLimits::default();
    let Some(file) = file else { return limits };
    number(file.accounts, 8..=1 << 26, &mut limits.accounts, findings);
    let mut answer_tokens = 1_000;
    number(file.answer_tokens, 0..=1_000_000_000, &mut answer_tokens, findings);
    limits.answer_tokens = answer_tokens as u64;
    limits
}

pub(super) fn sampling(file: &mut PolicyFile, findings: &mut Findings<'_>) -> Option<Sampling> {
    let mut every = 1_024;
    number(file.check_one_in.take(), 0..=i64::from(u32::MAX), &mut every, findings);
    let words = [("interpret", OnDivergence::Interpret), ("warn", OnDivergence::Warn)];
    Some(Sampling { every: every as u64, on_divergence: word(file.on_divergence.as_ref(), &words, findings)? })
}
