//! Sealing an original to keys whose private halves the gateway never has (age, X25519: <https://age-encryption.org/v1>), and
//! breaking the glass.

use std::cell::RefCell;
use std::fmt;
use std::io::{Read, Write};
use std::rc::Rc;
use std::str::FromStr;

use crate::error::EvidenceError;

/// Bytes of a sealed original that go into one record.
const PIECE_BYTES: usize = 60 << 10;

/// The public keys that originals are sealed to.
#[derive(Clone)]
pub struct Sealer(Vec<age::x25519::Recipient>);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({} keys)", self.0.len())
    }
}

impl Sealer {
    /// Reads recipients of the form `age1…`; any one of them can open.
    ///
    /// # Errors
    /// [`EvidenceError::Setting`] naming the one that is none, or if there is none at all.
    pub fn new<'k>(recipients: impl IntoIterator<Item = &'k str>) -> Result<Self, EvidenceError> {
        let parse = |text: &str| {
            age::x25519::Recipient::from_str(text).map_err(|why| EvidenceError::Setting {
                what: "seal_to",
                why: format!("{text:?} is not an age recipient (age1…): {why}"),
            })
        };
        let recipients: Vec<_> = recipients.into_iter().map(parse).collect::<Result<_, _>>()?;
        if recipients.is_empty() {
            return Err(EvidenceError::Setting {
                what: "seal_to",
                why: "no key is given; `age-keygen` makes one".to_owned(),
            });
        }
        Ok(Self(recipients))
    }

    /// Begins to seal a text that comes in parts.
    ///
    /// # Errors
    /// [`EvidenceError::Keys`] if encryption fails.
    pub fn begin(&self) -> Result<Sealing, EvidenceError> {
        let recipients = self.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(|e| failed(&e))?;
        let sealed = Gathered::default();
        let writer = encryptor.wrap_output(sealed.clone()).map_err(|e| failed(&e))?;
        Ok(Sealing { writer, sealed, is_empty: true })
    }

    /// Seals a text; the result is cut into pieces that fit into one payload record each.
    ///
    /// # Errors
    /// [`EvidenceError::Keys`] if encryption fails.
    pub fn seal(&self, text: &[u8]) -> Result<Vec<Vec<u8>>, EvidenceError> {
        let mut sealing = self.begin()?;
        sealing.push(text)?;
        sealing.finish()
    }
}

fn failed(why: &dyn fmt::Display) -> EvidenceError {
    EvidenceError::Keys(format!("sealing failed: {why}"))
}

/// A text that is being sealed. Holds at most 64 KiB of it in the clear; without [`Self::finish`] its end cannot be opened.
pub struct Sealing {
    writer: age::stream::StreamWriter<Gathered>,
    sealed: Gathered,
    is_empty: bool,
}

impl fmt::Debug for Sealing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealing")
    }
}

impl Sealing {
    /// The next part of the text.
    ///
    /// # Errors
    /// [`EvidenceError::Keys`] if encryption fails.
    pub fn push(&mut self, text: &[u8]) -> Result<(), EvidenceError> {
        self.is_empty &= text.is_empty();
        self.writer.write_all(text).map_err(|e| failed(&e))
    }

    /// Whether no text came yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// The pieces that are full, each of which fits into one payload record.
    pub fn ready(&mut self) -> Vec<Vec<u8>> {
        let mut sealed = self.sealed.0.borrow_mut();
        let full = sealed.len() / PIECE_BYTES * PIECE_BYTES;
        sealed.drain(..full).collect::<Vec<u8>>().chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect()
    }

    /// Ends the text; what is left of the pieces.
    ///
    /// # Errors
    /// [`EvidenceError::Keys`] if encryption fails.
    pub fn finish(self) -> Result<Vec<Vec<u8>>, EvidenceError> {
        self.writer.finish().map_err(|e| failed(&e))?;
        Ok(self.sealed.0.borrow().chunks(PIECE_BYTES).map(<[u8]>::to_vec).collect())
    }
}

/// Where sealed bytes wait to be taken.
#[derive(Clone, Default)]
struct Gathered(Rc<RefCell<Vec<u8>>>);

impl Write for Gathered {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.borrow_mut().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The private half, as `age-keygen` writes it.
pub struct Unsealer(age::x25519::Identity);

impl fmt::Debug for Unsealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Unsealer")
    }
}

impl FromStr for Unsealer {
    type Err = EvidenceError;

    /// Reads an identity file: the first line that is no comment.
    ///
    /// # Errors
    /// [`EvidenceError::Keys`] if there is none.
    fn from_str(text: &str) -> Result<Self, EvidenceError> {
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        let identity = line.and_then(|line| age::x25519::Identity::from_str(line).ok());
        identity
            .map(Self)
            .ok_or_else(|| EvidenceError::Keys("this is not an age identity (AGE-SECRET-KEY-1…)".to_owned()))
    }
}

