//! Telephones, SIM cards, vehicles.

use super::super::checksums::{all_alike, at, luhn};
use super::{Digits, Shape, any, context, context_shape};

pub(super) const DIGITS: &[Digits] = &[
    context("imei", 14, any),
    context("imei", 15, is_imei),
    context("imei", 16, any),
    context("iccid", 19, is_iccid),
    context("iccid", 20, is_iccid),
    context("imsi", 14, is_imsi),
    context("imsi", 15, is_imsi),
];

pub(super) const SHAPES: &[Shape] = &[context_shape("vin", "AAAAAAAAAAAAAAAAA", is_vin)];

fn is_imei(digits: &[u8]) -> bool {
    luhn(digits) && !all_alike(digits)
}

fn is_iccid(digits: &[u8]) -> bool {
    digits.starts_with(&[8, 9]) && (luhn(digits) || digits.len() == 20 && luhn(digits.get(..19).unwrap_or_default()))
}

/// Mobile country codes begin with 2 to 7.
fn is_imsi(digits: &[u8]) -> bool {
    (2..=7).contains(&at(digits, 0))
}

/// 49 CFR 565: letters as values, weights, mod 11 in the ninth place with X for ten.
fn is_vin(text: &[u8]) -> bool {
    const WEIGHTS: [u32; 17] = [8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2];
    let mut sum = 0;
    for (&byte, weight) in text.iter().zip(WEIGHTS) {
        let value = match byte {
            b'0'..=b'9' => byte - b'0',
            b'A'..=b'H' => byte - b'A' + 1,
            b'J'..=b'N' => byte - b'J' + 1,
            b'P' => 7,
            b'R' => 9,
            b'S'..=b'Z' => byte - b'S' + 2,
            _ => return false,
        };
        sum += u32::from(value) * weight;
    }
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    digits >= 3 && text.get(8) == b"0123456789X".get((sum % 11) as usize)
}
