//! The keys of the file that say who may call and who may operate.

use super::file::At;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuerFile {
    pub(super) url: At<String>,
    pub(super) audience: At<Vec<String>>,
    pub(super) algorithms: Option<Vec<At<String>>>,
    pub(super) types: Option<Vec<String>>,
    pub(super) clients: Option<Vec<String>>,
    pub(super) require: Option<Rules>,
    pub(super) subject_claim: Option<String>,
    pub(super) groups_claim: Option<OneOrMany>,
    pub(super) groups_prefix: Option<String>,
    pub(super) tenant_claim: Option<String>,
    pub(super) kind: Option<At<String>>,
    pub(super) service_when: Option<Rules>,
    pub(super) purpose_claim: Option<String>,
    pub(super) basis_claim: Option<String>,
    pub(super) data_subject_claim: Option<String>,
    pub(super) jwks: Option<At<String>>,
    pub(super) keys_max_age: Option<At<String>>,
    pub(super) introspection: Option<IntrospectionFile>,
}

/// What claims must say.
pub(super) type Rules = BTreeMap<String, RuleFile>;

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum RuleFile {
    Flag(bool),
    Number(i64),
    Text(String),
    Texts(Vec<String>),
}

impl RuleFile {
    pub(super) fn into_values(self) -> Vec<String> {
        match self {
            Self::Flag(flag) => vec![flag.to_string()],
            Self::Number(number) => vec![number.to_string()],
            Self::Text(text) => vec![text],
            Self::Texts(texts) => texts,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    pub(super) fn into_vec(self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one],
            Self::Many(many) => many,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IntrospectionFile {
    pub(super) url: Option<At<String>>,
    pub(super) client_id: String,
    pub(super) client_secret: At<String>,
    pub(super) cache: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityFile {
    pub(super) leeway: Option<At<String>>,
    pub(super) failures_per_minute: Option<At<i64>>,
    pub(super) verify_threads: Option<At<i64>>,
    pub(super) verify_queue: Option<At<i64>>,
    pub(super) api_keys: Option<At<String>>,
    pub(super) revoked: Option<At<String>>,
    pub(super) purpose: Option<Vec<At<PurposeFile>>>,
    pub(super) certificates: Option<CertificatesFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PurposeFile {
    pub(super) groups: Vec<String>,
    pub(super) purpose: String,
    pub(super) basis: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificatesFile {
    pub(super) spiffe_domains: Option<Vec<String>>,
    pub(super) common_names: Option<bool>,
    pub(super) tenant: Option<String>,
    pub(super) groups: Option<Vec<CertificateGroupsFile>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CertificateGroupsFile {
    #[serde(rename = "match")]
    pub(super) pattern: String,
    pub(super) groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AdminFile {
    pub(super) address: At<String>,
    pub(super) url: Option<At<String>>,
    pub(super) session: Option<At<String>>,
    pub(super) login: Option<At<LoginFile>>,
    pub(super) roles: Option<RolesFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LoginFile {
    pub(super) issuer: At<String>,
    pub(super) client_id: String,
    pub(super) client_secret: Option<At<String>>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) subject_claim: Option<String>,
    pub(super) groups_claim: Option<OneOrMany>,
    pub(super) tenant_claim: Option<String>,
    pub(super) jwks: Option<At<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RolesFile {
    #[serde(default)]
    pub(super) viewer: Vec<String>,
    #[serde(default)]
    pub(super) approver: Vec<String>,
    #[serde(default)]
    pub(super) auditor: Vec<String>,
    #[serde(default)]
    pub(super) admin: Vec<String>,
}

/// One of three: `header` and `value`, `bearer`, or `oauth2`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CredentialFile {
    pub(super) header: Option<At<String>>,
    pub(super) value: Option<At<String>>,
    pub(super) bearer: Option<At<String>>,
    pub(super) oauth2: Option<ClientCredentialsFile>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientCredentialsFile {
    pub(super) token_url: At<String>,
    pub(super) client_id: String,
    pub(super) client_secret: At<String>,
    pub(super) scopes: Option<Vec<String>>,
    pub(super) audience: Option<String>,
    pub(super) resource: Option<String>,
}
