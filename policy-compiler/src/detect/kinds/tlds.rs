//! Top-level domains.

use std::collections::HashSet;
use std::sync::LazyLock;

/// The IANA root zone, as the Public Suffix List has it (2026-10-23), in lower case; internationalised ones as they are written.
const NAMES: &str = include_str!("tlds.txt");

/// Bytes of the longest name.
const LENGTH_MAX: usize = 33;
/// What an encoded name begins with (RFC 5890); those are taken as they come.
const ENCODED: &[u8] = b"xn--";

static TLDS: LazyLock<HashSet<&'static [u8]>> =
    LazyLock::new(|| NAMES.split_ascii_whitespace().map(str::as_bytes).collect());

/// The length of the longest top-level domain that a label begins with.
pub(super) fn longest_tld(label: &[u8]) -> Option<usize> {
    if label.len() > ENCODED.len()
        && label.get(..ENCODED.len()).is_some_and(|start| start.eq_ignore_ascii_case(ENCODED))
    {
        return Some(label.len());
    }
    let lower = label.get(..label.len().min(LENGTH_MAX)).unwrap_or_default().to_ascii_lowercase();
    (2..=lower.len()).rev().find(|&length| lower.get(..length).is_some_and(|name| TLDS.contains(name)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_name_counts() {
        assert_eq!(longest_tld(b"com"), Some(3));
        assert_eq!(longest_tld(b"COMMUNITYx"), Some(9));
        assert_eq!(longest_tld(b"co1m"), Some(2));
        assert_eq!(longest_tld(b"c"), None);
        assert_eq!(longest_tld(b"qqq"), None);
        assert_eq!(longest_tld(b"xn--p1ai"), Some(8));
        assert_eq!(longest_tld("рф!".as_bytes()), Some(4));
        assert!(TLDS.len() > 1000 && TLDS.iter().all(|name| name.len() <= LENGTH_MAX));
    }
}
