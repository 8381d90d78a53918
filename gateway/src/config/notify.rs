//! Whom people's messages go to: `notify` of `[approvals]` and of `[alerts]`, who decides in Slack, and when alerts are raised.

use super::Secret;
use super::check::{duration, number};
use super::error::Findings;
use super::table::{At, table};
use crate::identity::Identity;
use lettre::message::Mailbox;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use url::{Host, Url};

/// Entries of one `notify`.
const TARGETS_MAX: usize = 32;
/// Recipients of one entry.
const RECIPIENTS_MAX: usize = 100;
/// Bytes of a pattern for models.
pub(crate) const MODEL_PATTERN_BYTES_MAX: usize = 64;

/// A place that messages go to.
#[derive(Clone, Debug, PartialEq)]
pub struct NotifyTarget {
    /// How they get there.
    pub channel: Channel,
    /// Whether they carry the beginning of the masked request.
    pub preview: bool,
}

/// How a message gets to people.
#[derive(Clone, Debug, PartialEq)]
pub enum Channel {
    /// An incoming webhook of Slack. Its URL is the secret.
    Slack {
        /// The URL.
        url: Secret,
    },
    /// A mail to each recipient.
    Mail {
        /// `smtps://USER:PASSWORD@HOST`, or `smtp://…?tls=required`; plain `smtp://` only on this machine.
        server: Secret,
        /// Who sends.
        from: Mailbox,
        /// Who gets it.
        to: Vec<Mailbox>,
    },
    /// A signed POST (standardwebhooks.com).
    Webhook {
        /// Where to.
        url: Secret,
        /// The key of its signatures: 24 to 64 bytes.
        key: WebhookKey,
    },
}

/// The key that a webhook is signed with. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct WebhookKey(pub(crate) Vec<u8>);

impl std::fmt::Debug for WebhookKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WebhookKey(…)")
    }
}

/// The Slack app whose buttons decide on approvals.
#[derive(Clone, Debug, PartialEq)]
pub struct SlackApp {
    /// What Slack signs its requests with.
    pub signing_secret: Secret,
    /// The workspace that requests must come from; `None` is any that the app is installed in.
    pub team: Option<String>,
    /// Who is who, by Slack's id of the user.
    pub users: Vec<(String, Identity)>,
}

/// When people are alerted.
#[derive(Clone, Debug, PartialEq)]
pub struct AlertsConfig {
    /// Who hears of it.
    pub notify: Vec<NotifyTarget>,
    /// The same alert is told once in this time.
    pub repeat_after: Duration,
    /// Messages per hour and severity.
    pub messages_per_hour: u32,
    /// What is watched beyond what policies and the gateway itself raise; `None` without an `[alerts]` table.
    pub watch: Option<WatchConfig>,
}

impl Default for AlertsConfig {
    fn default() -> Self {
        Self { notify: Vec::new(), repeat_after: Duration::from_mins(10), messages_per_hour: 30, watch: None }
    }
}

/// Conditions on the calls of one caller. A number of 0 switches its condition off.
#[derive(Clone, Debug, PartialEq)]
pub struct WatchConfig {
    /// Calls refused by policy within [`WatchConfig::denials_within`].
    pub denials: u32,
    /// See [`WatchConfig::denials`].
    pub denials_within: Duration,
    /// How many deviations above its mean an hour must have.
    pub volume_deviations: u32,
    /// Whole hours of history before a caller is judged.
    pub volume_hours: u32,
    /// Calls that an hour must have at least.
    pub volume_calls_min: u32,
    /// Models that a refused call is an alert of; `*` at the end stands for anything.
    pub restricted_models: Vec<String>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            denials: 20,
            denials_within: Duration::from_mins(1),
            volume_deviations: 6,
            volume_hours: 24,
            volume_calls_min: 100,
            restricted_models: Vec::new(),
        }
    }
}

table! {
    /// Where messages go to: one of `slack_webhook`, `smtp` and `webhook`, as in `notify = [{ slack_webhook = "env:SLACK" }]`.
    NotifyFile = "notify" {
        /// An incoming webhook of Slack.
        slack_webhook: Option<At<String>> = "secret", "–";
        /// A mail server: `smtps://USER:PASSWORD@HOST:PORT`, or `smtp://…?tls=required`; plain `smtp://` only on this machine.
        smtp: Option<At<String>> = "secret", "–";
        /// With `smtp`: who sends.
        from: Option<At<String>> = "address", "required with `smtp`";
        /// With `smtp`: who gets a mail.
        to: Option<At<Vec<String>>> = "list of addresses", "required with `smtp`";
        /// A URL that signed messages are posted to (standardwebhooks.com).
        webhook: Option<At<String>> = "secret", "–";
        /// With `webhook`: the key of its signatures, `whsec_` and 24 to 64 bytes in base64.
        secret: Option<At<String>> = "secret", "required with `webhook`";
        /// Whether messages carry the beginning of the masked request.
        preview: Option<bool> = "true or false", "true";
    }
}

