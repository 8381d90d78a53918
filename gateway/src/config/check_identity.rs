//! Checks the keys that say who may call and who may operate.

use super::check::{address, duration, http_url, number, word};
use super::error::Findings;
use super::file::At;
use super::file_identity::{
    AdminFile, CertificatesFile, ClientCredentialsFile, CredentialFile, IdentityFile, IntrospectionFile, IssuerFile,
    LoginFile, PurposeFile, Rules,
};
use super::{
    Admin, CertificateGroups, CertificateTrust, ClaimRule, ClientCredentials, ClientSecret, Credential,
    CredentialSource, IdentitySettings, IntrospectionSettings, Issuer, JwksSource, KindOfCallers, Login, RoleGroups,
    Secret,
};
use crate::identity::{Algorithm, PurposeOfGroups, STATED_BYTES_MAX};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn issuer(at: At<IssuerFile>, base: &Path, findings: &mut Findings<'_>) -> Option<Issuer> {
    let file = at.into_inner();
    let url = http_url(&file.url, findings);
    if file.audience.as_ref().is_empty() || file.audience.as_ref().iter().any(String::is_empty) {
        findings.at(
            file.audience.span().start,
            "`audience` is empty, so tokens meant for other services would be accepted",
            "name the audience of your tokens, such as audience = [\"inference\"]",
        );
    }
    let jwks = jwks(file.jwks, base, findings);
    let algorithms = file.algorithms.map(|names| algorithms(&names, findings));
    let kinds = [("auto", KindOfCallers::Auto), ("user", KindOfCallers::Users), ("service", KindOfCallers::Services)];
    let kind = word(file.kind.as_ref(), &kinds, findings);
    let introspection = match file.introspection {
        None => None,
        Some(file) => Some(introspection(file, base, findings)?),
    };
    let mut issuer = Issuer::new(&url?, file.audience.into_inner());
    issuer.jwks = jwks?;
    issuer.kind = kind?;
    issuer.introspection = introspection;
    if let Some(algorithms) = algorithms {
        issuer.algorithms = algorithms;
    }
    issuer.types = file.types.unwrap_or_default();
    issuer.clients = file.clients.unwrap_or_default();
    issuer.require = rules(file.require);
    issuer.service_when = rules(file.service_when);
    if let Some(claim) = file.subject_claim {
        issuer.subject_claim = claim;
    }
    if let Some(claims) = file.groups_claim {
        issuer.groups_claims = claims.into_vec();
    }
    issuer.groups_prefix = file.groups_prefix.unwrap_or_default();
    issuer.tenant_claim = file.tenant_claim;
    issuer.purpose_claim = file.purpose_claim;
    issuer.basis_claim = file.basis_claim;
    issuer.data_subject_claim = file.data_subject_claim;
    duration(file.keys_max_age, &mut issuer.keys_max_age, findings);
    Some(issuer)
}

fn jwks(at: Option<At<String>>, base: &Path, findings: &mut Findings<'_>) -> Option<JwksSource> {
    match at {
        None => Some(JwksSource::Discovery),
        Some(at) => match at.as_ref().strip_prefix("file:") {
            Some(path) => Some(JwksSource::File(base.join(path))),
            None => http_url(&at, findings).map(JwksSource::Url),
        },
    }
}

fn algorithms(names: &[At<String>], findings: &mut Findings<'_>) -> Vec<Algorithm> {
    let mut algorithms = Vec::new();
    for name in names {
        match Algorithm::named(name.as_ref()) {
            Some(algorithm) => algorithms.push(algorithm),
            None => {
                let known: Vec<&str> = Algorithm::ALL.iter().map(|(_, name)| *name).collect();
                findings.at(
                    name.span().start,
                    format!("`{}` cannot sign tokens here", name.as_ref()),
                    format!("choose among {}", known.join(", ")),
                );
            }
        }
    }
    algorithms
}

fn rules(rules: Option<Rules>) -> Vec<ClaimRule> {
    let rule =
        |(claim, file): (String, super::file_identity::RuleFile)| ClaimRule { claim, values: file.into_values() };
    rules.unwrap_or_default().into_iter().map(rule).collect()
}

