//! The configuration: what `sallyport.toml` says, checked and with every default filled in (HTTP.md names the defaults).
//!
//! [`load`] reads a file; [`Config`] is what the rest of the gateway sees. Unknown keys are errors, and every error names
//! the file, the line and the fix. Secrets are never literals in the file: `env:NAME` or `file:PATH`.

mod check;
mod check_identity;
mod dialect;
mod error;
mod file;
mod file_identity;
mod identity;
mod redacted;
mod redacted_identity;
mod secret;
mod units;

pub use dialect::Dialect;
pub use error::{ConfigError, ConfigErrors};
pub use file::{load, parse};
pub use identity::{
    CertificateGroups, CertificateTrust, ClaimRule, ClientCredentials, Credential, CredentialSource, IdentitySettings,
    IntrospectionSettings, Issuer, JwksSource, KindOfCallers, Login, RoleGroups,
};
pub use redacted::redacted;
pub use secret::Secret;
pub use units::{parse_duration, parse_size};

use jiff::tz::TimeZone;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where evidence, keys and pending work lie.
    pub data: PathBuf,
    /// The port for callers.
    pub listen: Listen,
    /// The port for operators.
    pub admin: Admin,
    /// Whose tokens are accepted.
    pub issuers: Vec<Issuer>,
    /// What concerns every caller.
    pub identity: IdentitySettings,
    /// Where calls go: the one with the longest `match_path` that fits takes the call.
    pub upstreams: Vec<Upstream>,
    /// One `.policy` file, or a directory of which every `*.policy` below is one policy set.
    pub policy: PathBuf,
    /// What policies may know of the place where the gateway runs.
    pub facts: PolicyFacts,
    /// The log.
    pub evidence: EvidenceConfig,
    /// Calls that wait for people.
    pub approvals: ApprovalsConfig,
}

/// What policies may know of the place where the gateway runs.
#[derive(Clone, Debug)]
pub struct PolicyFacts {
    /// In which `time.hour`, `time.weekday` and `time.date` are told; UTC by default.
    pub zone: TimeZone,
    /// `env.<name>`
    pub env: BTreeMap<String, String>,
}

impl Default for PolicyFacts {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, env: BTreeMap::new() }
    }
}

/// The port for callers.
#[derive(Clone, Debug)]
pub struct Listen {
    /// Where to listen.
    pub address: SocketAddr,
    /// How many cores serve; `None` is every core that the process may use.
    pub cores: Option<usize>,
    /// Bounds on what one call may take.
    pub limits: Limits,
}

/// Bounds on what one call or connection may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request or response head; above: 431 to the caller.
    pub head_bytes: usize,
    /// Header fields in a head; above: 431.
    pub head_fields: usize,
    /// Time for a request head to arrive in full; above: 408.
    pub head_timeout: Duration,
    /// Bytes of a request body that a policy looks into; above: 413. A body nobody looks into is streamed without a limit.
    pub body_inspected_bytes: usize,
    /// Time between two reads of a request body; above: 408.
    pub body_timeout: Duration,
    /// How long a caller's connection may rest between calls.
    pub idle_keepalive: Duration,
    /// How long a connection to a model server may rest in the pool.
    pub upstream_idle: Duration,
    /// Open caller connections per core; more are closed at once.
    pub connections_per_core: usize,
    /// To open a connection to a model server.
    pub connect: Duration,
    /// From the last byte of a request to the head of the model server's answer.
    pub first_byte: Duration,
    /// Between two reads or writes of a body that is passing.
    pub stream_idle: Duration,
    /// How long running calls may take to finish once draining began.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 32 * 1024,
            head_fields: 100,
            head_timeout: Duration::from_secs(10),
            body_inspected_bytes: 8 * 1024 * 1024,
            body_timeout: Duration::from_secs(30),
            idle_keepalive: Duration::from_secs(60),
            upstream_idle: Duration::from_secs(30),
            connections_per_core: 10_000,
            connect: Duration::from_secs(2),
            first_byte: Duration::from_mins(10),
            stream_idle: Duration::from_mins(2),
            drain: Duration::from_secs(30),
        }
    }
}

/// The port for operators: health, metrics, admin API, console.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where to listen.
    pub address: SocketAddr,
    /// Its address as browsers see it, without a slash at the end.
    pub url: Option<String>,
    /// How long a login to the console lasts.
    pub session: Duration,
    /// How people sign in to the console; `None` is by token only.
    pub login: Option<Login>,
    /// Whether anybody may sign in as anybody: only in the quickstart, which serves nothing but the loopback.
    pub development_login: bool,
    /// Who may do what.
    pub roles: RoleGroups,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9900)),
            url: None,
            session: Duration::from_hours(8),
            login: None,
            development_login: false,
            roles: RoleGroups::default(),
        }
    }
}

/// A group of model servers that serve the same models.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name, as policies see it in `upstream`.
    pub name: String,
    /// Its servers.
    pub endpoints: Vec<Endpoint>,
    /// Calls whose path begins so are sent here.
    pub match_path: String,
    /// Which APIs it speaks.
    pub dialect: Dialect,
    /// Whether the count of tokens is asked for in streams whose caller did not; it is taken out again.
    pub count_tokens: bool,
    /// Exact paths that may pass although no dialect knows them: unread, unmasked, recorded as unscannable.
    pub opaque: Vec<String>,
    /// What is presented to the servers in place of the caller's token.
    pub credential: Option<Credential>,
}

/// One model server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Name or address, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// `host:port` as it stands in `Host`; the port is left out where it is the scheme's own.
    pub authority: String,
}

/// The log.
#[derive(Clone, Debug)]
pub struct EvidenceConfig {
    /// The log's name.
    pub origin: String,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// What happens to calls while evidence cannot be written.
    pub on_failure: OnFailure,
    /// The file with the log's signing key; `None` is one made in the data directory.
    pub key: Option<PathBuf>,
    /// The file with the key of the keystore; `None` is one made in the data directory.
    pub keystore: Option<PathBuf>,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        Self {
            origin: check::DEFAULT_ORIGIN.to_owned(),
            durability: Durability::default(),
            on_failure: OnFailure::default(),
            key: None,
            keystore: None,
        }
    }
}

/// What happens to calls while evidence cannot be written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// They are refused.
    #[default]
    Refuse,
    /// They pass unrecorded, and are counted.
    Continue,
}

/// What an acknowledged record survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// `kill -9`, a panic and a power cut.
    #[default]
    Strict,
    /// `kill -9` and a panic.
    Crash,
    /// Nothing is promised; losses are counted in the log.
    Observe,
}

/// Calls that wait for people.
#[derive(Clone, Debug)]
pub struct ApprovalsConfig {
    /// How long a call is kept open while it waits; after that it gets a 409 and may be sent again.
    pub hold: Duration,
}

impl Default for ApprovalsConfig {
    fn default() -> Self {
        Self { hold: Duration::from_secs(200) }
    }
}

#[cfg(test)]
mod tests;
