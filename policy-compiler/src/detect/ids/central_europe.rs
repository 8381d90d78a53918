//! Germany, Austria, Switzerland, Poland, Czechia, Slovakia, south-eastern Europe, Russia and Türkiye.

use super::super::checksums::{all_alike, at, is_date, mod_11_10, number, weighted};
use super::{ANY, BLANK, DASH, Digits, PLAIN, SLASH, Shape, context, context_shape, is_epoch, shape, sure};

pub(super) const DIGITS: &[Digits] = &[
    context("de_steuer_id", 11, is_steuer_id),
    sure("at_svnr", &[4, 6], PLAIN, is_svnr),
    context("at_svnr", 10, is_svnr),
    sure("ch_ahv", &[3, 4, 4, 2], ANY, is_ahv),
    sure("ch_ahv", &[13], 0, is_ahv),
    sure("pl_pesel", &[11], 0, is_pesel),
    context("pl_nip", 10, is_nip),
    sure("cz_rc", &[6, 3], SLASH, is_rc),
    sure("cz_rc", &[6, 4], SLASH, is_rc),
    context("cz_rc", 9, is_rc),
    context("cz_rc", 10, is_rc),
    sure("ro_cnp", &[13], 0, |digits| is_cnp(digits) && !is_epoch(digits)),
    context("ro_cnp", 13, is_cnp),
    context("bg_egn", 10, is_egn),
    context("hr_oib", 11, mod_11_10),
    sure("si_emso", &[13], 0, |digits| is_emso(digits) && !is_epoch(digits)),
    context("si_emso", 13, is_emso),
    context("ru_inn", 10, is_inn),
    context("ru_inn", 12, is_inn),
    sure("ru_snils", &[3, 3, 3, 2], BLANK | DASH, is_snils),
    context("ru_snils", 11, is_snils),
    sure("tr_tckn", &[11], 0, is_tckn),
];

pub(super) const SHAPES: &[Shape] = &[
    shape("de_rvnr", "DDDDDDDDLDDD", is_rvnr),
    shape("de_rvnr", "DD-DDDDDD-L-DDD", is_rvnr),
    shape("de_rvnr", "DD-DDDDDD-L-DD-D", is_rvnr),
    context_shape("de_kvnr", "LDDDDDDDDD", is_kvnr),
    context_shape("de_id_card", "LAAAAAAAA", is_german_document),
    context_shape("de_id_card", "LAAAAAAAAD", is_german_document),
];

/// One digit of the first ten occurs two or three times, no other one does.
fn is_steuer_id(digits: &[u8]) -> bool {
    let mut counts = [0_u8; 10];
    for &digit in digits.iter().take(10) {
        if let Some(count) = counts.get_mut(usize::from(digit)) {
            *count += 1;
        }
    }
    let repeated: Vec<u8> = counts.into_iter().filter(|&count| count > 1).collect();
    at(digits, 0) != 0 && matches!(repeated.as_slice(), [2 | 3]) && mod_11_10(digits)
}

/// The fourth digit checks the others; months 13 to 15 are used where serials ran out.
fn is_svnr(digits: &[u8]) -> bool {
    let check = weighted(digits, &[3, 7, 9, 0, 5, 8, 4, 2, 1, 6]) % 11;
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    at(digits, 0) != 0
        && check == u32::from(at(digits, 3))
        && (1..=31).contains(&part(4))
        && (1..=15).contains(&part(6))
}

fn is_ahv(digits: &[u8]) -> bool {
    digits.starts_with(&[7, 5, 6]) && weighted(digits, &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1]).is_multiple_of(10)
}

/// The month says the century: plus 80 for the 1800s, 20 for the 2000s, 40 and 60 after them.
fn is_pesel(digits: &[u8]) -> bool {
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    let century = [1900, 2000, 2100, 2200, 1800].get((part(2) / 20) as usize).copied().unwrap_or_default();
    is_date(century + part(0), part(2) % 20, part(4))
        && weighted(digits, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]).is_multiple_of(10)
}

fn is_nip(digits: &[u8]) -> bool {
    weighted(digits, &[6, 5, 7, 2, 3, 4, 5, 6, 7]) % 11 == u32::from(at(digits, 9)) && !all_alike(digits)
}

/// Women's months plus 50, since 2004 also plus 20 for both; without the fourth digit until 1953.
fn is_rc(digits: &[u8]) -> bool {
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    let month = match part(2) {
        month @ 71..=82 => month - 70,
        month @ 51..=62 => month - 50,
        month @ 21..=32 => month - 20,
        month => month,
    };
    let short = digits.len() == 9;
    let year = match (short, part(0)) {
        (true, 54..=79) => return false,
        (true, year @ 80..) => 1800 + year,
        (true, year) | (false, year @ 54..) => 1900 + year,
        (false, year) => 2000 + year,
    };
    let checked = short || number(digits.get(..9).unwrap_or_default()) % 11 % 10 == u64::from(at(digits, 9));
    is_date(year, month, part(4)) && checked
}

