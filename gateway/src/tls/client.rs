//! The model servers' side: whom to trust, which name they must have, what we show them.

use super::{HTTP_1_1, PairFiles, TlsError, provider, roots};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use std::path::PathBuf;
use std::sync::Arc;

/// Sessions that one core remembers for one upstream.
const SESSIONS_MAX: usize = 64;

/// What the `tls` of an upstream says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFiles {
    /// Roots; without them those of the machine.
    pub ca: Option<PathBuf>,
    /// Our own certificate.
    pub pair: Option<PairFiles>,
}

impl ClientFiles {
    /// Reads the files and sets everything up. Versions are 1.2 and 1.3, the server's name is always verified.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let roots = match &self.ca {
            Some(path) => roots(path)?,
            None => native_roots()?,
        };
        let setup = |error: &dyn std::fmt::Display| TlsError::Setup(error.to_string());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier = verifier.build().map_err(|error| setup(&error))?;
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| setup(&error))?
            .with_webpki_verifier(verifier);
        let mut config = match &self.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let (chain, key) = pair.read()?;
                builder.with_client_auth_cert(chain, key).map_err(|cause| pair.unusable(cause))?
            }
        };
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        Ok(Arc::new(config))
    }
}

/// The same settings with sessions of its own: what one core remembers needs no lock that others take.
#[must_use]
pub fn for_one_core(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut own = config.clone();
    own.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Arc::new(own)
}

/// Reads a name or an address that a certificate can have.
///
/// # Errors
/// A sentence saying what is wrong.
pub fn server_name(name: &str) -> Result<ServerName<'static>, String> {
    ServerName::try_from(name.to_owned()).map_err(|_| format!("`{name}` is not a name that a certificate can have"))
}

fn native_roots() -> Result<RootCertStore, TlsError> {
    let found = rustls_native_certs::load_native_certs();
    let mut store = RootCertStore::empty();
    // A machine's store may have certificates that are no good as roots; the others still are.
    let (good, _) = store.add_parsable_certificates(found.certs);
    if good == 0 {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(TlsError::NoRoots(why));
    }
    Ok(store)
}
