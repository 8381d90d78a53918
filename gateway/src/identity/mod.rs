//! Who calls: a credential becomes an [`Identity`], or an [`IdentityError`] that says which check failed.
//!
//! * [`presented`] finds the credential of a call; [`TokenCache`] is the per-core memory of those that passed.
//! * [`Identification`] takes the ones that are not remembered where they belong: signed tokens to the [`VerifyPool`], opaque
//!   ones to their issuer (RFC 7662), API keys to [`ApiKeys`].
//! * [`Verifier`] does the checks, against what the control plane last read. [`caller_from_certificate`] does them for callers
//!   that present a certificate.
//! * [`Failures`] limits who fails too often.
//!
//! What is not here: SAML, token exchange (RFC 8693) and cloud signatures. Each would be one more branch of
//! [`Identification::identify`] that ends in an [`Identity`].

mod algorithm;
mod api_keys;
mod cache;
mod certificate;
mod certificate_claims;
mod claims;
mod failures;
mod identify;
mod keys;
mod known;
mod policy_claims;
mod pool;
mod presented;
mod purpose;
mod revocation;
mod strict_json;
mod token;
mod verifier;

pub use algorithm::Algorithm;
pub use api_keys::{ApiKey, ApiKeyFile, ApiKeys, KEY_ISSUER, KEY_PREFIX, NewKey, issue};
pub use cache::{TOKEN_CACHE_ENTRIES_MAX, TokenCache};
pub use certificate::{CertificateError, caller_from_certificate};
pub use failures::{Failures, RECORDS_PER_S, Summary};
pub(crate) use identify::OpaqueToken;
pub use identify::{IDENTIFY_WITHIN, Identification};
pub use keys::KeySet;
pub use known::KnownCaller;
pub use policy_claims::PolicyClaims;
pub use pool::VerifyPool;
pub use presented::{CREDENTIAL_HEADERS, presented};
pub use purpose::{
    BASIS_HEADER, DATA_SUBJECT_HEADER, Declared, PURPOSE_HEADER, PurposeOfGroups, STATED_BYTES_MAX, Stated, StatedBy,
};
pub use revocation::{REVOKED_MAX, Revocations};
pub use token::TOKEN_BYTES_MAX;
pub use verifier::{REFRESH_AT_MOST_EVERY_S, Verifier};

/// A verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `sub`, or another claim if configured.
    pub subject: String,
    /// `iss`
    pub issuer: String,
    /// The configured tenant claim, else `default`.
    pub tenant: String,
    /// `client_id`, else `azp`: the application that the token was given to.
    pub client_id: Option<String>,
    /// A person or a program.
    pub kind: CallerKind,
    /// The configured groups claims, sorted and without duplicates.
    pub groups: Vec<String>,
    /// `scope` or `scp`, sorted and without duplicates.
    pub scopes: Vec<String>,
    /// `exp`, seconds since 1970.
    pub expires_at_unix_s: u64,
    /// `iat`, seconds since 1970.
    pub issued_at_unix_s: Option<u64>,
    /// `jti`, the id of an API key, or the serial number of a certificate.
    pub token_id: Option<String>,
    /// What claims and groups say of purpose, lawful basis and data subject; headers of a call add to it.
    pub declared: Declared,
    /// What the token says, for rules that read claims.
    pub claims: PolicyClaims,
}

impl Identity {
    /// A person without groups whose identity never expires; to be filled in.
    #[must_use]
    pub fn new(subject: &str, issuer: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            issuer: issuer.to_owned(),
            tenant: claims::DEFAULT_TENANT.to_owned(),
            client_id: None,
            kind: CallerKind::User,
            groups: Vec::new(),
            scopes: Vec::new(),
            expires_at_unix_s: u64::MAX,
            issued_at_unix_s: None,
            token_id: None,
            declared: Declared::default(),
            claims: PolicyClaims::default(),
        }
    }

    /// Whether the caller is in the group.
    #[must_use]
    pub fn in_group(&self, group: &str) -> bool {
        self.groups.iter().any(|own| own == group)
    }
}

