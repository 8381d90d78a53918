//! Signed checkpoints: C2SP tlog-checkpoint in a signed note (<https://c2sp.org/signed-note>), Ed25519.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::crypto::{Digest32, random, sha256};
use crate::error::EvidenceError;
use crate::layout;

/// Signature type of Ed25519 in key ids and encoded keys.
const ALGORITHM: u8 = 0x01;
/// First part of an encoded signer key, as Go's `note.GenerateKey` writes it.
const SIGNER_PREFIX: &str = "PRIVATE+KEY+";
/// Largest checkpoint that is looked at, in bytes.
const MAX_NOTE_BYTES: usize = 16 << 10;

/// What a log commits to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    pub(crate) origin: String,
    pub(crate) size: u64,
    pub(crate) root: Digest32,
}

impl Checkpoint {
    fn text(&self) -> String {
        format!("{}\n{}\n{}\n", self.origin, self.size, BASE64.encode(self.root))
    }

    /// The signed note, ready to be published.
    pub(crate) fn sign(&self, key: &SigningKey) -> String {
        let text = self.text();
        let signature = key.pair.sign(text.as_bytes());
        note(&text, &key.verifier, signature.as_ref())
    }

    /// The line for the log of checkpoints: size, root, and the base64 part of the note's signature line.
    pub(crate) fn log_line(&self, note: &str) -> String {
        let signature = note.trim_end().rsplit(' ').next().unwrap_or_default();
        format!("{} {} {signature}\n", self.size, BASE64.encode(self.root))
    }

    /// Reads a line of the log of checkpoints, without its line feed.
    pub(crate) fn from_log_line(line: &str, key: &VerifierKey) -> Result<Self, String> {
        let mut fields = line.split(' ');
        let (Some(size), Some(root), Some(signature), None) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        else {
            return Err("the line does not have three fields".to_owned());
        };
        let note = format!("{name}\n{size}\n{root}\n\n— {name} {signature}\n", name = key.name);
        Self::open(note.as_bytes(), key)
    }

    /// Reads a note and checks its signature. The note must be byte for byte what [`Self::sign`] makes.
    pub(crate) fn open(bytes: &[u8], key: &VerifierKey) -> Result<Self, String> {
        if bytes.len() > MAX_NOTE_BYTES {
            return Err("it is too long for a checkpoint".to_owned());
        }
        let all = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let (body, signatures) = all.split_once("\n\n").ok_or("it has no signature")?;
        let mut lines = body.split('\n');
        let (Some(origin), Some(size), Some(root), None) = (lines.next(), lines.next(), lines.next(), lines.next())
        else {
            return Err("it does not have three lines".to_owned());
        };
        let root = BASE64.decode(root).ok().and_then(|root| root.try_into().ok());
        let checkpoint = Self {
            origin: origin.to_owned(),
            size: size.parse().map_err(|_| "its size is not a number".to_owned())?,
            root: root.ok_or("its root is not a hash")?,
        };
        let signature = signatures
            .strip_prefix("— ")
            .and_then(|line| line.strip_suffix('\n')?.rsplit_once(' '))
            .and_then(|(_, signature)| BASE64.decode(signature).ok())
            .ok_or("its signature line cannot be read")?;
        let signature = signature.get(4..).unwrap_or_default();
        let text = checkpoint.text();
        if note(&text, key, signature) != all {
            return Err(format!("it is not signed by {}", key.name));
        }
        UnparsedPublicKey::new(&ED25519, &key.public)
            .verify(text.as_bytes(), signature)
            .map_err(|_| "its signature is wrong".to_owned())?;
        Ok(checkpoint)
    }
}

fn note(text: &str, key: &VerifierKey, signature: &[u8]) -> String {
    let mut line = key.hash().to_vec();
    line.extend_from_slice(signature);
    format!("{text}\n— {} {}\n", key.name, BASE64.encode(line))
}

/// The public half: `name+hash+key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VerifierKey {
    pub(crate) name: String,
    public: [u8; 32],
}

impl VerifierKey {
    /// The key id of the signed-note format.
    pub(crate) fn hash(&self) -> [u8; 4] {
        let digest = sha256(&[self.name.as_bytes(), b"\n", &[ALGORITHM], &self.public]);
        let [a, b, c, d, ..] = digest;
        [a, b, c, d]
    }

    /// Reads a file that holds a verifier key or a signer key.
    pub(crate) fn load(path: &Path) -> Result<Self, EvidenceError> {
        let text = std::fs::read_to_string(path).map_err(|e| EvidenceError::io("read", path, &e))?;
        // Of several keys, as a log keeps them, the newest stands last.
        let text = text.trim().lines().last().unwrap_or_default();
        if text.starts_with(SIGNER_PREFIX) { SigningKey::parse(text).map(|key| key.verifier) } else { text.parse() }
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}+{}+{}", self.name, hex::encode(self.hash()), encoded(&self.public))
    }
}

impl FromStr for VerifierKey {
    type Err = EvidenceError;

    fn from_str(text: &str) -> Result<Self, EvidenceError> {
        let (name, public) = parse_key(text)?;
        let key = Self { name, public };
        if key.to_string() == text { Ok(key) } else { Err(not_a_key()) }
    }
}

impl VerifierKey {
    /// All keys of a file, the newest last. Lines that are none are left out.
    pub(crate) fn load_all(path: &Path) -> Result<Vec<Self>, EvidenceError> {
        let text = layout::read_if_there(path)?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&text).lines().filter_map(|line| line.trim().parse().ok()).collect())
    }
}

