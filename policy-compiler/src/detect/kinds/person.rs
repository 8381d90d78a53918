//! What describes a person: dates, documents, record numbers, places.

use super::Finds;
use crate::detect::checksums::is_date;
use crate::detect::ids::Form;
use crate::detect::probe::Probe;
use crate::detect::set::KNOWN;

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// `March 3, 1980` and, from the month on, `3 March 1980`.
pub(super) fn date_with_month(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants_form(KNOWN.date_of_birth, Form::Context) {
        return;
    }
    let Some((month, mut at)) = month_name(probe, start) else {
        return;
    };
    at += usize::from(probe.at(at) == b'.');
    let Some((first, behind)) = number(probe, probe.run(at, 2, |byte| b" -".contains(&byte)), 4) else {
        return;
    };
    if first > 31 {
        // The day stands before the month; it stays, since month and year go.
        if (1900..2030).contains(&first) {
            finds.add(KNOWN.date_of_birth, start, behind, Form::Context);
        }
        return;
    }
    at = behind;
    if [b"st", b"nd", b"rd", b"th"]
        .iter()
        .any(|suffix| probe.starts_with(at, std::str::from_utf8(*suffix).unwrap_or_default()))
    {
        at += 2;
    }
    let Some((year, end)) = number(probe, probe.run(at, 2, |byte| b", -".contains(&byte)), 4) else {
        return;
    };
    if (1900..2030).contains(&year) && is_date(year, month, first) {
        finds.add(KNOWN.date_of_birth, start, end, Form::Context);
    }
}

fn month_name(probe: &Probe<'_>, start: usize) -> Option<(u64, usize)> {
    let end = probe.run(start, 10, |byte| byte.is_ascii_alphabetic());
    let name = probe.slice(start, end);
    if name.len() < 3 {
        return None;
    }
    let is = |month: &str| {
        let short = if name.len() == 3 { month.get(..3) } else { Some(month) };
        short.is_some_and(|short| name.eq_ignore_ascii_case(short.as_bytes()))
    };
    let month = MONTHS.iter().position(|month| is(month))?;
    Some((month as u64 + 1, end))
}

fn number(probe: &Probe<'_>, start: usize, most: usize) -> Option<(u64, usize)> {
    let end = probe.run(start, most + 1, |byte| byte.is_ascii_digit());
    let digits = probe.slice(start, end);
    let value = digits.iter().fold(0, |value, byte| value * 10 + u64::from(byte - b'0'));
    ((1..=most).contains(&digits.len())).then_some((value, end))
}

/// Characters of a record number.
const CODE_MAX: usize = 20;

/// Tokens that a context word makes record or member numbers, or diagnoses.
pub(super) fn codes(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if finds.wants_form(KNOWN.icd10, Form::Context) {
        diagnosis(probe, start, finds);
    }
    let (record, insurance) = (KNOWN.medical_record_number, KNOWN.health_insurance_id);
    let wants_record = finds.wants_form(record, Form::Context);
    if !finds.wants_form(insurance, Form::Context) && !wants_record {
        return;
    }
    // Each part, as with the groups of digits, so that what is masked behind it does not decide.
    let (mut at, mut size, mut digits) = (start, 0, 0);
    while size <= CODE_MAX {
        let byte = probe.at(at);
        if !byte.is_ascii_alphanumeric() {
            break;
        }
        size += 1;
        digits += usize::from(byte.is_ascii_digit());
        at += 1;
        if !probe.ends(at) {
            continue;
        }
        if (4..=16).contains(&size) && digits >= 3 && digits * 2 >= size {
            finds.add(record, start, at, Form::Context);
        }
        if (6..=CODE_MAX).contains(&size) && digits >= 4 && digits * 2 >= size {
            finds.add(insurance, start, at, Form::Context);
        }
        at += usize::from(probe.at(at) == b'-');
    }
}