/// A person or a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// A person signed in.
    User,
    /// A program presented its own credentials (RFC 6749 §4.4): its subject is the client itself.
    Service,
}

impl CallerKind {
    /// The word that policies use: `user` or `service`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Service => "service",
        }
    }
}

/// Why a credential was not accepted. The text is meant for the caller: it names the check, never a key, what would have been
/// accepted, or another's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum IdentityError {
    /// No credential was presented.
    #[error("no token was presented; send it as `Authorization: Bearer …`")]
    Missing,
    /// More than one was.
    #[error("more than one credential was presented; send one, in one header")]
    TwoCredentials,
    /// Not three base64url parts of JSON, JSON and signature, a claim of a wrong type, a member named twice, or a header that
    /// brings its own key.
    #[error("the token is not well-formed")]
    Malformed,
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is too long")]
    TooLong,
    /// Signed with an algorithm that its issuer may not use, or that its key is not for.
    #[error("the token's signature algorithm is not accepted")]
    AlgorithmNotAllowed,
    /// The issuer has published no key with the token's `kid`, or its keys are not known (any more).
    #[error("the token was signed with a key that its issuer has not published")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` is yet to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is none of the configured issuers.
    #[error("the token's issuer is not accepted here")]
    WrongIssuer,
    /// `aud` names none of the configured audiences.
    #[error("the token was issued for another audience")]
    WrongAudience,
    /// `client_id` or `azp` is none of the configured applications.
    #[error("the token was issued to an application that is not accepted here")]
    WrongClient,
    /// `typ` is none of those accepted.
    #[error("the token is of a type that is not accepted here")]
    WrongType,
    /// A claim that must be there is not.
    #[error("the token lacks the claim `{0}`")]
    MissingClaim(&'static str),
    /// A configured requirement on claims is not met.
    #[error("the token lacks a claim that is required here")]
    RequiredClaim,
    /// The token says that its groups are to be fetched elsewhere.
    #[error("the token does not carry its groups; have the issuer put fewer of them, or roles, into the token")]
    GroupsElsewhere,
    /// On the revocation list.
    #[error("the credential was revoked")]
    Revoked,
    /// Never issued, or revoked.
    #[error("the API key is not known here")]
    UnknownApiKey,
    /// The issuer says that the token is not active.
    #[error("the token is not active")]
    NotActive,
    /// A client certificate names no caller, and no token was sent.
    #[error("no token was presented, and {0}")]
    Certificate(CertificateError),
    /// Too many credentials wait to be checked.
    #[error("too many credentials are being checked at once; try again")]
    Busy,
    /// The issuer of an opaque token cannot be asked.
    #[error("the issuer of the token cannot be asked now; try again")]
    IssuerUnavailable,
}

impl IdentityError {
    /// Whether the gateway, not the caller, is the reason: then trying again may help, and it is no failure of the caller's.
    #[must_use]
    pub fn is_ours(self) -> bool {
        matches!(self, Self::Busy | Self::IssuerUnavailable)
    }

    /// A short code, for programs and records.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Missing => "missing_token",
            Self::Certificate(_) => "invalid_certificate",
            Self::TwoCredentials => "two_credentials",
            Self::Busy => "identity_busy",
            Self::IssuerUnavailable => "issuer_unavailable",
            _ => "invalid_token",
        }
    }

    /// The `WWW-Authenticate` of the answer (RFC 6750 §3): no error code when no token was sent.
    #[must_use]
    pub fn challenge(self) -> String {
        match self {
            Self::Missing | Self::Certificate(_) => "Bearer realm=\"sallyport\"".to_owned(),
            Self::TwoCredentials => {
                format!("Bearer realm=\"sallyport\", error=\"invalid_request\", error_description=\"{self}\"")
            }
            _ => format!("Bearer realm=\"sallyport\", error=\"invalid_token\", error_description=\"{self}\""),
        }
    }
}

#[cfg(test)]
mod attacks;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tests;
