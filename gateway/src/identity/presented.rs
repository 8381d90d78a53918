//! Where callers put their credential: `Authorization: Bearer`, `x-api-key` or `api-key`, so that every SDK works.

use super::IdentityError;

/// The headers that are looked at, in lower case.
pub const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// The one credential of a call, from its header lines as received; names in any case. Whether it is text at all is left to
/// [`text_of`]: a credential that is remembered equals one that was.
///
/// # Errors
/// [`IdentityError::Missing`] if there is none, [`IdentityError::TwoCredentials`] if there are several, even equal ones: a
/// proxy before us may have judged the other one. [`IdentityError::Malformed`] if it is of another scheme.
#[inline]
pub fn presented<'a, 'n>(lines: impl Iterator<Item = (&'n str, &'a [u8])>) -> Result<&'a [u8], IdentityError> {
    let mut found = None;
    for (name, value) in lines {
        // One pass over all lines, and most are told apart by their length alone.
        let Some(name) = CREDENTIAL_HEADERS.into_iter().find(|own| own.eq_ignore_ascii_case(name)) else { continue };
        if found.replace((name, value)).is_some() {
            return Err(IdentityError::TwoCredentials);
        }
    }
    let (name, value) = found.ok_or(IdentityError::Missing)?;
    let token = if name == "authorization" {
        let (scheme, token) = value.split_at_checked("bearer".len()).ok_or(IdentityError::Malformed)?;
        if !scheme.eq_ignore_ascii_case(b"bearer") || token.first() != Some(&b' ') {
            return Err(IdentityError::Malformed);
        }
        token
    } else {
        value
    };
    let token = without_spaces(token);
    if token.is_empty() { Err(IdentityError::Missing) } else { Ok(token) }
}

fn without_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = value {
        value = rest;
    }
    value
}

/// A credential as text, if it has only the characters of RFC 6750 §2.1; `~` and `/` are among them, spaces and commas are not.
/// Asked only of credentials that are not remembered.
///
/// # Errors
/// [`IdentityError::Malformed`] if there are others.
pub(super) fn text_of(credential: &[u8]) -> Result<&str, IdentityError> {
    let is_of_tokens = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    match std::str::from_utf8(credential) {
        Ok(text) if credential.iter().all(is_of_tokens) => Ok(text),
        _ => Err(IdentityError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &'static [u8])]) -> Result<&'static str, IdentityError> {
        presented(lines.iter().copied()).and_then(text_of)
    }

    #[test]
    fn one_credential_is_found_wherever_sdks_put_it() {
        assert_eq!(of(&[("authorization", b"Bearer abc.def")]), Ok("abc.def"));
        assert_eq!(of(&[("authorization", b"bearer  abc")]), Ok("abc"));
        assert_eq!(of(&[("Host", b"gw"), ("X-API-Key", b"abc")]), Ok("abc"));
        assert_eq!(of(&[("api-key", b" abc ")]), Ok("abc"));
        assert_eq!(of(&[("cookie", b"abc")]), Err(IdentityError::Missing));
        assert_eq!(of(&[("x-api-key", b"")]), Err(IdentityError::Missing));
    }

    #[test]
    fn two_credentials_are_one_too_many() {
        for lines in [
            [("authorization", b"Bearer a".as_slice()), ("x-api-key", b"b")],
            [("authorization", b"Bearer a".as_slice()), ("api-key", b"a")],
            [("authorization", b"Bearer a".as_slice()), ("authorization", b"Bearer a")],
            [("x-api-key", b"a".as_slice()), ("x-api-key", b"b")],
        ] {
            assert_eq!(of(&lines), Err(IdentityError::TwoCredentials), "{lines:?}");
        }
    }

    #[test]
    fn characters_that_no_token_has_are_refused() {
        for value in [b"Basic YTpi".as_slice(), b"Bearer", b"Bearer abc\xff", b"Bearer\tabc"] {
            assert_eq!(of(&[("authorization", value)]), Err(IdentityError::Malformed), "{value:?}");
        }
        for credential in ["a b", "a,b", "\u{430}bc", "abc\u{a0}", "a\tb", "a;b", "a\0"] {
            assert_eq!(text_of(credential.as_bytes()), Err(IdentityError::Malformed), "{credential}");
        }
        assert_eq!(text_of(b"eyJ-_.~+/=AZaz09"), Ok("eyJ-_.~+/=AZaz09"));
    }
}
