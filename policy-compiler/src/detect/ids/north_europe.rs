//! The Nordic and Baltic countries.

use super::super::checksums::{at, is_date, luhn, number, weighted};
use super::{DASH, Digits, PLAIN, Shape, context, is_time, shape, sure};

pub(super) const DIGITS: &[Digits] = &[
    sure("se_personnummer", &[6, 4], DASH, |digits| is_personnummer(digits) && !is_time_behind(digits)),
    sure("se_personnummer", &[8, 4], DASH, |digits| is_personnummer(digits) && !is_time_behind(digits)),
    context("se_personnummer", 10, is_personnummer),
    context("se_personnummer", 12, is_personnummer),
    sure("no_fodselsnummer", &[11], 0, is_fodselsnummer),
    sure("no_fodselsnummer", &[6, 5], PLAIN, is_fodselsnummer),
    sure("no_fodselsnummer", &[2, 2, 2, 5], PLAIN, is_fodselsnummer),
    sure("no_fodselsnummer", &[2, 2, 2, 2, 3], PLAIN, is_fodselsnummer),
    sure("dk_cpr", &[6, 4], DASH, |digits| is_cpr(digits) && !is_time_behind(digits)),
    context("dk_cpr", 10, is_cpr),
    sure("is_kennitala", &[6, 4], DASH, is_kennitala),
    context("is_kennitala", 10, is_kennitala),
    sure("ee_lt_personal_code", &[11], 0, is_baltic),
    sure("lv_personas_kods", &[6, 5], DASH, is_personas_kods),
    context("lv_personas_kods", 11, is_personas_kods),
];

pub(super) const SHAPES: &[Shape] = &[
    shape("se_personnummer", "DDDDDD+DDDD", is_personnummer_text),
    shape("fi_hetu", "DDDDDD-DDDA", is_hetu),
    shape("fi_hetu", "DDDDDD+DDDA", is_hetu),
    shape("fi_hetu", "DDDDDDLDDDA", is_hetu),
];

fn part(digits: &[u8], from: usize) -> u64 {
    number(digits.get(from..from + 2).unwrap_or_default())
}

fn is_time_behind(digits: &[u8]) -> bool {
    is_time(digits.get(digits.len().saturating_sub(4)..).unwrap_or_default())
}

fn is_personnummer_text(text: &[u8]) -> bool {
    is_personnummer(&super::super::checksums::digits_of(text))
}

/// Luhn over the last ten; coordination numbers add 60 to the day.
fn is_personnummer(digits: &[u8]) -> bool {
    let (century, ten) = digits.split_at(digits.len().saturating_sub(10));
    let year = match number(century) {
        0 => part(ten, 0),
        century @ 18..=20 => century * 100 + part(ten, 0),
        _ => return false,
    };
    let day = part(ten, 4);
    is_date(year, part(ten, 2), if day > 60 { day - 60 } else { day }) && luhn(ten)
}

/// D numbers add 40 to the day, help numbers 40 to the month, synthetic ones 65 or 80.
fn is_fodselsnummer(digits: &[u8]) -> bool {
    let first = weighted(digits, &[3, 7, 6, 1, 8, 9, 4, 5, 2, 1]);
    let second = weighted(digits, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1]);
    let day = part(digits, 0);
    let month = match part(digits, 2) {
        month @ 81..=92 => month - 80,
        month @ 66..=77 => month - 65,
        month @ 41..=52 => month - 40,
        month => month,
    };
    is_date(part(digits, 4), month, if day > 40 { day - 40 } else { day })
        && first.is_multiple_of(11)
        && second.is_multiple_of(11)
}

/// The seventh digit says the century.
fn is_cpr(digits: &[u8]) -> bool {
    let two = part(digits, 4);
    let year = match (at(digits, 6), two) {
        (0..=3, _) | (4 | 9, 37..) => 1900 + two,
        (4 | 9, _) | (5..=8, ..=57) => 2000 + two,
        _ => 1800 + two,
    };
    // From 61 on the day of a person without a home in Denmark.
    let day = part(digits, 0);
    is_date(year, part(digits, 2), if day > 60 { day - 60 } else { day })
}

/// Companies add 40 to the day.
fn is_kennitala(digits: &[u8]) -> bool {
    let day = part(digits, 0);
    matches!(at(digits, 9), 0 | 8 | 9)
        && is_date(part(digits, 4), part(digits, 2), if day > 40 { day - 40 } else { day })
        && weighted(digits, &[3, 2, 7, 6, 5, 4, 3, 2, 1]).is_multiple_of(11)
}

/// A second row of weights where the first leaves ten.
fn is_baltic(digits: &[u8]) -> bool {
    let century = match at(digits, 0) {
        first @ 1..=8 => 1800 + u64::from(first - 1) / 2 * 100,
        _ => return false,
    };
    let check = match weighted(digits, &[1, 2, 3, 4, 5, 6, 7, 8, 9, 1]) % 11 {
        10 => weighted(digits, &[3, 4, 5, 6, 7, 8, 9, 1, 2, 3]) % 11 % 10,
        check => check,
    };
    is_date(century + part(digits, 1), part(digits, 3), part(digits, 5)) && check == u32::from(at(digits, 10))
}

/// Codes given since 2017 begin with 32 and say nothing.
fn is_personas_kods(digits: &[u8]) -> bool {
    if part(digits, 0) == 32 {
        return true;
    }
    let sum = weighted(digits, &[10, 5, 8, 4, 2, 1, 6, 3, 7, 9]);
    let century = match at(digits, 6) {
        century @ 0..=2 => 1800 + u64::from(century) * 100,
        _ => return false,
    };
    is_date(century + part(digits, 4), part(digits, 2), part(digits, 0))
        && (sum + 1) % 11 % 10 == u32::from(at(digits, 10))
}

/// The date and serial mod 31.
fn is_hetu(text: &[u8]) -> bool {
    let digits: Vec<u8> = text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').take(9).collect();
    let mark = text.get(6).filter(|byte| byte.is_ascii_uppercase());
    let Some(&check) = text.last() else {
        return false;
    };
    let serial = number(digits.get(6..).unwrap_or_default());
    let expected = b"0123456789ABCDEFHJKLMNPRSTUVWXY".get((number(&digits) % 31) as usize);
    digits.len() == 9
        && mark.is_none_or(|mark| b"ABCDEFUVWXY".contains(mark))
        && serial >= 2
        && is_date(part(&digits, 4), part(&digits, 2), part(&digits, 0))
        && expected == Some(&check)
}
