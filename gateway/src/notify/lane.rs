//! The way to one place: a bounded queue, one attempt at a time, and again later what failed.

use super::mail::{self, MailServer};
use super::{ATTEMPT_WITHIN, GivenUp, Message, Post, slack, webhook};
use crate::config::{Channel, Secret, WebhookKey};
use crate::metrics::{Delivery, Way};
use lettre::message::Mailbox;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Messages that may wait for one place.
const WAITING_MAX: usize = 1000;

/// Pauses before a message is tried again; after the last it is given up, 51 minutes after it was first tried.
const BACK_OFF: [Duration; 7] = [
    Duration::from_millis(500),
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
    Duration::from_mins(30),
];
/// The longest pause that a receiver may ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_mins(15);

/// A message as it goes to one place or person.
#[derive(Clone, Debug)]
pub(super) struct Parcel {
    pub(super) message: Arc<Message>,
    /// Of a mail.
    pub(super) recipient: Option<Mailbox>,
    /// Where people see more.
    pub(super) link: Option<String>,
    /// Whether people can decide in Slack.
    pub(super) buttons: bool,
    /// Whether the beginning of the masked request goes along.
    pub(super) preview: bool,
}

/// Why an attempt failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// For people; no secret.
    pub(super) why: String,
    /// Whether trying again is of no use.
    pub(super) for_good: bool,
    /// How long the receiver wants to be left alone.
    pub(super) retry_after: Option<Duration>,
}

impl Failure {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Self { why: why.into(), for_good: false, retry_after: None }
    }
}

/// How a lane sends.
pub(super) enum Sender {
    Slack { url: Secret },
    Mail(MailServer),
    Webhook { url: Secret, key: WebhookKey },
}

impl Sender {
    pub(super) fn new(channel: &Channel) -> Self {
        match channel {
            Channel::Slack { url } => Self::Slack { url: url.clone() },
            Channel::Mail { server, from, .. } => Self::Mail(MailServer::new(server.clone(), from.clone())),
            Channel::Webhook { url, key } => Self::Webhook { url: url.clone(), key: key.clone() },
        }
    }

    async fn send(&self, parcel: &Parcel, now_unix_s: u64) -> Result<(), Failure> {
        match self {
            Self::Slack { url } => {
                let client = webhook::client().map_err(Failure::new)?;
                slack::post(&client, url.expose(), slack::body(parcel)).await
            }
            Self::Mail(server) => mail::send(server, parcel).await,
            Self::Webhook { url, key } => webhook::send(url, key, parcel, now_unix_s).await,
        }
    }
}

/// The queue of one place.
#[derive(Debug)]
pub(super) struct Lane {
    way: Way,
    post: Arc<Post>,
    queue: Mutex<Queue>,
    woken: Notify,
    closed: AtomicBool,
    back_off: &'static [Duration],
}

#[derive(Debug, Default)]
struct Queue {
    waiting: Vec<Waiting>,
    /// What is being sent just now; it is still here to be given up when the gateway ends meanwhile.
    trying: Option<Waiting>,
}

#[derive(Clone, Debug)]
struct Waiting {
    parcel: Parcel,
    attempts: u32,
    due: Instant,
}

impl Lane {
    pub(super) fn new(way: Way, post: Arc<Post>) -> Self {
        Self {
            way,
            post,
            queue: Mutex::default(),
            woken: Notify::new(),
            closed: AtomicBool::new(false),
            back_off: &BACK_OFF,
        }
    }

    #[cfg(test)]
    pub(super) fn with_back_off(mut self, back_off: &'static [Duration]) -> Self {
        self.back_off = back_off;
        self
    }

    pub(super) fn push(&self, parcel: Parcel) {
        let one = Waiting { parcel, attempts: 0, due: Instant::now() };
        let full = {
            let mut queue = self.queue();
            if queue.waiting.len() < WAITING_MAX {
                queue.waiting.push(one);
                None
            } else {
                Some(one)
            }
        };
        match full {
            None => self.woken.notify_one(),
            Some(one) => self.give_up(one, format!("{WAITING_MAX} messages wait for this place already")),
        }
    }

