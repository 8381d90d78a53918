//! Bank accounts, stripes of cards, wallets.

use super::Finds;
use crate::detect::ids::{Form, is_iban, issuer_and_luhn};
use crate::detect::probe::Probe;
use crate::detect::set::KNOWN;
use sha2::{Digest, Sha256};

/// Characters of the longest IBAN.
const IBAN_MAX: usize = 34;

/// ISO 13616: a country, two check digits, and groups with one blank or dash between two of them at most.
pub(super) fn iban(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.iban) {
        return;
    }
    let (mut text, mut count) = ([0; IBAN_MAX], 0);
    let mut at = start;
    let mut wanted = IBAN_MAX;
    while count < wanted {
        let byte = probe.at(at);
        let fits = match count {
            0 | 1 => byte.is_ascii_alphabetic(),
            2 | 3 => byte.is_ascii_digit(),
            _ => byte.is_ascii_alphanumeric(),
        };
        if let (true, Some(slot)) = (fits, text.get_mut(count)) {
            *slot = byte.to_ascii_uppercase();
            count += 1;
            at += 1;
        } else if separates(byte, count, probe.at(at + 1)) {
            at += 1;
        } else {
            return;
        }
        if let (2, Some(&country)) = (count, text.first_chunk::<2>()) {
            match crate::detect::ids::iban_length(country) {
                Some(length) => wanted = length.min(IBAN_MAX),
                None => return,
            }
        }
    }
    if probe.ends(at) && text.get(..count).is_some_and(is_iban) {
        finds.add(KNOWN.iban, start, at, Form::Sure);
    }
}

/// Blanks stand between groups of four, or before digits, else words behind a number could become a part of it.
fn separates(byte: u8, count: usize, next: u8) -> bool {
    match byte {
        b'-' | b'.' => count >= 2 && next.is_ascii_alphanumeric(),
        b' ' => count >= 2 && (next.is_ascii_digit() || count.is_multiple_of(4) && next.is_ascii_alphanumeric()),
        _ => false,
    }
}

/// Bytes of the name on track 1.
const NAME_MAX: usize = 27;
/// Bytes of discretionary data.
const DISCRETIONARY_MAX: usize = 48;

/// ISO/IEC 7813: `%B`, number, `^`, name, `^`, expiry; or `;`, number, `=`, expiry; both end with `?`.
pub(super) fn track(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.card_track) {
        return;
    }
    let first = probe.at(start) == b'%';
    let mut at = start + 1;
    if first {
        if !probe.at(at).eq_ignore_ascii_case(&b'B') {
            return;
        }
        at += 1;
    }
    let number = at;
    at = probe.run(at, 20, |byte| byte.is_ascii_digit());
    let digits = crate::detect::checksums::digits_of(probe.slice(number, at));
    if !issuer_and_luhn(&digits) || probe.at(at) != if first { b'^' } else { b'=' } {
        return;
    }
    if first {
        let name = at + 1;
        at = probe.run(name, NAME_MAX, |byte| byte.is_ascii_alphanumeric() || b" /.'-".contains(&byte));
        if at == name || probe.at(at) != b'^' {
            return;
        }
    }
    let expiry = at + 1;
    at = probe.run(expiry, DISCRETIONARY_MAX, |byte| byte.is_ascii_alphanumeric() || byte == b' ');
    if at < expiry + 4 {
        return;
    }
    at += usize::from(probe.at(at) == b'?');
    finds.add(KNOWN.card_track, start, at, Form::Sure);
}

const BASE58: &[u8; 58] = b"123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";

/// Base58Check with a version of the main network, or bech32 with the prefix `bc`.
pub(super) fn bitcoin(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.btc_address) {
        return;
    }
    match probe.at(start) {
        b'1' | b'3' => {
            let end = probe.run(start, 35, |byte| BASE58.contains(&byte));
            // Digits glued behind an address do not hide it.
            let good = |&end: &usize| probe.ends(end) && is_base58check(probe.slice(start, end));
            if let Some(end) = (start + 26..=end).rev().find(good) {
                finds.add(KNOWN.btc_address, start, end, Form::Sure);
            }
        }
        b'b' | b'B' if probe.starts_with(start, "bc1") => {
            let end = probe.run(start, 90, |byte| byte.is_ascii_alphanumeric());
            let good = |&end: &usize| probe.ends(end) && is_bech32(probe.slice(start, end));
            if let Some(end) = (start + 14..=end).rev().find(good) {
                finds.add(KNOWN.btc_address, start, end, Form::Sure);
            }
        }
        _ => {}
    }
}

/// BIP 13: version, 20 bytes, and the first four bytes of SHA-256 twice over them.
fn is_base58check(text: &[u8]) -> bool {
    let mut bytes = [0_u8; 25];
    for &character in text {
        let Some(value) = BASE58.iter().position(|&known| known == character) else {
            return false;
        };
        let mut carry = value;
        for byte in bytes.iter_mut().rev() {
            carry += usize::from(*byte) * 58;
            *byte = carry.to_le_bytes()[0];
            carry >>= 8;
        }
        if carry != 0 {
            return false;
        }
    }
    let (body, check) = bytes.split_at(21);
    matches!(body.first(), Some(0 | 5)) && Sha256::digest(Sha256::digest(body)).get(..4) == Some(check)
}

