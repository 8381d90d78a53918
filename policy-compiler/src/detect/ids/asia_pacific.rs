//! Asia, Africa and Oceania.

use super::super::checksums::{all_alike, at, is_date, luhn, number, verhoeff, weighted};
use super::{BLANK, DASH, Digits, PLAIN, Shape, context, context_shape, is_epoch, shape, sure};

pub(super) const DIGITS: &[Digits] = &[
    sure("in_aadhaar", &[4, 4, 4], PLAIN, is_aadhaar),
    context("in_aadhaar", 12, is_aadhaar),
    sure("kr_rrn", &[6, 7], DASH, is_rrn),
    context("kr_rrn", 13, is_rrn),
    context("jp_my_number", 12, is_my_number),
    sure("my_nric", &[6, 2, 4], DASH, is_nric_my),
    context("my_nric", 12, is_nric_my),
    sure("th_national_id", &[1, 4, 5, 2, 1], DASH | BLANK, is_thai),
    context("th_national_id", 13, is_thai),
    context("il_id", 8, luhn),
    context("il_id", 9, luhn),
    sure("ae_emirates_id", &[3, 4, 7, 1], PLAIN, is_emirates),
    sure("ae_emirates_id", &[15], 0, is_emirates),
    sure("za_id", &[13], 0, |digits| is_za(digits) && !is_epoch(digits)),
    sure("za_id", &[6, 4, 3], PLAIN, is_za),
    sure("za_id", &[6, 4, 2, 1], PLAIN, is_za),
    context("za_id", 13, is_za),
    context("au_tfn", 8, is_tfn),
    context("au_tfn", 9, is_tfn),
    sure("au_abn", &[2, 3, 3, 3], BLANK | DASH, is_abn),
    context("au_abn", 11, is_abn),
    context("au_medicare", 10, is_au_medicare),
    context("au_medicare", 11, is_au_medicare),
    context("nz_ird", 8, is_ird),
    context("nz_ird", 9, is_ird),
];

pub(super) const SHAPES: &[Shape] = &[
    shape("in_pan", "LLLLLDDDDL", is_pan),
    shape("in_gstin", "DDLLLLLDDDDLAAA", is_gstin),
    shape("cn_resident_id", "DDDDDDDDDDDDDDDDDA", is_cn),
    shape("cn_resident_id", "DDDDDD-DDDDDDDD-DDDA", is_cn),
    shape("hk_hkid", "LDDDDDD(A)", is_hkid),
    shape("hk_hkid", "LLDDDDDD(A)", is_hkid),
    context_shape("hk_hkid", "LDDDDDD?A", is_hkid),
    context_shape("hk_hkid", "LLDDDDDD?A", is_hkid),
    context_shape("tw_national_id", "LDDDDDDDDD", is_tw),
    context_shape("tw_national_id", "LLDDDDDDDD", is_tw),
    shape("sg_nric", "LDDDDDDDL", is_nric_sg),
    shape("sg_nric", "LDDDDDDD-L", is_nric_sg),
];

/// Not from 0 or 1, no palindrome.
fn is_aadhaar(digits: &[u8]) -> bool {
    let palindrome = digits.iter().eq(digits.iter().rev());
    at(digits, 0) >= 2 && !palindrome && verhoeff(digits)
}

/// The Income Tax Department's kinds of holders in the fourth place; 0000 is never given.
fn is_pan(text: &[u8]) -> bool {
    text.get(3).is_some_and(|byte| b"ABCFGHJKLPT".contains(byte)) && text.get(5..9) != Some(b"0000")
}

/// A state, a PAN, and a check over an alphabet of 36 (Luhn's scheme).
fn is_gstin(text: &[u8]) -> bool {
    let state = text.get(..2).unwrap_or_default().iter().fold(0, |state, byte| state * 10 + byte.wrapping_sub(b'0'));
    let value = |byte: u8| u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A') + 10 });
    let sum: u32 = text
        .iter()
        .rev()
        .enumerate()
        .map(|(place, &byte)| value(byte) * if place % 2 == 0 { 1 } else { 2 })
        .map(|product| product / 36 + product % 36)
        .sum();
    matches!(state, 1..=38 | 97 | 99)
        && is_pan(text.get(2..12).unwrap_or_default())
        && text.get(12) != Some(&b'0')
        && text.get(13) == Some(&b'Z')
        && sum.is_multiple_of(36)
}

/// GB 11643: a province, a date, ISO 7064 MOD 11-2 with X for ten.
fn is_cn(text: &[u8]) -> bool {
    let digits: Vec<u8> = text.iter().take(17).map(|byte| byte.wrapping_sub(b'0')).collect();
    let part = |from: usize, length: usize| number(digits.get(from..from + length).unwrap_or_default());
    let province = matches!(
        part(0, 2),
        11..=15 | 21..=23 | 31..=37 | 41..=46 | 50..=54 | 61..=65 | 71 | 81..=83 | 91
    );
    let sum = weighted(&digits, &[7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]);
    province
        && (1850..2100).contains(&part(6, 4))
        && is_date(part(6, 4), part(10, 2), part(12, 2))
        && text.get(17) == b"10X98765432".get((sum % 11) as usize)
}

