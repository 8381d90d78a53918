//! The few primitives we use, with their parameters fixed: AES-256-GCM, HMAC-SHA-256, SHA-256, a random source.

use std::cell::RefCell;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use sha2::{Digest, Sha256};

use crate::error::EvidenceError;

/// Length of a SHA-256 digest, in bytes.
pub(crate) const DIGEST_BYTES: usize = 32;
/// Length of every symmetric key, in bytes.
pub(crate) const KEY_BYTES: usize = 32;
/// What sealing adds: the nonce in front and the tag behind, in bytes.
pub(crate) const SEAL_OVERHEAD_BYTES: usize = NONCE_LEN + 16;

/// A SHA-256 digest.
pub(crate) type Digest32 = [u8; DIGEST_BYTES];

/// Bytes that are drawn from the library's generator at once: a draw costs about as much as encrypting a kilobyte, however few
/// bytes it gives, and a call needs a dozen of keys, nonces and ids.
const DRAWN_BYTES: usize = 1024;

/// Random bytes that nobody was given yet.
struct Drawn {
    bytes: [u8; DRAWN_BYTES],
    /// How many are left, at the front.
    left: usize,
}

impl Drawn {
    /// Gives each byte once, and keeps none that it gave.
    fn take(&mut self, into: &mut [u8]) {
        if into.len() > self.left {
            fill(&mut self.bytes);
            self.left = DRAWN_BYTES;
        }
        match self.left.checked_sub(into.len()).and_then(|kept| Some((kept, self.bytes.get_mut(kept..self.left)?))) {
            Some((kept, given)) => {
                into.copy_from_slice(given);
                given.fill(0);
                self.left = kept;
            }
            None => fill(into),
        }
    }
}

thread_local! {
    static DRAWN: RefCell<Drawn> = const { RefCell::new(Drawn { bytes: [0; DRAWN_BYTES], left: 0 }) };
}

/// Random bytes of the library's generator. The process must not fork without exec, which it never does.
pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    DRAWN.with_borrow_mut(|drawn| drawn.take(&mut bytes));
    bytes
}

#[expect(
    clippy::expect_used,
    reason = "AWS-LC ends the process itself when the system has no randomness; it never returns an error here"
)]
fn fill(bytes: &mut [u8]) {
    aws_lc_rs::rand::fill(bytes).expect("the system has randomness");
}

/// SHA-256 of the parts, one after the other.
pub(crate) fn sha256(parts: &[&[u8]]) -> Digest32 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// HMAC-SHA-256 of the parts, each with its length in front so that no two lists of parts look alike.
pub(crate) fn mac(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> Digest32 {
    let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key));
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut digest = [0; DIGEST_BYTES];
    for (to, from) in digest.iter_mut().zip(context.sign().as_ref()) {
        *to = *from;
    }
    digest
}

/// Encrypts: nonce, ciphertext, tag. `bound_to` must be given again to open.
pub(crate) fn seal(key: &[u8; KEY_BYTES], bound_to: &[u8], text: &[u8]) -> Result<Vec<u8>, EvidenceError> {
    let nonce = random::<NONCE_LEN>();
    let mut sealed = Vec::with_capacity(text.len() + SEAL_OVERHEAD_BYTES);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(text);
    let (_, body) = sealed.split_at_mut(NONCE_LEN);
    let tag = cipher(key)?
        .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound_to), body)
        .map_err(|_| EvidenceError::Keys("encryption failed".to_owned()))?;
    sealed.extend_from_slice(tag.as_ref());
    Ok(sealed)
}

/// Opens what [`seal`] made.
pub(crate) fn open(key: &[u8; KEY_BYTES], bound_to: &[u8], sealed: &[u8]) -> Result<Vec<u8>, EvidenceError> {
    let wrong = || EvidenceError::Keys("it does not open with this key: wrong key, or changed bytes".to_owned());
    let (nonce, body) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
    let mut body = body.to_vec();
    let length = cipher(key)?
        .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(bound_to), &mut body)
        .map_err(|_| wrong())?
        .len();
    body.truncate(length);
    Ok(body)
}

fn cipher(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, EvidenceError> {
    UnboundKey::new(&AES_256_GCM, key)
        .map(LessSafeKey::new)
        .map_err(|_| EvidenceError::Keys("the key has the wrong length".to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn sealing_binds_key_context_and_every_byte() {
        let key = random();
        let sealed = seal(&key, b"here", b"secret text").unwrap();
        assert_eq!(open(&key, b"here", &sealed).unwrap(), b"secret text");
        assert!(open(&random(), b"here", &sealed).is_err());
        assert!(open(&key, b"there", &sealed).is_err());
        for position in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[position] ^= 1;
            assert!(open(&key, b"here", &changed).is_err(), "byte {position}");
            assert!(open(&key, b"here", &sealed[..position]).is_err(), "cut at {position}");
        }
    }

    #[test]
    fn no_random_byte_is_given_twice() {
        let mut seen = std::collections::HashSet::new();
        for _ in 0..10_000 {
            assert!(seen.insert(random::<12>()));
        }
        assert_ne!(random::<{ 2 * DRAWN_BYTES }>(), [0; 2 * DRAWN_BYTES]);
        let mut drawn = Drawn { bytes: [7; DRAWN_BYTES], left: DRAWN_BYTES };
        let mut given = [0; 100];
        drawn.take(&mut given);
        assert_eq!((given, drawn.left), ([7; 100], DRAWN_BYTES - 100));
        assert!(drawn.bytes[..drawn.left].iter().all(|byte| *byte == 7));
        assert!(drawn.bytes[drawn.left..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn known_answers() {
        assert_eq!(
            hex::encode(sha256(&[b"a", b"bc"])),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_ne!(mac(&[1; 32], &[b"a", b"bc"]), mac(&[1; 32], &[b"ab", b"c"]));
    }
}
