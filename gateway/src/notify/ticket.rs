//! Links in mails: signed, good until a moment, and once. A link only leads to the page of its request for approval, and only
//! those who have signed in.
//!
//! What was used is kept in a small file, so that a restart makes no link good again.

use audit_shipper::RecordId;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Bytes of what a ticket says (request, end of its time, nonce), and of the HMAC-SHA-256 after it.
const SAID_BYTES: usize = 16 + 8 + NONCE_BYTES;
const NONCE_BYTES: usize = 12;
const TAG_BYTES: usize = 32;
/// Used tickets that are remembered; above, no link is good until some have lapsed.
const USED_MAX: usize = 100_000;

/// Why a link leads nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TicketError {
    /// We did not make it.
    #[error("this link was not made here")]
    Forged,
    /// Its time is over.
    #[error("this link is too old")]
    Expired,
    /// It was used.
    #[error("this link has been used already")]
    Used,
    /// Whether it was used could not be written down.
    #[error("links cannot be used now; sign in and open the request from the list")]
    Unavailable,
}

/// A ticket that we made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The request that it leads to.
    pub(crate) approval: RecordId,
    nonce: [u8; NONCE_BYTES],
    ends_unix_s: u64,
}

/// Makes tickets and takes them.
#[derive(Debug)]
pub(crate) struct Tickets {
    key: hmac::Key,
    used: Mutex<HashMap<[u8; NONCE_BYTES], u64>>,
    /// `None` keeps them in memory only.
    file: Option<PathBuf>,
}

impl Tickets {
    /// `file` remembers what was used; it is made with the first use.
    ///
    /// # Errors
    /// When it is there and cannot be read or written: then used links would be good again.
    pub(crate) fn open(key: &[u8; 32], file: Option<PathBuf>, now_unix_s: u64) -> std::io::Result<Self> {
        let mut used = HashMap::new();
        if let Some(path) = &file {
            used = read_used(path)?;
            let before = used.len();
            used.retain(|_, ends| *ends >= now_unix_s);
            if used.len() < before {
                rewrite(path, &used)?;
            }
        }
        Ok(Self { key: hmac::Key::new(hmac::HMAC_SHA256, key), used: Mutex::new(used), file })
    }

    /// A ticket for a request. `None` if its id is none of ours or the machine has no randomness.
    pub(crate) fn make(&self, approval: &str, ends_unix_s: u64) -> Option<String> {
        let approval: RecordId = approval.parse().ok()?;
        let mut nonce = [0; NONCE_BYTES];
        aws_lc_rs::rand::fill(&mut nonce).ok()?;
        let mut said = Vec::with_capacity(SAID_BYTES + TAG_BYTES);
        said.extend_from_slice(&approval.0.to_be_bytes());
        said.extend_from_slice(&ends_unix_s.to_be_bytes());
        said.extend_from_slice(&nonce);
        let tag = hmac::sign(&self.key, &said);
        said.extend_from_slice(tag.as_ref());
        Some(URL_SAFE_NO_PAD.encode(said))
    }

    /// Whether a ticket is good, without using it.
    ///
    /// # Errors
    /// Why it is not.
    pub(crate) fn check(&self, text: &str, now_unix_s: u64) -> Result<Ticket, TicketError> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TicketError::Forged)?;
        let (said, tag) = bytes.split_at_checked(SAID_BYTES).ok_or(TicketError::Forged)?;
        hmac::verify(&self.key, said, tag).map_err(|_| TicketError::Forged)?;
        let (approval, rest) = said.split_first_chunk::<16>().ok_or(TicketError::Forged)?;
        let (ends, nonce) = rest.split_first_chunk::<8>().ok_or(TicketError::Forged)?;
        let ticket = Ticket {
            approval: RecordId(u128::from_be_bytes(*approval)),
            ends_unix_s: u64::from_be_bytes(*ends),
            nonce: nonce.try_into().map_err(|_| TicketError::Forged)?,
        };
        if now_unix_s > ticket.ends_unix_s {
            return Err(TicketError::Expired);
        }
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&ticket.nonce);
        if used { Err(TicketError::Used) } else { Ok(ticket) }
    }

    /// Takes a ticket: it is good no more.
    ///
    /// # Errors
    /// Someone was faster, or it could not be written down.
    pub(crate) fn take(&self, ticket: &Ticket, now_unix_s: u64) -> Result<(), TicketError> {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.contains_key(&ticket.nonce) {
            return Err(TicketError::Used);
        }
        if used.len() >= USED_MAX {
            used.retain(|_, ends| *ends >= now_unix_s);
        }
        if used.len() >= USED_MAX {
            return Err(TicketError::Unavailable);
        }
        if let Some(path) = &self.file
            && let Err(error) = append(path, ticket)
        {
            tracing::error!(%error, path = %path.display(), "a used link could not be written down");
            return Err(TicketError::Unavailable);
        }
        used.insert(ticket.nonce, ticket.ends_unix_s);
        Ok(())
    }
}

