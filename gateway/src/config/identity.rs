//! Who may call, and who may operate: issuers, credentials that are not tokens, the console's login.

use super::{ClientSecret, Secret};
use crate::identity::{Algorithm, PurposeOfGroups};
use std::path::PathBuf;
use std::time::Duration;

/// One issuer of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Issuer {
    /// The exact `iss` of its tokens.
    pub url: String,
    /// Accepted `aud` values; a token needs one of them.
    pub audience: Vec<String>,
    /// What its tokens may be signed with.
    pub algorithms: Vec<Algorithm>,
    /// Accepted `typ` values; none is `JWT`, `at+jwt`, or no `typ` at all.
    pub types: Vec<String>,
    /// Accepted `client_id` (or `azp`) values; none is any.
    pub clients: Vec<String>,
    /// What further claims must say.
    pub require: Vec<ClaimRule>,
    /// The claim that names the caller.
    pub subject_claim: String,
    /// The claims that name the caller's groups: names, dotted paths or JSON pointers.
    pub groups_claims: Vec<String>,
    /// Put before each group, so that two issuers' groups cannot be taken for each other.
    pub groups_prefix: String,
    /// The claim that names the caller's tenant; without it everyone is in the tenant `default`.
    pub tenant_claim: Option<String>,
    /// Whether its callers are people or programs.
    pub kind: KindOfCallers,
    /// Tokens of which all of this holds belong to programs, if `kind` is [`KindOfCallers::Auto`].
    pub service_when: Vec<ClaimRule>,
    /// The claim that states a purpose.
    pub purpose_claim: Option<String>,
    /// The claim that states a lawful basis.
    pub basis_claim: Option<String>,
    /// The claim that names the person whom calls are about.
    pub data_subject_claim: Option<String>,
    /// Where its keys are.
    pub jwks: JwksSource,
    /// How long its keys count while it cannot be asked.
    pub keys_max_age: Duration,
    /// How its opaque tokens are checked, if it has such.
    pub introspection: Option<IntrospectionSettings>,
}

impl Issuer {
    /// An issuer with nothing but defaults.
    #[must_use]
    pub fn new(url: &str, audience: Vec<String>) -> Self {
        Self {
            url: url.to_owned(),
            audience,
            algorithms: Algorithm::DEFAULT.to_vec(),
            types: Vec::new(),
            clients: Vec::new(),
            require: Vec::new(),
            subject_claim: "sub".to_owned(),
            groups_claims: vec!["groups".to_owned()],
            groups_prefix: String::new(),
            tenant_claim: None,
            kind: KindOfCallers::default(),
            service_when: Vec::new(),
            purpose_claim: None,
            basis_claim: None,
            data_subject_claim: None,
            jwks: JwksSource::Discovery,
            keys_max_age: Duration::from_hours(24),
            introspection: None,
        }
    }
}

/// Whether an issuer's callers are people or programs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KindOfCallers {
    /// Its tokens tell.
    #[default]
    Auto,
    /// People only.
    Users,
    /// Programs only.
    Services,
}

/// What a claim must say: one of these values, which may have one `*` at either end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRule {
    /// Name, dotted path or JSON pointer.
    pub claim: String,
    /// Accepted values; of a list, one item must be among them.
    pub values: Vec<String>,
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

/// How to ask an issuer about an opaque token (RFC 7662).
#[derive(Clone, Debug, PartialEq)]
pub struct IntrospectionSettings {
    /// Where to ask; without it discovery says.
    pub url: Option<String>,
    /// Who asks.
    pub client_id: String,
    /// The asking client's secret.
    pub client_secret: ClientSecret,
    /// How long an answer counts.
    pub cache: Duration,
}

