//! Callers that present a certificate (mutual TLS, SPIFFE). The TLS layer has verified the chain up to a configured root; here
//! the leaf becomes an identity.

use super::certificate_claims::claims_of;
use super::{CallerKind, Identity};
use crate::config::CertificateTrust;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// Bytes of the longest SPIFFE ID (SPIFFE-ID §2.3).
const SPIFFE_ID_BYTES_MAX: usize = 2048;
/// Bytes of the longest subject name that is taken.
const NAME_BYTES_MAX: usize = 1024;

/// Why a certificate is nobody's here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CertificateError {
    /// Not one DER-encoded X.509 certificate.
    #[error("the client certificate cannot be read")]
    Malformed,
    /// Outside `notBefore` … `notAfter`.
    #[error("the client certificate is not valid at this time")]
    NotNow,
    /// A certificate authority's own certificate.
    #[error("the client certificate is one of an authority, not of a caller")]
    Authority,
    /// More than one URI, or a SPIFFE ID that breaks the standard's rules.
    #[error("the client certificate's SPIFFE ID is not well-formed")]
    BadSpiffeId,
    /// Its trust domain, or the absence of a SPIFFE ID, is not configured.
    #[error("the client certificate names nobody that is accepted here")]
    NotAccepted,
}

/// Who the leaf certificate `der` stands for. Its chain must have been verified already; `trust` says whom such callers may be.
///
/// A SPIFFE ID (X509-SVID §2: exactly one URI in the subject alternative name) comes before the subject's common name.
///
/// # Errors
/// [`CertificateError`]
pub fn caller_from_certificate(
    der: &[u8],
    trust: &CertificateTrust,
    now_unix_s: u64,
) -> Result<Identity, CertificateError> {
    let (rest, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError::Malformed)?;
    if !rest.is_empty() {
        return Err(CertificateError::Malformed);
    }
    let now = i64::try_from(now_unix_s).unwrap_or(i64::MAX);
    let validity = certificate.validity();
    if now < validity.not_before.timestamp() || now > validity.not_after.timestamp() {
        return Err(CertificateError::NotNow);
    }
    if certificate.is_ca() {
        return Err(CertificateError::Authority);
    }
    let spiffe_id = spiffe_id(&certificate)?;
    let (subject, issuer) = match spiffe_id {
        Some(id) => {
            let domain = trust_domain(id).ok_or(CertificateError::BadSpiffeId)?;
            if !trust.spiffe_domains.iter().any(|own| own == domain) {
                return Err(CertificateError::NotAccepted);
            }
            (id.to_owned(), format!("spiffe://{domain}"))
        }
        None if trust.common_names => {
            let mut names = certificate.subject().iter_common_name();
            let name = names.next().and_then(|name| name.as_str().ok()).ok_or(CertificateError::NotAccepted)?;
            let plain = !name.is_empty()
                && name.len() <= NAME_BYTES_MAX
                && name.bytes().all(|byte| (b' '..=b'~').contains(&byte));
            if names.next().is_some() || !plain {
                return Err(CertificateError::NotAccepted);
            }
            (name.to_owned(), format!("x509:{}", certificate.issuer()))
        }
        None => return Err(CertificateError::NotAccepted),
    };
    let mut groups: Vec<String> = trust
        .groups
        .iter()
        .filter(|entry| entry.fits(&subject))
        .flat_map(|entry| entry.groups.iter().cloned())
        .collect();
    groups.sort_unstable();
    groups.dedup();
    Ok(Identity {
        kind: CallerKind::Service,
        tenant: trust.tenant.clone(),
        groups,
        expires_at_unix_s: u64::try_from(validity.not_after.timestamp()).unwrap_or(0),
        issued_at_unix_s: u64::try_from(validity.not_before.timestamp()).ok(),
        token_id: Some(hex::encode(certificate.raw_serial())),
        claims: claims_of(der, &certificate, spiffe_id),
        ..Identity::new(&subject, &issuer)
    })
}

fn spiffe_id<'a>(certificate: &'a X509Certificate<'_>) -> Result<Option<&'a str>, CertificateError> {
    let names = certificate.subject_alternative_name().map_err(|_| CertificateError::Malformed)?;
    let Some(names) = names else { return Ok(None) };
    let mut uris = names.value.general_names.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let first = uris.next().filter(|uri| uri.starts_with("spiffe:"));
    match (first, uris.next()) {
        (Some(_), Some(_)) => Err(CertificateError::BadSpiffeId),
        (Some(id), None) => Ok(Some(id)),
        // URIs of other schemes name nobody that we know of.
        (None, Some(_)) if names.value.general_names.iter().any(is_spiffe) => Err(CertificateError::BadSpiffeId),
        (None, _) => Ok(None),
    }
}

fn is_spiffe(name: &GeneralName<'_>) -> bool {
    matches!(name, GeneralName::URI(uri) if uri.starts_with("spiffe:"))
}