/// The log's signing key.
pub(crate) struct SigningKey {
    pub(crate) verifier: VerifierKey,
    pair: Ed25519KeyPair,
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifier)
    }
}

impl SigningKey {
    /// Reads the key; makes it if `may_create` and the file is not there.
    pub(crate) fn load_or_create(path: &Path, name: &str, may_create: bool) -> Result<Self, EvidenceError> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && may_create => {
                let key = Self::from_seed(name.to_owned(), &random())?;
                let text = key.encode()?;
                layout::write_secret(path, text.as_bytes())?;
                text
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Err(EvidenceError::Keys(format!(
                    "{} is missing, but the log was signed before; put the key back, or start with another origin",
                    path.display()
                )));
            }
            Err(error) => return Err(EvidenceError::io("read", path, &error)),
        };
        let key = Self::parse(text.trim())?;
        if key.verifier.name != name {
            return Err(EvidenceError::Keys(format!(
                "{} is the key of {:?}, but the log's origin is {name:?}",
                path.display(),
                key.verifier.name
            )));
        }
        Ok(key)
    }

    fn parse(text: &str) -> Result<Self, EvidenceError> {
        let rest = text.strip_prefix(SIGNER_PREFIX).ok_or_else(not_a_key)?;
        let (name, seed) = parse_key(rest)?;
        let key = Self::from_seed(name, &seed)?;
        if key.encode()? == format!("{text}\n") { Ok(key) } else { Err(not_a_key()) }
    }

    pub(crate) fn from_seed(name: String, seed: &[u8; 32]) -> Result<Self, EvidenceError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| not_a_key())?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| not_a_key())?;
        Ok(Self { verifier: VerifierKey { name, public }, pair })
    }

    pub(crate) fn encode(&self) -> Result<String, EvidenceError> {
        let seed = self.pair.seed().map_err(|_| not_a_key())?;
        let seed = aws_lc_rs::encoding::AsBigEndian::<aws_lc_rs::encoding::Curve25519SeedBin<'_>>::as_be_bytes(&seed)
            .map_err(|_| not_a_key())?;
        let seed: &[u8; 32] = seed.as_ref().try_into().map_err(|_| not_a_key())?;
        let hash = hex::encode(self.verifier.hash());
        Ok(format!("{SIGNER_PREFIX}{}+{hash}+{}\n", self.verifier.name, encoded(seed)))
    }
}

fn encoded(key: &[u8; 32]) -> String {
    let mut bytes = vec![ALGORITHM];
    bytes.extend_from_slice(key);
    BASE64.encode(bytes)
}

fn parse_key(text: &str) -> Result<(String, [u8; 32]), EvidenceError> {
    // The name holds no plus; the key may.
    let mut parts = text.splitn(3, '+');
    let (Some(name), Some(_hash), Some(key)) = (parts.next(), parts.next(), parts.next()) else {
        return Err(not_a_key());
    };
    let key = BASE64.decode(key).map_err(|_| not_a_key())?;
    match key.split_first() {
        Some((&ALGORITHM, key)) => Ok((name.to_owned(), key.try_into().map_err(|_| not_a_key())?)),
        _ => Err(not_a_key()),
    }
}

fn not_a_key() -> EvidenceError {
    EvidenceError::Keys("this is not a key of the signed-note format (name+hash+key)".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn key() -> SigningKey {
        SigningKey::from_seed("gw.example.com/ai".to_owned(), &[7; 32]).unwrap()
    }

    #[test]
    fn a_checkpoint_reads_like_this() {
        let checkpoint = Checkpoint { origin: "gw.example.com/ai".to_owned(), size: 42, root: [1; 32] };
        insta::assert_snapshot!(checkpoint.sign(&key()), @"
        gw.example.com/ai
        42
        AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=

        — gw.example.com/ai X9j+TfoiOO56OZG/4NmWoQyULy5y0gkewXiiBJ8/RvlTk4LCV9JQC6LU1mh7iPhtHY11XUhpoFxtV/LIOJ+LX82RJQk=
        ");
        insta::assert_snapshot!(key().verifier.to_string(), @"gw.example.com/ai+5fd8fe4d+AepKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs");
    }

    #[test]
    fn any_changed_byte_is_noticed() {
        let checkpoint = Checkpoint { origin: "gw.example.com/ai".to_owned(), size: 42, root: [1; 32] };
        let note = checkpoint.sign(&key()).into_bytes();
        assert_eq!(Checkpoint::open(&note, &key().verifier).unwrap(), checkpoint);
        for position in 0..note.len() {
            for bit in 0..8 {
                let mut changed = note.clone();
                changed[position] ^= 1 << bit;
                assert!(Checkpoint::open(&changed, &key().verifier).is_err(), "byte {position}, bit {bit}");
            }
            assert!(Checkpoint::open(&note[..position], &key().verifier).is_err());
        }
    }

    #[test]
    fn keys_survive_their_text_form() {
        let text = key().encode().unwrap();
        assert_eq!(SigningKey::parse(text.trim()).unwrap().verifier, key().verifier);
        let verifier = key().verifier.to_string();
        assert_eq!(verifier.parse::<VerifierKey>().unwrap(), key().verifier);
        assert!(verifier.replace("gw.", "gx.").parse::<VerifierKey>().is_err());
        // The key pair in the documentation of Go's golang.org/x/mod/sumdb/note.
        let signer = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
        let verifier = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
        assert_eq!(SigningKey::parse(signer).unwrap().verifier.to_string(), verifier);
        assert!(verifier.parse::<VerifierKey>().is_ok());
    }
}
