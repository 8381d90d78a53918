//! The callers' side: certificates by SNI, client certificates, stateless resumption.

use super::{HTTP_1_1, MinVersion, PairFiles, TlsError, provider, roots};
use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{RootCertStore, ServerConfig};
use std::path::PathBuf;
use std::sync::Arc;

/// Whether callers must show a certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ClientCertificates {
    /// Without one the handshake fails.
    #[default]
    Required,
    /// One that is shown must verify; without one the call goes on.
    Optional,
}

/// What the `tls` of a listener says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerFiles {
    /// At least one; the first serves names that no other has, and callers that name none.
    pub pairs: Vec<PairFiles>,
    /// Roots of client certificates; without them none is asked for.
    pub client_ca: Option<PathBuf>,
    /// Whether they must be shown.
    pub client_certificates: ClientCertificates,
    /// The lowest version spoken.
    pub min_version: MinVersion,
}

impl ServerFiles {
    /// Reads the files and sets everything up. Tickets of an earlier set-up are not accepted: a session cannot outlive the
    /// roots that its client certificate was verified with.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(&self) -> Result<Arc<ServerConfig>, TlsError> {
        let resolver = BySni::load(&self.pairs)?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(self.min_version.versions())
            .map_err(|error| TlsError::Setup(error.to_string()))?;
        let builder = match &self.client_ca {
            None => builder.with_no_client_auth(),
            Some(path) => builder.with_client_cert_verifier(self.verifier(roots(path)?)?),
        };
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        config.ticketer =
            rustls::crypto::aws_lc_rs::Ticketer::new().map_err(|error| TlsError::Setup(error.to_string()))?;
        // Stored sessions would need a lock that all cores share; tickets do not.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    fn verifier(&self, roots: RootCertStore) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
        let builder = match self.client_certificates {
            ClientCertificates::Required => builder,
            ClientCertificates::Optional => builder.allow_unauthenticated(),
        };
        builder.build().map_err(|error| TlsError::Setup(error.to_string()))
    }
}

/// Chooses the certificate that has the name which the caller asks for.
#[derive(Debug)]
struct BySni {
    certificates: Vec<Arc<CertifiedKey>>,
}

impl BySni {
    fn load(pairs: &[PairFiles]) -> Result<Self, TlsError> {
        let load = |pair: &PairFiles| {
            let (chain, key) = pair.read()?;
            let certified = CertifiedKey::from_der(chain, key, &provider()).map_err(|cause| pair.unusable(cause))?;
            Ok(Arc::new(certified))
        };
        Ok(Self { certificates: pairs.iter().map(load).collect::<Result<_, TlsError>>()? })
    }
}

impl ResolvesServerCert for BySni {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let named = hello.server_name().and_then(|name| ServerName::try_from(name).ok());
        let fitting = named.and_then(|name| self.certificates.iter().find(|own| has_name(own, &name)));
        fitting.or_else(|| self.certificates.first()).cloned()
    }
}

fn has_name(certified: &CertifiedKey, name: &ServerName<'_>) -> bool {
    certified
        .end_entity_cert()
        .and_then(ParsedCertificate::try_from)
        .is_ok_and(|certificate| verify_server_name(&certificate, name).is_ok())
}