table! {
    /// Buttons in Slack's messages: the app whose "Request URL" for interactivity is `/slack/interactions` of the admin port.
    SlackAppFile = "[approvals.slack]" {
        /// The app's signing secret.
        signing_secret: At<String> = "secret", "required";
        /// The id of the workspace that decisions may come from.
        team: Option<String> = "text", "any";
        /// Who is who.
        user: Vec<At<SlackUserFile>> = "list of tables", "required";
    }
}

table! {
    /// Whom a user of Slack is. Nobody else decides there.
    SlackUserFile = "[[approvals.slack.user]]" {
        /// Slack's id of the user, such as `U2CERLKJA`.
        id: String = "text", "required";
        /// The person as tokens name them.
        subject: String = "text", "required";
        /// Whose tokens these are.
        issuer: String = "URL", "required";
        /// Groups that the person decides for. They count until they are taken out of here.
        groups: Vec<String> = "list of texts", "required";
        /// The person's tenant.
        tenant: Option<String> = "text", "default";
    }
}

table! {
    /// Alerts. Those of policies, of evidence and of reloads are always recorded and counted; with this table callers are
    /// watched, too. A number of 0 switches a condition off.
    AlertsFile = "[alerts]" {
        /// Who hears of them.
        notify: Option<Vec<At<NotifyFile>>> = "list of tables, see `notify`", "–";
        /// The same alert of the same caller is told once in this time.
        repeat_after: Option<At<String>> = "duration", "10m";
        /// Messages per hour, for each severity by itself; what is beyond is recorded and counted.
        messages_per_hour: Option<At<i64>> = "number", "30";
        /// Calls of one caller that policy refuses within `denials_within`.
        denials: Option<At<i64>> = "number", "20";
        /// See `denials`.
        denials_within: Option<At<String>> = "duration", "1m";
        /// How many deviations above its own mean an hour of a caller must lie.
        volume_deviations: Option<At<i64>> = "number", "6";
        /// Whole hours of history before a caller is judged by it.
        volume_hours: Option<At<i64>> = "number", "24";
        /// Calls that such an hour must have at least.
        volume_calls_min: Option<At<i64>> = "number", "100";
        /// Models that a refused call is an alert of; `*` at the end stands for anything.
        restricted_models: Option<Vec<At<String>>> = "list of texts", "–";
    }
}

pub(super) fn alerts(file: Option<AlertsFile>, base: &Path, findings: &mut Findings<'_>) -> AlertsConfig {
    let mut alerts = AlertsConfig::default();
    let Some(file) = file else { return alerts };
    let mut watch = WatchConfig::default();
    alerts.notify = targets(file.notify, base, findings);
    duration(file.repeat_after, &mut alerts.repeat_after, findings);
    count(file.messages_per_hour, &mut alerts.messages_per_hour, findings);
    count(file.denials, &mut watch.denials, findings);
    duration(file.denials_within, &mut watch.denials_within, findings);
    count(file.volume_deviations, &mut watch.volume_deviations, findings);
    count(file.volume_hours, &mut watch.volume_hours, findings);
    count(file.volume_calls_min, &mut watch.volume_calls_min, findings);
    for at in file.restricted_models.unwrap_or_default() {
        let pattern = at.as_ref();
        let name = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || pattern.len() > MODEL_PATTERN_BYTES_MAX || name.contains('*') {
            findings.at(
                at.span().start,
                format!("`{pattern}` is no pattern for models"),
                format!("write a name, or its beginning and `*`, of at most {MODEL_PATTERN_BYTES_MAX} bytes"),
            );
        }
        watch.restricted_models.push(at.into_inner());
    }
    alerts.watch = Some(watch);
    alerts
}

fn count(at: Option<At<i64>>, slot: &mut u32, findings: &mut Findings<'_>) {
    let mut value = *slot as usize;
    number(at, 0..=1_000_000, &mut value, findings);
    *slot = u32::try_from(value).unwrap_or(u32::MAX);
}

