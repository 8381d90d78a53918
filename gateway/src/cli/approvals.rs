//! `sallyport approvals`: the admin API's approvals from the command line.

use super::{Failure, printable};
use clap::Subcommand;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// How long the admin API may take.
const TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Lists what waits and what is granted (with --all: also what is over)
    List(List),
    /// Shows one request with the masked call; that is written down
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        api: Api,
    },
    /// Shows what the evidence says of one request
    History {
        /// Its id
        id: String,
        #[command(flatten)]
        api: Api,
    },
    /// Approves a request: one call may pass, or the person has access for a time
    #[command(visible_alias = "grant")]
    Approve(Decision),
    /// Denies a request
    Deny(Decision),
    /// Takes back an approval that was not used, or a grant
    Revoke(Decision),
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Also what is decided or has lapsed
    #[arg(long, conflicts_with = "status")]
    all: bool,
    /// Only what stands so: pending, approved, consumed, denied, expired, revoked
    #[arg(long, value_name = "STATUS")]
    status: Option<String>,
    /// Only approvals of calls (call) or only access for a time (grant)
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only what this caller asks
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only what asks this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
    /// One JSON array
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: Api,
}

#[derive(Debug, clap::Args)]
pub(super) struct Decision {
    /// The request's id
    #[arg(required_unless_present = "next")]
    id: Option<String>,
    /// The request that has waited longest (of `revoke`: the oldest that is in force)
    #[arg(long, conflicts_with = "id")]
    next: bool,
    /// Why; it goes into the evidence, and a denial's also to the caller
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    api: Api,
}

/// Which gateway, and who asks.
#[derive(Debug, clap::Args)]
pub(super) struct Api {
    /// The gateway's admin address
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:9900")]
    admin: String,
    /// Your token
    #[arg(long, value_name = "TOKEN", env = "SALLYPORT_TOKEN", hide_env_values = true)]
    token: String,
}

pub(super) fn run(command: Command) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build();
    runtime.map_err(Failure::cannot_tell)?.block_on(async {
        match command {
            Command::List(list) => self::list(list).await,
            Command::Show { id, api } => show(&Client::new(api)?, &id).await,
            Command::History { id, api } => history(&Client::new(api)?, &id).await,
            Command::Approve(decision) => decide(decision, "approve").await,
            Command::Deny(decision) => decide(decision, "deny").await,
            Command::Revoke(decision) => decide(decision, "revoke").await,
        }
    })
}

/// What is read of a request; the API has more.
#[derive(Debug, Deserialize)]
struct Request {
    id: String,
    kind: String,
    status: String,
    subject: String,
    model: String,
    endpoint: String,
    rules: Vec<String>,
    requirements: Vec<Requirement>,
    decisions: Vec<Made>,
    used_by: Option<String>,
    asked_at_unix_ms: i64,
    expires_at_unix_ms: i64,
    preview: String,
}

#[derive(Debug, Deserialize)]
struct Made {
    decision: String,
    by: String,
    reason: String,
    at_unix_ms: i64,
}

#[derive(Debug, Deserialize)]
struct Requirement {
    groups: Vec<String>,
    by: u32,
    approved: u32,
}

async fn list(list: List) -> Result<(), Failure> {
    let client = Client::new(list.api)?;
    let wanted = [("status", list.status), ("kind", list.kind), ("subject", list.subject), ("group", list.group)];
    let by_status = wanted.iter().any(|(name, value)| *name == "status" && value.is_some());
    let wanted: Vec<(&str, String)> = wanted.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let mut all = client.all(&wanted).await?;
    if !list.all && !by_status {
        all.retain(|request| matches!(text(request, "status"), "pending" | "approved"));
    }
    if list.json {
        println!("{}", Value::Array(all));
        return Ok(());
    }
    if all.is_empty() {
        println!("nothing waits for approval");
    }
    for request in all {
        println!("{}", parse::<Request>(request)?.line());
    }
    Ok(())
}

impl Request {
    fn line(&self) -> String {
        let needs: Vec<String> = self
            .requirements
            .iter()
            .map(|own| format!("{} {}/{}", own.groups.join(" or "), own.approved, own.by))
            .collect();
        let wants = match self.kind.as_str() {
            "grant" => format!("access by {}", self.rules.join(", ")),
            _ => format!("{} on {}", self.model, self.endpoint),
        };
        let until = if self.status == "approved" {
            format!("  until {}", time(self.expires_at_unix_ms))
        } else {
            String::new()
        };
        format!(
            "{}  {}  {}  {} wants {}  needs {}{until}",
            self.id,
            self.status,
            time(self.asked_at_unix_ms),
            printable(&self.subject),
            printable(&wants),
            printable(&needs.join(", ")),
        )
    }
}