/// ICD-10-CM: a letter, a digit, a letter or digit, perhaps a dot and up to four more.
fn diagnosis(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    let shape = probe.at(start).is_ascii_alphabetic()
        && probe.at(start + 1).is_ascii_digit()
        && probe.at(start + 2).is_ascii_alphanumeric();
    if !shape {
        return;
    }
    let mut end = start + 3;
    if probe.at(end) == b'.' {
        let behind = probe.run(end + 1, 4, |byte| byte.is_ascii_alphanumeric());
        if behind > end + 1 {
            end = behind;
        }
    }
    if probe.ends(end) {
        finds.add(KNOWN.icd10, start, end, Form::Context);
    }
}

/// ICAO Doc 9303: two lines of 44 or 36, three of 30; the check digits of the line that has most of them. The second line of a
/// passport also counts alone.
pub(super) fn machine_readable_zone(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.mrz) {
        return;
    }
    let zone = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'<';
    let first = probe.run(start, 45, zone);
    let size = first - start;
    if !matches!(size, 30 | 36 | 44) {
        return;
    }
    let line = probe.slice(start, first);
    if checks(line, size, true) {
        finds.add(KNOWN.mrz, start, first, Form::Sure);
        return;
    }
    if !matches!(line.first(), Some(b'P' | b'I' | b'A' | b'C' | b'V')) {
        return;
    }
    let second = line_break(probe, first);
    let behind = probe.run(second, 45, zone);
    if second == first || behind - second != size {
        return;
    }
    if size == 30 {
        let third = line_break(probe, behind);
        let end = probe.run(third, 45, zone);
        if third > behind && end - third == 30 && checks(line, 30, false) {
            finds.add(KNOWN.mrz, start, end, Form::Sure);
        }
    } else if checks(probe.slice(second, behind), size, false) {
        finds.add(KNOWN.mrz, start, behind, Form::Sure);
    }
}

fn line_break(probe: &Probe<'_>, at: usize) -> usize {
    probe.run(at, 2, |byte| byte == b'\n' || byte == b'\r')
}

/// The check digits of a line: of the document, and of birth and expiry where they stand on it.
fn checks(line: &[u8], size: usize, alone: bool) -> bool {
    let digit = |from: usize, to: usize| {
        let sum: u32 = line
            .get(from..to)
            .unwrap_or_default()
            .iter()
            .zip([7, 3, 1].into_iter().cycle())
            .map(|(&byte, weight)| {
                let value = match byte {
                    b'0'..=b'9' => byte - b'0',
                    b'A'..=b'Z' => byte - b'A' + 10,
                    _ => 0,
                };
                u32::from(value) * weight
            })
            .sum();
        line.get(to).is_some_and(|&check| u32::from(check.wrapping_sub(b'0')) == sum % 10)
    };
    match size {
        44 | 36 => digit(0, 9) && digit(13, 19) && digit(21, 27),
        30 => !alone && digit(5, 14),
        _ => false,
    }
}

/// Decimals of a coordinate.
const DECIMALS: std::ops::RangeInclusive<usize> = 4..=15;

/// Two numbers with at least four decimals, a comma or blanks between them, within the ranges of latitude and longitude.
pub(super) fn coordinates(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.geo_coordinates) || probe.before(start) == b'.' {
        return;
    }
    let Some(latitude) = degrees(probe, start, 90) else {
        return;
    };
    let gap = probe.run(latitude, 3, |byte| b", ;".contains(&byte));
    if gap == latitude {
        return;
    }
    if let Some(end) = degrees(probe, gap, 180) {
        finds.add(KNOWN.geo_coordinates, start, end, Form::Sure);
    }
}

fn degrees(probe: &Probe<'_>, start: usize, most: u64) -> Option<usize> {
    let signed = start + usize::from(matches!(probe.at(start), b'-' | b'+'));
    let (whole, at) = number(probe, signed, 3)?;
    let end = probe.run(at + 1, 16, |byte| byte.is_ascii_digit());
    (whole <= most && probe.at(at) == b'.' && DECIMALS.contains(&(end - at - 1))).then_some(end)
}