/// BIP 173 and BIP 350: the polymod of prefix and data is 1 or 0x2bc830a3.
fn is_bech32(text: &[u8]) -> bool {
    const CHARSET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    if text.iter().any(u8::is_ascii_lowercase) && text.iter().any(u8::is_ascii_uppercase) {
        return false;
    }
    let mut polymod = 1_u32;
    let mut feed = |value: u32| {
        let top = polymod >> 25;
        polymod = ((polymod & 0x1ff_ffff) << 5) ^ value;
        for (bit, generator) in
            [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3].into_iter().enumerate()
        {
            if (top >> bit) & 1 == 1 {
                polymod ^= generator;
            }
        }
    };
    // The prefix `bc`: high bits, a zero, low bits.
    [3, 3, 0, 2, 3].into_iter().for_each(&mut feed);
    for byte in text.get(3..).unwrap_or_default() {
        match CHARSET.iter().position(|known| *known == byte.to_ascii_lowercase()) {
            Some(value) => feed(u32::try_from(value).unwrap_or_default()),
            None => return false,
        }
    }
    matches!(polymod, 1 | 0x2bc8_30a3)
}

/// `0x` and 40 hexadecimal digits; letters of both cases must be the checksum of EIP-55.
pub(super) fn ethereum(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.eth_address) || probe.at(start) != b'0' || !probe.starts_with(start, "0x") {
        return;
    }
    let end = probe.run(start + 2, 40, |byte| byte.is_ascii_hexdigit());
    if end - start == 42 && probe.ends(end) && is_eip55(probe.slice(start + 2, end)) {
        finds.add(KNOWN.eth_address, start, end, Form::Sure);
    }
}

fn is_eip55(text: &[u8]) -> bool {
    let (upper, lower) = (text.iter().any(u8::is_ascii_uppercase), text.iter().any(u8::is_ascii_lowercase));
    if !(upper && lower) {
        return true;
    }
    let hash = keccak256(&text.to_ascii_lowercase());
    text.iter().enumerate().filter(|(_, byte)| byte.is_ascii_alphabetic()).all(|(place, byte)| {
        let nibble = hash.get(place / 2).copied().unwrap_or_default() >> (4 * (1 - place % 2));
        byte.is_ascii_uppercase() == (nibble & 0xf >= 8)
    })
}

/// Keccak-256 of one block (FIPS 202 with the original padding).
fn keccak256(text: &[u8]) -> [u8; 32] {
    const RATE: usize = 136;
    let mut block = [0_u8; RATE];
    for (slot, &byte) in block.iter_mut().zip(text.iter().take(RATE - 1)) {
        *slot = byte;
    }
    let length = text.len().min(RATE - 1);
    if let Some(slot) = block.get_mut(length) {
        *slot ^= 0x01;
    }
    if let Some(slot) = block.last_mut() {
        *slot ^= 0x80;
    }
    let mut state = [0_u64; 25];
    for (lane, bytes) in state.iter_mut().zip(block.as_chunks::<8>().0) {
        *lane = u64::from_le_bytes(*bytes);
    }
    keccak_f(&mut state);
    let mut hash = [0; 32];
    for (bytes, lane) in hash.as_chunks_mut::<8>().0.iter_mut().zip(state) {
        *bytes = lane.to_le_bytes();
    }
    hash
}

/// FIPS 202 §3.3, with lane (x, y) at x + 5 y.
fn keccak_f(state: &mut [u64; 25]) {
    // The round constants come out of the register of FIPS 202 §3.2.5.
    let mut register = 1_u8;
    for _ in 0..24 {
        let parity: [u64; 5] = std::array::from_fn(|x| (0..5).fold(0, |sum, y| sum ^ state[x + 5 * y]));
        for x in 0..5 {
            let mix = parity[(x + 4) % 5] ^ parity[(x + 1) % 5].rotate_left(1);
            for y in 0..5 {
                state[x + 5 * y] ^= mix;
            }
        }
        let (mut x, mut y) = (1, 0);
        let mut moved = state[1];
        for step in 0..24_u32 {
            (x, y) = (y, (2 * x + 3 * y) % 5);
            let place = x + 5 * y;
            let next = state[place];
            state[place] = moved.rotate_left((step + 1) * (step + 2) / 2 % 64);
            moved = next;
        }
        for y in 0..5 {
            let row: [u64; 5] = std::array::from_fn(|x| state[x + 5 * y]);
            for x in 0..5 {
                state[x + 5 * y] = row[x] ^ (!row[(x + 1) % 5] & row[(x + 2) % 5]);
            }
        }
        for bit in 0..7 {
            if register & 1 == 1 {
                state[0] ^= 1 << ((1_u32 << bit) - 1);
            }
            let carry = register >> 7;
            register = (register << 1) ^ (carry * 0x71);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keccak_of_nothing() {
        let hash: String = keccak256(b"").iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hash, "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470");
    }

    #[test]
    fn addresses_of_the_standards() {
        for good in ["1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy"] {
            assert!(is_base58check(good.as_bytes()), "{good}");
        }
        for good in [
            "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq",
            "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
            "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        ] {
            assert!(is_bech32(good.as_bytes()), "{good}");
            assert!(!is_bech32(good.replace('q', "p").replace('Q', "P").as_bytes()), "{good}");
        }
        for good in ["5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed", "fB6916095ca1df60bB79Ce92cE3Ea74c37c5d359"] {
            assert!(is_eip55(good.as_bytes()), "{good}");
            assert!(!is_eip55(good.replace('E', "e").as_bytes()), "{good}");
        }
    }
}
