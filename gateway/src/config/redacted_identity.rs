//! Issuers, credentials and logins as they may be shown.

use super::redacted::seconds;
use super::{Admin, ClaimRule, Credential, CredentialSource, IdentitySettings, Issuer, JwksSource, KindOfCallers};
use serde_json::{Value, json};

/// What stands in the place of a secret.
const HIDDEN: &str = "(secret)";

pub(super) fn issuer(issuer: &Issuer) -> Value {
    json!({
        "url": issuer.url,
        "audience": issuer.audience,
        "algorithms": issuer.algorithms.iter().map(|own| own.name()).collect::<Vec<_>>(),
        "types": issuer.types,
        "clients": issuer.clients,
        "require": rules(&issuer.require),
        "subject_claim": issuer.subject_claim,
        "groups_claim": issuer.groups_claims,
        "groups_prefix": issuer.groups_prefix,
        "tenant_claim": issuer.tenant_claim,
        "kind": match issuer.kind {
            KindOfCallers::Auto => "auto",
            KindOfCallers::Users => "user",
            KindOfCallers::Services => "service",
        },
        "service_when": rules(&issuer.service_when),
        "purpose_claim": issuer.purpose_claim,
        "basis_claim": issuer.basis_claim,
        "data_subject_claim": issuer.data_subject_claim,
        "jwks": match &issuer.jwks {
            JwksSource::Discovery => "discovery".to_owned(),
            JwksSource::Url(url) => url.clone(),
            JwksSource::File(path) => format!("file:{}", path.display()),
            JwksSource::Embedded => "embedded development issuer".to_owned(),
        },
        "keys_max_age": seconds(issuer.keys_max_age),
        "introspection": issuer.introspection.as_ref().map(|own| json!({
            "url": own.url,
            "client_id": own.client_id,
            "client_secret": HIDDEN,
            "cache": seconds(own.cache),
        })),
    })
}

pub(super) fn identity(settings: &IdentitySettings) -> Value {
    let certificates = &settings.certificates;
    json!({
        "leeway": seconds(settings.leeway),
        "failures_per_minute": settings.failures_per_minute,
        "verify_threads": settings.verify_threads,
        "verify_queue": settings.verify_queue,
        "api_keys": settings.api_keys,
        "revoked": settings.revoked,
        "purpose": settings.purposes.iter().map(|own| json!({
            "groups": own.groups, "purpose": own.purpose, "basis": own.basis,
        })).collect::<Vec<_>>(),
        "certificates": {
            "spiffe_domains": certificates.spiffe_domains,
            "common_names": certificates.common_names,
            "tenant": certificates.tenant,
            "groups": certificates.groups.iter().map(|own| json!({
                "match": own.pattern, "groups": own.groups,
            })).collect::<Vec<_>>(),
        },
    })
}

pub(super) fn admin(admin: &Admin) -> Value {
    json!({
        "address": admin.address,
        "url": admin.url,
        "session": seconds(admin.session),
        "login": admin.login.as_ref().map(|own| json!({
            "issuer": own.issuer.url,
            "client_id": own.client_id,
            "client_secret": own.client_secret.as_ref().map(|_| HIDDEN),
            "scopes": own.scopes,
            "groups_claim": own.issuer.groups_claims,
        })),
        "roles": {
            "viewer": admin.roles.viewer,
            "approver": admin.roles.approver,
            "auditor": admin.roles.auditor,
            "admin": admin.roles.admin,
        },
    })
}

pub(super) fn credential(credential: &Credential) -> Value {
    match &credential.source {
        CredentialSource::Fixed(_) => json!({ "header": credential.header, "value": HIDDEN }),
        CredentialSource::File(path, _) => {
            json!({ "header": credential.header, "value": HIDDEN, "file": path })
        }
        CredentialSource::Oauth2(client) => json!({
            "header": credential.header,
            "oauth2": {
                "token_url": client.token_url,
                "client_id": client.client_id,
                "client_secret": HIDDEN,
                "scopes": client.scopes,
                "audience": client.audience,
                "resource": client.resource,
            },
        }),
    }
}

fn rules(rules: &[ClaimRule]) -> Value {
    rules.iter().map(|rule| (rule.claim.clone(), json!(rule.values))).collect::<serde_json::Map<_, _>>().into()
}
