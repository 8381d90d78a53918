//! The United Kingdom, Ireland, France and the Benelux.

use super::super::checksums::{all_alike, at, is_date, luhn, number, weighted};
use super::{ANY, Digits, Shape, context, context_shape, shape, sure};

pub(super) const DIGITS: &[Digits] = &[
    context("uk_nhs", 10, is_nhs),
    context("uk_utr", 10, is_utr),
    sure("fr_nir", &[15], 0, is_nir_digits),
    sure("fr_nir", &[1, 2, 2, 2, 3, 3, 2], ANY, is_nir_digits),
    sure("fr_nir", &[13, 2], ANY, is_nir_digits),
    context("fr_siren", 9, is_siren),
    context("fr_siret", 14, is_siret),
    context("nl_bsn", 9, is_bsn),
    sure("be_nn", &[11], 0, is_be_nn),
    sure("be_nn", &[2, 2, 2, 3, 2], ANY, is_be_nn),
    sure("be_nn", &[6, 3, 2], ANY, is_be_nn),
];

pub(super) const SHAPES: &[Shape] = &[
    shape("uk_nino", "LL-DD-DD-DD-L", is_nino),
    shape("uk_nino", "LL-DDDDDD-L", is_nino),
    context_shape("uk_nino", "LL?DD?DD?DD?L", is_nino),
    shape("uk_driving_licence", "LAAAADDDDDDLADLL", is_uk_licence),
    shape("uk_driving_licence", "LAAAADDDDDDLAALL", is_uk_licence),
    shape("uk_postcode", "LD?DLL", is_postcode),
    shape("uk_postcode", "LDD?DLL", is_postcode),
    shape("uk_postcode", "LLD?DLL", is_postcode),
    shape("uk_postcode", "LLDD?DLL", is_postcode),
    shape("uk_postcode", "LDL?DLL", is_postcode),
    shape("uk_postcode", "LLDL?DLL", is_postcode),
    context_shape("ie_ppsn", "DDDDDDD?L", is_ppsn),
    context_shape("ie_ppsn", "DDDDDDD?LL", is_ppsn),
    shape("fr_nir", "DDDDD2ADDDDDDDD", is_nir_corsica),
    shape("fr_nir", "DDDDD2BDDDDDDDD", is_nir_corsica),
    shape("fr_nir", "D-DD-DD-2A-DDD-DDD-DD", is_nir_corsica),
    shape("fr_nir", "D-DD-DD-2B-DDD-DDD-DD", is_nir_corsica),
];

