//! E-mail addresses and phone numbers.

use super::Finds;
use super::tlds::longest_tld;
use crate::detect::ids::Form;
use crate::detect::probe::Probe;
use crate::detect::set::KNOWN;

/// Bytes of the longest local part (RFC 5321 §4.5.3.1.1).
const LOCAL_PART_MAX: usize = 64;
/// Bytes of a label of a domain.
const LABEL_MAX: usize = 63;
/// Labels that are read.
const LABELS_MAX: usize = 9;

/// A local part, `@`, labels, and a top-level domain that exists. Nothing stands guard behind it, so text glued to an address does not
/// hide it.
pub(super) fn email(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.email) {
        return;
    }
    let at = local_part(probe, start);
    if at == start || probe.at(at) != b'@' || probe.before(at) == b'.' {
        return;
    }
    if let Some(end) = domain(probe, at + 1) {
        finds.add(KNOWN.email, start, end, Form::Sure);
    }
}

/// The end of the local part. Letters of two-byte UTF-8 count (RFC 6531: Latin, Greek, Cyrillic, Hebrew, Arabic), but not the scripts that
/// are written without blanks: their text would run into the address.
fn local_part(probe: &Probe<'_>, start: usize) -> usize {
    let mut at = start;
    while at < start + LOCAL_PART_MAX {
        at += match probe.at(at) {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'%' | b'+' | b'\'' | b'-' => 1,
            0xC3..=0xDB if matches!(probe.at(at + 1), 0x80..=0xBF) => 2,
            _ => break,
        };
    }
    at
}

/// The end of the longest domain here.
fn domain(probe: &Probe<'_>, start: usize) -> Option<usize> {
    let mut at = start;
    let mut end = None;
    for labels in 0..LABELS_MAX {
        let label = at;
        at = probe.run(at, LABEL_MAX, |byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte >= 0x80);
        if at == label || probe.at(label) == b'-' {
            break;
        }
        if labels > 0 {
            // The longest top-level domain that the label begins with: what is glued behind it does not hide it.
            if let Some(length) = longest_tld(probe.slice(label, at)) {
                end = Some(label + length);
            }
        }
        if probe.at(at) != b'.' || !is_label_start(probe.at(at + 1)) {
            break;
        }
        at += 1;
    }
    end
}

fn is_label_start(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte >= 0x80
}

/// Country calling codes of ITU-T E.164 that are assigned, by their first digits; a code is one, two or three digits.
fn country_code_length(digits: &[u8]) -> Option<usize> {
    let two = digits.get(..2).map(|pair| pair.iter().fold(0, |sum: u16, &digit| sum * 10 + u16::from(digit)))?;
    let three = digits.get(..3).map(|all| all.iter().fold(0, |sum: u16, &digit| sum * 10 + u16::from(digit)))?;
    match two {
        10..=19 | 70..=79 => Some(1),
        20 | 27 | 30..=34 | 36 | 39 | 40 | 41 | 43..=49 | 51..=58 | 60..=66 | 81 | 82 | 84 | 86 | 90..=95 | 98 => Some(2),
        _ => matches!(three,
            211..=213 | 216 | 218 | 220..=269 | 290 | 291 | 297..=299 | 350..=359 | 370..=389 | 420 | 421 | 423 | 500..=509
            | 590..=599 | 670 | 672..=692 | 800 | 808 | 850 | 852 | 853 | 855 | 856 | 870 | 878 | 880..=883 | 886 | 888
            | 960..=968 | 970..=977 | 979 | 992..=996 | 998)
        .then_some(3),
    }
}

/// Digits of an international number without its country code.
const SUBSCRIBER_MIN: usize = 4;
/// Digits of an international number (E.164 §6.1).
const INTERNATIONAL_MAX: usize = 15;

/// `+` and an assigned country code; up to two of blank, dash, `.`, `/`, `(`, `)` between digits.
pub(super) fn international_phone(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.phone) {
        return;
    }
    let (mut digits, mut count) = ([0; INTERNATIONAL_MAX], 0);
    let mut at = start + 1;
    // A blank or a parenthesis may stand behind the plus.
    at += usize::from(matches!(probe.at(at), b' ' | b'('));
    let mut found = None;
    loop {
        let digit = probe.at(at);
        if !digit.is_ascii_digit() {
            break;
        }
        // A longer run of digits is no number; what ended at a separator before may be one.
        let Some(slot) = digits.get_mut(count) else {
            break;
        };
        *slot = digit - b'0';
        count += 1;
        at += 1;
        if !probe.at(at).is_ascii_digit() && digits.get(..count).is_some_and(is_international) {
            found = Some(at);
        }
        if digits.first() == Some(&1) && count == 11 {
            break;
        }
        let gap = probe.run(at, 2, |byte| b" -./()".contains(&byte));
        if !probe.at(gap).is_ascii_digit() {
            break;
        }
        at = gap;
    }
    if let Some(end) = found {
        finds.add(KNOWN.phone, start, end, Form::Sure);
    }
}

fn is_international(digits: &[u8]) -> bool {
    match country_code_length(digits) {
        // The North American plan has one length and its own rules.
        Some(1) if digits.first() == Some(&1) => digits.len() == 11 && matches!(digits.get(1), Some(2..=9)),
        Some(1) => digits.len() == 11,
        Some(length) => digits.len() >= length + SUBSCRIBER_MIN && digits.len() >= 7,
        None => false,
    }
}

/// `(NXX) NXX-XXXX`
pub(super) fn north_american_phone(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.phone) {
        return;
    }
    let (mut digits, mut count) = ([0; 10], 0);
    let mut at = start + 1;
    for wanted in b"ddd)ddd-dddd" {
        let byte = probe.at(at);
        match wanted {
            b'd' => match digits.get_mut(count).filter(|_| byte.is_ascii_digit()) {
                Some(slot) => {
                    *slot = byte - b'0';
                    count += 1;
                }
                None => return,
            },
            b')' if byte == b')' => at += usize::from(b" -.".contains(&probe.at(at + 1))),
            b'-' if b" -.".contains(&byte) => {}
            _ => return,
        }
        at += 1;
    }
    if is_nanp(&digits) && probe.ends(at) {
        finds.add(KNOWN.phone, start, at, Form::Sure);
    }
}

/// Ten digits of the North American plan.
pub(super) fn is_nanp(digits: &[u8]) -> bool {
    let part =
        |from: usize| matches!(digits.get(from..from + 3), Some([2..=9, second, third]) if (*second, *third) != (1, 1));
    digits.len() == 10 && part(0) && part(3)
}
