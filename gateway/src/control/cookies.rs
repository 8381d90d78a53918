//! Cookies that only this gateway can have made: an id, and an HMAC over it and over what the cookie is for.

use super::Control;
use aws_lc_rs::hmac;
use axum::http::{HeaderMap, HeaderValue, header};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cookie::{Cookie, SameSite};
use std::time::Duration;

/// Random bytes of an id.
const ID_BYTES: usize = 32;

/// What a cookie is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A login that is under way. Comes back with the redirect from the issuer, so it must not be `Strict`.
    Login,
    /// Someone who has signed in. Never sent along with a request that another site began.
    Session,
    /// The link in a mail that someone followed before signing in. Comes back with the redirect from the issuer, too.
    Link,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Login => "sallyport-login",
            Self::Session => "sallyport-session",
            Self::Link => "sallyport-link",
        }
    }

    fn same_site(self) -> SameSite {
        match self {
            Self::Login | Self::Link => SameSite::Lax,
            Self::Session => SameSite::Strict,
        }
    }
}

/// Signs and reads cookies.
#[derive(Debug)]
pub(super) struct Cookies {
    key: hmac::Key,
    /// Over TLS cookies are `Secure` and bound to the host by their name (RFC 6265bis §4.1.3.2).
    secure: bool,
}

impl Cookies {
    pub(super) fn new(key: &[u8; 32], secure: bool) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), secure }
    }

    /// The header that sets a cookie.
    pub(super) fn set(&self, kind: Kind, id: &str, life: Duration) -> Option<HeaderValue> {
        let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &signed(kind, id)));
        self.header(kind, format!("{id}.{tag}"), life)
    }

    /// A secret that goes with an id, the same whenever it is asked for, and known to nobody else.
    pub(super) fn derived(&self, purpose: &str, id: &str) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.key, &[purpose.as_bytes(), &[1], id.as_bytes()].concat()))
    }

    /// The header that removes it.
    pub(super) fn clear(&self, kind: Kind) -> Option<HeaderValue> {
        self.header(kind, String::new(), Duration::ZERO)
    }

    /// The id in a request's cookie, if this gateway made it. Several of the name are one too many.
    pub(super) fn read(&self, kind: Kind, headers: &HeaderMap) -> Option<String> {
        let name = self.name(kind);
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut values = lines.flat_map(Cookie::split_parse).filter_map(Result::ok).filter(|own| own.name() == name);
        let cookie = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let (id, tag) = cookie.value().split_once('.')?;
        let tag = URL_SAFE_NO_PAD.decode(tag).ok()?;
        hmac::verify(&self.key, &signed(kind, id), &tag).ok()?;
        Some(id.to_owned())
    }

    fn header(&self, kind: Kind, value: String, life: Duration) -> Option<HeaderValue> {
        let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        let mut cookie = Cookie::new(self.name(kind), value);
        cookie.set_http_only(true);
        cookie.set_same_site(kind.same_site());
        cookie.set_secure(self.secure);
        cookie.set_path("/");
        cookie.set_max_age(cookie::time::Duration::seconds(seconds));
        HeaderValue::from_str(&cookie.to_string()).ok()
    }

    fn name(&self, kind: Kind) -> String {
        let prefix = if self.secure { "__Host-" } else { "" };
        format!("{prefix}{}", kind.name())
    }
}

fn signed(kind: Kind, id: &str) -> Vec<u8> {
    [kind.name().as_bytes(), &[0], id.as_bytes()].concat()
}

/// An id that nobody can guess.
pub(super) fn new_id() -> Option<String> {
    let mut id = [0; ID_BYTES];
    aws_lc_rs::rand::fill(&mut id).ok()?;
    Some(URL_SAFE_NO_PAD.encode(id))
}

impl Control {
    /// The cookies of this gateway; the key is the keystore's, so that it is the same after a restart.
    pub(super) fn make_cookies(shared: &crate::shared::Shared) -> Cookies {
        let secure = shared.config.admin.url.as_deref().is_some_and(|url| url.starts_with("https://"));
        Cookies::new(&shared.evidence.mac("console cookies", &[]), secure)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sent_back(set: &HeaderValue) -> HeaderMap {
        let pair = set.to_str().unwrap().split(';').next().unwrap().to_owned();
        HeaderMap::from_iter([(header::COOKIE, HeaderValue::try_from(format!("other=1; {pair}")).unwrap())])
    }

    #[test]
    fn what_was_set_is_read_and_nothing_else() {
        let cookies = Cookies::new(&[7; 32], true);
        let id = new_id().unwrap();
        let set = cookies.set(Kind::Session, &id, Duration::from_hours(8)).unwrap();
        let text = set.to_str().unwrap();
        for attribute in
            ["__Host-sallyport-session=", "; HttpOnly", "; SameSite=Strict", "; Secure", "; Path=/", "; Max-Age=28800"]
        {
            assert!(text.contains(attribute), "{attribute} is not in {text}");
        }
        let headers = sent_back(&set);
        assert_eq!(cookies.read(Kind::Session, &headers), Some(id.clone()));
        assert_eq!(cookies.read(Kind::Login, &headers), None);
        assert_eq!(Cookies::new(&[8; 32], true).read(Kind::Session, &headers), None);
        assert_eq!(Cookies::new(&[7; 32], false).read(Kind::Session, &headers), None);
        // A login cookie under a session's name is no session.
        let login = cookies.set(Kind::Login, &id, Duration::from_mins(10)).unwrap();
        assert!(login.to_str().unwrap().contains("SameSite=Lax"));
        let renamed = login.to_str().unwrap().replace("-login=", "-session=");
        assert_eq!(cookies.read(Kind::Session, &sent_back(&HeaderValue::try_from(renamed).unwrap())), None);
        let mut twice = headers.clone();
        twice.append(header::COOKIE, headers[header::COOKIE].clone());
        assert_eq!(cookies.read(Kind::Session, &twice), None);
        assert!(cookies.clear(Kind::Session).unwrap().to_str().unwrap().contains("Max-Age=0"));
    }
}