pub(super) fn slack(file: Option<SlackAppFile>, base: &Path, findings: &mut Findings<'_>) -> Option<SlackApp> {
    let file = file?;
    let signing_secret = secret(&file.signing_secret, base, findings)?;
    let mut users: Vec<(String, Identity)> = Vec::new();
    for at in file.user {
        let offset = at.span().start;
        let user = at.into_inner();
        if [&user.id, &user.subject, &user.issuer].iter().any(|text| text.trim().is_empty()) || user.groups.is_empty() {
            findings.at(offset, "this user of Slack is nobody", "give id, subject, issuer and groups");
        }
        if users.iter().any(|(id, _)| *id == user.id) {
            findings.at(offset, format!("the user {} stands there twice", user.id), "keep one");
        }
        let mut groups = user.groups;
        groups.sort_unstable();
        groups.dedup();
        let mut identity = Identity { groups, ..Identity::new(&user.subject, &user.issuer) };
        identity.tenant = user.tenant.unwrap_or(identity.tenant);
        users.push((user.id, identity));
    }
    Some(SlackApp { signing_secret, team: file.team, users })
}

/// The entries of a `notify`; those that are wrong are told and left out.
pub(super) fn targets(
    files: Option<Vec<At<NotifyFile>>>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Vec<NotifyTarget> {
    let files = files.unwrap_or_default();
    if files.len() > TARGETS_MAX {
        findings.whole(
            format!("a `notify` has more than {TARGETS_MAX} entries"),
            "send to a list or a channel that people join",
        );
    }
    files.into_iter().filter_map(|at| target(at, base, findings)).collect()
}

fn target(at: At<NotifyFile>, base: &Path, findings: &mut Findings<'_>) -> Option<NotifyTarget> {
    let offset = at.span().start;
    let file = at.into_inner();
    let preview = file.preview.unwrap_or(true);
    let channel = match (file.slack_webhook, file.smtp, file.webhook) {
        (Some(url), None, None) if file.from.is_none() && file.to.is_none() && file.secret.is_none() => {
            Channel::Slack { url: https(&url, base, findings)? }
        }
        (None, Some(server), None) if file.secret.is_none() => {
            mail(offset, &server, file.from, file.to, base, findings)?
        }
        (None, None, Some(url)) if file.from.is_none() && file.to.is_none() => {
            let Some(secret) = file.secret else {
                findings.at(
                    offset,
                    "a webhook without `secret` proves nothing to who receives it",
                    WEBHOOK_SECRET_HELP,
                );
                return None;
            };
            let url = https(&url, base, findings)?;
            Channel::Webhook { url, key: webhook_key(&secret, base, findings)? }
        }
        _ => {
            findings.at(
                offset,
                "this does not say where messages go to",
                "write { slack_webhook = … }, or { smtp = …, from = …, to = […] }, or { webhook = …, secret = … }",
            );
            return None;
        }
    };
    Some(NotifyTarget { channel, preview })
}

fn mail(
    offset: usize,
    server: &At<String>,
    from: Option<At<String>>,
    to: Option<At<Vec<String>>>,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<Channel> {
    let (Some(from), Some(to)) = (from, to) else {
        findings.at(offset, "mails need `from` and `to`", "add from = \"sallyport@example.com\" and to = [\"…\"]");
        return None;
    };
    let secret = secret(server, base, findings)?;
    if let Err(why) = check_mail_server(secret.expose()) {
        findings.at(
            server.span().start,
            why,
            "write smtps://USER:PASSWORD@HOST, or smtp://USER:PASSWORD@HOST?tls=required",
        );
        return None;
    }
    let mut mailbox = |text: &str, offset: usize| {
        let mailbox = text.parse::<Mailbox>().ok();
        if mailbox.is_none() {
            findings.at(offset, format!("`{text}` is no mail address"), "write name@example.com");
        }
        mailbox
    };
    let sender = mailbox(from.as_ref(), from.span().start)?;
    let recipients: Option<Vec<Mailbox>> = to.as_ref().iter().map(|text| mailbox(text, to.span().start)).collect();
    let recipients = recipients?;
    if recipients.is_empty() || recipients.len() > RECIPIENTS_MAX {
        findings.at(to.span().start, "there are no recipients, or too many", format!("name 1 to {RECIPIENTS_MAX}"));
        return None;
    }
    Some(Channel::Mail { server: secret, from: sender, to: recipients })
}

/// Mails carry links and names: in clear they go nowhere but to this machine.
fn check_mail_server(url: &str) -> Result<(), &'static str> {
    let parsed = Url::parse(url).map_err(|_| "the mail server is not given as a URL")?;
    if !parsed.has_host() {
        return Err("the mail server's URL has no host");
    }
    let tls = parsed.query_pairs().find(|(key, _)| key == "tls").map(|(_, value)| value.into_owned());
    match (parsed.scheme(), tls.as_deref()) {
        ("smtps", None) | ("smtp", Some("required")) => Ok(()),
        ("smtp", None) if is_local(&parsed) => Ok(()),
        ("smtp", _) => Err("mails would go to the server in clear"),
        _ => Err("the mail server's URL has a scheme that is not known here"),
    }
}

const WEBHOOK_SECRET_HELP: &str = "make one with: echo whsec_$(openssl rand -base64 32)";

fn webhook_key(at: &At<String>, base: &Path, findings: &mut Findings<'_>) -> Option<WebhookKey> {
    use base64::Engine as _;
    let secret = secret(at, base, findings)?;
    let text = secret.expose().strip_prefix("whsec_").unwrap_or(secret.expose());
    let key = base64::engine::general_purpose::STANDARD.decode(text).ok().filter(|key| (24..=64).contains(&key.len()));
    if key.is_none() {
        findings.at(at.span().start, "the secret is not `whsec_` and 24 to 64 bytes in base64", WEBHOOK_SECRET_HELP);
    }
    key.map(WebhookKey)
}

fn https(at: &At<String>, base: &Path, findings: &mut Findings<'_>) -> Option<Secret> {
    let secret = secret(at, base, findings)?;
    let good = Url::parse(secret.expose())
        .is_ok_and(|url| url.has_host() && (url.scheme() == "https" || (url.scheme() == "http" && is_local(&url))));
    if !good {
        findings.at(
            at.span().start,
            "the secret is no URL that messages may be posted to",
            "give it an https:// URL (http:// only on this machine)",
        );
    }
    good.then_some(secret)
}

fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        // The `url` crate knows no addresses in schemes that are not of the web.
        Some(Host::Domain(name)) => {
            let address = name.parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
        None => false,
    }
}

