//! Placeholders that stand for one value each: keyed pseudonyms, which nobody can turn back, and tokens, which their session can.
//!
//! Both pass no detector: they are recognised as placeholders, and their suffix has no digit that could begin a value.

use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Letters of a pseudonym's suffix: 40 bits.
const PSEUDONYM_LETTERS: usize = 10;
/// Letters of a token's suffix: 16 bits, so that a model that makes up a token does not hit one.
const TOKEN_LETTERS: usize = 4;
/// Bytes of a label in a token.
const LABEL_BYTES_MAX: usize = 40;
/// Values that one session may have tokens for.
const TOKENS_MAX: usize = 4096;
/// Block of SHA-256 in bytes.
const BLOCK: usize = 64;

/// `[US_SSN_kdjfhaopcb]`: the same for the same value under the same key, which is one per tenant (RFC 2104 with SHA-256).
#[must_use]
pub fn pseudonym(key: &[u8], label: &str, value: &[u8]) -> String {
    format!("[{label}_{}]", letters(&hmac(key, &[label.as_bytes(), b"\0", value]), PSEUDONYM_LETTERS))
}

/// A session has as many different values as it may have tokens for: the value must be masked by its label instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a session has more than {TOKENS_MAX} different values to replace by tokens")]
pub struct TooManyTokens;

/// The tokens of one session. It holds the values, so it stays in memory or is sealed; it has no `Debug`.
#[derive(Default)]
pub struct TokenMap {
    key: Vec<u8>,
    by_value: HashMap<(String, Vec<u8>), String>,
    by_token: HashMap<String, Vec<u8>>,
    counts: HashMap<String, u32>,
    fresh: Vec<String>,
}

impl TokenMap {
    /// A map without tokens; `key` is the session's own.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { key: key.to_vec(), ..Self::default() }
    }

    /// Takes in a token that the session issued before.
    pub fn remember(&mut self, token: &str, value: &[u8]) {
        let Some((label, count)) = parts(token) else { return };
        if self.by_token.len() >= TOKENS_MAX {
            return;
        }
        let highest = self.counts.entry(label.to_owned()).or_default();
        *highest = count.max(*highest);
        self.by_value.insert((label.to_owned(), value.to_vec()), token.to_owned());
        self.by_token.insert(token.to_owned(), value.to_vec());
    }

    /// `<EMAIL_1_kxqb>`: the token of a value, the same as before if it had one.
    ///
    /// # Errors
    /// [`TooManyTokens`]
    pub fn issue(&mut self, label: &str, value: &[u8]) -> Result<String, TooManyTokens> {
        let label = label.get(..LABEL_BYTES_MAX).unwrap_or(label);
        let entry = (label.to_owned(), value.to_vec());
        if let Some(token) = self.by_value.get(&entry) {
            return Ok(token.clone());
        }
        if self.by_token.len() >= TOKENS_MAX {
            return Err(TooManyTokens);
        }
        let count = self.counts.entry(label.to_owned()).or_default();
        *count += 1;
        // The value is part of it, so that two calls of a session that count alike name their values differently.
        let mac = hmac(&self.key, &[label.as_bytes(), b"\0", &count.to_be_bytes(), value]);
        let token = format!("<{label}_{count}_{}>", letters(&mac, TOKEN_LETTERS));
        self.by_token.insert(token.clone(), value.to_vec());
        self.by_value.insert(entry, token.clone());
        self.fresh.push(token.clone());
        Ok(token)
    }

    /// What a token stands for, if this session issued it. It may be spelt as HTML or Markdown need it.
    #[must_use]
    pub fn value_of(&self, spelt: &str) -> Option<&[u8]> {
        let name = spelt.strip_prefix('<').or_else(|| spelt.strip_prefix("&lt;"))?;
        let name = name.strip_suffix('>').or_else(|| name.strip_suffix("&gt;"))?;
        let token: String = "<".chars().chain(name.chars().filter(|&other| other != '\\')).chain(">".chars()).collect();
        self.by_token.get(&token).map(Vec::as_slice)
    }

    /// The tokens that were issued here and not taken in, with their values.
    pub fn fresh(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.fresh.iter().filter_map(|token| Some((token.as_str(), self.by_token.get(token)?.as_slice())))
    }

    /// How many values have tokens.
    #[must_use]
    pub fn len(&self) -> usize {
        self.by_token.len()
    }

    /// Whether no value has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.by_token.is_empty()
    }
}

