//! From the claims of a verified token to an [`Identity`].

use super::policy_claims::PolicyClaims;
use super::purpose::{Declared, PurposeOfGroups, STATED_BYTES_MAX, Stated, StatedBy};
use super::strict_json::Object;
use super::{CallerKind, Identity, IdentityError};
use crate::config::{ClaimRule, Issuer, KindOfCallers};
use serde_json::Value;

/// The tenant of callers whose issuer has no tenant claim configured.
pub(super) const DEFAULT_TENANT: &str = "default";
/// Bytes of the longest name (subject, client, group, tenant, token id).
const NAME_BYTES_MAX: usize = 1024;
/// Most groups, and most scopes, of one caller.
const NAMES_MAX: usize = 1000;
/// Claims that name the application, in the order in which they are looked for: RFC 8693 §4.3, OpenID Connect Core §2, and
/// what Okta and Entra ID write.
const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "cid", "appid"];

/// Checks times, audience, application and the claims that the configuration requires (RFC 7519 §4.1); gives back `exp`.
pub(super) fn check(claims: &Object, issuer: &Issuer, now_unix_s: u64, leeway_s: u64) -> Result<u64, IdentityError> {
    let expires = numeric_date(claims, "exp")?.ok_or(IdentityError::MissingClaim("exp"))?;
    if expires.saturating_add(leeway_s) <= now_unix_s {
        return Err(IdentityError::Expired);
    }
    for begins in ["nbf", "iat"] {
        if numeric_date(claims, begins)?.is_some_and(|begins| begins > now_unix_s.saturating_add(leeway_s)) {
            return Err(IdentityError::NotYetValid);
        }
    }
    check_audience(claims, issuer)?;
    check_rules(claims, issuer)?;
    Ok(expires)
}

pub(super) fn check_audience(claims: &Object, issuer: &Issuer) -> Result<(), IdentityError> {
    let audience = claims.get("aud").ok_or(IdentityError::MissingClaim("aud"))?;
    let accepted = |value: &Value| value.as_str().is_some_and(|aud| issuer.audience.iter().any(|own| own == aud));
    let fits = match audience {
        Value::Array(values) => values.iter().any(accepted),
        single => accepted(single),
    };
    if fits { Ok(()) } else { Err(IdentityError::WrongAudience) }
}

pub(super) fn check_rules(claims: &Object, issuer: &Issuer) -> Result<(), IdentityError> {
    if !issuer.clients.is_empty() && !client(claims)?.is_some_and(|client| issuer.clients.contains(&client)) {
        return Err(IdentityError::WrongClient);
    }
    if issuer.require.iter().all(|rule| holds(claims, rule)) { Ok(()) } else { Err(IdentityError::RequiredClaim) }
}

/// Reads who the caller is.
pub(super) fn identity(
    claims: &Object,
    issuer: &Issuer,
    purposes: &[PurposeOfGroups],
    expires_at_unix_s: u64,
) -> Result<Identity, IdentityError> {
    let subject = text_at(claims, &issuer.subject_claim)?.ok_or(IdentityError::MissingClaim("sub"))?;
    let client_id = client(claims)?;
    let tenant = match &issuer.tenant_claim {
        None => DEFAULT_TENANT.to_owned(),
        Some(claim) => text_at(claims, claim)?.ok_or(IdentityError::MissingClaim("tenant"))?,
    };
    let kind = kind(claims, issuer, &subject, client_id.as_deref());
    let groups = groups(claims, issuer)?;
    let scope_claim = if claims.contains_key("scope") { "scope" } else { "scp" };
    let stated = |claim: &Option<String>| {
        let Some(claim) = claim else { return Ok(None) };
        let value = text_at(claims, claim)?;
        if value.as_ref().is_some_and(|value| value.len() > STATED_BYTES_MAX) {
            return Err(IdentityError::Malformed);
        }
        Ok(value.map(|value| Stated { value, by: StatedBy::Claim }))
    };
    let mut declared = Declared {
        purpose: stated(&issuer.purpose_claim)?,
        basis: stated(&issuer.basis_claim)?,
        data_subject: stated(&issuer.data_subject_claim)?,
    };
    declared.complete_from_groups(purposes, &groups);
    Ok(Identity {
        subject,
        issuer: issuer.url.clone(),
        tenant,
        client_id,
        kind,
        groups,
        scopes: sorted(names(lookup(claims, scope_claim))?)?,
        expires_at_unix_s,
        issued_at_unix_s: numeric_date(claims, "iat")?,
        token_id: text(claims.get("jti"))?,
        declared,
        claims: PolicyClaims::new(claims),
    })
}

fn client(claims: &Object) -> Result<Option<String>, IdentityError> {
    for claim in CLIENT_CLAIMS {
        if let Some(client) = text(claims.get(claim))? {
            return Ok(Some(client));
        }
    }
    Ok(None)
}