/// One letter counts as a blank and itself; weights 9 to 1; ten is A.
fn is_hkid(text: &[u8]) -> bool {
    let letters = text.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    let value = |byte: u8| u32::from(if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A') + 10 });
    let Some((&check, body)) = text.split_last() else {
        return false;
    };
    let padded = (letters == 1).then_some(36).into_iter().chain(body.iter().map(|&byte| value(byte)));
    let sum: u32 = padded.zip((2..=9).rev()).map(|(value, weight)| value * weight).sum();
    let check = match check {
        b'A' => 10,
        b'0'..=b'9' => u32::from(check - b'0'),
        _ => return false,
    };
    (sum + check).is_multiple_of(11)
}

/// The letter counts as two digits by its county; the second place is the sex, a letter for residence certificates.
fn is_tw(text: &[u8]) -> bool {
    const ORDER: &[u8; 26] = b"ABCDEFGHJKLMNPQRSTUVXYWZIO";
    let value = |byte: u8| ORDER.iter().position(|&letter| letter == byte).map_or(0, |place| place as u32 + 10);
    let Some((&[first, second], rest)) = text.split_first_chunk::<2>() else {
        return false;
    };
    let sex = match second {
        b'1' | b'2' | b'8' | b'9' => u32::from(second - b'0'),
        b'A'..=b'D' => value(second) % 10,
        _ => return false,
    };
    let first = value(first);
    let digits: Vec<u8> = rest.iter().map(|byte| byte.wrapping_sub(b'0')).collect();
    let sum = first / 10 + first % 10 * 9 + sex * 8 + weighted(&digits, &[7, 6, 5, 4, 3, 2, 1, 1]);
    sum.is_multiple_of(10)
}

/// Numbers given since October 2020 have no check; people born before it mostly have theirs from before.
fn is_rrn(digits: &[u8]) -> bool {
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    let century = match at(digits, 6) {
        1 | 2 | 5 | 6 => 1900,
        3 | 4 | 7 | 8 => 2000,
        _ => 1800,
    };
    let year = century + part(0);
    let sum = weighted(digits, &[2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5]);
    let check = (11 - sum % 11) % 10;
    // Foreigners' numbers are two more.
    let foreign = (13 - sum % 11) % 10;
    let last = u32::from(at(digits, 12));
    is_date(year, part(2), part(4))
        && (last == check || (5..=8).contains(&at(digits, 6)) && last == foreign || (2020..2040).contains(&year))
}

fn is_my_number(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    let expected = match sum % 11 {
        0 | 1 => 0,
        rest => 11 - rest,
    };
    expected == u32::from(at(digits, 11)) && !all_alike(digits)
}

/// A date and a place of birth that the registry lists.
fn is_nric_my(digits: &[u8]) -> bool {
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    is_date(part(0), part(2), part(4))
        && matches!(part(6), 1..=16 | 21..=59 | 60..=68 | 71 | 72 | 74..=79 | 82..=93 | 98 | 99)
}

fn is_thai(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2]);
    (1..=8).contains(&at(digits, 0)) && (11 - sum % 11) % 10 == u32::from(at(digits, 12))
}

fn is_emirates(digits: &[u8]) -> bool {
    digits.starts_with(&[7, 8, 4])
        && (1900..2100).contains(&number(digits.get(3..7).unwrap_or_default()))
        && luhn(digits)
}

/// A date, a sex and serial, citizenship 0 to 2, Luhn.
fn is_za(digits: &[u8]) -> bool {
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    is_date(part(0), part(2), part(4)) && at(digits, 10) <= 2 && luhn(digits)
}

fn is_tfn(digits: &[u8]) -> bool {
    weighted(digits, &[1, 4, 3, 7, 5, 8, 6, 9, 10]).is_multiple_of(11) && !all_alike(digits)
}

/// One is taken off the first digit before it is weighted.
fn is_abn(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    at(digits, 0) != 0 && sum.checked_sub(10).is_some_and(|sum| sum.is_multiple_of(89))
}

fn is_au_medicare(digits: &[u8]) -> bool {
    (2..=6).contains(&at(digits, 0)) && weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9]) % 10 == u32::from(at(digits, 8))
}

/// A second row of weights where the first leaves ten.
fn is_ird(digits: &[u8]) -> bool {
    let value = number(digits);
    let mut nine = vec![0; 9_usize.saturating_sub(digits.len())];
    nine.extend_from_slice(digits);
    let check = |weights: &[u32]| (11 - weighted(&nine, weights) % 11) % 11;
    let expected = match check(&[3, 2, 7, 6, 5, 4, 3, 2]) {
        10 => check(&[7, 4, 3, 2, 5, 2, 7, 6]),
        expected => expected,
    };
    (10_000_000..150_000_000).contains(&value) && expected == u32::from(at(&nine, 8))
}

/// S and T, F and G, and M have their own letters and offsets.
fn is_nric_sg(text: &[u8]) -> bool {
    let digits: Vec<u8> = text.iter().skip(1).take(7).map(|byte| byte.wrapping_sub(b'0')).collect();
    let sum = weighted(&digits, &[2, 7, 6, 5, 4, 3, 2]);
    let (offset, letters): (u32, &[u8; 11]) = match text.first() {
        Some(b'S') => (0, b"JZIHGFEDCBA"),
        Some(b'T') => (4, b"JZIHGFEDCBA"),
        Some(b'F') => (0, b"XWUTRQPNMLK"),
        Some(b'G') => (4, b"XWUTRQPNMLK"),
        Some(b'M') => (3, b"XWUTRQPNJLK"),
        _ => return false,
    };
    text.get(8) == letters.get(((sum + offset) % 11) as usize)
}
