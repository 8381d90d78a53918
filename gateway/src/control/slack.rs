//! Buttons in Slack. What comes here counts if Slack signed it, lately and for the first time; who pressed is whom the
//! configuration says, and may what the same person may by any other way.

use super::Control;
use super::access;
use super::approvals;
use super::error::ApiError;
use crate::config::{Channel, Config, SlackApp};
use crate::notify::slack_request::{self, Decision, Interaction};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;
use std::net::SocketAddr;
use std::sync::Arc;
use url::{Url, form_urlencoded};

const PATH: &str = "/slack/interactions";
/// Bytes of a request: Slack sends the whole message along.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Where Slack takes answers.
const SLACK_HOOKS: &str = "https://hooks.slack.com/";

pub(super) fn routes() -> Router<Arc<Control>> {
    Router::new().route(PATH, post(interaction)).layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
}

async fn interaction(
    State(control): State<Arc<Control>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let config = Arc::clone(&control.shared.live.current().config);
    let Some(app) = &config.approvals.slack else {
        let message = "no Slack app is configured: add [approvals.slack]";
        return ApiError::new(StatusCode::NOT_FOUND, "no_slack", message).into_response();
    };
    let pressed = match read(&control, app, &headers, &body) {
        Ok(pressed) => pressed,
        Err(error) => {
            control.record_admin_refusal(None, peer.ip(), PATH, &error).await;
            return error.into_response();
        }
    };
    let Some(decision) = pressed.decision() else { return StatusCode::OK.into_response() };
    let words = match decide(&control, app, &pressed, &decision, peer).await {
        Ok(words) => json!({ "replace_original": true, "text": words }),
        Err(error) => {
            let words = crate::notify::escaped(&error.message);
            json!({ "replace_original": false, "response_type": "ephemeral", "text": format!("This did not count: {words}.") })
        }
    };
    if let Some(url) = pressed.response_url.as_deref().filter(|url| is_slacks(url, &config)) {
        control.people.notifier.reply(url, words);
    }
    StatusCode::OK.into_response()
}

/// Who pressed what, if Slack says so.
fn read(control: &Control, app: &SlackApp, headers: &HeaderMap, body: &[u8]) -> Result<Interaction, ApiError> {
    let now_unix_s = control.shared.clock.unix_s();
    let field = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let (timestamp, signature) = (field("x-slack-request-timestamp"), field("x-slack-signature"));
    let refused = |error: slack_request::SlackError| {
        ApiError::new(StatusCode::UNAUTHORIZED, "slack_signature", error.to_string())
    };
    let tag =
        slack_request::verify(app.signing_secret.expose(), timestamp, signature, body, now_unix_s).map_err(refused)?;
    control.people.seen.first_time(tag, now_unix_s).map_err(refused)?;
    let payload = form_urlencoded::parse(body).find(|(name, _)| name == "payload").map(|(_, value)| value.into_owned());
    let pressed = payload.and_then(|payload| serde_json::from_str::<Interaction>(&payload).ok());
    let bad = || ApiError::new(StatusCode::BAD_REQUEST, "slack_payload", "this is no interaction of Slack");
    let pressed = pressed.ok_or_else(bad)?;
    let team = pressed.team.as_ref().map(|team| team.id.as_str());
    if app.team.is_some() && app.team.as_deref() != team {
        return Err(ApiError::new(StatusCode::FORBIDDEN, "slack_team", "the request comes from another workspace"));
    }
    Ok(pressed)
}

/// What was decided, in words; or why it does not count, which is written down.
async fn decide(
    control: &Control,
    app: &SlackApp,
    pressed: &Interaction,
    decision: &Decision,
    peer: SocketAddr,
) -> Result<String, ApiError> {
    let known = app.users.iter().find(|(id, _)| *id == pressed.user.id).map(|(_, identity)| identity);
    let refusal = match known {
        None => Some("the gateway does not know who you are; ask for an entry in [[approvals.slack.user]]"),
        Some(person) if control.shared.verifier.is_revoked(person) => Some("your access was revoked"),
        Some(person) if !access::may_approve(person, &control.shared.config.admin.roles) => {
            Some("this needs the role approver; [admin.roles] says which groups have it")
        }
        Some(_) => None,
    };
    let (Some(person), None) = (known, refusal) else {
        let error = ApiError::new(StatusCode::FORBIDDEN, "slack_user", refusal.unwrap_or_default());
        control.record_admin_refusal(known, peer.ip(), PATH, &error).await;
        return Err(error);
    };
    let decided =
        approvals::decide(control, person, &decision.approval, decision.approve, decision.reason.as_deref()).await;
    let settled = match decided {
        Ok(axum::Json(decided)) => decided.get("settled").and_then(serde_json::Value::as_bool).unwrap_or_default(),
        Err(error) => {
            control.record_admin_refusal(Some(person), peer.ip(), PATH, &error).await;
            return Err(error);
        }
    };
    let who = crate::notify::escaped(&person.subject);
    Ok(match (decision.approve, settled) {
        (true, true) => format!("{who} approved the call."),
        (true, false) => format!("{who} approved the call; it needs another person, in the console."),
        (false, _) => format!("{who} denied the call."),
    })
}

/// Answers go to Slack, or to where our own messages go: the address stands in what Slack signed, but a signature says nothing
/// about where we should connect.
fn is_slacks(url: &str, config: &Config) -> bool {
    if url.starts_with(SLACK_HOOKS) {
        return true;
    }
    let Ok(url) = Url::parse(url) else { return false };
    config.approvals.notify.iter().any(|target| match &target.channel {
        Channel::Slack { url: own } => Url::parse(own.expose()).is_ok_and(|own| own.origin() == url.origin()),
        _ => false,
    })
}
