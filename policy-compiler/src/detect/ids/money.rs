//! Cards, accounts, banks.

use super::super::checksums::{all_alike, at, luhn, mod_97_10, number, weighted};
use super::{BLANK, DASH, Digits, SLASH, Shape, any, context, context_in, context_shape};
use std::sync::LazyLock;

pub(super) const DIGITS: &[Digits] = &[
    context_in("card_cvv", &[3], 0, any),
    context_in("card_cvv", &[4], 0, any),
    context_in("card_expiry", &[2, 2], SLASH | DASH | BLANK, is_month_first),
    context_in("card_expiry", &[2, 4], SLASH | DASH | BLANK, is_month_and_year),
    context_in("card_expiry", &[4], 0, is_month_first),
    context("us_aba", 9, is_aba),
    context("us_bank_account", 8, is_account),
    context("us_bank_account", 9, is_account),
    context("us_bank_account", 10, is_account),
    context("us_bank_account", 11, is_account),
    context("us_bank_account", 12, is_account),
    context("us_bank_account", 13, is_account),
    context("us_bank_account", 14, is_account),
    context("us_bank_account", 15, is_account),
    context("us_bank_account", 16, is_account),
    context("us_bank_account", 17, is_account),
    context_in("uk_sort_code", &[2, 2, 2], DASH | BLANK, any),
    context_in("uk_sort_code", &[6], 0, any),
];

pub(super) const SHAPES: &[Shape] =
    &[context_shape("bic", "LLLL?LL?AA", is_bic), context_shape("bic", "LLLL?LL?AA?AAA", is_bic)];

fn is_month_first(digits: &[u8]) -> bool {
    (1..=12).contains(&number(digits.get(..2).unwrap_or_default()))
}

fn is_month_and_year(digits: &[u8]) -> bool {
    is_month_first(digits) && (2000..2100).contains(&number(digits.get(2..).unwrap_or_default()))
}

/// The Federal Reserve's prefixes and the weights 3, 7, 1.
fn is_aba(digits: &[u8]) -> bool {
    let prefix = number(digits.get(..2).unwrap_or_default());
    let known = matches!(prefix, 0..=12 | 21..=32 | 61..=72 | 80);
    known && !all_alike(digits) && weighted(digits, &[3, 7, 1, 3, 7, 1, 3, 7, 1]).is_multiple_of(10)
}

fn is_account(digits: &[u8]) -> bool {
    !all_alike(digits)
}

/// A bank of four letters in a country, and a place.
fn is_bic(text: &[u8]) -> bool {
    let country = text.get(4..6).unwrap_or_default();
    country_codes().any(|code| code.as_bytes() == country)
}

/// ISO 3166-1 alpha-2, and XK.
fn country_codes() -> impl Iterator<Item = &'static str> {
    "AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC CD CF CG \
     CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL \
     GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA \
     LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP \
     NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV \
     SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS XK YE YT ZA ZM ZW"
        .split_ascii_whitespace()
}

/// An issuer's range (ISO/IEC 7812-1) with its lengths, and Luhn.
pub(in super::super) fn issuer_and_luhn(digits: &[u8]) -> bool {
    is_issued(digits) && luhn(digits) && !all_alike(digits)
}

fn is_issued(digits: &[u8]) -> bool {
    let prefix = |length: usize| number(digits.get(..length).unwrap_or_default());
    let length = digits.len();
    match at(digits, 0) {
        // Visa.
        4 => matches!(length, 13 | 16 | 18 | 19),
        // Mastercard 51-55; Maestro and Verve 50, 56-58.
        5 => match prefix(2) {
            51..=55 => length == 16,
            50 | 56..=58 => (12..=19).contains(&length),
            _ => false,
        },
        // Mastercard 2221-2720; Mir 2200-2204; JCB 2131.
        2 => match prefix(4) {
            2221..=2720 => length == 16,
            2200..=2204 => (16..=19).contains(&length),
            2131 => length == 15,
            _ => false,
        },
        3 => match prefix(2) {
            // American Express.
            34 | 37 => length == 15,
            // Diners Club.
            36 => (14..=19).contains(&length),
            38 | 39 => (14..=19).contains(&length),
            30 => {
                matches!(prefix(3), 300..=305) && (14..=19).contains(&length)
                    || prefix(4) == 3095 && (14..=19).contains(&length)
            }
            // JCB.
            35 => (3528..=3589).contains(&prefix(4)) && (16..=19).contains(&length),
            _ => false,
        },
        // Discover, UnionPay 62, Maestro, RuPay 60 and 65, Verve 6500.
        6 => (12..=19).contains(&length),
        // UnionPay and RuPay.
        8 => matches!(prefix(2), 81 | 82) && (16..=19).contains(&length),
        // Troy.
        9 => prefix(4) == 9792 && length == 16,
        // JCB.
        1 => prefix(4) == 1800 && length == 15,
        _ => false,
    }
}

/// The lengths of ISO 13616 by country, as the SWIFT registry lists them.
const IBAN_LENGTHS: &str = "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 \
     ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 \
     LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 \
     SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30";

/// The length that an IBAN of this country has.
pub(in super::super) fn iban_length(country: [u8; 2]) -> Option<usize> {
    static LENGTHS: LazyLock<Vec<u8>> = LazyLock::new(|| {
        let mut lengths = vec![0; 26 * 26];
        for entry in IBAN_LENGTHS.split_ascii_whitespace() {
            let parsed = entry.split_at_checked(2).and_then(|(_, length)| length.parse().ok());
            let slot = entry.as_bytes().first_chunk::<2>().and_then(|name| country_slot(*name));
            if let (Some(length), Some(slot)) = (parsed, slot.and_then(|slot| lengths.get_mut(slot))) {
                *slot = length;
            }
        }
        lengths
    });
    let length = LENGTHS.get(country_slot(country)?).copied().unwrap_or_default();
    (length > 0).then_some(usize::from(length))
}

fn country_slot(country: [u8; 2]) -> Option<usize> {
    let [first, second] = country.map(|letter| usize::from(letter.wrapping_sub(b'A')));
    (first < 26 && second < 26).then_some(first * 26 + second)
}

/// Length by country and mod 97 over the rearranged text.
pub(in super::super) fn is_iban(text: &[u8]) -> bool {
    let Some(&[first, second]) = text.first_chunk::<2>() else {
        return false;
    };
    if iban_length([first, second]) != Some(text.len()) {
        return false;
    }
    let (head, rest) = text.split_at(4);
    mod_97_10(rest.iter().chain(head).copied())
}