fn secret(at: &At<String>, base: &Path, findings: &mut Findings<'_>) -> Option<Secret> {
    match Secret::resolve(at.as_ref(), base) {
        Ok(secret) => Some(secret),
        Err(message) => {
            findings.at(at.span().start, message, "write \"env:NAME\" or \"file:PATH\"");
            None
        }
    }
}

/// Where messages go to, without what would let others send there.
pub(super) fn redacted_targets(targets: &[NotifyTarget]) -> Vec<Value> {
    let shown = |target: &NotifyTarget| match &target.channel {
        Channel::Slack { .. } => json!({ "channel": "slack", "preview": target.preview }),
        Channel::Mail { from, to, .. } => json!({
            "channel": "mail",
            "from": from.to_string(),
            "to": to.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "preview": target.preview,
        }),
        Channel::Webhook { .. } => json!({ "channel": "webhook", "preview": target.preview }),
    };
    targets.iter().map(shown).collect()
}

/// Who decides in Slack.
pub(super) fn redacted_slack(app: &SlackApp) -> Value {
    let user = |(id, identity): &(String, Identity)| {
        json!({
            "id": id,
            "subject": identity.subject,
            "issuer": identity.issuer,
            "groups": identity.groups,
            "tenant": identity.tenant,
        })
    };
    json!({ "team": app.team, "user": app.users.iter().map(user).collect::<Vec<_>>() })
}