fn introspection(file: IntrospectionFile, base: &Path, findings: &mut Findings<'_>) -> Option<IntrospectionSettings> {
    let url = match &file.url {
        None => None,
        Some(at) => Some(http_url(at, findings)?),
    };
    let client_secret = secret(&file.client_secret, base, findings)?;
    let mut cache = Duration::from_mins(1);
    duration(file.cache, &mut cache, findings);
    Some(IntrospectionSettings { url, client_id: file.client_id, client_secret, cache })
}

pub(super) fn identity(file: Option<IdentityFile>, base: &Path, findings: &mut Findings<'_>) -> IdentitySettings {
    let mut settings = IdentitySettings::default();
    let Some(file) = file else { return settings };
    duration(file.leeway, &mut settings.leeway, findings);
    let mut failures = settings.failures_per_minute as usize;
    number(file.failures_per_minute, 0..=1_000_000, &mut failures, findings);
    settings.failures_per_minute = u32::try_from(failures).unwrap_or(u32::MAX);
    number(file.verify_threads, 1..=64, &mut settings.verify_threads, findings);
    number(file.verify_queue, 1..=100_000, &mut settings.verify_queue, findings);
    settings.api_keys = file.api_keys.and_then(|at| path(&at, base, findings));
    settings.revoked = file.revoked.and_then(|at| path(&at, base, findings));
    settings.purposes = file.purpose.unwrap_or_default().into_iter().map(|at| purpose(at, findings)).collect();
    settings.certificates = certificates(file.certificates);
    settings
}

fn purpose(at: At<PurposeFile>, findings: &mut Findings<'_>) -> PurposeOfGroups {
    let start = at.span().start;
    let file = at.into_inner();
    let good = |text: &str| (1..=STATED_BYTES_MAX).contains(&text.len());
    if file.groups.is_empty() || !good(&file.purpose) || !file.basis.as_deref().is_none_or(good) {
        findings.at(
            start,
            "a purpose needs groups and a name",
            "write groups = [\"clinicians\"] and purpose = \"triage\"",
        );
    }
    PurposeOfGroups { groups: file.groups, purpose: file.purpose, basis: file.basis }
}

fn certificates(file: Option<CertificatesFile>) -> CertificateTrust {
    let Some(file) = file else { return CertificateTrust::default() };
    let groups = file.groups.unwrap_or_default().into_iter();
    CertificateTrust {
        spiffe_domains: file.spiffe_domains.unwrap_or_default(),
        common_names: file.common_names.unwrap_or(false),
        tenant: file.tenant.unwrap_or_else(|| "default".to_owned()),
        groups: groups.map(|own| CertificateGroups { pattern: own.pattern, groups: own.groups }).collect(),
    }
}

fn path(at: &At<String>, base: &Path, findings: &mut Findings<'_>) -> Option<PathBuf> {
    let path = at.as_ref().strip_prefix("file:").map(|path| base.join(path));
    if path.is_none() {
        findings.at(at.span().start, format!("`{}` does not name a file", at.as_ref()), "write \"file:PATH\"");
    }
    path
}

pub(super) fn admin(file: Option<AdminFile>, base: &Path, findings: &mut Findings<'_>) -> Option<Admin> {
    let Some(file) = file else { return Some(Admin::default()) };
    let mut admin = Admin::default();
    let address = address(&file.address, findings);
    duration(file.session, &mut admin.session, findings);
    if let Some(at) = &file.url {
        admin.url = http_url(at, findings).map(|url| url.trim_end_matches('/').to_owned());
    }
    if let Some(at) = file.login {
        if admin.url.is_none() {
            findings.at(
                at.span().start,
                "the console's login needs to know its own address as browsers see it",
                "add url = \"https://HOST\" to [admin] and register HOST/login/callback at the issuer",
            );
        }
        admin.login = login(at.into_inner(), base, findings);
    }
    if let Some(roles) = file.roles {
        admin.roles = RoleGroups {
            viewer: roles.viewer.unwrap_or_default(),
            approver: roles.approver.unwrap_or_default(),
            auditor: roles.auditor.unwrap_or_default(),
            admin: roles.admin.unwrap_or_default(),
        };
    }
    admin.address = address?;
    Some(admin)
}