async fn show(client: &Client, id: &str) -> Result<(), Failure> {
    let request: Request = parse(client.get(&format!("approvals/{}", segment(id)?), &[]).await?)?;
    println!("id        {}", request.id);
    println!("kind      {}", request.kind);
    println!("status    {}", request.status);
    println!("caller    {}", printable(&request.subject));
    println!("model     {}", printable(&request.model));
    println!("endpoint  {}", printable(&request.endpoint));
    println!("rules     {}", printable(&request.rules.join(", ")));
    for own in &request.requirements {
        println!("needs     {} of {} from group {}", own.approved, own.by, printable(&own.groups.join(" or ")));
    }
    println!("asked     {}", time(request.asked_at_unix_ms));
    println!("expires   {}", time(request.expires_at_unix_ms));
    for made in &request.decisions {
        println!("{:9} {} {}: {}", made.decision, time(made.at_unix_ms), printable(&made.by), printable(&made.reason));
    }
    if let Some(call) = &request.used_by {
        println!("used by   {}", printable(call));
    }
    println!("\n{}", request.preview.lines().map(printable).collect::<Vec<_>>().join("\n"));
    Ok(())
}

async fn history(client: &Client, id: &str) -> Result<(), Failure> {
    let answer = client.get(&format!("approvals/{}/history", segment(id)?), &[]).await?;
    for line in answer.get("history").and_then(Value::as_array).into_iter().flatten() {
        let at = line.get("at_unix_ms").and_then(Value::as_i64).unwrap_or_default();
        let (who, why) = match text(line, "action") {
            "used" => (text(line, "call"), ""),
            _ => (text(line, "by"), text(line, "reason")),
        };
        println!("{}  {:9} {}  {}", time(at), printable(text(line, "action")), printable(who), printable(why));
    }
    Ok(())
}

async fn decide(decision: Decision, verb: &str) -> Result<(), Failure> {
    let client = Client::new(decision.api)?;
    let id = match decision.id {
        Some(id) => id,
        None => {
            let status = if verb == "revoke" { "approved" } else { "pending" };
            let first = client.get("approvals", &[("status", status.to_owned()), ("limit", "1".to_owned())]).await?;
            let first = first.pointer("/approvals/0/id").and_then(Value::as_str);
            first.ok_or_else(|| Failure::bad(format!("no request is {status}")))?.to_owned()
        }
    };
    let path = format!("approvals/{}/{verb}", segment(&id)?);
    let answer = client.post(&path, &json!({ "reason": decision.reason })).await?;
    match (verb, answer.get("settled").and_then(Value::as_bool)) {
        ("approve", Some(false)) => println!("approved {id}; it needs another person"),
        ("approve", _) => println!("approved {id}"),
        ("deny", _) => println!("denied {id}"),
        _ => println!("revoked {id}"),
    }
    Ok(())
}

/// The admin API of one gateway.
struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
}

impl Client {
    fn new(api: Api) -> Result<Self, Failure> {
        let url = reqwest::Url::parse(&api.admin)
            .map_err(|error| Failure::usage(format!("--admin {}: {error}", api.admin)))?;
        let base = format!("{}/api/v1", url.as_str().trim_end_matches('/'));
        let mut builder = reqwest::Client::builder().timeout(TIMEOUT);
        // Tokens must not travel by way of a proxy to the machine that we are on.
        if url.host_str().is_some_and(|host| host == "localhost" || host == "[::1]" || host.starts_with("127.")) {
            builder = builder.no_proxy();
        }
        Ok(Self { http: builder.build().map_err(Failure::cannot_tell)?, base, token: api.token })
    }

    async fn get(&self, path: &str, query: &[(&str, String)]) -> Result<Value, Failure> {
        let mut url = reqwest::Url::parse(&format!("{}/{path}", self.base)).map_err(Failure::usage)?;
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        self.send(self.http.get(url)).await
    }

    /// Every request that fits, page by page.
    async fn all(&self, wanted: &[(&str, String)]) -> Result<Vec<Value>, Failure> {
        let mut all = Vec::new();
        let mut after = None;
        loop {
            let mut query = wanted.to_vec();
            query.extend(after.map(|after| ("after", after)));
            let mut page = self.get("approvals", &query).await?;
            match page.get_mut("approvals").map(Value::take) {
                Some(Value::Array(requests)) => all.extend(requests),
                _ => return parse(page),
            }
            match page.get("next").and_then(Value::as_str) {
                Some(next) => after = Some(next.to_owned()),
                None => return Ok(all),
            }
        }
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.send(self.http.post(format!("{}/{path}", self.base)).json(body)).await
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        let cannot_reach = |error: reqwest::Error| {
            Failure::cannot_tell(format!("cannot talk to the gateway at {}: {error}; is it running?", self.base))
        };
        let answer = request.bearer_auth(&self.token).send().await.map_err(cannot_reach)?;
        let status = answer.status();
        let body: Value = answer.json().await.map_err(cannot_reach)?;
        if status.is_success() {
            return Ok(body);
        }
        let message = body.pointer("/error/message").and_then(Value::as_str).unwrap_or("no reason was given");
        Err(Failure::bad(format!("{} ({})", printable(message), status.as_u16())))
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn parse<T: serde::de::DeserializeOwned>(answer: Value) -> Result<T, Failure> {
    serde_json::from_value(answer).map_err(|error| {
        Failure::cannot_tell(format!("the gateway's answer is not understood: {error}; is it another version?"))
    })
}

/// An id as a part of a path.
fn segment(id: &str) -> Result<&str, Failure> {
    if !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Ok(id);
    }
    Err(Failure::usage(format!("`{}` is not the id of a request", printable(id))))
}

fn time(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| unix_ms.to_string(), |time| format!("{time:.0}"))
}
