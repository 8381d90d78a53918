//! People who have signed in to the console. Sessions are in memory: a restart has people sign in again, which costs them a
//! redirect, and signing out really ends a session.

use super::Control;
use super::cookies::{self, Kind};
use super::error::ApiError;
use crate::identity::{Identity, IdentityError};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode, header};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Sessions at a time; above, those that end soonest make room.
const SESSIONS_MAX: usize = 10_000;

/// The header in which a page that changes something repeats what only it can know.
pub(super) const CSRF_HEADER: &str = "x-sallyport-csrf";

/// Who has signed in.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    by_id: Mutex<HashMap<String, Session>>,
}

/// One person's session.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) identity: Identity,
    /// What a request must repeat to change something.
    pub(super) csrf: String,
    ends_at_unix_s: u64,
}

impl Sessions {
    /// Begins a session; its id. `None` only if the machine has no randomness.
    pub(super) fn begin(&self, identity: Identity, ends_at_unix_s: u64, now_unix_s: u64) -> Option<String> {
        let (id, csrf) = (cookies::new_id()?, cookies::new_id()?);
        let mut sessions = self.lock();
        if sessions.len() >= SESSIONS_MAX {
            sessions.retain(|_, session| now_unix_s < session.ends_at_unix_s);
        }
        if sessions.len() >= SESSIONS_MAX
            && let Some(first) = sessions.iter().min_by_key(|(_, own)| own.ends_at_unix_s).map(|(id, _)| id.clone())
        {
            sessions.remove(&first);
        }
        sessions.insert(id.clone(), Session { identity, csrf, ends_at_unix_s });
        Some(id)
    }

    pub(super) fn get(&self, id: &str, now_unix_s: u64) -> Option<Session> {
        self.lock().get(id).filter(|session| now_unix_s < session.ends_at_unix_s).cloned()
    }

    pub(super) fn end(&self, id: &str) -> Option<Session> {
        self.lock().remove(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Session>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The session that a request's cookie names, if its person still counts.
pub(super) fn find(headers: &HeaderMap, control: &Control) -> Option<(String, Session)> {
    let id = control.cookies.read(Kind::Session, headers)?;
    let session = control.sessions.get(&id, control.shared.clock.unix_s())?;
    if control.shared.verifier.is_revoked(&session.identity) {
        control.sessions.end(&id);
        return None;
    }
    Some((id, session))
}

/// Who asks by a session. Whatever is not mere reading must prove that a page of ours sent it: browsers send cookies along
/// with what other pages ask for, too.
pub(super) fn of_request(parts: &Parts, control: &Control) -> Result<Identity, ApiError> {
    let (_, session) = find(&parts.headers, control).ok_or(IdentityError::Missing)?;
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let proof = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
    if reads || (is_same_origin(&parts.headers, control) && proof.is_some_and(|proof| equal(proof, &session.csrf))) {
        return Ok(session.identity);
    }
    let message =
        format!("a change by a browser session needs the {CSRF_HEADER} header that GET /api/v1/session shows");
    Err(ApiError::new(StatusCode::FORBIDDEN, "csrf", message))
}

/// Whether the request says that it comes from a page of ours. Browsers send `Origin` with every request that changes
/// something; a request without it comes from no browser, and cannot have a browser's cookie unless it was given it.
pub(super) fn is_same_origin(headers: &HeaderMap, control: &Control) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let Ok(origin) = origin.to_str() else { return false };
    match &control.shared.config.admin.url {
        Some(url) => url == origin || url.strip_prefix(origin).is_some_and(|rest| rest.starts_with('/')),
        None => {
            let host = headers.get(header::HOST).and_then(|value| value.to_str().ok());
            host.is_some_and(|host| origin.strip_prefix("http://") == Some(host))
        }
    }
}

/// Compares secrets in constant time.
pub(super) fn equal(a: &str, b: &str) -> bool {
    aws_lc_rs::constant_time::verify_slices_are_equal(a.as_bytes(), b.as_bytes()).is_ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_session_ends_by_itself_or_when_it_is_told_to() {
        let sessions = Sessions::default();
        let id = sessions.begin(Identity::new("alice", "https://idp.example.com"), 100, 0).unwrap();
        assert_eq!(sessions.get(&id, 99).unwrap().identity.subject, "alice");
        assert!(sessions.get(&id, 100).is_none());
        assert!(sessions.end(&id).is_some());
        assert!(sessions.get(&id, 0).is_none());
    }

    #[test]
    fn their_number_is_bounded() {
        let sessions = Sessions::default();
        for number in 0..SESSIONS_MAX as u64 + 5 {
            sessions.begin(Identity::new("x", "https://idp.example.com"), 1000 + number, 0).unwrap();
        }
        assert_eq!(sessions.lock().len(), SESSIONS_MAX);
    }
}
