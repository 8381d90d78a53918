//! Spain, Portugal, Italy and Greece.

use super::super::checksums::{all_alike, at, is_date, luhn, number, weighted};
use super::{Digits, Shape, context, context_shape, shape, sure};

pub(super) const DIGITS: &[Digits] =
    &[context("pt_nif", 9, is_nif), context("it_partita_iva", 11, is_partita_iva), sure("gr_amka", &[11], 0, is_amka)];

pub(super) const SHAPES: &[Shape] = &[
    shape("es_dni", "DDDDDDDD?L", is_dni),
    shape("es_dni", "DD-DDD-DDD-L", is_dni),
    shape("es_dni", "DD-DDD-DDDL", is_dni),
    shape("es_nie", "L?DDDDDDD?L", is_nie),
    context_shape("es_cif", "L?DDDDDDD?A", is_cif),
    shape("it_codice_fiscale", "LLLLLLAALAALAAAL", is_codice_fiscale),
];

/// The letters of mod 23.
const DNI_LETTERS: &[u8; 23] = b"TRWAGMYFPDXBNJZSQVHLCKE";

fn is_dni(text: &[u8]) -> bool {
    let (digits, letter) = text.split_at_checked(8).unwrap_or_default();
    dni_letter(digits).is_some_and(|expected| letter == [expected])
}

/// X, Y and Z stand for 0, 1 and 2.
fn is_nie(text: &[u8]) -> bool {
    let (number, letter) = text.split_at_checked(8).unwrap_or_default();
    let mut digits = number.to_vec();
    let Some(first) = digits.first_mut() else {
        return false;
    };
    *first = match *first {
        b'X' => b'0',
        b'Y' => b'1',
        b'Z' => b'2',
        _ => return false,
    };
    dni_letter(&digits).is_some_and(|expected| letter == [expected])
}

fn dni_letter(digits: &[u8]) -> Option<u8> {
    let values: Vec<u8> = digits.iter().map(|byte| byte.wrapping_sub(b'0')).collect();
    DNI_LETTERS.get(usize::try_from(number(&values) % 23).ok()?).copied()
}

/// A control digit, or the letter that stands for it.
fn is_cif(text: &[u8]) -> bool {
    let (Some(&kind), Some(&control)) = (text.first(), text.last()) else {
        return false;
    };
    let digits: Vec<u8> = text.get(1..8).unwrap_or_default().iter().map(|byte| byte.wrapping_sub(b'0')).collect();
    let mut with_check = digits;
    let expected = (0..10).find(|&check| {
        with_check.push(check);
        let good = luhn(&with_check);
        with_check.pop();
        good
    });
    let Some(expected) = expected else {
        return false;
    };
    let letter = at(b"JABCDEFGHI", usize::from(expected));
    match kind {
        b'A'..=b'H' | b'J' | b'N' | b'P'..=b'S' | b'U'..=b'W' => control == letter || control == expected + b'0',
        _ => false,
    }
}

fn is_nif(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]);
    let expected = (11 - sum % 11) % 11 % 10;
    at(digits, 0) != 0 && expected == u32::from(at(digits, 8)) && !all_alike(digits)
}

fn is_partita_iva(digits: &[u8]) -> bool {
    let office = number(digits.get(7..10).unwrap_or_default());
    number(digits.get(..7).unwrap_or_default()) != 0
        && matches!(office, 1..=100 | 120 | 121 | 888 | 999)
        && luhn(digits)
}

fn is_amka(digits: &[u8]) -> bool {
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    is_date(part(4), part(2), part(0)) && luhn(digits)
}

/// DM 23 dicembre 1976: names, a date (plus 40 for women), a municipality, and the check letter. Letters may stand for digits where two
/// people would have the same code.
fn is_codice_fiscale(text: &[u8]) -> bool {
    const HOMOCODES: &[u8; 10] = b"LMNPQRSTUV";
    const MONTHS: &[u8; 12] = b"ABCDEHLMPRST";
    const ODD: [u8; 26] =
        [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23];
    let digit = |place: usize| {
        let byte = at(text, place);
        match byte {
            b'0'..=b'9' => Some(u64::from(byte - b'0')),
            _ => HOMOCODES.iter().position(|&letter| letter == byte).map(|value| value as u64),
        }
    };
    let pair = |place: usize| Some(digit(place)? * 10 + digit(place + 1)?);
    let (Some(year), Some(day)) = (pair(6), pair(9)) else {
        return false;
    };
    let Some(month) = MONTHS.iter().position(|&letter| letter == at(text, 8)) else {
        return false;
    };
    if digit(12).or(digit(13)).is_none() || (12..15).any(|place| digit(place).is_none()) {
        return false;
    }
    let value = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A') };
    let sum: u32 = text
        .iter()
        .take(15)
        .enumerate()
        .map(|(place, &byte)| {
            let value = value(byte);
            u32::from(if place % 2 == 0 { at(&ODD, usize::from(value)) } else { value })
        })
        .sum();
    let day = if day > 40 { day - 40 } else { day };
    is_date(year, month as u64 + 1, day) && u32::from(at(text, 15).wrapping_sub(b'A')) == sum % 26
}