/// What concerns every caller.
#[derive(Clone, Debug, PartialEq)]
pub struct IdentitySettings {
    /// By how much the clocks of issuers and the gateway may differ.
    pub leeway: Duration,
    /// Failed identifications that one address may have in a minute; above: 429. 0 is no limit.
    pub failures_per_minute: u32,
    /// Threads that check signatures.
    pub verify_threads: usize,
    /// Tokens that may wait for them; above: 503.
    pub verify_queue: usize,
    /// The file of API keys; `None` is `api-keys.json` in the data directory.
    pub api_keys: Option<PathBuf>,
    /// The revocation list.
    pub revoked: Option<PathBuf>,
    /// Purposes that go with groups; the first that fits counts.
    pub purposes: Vec<PurposeOfGroups>,
    /// Whom client certificates stand for.
    pub certificates: CertificateTrust,
}

impl Default for IdentitySettings {
    fn default() -> Self {
        Self {
            leeway: Duration::from_secs(30),
            failures_per_minute: 60,
            verify_threads: 1,
            verify_queue: 1024,
            api_keys: None,
            revoked: None,
            purposes: Vec::new(),
            certificates: CertificateTrust::default(),
        }
    }
}

/// Whom client certificates stand for; by default nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CertificateTrust {
    /// Trust domains whose SPIFFE IDs are callers.
    pub spiffe_domains: Vec<String>,
    /// Whether the subject's common name is a caller where there is no SPIFFE ID.
    pub common_names: bool,
    /// The tenant of all of them.
    pub tenant: String,
    /// Which groups they are in; every entry that fits counts.
    pub groups: Vec<CertificateGroups>,
}

/// Groups of callers with a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateGroups {
    /// A SPIFFE ID or common name; a `*` at its end stands for anything.
    pub pattern: String,
    /// The groups.
    pub groups: Vec<String>,
}

impl CertificateGroups {
    pub(crate) fn fits(&self, subject: &str) -> bool {
        match self.pattern.strip_suffix('*') {
            Some(start) => subject.starts_with(start),
            None => self.pattern == subject,
        }
    }
}

/// How people sign in to the console.
#[derive(Clone, Debug, PartialEq)]
pub struct Login {
    /// The issuer of their ID tokens; `audience` is the client's id.
    pub issuer: Issuer,
    /// The console's client id at the issuer.
    pub client_id: String,
    /// Its secret; without one it is a public client, which PKCE protects.
    pub client_secret: Option<ClientSecret>,
    /// Scopes to ask for; always with `openid`.
    pub scopes: Vec<String>,
}

/// Which groups have which role in the admin API. `*` is everybody who is verified.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RoleGroups {
    /// May look.
    pub viewer: Vec<String>,
    /// May look, and decide on approvals that ask a group of theirs.
    pub approver: Vec<String>,
    /// May look, and read evidence, metrics and the configuration.
    pub auditor: Vec<String>,
    /// May do everything but decide on approvals that ask other groups.
    pub admin: Vec<String>,
}

/// What is presented to model servers in place of the caller's credential.
#[derive(Clone, Debug, PartialEq)]
pub struct Credential {
    /// Field name in lower case.
    pub header: String,
    /// Put before the secret, such as `Bearer `.
    pub prefix: &'static str,
    /// Where the secret comes from.
    pub source: CredentialSource,
}

/// Where an upstream's credential comes from.
#[derive(Clone, Debug, PartialEq)]
pub enum CredentialSource {
    /// The environment: it does not change while the process runs.
    Fixed(Secret),
    /// A file, which is read again when it changes; with what it held at the start.
    File(PathBuf, Secret),
    /// An access token by client credentials (RFC 6749 §4.4), renewed before it expires.
    Oauth2(Box<ClientCredentials>),
}

/// A client of an authorization server.
#[derive(Clone, Debug, PartialEq)]
pub struct ClientCredentials {
    /// Its token endpoint.
    pub token_url: String,
    /// The client.
    pub client_id: String,
    /// Its secret, sent by HTTP Basic (RFC 6749 §2.3.1).
    pub client_secret: ClientSecret,
    /// Scopes to ask for.
    pub scopes: Vec<String>,
    /// The `audience` parameter that some servers want.
    pub audience: Option<String>,
    /// The resource (RFC 8707).
    pub resource: Option<String>,
}
