//! The configuration: what `sallyport.toml` says, checked and with every default filled in (HTTP.md names the defaults).
//!
//! [`load`] reads a file; [`Config`] is what the rest of the gateway sees. Unknown keys are errors, and every error names
//! the file, the line and the fix. Secrets are never literals in the file: `env:NAME` or `file:PATH`.

mod check;
mod error;
mod file;
mod listen;
mod redacted;
mod secret;
mod table;
mod units;
mod upstream;

pub use error::{ConfigError, ConfigErrors};
pub use file::{load, parse};
pub use listen::{Limits, Listen, ListenTls};
pub use redacted::redacted;
pub use secret::Secret;
pub use units::{parse_duration, parse_size};
pub use upstream::{Ejection, Endpoint, Health, Match, Retries, Timeouts, Upstream, UpstreamLimits, UpstreamTls};

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
    /// Where calls go.
    pub upstreams: Vec<Upstream>,
    /// One `.policy` file, or a directory of which every `*.policy` below is one policy set.
    pub policy: PathBuf,
    /// The log.
    pub evidence: EvidenceConfig,
    /// Calls that wait for people.
    pub approvals: ApprovalsConfig,
    /// Every file that it was read from: a change in one of them is a reason to read all again.
    pub files: Vec<PathBuf>,
}

impl Config {
    /// Sets what is read at start-up only to what `old` says, and names what differed.
    pub(crate) fn keep_what_needs_a_restart(&mut self, old: &Self) -> Vec<&'static str> {
        let mut differ = Vec::new();
        // Their Debug text shows all but secrets, and none of these holds one.
        fn keep<T: Clone + std::fmt::Debug>(new: &mut T, old: &T, name: &'static str, differ: &mut Vec<&'static str>) {
            if format!("{new:?}") != format!("{old:?}") {
                differ.push(name);
                new.clone_from(old);
            }
        }
        keep(&mut self.data, &old.data, "data", &mut differ);
        keep(&mut self.listen.address, &old.listen.address, "listen.address", &mut differ);
        keep(&mut self.listen.cores, &old.listen.cores, "listen.cores", &mut differ);
        keep(&mut self.admin, &old.admin, "admin", &mut differ);
        keep(&mut self.issuers, &old.issuers, "issuer", &mut differ);
        keep(&mut self.policy, &old.policy, "policy.path", &mut differ);
        keep(&mut self.evidence, &old.evidence, "evidence", &mut differ);
        differ
    }
}

/// The port for operators: health, metrics, admin API.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where to listen.
    pub address: SocketAddr,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 9900)) }
    }
}

/// One issuer of tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// The exact `iss` of its tokens.
    pub url: String,
    /// Accepted `aud` values; a token needs one of them.
    pub audience: Vec<String>,
    /// The claim that names the caller's groups.
    pub groups_claim: String,
    /// The claim that names the caller's tenant; without it everyone is in the tenant `default`.
    pub tenant_claim: Option<String>,
    /// Where its keys are.
    pub jwks: JwksSource,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JwksSource {
    /// OpenID Connect discovery: `<url>/.well-known/openid-configuration` names the key set.
    Discovery,
    /// The key set itself, over HTTP.
    Url(String),
    /// A key set on disk, read again with every refresh.
    File(PathBuf),
    /// Handed over by the embedded development issuer; never fetched.
    Embedded,
}

/// A header that the gateway puts into calls to a model server.
#[derive(Clone, Debug)]
pub struct Credential {
    /// Field name in lower case.
    pub header: String,
    /// The whole field value.
    pub value: Secret,
}

/// The log.
#[derive(Clone, Debug)]
pub struct EvidenceConfig {
    /// The log's name.
    pub origin: String,
    /// What an acknowledgement promises.
    pub durability: Durability,
    /// The file with the log's signing key; `None` is one made in the data directory.
    pub key: Option<PathBuf>,
    /// The file with the key of the keystore; `None` is one made in the data directory.
    pub keystore: Option<PathBuf>,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        Self { origin: check::DEFAULT_ORIGIN.to_owned(), durability: Durability::default(), key: None, keystore: None }
    }
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
mod documentation;
#[cfg(test)]
mod tests;