/// One line per used ticket: its nonce and the end of its time.
fn read_used(path: &Path) -> std::io::Result<HashMap<[u8; NONCE_BYTES], u64>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(error) => return Err(error),
    };
    let read = |line: &str| {
        let (nonce, ends) = line.split_once(' ')?;
        let mut bytes = [0; NONCE_BYTES];
        hex::decode_to_slice(nonce, &mut bytes).ok()?;
        Some((bytes, ends.parse().ok()?))
    };
    // A line that was cut by a crash belongs to a use that did not come to pass.
    Ok(text.lines().filter_map(read).collect())
}

fn line(nonce: &[u8; NONCE_BYTES], ends_unix_s: u64) -> String {
    format!("{} {ends_unix_s}\n", hex::encode(nonce))
}

fn append(path: &Path, ticket: &Ticket) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(line(&ticket.nonce, ticket.ends_unix_s).as_bytes())?;
    file.sync_data()
}

fn rewrite(path: &Path, used: &HashMap<[u8; NONCE_BYTES], u64>) -> std::io::Result<()> {
    let mut text = String::new();
    for (nonce, ends) in used {
        // Writing to a String cannot fail.
        let _ = write!(text, "{}", line(nonce, *ends));
    }
    let next = path.with_extension("next");
    let mut file = File::create(&next)?;
    file.write_all(text.as_bytes())?;
    file.sync_data()?;
    std::fs::rename(next, path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const APPROVAL: &str = "01hzy3v7k2m9q4t8w6x5n0c1bd";
    const OTHER: &str = "01hzy3v7k2m9q4t8w6x5n0c1be";

    #[test]
    fn a_ticket_is_good_once_and_for_its_request() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("links-used");
        let tickets = Tickets::open(&[7; 32], Some(file.clone()), 0).unwrap();
        let text = tickets.make(APPROVAL, 100).unwrap();
        let ticket = tickets.check(&text, 100).unwrap();
        assert_eq!(ticket.approval.to_string(), APPROVAL);
        // Looking uses nothing up: scanners of mails do it.
        assert_eq!(tickets.check(&text, 0), Ok(ticket));
        assert_eq!(tickets.check(&text, 101), Err(TicketError::Expired));
        let (another, later) = (tickets.make(APPROVAL, 100).unwrap(), tickets.make(APPROVAL, 300).unwrap());
        let later = tickets.check(&later, 0).unwrap();
        tickets.take(&later, 0).unwrap();
        tickets.take(&ticket, 0).unwrap();
        assert_eq!(tickets.take(&ticket, 0), Err(TicketError::Used));
        assert_eq!(tickets.check(&text, 0), Err(TicketError::Used));
        // Each recipient has a ticket of their own.
        assert!(tickets.check(&another, 0).is_ok());
        // A restart makes no link good again, and forgets what has lapsed anyway.
        let again = Tickets::open(&[7; 32], Some(file.clone()), 50).unwrap();
        assert_eq!(again.check(&text, 50), Err(TicketError::Used));
        Tickets::open(&[7; 32], Some(file.clone()), 200).unwrap();
        assert_eq!(read_used(&file).unwrap().len(), 1);
    }

    #[test]
    fn nobody_else_makes_tickets() {
        let tickets = Tickets::open(&[7; 32], None, 0).unwrap();
        let (text, other) = (tickets.make(APPROVAL, 100).unwrap(), tickets.make(OTHER, 100).unwrap());
        assert_eq!(Tickets::open(&[8; 32], None, 0).unwrap().check(&text, 0), Err(TicketError::Forged));
        for forged in ["", "x", &text[1..], &format!("{text}AA"), &text.to_uppercase()] {
            assert_eq!(tickets.check(forged, 0), Err(TicketError::Forged), "{forged}");
        }
        let mut bytes = URL_SAFE_NO_PAD.decode(&text).unwrap();
        for index in 0..bytes.len() {
            bytes[index] ^= 1;
            assert_eq!(tickets.check(&URL_SAFE_NO_PAD.encode(&bytes), 0), Err(TicketError::Forged), "byte {index}");
            bytes[index] ^= 1;
        }
        // The signature of one request under the id of another.
        let foreign = URL_SAFE_NO_PAD.decode(&other).unwrap();
        let mixed = [&foreign[..16], &bytes[16..]].concat();
        assert_eq!(tickets.check(&URL_SAFE_NO_PAD.encode(mixed), 0), Err(TicketError::Forged));
        assert_eq!(tickets.make("not an id", 1), None);
    }
}
