//! What a client certificate says, as claims for policies (`claim NAME : TYPE from "certificate.…"`).

use super::PolicyClaims;
use aws_lc_rs::digest::{SHA256, digest};
use policy_lang::ClaimValue;
use std::net::IpAddr;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::X509Certificate;

/// The claims of the certificate whose DER is `der`; `spiffe_id` is its SPIFFE ID, already checked.
///
/// Alternative names are written with their kind as OpenSSL does it: `DNS:…`, `URI:…`, `IP:…`, `email:…`; other kinds are left out.
pub(super) fn claims_of(der: &[u8], certificate: &X509Certificate<'_>, spiffe_id: Option<&str>) -> PolicyClaims {
    let names = certificate.subject_alternative_name().ok().flatten();
    let names = names.iter().flat_map(|names| &names.value.general_names).filter_map(alternative_name).collect();
    let text = |key: &str, value: String| (format!("certificate.{key}"), ClaimValue::Str(value));
    let mut claims = vec![
        text("subject", certificate.subject().to_string()),
        text("issuer", certificate.issuer().to_string()),
        text("serial", hex::encode(certificate.raw_serial())),
        text("fingerprint", hex::encode(digest(&SHA256, der))),
        ("certificate.names".to_owned(), ClaimValue::List(names)),
    ];
    claims.extend(spiffe_id.map(|id| text("spiffe_id", id.to_owned())));
    PolicyClaims::of(claims)
}

fn alternative_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::RFC822Name(address) => Some(format!("email:{address}")),
        GeneralName::IPAddress(bytes) => {
            let four = <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = four.or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| format!("IP:{address}"))
        }
        _ => None,
    }
}