/// Where a client acts on its own behalf, the subject is the client (RFC 9068 §5) or its service account.
fn kind(claims: &Object, issuer: &Issuer, subject: &str, client: Option<&str>) -> CallerKind {
    match issuer.kind {
        KindOfCallers::Users => CallerKind::User,
        KindOfCallers::Services => CallerKind::Service,
        KindOfCallers::Auto => {
            let by_rule = !issuer.service_when.is_empty() && issuer.service_when.iter().all(|rule| holds(claims, rule));
            if by_rule || client == Some(subject) { CallerKind::Service } else { CallerKind::User }
        }
    }
}

fn groups(claims: &Object, issuer: &Issuer) -> Result<Vec<String>, IdentityError> {
    let mut groups = Vec::new();
    for claim in &issuer.groups_claims {
        // OpenID Connect Core §5.6.2: the groups lie elsewhere (Entra ID does so above 200). A caller without the groups
        // that a rule denies by would pass that rule, so such a token is refused.
        if claims.get("_claim_names").and_then(|names| names.get(claim)).is_some() {
            return Err(IdentityError::GroupsElsewhere);
        }
        groups.extend(names(lookup(claims, claim))?);
    }
    if !issuer.groups_prefix.is_empty() {
        groups.iter_mut().for_each(|group| group.insert_str(0, &issuer.groups_prefix));
    }
    sorted(groups)
}

fn sorted(mut names: Vec<String>) -> Result<Vec<String>, IdentityError> {
    if names.len() > NAMES_MAX {
        return Err(IdentityError::Malformed);
    }
    names.sort_unstable();
    names.dedup();
    Ok(names)
}

/// Whether a claim is as the rule wants it; of a list, one item must be.
fn holds(claims: &Object, rule: &ClaimRule) -> bool {
    let fits = |value: &Value| match value {
        Value::String(text) => rule.values.iter().any(|wanted| matches(wanted, text)),
        Value::Bool(own) => rule.values.iter().any(|wanted| wanted == if *own { "true" } else { "false" }),
        Value::Number(own) => rule.values.iter().any(|wanted| *wanted == own.to_string()),
        _ => false,
    };
    match lookup(claims, &rule.claim) {
        Some(Value::Array(values)) => values.iter().any(fits),
        Some(value) => fits(value),
        None => false,
    }
}

/// Equal, or with one `*` at either end that stands for anything.
fn matches(wanted: &str, text: &str) -> bool {
    match (wanted.strip_prefix('*'), wanted.strip_suffix('*')) {
        (Some(end), _) => text.ends_with(end),
        (_, Some(start)) => text.starts_with(start),
        _ => wanted == text,
    }
}

/// A `NumericDate`: seconds since 1970, possibly with a fraction (RFC 7519 §2).
pub(super) fn numeric_date(claims: &Object, name: &str) -> Result<Option<u64>, IdentityError> {
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

fn text_at(claims: &Object, path: &str) -> Result<Option<String>, IdentityError> {
    text(lookup(claims, path))
}

/// A claim that is a non-empty name.
fn text(value: Option<&Value>) -> Result<Option<String>, IdentityError> {
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(value)) if value.is_empty() => Ok(None),
        Some(Value::String(value)) => name(value).map(Some),
        Some(_) => Err(IdentityError::Malformed),
    }
}

/// A list of names: an array, or one text with spaces between.
fn names(value: Option<&Value>) -> Result<Vec<String>, IdentityError> {
    match value {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::String(list)) => list.split_ascii_whitespace().map(name).collect(),
        Some(Value::Array(values)) => {
            values.iter().map(|value| name(value.as_str().ok_or(IdentityError::Malformed)?)).collect()
        }
        Some(_) => Err(IdentityError::Malformed),
    }
}

/// Names are shown to approvers and compared by rules, so what looks like another name must not be one: no control
/// characters, nothing invisible, nothing that turns the writing direction.
fn name(text: &str) -> Result<String, IdentityError> {
    let invisible = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    if text.len() > NAME_BYTES_MAX || text.chars().any(invisible) {
        return Err(IdentityError::Malformed);
    }
    Ok(text.to_owned())
}

/// The value that a claim path leads to: a JSON pointer (RFC 6901) if it begins with a slash, else the claim of exactly that
/// name (namespaced claims have dots and slashes in them), else the dots lead through objects.
fn lookup<'a>(claims: &'a Object, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    let mut steps: Box<dyn Iterator<Item = String>> = match path.strip_prefix('/') {
        Some(pointer) => Box::new(pointer.split('/').map(|step| step.replace("~1", "/").replace("~0", "~"))),
        None => Box::new(path.split('.').map(str::to_owned)),
    };
    let mut value = claims.get(&steps.next()?)?;
    for step in steps {
        value = value.get(step)?;
    }
    Some(value)
}
