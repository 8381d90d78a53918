//! What is masked in everything that is written down, whatever the policy says (DESIGN §4.4): every built-in detector of tier V, also
//! over what is percent- or base64-coded.

use std::cell::RefCell;
use std::collections::HashSet;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use foldhash::quality::RandomState;
use policy_compiler::detect;

/// Shortest run of base64 that is looked into, in characters.
const ENCODED_RUN_MIN: usize = 16;
/// What stands in its place.
const ENCODED_LABEL: &[u8] = b"[BASE64]";

const LENIENT: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Texts up to so many bytes are remembered when nothing was found in them, and so many of them per thread.
const REMEMBERED_BYTES_MAX: usize = 256;
const REMEMBERED_TEXTS_MAX: usize = 1024;

thread_local! {
    /// Texts in which nothing was found: hosts, paths and names of models come again with every call, and searching them is the
    /// dearest part of a plain call. Which detectors search is fixed, so that an entry never becomes wrong.
    static CLEAN: RefCell<HashSet<Box<str>, RandomState>> = RefCell::default();
}

/// Whether nothing is found in the text.
fn is_clean(text: &str) -> bool {
    find_any(text).is_empty()
}

fn find_any(text: &str) -> Vec<detect::Finding> {
    if CLEAN.with_borrow(|clean| clean.contains(text)) {
        return Vec::new();
    }
    let findings = detect::find_validated(text);
    if findings.is_empty() && text.len() <= REMEMBERED_BYTES_MAX {
        CLEAN.with_borrow_mut(|clean| {
            if clean.len() >= REMEMBERED_TEXTS_MAX {
                clean.clear();
            }
            clean.insert(text.into());
        });
    }
    findings
}

/// A text that stands in no body.
pub(crate) fn masked(text: &str) -> String {
    let mut findings = find_any(text);
    if findings.is_empty() {
        return text.to_owned();
    }
    findings.sort_by_key(|finding| (finding.range.start, std::cmp::Reverse(finding.range.end)));
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    for finding in findings {
        if finding.range.start >= at {
            out.push_str(text.get(at..finding.range.start).unwrap_or_default());
            out.push_str(&format!("[{}]", finding.detector.to_uppercase()));
        }
        at = at.max(finding.range.end);
    }
    out.push_str(text.get(at..).unwrap_or_default());
    out
}

/// A request target: what percent-coding hides is found as well, and the target is then kept without that coding.
pub(crate) fn masked_target(target: &str) -> String {
    let masked_as_sent = masked(target);
    if masked_as_sent == target && !target.contains(['%', '+']) {
        return masked_as_sent;
    }
    let decoded = percent_decoded(&masked_as_sent);
    if is_clean(&decoded) { masked_as_sent } else { masked(&decoded) }
}

/// `%40` is `@`, and `+` a space, as forms write it. What is no coding stays.
fn percent_decoded(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.as_bytes();
    while let Some((&byte, rest)) = bytes.split_first() {
        bytes = rest;
        let coded = (byte == b'%').then(|| rest.first_chunk::<2>()).flatten();
        let value = coded.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match value {
            Some(value) => {
                out.push(value);
                bytes = rest.get(2..).unwrap_or_default();
            }
            None => out.push(if byte == b'+' { b' ' } else { byte }),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A recorded copy of a body that is no JSON: its fields, file names and texts, whatever binary stands between them.
pub(crate) fn masked_bytes(copy: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(copy.len());
    for chunk in copy.utf8_chunks() {
        out.extend_from_slice(masked(chunk.valid()).as_bytes());
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// A recorded copy of a body, in which whole runs of base64 are labelled that hide what would have been masked.
pub(crate) fn without_encoded(copy: Vec<u8>) -> Vec<u8> {
    let is_coded = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
    let mut out: Option<Vec<u8>> = None;
    let (mut kept, mut at) = (0, 0);
    while let Some(rest) = copy.get(at..).filter(|rest| !rest.is_empty()) {
        let length = rest.iter().take_while(|byte| is_coded(**byte)).count();
        let run = rest.get(..length).unwrap_or_default();
        if length >= ENCODED_RUN_MIN && hides_something(run) {
            let out = out.get_or_insert_default();
            out.extend_from_slice(copy.get(kept..at).unwrap_or_default());
            out.extend_from_slice(ENCODED_LABEL);
            kept = at + length;
        }
        at += length.max(1);
    }
    match out {
        None => copy,
        Some(mut out) => {
            out.extend_from_slice(copy.get(kept..).unwrap_or_default());
            out
        }
    }
}

fn hides_something(run: &[u8]) -> bool {
    // A last group of one character codes nothing.
    let whole = if run.len() % 4 == 1 { run.len() - 1 } else { run.len() };
    let run = run.get(..whole).unwrap_or_default();
    let decoded = STANDARD.decode(run).or_else(|_| URL_SAFE.decode(run));
    decoded.is_ok_and(|bytes| !detect::find_validated(&String::from_utf8_lossy(&bytes)).is_empty())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use base64::engine::general_purpose;

    #[test]
    fn targets_are_masked_as_sent_and_as_meant() {
        assert_eq!(masked_target("/v1/models?limit=2"), "/v1/models?limit=2");
        assert_eq!(masked_target("/v1/x?ssn=536-22-8145&a=b%20c"), "/v1/x?ssn=[US_SSN]&a=b%20c");
        assert_eq!(masked_target("/v1/x?ssn=536%2D22%2D8145"), "/v1/x?ssn=[US_SSN]");
        assert_eq!(masked_target("/v1/x?to=jane.doe%40example.org"), "/v1/x?to=[EMAIL]");
        assert_eq!(masked_target("/v1/%zz%4"), "/v1/%zz%4");
    }

    #[test]
    fn what_is_remembered_as_clean_is_clean() {
        for round in 0..3 {
            for number in 0..REMEMBERED_TEXTS_MAX {
                assert_eq!(masked(&format!("/v1/x/{number}")), format!("/v1/x/{number}"));
            }
            assert_eq!(masked("536-22-8145"), "[US_SSN]", "round {round}");
        }
        assert!(CLEAN.with_borrow(|clean| clean.len() <= REMEMBERED_TEXTS_MAX && !clean.contains("536-22-8145")));
        let long = "x ".repeat(REMEMBERED_BYTES_MAX);
        assert_eq!(masked(&long), long);
        assert!(!CLEAN.with_borrow(|clean| clean.contains(long.as_str())));
    }

    #[test]
    fn what_base64_hides_is_found() {
        let text = "Her number is 536-22-8145.";
        for coded in [general_purpose::STANDARD.encode(text), general_purpose::URL_SAFE_NO_PAD.encode(text)] {
            let body = format!(r#"{{"a":"{coded}","b":"plain"}}"#).into_bytes();
            assert_eq!(without_encoded(body), br#"{"a":"[BASE64]","b":"plain"}"#);
        }
        for harmless in [general_purpose::STANDARD.encode("nothing of the kind at all"), "x".repeat(100), String::new()]
        {
            assert_eq!(without_encoded(harmless.clone().into_bytes()), harmless.into_bytes());
        }
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_taken(bytes: Vec<u8>, text: String) {
            let _ = without_encoded(bytes);
            let _ = masked_target(&text);
        }
    }
}
