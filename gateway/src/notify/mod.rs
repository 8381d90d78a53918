//! Messages to people: Slack, mail and signed webhooks. Nothing here is on the path of a call.
//!
//! Every place that messages go to has a [`lane`] of its own, so one that hangs or fails holds up no other. What could not be
//! sent is tried again, less and less often, until it is of no use any more; then it is given up, counted, and told to the
//! control plane, which writes it down. What waits is in memory: a restart gives it up.
//!
//! A message has no secret in it and no raw payload: of a request it has the beginning of its masked form, with every built-in
//! detector of tier V run over it once more ([`preview`]).

mod lane;
mod mail;
pub(crate) mod preview;
mod slack;
pub(crate) mod slack_request;
pub(crate) mod ticket;
mod webhook;

use crate::clock::Clock;
use crate::config::{Channel, NotifyTarget};
use crate::metrics::{Delivery, Notices, Way};
use lane::{Lane, Parcel, Sender};
pub(crate) use slack::escaped;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use ticket::Tickets;
use tokio::sync::mpsc;

/// Messages given up that wait to be written down.
const GIVEN_UP_MAX: usize = 1024;
/// How long one attempt may take.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(10);

/// What people are told.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    /// The same for every place and every attempt.
    pub(crate) id: String,
    /// What happened, for programs: `approval.asked`, `alert.raised`, …
    pub(crate) event: &'static str,
    /// What happened, in one line.
    pub(crate) title: String,
    /// Names and values, for people.
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The beginning of the masked request.
    pub(crate) preview: Option<String>,
    /// The request for approval that it is about.
    pub(crate) approval: Option<String>,
    /// Whether people can decide on it.
    pub(crate) undecided: bool,
    /// When it happened, in milliseconds since 1970.
    pub(crate) at_unix_ms: u64,
    /// After that nobody needs it any more; milliseconds since 1970.
    pub(crate) useful_until_unix_ms: u64,
    /// The same, for programs.
    pub(crate) data: serde_json::Value,
}

/// A message that did not get to one of its places.
#[derive(Clone, Debug)]
pub(crate) struct GivenUp {
    /// Its id.
    pub(crate) message: String,
    /// What it was about.
    pub(crate) event: &'static str,
    /// The request for approval that it was about.
    pub(crate) approval: Option<String>,
    /// By which way it would have gone.
    pub(crate) way: Way,
    /// How often it was tried.
    pub(crate) attempts: u32,
    /// What went wrong last; no secret.
    pub(crate) why: String,
}

/// What all lanes use.
#[derive(Debug)]
struct Post {
    clock: Clock,
    metrics: Arc<Notices>,
    given_up: mpsc::Sender<GivenUp>,
}

/// Sends messages.
#[derive(Debug)]
pub(crate) struct Notifier {
    post: Arc<Post>,
    /// Where people find the console, without a slash at the end.
    url: String,
    pub(crate) tickets: Tickets,
    lanes: Mutex<Vec<(NotifyTarget, Arc<Lane>)>>,
}

impl Notifier {
    /// A notifier, and the other end of what it gives up.
    pub(crate) fn new(
        clock: Clock,
        metrics: Arc<Notices>,
        url: String,
        tickets: Tickets,
    ) -> (Self, mpsc::Receiver<GivenUp>) {
        let (given_up, receiver) = mpsc::channel(GIVEN_UP_MAX);
        let post = Arc::new(Post { clock, metrics, given_up });
        (Self { post, url, tickets, lanes: Mutex::default() }, receiver)
    }

    /// Has a message sent to each of the targets. `buttons` says whether people can decide in Slack. Needs a runtime.
    pub(crate) fn send(&self, message: Message, targets: &[NotifyTarget], buttons: bool) {
        let message = Arc::new(message);
        for target in targets {
            let lane = self.lane(target);
            for parcel in self.parcels(&message, target, buttons) {
                lane.push(parcel);
            }
        }
    }

