//! What is presented to model servers in place of the caller's credential. The control plane keeps the values fresh; the cores
//! read them without a lock. Without a valid value no call goes up: a model server must never see a call that lacks it.

use crate::config::{Credential, CredentialSource, Secret};
use arc_swap::ArcSwapOption;
use std::sync::Arc;
use tokio::sync::Notify;

/// A credential that may change while the gateway runs.
#[derive(Debug)]
pub struct Slot {
    credential: Credential,
    held: ArcSwapOption<Held>,
    refused: Arc<Notify>,
}

/// The value of a header, for as long as it counts.
#[derive(Debug)]
pub struct Held {
    line: Secret,
    expires_at_unix_s: u64,
}

impl Slot {
    /// The credential as the configuration holds it; an access token has yet to be fetched.
    #[must_use]
    pub fn new(credential: Credential) -> Self {
        let slot = Self { held: ArcSwapOption::empty(), refused: Arc::default(), credential };
        if let CredentialSource::Fixed(secret) | CredentialSource::File(_, secret) = &slot.credential.source {
            slot.hold(secret, u64::MAX);
        }
        slot
    }

    /// How it is configured.
    #[must_use]
    pub fn credential(&self) -> &Credential {
        &self.credential
    }

    /// The header to send, if a value is held that counts now.
    #[must_use]
    pub fn header(&self, now_unix_s: u64) -> Option<(&str, Arc<Held>)> {
        let held = self.held.load_full().filter(|held| now_unix_s < held.expires_at_unix_s)?;
        Some((&self.credential.header, held))
    }

    /// Replaces the value.
    pub fn hold(&self, secret: &Secret, expires_at_unix_s: u64) {
        let line = Secret::new(format!("{}{}", self.credential.prefix, secret.expose()));
        self.held.store(Some(Arc::new(Held { line, expires_at_unix_s })));
    }

    /// The model server did not accept the value: the control plane may look for a newer one.
    pub fn was_refused(&self) {
        self.refused.notify_one();
    }

    /// Notified by [`Slot::was_refused`].
    pub(crate) fn refused(&self) -> Arc<Notify> {
        Arc::clone(&self.refused)
    }
}

impl Held {
    /// The whole value of the header.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.line.expose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::config::{ClientCredentials, ClientSecret};

    fn slot(source: CredentialSource) -> Slot {
        Slot::new(Credential { header: "authorization".to_owned(), prefix: "Bearer ", source })
    }

    fn line(slot: &Slot, now_unix_s: u64) -> Option<String> {
        slot.header(now_unix_s).map(|(name, held)| format!("{name}: {}", held.expose()))
    }

    #[test]
    fn a_fixed_value_is_there_at_once_and_can_be_replaced() {
        let slot = slot(CredentialSource::Fixed(Secret::new("alpha-1".to_owned())));
        assert_eq!(line(&slot, 0).as_deref(), Some("authorization: Bearer alpha-1"));
        slot.hold(&Secret::new("beta-2".to_owned()), u64::MAX);
        assert_eq!(line(&slot, 0).as_deref(), Some("authorization: Bearer beta-2"));
        assert!(!format!("{slot:?}").contains("beta-2") && !format!("{slot:?}").contains("alpha-1"));
    }

    #[test]
    fn an_access_token_counts_until_it_expires_and_not_before_it_is_there() {
        let slot = slot(CredentialSource::Oauth2(Box::new(ClientCredentials {
            token_url: "https://idp.example.com/token".to_owned(),
            client_id: "gw".to_owned(),
            client_secret: ClientSecret::fixed(Secret::new("s3cret".to_owned())),
            scopes: Vec::new(),
            audience: None,
            resource: None,
        })));
        assert_eq!(line(&slot, 0), None);
        slot.hold(&Secret::new("t".to_owned()), 100);
        assert_eq!(line(&slot, 99).as_deref(), Some("authorization: Bearer t"));
        assert_eq!(line(&slot, 100), None);
    }
}
