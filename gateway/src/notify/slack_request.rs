//! Requests that Slack signed (docs.slack.dev/authentication/verifying-requests-from-slack), and what a pressed button says.

use aws_lc_rs::hmac;
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// How old a request may be, or how far ahead its clock, in seconds.
const WINDOW_S: u64 = 300;
/// Requests that are remembered within the window; above, none is taken until some are older.
const SEEN_MAX: usize = 10_000;

/// Why a request does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SlackError {
    /// No signature or time, or not of their form.
    #[error("the request is not signed as Slack signs")]
    Unsigned,
    /// More than five minutes off.
    #[error("the request is too old, or the clocks differ")]
    OutsideWindow,
    /// Made with another secret, or altered.
    #[error("the request's signature is wrong")]
    BadSignature,
    /// It was here before.
    #[error("the request was sent again")]
    Replayed,
    /// More of them than can be remembered.
    #[error("too many requests from Slack within five minutes")]
    TooMany,
}

/// Remembers requests for as long as their signatures would count.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<[u8; 32], u64>>);

impl Seen {
    /// Counts a verified request; the second of the kind does not count.
    pub(crate) fn first_time(&self, tag: [u8; 32], now_unix_s: u64) -> Result<(), SlackError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Twice the window: a request may be that far ahead of our clock, and then age.
        let is_open = |at: u64| now_unix_s.saturating_sub(at) <= 2 * WINDOW_S;
        if seen.get(&tag).is_some_and(|at| is_open(*at)) {
            return Err(SlackError::Replayed);
        }
        if seen.len() >= SEEN_MAX {
            seen.retain(|_, at| is_open(*at));
        }
        if seen.len() >= SEEN_MAX {
            return Err(SlackError::TooMany);
        }
        seen.insert(tag, now_unix_s);
        Ok(())
    }
}

/// Checks a signature in constant time; gives what tells this request from others.
///
/// # Errors
/// Why the request does not count.
pub(crate) fn verify(
    secret: &str,
    timestamp: Option<&str>,
    signature: Option<&str>,
    body: &[u8],
    now_unix_s: u64,
) -> Result<[u8; 32], SlackError> {
    let (Some(timestamp), Some(signature)) = (timestamp, signature) else { return Err(SlackError::Unsigned) };
    let plain = !timestamp.is_empty() && timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let at_unix_s: u64 = timestamp.parse().ok().filter(|_| plain).ok_or(SlackError::Unsigned)?;
    let mut tag = [0; 32];
    let digits = signature.strip_prefix("v0=").ok_or(SlackError::Unsigned)?;
    hex::decode_to_slice(digits, &mut tag).map_err(|_| SlackError::Unsigned)?;
    if now_unix_s.abs_diff(at_unix_s) > WINDOW_S {
        return Err(SlackError::OutsideWindow);
    }
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = [b"v0:".as_slice(), timestamp.as_bytes(), b":", body].concat();
    hmac::verify(&key, &signed, &tag).map_err(|_| SlackError::BadSignature)?;
    Ok(tag)
}

/// A pressed button, as far as it is read.
#[derive(Debug, Deserialize)]
pub(crate) struct Interaction {
    /// Where answers go to.
    pub(crate) response_url: Option<String>,
    /// Who pressed.
    pub(crate) user: User,
    /// In which workspace.
    pub(crate) team: Option<Team>,
    /// Which button.
    #[serde(default)]
    pub(crate) actions: Vec<Action>,
    /// What stands in the message's fields.
    #[serde(default)]
    pub(crate) state: State,
}

/// A user of Slack.
#[derive(Debug, Deserialize)]
pub(crate) struct User {
    /// Slack's id, such as `U2CERLKJA`.
    pub(crate) id: String,
}

/// A workspace.
#[derive(Debug, Deserialize)]
pub(crate) struct Team {
    /// Slack's id, such as `T1DC2JH3J`.
    pub(crate) id: String,
}

/// A button.
#[derive(Debug, Deserialize)]
pub(crate) struct Action {
    /// Its name.
    pub(crate) action_id: String,
    /// What it stands for: the id of a request for approval.
    pub(crate) value: Option<String>,
}

/// The fields of a message, by block and by name.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct State {
    #[serde(default)]
    values: HashMap<String, HashMap<String, Field>>,
}

#[derive(Debug, Deserialize)]
struct Field {
    value: Option<String>,
}

/// What someone decided by a button.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decision {
    /// On which request.
    pub(crate) approval: String,
    /// Yes or no.
    pub(crate) approve: bool,
    /// Why.
    pub(crate) reason: Option<String>,
}

