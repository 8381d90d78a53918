//! Messages in Slack (Block Kit), sent by an incoming webhook. Text that a caller chose stands in `plain_text` only, where
//! Slack reads no markup.

use super::lane::{Failure, Parcel};
use super::webhook::{checked, failed};
use reqwest::Client;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};

/// Slack's limits, in characters: of a header, and of a field of a section.
const HEADER_CHARS_MAX: usize = 150;
const FIELD_CHARS_MAX: usize = 2000;
/// Fields of one section.
const FIELDS_MAX: usize = 10;

/// Where the reason stands in what Slack sends back.
pub(crate) const REASON: &str = "reason";
/// The names of the buttons.
pub(crate) const APPROVE: &str = "approve";
/// See [`APPROVE`].
pub(crate) const DENY: &str = "deny";

/// Posts to an incoming webhook or a `response_url`.
///
/// # Errors
/// What Slack answered. It keeps to that: only 408, 429 and 5xx are worth another attempt.
pub(super) async fn post(client: &Client, url: &str, body: String) -> Result<(), Failure> {
    let answer = client.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await.map_err(failed)?;
    checked(&answer, |status| status.is_client_error() && !matches!(status.as_u16(), 408 | 429))
}

pub(super) fn body(parcel: &Parcel) -> String {
    let message = &parcel.message;
    let mut blocks = vec![json!({ "type": "header", "text": plain(&message.title, HEADER_CHARS_MAX) })];
    for facts in message.facts.chunks(FIELDS_MAX) {
        let fields: Vec<Value> =
            facts.iter().map(|(name, value)| plain(&format!("{name}: {value}"), FIELD_CHARS_MAX)).collect();
        blocks.push(json!({ "type": "section", "fields": fields }));
    }
    if let Some(preview) = message.preview.as_ref().filter(|_| parcel.preview) {
        blocks
            .push(json!({ "type": "section", "text": plain(&format!("Masked request: {preview}"), FIELD_CHARS_MAX) }));
    }
    let mut elements = Vec::new();
    if let Some(approval) = message.approval.as_ref().filter(|_| parcel.buttons) {
        blocks.push(json!({
            "type": "input",
            "block_id": REASON,
            "optional": true,
            "label": plain("Reason (kept in the evidence)", HEADER_CHARS_MAX),
            "element": { "type": "plain_text_input", "action_id": REASON, "max_length": 1000 },
        }));
        let button = |name: &str, label: &str, style: &str| json!({ "type": "button", "action_id": name, "value": approval, "style": style, "text": plain(label, 75) });
        elements.push(button(APPROVE, "Approve", "primary"));
        elements.push(button(DENY, "Deny", "danger"));
    }
    if let Some(link) = &parcel.link {
        elements.push(json!({ "type": "button", "action_id": "open", "url": link, "text": plain("Open", 75) }));
    }
    if !elements.is_empty() {
        blocks.push(json!({ "type": "actions", "elements": elements }));
    }
    // What a notification shows; there Slack does read markup.
    json!({ "text": escaped(&message.title), "blocks": blocks }).to_string()
}

fn plain(text: &str, chars_max: usize) -> Value {
    let mut text = text.to_owned();
    if let Some((at, _)) = text.char_indices().nth(chars_max.saturating_sub(1)) {
        text.truncate(at);
        text.push('…');
    }
    json!({ "type": "plain_text", "text": text, "emoji": false })
}

/// Slack's three characters that begin markup.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