/// Sex and century, a date, a county, a serial, and the weights 279146358279.
fn is_cnp(digits: &[u8]) -> bool {
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    let century = match at(digits, 0) {
        1 | 2 | 7 | 8 => 1900,
        3 | 4 => 1800,
        5 | 6 => 2000,
        9 => 0,
        _ => return false,
    };
    let check = match weighted(digits, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11 {
        10 => 1,
        check => check,
    };
    is_date(century + part(1), part(3), part(5))
        && matches!(part(7), 1..=48 | 51 | 52 | 70 | 80..=83)
        && check == u32::from(at(digits, 12))
}

fn is_egn(digits: &[u8]) -> bool {
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    let (year, month) = match part(2) {
        month @ 41.. => (2000 + part(0), month - 40),
        month @ 21..=40 => (1800 + part(0), month - 20),
        month => (1900 + part(0), month),
    };
    let check = weighted(digits, &[2, 4, 8, 5, 10, 9, 7, 3, 6]) % 11 % 10;
    is_date(year, month, part(4)) && check == u32::from(at(digits, 9))
}

fn is_emso(digits: &[u8]) -> bool {
    let part = |from: usize, length: usize| number(digits.get(from..from + length).unwrap_or_default());
    let year = if part(4, 3) < 800 { 2000 + part(4, 3) } else { 1000 + part(4, 3) };
    let sum = weighted(digits, &[7, 6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2]);
    is_date(year, part(2, 2), part(0, 2)) && (11 - sum % 11) % 11 % 10 == u32::from(at(digits, 12))
}

fn is_inn(digits: &[u8]) -> bool {
    const WEIGHTS: [u32; 11] = [3, 7, 2, 4, 10, 3, 5, 9, 4, 6, 8];
    let check = |count: usize| {
        let weights = WEIGHTS.get(11 - count..).unwrap_or_default();
        weighted(digits, weights) % 11 % 10 == u32::from(at(digits, count))
    };
    let good = if digits.len() == 10 { check(9) } else { check(10) && check(11) };
    good && !all_alike(digits)
}

/// Numbers up to 001-001-998 were given without a check.
fn is_snils(digits: &[u8]) -> bool {
    let (body, check) = digits.split_at_checked(9).unwrap_or_default();
    let sum = weighted(body, &[9, 8, 7, 6, 5, 4, 3, 2, 1]);
    number(body) > 1_001_998 && u64::from(sum % 101 % 100) == number(check)
}

fn is_tckn(digits: &[u8]) -> bool {
    let odd: i32 = [0, 2, 4, 6, 8].into_iter().map(|place| i32::from(at(digits, place))).sum();
    let even: i32 = [1, 3, 5, 7].into_iter().map(|place| i32::from(at(digits, place))).sum();
    let tenth = (odd * 7 - even).rem_euclid(10);
    at(digits, 0) != 0 && tenth == i32::from(at(digits, 9)) && (odd + even + tenth) % 10 == i32::from(at(digits, 10))
}

/// VKVV §2: the letter counts as two digits, products count by their digit sums.
fn is_rvnr(text: &[u8]) -> bool {
    let mut digits = Vec::with_capacity(13);
    for &byte in text {
        if byte.is_ascii_digit() {
            digits.push(byte - b'0');
        } else {
            let value = byte.wrapping_sub(b'A') + 1;
            digits.extend([value / 10, value % 10]);
        }
    }
    let sum: u32 = digits
        .iter()
        .zip([2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1])
        .map(|(&digit, weight)| u32::from(digit) * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    let part = |from: usize| number(digits.get(from..from + 2).unwrap_or_default());
    (1..=31).contains(&(part(2) % 50)) && (1..=12).contains(&part(4)) && sum % 10 == u32::from(at(&digits, 12))
}

/// §290 SGB V: the letter counts as two digits; Luhn with the weights 1, 2 from the left.
fn is_kvnr(text: &[u8]) -> bool {
    let value = text.first().copied().unwrap_or_default().wrapping_sub(b'A') + 1;
    let mut digits = vec![value / 10, value % 10];
    digits.extend(text.iter().skip(1).map(|byte| byte.wrapping_sub(b'0')));
    let sum: u32 = digits
        .iter()
        .zip([1, 2, 1, 2, 1, 2, 1, 2, 1, 2])
        .map(|(&digit, weight)| u32::from(digit) * weight)
        .map(|product| product / 10 + product % 10)
        .sum();
    sum % 10 == u32::from(at(&digits, 10))
}

/// The letters that such documents use, and the weights 7, 3, 1 where the check digit is printed too.
fn is_german_document(text: &[u8]) -> bool {
    const USED: &[u8] = b"CFGHJKLMNPRTVWXYZ0123456789";
    let digits = text.iter().filter(|byte| byte.is_ascii_digit()).count();
    if digits < 2 || !text.iter().all(|byte| USED.contains(byte)) {
        return false;
    }
    let value = |byte: u8| if byte.is_ascii_digit() { byte - b'0' } else { byte.wrapping_sub(b'A') + 10 };
    let sum: u32 = text
        .iter()
        .take(9)
        .zip([7, 3, 1].into_iter().cycle())
        .map(|(&byte, weight)| u32::from(value(byte)) * weight)
        .sum();
    text.get(9).is_none_or(|&check| u32::from(check.wrapping_sub(b'0')) == sum % 10)
}