impl Interaction {
    /// `None` for buttons that decide nothing, such as the one that opens the page.
    pub(crate) fn decision(&self) -> Option<Decision> {
        let known = |action: &&Action| [super::slack::APPROVE, super::slack::DENY].contains(&action.action_id.as_str());
        let action = self.actions.iter().find(known)?;
        let field = self.state.values.get(super::slack::REASON).and_then(|block| block.get(super::slack::REASON));
        Some(Decision {
            approval: action.value.clone()?,
            approve: action.action_id == super::slack::APPROVE,
            reason: field.and_then(|field| field.value.clone()),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The worked example of Slack's documentation.
    const SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";
    const TIMESTAMP: &str = "1531420618";
    const BODY: &str = "token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V\
        &channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=\
        &response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN\
        &trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    const SIGNATURE: &str = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    const NOW: u64 = 1_531_420_618;

    fn check(timestamp: &str, signature: &str, body: &str, now: u64) -> Result<[u8; 32], SlackError> {
        verify(SECRET, Some(timestamp), Some(signature), body.as_bytes(), now)
    }

    #[test]
    fn slacks_own_example_verifies() {
        assert!(check(TIMESTAMP, SIGNATURE, BODY, NOW).is_ok());
        assert!(check(TIMESTAMP, SIGNATURE, BODY, NOW + 300).is_ok());
        assert!(check(TIMESTAMP, SIGNATURE, BODY, NOW - 300).is_ok());
    }

    #[test]
    fn nothing_else_verifies() {
        assert_eq!(check(TIMESTAMP, SIGNATURE, BODY, NOW + 301), Err(SlackError::OutsideWindow));
        assert_eq!(check(TIMESTAMP, SIGNATURE, BODY, NOW - 301), Err(SlackError::OutsideWindow));
        assert_eq!(check("1531420619", SIGNATURE, BODY, NOW), Err(SlackError::BadSignature));
        assert_eq!(check(TIMESTAMP, SIGNATURE, &BODY[1..], NOW), Err(SlackError::BadSignature));
        let other = verify("another secret", Some(TIMESTAMP), Some(SIGNATURE), BODY.as_bytes(), NOW);
        assert_eq!(other, Err(SlackError::BadSignature));
        for (timestamp, signature) in [
            ("", SIGNATURE),
            ("+1531420618", SIGNATURE),
            ("now", SIGNATURE),
            (TIMESTAMP, ""),
            (TIMESTAMP, "v0="),
            (TIMESTAMP, &SIGNATURE[3..]),
            (TIMESTAMP, "v1=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503"),
            (TIMESTAMP, &SIGNATURE[..20]),
        ] {
            assert_eq!(check(timestamp, signature, BODY, NOW), Err(SlackError::Unsigned), "{timestamp} {signature}");
        }
        assert_eq!(verify(SECRET, None, Some(SIGNATURE), BODY.as_bytes(), NOW), Err(SlackError::Unsigned));
        assert_eq!(verify(SECRET, Some(TIMESTAMP), None, BODY.as_bytes(), NOW), Err(SlackError::Unsigned));
    }

    #[test]
    fn a_request_counts_once() {
        let seen = Seen::default();
        let tag = check(TIMESTAMP, SIGNATURE, BODY, NOW - 300).unwrap();
        assert_eq!(seen.first_time(tag, NOW - 300), Ok(()));
        assert_eq!(seen.first_time(tag, NOW), Err(SlackError::Replayed));
        assert_eq!(seen.first_time(tag, NOW + 300), Err(SlackError::Replayed), "for as long as it verifies");
    }

    #[test]
    fn buttons_say_what_was_decided() {
        let read = |text: &str| serde_json::from_str::<Interaction>(text).unwrap();
        let pressed = read(
            r#"{"type":"block_actions","user":{"id":"U1","name":"grace"},"team":{"id":"T1"},"response_url":"https://x",
                "actions":[{"action_id":"deny","block_id":"b","value":"01abc","type":"button"}],
                "state":{"values":{"reason":{"reason":{"type":"plain_text_input","value":"too costly"}}}}}"#,
        );
        let decision = Decision { approval: "01abc".into(), approve: false, reason: Some("too costly".into()) };
        assert_eq!(pressed.decision(), Some(decision));
        let opened = read(r#"{"user":{"id":"U1"},"actions":[{"action_id":"open"}]}"#);
        assert_eq!(opened.decision(), None);
    }
}