/// The trust domain of a well-formed SPIFFE ID (SPIFFE-ID §2.1, §2.2).
fn trust_domain(id: &str) -> Option<&str> {
    let rest = id.strip_prefix("spiffe://").filter(|_| id.len() <= SPIFFE_ID_BYTES_MAX)?;
    let (domain, path) = rest.split_once('/')?;
    let domain_byte = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-._".contains(&byte);
    let segment_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(segment_byte);
    let good =
        !domain.is_empty() && domain.len() <= 255 && domain.bytes().all(domain_byte) && path.split('/').all(segment);
    good.then_some(domain)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{CertificateGroups, CertificateTrust};
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, SanType, date_time_ymd};

    /// 2026-06-01
    const NOW: u64 = 1_780_272_000;

    fn certificate(change: impl FnOnce(&mut CertificateParams)) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        params.distinguished_name.push(DnType::CommonName, "batch-7");
        change(&mut params);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().der().to_vec()
    }

    fn uri(id: &str) -> SanType {
        SanType::URI(id.to_owned().try_into().unwrap())
    }

    fn trust() -> CertificateTrust {
        CertificateTrust {
            spiffe_domains: vec!["prod.example.com".to_owned()],
            common_names: false,
            tenant: "default".to_owned(),
            groups: vec![
                CertificateGroups {
                    pattern: "spiffe://prod.example.com/ns/ml/*".to_owned(),
                    groups: vec!["ml-apps".to_owned()],
                },
                CertificateGroups { pattern: "*".to_owned(), groups: vec!["mesh".to_owned()] },
            ],
        }
    }

    #[test]
    fn a_spiffe_id_becomes_a_service_with_its_groups() {
        let id = "spiffe://prod.example.com/ns/ml/sa/batch";
        let der = certificate(|params| params.subject_alt_names = vec![uri(id)]);
        let identity = caller_from_certificate(&der, &trust(), NOW).unwrap();
        assert_eq!((identity.subject.as_str(), identity.kind), (id, CallerKind::Service));
        assert_eq!(identity.issuer, "spiffe://prod.example.com");
        assert_eq!(identity.groups, ["mesh", "ml-apps"]);
        assert_eq!(identity.expires_at_unix_s, 1_798_761_600);
        let other = certificate(|params| params.subject_alt_names = vec![uri("spiffe://prod.example.com/ns/web/sa/x")]);
        assert_eq!(caller_from_certificate(&other, &trust(), NOW).unwrap().groups, ["mesh"]);
    }

    #[test]
    fn what_it_says_is_claims_for_policies() {
        use policy_lang::{ClaimValue, ClaimView as _};
        let id = "spiffe://prod.example.com/ns/ml/sa/batch";
        let der = certificate(|params| {
            let dns = SanType::DnsName("batch.example.com".try_into().unwrap());
            params.subject_alt_names = vec![uri(id), dns, SanType::IpAddress([192, 0, 2, 7].into())];
        });
        let claims = caller_from_certificate(&der, &trust(), NOW).unwrap().claims;
        let text = |key: &str| match claims.claim(key).unwrap() {
            Some(ClaimValue::Str(text)) => text,
            other => format!("{other:?}"),
        };
        assert_eq!(
            (text("certificate.subject").as_str(), text("certificate.issuer").as_str()),
            ("CN=batch-7", "CN=batch-7")
        );
        assert_eq!(text("certificate.spiffe_id"), id);
        assert_eq!(text("certificate.fingerprint").len(), 64);
        let names = ["URI:spiffe://prod.example.com/ns/ml/sa/batch", "DNS:batch.example.com", "IP:192.0.2.7"];
        assert_eq!(claims.claim("certificate.names"), Ok(Some(ClaimValue::List(names.map(str::to_owned).to_vec()))));
    }

    #[test]
    fn a_common_name_counts_only_where_it_is_asked_for() {
        let der = certificate(|_| {});
        assert_eq!(caller_from_certificate(&der, &trust(), NOW), Err(CertificateError::NotAccepted));
        let names = CertificateTrust { common_names: true, ..trust() };
        let identity = caller_from_certificate(&der, &names, NOW).unwrap();
        assert_eq!((identity.subject.as_str(), identity.issuer.as_str()), ("batch-7", "x509:CN=batch-7"));
    }

    #[test]
    fn each_thing_that_is_wrong_has_its_own_error() {
        let good = "spiffe://prod.example.com/a";
        let with = |ids: &[&str]| {
            let names = ids.iter().map(|id| uri(id)).collect();
            certificate(|params| params.subject_alt_names = names)
        };
        let authority = certificate(|params| {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.subject_alt_names = vec![uri(good)];
        });
        for (what, der, expected) in [
            ("no certificate", b"hello".to_vec(), CertificateError::Malformed),
            ("more behind it", [with(&[good]), vec![0]].concat(), CertificateError::Malformed),
            ("an authority", authority, CertificateError::Authority),
            ("two IDs", with(&[good, "spiffe://prod.example.com/b"]), CertificateError::BadSpiffeId),
            ("hidden behind another URI", with(&["https://example.com", good]), CertificateError::BadSpiffeId),
            ("no path", with(&["spiffe://prod.example.com"]), CertificateError::BadSpiffeId),
            ("empty segment", with(&["spiffe://prod.example.com/a//b"]), CertificateError::BadSpiffeId),
            ("dots", with(&["spiffe://prod.example.com/a/../b"]), CertificateError::BadSpiffeId),
            ("capital domain", with(&["spiffe://PROD.example.com/a"]), CertificateError::BadSpiffeId),
            ("user in the domain", with(&["spiffe://x@prod.example.com/a"]), CertificateError::BadSpiffeId),
            ("other domain", with(&["spiffe://dev.example.com/a"]), CertificateError::NotAccepted),
            ("other scheme", with(&["https://prod.example.com/a"]), CertificateError::NotAccepted),
        ] {
            assert_eq!(caller_from_certificate(&der, &trust(), NOW), Err(expected), "{what}");
        }
        let der = with(&[good]);
        assert_eq!(caller_from_certificate(&der, &trust(), NOW - 31_536_000), Err(CertificateError::NotNow));
        assert_eq!(caller_from_certificate(&der, &trust(), NOW + 31_536_000), Err(CertificateError::NotNow));
    }
}
