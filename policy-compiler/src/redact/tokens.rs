//! Placeholders that stand for one value each: keyed pseudonyms, which nobody can turn back, and tokens, which their conversation can.
//!
//! Both pass no detector: they are recognised as placeholders, and their suffix has no digit that could begin a value.

use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Letters of a pseudonym's suffix: 40 bits.
const PSEUDONYM_LETTERS: usize = 10;
/// Letters of a token's suffix: 16 bits, so that a model that makes up a token does not hit one.
const TOKEN_LETTERS: usize = 4;
/// Bytes of the longest token.
const TOKEN_BYTES_MAX: usize = 64;
/// Values that one conversation may have tokens for.
const TOKENS_MAX: usize = 4096;
/// Block of SHA-256 in bytes.
const BLOCK: usize = 64;

/// `[US_SSN_kdjfhaopcb]`: the same for the same value under the same key, which is one per tenant (RFC 2104 with SHA-256).
#[must_use]
pub fn pseudonym(key: &[u8], label: &str, value: &[u8]) -> String {
    format!("[{label}_{}]", letters(&hmac(key, &[label.as_bytes(), b"\0", value]), PSEUDONYM_LETTERS))
}

/// A conversation has as many different values as it may have tokens for: the value must be masked by its label instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a conversation has more than {TOKENS_MAX} different values to replace by tokens")]
pub struct TooManyTokens;

/// The tokens of one conversation. It holds the values, so it stays in memory or is sealed; it has no `Debug`.
#[derive(Default)]
pub struct TokenMap {
    key: Vec<u8>,
    by_value: HashMap<(String, Vec<u8>), String>,
    by_token: HashMap<String, Vec<u8>>,
    counts: HashMap<String, u32>,
}

impl TokenMap {
    /// A map without tokens; `key` is the conversation's own and random.
    #[must_use]
    pub fn new(key: &[u8]) -> Self {
        Self { key: key.to_vec(), ..Self::default() }
    }

    /// `<EMAIL_1_kxqb>`: the token of a value, the same as before if it had one.
    ///
    /// # Errors
    /// [`TooManyTokens`]
    pub fn issue(&mut self, label: &str, value: &[u8]) -> Result<String, TooManyTokens> {
        let entry = (label.to_owned(), value.to_vec());
        if let Some(token) = self.by_value.get(&entry) {
            return Ok(token.clone());
        }
        if self.by_value.len() >= TOKENS_MAX {
            return Err(TooManyTokens);
        }
        let count = self.counts.entry(label.to_owned()).or_default();
        *count += 1;
        let mac = hmac(&self.key, &[label.as_bytes(), b"\0", &count.to_be_bytes()]);
        let token = format!("<{label}_{count}_{}>", letters(&mac, TOKEN_LETTERS));
        self.by_token.insert(token.clone(), value.to_vec());
        self.by_value.insert(entry, token.clone());
        Ok(token)
    }

    /// What a token stands for, if this conversation issued it.
    #[must_use]
    pub fn value_of(&self, token: &str) -> Option<&[u8]> {
        self.by_token.get(token).map(Vec::as_slice)
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

/// Puts values back where their tokens stand, in a text that arrives in pieces. A token that was not issued stays as it is.
#[derive(Default)]
pub struct Restorer {
    /// From a `<` on that can still become a token.
    held: Vec<u8>,
}

impl Restorer {
    /// The state before the first piece.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a piece and appends what can be released; no more than one token is held.
    pub fn push(&mut self, map: &TokenMap, piece: &[u8], out: &mut Vec<u8>) {
        for &byte in piece {
            if byte == b'<' {
                out.append(&mut self.held);
                self.held.push(byte);
            } else if self.held.is_empty() {
                out.push(byte);
            } else {
                self.held.push(byte);
                self.settle(map, byte, out);
            }
        }
    }

    /// Ends the text.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        out.append(&mut self.held);
    }

    fn settle(&mut self, map: &TokenMap, byte: u8, out: &mut Vec<u8>) {
        if byte == b'>' {
            let value = std::str::from_utf8(&self.held).ok().and_then(|token| map.value_of(token));
            match value {
                Some(value) => {
                    out.extend_from_slice(value);
                    self.held.clear();
                }
                None => out.append(&mut self.held),
            }
        } else if !(byte.is_ascii_alphanumeric() || byte == b'_') || self.held.len() >= TOKEN_BYTES_MAX {
            out.append(&mut self.held);
        }
    }
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
        let mut map = TokenMap::new(b"conversation");
        for label in policy_lang::catalogue::detectors().iter().map(|detector| detector.label) {
            for value in 0..12_u8 {
                let token = map.issue(label, &[value]).unwrap();
                let text = format!("age {token}, ssn {token} password: {token} {}", pseudonym(b"k", label, &[value]));
                assert_eq!(whole(crate::dialect::TextKind::Plain, &masks, &text), text);
            }
        }
    }

    #[test]
    fn tokens_come_back_however_the_answer_is_cut() {
        let mut map = TokenMap::new(b"conversation");
        let (mail, card) =
            (map.issue("EMAIL", b"bob@example.com").unwrap(), map.issue("CREDIT_CARD", b"4111").unwrap());
        assert_eq!(map.issue("EMAIL", b"bob@example.com").unwrap(), mail);
        assert_eq!(map.len(), 2);
        let foreign = TokenMap::new(b"another").issue("EMAIL", b"eve@example.com").unwrap();
        let text = format!("a <b> <<{mail}{card}x{foreign} <EMAIL_1 {} <{}> {mail}", &mail[..6], "x".repeat(80));
        let expected = text.replace(&mail, "bob@example.com").replace(&card, "4111");
        for size in [1, 2, 3, 5, 7, text.len()] {
            let (mut restorer, mut out) = (Restorer::new(), Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| restorer.push(&map, piece, &mut out));
            restorer.finish(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }

    #[test]
    fn a_conversation_has_a_bound() {
        let mut map = TokenMap::new(b"conversation");
        for value in 0..TOKENS_MAX {
            map.issue("EMAIL", &value.to_be_bytes()).unwrap();
        }
        assert_eq!(map.issue("EMAIL", b"one more"), Err(TooManyTokens));
        assert!(map.issue("EMAIL", &0_usize.to_be_bytes()).is_ok() && !map.is_empty());
    }
}
