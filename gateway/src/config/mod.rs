//! The configuration: what `sallyport.toml` says, checked and with every default filled in (HTTP.md names the defaults).
//!
//! [`load`] reads a file; [`Config`] is what the rest of the gateway sees. Unknown keys are errors, and every error names
//! the file, the line and the fix. Secrets are never literals in the file: `env:NAME` or `file:PATH`.

mod approvals;
mod check;
mod check_identity;
mod dialect;
mod error;
mod file;
mod file_identity;
mod identity;
mod limits;
mod listen;
mod notify;
mod redacted;
mod redacted_identity;
mod secret;
mod table;
mod telemetry;
mod units;
mod upstream;

pub use approvals::ApprovalsConfig;
pub use dialect::Dialect;
pub use error::{ConfigError, ConfigErrors};
pub use file::{load, parse};
pub use identity::{
    CertificateGroups, CertificateTrust, ClaimRule, ClientCredentials, Credential, CredentialSource, IdentitySettings,
    IntrospectionSettings, Issuer, JwksSource, KindOfCallers, Login, RoleGroups,
};
pub use limits::{RateLimits, Sampling};
pub(crate) use listen::CORES_MAX;
pub use listen::{Limits, Listen, ListenTls};
pub(crate) use notify::MODEL_PATTERN_BYTES_MAX;
pub use notify::{AlertsConfig, Channel, NotifyTarget, SlackApp, WatchConfig, WebhookKey};
pub use redacted::redacted;
pub use secret::{ClientSecret, Secret};
pub use telemetry::{AccessLog, TelemetryConfig};
pub use units::{parse_duration, parse_size};
pub use upstream::{Ejection, Endpoint, Health, Match, Retries, Timeouts, Upstream, UpstreamLimits, UpstreamTls};

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
    /// Where calls go.
    pub upstreams: Vec<Upstream>,
    /// One `.policy` file, or a directory of which every `*.policy` below is one policy set.
    pub policy: PathBuf,
    /// What policies may know of the place where the gateway runs.
    pub facts: PolicyFacts,
    /// How rate limits of policies are counted.
    pub limits: RateLimits,
    /// How often native code is checked.
    pub sampling: Sampling,
    /// The log.
    pub evidence: EvidenceConfig,
    /// Calls that wait for people.
    pub approvals: ApprovalsConfig,
    /// When people are alerted, and how.
    pub alerts: AlertsConfig,
    /// What is told of calls besides the evidence.
    pub telemetry: TelemetryConfig,
    /// Every file that it was read from: a change in one of them is a reason to read all again.
    pub files: Vec<PathBuf>,
}

/// What policies may know of the place where the gateway runs.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyFacts {
    /// In which `time.hour`, `time.weekday` and `time.date` are told; UTC by default.
    pub zone: TimeZone,
    /// `env.<name>`
    pub env: BTreeMap<String, String>,
    /// How long the placeholders of `as token` can be put back after their caller last used one.
    pub token_lifetime: Duration,
}

impl Default for PolicyFacts {
    fn default() -> Self {
        Self { zone: TimeZone::UTC, env: BTreeMap::new(), token_lifetime: Duration::from_secs(60 * 60) }
    }
}

impl Config {
    /// Sets what is read at start-up only to what `old` says, and names what differed.
    pub(crate) fn keep_what_needs_a_restart(&mut self, old: &Self) -> Vec<&'static str> {
        let mut differ = Vec::new();
        fn keep<T: Clone + PartialEq>(new: &mut T, old: &T, name: &'static str, differ: &mut Vec<&'static str>) {
            if new != old {
                differ.push(name);
                new.clone_from(old);
            }
        }
        keep(&mut self.data, &old.data, "data", &mut differ);
        keep(&mut self.listen.address, &old.listen.address, "listen.address", &mut differ);
        keep(&mut self.listen.cores, &old.listen.cores, "listen.cores", &mut differ);
        keep(&mut self.admin, &old.admin, "admin", &mut differ);
        keep(&mut self.issuers, &old.issuers, "issuer", &mut differ);
        keep(&mut self.identity, &old.identity, "identity", &mut differ);
        keep(&mut self.policy, &old.policy, "policy.path", &mut differ);
        keep(&mut self.facts, &old.facts, "policy.zone and policy.env", &mut differ);
        keep(&mut self.limits, &old.limits, "limits", &mut differ);
        keep(&mut self.sampling, &old.sampling, "policy.check_one_in and policy.on_divergence", &mut differ);
        keep(&mut self.evidence, &old.evidence, "evidence", &mut differ);
        keep(&mut self.telemetry, &old.telemetry, "telemetry", &mut differ);
        differ
    }
}

/// The port for operators: health, metrics, admin API, console.
#[derive(Clone, Debug, PartialEq)]
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

/// The log.
#[derive(Clone, Debug, PartialEq)]
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
    /// How long records are kept that no policy says anything about; `None` is for ever.
    pub retain: Option<Duration>,
    /// The age recipients that originals are sealed to.
    pub seal_to: Vec<String>,
    /// Where everybody may read the public part of the log.
    pub public_log: Option<SocketAddr>,
    /// Whether what was said (masked) is indexed.
    pub index_text: bool,
    /// Whether masked values can be looked for by who knows them.
    pub index_values: bool,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        Self {
            origin: check::DEFAULT_ORIGIN.to_owned(),
            durability: Durability::default(),
            on_failure: OnFailure::default(),
            key: None,
            keystore: None,
            retain: None,
            seal_to: Vec::new(),
            public_log: None,
            index_text: false,
            index_values: false,
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

#[cfg(test)]
mod documentation;
#[cfg(test)]
mod tests;