pub(super) fn redacted_alerts(alerts: &AlertsConfig) -> Value {
    let watch = alerts.watch.as_ref().map(|watch| {
        json!({
            "denials": watch.denials,
            "denials_within": format!("{}s", watch.denials_within.as_secs_f64()),
            "volume_deviations": watch.volume_deviations,
            "volume_hours": watch.volume_hours,
            "volume_calls_min": watch.volume_calls_min,
            "restricted_models": watch.restricted_models,
        })
    });
    json!({
        "notify": redacted_targets(&alerts.notify),
        "repeat_after": format!("{}s", alerts.repeat_after.as_secs_f64()),
        "messages_per_hour": alerts.messages_per_hour,
        "watch": watch,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::parse;
    use super::*;

    const BASE: &str = "data = \"d\"\n[listen]\naddress = \"127.0.0.1:0\"\n[[issuer]]\nurl = \"http://i\"\naudience = [\"a\"]\n\
                        [policy]\npath = \"p\"\n[[upstream]]\nname = \"u\"\nendpoints = [\"http://127.0.0.1:1\"]";

    /// What is wrong when the secrets are these and the rest of the file is this.
    fn wrong(secrets: &[(&str, &str)], rest: &str) -> String {
        let directory = tempfile::tempdir().unwrap();
        for (name, value) in secrets {
            std::fs::write(directory.path().join(name), value).unwrap();
        }
        match parse(&directory.path().join("sallyport.toml"), &format!("{BASE}\n{rest}")) {
            Ok(_) => String::new(),
            Err(errors) => errors.to_string().replace(&directory.path().display().to_string(), ""),
        }
    }

    #[test]
    fn every_way_to_people_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let write = |name: &str, value: &str| std::fs::write(directory.path().join(name), value).unwrap();
        write("slack", "https://hooks.slack.com/services/T0/B0/x\n");
        write("smtp", "smtps://u:p@mail.example.com");
        write("hook", "https://alerts.example.com/in");
        write("key", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let rest = "[approvals]\nnotify = [{ slack_webhook = \"file:slack\" }, { smtp = \"file:smtp\", \
                    from = \"Sallyport <gw@example.com>\", to = [\"a@example.com\"], preview = false }]\n\
                    [approvals.slack]\nsigning_secret = \"file:key\"\n[[approvals.slack.user]]\nid = \"U1\"\nsubject = \"grace\"\n\
                    issuer = \"http://i\"\ngroups = [\"leads\"]\n\
                    [alerts]\nnotify = [{ webhook = \"file:hook\", secret = \"file:key\" }]\ndenials = 0";
        let config = parse(&directory.path().join("sallyport.toml"), &format!("{BASE}\n{rest}")).unwrap();
        assert_eq!(config.approvals.notify.len(), 2);
        assert!(!config.approvals.notify.last().unwrap().preview);
        let app = config.approvals.slack.as_ref().unwrap();
        assert!(app.users.first().unwrap().1.in_group("leads"));
        assert_eq!(config.alerts.watch.as_ref().unwrap().denials, 0);
        assert!(
            matches!(&config.alerts.notify.first().unwrap().channel, Channel::Webhook { key, .. } if key.0.len() == 24)
        );
        // Nothing of a secret is printed anywhere.
        let shown = format!("{config:?}{}", super::super::redacted(&config));
        for secret in ["services/T0", "u:p", "alerts.example.com/in", "MfKQ"] {
            assert!(!shown.contains(secret), "{secret}");
        }
    }

    #[test]
    fn what_cannot_be_sent_safely_is_told() {
        let plain = [("smtp", "smtp://mail.example.com"), ("hook", "http://alerts.example.com"), ("key", "c2hvcnQ=")];
        let mail = |to: &str| {
            format!("[approvals]\nnotify = [{{ smtp = \"file:smtp\", from = \"gw@example.com\", to = {to} }}]")
        };
        assert!(wrong(&plain, &mail("[\"a@example.com\"]")).contains("in clear"));
        assert!(wrong(&[("smtp", "smtp://127.0.0.1:2525")], &mail("[\"a@example.com\"]")).is_empty());
        assert!(
            wrong(&[("smtp", "smtp://m.example.com?tls=required")], &mail("[\"not an address\"]"))
                .contains("no mail address")
        );
        assert!(
            wrong(&[("smtp", "smtp://m.example.com?tls=opportunistic")], &mail("[\"a@b.c\"]")).contains("in clear")
        );
        let hook = "[alerts]\nnotify = [{ webhook = \"file:hook\", secret = \"file:key\" }]";
        assert!(wrong(&plain, hook).contains("https://"));
        assert!(wrong(&[("hook", "https://a.example.com"), ("key", "c2hvcnQ=")], hook).contains("24 to 64 bytes"));
        assert!(wrong(&plain, "[alerts]\nnotify = [{ webhook = \"file:hook\" }]").contains("without `secret`"));
        assert!(wrong(&plain, "[alerts]\nnotify = [{ preview = true }]").contains("where messages go"));
        assert!(wrong(&plain, "[alerts]\nnotify = [{ slack_webhook = \"https://x\" }]").contains("never written"));
        let slack = "[approvals]\nnotify = [{ slack_webhook = \"file:hook\" }]\n[admin]\naddress = \"0.0.0.0:9900\"";
        assert!(wrong(&[("hook", "https://hooks.slack.com/x")], slack).contains("carry links"));
        assert!(wrong(&plain, "[alerts]\nrestricted_models = [\"a*b\"]").contains("no pattern"));
    }
}
