//! How a mock model can be told to behave: what it says, when, how it fails, and how much it can take.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use serde::Deserialize;

/// What answers say.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    pub(crate) say: Option<String>,
    pub(crate) chunk: usize,
    pub(crate) random_pieces: bool,
    pub(crate) answer_chars: Option<usize>,
    pub(crate) usage: Option<(usize, usize)>,
}

/// One answer of a script: what it has replaces what the options say.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScriptedAnswer {
    /// Milliseconds before the first event.
    pub first_token_ms: Option<f64>,
    /// Milliseconds between the pieces, one by one; after the last of them the pace of the options goes on.
    pub gaps_ms: Vec<f64>,
    /// Text that ends the answer.
    pub say: Option<String>,
    /// Characters per piece.
    pub chunk: Option<usize>,
    /// Length of the text, in characters.
    pub answer_chars: Option<usize>,
    /// Prompt and completion tokens to claim.
    pub usage: Option<(usize, usize)>,
    /// An error with this status, in place of an answer.
    pub status: Option<u16>,
    /// Break the connection after so many events.
    pub cut_after: Option<usize>,
}

impl ScriptedAnswer {
    /// Reads a script: one JSON object per line.
    ///
    /// # Errors
    /// A sentence that names the line.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
        let answers: Result<Vec<Self>, String> = lines
            .map(|(number, line)| {
                let at = number + 1;
                let answer: Self = serde_json::from_str(line).map_err(|error| format!("line {at}: {error}"))?;
                let times = answer.gaps_ms.iter().chain(&answer.first_token_ms);
                match times.copied().find(|ms| !(0.0..=86_400_000.0).contains(ms)) {
                    Some(ms) => Err(format!("line {at}: {ms} ms is not between 0 and a day")),
                    None => Ok(answer),
                }
            })
            .collect();
        answers.and_then(|all| if all.is_empty() { Err("there is no answer in it".to_owned()) } else { Ok(all) })
    }

    /// What this answer says.
    pub(crate) fn words(&self, words: &Words) -> Words {
        Words {
            say: self.say.clone().or_else(|| words.say.clone()),
            chunk: self.chunk.unwrap_or(words.chunk),
            random_pieces: words.random_pieces,
            answer_chars: self.answer_chars.or(words.answer_chars),
            usage: self.usage.or(words.usage),
        }
    }
}

/// When the pieces of an answer are due.
#[derive(Clone, Debug)]
pub(crate) struct Pace {
    pub(crate) first: Duration,
    between: Duration,
    /// After each of the scripted gaps, since the first piece.
    scripted: Vec<Duration>,
}

impl Pace {
    pub(crate) fn new(first: Duration, between: Duration, scripted: Option<&ScriptedAnswer>) -> Self {
        let ms = |ms: f64| Duration::from_secs_f64(ms / 1e3);
        let mut at = Duration::ZERO;
        let gaps = scripted.map_or(&[][..], |answer| answer.gaps_ms.as_slice());
        let scripted_gaps = gaps.iter().map(|gap| {
            at += ms(*gap);
            at
        });
        Self {
            scripted: scripted_gaps.collect(),
            first: scripted.and_then(|answer| answer.first_token_ms).map_or(first, ms),
            between,
        }
    }

    /// From the first piece to the one that has so many gaps before it.
    pub(crate) fn after(&self, gaps: usize) -> Duration {
        let known = gaps.min(self.scripted.len());
        let before = known.checked_sub(1).and_then(|last| self.scripted.get(last)).copied().unwrap_or_default();
        let rest = u32::try_from(gaps - known).unwrap_or(u32::MAX);
        before.saturating_add(self.between.saturating_mul(rest)).min(Duration::from_secs(30 * 86_400))
    }

    pub(crate) fn is_immediate(&self) -> bool {
        self.first.is_zero() && self.between.is_zero() && self.scripted.is_empty()
    }
}

/// Misbehaviour on the model requests number `every`, `2 × every`, …
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fail {
    /// Which requests fail; 1 is all of them.
    pub every: NonZeroU64,
    /// What happens to them.
    pub how: FailKind,
}

/// What a failing request experiences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailKind {
    /// An error in the API's shape with this status; a code that is no HTTP status counts as 500.
    Status(u16),
    /// The connection breaks after this many events of a stream. JSON answers break before their body.
    CutAfter(usize),
    /// Nothing happens for this long, then the ordinary answer.
    Stall(Duration),
}

/// The whole server stands still for a while, again and again: nothing is answered, and what came meanwhile is answered at the end of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freeze {
    /// How long.
    pub length: Duration,
    /// From one end to the next.
    pub every: Duration,
}