impl Unsealer {
    /// Opens what [`Sealer::seal`] made, its pieces put together. Of one whose end is missing, what was sealed before it in whole
    /// pieces of 64 KiB.
    ///
    /// # Errors
    /// [`EvidenceError::Keys`] if it was sealed to other keys, or its beginning was changed.
    pub fn open(&self, sealed: &[u8]) -> Result<Original, EvidenceError> {
        let failed = |why: &dyn fmt::Display| EvidenceError::Keys(format!("it cannot be unsealed: {why}"));
        let decryptor = age::Decryptor::new(sealed).map_err(|e| failed(&e))?;
        let identity: &dyn age::Identity = &self.0;
        let mut reader = decryptor.decrypt(std::iter::once(identity)).map_err(|e| failed(&e))?;
        let mut text = Vec::new();
        // Every piece is authenticated by itself, the last one as the last.
        let is_whole = reader.read_to_end(&mut text).is_ok();
        Ok(Original { text, is_whole })
    }
}

/// A sealed original that was opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Original {
    /// What was sealed.
    pub text: Vec<u8>,
    /// False if its end is missing: the gateway was killed while the answer passed.
    pub is_whole: bool,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use age::secrecy::ExposeSecret;

    #[test]
    fn any_one_of_the_keys_opens_and_no_other() {
        let keys = [0, 1, 2].map(|_| age::x25519::Identity::generate());
        let public = keys.each_ref().map(|key| key.to_public().to_string());
        let sealer = Sealer::new([public[0].as_str(), &public[1]]).unwrap();
        let text = vec![7; 200_000];
        let pieces = sealer.seal(&text).unwrap();
        assert!(pieces.len() > 3 && pieces.iter().all(|piece| piece.len() <= crate::MAX_CHUNK_BYTES));
        let sealed = pieces.concat();
        let unsealer = |number: usize| {
            let key = keys[number].to_string();
            format!("# a comment\n{}\n", key.expose_secret()).parse::<Unsealer>().unwrap()
        };
        let whole = Original { text, is_whole: true };
        assert_eq!(unsealer(0).open(&sealed).unwrap(), whole);
        assert_eq!(unsealer(1).open(&sealed).unwrap(), whole);
        assert!(unsealer(2).open(&sealed).is_err());
        let mut changed = sealed;
        let last = changed.len() - 1;
        changed[last] ^= 1;
        assert!(!unsealer(0).open(&changed).unwrap().is_whole);
        changed[10] ^= 1;
        assert!(unsealer(0).open(&changed).is_err());
    }

    #[test]
    fn of_one_that_was_cut_what_came_before_is_opened() {
        let key = age::x25519::Identity::generate();
        let sealer = Sealer::new([key.to_public().to_string().as_str()]).unwrap();
        let unsealer: Unsealer = key.to_string().expose_secret().parse().unwrap();
        let text: Vec<u8> = (0..300_000_u32).map(|number| (number % 251) as u8).collect();
        let pieces = sealer.seal(&text).unwrap();
        for kept in 1..pieces.len() {
            let opened = unsealer.open(&pieces[..kept].concat()).unwrap();
            assert!(!opened.is_whole && text.starts_with(&opened.text), "{kept} pieces");
            // Whole pieces of age's are of 64 KiB, ours of less.
            assert!(opened.text.len() + (64 << 10) + PIECE_BYTES >= kept * PIECE_BYTES, "{kept} pieces");
        }
    }

    #[test]
    fn a_text_in_parts_is_the_text() {
        let key = age::x25519::Identity::generate();
        let sealer = Sealer::new([key.to_public().to_string().as_str()]).unwrap();
        let text: Vec<u8> = (0..500_000_u32).map(|number| (number % 251) as u8).collect();
        let mut sealing = sealer.begin().unwrap();
        assert!(sealing.is_empty());
        let mut pieces = Vec::new();
        for part in text.chunks(777) {
            sealing.push(part).unwrap();
            pieces.extend(sealing.ready());
        }
        assert!(pieces.len() > 5 && !sealing.is_empty());
        pieces.extend(sealing.finish().unwrap());
        assert!(pieces.iter().all(|piece| piece.len() <= crate::MAX_CHUNK_BYTES));
        let unsealer: Unsealer = key.to_string().expose_secret().parse().unwrap();
        assert_eq!(unsealer.open(&pieces.concat()).unwrap(), Original { text, is_whole: true });
    }

    #[test]
    fn what_is_not_a_key_is_refused() {
        assert!(Sealer::new([]).unwrap_err().to_string().contains("age-keygen"));
        assert!(Sealer::new(["age1nonsense"]).unwrap_err().to_string().contains("age1nonsense"));
        assert!("# nothing".parse::<Unsealer>().is_err());
    }
}
