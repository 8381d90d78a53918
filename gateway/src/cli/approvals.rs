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
    /// Lists what waits (with --all: also what is over)
    List {
        /// Also what is decided or has lapsed
        #[arg(long)]
        all: bool,
        /// One JSON array
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        api: Api,
    },
    /// Shows one request with the masked call
    Show {
        /// Its id
        id: String,
        #[command(flatten)]
        api: Api,
    },
    /// Approves a request: one call may pass
    Approve(Decision),
    /// Denies a request
    Deny(Decision),
}

#[derive(Debug, clap::Args)]
pub(super) struct Decision {
    /// The request's id
    #[arg(required_unless_present = "next")]
    id: Option<String>,
    /// The request that has waited longest
    #[arg(long, conflicts_with = "id")]
    next: bool,
    /// Why; a denial needs one
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
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
            Command::List { all, json, api } => list(&Client::new(api)?, all, json).await,
            Command::Show { id, api } => show(&Client::new(api)?, &id).await,
            Command::Approve(decision) => decide(decision, "approve").await,
            Command::Deny(decision) => decide(decision, "deny").await,
        }
    })
}

/// What is read of a request; the API has more.
#[derive(Debug, Deserialize)]
struct Request {
    id: String,
    status: String,
    subject: String,
    model: String,
    endpoint: String,
    rules: Vec<String>,
    requirements: Vec<Requirement>,
    approvers: Vec<String>,
    denied_by: Option<String>,
    reasons: Vec<String>,
    asked_at_unix_ms: i64,
    expires_at_unix_ms: i64,
    preview: String,
}

#[derive(Debug, Deserialize)]
struct Requirement {
    groups: Vec<String>,
    by: u32,
    approved: u32,
}

async fn list(client: &Client, all: bool, as_json: bool) -> Result<(), Failure> {
    let answer = client.get("approvals").await?;
    if as_json {
        println!("{}", answer.get("approvals").unwrap_or(&Value::Null));
        return Ok(());
    }
    let requests: Vec<Request> = requests(answer)?;
    let shown: Vec<&Request> = requests.iter().filter(|request| all || request.status == "pending").collect();
    if shown.is_empty() {
        println!("nothing waits for approval");
    }
    for request in shown {
        let needs: Vec<String> = request
            .requirements
            .iter()
            .map(|own| format!("{} {}/{}", own.groups.join(" or "), own.approved, own.by))
            .collect();
        println!(
            "{}  {}  {}  {} wants {} on {}  needs {}",
            request.id,
            request.status,
            time(request.asked_at_unix_ms),
            printable(&request.subject),
            printable(&request.model),
            printable(&request.endpoint),
            printable(&needs.join(", ")),
        );
    }
    Ok(())
}

async fn show(client: &Client, id: &str) -> Result<(), Failure> {
    let request: Request = parse(client.get(&format!("approvals/{}", segment(id)?)).await?)?;
    println!("id        {}", request.id);
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
    if !request.approvers.is_empty() {
        println!("approved  {}", printable(&request.approvers.join(", ")));
    }
    if let Some(by) = &request.denied_by {
        println!("denied    {}", printable(by));
    }
    for reason in &request.reasons {
        println!("reason    {}", printable(reason));
    }
    println!("\n{}", request.preview.lines().map(printable).collect::<Vec<_>>().join("\n"));
    Ok(())
}

async fn decide(decision: Decision, verb: &str) -> Result<(), Failure> {
    let client = Client::new(decision.api)?;
    let id = match decision.id {
        Some(id) => id,
        None => {
            let waiting = requests(client.get("approvals").await?)?;
            let next = waiting.into_iter().find(|request| request.status == "pending");
            next.ok_or_else(|| Failure::bad("nothing waits for approval"))?.id
        }
    };
    let path = format!("approvals/{}/{verb}", segment(&id)?);
    let answer = client.post(&path, &json!({ "reason": decision.reason })).await?;
    match (verb, answer.get("settled").and_then(Value::as_bool)) {
        ("approve", Some(false)) => println!("approved {id}; it needs another person"),
        ("approve", _) => println!("approved {id}"),
        _ => println!("denied {id}"),
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

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.send(self.http.get(format!("{}/{path}", self.base))).await
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

fn requests(mut answer: Value) -> Result<Vec<Request>, Failure> {
    parse(answer.get_mut("approvals").map(Value::take).unwrap_or_default())
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