    /// Ends once nothing waits any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.woken.notify_one();
    }

    pub(super) fn give_up_all(&self, why: &str) {
        let Queue { waiting, trying } = std::mem::take(&mut *self.queue());
        for one in waiting.into_iter().chain(trying) {
            self.give_up(one, why.to_owned());
        }
        self.close();
    }

    /// Sends what is due, the longest due first.
    pub(super) async fn run(self: Arc<Self>, sender: Sender) {
        loop {
            match self.next() {
                Next::Send(one) => self.attempt(*one, &sender).await,
                Next::At(due) => {
                    // Whichever comes first: a message that failed is due again, or there is a new one.
                    let _ = tokio::time::timeout_at(due, self.woken.notified()).await;
                }
                Next::Nothing if self.is_closed() => return,
                Next::Nothing => self.woken.notified().await,
            }
        }
    }

    fn next(&self) -> Next {
        let mut queue = self.queue();
        let first =
            queue.waiting.iter().enumerate().min_by_key(|(_, one)| one.due).map(|(index, one)| (index, one.due));
        match first {
            None => Next::Nothing,
            Some((_, due)) if due > Instant::now() => Next::At(due),
            Some((index, _)) => {
                let mut one = queue.waiting.swap_remove(index);
                one.attempts += 1;
                queue.trying = Some(one.clone());
                Next::Send(Box::new(one))
            }
        }
    }

    async fn attempt(&self, mut one: Waiting, sender: &Sender) {
        let clock = &self.post.clock;
        if clock.unix_ms() > one.parcel.message.useful_until_unix_ms {
            self.queue().trying = None;
            one.attempts -= 1;
            return self.give_up(one, "nobody needs it any more".to_owned());
        }
        let sent = tokio::time::timeout(ATTEMPT_WITHIN, sender.send(&one.parcel, clock.unix_s())).await;
        if self.queue().trying.take().is_none() {
            // The gateway ends, and this was given up.
            return;
        }
        let failure = match sent {
            Ok(Ok(())) => return self.post.metrics.delivered(self.way, Delivery::Sent),
            Ok(Err(failure)) => failure,
            Err(_) => Failure::new(format!("no answer within {} s", ATTEMPT_WITHIN.as_secs())),
        };
        let pause =
            usize::try_from(one.attempts).ok().and_then(|attempts| self.back_off.get(attempts.saturating_sub(1)));
        match pause {
            Some(pause) if !failure.for_good => {
                let asked = failure.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                one.due = Instant::now() + spread(*pause).max(asked);
                tracing::warn!(
                    way = self.way.name(),
                    attempt = one.attempts,
                    why = failure.why,
                    "a message could not be sent yet"
                );
                self.post.metrics.delivered(self.way, Delivery::Retried);
                self.queue().waiting.push(one);
            }
            _ => self.give_up(one, failure.why),
        }
    }

    fn give_up(&self, one: Waiting, why: String) {
        let message = &one.parcel.message;
        self.post.give_up(GivenUp {
            message: message.id.clone(),
            event: message.event,
            approval: message.approval.clone(),
            way: self.way,
            attempts: one.attempts,
            why,
        });
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub(super) fn is_empty(&self) -> bool {
        let queue = self.queue();
        queue.trying.is_none() && queue.waiting.is_empty()
    }

    /// Whether something was not tried yet, or is being tried.
    pub(super) fn is_busy(&self) -> bool {
        let queue = self.queue();
        queue.trying.is_some() || queue.waiting.iter().any(|one| one.attempts == 0)
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Next {
    Send(Box<Waiting>),
    At(Instant),
    Nothing,
}

/// Up to a quarter longer, so that many that failed together do not come together again.
fn spread(pause: Duration) -> Duration {
    let mut random = [0_u8; 1];
    // Without randomness it is the pause itself.
    let _ = aws_lc_rs::rand::fill(&mut random);
    pause + pause * u32::from(random[0]) / 1024
}