fn is_nhs(digits: &[u8]) -> bool {
    weighted(digits, &[10, 9, 8, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11) && !all_alike(digits)
}

/// The first digit checks the other nine.
fn is_utr(digits: &[u8]) -> bool {
    let sum = weighted(digits.get(1..).unwrap_or_default(), &[6, 7, 8, 9, 10, 5, 4, 3, 2]);
    let expected = at(&[2, 1, 9, 8, 7, 6, 5, 4, 3, 2, 1], (sum % 11) as usize);
    at(digits, 0) == expected
}

/// The prefixes that HMRC does not give, and the suffixes that it does.
fn is_nino(text: &[u8]) -> bool {
    let &[first, second, ..] = text else {
        return false;
    };
    let pair = [first, second];
    !b"DFIQUV".contains(&first)
        && !b"DFIOQUV".contains(&second)
        && ![*b"BG", *b"GB", *b"NK", *b"KN", *b"TN", *b"NT", *b"ZZ"].contains(&pair)
        && matches!(text.last(), Some(b'A'..=b'D'))
}

/// BS 7666: letters that no inward code has, that no postcode begins with, and that never stand second.
fn is_postcode(text: &[u8]) -> bool {
    !text.iter().rev().take(2).any(|byte| b"CIKMOV".contains(byte))
        && !matches!(text, [b'Q' | b'V' | b'X', ..] | [_, b'I' | b'J' | b'Z', ..])
}

/// DVLA: five of the surname (9 fills), decade, month (plus 50 for women), day, year, two initials, 9 or a digit, two more.
fn is_uk_licence(text: &[u8]) -> bool {
    let surname = text.get(..5).unwrap_or_default();
    let digits: Vec<u8> = text.get(5..11).unwrap_or_default().iter().map(|byte| byte.wrapping_sub(b'0')).collect();
    let [decade, m1, m2, d1, d2, year] = digits.as_slice() else {
        return false;
    };
    let month = u64::from(m1 * 10 + m2);
    let letters = surname.iter().take_while(|byte| byte.is_ascii_uppercase()).count();
    letters > 0
        && surname.iter().skip(letters).all(|&byte| byte == b'9')
        && is_date(u64::from(decade * 10 + year), if month > 50 { month - 50 } else { month }, u64::from(d1 * 10 + d2))
        && text.get(12).is_some_and(|byte| byte.is_ascii_uppercase() || *byte == b'9')
        && text.get(13).is_some_and(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
}

/// Weights 8 to 2, a second letter weighs 9; mod 23.
fn is_ppsn(text: &[u8]) -> bool {
    let digits: Vec<u8> = text.iter().take(7).map(|byte| byte.wrapping_sub(b'0')).collect();
    let second = match text.get(8) {
        None | Some(b'W' | b'T' | b'X') => 0,
        Some(b'A') => 1,
        Some(b'B') => 2,
        Some(b'H') => 8,
        Some(_) => return false,
    };
    let sum = weighted(&digits, &[8, 7, 6, 5, 4, 3, 2]) + 9 * second;
    text.get(7) == b"WABCDEFGHIJKLMNOPQRSTUV".get((sum % 23) as usize)
}

fn is_nir_digits(digits: &[u8]) -> bool {
    is_nir(digits, 0)
}

/// Corsica's departments 2A and 2B count as 19 and 18.
fn is_nir_corsica(text: &[u8]) -> bool {
    let department = match text.get(6) {
        Some(b'A') => 9,
        Some(b'B') => 8,
        _ => return false,
    };
    let mut digits: Vec<u8> = text.iter().map(|byte| byte.wrapping_sub(b'0')).collect();
    if let Some(place) = digits.get_mut(5..7) {
        place.copy_from_slice(&[1, department]);
    }
    is_nir(&digits, 1)
}

/// INSEE: sex, year, month (also the invented ones), department, municipality, order, and the key 97 less the rest mod 97.
fn is_nir(digits: &[u8], corsica: u64) -> bool {
    let (body, key) = digits.split_at_checked(13).unwrap_or_default();
    let month = number(digits.get(3..5).unwrap_or_default());
    let department = number(digits.get(5..7).unwrap_or_default());
    matches!(at(digits, 0), 1..=4 | 7 | 8)
        && matches!(month, 1..=12 | 20 | 30..=42 | 50..=99)
        && (department > 0 || corsica > 0)
        && 97 - number(body) % 97 == number(key)
}

fn is_siren(digits: &[u8]) -> bool {
    luhn(digits) && !all_alike(digits)
}

/// The establishments of La Poste are checked by their digit sum.
fn is_siret(digits: &[u8]) -> bool {
    let post = digits.get(..9) == Some(&[3, 5, 6, 0, 0, 0, 0, 0, 0]);
    let sum: u32 = digits.iter().map(|&digit| u32::from(digit)).sum();
    !all_alike(digits) && (luhn(digits) || post && sum.is_multiple_of(5)) && luhn(digits.get(..9).unwrap_or_default())
}

fn is_bsn(digits: &[u8]) -> bool {
    let sum = weighted(digits, &[9, 8, 7, 6, 5, 4, 3, 2]);
    sum % 11 == u32::from(at(digits, 8)) && !all_alike(digits)
}

/// The date may be unknown in part; births from 2000 on count with a 2 in front.
fn is_be_nn(digits: &[u8]) -> bool {
    let (body, check) = digits.split_at_checked(9).unwrap_or_default();
    let (month, day) = (number(digits.get(2..4).unwrap_or_default()), number(digits.get(4..6).unwrap_or_default()));
    let year = number(digits.get(..2).unwrap_or_default());
    // Bis numbers add 20 or 40 to the month.
    let month = month % 20;
    let dated = is_date(year, month, day) || month == 0 && day <= 31 || month <= 12 && day == 0;
    let (body, check) = (number(body), number(check));
    dated && (97 - body % 97 == check || 97 - (2_000_000_000 + body) % 97 == check)
}