/// Label and count of a token.
fn parts(token: &str) -> Option<(&str, u32)> {
    let mut parts = token.strip_prefix('<')?.strip_suffix('>')?.rsplitn(3, '_');
    let (_, count, label) = (parts.next()?, parts.next()?, parts.next()?);
    Some((label, count.parse().ok()?))
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    let mut block = [0_u8; BLOCK];
    let hashed = Sha256::digest(key);
    let key = if key.len() > BLOCK { hashed.as_slice() } else { key };
    for (slot, &byte) in block.iter_mut().zip(key) {
        *slot = byte;
    }
    let mut inner = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x36));
    parts.iter().for_each(|part| inner.update(part));
    let mut outer = Sha256::new_with_prefix(block.map(|byte| byte ^ 0x5c));
    outer.update(inner.finalize());
    outer.finalize().into()
}

/// Four bits per letter, `a` to `p`.
fn letters(mac: &[u8], count: usize) -> String {
    mac.iter().flat_map(|byte| [byte >> 4, byte & 0xf]).take(count).map(|nibble| char::from(b'a' + nibble)).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::redact::laws::{masks, whole};
    use policy_lang::Transform as Wanted;

    #[test]
    fn hmac_of_rfc_4231() {
        let hex = |mac: [u8; 32]| mac.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(
            hex(hmac(b"Jefe", &[b"what do ya want ", b"for nothing?"])),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(hmac(&[0xaa; 131], &[b"Test Using Larger Than Block-Size Key - Hash Key First"])),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn a_pseudonym_depends_on_key_label_and_value() {
        let one = pseudonym(b"tenant a", "US_SSN", b"536-22-8145");
        assert_eq!(one, pseudonym(b"tenant a", "US_SSN", b"536-22-8145"));
        for other in [
            pseudonym(b"tenant b", "US_SSN", b"536-22-8145"),
            pseudonym(b"tenant a", "EMAIL", b"536-22-8145"),
            pseudonym(b"tenant a", "US_SSN", b"536-22-8146"),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn placeholders_pass_no_detector() {
        let masks = masks(&Wanted::Label, &[]);
        let mut map = map_of(b"session");
        for label in policy_lang::catalogue::detectors().iter().map(|detector| detector.label) {
            for value in 0..12_u8 {
                let token = map.issue(label, &[value]).unwrap();
                let text = format!("age {token}, ssn {token} password: {token} {}", pseudonym(b"k", label, &[value]));
                assert_eq!(whole(crate::dialect::TextKind::Plain, &masks, &text), text);
            }
        }
    }

    fn map_of(key: &[u8]) -> TokenMap {
        TokenMap::new(key)
    }

    #[test]
    fn a_value_keeps_its_token_and_two_values_never_share_one() {
        let mut map = map_of(b"session");
        let mail = map.issue("EMAIL", b"bob@example.com").unwrap();
        assert!(mail.starts_with("<EMAIL_1_") && mail.len() == 14, "{mail}");
        assert_eq!(map.issue("EMAIL", b"bob@example.com").unwrap(), mail);
        let mut other = map_of(b"session");
        assert_ne!(other.issue("EMAIL", b"eve@example.com").unwrap(), mail, "the same count, another value");
        assert_ne!(map_of(b"another").issue("EMAIL", b"bob@example.com").unwrap(), mail, "another session");
        let mut later = map_of(b"session");
        later.remember(&mail, b"bob@example.com");
        assert_eq!(later.issue("EMAIL", b"bob@example.com").unwrap(), mail);
        let next = later.issue("EMAIL", b"eve@example.com").unwrap();
        assert!(next.starts_with("<EMAIL_2_"), "{next}");
        assert_eq!(later.fresh().collect::<Vec<_>>(), [(next.as_str(), &b"eve@example.com"[..])]);
        assert_eq!(later.len(), 2);
        for bad in ["", "EMAIL_1_abcd", "<EMAIL>", "<EMAIL_x_abcd>"] {
            later.remember(bad, b"x");
        }
        assert_eq!(later.len(), 2);
    }

    #[test]
    fn a_token_is_known_in_other_spellings() {
        let mut map = map_of(b"session");
        let token = map.issue("US_SSN", b"536-22-8145").unwrap();
        let name = token.trim_matches(['<', '>']);
        for spelt in [token.clone(), format!("&lt;{name}&gt;"), token.replace('_', "\\_")] {
            assert_eq!(map.value_of(&spelt), Some(&b"536-22-8145"[..]), "{spelt}");
        }
        assert_eq!(map.value_of(name), None);
        assert_eq!(map.value_of(&token.to_lowercase()), None);
    }

    #[test]
    fn a_session_has_a_bound() {
        let mut map = map_of(b"session");
        for value in 0..TOKENS_MAX {
            map.issue("EMAIL", &value.to_be_bytes()).unwrap();
        }
        assert_eq!(map.issue("EMAIL", b"one more"), Err(TooManyTokens));
        assert!(map.issue("EMAIL", &0_usize.to_be_bytes()).is_ok() && !map.is_empty());
    }
}
