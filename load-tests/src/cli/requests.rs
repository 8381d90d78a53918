//! What `run` and `capacity` have in common: where requests go and what they are.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args as ClapArgs;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use load_tests::duration;
use load_tests::load::{Arrivals, Mix, Plan, Recorded, Target};

/// Where requests go and what they are.
#[derive(Clone, Debug, ClapArgs)]
pub(crate) struct Requests {
    /// Bearer token
    #[arg(long, env = "SALLYPORT_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Bearer tokens, one per line, that requests carry in turn
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    tokens: Option<PathBuf>,
    /// More headers, as "name: value"
    #[arg(long = "header", value_name = "HEADER", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Model named in the default body
    #[arg(long, default_value = "mock-model", conflicts_with = "body")]
    model: String,
    /// User message of the default body
    #[arg(long, default_value = "What is the number on file?", conflicts_with = "body")]
    prompt: String,
    /// Send this file as the body instead
    #[arg(long, value_name = "FILE")]
    body: Option<PathBuf>,
    /// Ask for streams; each must come to its end. With --body, the file must ask for it
    #[arg(long)]
    stream: bool,
    /// Several kinds of requests: JSON Lines with weight, method, path, headers, body
    #[arg(long, value_name = "FILE", conflicts_with_all = ["body", "stream"])]
    mix: Option<PathBuf>,
    /// Longest time for one request
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration::parse)]
    timeout: Duration,
    /// Requests in flight at which due requests are dropped, and counted
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    max_in_flight: usize,
    /// Statuses that count as good beside 2xx
    #[arg(long, value_name = "STATUSES", value_delimiter = ',')]
    accept: Vec<u16>,
    /// Measuring threads [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
    /// Seed of everything that is left to chance
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub(crate) seed: u64,
}

impl Requests {
    /// A plan of these requests.
    pub(crate) fn plan(
        &self,
        target: Target,
        arrivals: Arrivals,
        time: Duration,
        recorded: Option<&Recorded>,
    ) -> Result<Plan, String> {
        let body = match &self.body {
            Some(path) => Bytes::from(std::fs::read(path).map_err(|e| format!("cannot read {}: {e}", path.display()))?),
            None => default_body(&self.model, &self.prompt, self.stream),
        };
        let mix = match (&self.mix, recorded) {
            (_, Some(recorded)) => Some(recorded.mix()),
            (Some(path), None) => {
                let mix = Mix::parse(&read(path)?, target.path());
                Some(mix.map_err(|error| format!("{}: {error}", path.display()))?)
            }
            (None, None) => None,
        };
        let mut plan = Plan::new(target, arrivals, time, body);
        plan.mix = mix.map(Arc::new);
        if let Some(token) = &self.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {token}"))
                .map_err(|_| "the token has characters that no header may have")?;
            value.set_sensitive(true);
            plan.headers.push((AUTHORIZATION, value));
        }
        if let Some(path) = &self.tokens {
            plan.tokens = tokens(path)?;
        }
        // A header given by hand replaces the default.
        if self.headers.iter().any(|(name, _)| name == CONTENT_TYPE) {
            plan.headers.retain(|(name, _)| name != CONTENT_TYPE);
        }
        plan.headers.extend(self.headers.iter().cloned());
        (plan.stream, plan.timeout, plan.in_flight_max) = (self.stream, self.timeout, self.max_in_flight);
        (plan.accept, plan.seed) = (self.accept.clone(), self.seed);
        plan.threads = self.threads.unwrap_or(plan.threads);
        Ok(plan)
    }
}

fn tokens(path: &Path) -> Result<Arc<[String]>, String> {
    let text = read(path)?;
    let tokens: Arc<[String]> =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect();
    if tokens.is_empty() {
        return Err(format!("{} has no token", path.display()));
    }
    for (number, token) in tokens.iter().enumerate() {
        HeaderValue::from_str(token)
            .map_err(|_| format!("{}: token {} has characters that no header may have", path.display(), number + 1))?;
    }
    Ok(tokens)
}

pub(crate) fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|e| format!("cannot read {}: {e}", path.display()))
}

fn default_body(model: &str, prompt: &str, stream: bool) -> Bytes {
    let mut body = serde_json::json!({"model": model, "messages": [{"role": "user", "content": prompt}]});
    if stream {
        body["stream"] = true.into();
        body["stream_options"] = serde_json::json!({"include_usage": true});
    }
    Bytes::from(body.to_string())
}

pub(crate) fn parse_header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("write it like \"name: value\"")?;
    let name = name.trim().parse().map_err(|_| format!("`{}` is not a header name", name.trim()))?;
    let value = value.trim().parse().map_err(|_| "the value has characters that no header may have")?;
    Ok((name, value))
}
