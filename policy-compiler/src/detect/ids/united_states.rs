//! The United States, health care included.

use super::super::checksums::{all_alike, at, luhn, number, weighted};
use super::{BLANK, DASH, Digits, PLAIN, Shape, any, context, context_in, context_shape, shape, sure};

pub(super) const DIGITS: &[Digits] = &[
    sure("us_ssn", &[3, 2, 4], PLAIN, is_ssn),
    context("us_ssn", 9, is_ssn),
    sure("us_itin", &[3, 2, 4], PLAIN, is_itin),
    context("us_itin", 9, is_itin),
    context_in("us_ein", &[2, 7], PLAIN, is_ein),
    context_in("us_ein", &[9], 0, is_ein),
    context("us_passport", 9, any),
    context_in("us_driver_license", &[7], 0, any),
    context_in("us_driver_license", &[8], 0, any),
    context_in("us_driver_license", &[9], 0, any),
    context_in("us_driver_license", &[10], 0, any),
    context_in("us_driver_license", &[12], 0, any),
    context_in("us_driver_license", &[3, 3, 3], PLAIN, any),
    context_in("us_zip", &[5], 0, is_zip),
    context_in("us_zip", &[5, 4], DASH | BLANK, is_zip),
    context("us_npi", 10, is_npi),
];

pub(super) const SHAPES: &[Shape] = &[
    shape("us_mbi", "DLAD-LAD-LLDD", is_mbi),
    context_shape("us_mbi", "DLAD?LAD?LLDD", is_mbi),
    context_shape("us_dea", "LL?DDDDDDD", is_dea),
    context_shape("us_dea", "L9?DDDDDDD", is_dea),
    context_shape("us_passport", "LDDDDDDDD", |_| true),
    // Most states: letters, then digits.
    context_shape("us_driver_license", "LDDDDDDD", |_| true),
    context_shape("us_driver_license", "LDDDDDDDD", |_| true),
    context_shape("us_driver_license", "LDDD-DDDD-DDDD", |_| true),
    context_shape("us_driver_license", "LDDDD-DDDD-DDDD", |_| true),
    context_shape("us_driver_license", "LDDD-DDD-DD-DDD-D", |_| true),
    context_shape("us_driver_license", "LDDDDDDDDDDDD", |_| true),
    context_shape("us_driver_license", "LDDDDDDDDDDDDD", |_| true),
    context_shape("us_driver_license", "LDDDDDDDDDDDDDD", |_| true),
    context_shape("us_driver_license", "LLDDDDDD", |_| true),
    context_shape("us_driver_license", "LLDDDDDDD", |_| true),
    context_shape("us_driver_license", "LLLDDDDDD", |_| true),
];

/// SSA, POMS RM 10201: areas, groups and serials never given, and numbers that were printed in advertisements.
fn is_ssn(digits: &[u8]) -> bool {
    let area = number(digits.get(..3).unwrap_or_default());
    let group = number(digits.get(3..5).unwrap_or_default());
    let serial = number(digits.get(5..).unwrap_or_default());
    let advertised = matches!(number(digits), 78_051_120 | 457_555_462 | 219_099_999);
    !matches!(area, 0 | 666 | 900..) && group != 0 && serial != 0 && !advertised
}

/// IRS publication 1915.
fn is_itin(digits: &[u8]) -> bool {
    let group = number(digits.get(3..5).unwrap_or_default());
    at(digits, 0) == 9 && matches!(group, 50..=65 | 70..=88 | 90..=92 | 94..=99)
}

/// The prefixes that the IRS gives to its campuses and to the internet.
fn is_ein(digits: &[u8]) -> bool {
    let prefix = number(digits.get(..2).unwrap_or_default());
    matches!(prefix, 1..=6 | 10..=16 | 20..=27 | 30..=48 | 50..=68 | 71..=77 | 80..=88 | 90..=95 | 98 | 99)
}

fn is_zip(digits: &[u8]) -> bool {
    !all_alike(digits.get(..5).unwrap_or_default()) || at(digits, 0) != 0
}

/// 45 CFR 162.406: Luhn with the issuer 80840 in front.
fn is_npi(digits: &[u8]) -> bool {
    let mut number = [8, 0, 8, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (slot, digit) in number.iter_mut().skip(5).zip(digits) {
        *slot = *digit;
    }
    matches!(at(digits, 0), 1 | 2) && luhn(&number)
}

/// Digits 1, 3 and 5, and twice the digits 2, 4 and 6, end in digit 7.
fn is_dea(text: &[u8]) -> bool {
    let digits: Vec<u8> = text.iter().skip(2).map(|byte| byte.wrapping_sub(b'0')).collect();
    let registrant = text.first().copied().unwrap_or_default();
    b"ABCDEFGHJKLMPRSTUX".contains(&registrant)
        && weighted(&digits, &[1, 2, 1, 2, 1, 2]) % 10 == u32::from(at(&digits, 6))
}

/// CMS: which of letter and digit stands where; no S, L, O, I, B, Z, and no 0 in front.
fn is_mbi(text: &[u8]) -> bool {
    text.first() != Some(&b'0') && !text.iter().any(|byte| b"SLOIBZ".contains(byte))
}
