//! Signed messages to a URL, in the manner of Standard Webhooks (standardwebhooks.com, v1): whoever has the key can tell that a
//! message is ours, unaltered and not an old one.

use super::ATTEMPT_WITHIN;
use super::lane::{Failure, Parcel};
use crate::config::{Secret, WebhookKey};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use serde_json::{Value, json};
use std::sync::OnceLock;
use std::time::Duration;

/// The client of all webhooks. It follows no redirect: what is posted goes to the configured address or nowhere.
///
/// # Errors
/// What is wrong with the machine's root certificates.
pub(super) fn client() -> Result<Client, String> {
    static CLIENT: OnceLock<Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    let client = Client::builder()
        .timeout(ATTEMPT_WITHIN)
        .redirect(redirect::Policy::none())
        // Messages are few, and a resting connection would not outlive the runtime that it was made in.
        .pool_max_idle_per_host(0)
        .user_agent(concat!("sallyport/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| error.to_string())?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

pub(super) async fn send(url: &Secret, key: &WebhookKey, parcel: &Parcel, now_unix_s: u64) -> Result<(), Failure> {
    let id = &parcel.message.id;
    let body = body(parcel).to_string();
    let signature = sign(&key.0, id, now_unix_s, body.as_bytes());
    let request = client()
        .map_err(Failure::new)?
        .post(url.expose())
        .header(CONTENT_TYPE, "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", now_unix_s)
        .header("webhook-signature", signature);
    let answer = request.body(body).send().await.map_err(failed)?;
    // A receiver may say that it is gone for good.
    checked(&answer, |status| status == StatusCode::GONE)
}

/// `v1,` and the HMAC-SHA-256 over id, time and body, in base64.
fn sign(key: &[u8], id: &str, unix_s: u64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let signed = [format!("{id}.{unix_s}.").as_bytes(), body].concat();
    format!("v1,{}", STANDARD.encode(hmac::sign(&key, &signed)))
}

fn body(parcel: &Parcel) -> Value {
    let message = &parcel.message;
    let mut data = message.data.clone();
    if let Value::Object(data) = &mut data {
        if let Some(link) = &parcel.link {
            data.insert("url".to_owned(), json!(link));
        }
        if let Some(preview) = message.preview.as_ref().filter(|_| parcel.preview) {
            data.insert("preview".to_owned(), json!(preview));
        }
    }
    let at = i64::try_from(message.at_unix_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    json!({ "type": message.event, "timestamp": at.unwrap_or_default().to_string(), "data": data })
}

/// An answer of 2xx, or why it is none.
pub(super) fn checked(answer: &Response, for_good: impl Fn(StatusCode) -> bool) -> Result<(), Failure> {
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let seconds = answer.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Err(Failure {
        why: format!("the receiver answered with status {}", status.as_u16()),
        for_good: for_good(status),
        retry_after: seconds.map(Duration::from_secs),
    })
}

/// The URL is the secret, so it is not told.
pub(super) fn failed(error: reqwest::Error) -> Failure {
    let error = error.without_url();
    let mut why = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(next) = cause {
        why = format!("{why}: {next}");
        cause = next.source();
    }
    Failure::new(why)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example that the reference libraries of Standard Webhooks are tested with.
    #[test]
    fn the_signature_is_that_of_the_reference_libraries() {
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature = sign(&key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }
}
