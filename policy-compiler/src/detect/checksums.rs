//! Check digits that several identifiers share. Digits are values 0 to 9.

/// ISO/IEC 7812-1 annex B (Luhn) over all digits, the check digit last.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(position, &digit)| match (position % 2, u32::from(digit)) {
            (0, digit) => digit,
            (_, digit @ 0..=4) => 2 * digit,
            (_, digit) => 2 * digit - 9,
        })
        .sum();
    sum.is_multiple_of(10)
}

/// Sum of products, as far as both go.
pub(super) fn weighted(digits: &[u8], weights: &[u32]) -> u32 {
    digits.iter().zip(weights).map(|(&digit, &weight)| u32::from(digit) * weight).sum()
}

/// The digits as a number; of more than 19, something large.
pub(super) fn number(digits: &[u8]) -> u64 {
    digits.iter().fold(0, |number: u64, &digit| number.saturating_mul(10).saturating_add(u64::from(digit)))
}

/// The digit at a place, 0 behind the end.
pub(super) fn at(digits: &[u8], place: usize) -> u8 {
    digits.get(place).copied().unwrap_or_default()
}

/// All the same.
pub(super) fn all_alike(digits: &[u8]) -> bool {
    digits.windows(2).all(|pair| pair.first() == pair.last())
}

/// ISO/IEC 7064 MOD 11,10 over all digits, the check digit last.
pub(super) fn mod_11_10(digits: &[u8]) -> bool {
    let Some((&check, body)) = digits.split_last() else {
        return false;
    };
    let mut product = 10;
    for &digit in body {
        let sum = (u32::from(digit) + product) % 10;
        product = (if sum == 0 { 10 } else { sum }) * 2 % 11;
    }
    (product + u32::from(check)) % 10 == 1
}

/// ISO/IEC 7064 MOD 97-10 over digits and uppercase letters (A is 10), remainder 1.
pub(super) fn mod_97_10(characters: impl Iterator<Item = u8>) -> bool {
    let mut remainder = 0_u32;
    for character in characters {
        remainder = match character {
            b'0'..=b'9' => (remainder * 10 + u32::from(character - b'0')) % 97,
            b'A'..=b'Z' => (remainder * 100 + u32::from(character - b'A') + 10) % 97,
            _ => return false,
        };
    }
    remainder == 1
}

/// Verhoeff's check over all digits, the check digit last.
pub(super) fn verhoeff(digits: &[u8]) -> bool {
    // The fourth power of this permutation per place, and the dihedral group of order ten.
    const PERMUTATION: [u8; 10] = [1, 5, 7, 6, 2, 8, 3, 0, 9, 4];
    let multiply = |a: u8, b: u8| match (a < 5, b < 5) {
        (true, true) => (a + b) % 5,
        (true, false) => (a + b - 5) % 5 + 5,
        (false, true) => (a + 5 - b) % 5 + 5,
        (false, false) => (a + 5 - b) % 5,
    };
    let mut check = 0;
    for (position, &digit) in digits.iter().rev().enumerate() {
        let mut value = digit;
        for _ in 0..position % 8 {
            value = at(&PERMUTATION, usize::from(value));
        }
        check = multiply(check, value);
    }
    check == 0
}

/// Whether there is such a day. A year of two digits counts as a leap year when it could be one.
pub(super) fn is_date(year: u64, month: u64, day: u64) -> bool {
    let leap = year.is_multiple_of(4) && (year < 100 || !year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day)
}

/// The digits of an ASCII text, without anything else in it.
pub(super) fn digits_of(text: &[u8]) -> Vec<u8> {
    text.iter().filter(|byte| byte.is_ascii_digit()).map(|byte| byte - b'0').collect()
}
