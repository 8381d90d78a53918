//! Who calls: a token becomes an [`Identity`], or an [`IdentityError`] that says which check failed.
//!
//! [`Verifier`] checks signature and claims against the keys that the control plane fetched; [`TokenCache`] is the
//! per-core memory of tokens that already passed.

mod cache;
mod claims;
mod keys;
mod verifier;

pub use cache::{TOKEN_CACHE_ENTRIES_MAX, TokenCache};
pub use keys::KeySet;
pub use verifier::{LEEWAY_S, TOKEN_BYTES_MAX, Verifier};

/// A verified caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `sub`
    pub subject: String,
    /// `iss`
    pub issuer: String,
    /// The configured tenant claim, else `default`.
    pub tenant: String,
    /// `client_id`, else `azp`: the application that the token was given to.
    pub client_id: Option<String>,
    /// A person or a program.
    pub kind: CallerKind,
    /// The configured groups claim, sorted and without duplicates.
    pub groups: Vec<String>,
    /// `scope` or `scp`, sorted and without duplicates.
    pub scopes: Vec<String>,
    /// `exp`, seconds since 1970.
    pub expires_at_unix_s: u64,
    /// `jti`
    pub token_id: Option<String>,
}

impl Identity {
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

/// Why a token was not accepted. The text is meant for the caller: it names the check, never a key or another's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum IdentityError {
    /// No token was presented.
    #[error("no token was presented; send it as `Authorization: Bearer …`")]
    Missing,
    /// Not three base64url parts of JSON, JSON and signature, too long, or a claim of a wrong type.
    #[error("the token is not a well-formed JWT")]
    Malformed,
    /// Signed with something else than RS256, ES256 or EdDSA, or with another algorithm than its key is for.
    #[error("the token's signature algorithm is not accepted (RS256, ES256 and EdDSA are)")]
    AlgorithmNotAllowed,
    /// The issuer has published no key with the token's `kid`, or its keys are not known yet.
    #[error("the token was signed with a key that its issuer has not published")]
    UnknownKey,
    /// The signature does not fit.
    #[error("the token's signature is wrong")]
    BadSignature,
    /// `exp` is past.
    #[error("the token has expired")]
    Expired,
    /// `nbf` is yet to come.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// `iss` is none of the configured issuers.
    #[error("the token's issuer is not accepted here")]
    WrongIssuer,
    /// `aud` names none of the configured audiences.
    #[error("the token was issued for another audience")]
    WrongAudience,
    /// A claim that must be there is not.
    #[error("the token lacks the claim `{0}`")]
    MissingClaim(&'static str),
}

#[cfg(test)]
mod tests;
