//! Canada and Latin America.

use super::super::checksums::{all_alike, at, is_date, luhn, number, weighted};
use super::{ANY, Digits, PLAIN, Shape, context, context_shape, shape, sure};

pub(super) const DIGITS: &[Digits] = &[
    context("ca_sin", 9, is_sin),
    sure("br_cpf", &[3, 3, 3, 2], ANY, is_cpf),
    context("br_cpf", 11, is_cpf),
    sure("br_cnpj", &[2, 3, 3, 4, 2], ANY, is_cnpj),
    context("br_cnpj", 14, is_cnpj),
    sure("ar_cuit", &[2, 8, 1], PLAIN, is_cuit),
    context("ar_cuit", 11, is_cuit),
];

pub(super) const SHAPES: &[Shape] = &[
    shape("mx_curp", "LLLLDDDDDDLLLLLLAD", is_curp),
    shape("mx_rfc", "LLLLDDDDDDAAA", is_rfc),
    context_shape("mx_rfc", "LLLL-DDDDDD-AAA", is_rfc),
    context_shape("mx_rfc", "LLL?DDDDDD?AAA", is_rfc),
    shape("cl_rut", "DD.DDD.DDD-A", is_rut),
    shape("cl_rut", "D.DDD.DDD-A", is_rut),
    context_shape("cl_rut", "DDDDDDDD?A", is_rut),
    context_shape("cl_rut", "DDDDDDD?A", is_rut),
];

fn is_sin(digits: &[u8]) -> bool {
    !matches!(at(digits, 0), 0 | 8) && luhn(digits) && !all_alike(digits)
}

/// A check digit over all before it: weights from the right, 11 less the rest, 10 and 11 count as 0.
fn brazilian(digits: &[u8], count: usize, weights: &[u32]) -> bool {
    let sum = weighted(digits.get(..count).unwrap_or_default(), weights);
    let expected = match 11 - sum % 11 {
        10 | 11 => 0,
        expected => expected,
    };
    expected == u32::from(at(digits, count))
}

fn is_cpf(digits: &[u8]) -> bool {
    !all_alike(digits)
        && brazilian(digits, 9, &[10, 9, 8, 7, 6, 5, 4, 3, 2])
        && brazilian(digits, 10, &[11, 10, 9, 8, 7, 6, 5, 4, 3, 2])
}

fn is_cnpj(digits: &[u8]) -> bool {
    !all_alike(digits)
        && brazilian(digits, 12, &[5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
        && brazilian(digits, 13, &[6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2])
}

fn is_cuit(digits: &[u8]) -> bool {
    let prefix = number(digits.get(..2).unwrap_or_default());
    let sum = weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    let expected = match 11 - sum % 11 {
        11 => 0,
        10 => 9,
        expected => expected,
    };
    matches!(prefix, 20 | 23 | 24 | 27 | 30 | 33 | 34 | 50 | 51 | 55) && expected == u32::from(at(digits, 10))
}

/// Weights 2 to 7 from the right; 10 is K.
fn is_rut(text: &[u8]) -> bool {
    let Some((&check, body)) = text.split_last() else {
        return false;
    };
    let sum: u32 = body
        .iter()
        .rev()
        .zip([2, 3, 4, 5, 6, 7].into_iter().cycle())
        .map(|(byte, weight)| u32::from(byte.wrapping_sub(b'0')) * weight)
        .sum();
    check == at(b"0123456789K", ((11 - sum % 11) % 11) as usize)
}

/// A date of six digits in the middle of a text, by its two-digit year.
fn dated(text: &[u8], from: usize) -> bool {
    let value = |place: usize| u64::from(at(text, place).wrapping_sub(b'0'));
    let part = |place: usize| value(place) * 10 + value(place + 1);
    is_date(part(from), part(from + 2), part(from + 4))
}

/// RENAPO: date, sex, state, three consonants, a homonym mark, and the check digit over an alphabet of 37.
fn is_curp(text: &[u8]) -> bool {
    const STATES: &str =
        "AS BC BS CC CL CM CS CH DF DG GT GR HG JC MC MN MS NT NL OC PL QT QR SP SL SR TC TS TL VZ YN ZS NE";
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ";
    let state = text.get(11..13).unwrap_or_default();
    let sum: usize = text
        .iter()
        .take(17)
        .enumerate()
        .map(|(place, byte)| (18 - place) * ALPHABET.iter().position(|known| known == byte).unwrap_or_default())
        .sum();
    dated(text, 4)
        && matches!(text.get(10), Some(b'H' | b'M' | b'X'))
        && STATES.split_ascii_whitespace().any(|known| known.as_bytes() == state)
        && at(text, 17).wrapping_sub(b'0') as usize == (10 - sum % 10) % 10
}

/// SAT: the last character checks the others, over an alphabet of 39 in which a company's code begins with a blank.
fn is_rfc(text: &[u8]) -> bool {
    const ALPHABET: &[u8] = b"0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ ";
    let padded: Vec<u8> = if text.len() == 12 { [b" ", text].concat() } else { text.to_vec() };
    let sum: usize = padded
        .iter()
        .take(12)
        .enumerate()
        .map(|(place, byte)| (13 - place) * ALPHABET.iter().position(|known| known == byte).unwrap_or_default())
        .sum();
    let expected = match 11 - sum % 11 {
        11 => b'0',
        10 => b'A',
        digit => u8::try_from(digit).unwrap_or_default() + b'0',
    };
    dated(text, text.len() - 9) && text.last() == Some(&expected)
}
