//! What no longer counts although its signature does: the revocation list, a TOML file that is read again when it changes.
//!
//! ```toml
//! [[revoked]]
//! jti = "5f1c…"                            # one token
//! [[revoked]]
//! subject = "alice"                        # everything of one subject …
//! issuer = "https://idp.example.com"       # … of this issuer
//! [[revoked]]
//! issuer = "https://idp.example.com"
//! issued_before = "2026-11-20T12:00:00Z"   # everything that the issuer signed before
//! ```

use super::Identity;
use serde::Deserialize;

/// Entries of the longest list that is taken.
pub const REVOKED_MAX: usize = 100_000;

/// A list of what is revoked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Revocations {
    entries: Vec<Entry>,
}

/// Everything that is named must fit.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    issuer: Option<String>,
    jti: Option<String>,
    subject: Option<String>,
    issued_before_unix_s: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    revoked: Vec<toml::Spanned<EntryFile>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryFile {
    issuer: Option<String>,
    jti: Option<String>,
    subject: Option<String>,
    issued_before: Option<String>,
}

impl Revocations {
    /// Reads the list.
    ///
    /// # Errors
    /// One sentence that names the line and the fix: unknown keys, an entry that names nothing, a time that is none.
    pub fn parse(text: &str) -> Result<Self, String> {
        let line = |offset: usize| 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        let file: File = toml::from_str(text).map_err(|error| {
            let at = error.span().map_or(1, |span| line(span.start));
            format!("line {at}: {}", error.message().lines().next().unwrap_or_default())
        })?;
        if file.revoked.len() > REVOKED_MAX {
            return Err(format!("more than {REVOKED_MAX} entries; use issued_before, or shorter tokens"));
        }
        let entries = file.revoked.into_iter().map(|spanned| {
            let at = line(spanned.span().start);
            entry(spanned.into_inner()).map_err(|words| format!("line {at}: {words}"))
        });
        Ok(Self { entries: entries.collect::<Result<_, _>>()? })
    }

    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nothing is revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether the identity is revoked. A token that does not say when it was issued counts as issued before any time.
    #[must_use]
    pub fn covers(&self, identity: &Identity) -> bool {
        self.entries.iter().any(|entry| {
            entry.issuer.as_ref().is_none_or(|issuer| *issuer == identity.issuer)
                && entry.jti.as_ref().is_none_or(|jti| identity.token_id.as_ref() == Some(jti))
                && entry.subject.as_ref().is_none_or(|subject| *subject == identity.subject)
                && entry
                    .issued_before_unix_s
                    .is_none_or(|before| identity.issued_at_unix_s.is_none_or(|issued| issued < before))
        })
    }
}

fn entry(file: EntryFile) -> Result<Entry, String> {
    let issued_before_unix_s = match &file.issued_before {
        None => None,
        Some(text) => {
            let time: jiff::Timestamp =
                text.parse().map_err(|_| format!("`{text}` is not a time; write it as 2026-11-20T12:00:00Z"))?;
            Some(u64::try_from(time.as_second()).unwrap_or(0))
        }
    };
    if file.jti.is_none() && file.subject.is_none() && issued_before_unix_s.is_none() {
        return Err(
            "an entry must name jti, subject or issued_before, so that it does not revoke everything".to_owned()
        );
    }
    Ok(Entry { issuer: file.issuer, jti: file.jti, subject: file.subject, issued_before_unix_s })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn someone(subject: &str, issued: Option<u64>, jti: Option<&str>) -> Identity {
        Identity {
            issued_at_unix_s: issued,
            token_id: jti.map(str::to_owned),
            ..Identity::new(subject, "https://idp.example.com")
        }
    }

    #[test]
    fn each_entry_covers_what_it_names_and_nothing_else() {
        let list = Revocations::parse(
            "[[revoked]]\njti = \"t-1\"\n[[revoked]]\nsubject = \"mallory\"\nissuer = \"https://idp.example.com\"\n\
             [[revoked]]\nsubject = \"bob\"\nissued_before = \"1970-01-01T00:01:40Z\"\n",
        )
        .unwrap();
        assert_eq!(list.len(), 3);
        for (identity, covered) in [
            (someone("alice", Some(1), Some("t-1")), true),
            (someone("alice", Some(1), Some("t-2")), false),
            (someone("alice", Some(1), None), false),
            (someone("mallory", Some(500), None), true),
            (Identity { issuer: "https://other.example.com".to_owned(), ..someone("mallory", None, None) }, false),
            (someone("bob", Some(99), None), true),
            (someone("bob", Some(100), None), false),
            (someone("bob", None, None), true),
        ] {
            assert_eq!(list.covers(&identity), covered, "{identity:?}");
        }
    }

    #[test]
    fn a_list_that_could_be_read_wrongly_is_refused_with_its_line() {
        for (text, words) in [
            ("[[revoked]]\nsub = \"a\"", "line 2"),
            ("\n[[revoked]]\nissuer = \"https://x\"", "must name jti"),
            ("[[revoked]]\nissued_before = \"yesterday\"", "2026-11-20T12:00:00Z"),
            ("revoked = 1", "line 1"),
        ] {
            let error = Revocations::parse(text).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
        assert!(Revocations::parse("").unwrap().is_empty());
    }
}
