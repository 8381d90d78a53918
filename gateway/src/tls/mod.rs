//! TLS as configured, on both sides: rustls with aws-lc-rs, TLS 1.2 and 1.3, nothing older.
//!
//! [`server`] is what callers see, [`client`] how model servers are spoken to, [`pem`] how files become keys. The bytes are
//! moved in `data_plane::channel`.

pub mod client;
mod pem;
pub mod server;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, SupportedProtocolVersion};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

/// The only application protocol that is spoken (RFC 7301).
pub const HTTP_1_1: &[u8] = b"http/1.1";

/// Why a TLS setting cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file.
    #[error("cannot read {path}: {cause}")]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// A file without what is looked for.
    #[error("{path} has no {what} in PEM form (a block that begins with -----BEGIN …)")]
    Empty {
        /// Which file.
        path: PathBuf,
        /// `certificate` or `private key`.
        what: &'static str,
    },
    /// Damaged PEM.
    #[error("{path} is not PEM: {cause}")]
    Pem {
        /// Which file.
        path: PathBuf,
        /// The parser's words.
        cause: String,
    },
    /// Certificate and key.
    #[error("the certificate {certificate} and the key {key} cannot be used together: {cause}")]
    Pair {
        /// The chain's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls says.
        cause: rustls::Error,
    },
    /// A trust anchor.
    #[error("{path} has a certificate that cannot be a root: {cause}")]
    Root {
        /// Which file.
        path: PathBuf,
        /// What rustls says.
        cause: rustls::Error,
    },
    /// The machine's own roots.
    #[error("this machine has no root certificates{0}")]
    NoRoots(String),
    /// Anything else.
    #[error("TLS cannot be set up: {0}")]
    Setup(String),
}

/// The lowest version that is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MinVersion {
    /// TLS 1.2 (RFC 5246) and 1.3 (RFC 8446).
    #[default]
    Tls12,
    /// TLS 1.3 only.
    Tls13,
}

impl MinVersion {
    fn versions(self) -> &'static [&'static SupportedProtocolVersion] {
        const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13, &rustls::version::TLS12];
        const NEWEST: &[&SupportedProtocolVersion] = &[&rustls::version::TLS13];
        match self {
            Self::Tls12 => BOTH,
            Self::Tls13 => NEWEST,
        }
    }
}

/// A certificate chain and its key, by their files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairFiles {
    /// PEM: the end certificate first, then its issuers.
    pub certificate: PathBuf,
    /// PEM: PKCS#8, PKCS#1 or SEC1, not encrypted.
    pub key: PathBuf,
}

impl PairFiles {
    fn read(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
        Ok((pem::certificates(&self.certificate)?, pem::key(&self.key)?))
    }

    fn unusable(&self, cause: rustls::Error) -> TlsError {
        TlsError::Pair { certificate: self.certificate.clone(), key: self.key.clone(), cause }
    }
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

fn roots(path: &std::path::Path) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    for certificate in pem::certificates(path)? {
        store.add(certificate).map_err(|cause| TlsError::Root { path: path.to_owned(), cause })?;
    }
    Ok(store)
}

#[cfg(test)]
mod tests;
