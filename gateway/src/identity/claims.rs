//! From the claims of a verified token to an [`Identity`].

use super::{CallerKind, Identity, IdentityError};
use crate::config::Issuer;
use serde_json::{Map, Value};

/// The tenant of callers whose issuer has no tenant claim configured.
const DEFAULT_TENANT: &str = "default";

/// The claims of a JWT.
pub(super) type Claims = Map<String, Value>;

/// Checks times and audience (RFC 7519 §4.1) with `leeway_s` seconds of grace.
pub(super) fn check(claims: &Claims, issuer: &Issuer, now_unix_s: u64, leeway_s: u64) -> Result<u64, IdentityError> {
    let expires = numeric_date(claims, "exp")?.ok_or(IdentityError::MissingClaim("exp"))?;
    if expires.saturating_add(leeway_s) <= now_unix_s {
        return Err(IdentityError::Expired);
    }
    if let Some(not_before) = numeric_date(claims, "nbf")?
        && not_before > now_unix_s.saturating_add(leeway_s)
    {
        return Err(IdentityError::NotYetValid);
    }
    let audience = claims.get("aud").ok_or(IdentityError::MissingClaim("aud"))?;
    let accepted = |value: &Value| value.as_str().is_some_and(|aud| issuer.audience.iter().any(|own| own == aud));
    let fits = match audience {
        Value::Array(values) => values.iter().any(accepted),
        single => accepted(single),
    };
    if !fits {
        return Err(IdentityError::WrongAudience);
    }
    Ok(expires)
}

/// Reads who the caller is.
pub(super) fn identity(claims: &Claims, issuer: &Issuer, expires_at_unix_s: u64) -> Result<Identity, IdentityError> {
    let subject = text(claims, "sub")?.ok_or(IdentityError::MissingClaim("sub"))?;
    let client_id = match text(claims, "client_id")? {
        Some(id) => Some(id),
        None => text(claims, "azp")?,
    };
    let tenant = match &issuer.tenant_claim {
        None => DEFAULT_TENANT.to_owned(),
        Some(claim) => text(claims, claim)?.ok_or(IdentityError::MissingClaim("tenant"))?,
    };
    let scope_claim = if claims.contains_key("scope") { "scope" } else { "scp" };
    // RFC 9068 §5: where a client acts on its own behalf, the subject is the client.
    let kind = if client_id.as_deref() == Some(subject.as_str()) { CallerKind::Service } else { CallerKind::User };
    Ok(Identity {
        subject,
        issuer: issuer.url.clone(),
        tenant,
        client_id,
        kind,
        groups: names(claims, &issuer.groups_claim)?,
        scopes: names(claims, scope_claim)?,
        expires_at_unix_s,
        token_id: text(claims, "jti")?,
    })
}

/// A `NumericDate`: seconds since 1970, possibly with a fraction (RFC 7519 §2).
fn numeric_date(claims: &Claims, name: &str) -> Result<Option<u64>, IdentityError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => {
            if let Some(whole) = number.as_u64() {
                return Ok(Some(whole));
            }
            match number.as_f64() {
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "checked to be within 0 and 2^53; the fraction is dropped on purpose"
                )]
                Some(seconds) if (0.0..9.0e15).contains(&seconds) => Ok(Some(seconds as u64)),
                _ => Err(IdentityError::Malformed),
            }
        }
        Some(_) => Err(IdentityError::Malformed),
    }
}

/// A claim that is a non-empty text.
fn text(claims: &Claims, name: &str) -> Result<Option<String>, IdentityError> {
    match claims.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) if value.is_empty() => Ok(None),
        Some(Value::String(value)) => Ok(Some(value.clone())),
        Some(_) => Err(IdentityError::Malformed),
    }
}

/// A claim that is a list of names: an array, or one text with spaces between. A dotted claim such as
/// `realm_access.roles` reaches into objects.
fn names(claims: &Claims, name: &str) -> Result<Vec<String>, IdentityError> {
    let mut names: Vec<String> = match lookup(claims, name) {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(list)) => list.split_ascii_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(values)) => values
            .iter()
            .map(|value| value.as_str().map(str::to_owned).ok_or(IdentityError::Malformed))
            .collect::<Result<_, _>>()?,
        Some(_) => return Err(IdentityError::Malformed),
    };
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// The claim of that exact name (namespaced claims have dots and slashes in them), else the way through objects.
fn lookup<'a>(claims: &'a Claims, name: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(name) {
        return Some(value);
    }
    let (first, rest) = name.split_once('.')?;
    let mut value = claims.get(first)?;
    for step in rest.split('.') {
        value = value.get(step)?;
    }
    Some(value)
}
