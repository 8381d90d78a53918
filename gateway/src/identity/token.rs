//! The three parts of a signed token in compact form (RFC 7515 §3.1) and its header.

use super::strict_json::{self, Object};
use super::{Algorithm, IdentityError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

/// Bytes of the longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// Members of a header that bring or point to a key (RFC 7515 §4.1). Keys come from the issuer's published set and from
/// nowhere else, so a token that offers one is refused instead of half understood.
const KEY_MEMBERS: [&str; 4] = ["jwk", "jku", "x5u", "x5c"];

/// The `typ` of access and ID tokens, unless the configuration names others (RFC 9068 §2.1, RFC 7519 §5.1).
const DEFAULT_TYPES: [&str; 2] = ["jwt", "at+jwt"];

/// A signed token, taken apart but not yet believed.
pub(super) struct Token<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    kind: Option<String>,
    /// What the signature is over.
    pub(super) signed: &'a str,
    pub(super) signature: &'a str,
    claims: &'a str,
}

/// Whether the text has the form of a signed token, so that it is not taken for an opaque one.
pub(super) fn looks_signed(token: &str) -> bool {
    let mut parts = token.split('.');
    parts.next().is_some_and(|header| header.starts_with("ey")) && parts.count() == 2
}

impl<'a> Token<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// [`IdentityError::Missing`] for nothing, [`IdentityError::AlgorithmNotAllowed`] for an algorithm that no issuer may
    /// use, [`IdentityError::Malformed`] for everything else.
    pub(super) fn parse(token: &'a str) -> Result<Self, IdentityError> {
        if token.is_empty() {
            return Err(IdentityError::Missing);
        }
        if token.len() > TOKEN_BYTES_MAX {
            return Err(IdentityError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(IdentityError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(IdentityError::Malformed)?;
        if claims.contains('.') {
            return Err(IdentityError::Malformed);
        }
        let header = decoded(header)?;
        // RFC 7515 §4.1.11: extensions that must be understood are not, here.
        if header.contains_key("crit") || KEY_MEMBERS.iter().any(|member| header.contains_key(*member)) {
            return Err(IdentityError::Malformed);
        }
        let name = text(&header, "alg")?.ok_or(IdentityError::Malformed)?;
        let algorithm = Algorithm::named(&name).ok_or(IdentityError::AlgorithmNotAllowed)?;
        Ok(Self { algorithm, key_id: text(&header, "kid")?, kind: text(&header, "typ")?, signed, signature, claims })
    }

    /// The claims, as yet unproved.
    pub(super) fn claims(&self) -> Result<Object, IdentityError> {
        decoded(self.claims)
    }

    /// Whether `typ` is one of those accepted; media types compare without case and without `application/`.
    pub(super) fn is_of_type(&self, accepted: &[String]) -> bool {
        let plain = |own: &str| {
            let own = own.to_ascii_lowercase();
            own.strip_prefix("application/").map_or(own.clone(), str::to_owned)
        };
        match (&self.kind, accepted) {
            (None, []) => true,
            (None, _) => false,
            (Some(kind), []) => DEFAULT_TYPES.contains(&plain(kind).as_str()),
            (Some(kind), accepted) => accepted.iter().any(|own| plain(own) == plain(kind)),
        }
    }
}

fn decoded(part: &str) -> Result<Object, IdentityError> {
    let json = URL_SAFE_NO_PAD.decode(part).map_err(|_| IdentityError::Malformed)?;
    strict_json::object(&json).map_err(|_| IdentityError::Malformed)
}

fn text(header: &Object, name: &str) -> Result<Option<String>, IdentityError> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(_) => Err(IdentityError::Malformed),
    }
}
