//! Network addresses.

use super::Finds;
use crate::detect::ids::Form;
use crate::detect::probe::Probe;
use crate::detect::set::KNOWN;

/// An octet below this does not tell an address from a version number.
const VERSION_MAX: u32 = 32;

/// Four octets, perhaps a prefix length. What could be a version needs a context word.
pub(super) fn ipv4(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.ipv4) || !probe.at(start).is_ascii_digit() {
        return;
    }
    let Some((mut end, octets)) = octets(probe, start) else {
        return;
    };
    let version = octets.iter().all(|&octet| octet < VERSION_MAX) && octets.first() != Some(&10);
    if probe.at(end) == b'/' {
        let behind = probe.run(end + 1, 3, |byte| byte.is_ascii_digit());
        let length = value(probe.slice(end + 1, behind));
        if behind > end + 1 && length <= 32 && probe.ends(behind) {
            end = behind;
        }
    }
    if probe.ends(end) {
        finds.add(KNOWN.ipv4, start, end, if version { Form::Context } else { Form::Sure });
    }
}

fn octets(probe: &Probe<'_>, start: usize) -> Option<(usize, [u32; 4])> {
    let mut octets = [0; 4];
    let mut at = start;
    for (number, slot) in octets.iter_mut().enumerate() {
        let end = probe.run(at, 4, |byte| byte.is_ascii_digit());
        let digits = probe.slice(at, end);
        let octet = value(digits);
        if digits.is_empty() || digits.len() > 3 || octet > 255 || digits.len() > 1 && digits.first() == Some(&b'0') {
            return None;
        }
        *slot = octet;
        at = end;
        if number < 3 {
            if probe.at(at) != b'.' {
                return None;
            }
            at += 1;
        }
    }
    Some((at, octets))
}

fn value(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, byte| value * 10 + u32::from(byte.wrapping_sub(b'0')))
}

/// Groups of an IPv6 address.
const GROUPS: usize = 8;

/// RFC 4291 §2.2: eight groups, or fewer with one `::`; an IPv4 address may be the last two.
pub(super) fn ipv6(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    let first = probe.at(start);
    if !finds.wants(KNOWN.ipv6) || !first.is_ascii_hexdigit() && first != b':' {
        return;
    }
    let mut groups = 0;
    let mut gap = false;
    let mut at = start;
    let mut embedded = false;
    if first == b':' {
        if probe.at(start + 1) != b':' {
            return;
        }
        gap = true;
        at += 2;
    }
    loop {
        let end = probe.run(at, 5, |byte| byte.is_ascii_hexdigit());
        if end - at > 4 || end == at {
            break;
        }
        if probe.at(end) == b'.' && groups >= 1 | usize::from(gap) {
            match octets(probe, at) {
                Some((behind, _)) => {
                    at = behind;
                    groups += 2;
                    embedded = true;
                    break;
                }
                None => return,
            }
        }
        groups += 1;
        at = end;
        if groups == GROUPS || probe.at(at) != b':' {
            break;
        }
        if probe.at(at + 1) == b':' {
            if gap {
                return;
            }
            gap = true;
            at += 2;
        } else if probe.at(at + 1).is_ascii_hexdigit() {
            at += 1;
        } else {
            break;
        }
    }
    let global = probe.slice(start, start + 4).iter().all(u8::is_ascii_hexdigit)
        && matches!(probe.slice(start, start + 1), [b'2' | b'3' | b'f' | b'F']);
    let enough = if gap { groups >= 3 || embedded || groups == 2 && global } else { groups == GROUPS };
    if !enough || groups > GROUPS || matches!(probe.at(at), b':' | b'_') {
        return;
    }
    if probe.at(at) == b'/' {
        let behind = probe.run(at + 1, 4, |byte| byte.is_ascii_digit());
        if (1..=3).contains(&(behind - at - 1)) && value(probe.slice(at + 1, behind)) <= 128 {
            at = behind;
        }
    }
    // Letters glued behind the last group may be hexadecimal digits too.
    while !probe.ends(at) && probe.before(at).is_ascii_hexdigit() && probe.before(at - 1).is_ascii_hexdigit() {
        at -= 1;
    }
    if probe.ends(at) {
        finds.add(KNOWN.ipv6, start, at, Form::Sure);
    }
}

/// Six pairs with `:` or `-`, or three groups of four with dots.
pub(super) fn mac(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.mac_address) {
        return;
    }
    let size = probe.run(start, 5, |byte| byte.is_ascii_hexdigit()) - start;
    let mark = probe.at(start + size);
    let groups = match (size, mark) {
        (2, b':' | b'-') => 6,
        (4, b'.') => 3,
        _ => return,
    };
    let mut at = start;
    for group in 0..groups {
        if probe.run(at, size + 1, |byte| byte.is_ascii_hexdigit()) - at != size {
            return;
        }
        at += size;
        if group + 1 < groups {
            if probe.at(at) != mark {
                return;
            }
            at += 1;
        }
    }
    // One more group of the same size makes it something else: a fingerprint.
    let longer = probe.at(at) == mark && probe.run(at + 1, size + 1, |byte| byte.is_ascii_hexdigit()) - at - 1 == size;
    let hexadecimal = probe.slice(start, at).iter().filter(|byte| byte.is_ascii_hexdigit());
    let alike = hexadecimal.clone().all(|byte| Some(byte) == probe.slice(start, at).first());
    if !longer && !alike && probe.ends(at) {
        finds.add(KNOWN.mac_address, start, at, Form::Sure);
    }
}