/// What the server can take, known exactly: the truth that a capacity search has to find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Limit {
    /// Requests beyond this rate are refused with 429.
    TokenBucket {
        /// Requests per second.
        rate: f64,
        /// Requests that may come at once.
        burst: f64,
    },
    /// Requests queue for `servers` places, each of which takes `service` for one: M/D/c if arrivals are Poisson. The limit is
    /// `servers / service`.
    Queue {
        /// Time that one request takes.
        service: Duration,
        /// How many are worked on at once.
        servers: usize,
    },
}

/// Where a limit stands.
#[derive(Debug)]
pub(crate) struct LimitState {
    limit: Limit,
    tokens: f64,
    filled: Option<Instant>,
    free_at: Vec<Option<Instant>>,
}

impl Freeze {
    /// The end of the freeze that `now` is in. The first one ends `every` after `start`.
    pub(crate) fn until(&self, start: Instant, now: Instant) -> Option<Instant> {
        let every = self.every.as_nanos().max(1);
        let passed = now.saturating_duration_since(start).as_nanos();
        let into = passed % every;
        let frozen = into >= every.saturating_sub(self.length.as_nanos());
        frozen.then(|| now + Duration::from_nanos(u64::try_from(every - into).unwrap_or(0)))
    }
}

impl LimitState {
    pub(crate) fn new(limit: Limit) -> Self {
        let (tokens, servers) = match limit {
            Limit::TokenBucket { burst, .. } => (burst, 0),
            Limit::Queue { servers, .. } => (0.0, servers.max(1)),
        };
        Self { limit, tokens, filled: None, free_at: vec![None; servers] }
    }

    /// A request came: when its answer is ready, or `None` if it is refused.
    pub(crate) fn admit(&mut self, now: Instant) -> Option<Instant> {
        match self.limit {
            Limit::TokenBucket { rate, burst } => {
                let since = self.filled.map_or(Duration::ZERO, |filled| now.saturating_duration_since(filled));
                self.filled = Some(now);
                self.tokens = since.as_secs_f64().mul_add(rate, self.tokens).min(burst);
                (self.tokens >= 1.0).then(|| {
                    self.tokens -= 1.0;
                    now
                })
            }
            Limit::Queue { service, .. } => {
                // The place that is free first.
                let place = self.free_at.iter_mut().min()?;
                let ready = place.map_or(now, |free| free.max(now)) + service;
                *place = Some(ready);
                Some(ready)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn scripts() {
        let text = "{\"first_token_ms\":5,\"gaps_ms\":[10,500],\"say\":\"x\"}\n\n{\"status\":503}\n";
        let answers = ScriptedAnswer::parse(text).unwrap();
        assert_eq!((answers.len(), answers[1].status), (2, Some(503)));
        let pace = Pace::new(MS, 20 * MS, Some(&answers[0]));
        let after = |gaps| pace.after(gaps);
        assert_eq!(
            (pace.first, [after(0), after(1), after(2), after(4)]),
            (5 * MS, [Duration::ZERO, 10 * MS, 510 * MS, 550 * MS])
        );
        for (bad, part) in [("", "no answer"), ("{}\n{\"gap\":1}", "line 2"), ("{\"gaps_ms\":[-1]}", "line 1: -1 ms")] {
            let error = ScriptedAnswer::parse(bad).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn freezes_at_the_end_of_each_cycle() {
        let (start, freeze) = (Instant::now(), Freeze { length: 500 * MS, every: 5000 * MS });
        let until = |ms| freeze.until(start, start + ms * MS).map(|end| end.duration_since(start));
        assert_eq!((until(0), until(4499), until(5000)), (None, None, None));
        assert_eq!((until(4500), until(4999), until(9700)), (Some(5000 * MS), Some(5000 * MS), Some(10_000 * MS)));
    }

    #[test]
    fn a_queue_serves_in_order_and_no_faster_than_it_can() {
        let start = Instant::now();
        let mut queue = LimitState::new(Limit::Queue { service: 10 * MS, servers: 2 });
        let mut ready = |ms| queue.admit(start + ms * MS).unwrap().duration_since(start);
        assert_eq!(
            [ready(0), ready(0), ready(1), ready(1), ready(100)],
            [10 * MS, 10 * MS, 20 * MS, 20 * MS, 110 * MS]
        );
    }

    #[test]
    fn a_bucket_refuses_what_is_too_much() {
        let start = Instant::now();
        let mut bucket = LimitState::new(Limit::TokenBucket { rate: 100.0, burst: 2.0 });
        let admitted = (0..2000_u32).filter(|ms| bucket.admit(start + *ms * MS).is_some()).count();
        assert!((200..=202).contains(&admitted), "{admitted}");
    }
}
