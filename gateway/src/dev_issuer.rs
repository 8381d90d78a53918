//! The development issuer: a key in the data directory that mints tokens for anyone, so that the quickstart needs no
//! identity provider. Whoever can read `<data>/dev-issuer/` can be everybody, which is why it refuses to serve anything
//! but the loopback.

use crate::config::{Config, Issuer, JwksSource};
use crate::identity::KeySet;
use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::json;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The `iss` of its tokens.
pub const DEV_ISSUER_URL: &str = "https://dev-issuer.sallyport.invalid";
/// The `aud` of its tokens.
pub const DEV_AUDIENCE: &str = "sallyport-dev";
/// The longest life of a token.
pub const TTL_MAX: Duration = Duration::from_hours(24 * 30);

const KEY_FILE: &str = "ed25519.pkcs8";

/// Why the development issuer is not to be had.
#[derive(Debug, thiserror::Error)]
pub enum DevIssuerError {
    /// There is no key yet.
    #[error("{} has no development issuer; start `sallyport` (the quickstart) once, or name its data directory with --data", .0.display())]
    Absent(PathBuf),
    /// A file of it cannot be read or written.
    #[error("cannot {action} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system says.
        cause: std::io::Error,
    },
    /// Others may read the key.
    #[error("{} can be read by others; make it private with: chmod 600 {}", .0.display(), .0.display())]
    NotPrivate(PathBuf),
    /// The file holds no Ed25519 key.
    #[error("{} is not an Ed25519 key; remove it to have a new one made", .0.display())]
    NotAKey(PathBuf),
    /// A listener that others can reach.
    #[error(
        "the development issuer gives a token to whoever asks, so it only serves the loopback, and {setting} {address} is not on it; \
         use 127.0.0.1, or configure a real issuer: sallyport run --config sallyport.toml"
    )]
    NotLoopback {
        /// The setting.
        setting: &'static str,
        /// Its value.
        address: SocketAddr,
    },
    /// A token may not live that long.
    #[error("a development token lives at most 30 days")]
    TtlTooLong,
    /// The token could not be signed.
    #[error("the token could not be signed: {0}")]
    Sign(String),
}

/// What a token is to say.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// `sub`
    pub user: String,
    /// `groups`
    pub groups: Vec<String>,
    /// How long it lives, at most [`TTL_MAX`].
    pub ttl: Duration,
}

/// The key that signs development tokens.
pub struct DevIssuer {
    key: EncodingKey,
    public_key: Vec<u8>,
}

impl DevIssuer {
    /// Opens the issuer of a data directory, making its key (mode 0600) the first time.
    ///
    /// # Errors
    /// The key cannot be read or written, is no key, or can be read by others.
    pub fn open_or_create(data: &Path) -> Result<Self, DevIssuerError> {
        match Self::open(data) {
            Err(DevIssuerError::Absent(_)) => {
                create_key(data)?;
                Self::open(data)
            }
            opened => opened,
        }
    }