    /// Answers a person in Slack, once.
    pub(crate) fn reply(&self, url: &str, body: serde_json::Value) {
        let (post, url) = (Arc::clone(&self.post), url.to_owned());
        tokio::spawn(async move {
            let sent = match webhook::client() {
                Ok(client) => slack::post(&client, &url, body.to_string()).await.map_err(|failure| failure.why),
                Err(error) => Err(error),
            };
            match sent {
                Ok(()) => post.metrics.delivered(Way::Slack, Delivery::Sent),
                Err(why) => post.give_up(GivenUp {
                    message: String::new(),
                    event: "slack.reply",
                    approval: None,
                    way: Way::Slack,
                    attempts: 1,
                    why,
                }),
            }
        });
    }

    /// Forgets the lanes of places that are not configured any more. What waits there is still sent.
    pub(crate) fn keep(&self, targets: &[&NotifyTarget]) {
        self.lanes().retain(|(own, lane)| {
            let keep = targets.contains(&own);
            if !keep {
                lane.close();
            }
            keep || !lane.is_empty()
        });
    }

    /// Waits, at most so long, until every message was tried once.
    pub(crate) async fn settle(&self, at_most: Duration) {
        let busy = async {
            while self.lanes().iter().any(|(_, lane)| lane.is_busy()) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        // Elapsed: what is left is given up.
        let _ = tokio::time::timeout(at_most, busy).await;
    }

    /// Gives up what still waits.
    pub(crate) fn end(&self) {
        for (_, lane) in self.lanes().drain(..) {
            lane.give_up_all("the gateway ended");
        }
    }

    /// The page of a request for approval.
    pub(crate) fn page(&self, approval: &str) -> String {
        format!("{}/approvals/{approval}", self.url)
    }

    fn lane(&self, target: &NotifyTarget) -> Arc<Lane> {
        let mut lanes = self.lanes();
        if let Some((_, lane)) = lanes.iter().find(|(own, lane)| own == target && !lane.is_closed()) {
            return Arc::clone(lane);
        }
        let lane = Arc::new(Lane::new(way(target), Arc::clone(&self.post)));
        tokio::spawn(Arc::clone(&lane).run(Sender::new(&target.channel)));
        lanes.push((target.clone(), Arc::clone(&lane)));
        lane
    }

    /// A mail goes to each recipient by itself: its link works once.
    fn parcels(&self, message: &Arc<Message>, target: &NotifyTarget, buttons: bool) -> Vec<Parcel> {
        let parcel = |recipient: Option<&lettre::message::Mailbox>| {
            let link = message.approval.as_ref().map(|approval| match recipient {
                Some(_) if message.undecided => self
                    .tickets
                    .make(approval, message.useful_until_unix_ms / 1000)
                    .map_or_else(|| self.page(approval), |ticket| format!("{}/links/{ticket}", self.url)),
                _ => self.page(approval),
            });
            Parcel {
                message: Arc::clone(message),
                recipient: recipient.cloned(),
                link,
                buttons: buttons && message.undecided,
                preview: target.preview,
            }
        };
        match &target.channel {
            Channel::Mail { to, .. } => to.iter().map(|recipient| parcel(Some(recipient))).collect(),
            Channel::Slack { .. } | Channel::Webhook { .. } => vec![parcel(None)],
        }
    }

    fn lanes(&self) -> MutexGuard<'_, Vec<(NotifyTarget, Arc<Lane>)>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Post {
    fn give_up(&self, given_up: GivenUp) {
        self.metrics.delivered(given_up.way, Delivery::GivenUp);
        tracing::error!(
            way = given_up.way.name(),
            event = given_up.event,
            attempts = given_up.attempts,
            why = given_up.why,
            "a message to people was given up"
        );
        if let Err(error) = self.given_up.try_send(given_up) {
            tracing::error!(%error, "a message that was given up could not be written to the evidence");
        }
    }
}

fn way(target: &NotifyTarget) -> Way {
    match target.channel {
        Channel::Slack { .. } => Way::Slack,
        Channel::Mail { .. } => Way::Mail,
        Channel::Webhook { .. } => Way::Webhook,
    }
}

/// An id for a message. `None` only if the machine has no randomness.
pub(crate) fn new_message_id() -> Option<String> {
    let mut id = [0_u8; 16];
    aws_lc_rs::rand::fill(&mut id).ok()?;
    Some(format!("msg_{}", hex::encode(id)))
}

#[cfg(test)]
mod tests;
