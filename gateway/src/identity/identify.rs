//! The slow way of a credential that no core remembers.

use super::presented::text_of;
use super::{Failures, Identity, IdentityError, Verifier, VerifyPool};
use crate::config::IdentitySettings;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Opaque tokens that may wait to be shown to their issuer.
const OPAQUE_WAITING_MAX: usize = 256;

/// How long identifying one caller may take before the call is turned away; whoever awaits it keeps the time.
pub const IDENTIFY_WITHIN: Duration = Duration::from_secs(12);

/// What is shared by all that identify callers.
#[derive(Debug)]
pub struct Identification {
    /// Who fails too often.
    pub failures: Failures,
    pool: VerifyPool,
    opaque: mpsc::Sender<OpaqueToken>,
}

/// A token that only its issuer understands; the control plane asks.
#[derive(Debug)]
pub(crate) struct OpaqueToken {
    pub(crate) token: Box<str>,
    pub(crate) answer: oneshot::Sender<Result<Identity, IdentityError>>,
}

impl Identification {
    /// Starts the verification threads. The receiver is for the control plane.
    ///
    /// # Errors
    /// The system gives no more threads.
    pub(crate) fn start(
        verifier: &Arc<Verifier>,
        settings: &IdentitySettings,
    ) -> io::Result<(Self, mpsc::Receiver<OpaqueToken>)> {
        let (opaque, asked) = mpsc::channel(OPAQUE_WAITING_MAX);
        let pool = VerifyPool::start(verifier, settings.verify_threads, settings.verify_queue)?;
        Ok((Self { failures: Failures::new(settings.failures_per_minute), pool, opaque }, asked))
    }

    /// Who the credential stands for. Works on any executor. A token that names an unknown key waits for one look at the
    /// issuer's keys, if none was taken just now.
    ///
    /// # Errors
    /// The check that failed; [`IdentityError::Busy`] or [`IdentityError::IssuerUnavailable`] where it could not be made.
    pub async fn identify(
        &self,
        verifier: &Verifier,
        credential: &[u8],
        now_unix_s: u64,
    ) -> Result<Identity, IdentityError> {
        let credential = text_of(credential)?;
        if verifier.is_opaque(credential) {
            return self.ask_issuer(credential).await;
        }
        if !Verifier::is_signed(credential) {
            return verifier.verify(credential, now_unix_s);
        }
        let verified = self.pool.verify(credential, now_unix_s).await;
        if verified != Err(IdentityError::UnknownKey) {
            return verified;
        }
        match verifier.issuer_of(credential) {
            Some(issuer) if verifier.fresh_keys(issuer, now_unix_s).await => {
                self.pool.verify(credential, now_unix_s).await
            }
            _ => verified,
        }
    }

    async fn ask_issuer(&self, token: &str) -> Result<Identity, IdentityError> {
        if token.len() > super::TOKEN_BYTES_MAX {
            return Err(IdentityError::TooLong);
        }
        let (answer, identified) = oneshot::channel();
        let question = OpaqueToken { token: token.into(), answer };
        self.opaque.try_send(question).map_err(|_| IdentityError::Busy)?;
        identified.await.unwrap_or(Err(IdentityError::IssuerUnavailable))
    }
}
