//! Literals: strings, numbers with units, networks.

use super::{Parsed, boxed};
use crate::codes::Code;
use crate::date::Date;
use crate::diagnostic::{Diagnostic, Patch};
use crate::source::Span;
use crate::syntax::{Number, Rate, Unit};
use ipnet::IpNet;
use std::net::IpAddr;

/// The units, with how many bytes or seconds each is.
const UNITS: [(&str, Unit, i64); 13] = [
    ("B", Unit::Bytes, 1),
    ("KB", Unit::Bytes, 1_000),
    ("KiB", Unit::Bytes, 1 << 10),
    ("MB", Unit::Bytes, 1_000_000),
    ("MiB", Unit::Bytes, 1 << 20),
    ("GB", Unit::Bytes, 1_000_000_000),
    ("GiB", Unit::Bytes, 1 << 30),
    ("s", Unit::Seconds, 1),
    ("m", Unit::Seconds, 60),
    ("h", Unit::Seconds, 3_600),
    ("d", Unit::Seconds, 86_400),
    ("w", Unit::Seconds, 7 * 86_400),
    ("y", Unit::Seconds, 365 * 86_400),
];

/// Numbers are exact in JSON up to here (2^53).
const NUMBER_MAX: i64 = 1 << 53;

/// A string with its quotes.
pub(super) fn string(written: &str, span: Span) -> Parsed<String> {
    let inner = written.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(written);
    let mut out = String::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(backslash) = rest.find('\\') {
        out += rest.get(..backslash).unwrap_or("");
        let after = rest.get(backslash + 1..).unwrap_or("");
        let start = span.start + 1 + (inner.len() - rest.len()) + backslash;
        let (character, taken) = escape(after).ok_or_else(|| {
            let width = after.chars().next().map_or(0, char::len_utf8);
            boxed(
                Diagnostic::error(Code::BadEscape, "there is no such escape")
                    .label(Span { start, end: start + 1 + width, ..span }, "")
                    .help(r#"the escapes are \" \\ \n \t and \u{…} with a hexadecimal character number"#),
            )
        })?;
        out.push(character);
        rest = after.get(taken..).unwrap_or("");
    }
    out += rest;
    Ok(out)
}

/// The character and how many bytes behind the backslash it took.
fn escape(after: &str) -> Option<(char, usize)> {
    match after.chars().next()? {
        c @ ('"' | '\\') => Some((c, 1)),
        'n' => Some(('\n', 1)),
        't' => Some(('\t', 1)),
        'u' => {
            let digits = after.strip_prefix("u{")?.split_once('}')?.0;
            let all_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
            let number = u32::from_str_radix(digits, 16).ok().filter(|_| all_hex)?;
            Some((char::from_u32(number)?, digits.len() + 3))
        }
        _ => None,
    }
}

/// `3`, `-1`, `200_000`, `512KiB`, `15m`; bytes and seconds are multiplied out.
pub(super) fn number(written: &str, span: Span) -> Parsed<Number> {
    let fail =
        |message: String, help: &str| boxed(Diagnostic::error(Code::BadNumber, message).label(span, "").help(help));
    let digits_end = written.find(|c: char| c.is_ascii_alphabetic() || c == '.').unwrap_or(written.len());
    let (digits, unit) = written.split_at(digits_end);
    if unit.starts_with('.') {
        return Err(fail(
            format!("`{written}` is not a whole number"),
            "numbers in policies are whole; choose a smaller unit",
        ));
    }
    let too_large =
        || fail(format!("`{written}` is too large"), "numbers go from -9007199254740992 to 9007199254740992 (2^53)");
    let value: i64 = digits.replace('_', "").parse().map_err(|_| too_large())?;
    let (unit, factor) = match unit {
        "" => (None, 1),
        unit => {
            UNITS.iter().find(|(name, _, _)| *name == unit).map(|(_, unit, factor)| (Some(*unit), *factor)).ok_or_else(
                || {
                    let error =
                        fail(format!("there is no unit `{unit}`"), "sizes: B KB KiB MB MiB GB GiB; times: s m h d w y");
                    // Only the case is wrong: that can be mended.
                    let meant = UNITS.iter().find(|(name, _, _)| name.eq_ignore_ascii_case(unit));
                    match meant {
                        Some((name, _, _)) => boxed(
                            error
                                .help(format!("did you mean `{digits}{name}`?"))
                                .patch(Patch::replace(span, format!("{digits}{name}"))),
                        ),
                        None => error,
                    }
                },
            )?
        }
    };
    let value =
        value.checked_mul(factor).filter(|value| (-NUMBER_MAX..=NUMBER_MAX).contains(value)).ok_or_else(too_large)?;
    Ok(Number { value, unit })
}

/// `5/s`, `200_000/h`: how many in how many seconds.
pub(super) fn rate(written: &str, span: Span) -> Parsed<Rate> {
    const PERIODS: [(&str, i64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
    let (digits, unit) = written.split_once('/').unwrap_or((written, ""));
    let amount = number(digits, span)?.value;
    let Some((_, seconds)) = PERIODS.iter().find(|(name, _)| *name == unit) else {
        return Err(boxed(
            Diagnostic::error(Code::BadNumber, format!("there is no rate per `{unit}`"))
                .label(span, "")
                .help("rates are per second, minute, hour or day: 5/s, 100/m, 200_000/h, 1_000/d"),
        ));
    };
    Ok(Rate { amount, seconds: *seconds })
}

/// `2027-03-31`, as days since 1970-01-01.
pub(super) fn date(written: &str, span: Span) -> Parsed<i64> {
    Date::parse(written).map(Date::days).ok_or_else(|| {
        boxed(
            Diagnostic::error(Code::BadDate, format!("there is no day `{written}`"))
                .label(span, "")
                .help("days are written year-month-day: 2027-03-31"),
        )
    })
}

/// An address, or a network in CIDR form whose host bits are zero.
pub(crate) fn network(written: &str, span: Span) -> Parsed<IpNet> {
    let fail = |message: String| boxed(Diagnostic::error(Code::BadAddress, message).label(span, ""));
    let net = match written.contains('/') {
        true => written.parse::<IpNet>().ok(),
        false => written.parse::<IpAddr>().ok().map(IpNet::from),
    };
    let Some(net) = net else {
        return Err(fail(format!("`{written}` is not an address or network")));
    };
    if net.addr() != net.network() {
        return Err(boxed(
            Diagnostic::error(Code::BadAddress, format!("`{written}` has host bits behind its prefix"))
                .label(span, "")
                .help(format!("the network is `{}`, the one address `{}`", net.trunc(), net.addr())),
        ));
    }
    if let IpNet::V6(v6) = net
        && v6.addr().to_ipv4_mapped().is_some()
    {
        return Err(boxed(
            Diagnostic::error(Code::BadAddress, "IPv4-mapped addresses are judged as IPv4")
                .label(span, "")
                .help("write the IPv4 address or network"),
        ));
    }
    Ok(net)
}

pub(super) fn unescape_slashes(inner: &str) -> String {
    let mut out = String::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some('/') => out.push('/'),
                other => {
                    out.push('\\');
                    out.extend(other);
                }
            },
            c => out.push(c),
        }
    }
    out
}
