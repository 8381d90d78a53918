//! Secrets that their surroundings or their inner form give away.

use super::Finds;
use crate::detect::context::ends_with_keyword;
use crate::detect::ids::Form;
use crate::detect::probe::Probe;
use crate::detect::set::KNOWN;
use std::sync::LazyLock;

/// Bytes of a private key from its first line to its last.
const PEM_MAX: usize = 12 * 1024;
/// Bytes of a token.
const TOKEN_MAX: usize = 12 * 1024;
/// Bytes of the label in a first line.
const PEM_LABEL_MAX: usize = 48;

/// From `-----BEGIN … PRIVATE KEY` to the line that ends it, or to the end of the text.
pub(super) fn pem(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !finds.wants(KNOWN.private_key) || !probe.starts_with(start, "-----BEGIN ") {
        return;
    }
    let label = start + "-----BEGIN ".len();
    let behind =
        probe.run(label, PEM_LABEL_MAX, |byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b' ');
    let text = probe.slice(label, behind);
    if !text.windows(b"PRIVATE KEY".len()).any(|window| window == b"PRIVATE KEY") || !probe.starts_with(behind, "-----")
    {
        return;
    }
    let is_end = |at: usize| probe.at(at) == b'-' && probe.starts_with(at, "-----END ");
    let end = match probe.search(0, behind, start + PEM_MAX, is_end) {
        Ok(at) => {
            let line = probe.run(at + 5, PEM_LABEL_MAX + 4, |byte| byte != b'-' && byte != 0);
            probe.run(line, 5, |byte| byte == b'-')
        }
        Err(at) => at,
    };
    finds.add(KNOWN.private_key, start, end, Form::Sure);
}

/// Tokens that begin with a letter or digit: JSON web tokens, values behind `Bearer` and `Basic`, AWS secrets, bot tokens, PuTTY keys,
/// and whatever looks random.
pub(super) fn tokens(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if finds.wants(KNOWN.jwt) && probe.at(start) == b'e' {
        web_token(probe, start, finds);
    }
    if finds.wants(KNOWN.private_key) && probe.at(start) == b'P' && probe.starts_with(start, "PuTTY-User-Key-File-") {
        putty_key(probe, start, finds);
    }
    if finds.wants(KNOWN.http_authorization) && probe.before(start) == b' ' {
        authorization(probe, start, finds);
    }
    if finds.wants_form(KNOWN.aws_secret_key, Form::Context) {
        let end = probe.run(start, 40, |byte| byte.is_ascii_alphanumeric() || byte == b'/' || byte == b'+');
        let text = probe.slice(start, end);
        if text.len() == 40 && kinds_of(text) >= 3 && probe.ends(end) {
            finds.add(KNOWN.aws_secret_key, start, end, Form::Context);
        }
    }
    if finds.wants(KNOWN.telegram_bot_token) && probe.at(start).is_ascii_digit() {
        let colon = probe.run(start, 11, |byte| byte.is_ascii_digit());
        if (8..=10).contains(&(colon - start)) && probe.at(colon) == b':' && probe.at(colon + 1) == b'A' {
            let end = probe.run(colon + 1, 35, is_url_safe);
            if end - colon == 36 && probe.ends(end) {
                finds.add(KNOWN.telegram_bot_token, start, end, Form::Sure);
            }
        }
    }
    if finds.wants_form(KNOWN.generic_secret, Form::Context) {
        let end = probe.run(start, 129, |byte| byte.is_ascii_alphanumeric() || b"+/_=.~-".contains(&byte));
        let text = probe.slice(start, end);
        if (16..=128).contains(&text.len()) && kinds_of(text) >= 3 && has_early_digit(text) && entropy(text) >= 3.5 {
            finds.add(KNOWN.generic_secret, start, end, Form::Context);
        }
    }
}