    /// Opens the issuer of a data directory.
    ///
    /// # Errors
    /// [`DevIssuerError::Absent`] if there is none; else as [`DevIssuer::open_or_create`].
    pub fn open(data: &Path) -> Result<Self, DevIssuerError> {
        let path = key_path(data);
        let io = |action| move |path: &Path, cause| DevIssuerError::Io { action, path: path.to_owned(), cause };
        let metadata = match std::fs::metadata(&path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(DevIssuerError::Absent(data.to_owned()));
            }
            Err(error) => return Err(io("read")(&path, error)),
        };
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(DevIssuerError::NotPrivate(path));
        }
        let pkcs8 = std::fs::read(&path).map_err(|error| io("read")(&path, error))?;
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| DevIssuerError::NotAKey(path))?;
        Ok(Self { public_key: pair.public_key().as_ref().to_vec(), key: EncodingKey::from_ed_der(&pkcs8) })
    }

    /// Refuses a configuration whose ports others can reach.
    ///
    /// # Errors
    /// [`DevIssuerError::NotLoopback`]
    pub fn guard(config: &Config) -> Result<(), DevIssuerError> {
        for (setting, address) in [("--listen", config.listen.address), ("--admin", config.admin.address)] {
            if !address.ip().is_loopback() {
                return Err(DevIssuerError::NotLoopback { setting, address });
            }
        }
        Ok(())
    }

    /// How the verifier is to know this issuer. Its keys are handed over in the process, never fetched.
    #[must_use]
    pub fn issuer() -> Issuer {
        let mut issuer = Issuer::new(DEV_ISSUER_URL, vec![DEV_AUDIENCE.to_owned()]);
        issuer.jwks = JwksSource::Embedded;
        issuer
    }

    /// The public key as a key set.
    ///
    /// # Errors
    /// Those of [`KeySet::parse`]; a key of ours is well-formed.
    pub fn keys(&self) -> Result<KeySet, serde_json::Error> {
        let x = URL_SAFE_NO_PAD.encode(&self.public_key);
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": self.key_id(), "x": x });
        KeySet::parse(json!({ "keys": [key] }).to_string().as_bytes())
    }

    /// Mints a token.
    ///
    /// # Errors
    /// Its life is too long, or signing failed.
    pub fn mint(&self, request: &TokenRequest, now_unix_s: u64) -> Result<String, DevIssuerError> {
        if request.ttl > TTL_MAX {
            return Err(DevIssuerError::TtlTooLong);
        }
        let mut header = Header::new(Algorithm::EdDSA);
        header.kid = Some(self.key_id());
        let mut token_id = [0_u8; 8];
        aws_lc_rs::rand::fill(&mut token_id).map_err(|_| DevIssuerError::Sign("no randomness".to_owned()))?;
        let claims = json!({
            "iss": DEV_ISSUER_URL,
            "aud": DEV_AUDIENCE,
            "sub": request.user,
            "groups": request.groups,
            "iat": now_unix_s,
            "exp": now_unix_s.saturating_add(request.ttl.as_secs()),
            "jti": hex::encode(token_id),
        });
        jsonwebtoken::encode(&header, &claims, &self.key).map_err(|error| DevIssuerError::Sign(error.to_string()))
    }

    fn key_id(&self) -> String {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.public_key);
        format!("dev-{}", hex::encode(digest.as_ref().get(..4).unwrap_or_default()))
    }
}

fn key_path(data: &Path) -> PathBuf {
    data.join("dev-issuer").join(KEY_FILE)
}

fn create_key(data: &Path) -> Result<(), DevIssuerError> {
    let path = key_path(data);
    let failed = |cause| DevIssuerError::Io { action: "write", path: path.clone(), cause };
    let pair = Ed25519KeyPair::generate().map_err(|_| failed(std::io::Error::other("no randomness")))?;
    let pkcs8: Pkcs8V1Der<'_> =
        pair.as_der().map_err(|_| failed(std::io::Error::other("the key could not be written as PKCS#8")))?;
    std::fs::create_dir_all(data).map_err(failed)?;
    if let Some(directory) = path.parent() {
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(directory).map_err(failed)?;
    }
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    file.write_all(pkcs8.as_ref()).and_then(|()| file.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::config::IdentitySettings;
    use crate::identity::{CallerKind, IdentityError, Verifier};

    fn request(ttl: Duration) -> TokenRequest {
        TokenRequest { user: "alice".to_owned(), groups: vec!["ml-apps".to_owned()], ttl }
    }

    #[test]
    fn its_tokens_pass_the_verifier_until_they_expire() {
        let data = tempfile::tempdir().unwrap();
        let issuer = DevIssuer::open_or_create(data.path()).unwrap();
        let verifier = Verifier::new(&[DevIssuer::issuer()], &IdentitySettings::default());
        verifier.install(0, issuer.keys().unwrap(), 0);
        // The same key is found again.
        let again = DevIssuer::open(data.path()).unwrap();
        let token = again.mint(&request(Duration::from_hours(1)), 1_000_000).unwrap();
        let identity = verifier.verify(&token, 1_000_001).unwrap();
        assert_eq!((identity.subject.as_str(), identity.kind), ("alice", CallerKind::User));
        assert!(identity.in_group("ml-apps"));
        assert_eq!(verifier.verify(&token, 1_003_700), Err(IdentityError::Expired));
    }

    #[test]
    fn the_key_is_private() {
        let data = tempfile::tempdir().unwrap();
        drop(DevIssuer::open_or_create(data.path()).unwrap());
        let path = key_path(data.path());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(DevIssuer::open(data.path()), Err(DevIssuerError::NotPrivate(_))));
    }

    #[test]
    fn what_is_missing_or_wrong_is_said() {
        let data = tempfile::tempdir().unwrap();
        assert!(matches!(DevIssuer::open(data.path()), Err(DevIssuerError::Absent(_))));
        let issuer = DevIssuer::open_or_create(data.path()).unwrap();
        assert!(matches!(issuer.mint(&request(TTL_MAX * 2), 0), Err(DevIssuerError::TtlTooLong)));
        std::fs::write(key_path(data.path()), "nonsense").unwrap();
        assert!(matches!(DevIssuer::open(data.path()), Err(DevIssuerError::NotAKey(_))));
    }
}