fn login(file: LoginFile, base: &Path, findings: &mut Findings<'_>) -> Option<Login> {
    let mut issuer = Issuer::new(&http_url(&file.issuer, findings)?, vec![file.client_id.clone()]);
    issuer.jwks = jwks(file.jwks, base, findings)?;
    if let Some(claim) = file.subject_claim {
        issuer.subject_claim = claim;
    }
    if let Some(claims) = file.groups_claim {
        issuer.groups_claims = claims.into_vec();
    }
    issuer.tenant_claim = file.tenant_claim;
    let client_secret = match &file.client_secret {
        None => None,
        Some(at) => Some(secret(at, base, findings)?),
    };
    let scopes = file.scopes.unwrap_or_else(|| ["openid", "profile"].map(str::to_owned).to_vec());
    Some(Login { issuer, client_id: file.client_id, client_secret, scopes })
}

pub(super) fn credential(at: At<CredentialFile>, base: &Path, findings: &mut Findings<'_>) -> Option<Credential> {
    let start = at.span().start;
    let authorization = "authorization".to_owned();
    match at.into_inner() {
        CredentialFile { header: Some(header), value: Some(value), bearer: None, oauth2: None } => {
            let header = header_name(&header, findings)?;
            Some(Credential { header, prefix: "", source: source(&value, base, findings)? })
        }
        CredentialFile { header: None, value: None, bearer: Some(value), oauth2: None } => {
            Some(Credential { header: authorization, prefix: "Bearer ", source: source(&value, base, findings)? })
        }
        CredentialFile { header: None, value: None, bearer: None, oauth2: Some(file) } => {
            let source = CredentialSource::Oauth2(Box::new(client_credentials(file, base, findings)?));
            Some(Credential { header: authorization, prefix: "Bearer ", source })
        }
        _ => {
            findings.at(
                start,
                "a credential is one of three things",
                "write { header = …, value = … }, { bearer = … } or { oauth2 = { token_url = …, client_id = …, client_secret = … } }",
            );
            None
        }
    }
}

fn client_credentials(
    file: ClientCredentialsFile,
    base: &Path,
    findings: &mut Findings<'_>,
) -> Option<ClientCredentials> {
    let token_url = http_url(&file.token_url, findings);
    let client_secret = secret(&file.client_secret, base, findings);
    Some(ClientCredentials {
        token_url: token_url?,
        client_id: file.client_id,
        client_secret: client_secret?,
        scopes: file.scopes.unwrap_or_default(),
        audience: file.audience,
        resource: file.resource,
    })
}

fn header_name(at: &At<String>, findings: &mut Findings<'_>) -> Option<String> {
    let header = at.as_ref().to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let framing = ["host", "connection", "content-length", "transfer-encoding", "te", "trailer", "upgrade", "expect"];
    if header.is_empty() || !header.bytes().all(token) || framing.contains(&header.as_str()) {
        findings.at(
            at.span().start,
            format!("`{header}` cannot be the header of a credential"),
            "use the header that the model server reads, such as \"authorization\" or \"x-api-key\"",
        );
        return None;
    }
    Some(header)
}

fn source(at: &At<String>, base: &Path, findings: &mut Findings<'_>) -> Option<CredentialSource> {
    let secret = found(at, Secret::resolve(at.as_ref(), base), findings)?;
    if !secret.fits_a_header() {
        findings.at(at.span().start, "the credential has characters that no header can carry", "check its source");
        return None;
    }
    Some(match at.as_ref().strip_prefix("file:") {
        Some(path) => CredentialSource::File(base.join(path), secret),
        None => CredentialSource::Fixed(secret),
    })
}

fn secret(at: &At<String>, base: &Path, findings: &mut Findings<'_>) -> Option<ClientSecret> {
    found(at, ClientSecret::resolve(at.as_ref(), base), findings)
}

fn found<T>(at: &At<String>, resolved: Result<T, String>, findings: &mut Findings<'_>) -> Option<T> {
    match resolved {
        Ok(secret) => Some(secret),
        Err(message) => {
            findings.at(at.span().start, message, "write \"env:NAME\" or \"file:PATH\"");
            None
        }
    }
}