fn is_url_safe(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

/// RFC 7515 and 7516: three or five parts; the first decodes to JSON with `alg`.
fn web_token(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    if !(probe.at(start + 1) == b'y' && probe.at(start + 2) == b'J') {
        return;
    }
    let header = probe.token_run(start, TOKEN_MAX);
    if probe.at(header) != b'.' {
        return;
    }
    let decoded = decode(probe.slice(start, header));
    if !decoded.starts_with(b"{\"") || !decoded.windows(5).any(|window| window == b"\"alg\"") {
        return;
    }
    let mut at = header;
    for _ in 1..5 {
        if probe.at(at) != b'.' {
            break;
        }
        let part = probe.token_run(at + 1, TOKEN_MAX);
        // A part of the middle may be empty; a dot that nothing follows ends a sentence.
        if part == at + 1 && probe.at(part) != b'.' {
            break;
        }
        at = part;
    }
    finds.add(KNOWN.jwt, start, at, Form::Sure);
}

fn putty_key(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    let is_end = |at: usize| probe.at(at) == b'P' && probe.starts_with(at, "Private-M");
    let end = match probe.search(1, start, start + PEM_MAX, is_end) {
        Ok(at) => probe.run(at, 80, |byte| byte != b'\n' && byte != 0),
        Err(at) => at,
    };
    finds.add(KNOWN.private_key, start, end, Form::Sure);
}

/// The value behind `Bearer` or `Basic`.
fn authorization(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    // The last letters of the words below.
    if !matches!(probe.left(start, 2), b'r' | b'R' | b'n' | b'N' | b'c' | b'C') {
        return;
    }
    let word = |names| ends_with_keyword(probe.leftwards(start, NAME_MAX).skip(1), names);
    let bearer = word(&["bearer", "token"]);
    let basic = !bearer && word(&["basic"]);
    if !bearer && !basic {
        return;
    }
    let end = probe.run(start, TOKEN_MAX, |byte| byte.is_ascii_alphanumeric() || b"._~+/=-".contains(&byte));
    let text = probe.slice(start, end);
    let good = if basic {
        text.len() >= 6 && decode(text).contains(&b':')
    } else {
        text.len() >= 16 && text.iter().any(u8::is_ascii_digit) && text.iter().any(u8::is_ascii_alphabetic)
    };
    if good {
        finds.add(KNOWN.http_authorization, start, end, Form::Sure);
    }
}

/// Names whose values are secrets; the account keys of Azure apart.
const SECRET_NAMES: &[&str] = &[
    "password",
    "passwd",
    "pwd",
    "passphrase",
    "secret",
    "api_key",
    "api-key",
    "apikey",
    "access_token",
    "auth_token",
    "client_secret",
    "secret_key",
    "private_key",
    "access_key",
    "contraseña",
    "passwort",
    "kennwort",
    "mot de passe",
];
const AZURE_NAMES: &[&str] = &["accountkey", "sharedaccesskey"];
/// What is written where a secret would stand.
const NO_SECRETS: &[&str] = &[
    "none",
    "null",
    "true",
    "false",
    "undefined",
    "string",
    "str",
    "required",
    "optional",
    "changeme",
    "example",
    "redacted",
    "hidden",
    "masked",
    "bool",
    "bytes",
    "self",
    "input",
];

/// Whether the name of a secret may end with this byte.
pub(in crate::detect) fn ends_secret_name(byte: u8) -> bool {
    static ENDS: LazyLock<[bool; 256]> = LazyLock::new(|| {
        let mut ends = [false; 256];
        for last in SECRET_NAMES.iter().chain(AZURE_NAMES).filter_map(|name| name.bytes().next_back()) {
            for byte in [last, last.to_ascii_uppercase()] {
                if let Some(slot) = ends.get_mut(usize::from(byte)) {
                    *slot = true;
                }
            }
        }
        ends
    });
    ENDS.get(usize::from(byte)) == Some(&true)
}

/// Bytes of a value.
const VALUE_MAX: usize = 128;
/// Bytes of user and password in a URL.
const USERINFO_MAX: usize = 256;

/// Behind `:` or `=`: the value of a secret's name; behind `://`: user and password.
pub(super) fn value(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    let before = probe.before(start);
    if before == b'/' && finds.wants(KNOWN.url_credentials) && is_behind_scheme(probe, start) {
        userinfo(probe, start, finds);
    }
    // Mostly a word and a blank.
    if !is_filler(before) || before == b' ' && probe.left(start, 2).is_ascii_alphanumeric() {
        return;
    }
    let azure = finds.wants(KNOWN.azure_storage_key) && is_value_of(probe, start, AZURE_NAMES);
    if azure {
        let end = probe.run(start, VALUE_MAX, |byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
        if (40..=VALUE_MAX).contains(&(end - start)) {
            finds.add(KNOWN.azure_storage_key, start, end, Form::Sure);
        }
    }
    if finds.wants(KNOWN.password) && is_value_of(probe, start, SECRET_NAMES) {
        assigned(probe, start, finds);
    }
}

/// Whether a scheme and `://` stand before it.
fn is_behind_scheme(probe: &Probe<'_>, start: usize) -> bool {
    let mut left = probe.leftwards(start, 4);
    left.next() == Some(b'/')
        && left.next() == Some(b'/')
        && left.next() == Some(b':')
        && left.next().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

/// What may stand between a name, its `:` or `=`, and the value.
pub(in crate::detect) fn is_filler(byte: u8) -> bool {
    b" =>\"'`\t:\\".contains(&byte)
}

/// Whether `:` or `=` and one of these names stand before it.
fn is_value_of(probe: &Probe<'_>, start: usize, names: &[&str]) -> bool {
    if !is_filler(probe.before(start)) || is_filler(probe.at(start)) {
        return false;
    }
    let gap = probe.leftwards(start, FILLER_MAX).take_while(|&byte| is_filler(byte));
    let (count, marked) =
        gap.fold((0, false), |(count, marked), byte| (count + 1, marked || byte == b':' || byte == b'='));
    marked && ends_with_keyword(probe.leftwards(start, NAME_MAX).skip(count), names)
}

/// Bytes between a name and its value.
const FILLER_MAX: usize = 8;
/// Bytes in which a name must stand.
const NAME_MAX: usize = 48;

/// The value of an assignment. Prose such as `password: please choose one` is not one, nor is a call or a type.
fn assigned(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    let quote = Some(probe.before(start)).filter(|byte| b"\"'`".contains(byte));
    let end = match quote {
        Some(quote) => probe.run(start, VALUE_MAX, |byte| byte != quote && byte != b'\n' && byte != 0),
        None => probe.run(start, VALUE_MAX, |byte| !b" \t\r\n,;\"'`<>()[]{}&\0".contains(&byte)),
    };
    let value = probe.slice(start, end);
    let lower = value.to_ascii_lowercase();
    let called = quote.is_none() && matches!(probe.at(end), b'(' | b'[' | b'{');
    let placeholder = NO_SECRETS.iter().any(|word| word.as_bytes() == lower)
        || lower.starts_with(b"your")
        || matches!(value.first(), Some(b'[' | b'<' | b'{' | b'$' | b'%'))
        || value.iter().all(|byte| b"*.xX-_".contains(byte));
    let word = value.iter().all(|byte| byte.is_ascii_alphabetic() || b".-_".contains(byte));
    let colon = probe.leftwards(start, FILLER_MAX).find(|byte| b":=".contains(byte)) == Some(b':');
    let prose = quote.is_none() && word && (colon || value.contains(&b'.'));
    if value.len() >= 4 && !called && !placeholder && !prose {
        finds.add(KNOWN.password, start, end, Form::Sure);
    }
}

/// RFC 3986 §3.2.1: user, colon, password, and an `@` with a host behind it.
fn userinfo(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    let end = probe.run(start, USERINFO_MAX, |byte| !b"@/?# \"'<>\\\t\r\n\0".contains(&byte));
    let text = probe.slice(start, end);
    let colon = text.iter().position(|&byte| byte == b':');
    if probe.at(end) == b'@'
        && colon.is_some_and(|colon| colon + 1 < text.len())
        && !b" \n\0".contains(&probe.at(end + 1))
    {
        finds.add(KNOWN.url_credentials, start, end, Form::Sure);
    }
}

/// Random text has a digit among its first characters; words and paths mostly have none.
fn has_early_digit(text: &[u8]) -> bool {
    text.iter().take(48).any(u8::is_ascii_digit)
}

/// Kinds of characters: lower case, upper case, digits, others.
fn kinds_of(text: &[u8]) -> usize {
    let has = |kind: fn(&u8) -> bool| usize::from(text.iter().any(kind));
    has(u8::is_ascii_lowercase)
        + has(u8::is_ascii_uppercase)
        + has(u8::is_ascii_digit)
        + has(|byte| !byte.is_ascii_alphanumeric())
}

/// Bits per character.
fn entropy(text: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for &byte in text {
        if let Some(count) = counts.get_mut(usize::from(byte)) {
            *count += 1;
        }
    }
    let total = text.len() as f64;
    counts
        .iter()
        .filter(|&&count| count > 0)
        .map(|&count| f64::from(count) / total)
        .map(|share| -share * share.log2())
        .sum()
}

/// Base 64 of either alphabet, as far as it goes.
fn decode(text: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() * 3 / 4);
    let (mut bits, mut count) = (0_u32, 0);
    for &byte in text {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => break,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(((bits >> count) & 0xff) as u8);
        }
    }
    bytes
}
