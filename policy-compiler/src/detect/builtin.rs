//! The built-in detectors of tier V: shape by regex, then what a regex cannot say (MASKING §5, docs/detectors.md).

use super::pattern::{Pattern, Rules};
use std::sync::{Arc, LazyLock};

/// One built-in detector.
#[derive(Clone, Debug)]
pub(crate) struct Builtin {
    /// The name that policies use.
    pub(crate) name: &'static str,
    /// What stands in the place of a hit.
    pub(crate) label: &'static str,
    /// Whether `last4` hides it: not where what is left could still be such a value (DECISIONS 17).
    pub(crate) takes_last4: bool,
    /// Any of them.
    pub(crate) patterns: Vec<Arc<Pattern>>,
}

/// Every built-in detector; an earlier one gives its name to a hit that a later one finds too.
pub(crate) fn builtins() -> &'static [Builtin] {
    static BUILTINS: LazyLock<Vec<Builtin>> = LazyLock::new(|| {
        vec![
            builtin("credit_card", "[CREDIT_CARD]", vec![credit_card()]),
            builtin("us_ssn", "[US_SSN]", vec![us_ssn()]),
            builtin("email", "[EMAIL]", vec![email()]),
            builtin("phone", "[PHONE]", phone()),
        ]
    });
    &BUILTINS
}

/// The detector of this name.
pub(crate) fn builtin_named(name: &str) -> Option<&'static Builtin> {
    builtins().iter().find(|builtin| builtin.name == name)
}

fn builtin(name: &'static str, label: &'static str, patterns: Vec<(String, Rules)>) -> Builtin {
    let patterns = patterns
        .into_iter()
        .map(|(source, rules)| {
            #[expect(clippy::expect_used, reason = "the sources are constants and a test compiles every one")]
            let pattern = Pattern::new(&source, rules).expect("a built-in pattern compiles");
            Arc::new(pattern)
        })
        .collect();
    Builtin { name, label, takes_last4: name != "email", patterns }
}

/// Dashes that people and models write: hyphen-minus, the Unicode hyphens and dashes, the minus sign.
const DASH: &str = r"\-\x{2010}-\x{2015}\x{2212}";
/// Blanks: space, no-break space, thin space, narrow no-break space.
const BLANK: &str = r" \x{A0}\x{2009}\x{202F}";

/// Beginnings of card numbers by issuer (IIN). Maestro's 6 covers Discover, UnionPay 62 and RuPay 60/65; Maestro's 50
/// covers Verve.
const IIN: [&str; 14] = [
    "4",                                                     // Visa
    "5[0-8]",                                                // Mastercard 51-55, Maestro 50 and 56-58
    "2(22[1-9]|2[3-9][0-9]|[3-6][0-9][0-9]|7[01][0-9]|720)", // Mastercard 2221-2720
    "3[47]",                                                 // American Express
    "30[0-5]",                                               // Diners Club
    "3095",                                                  // Diners Club
    "3[689]",                                                // Diners Club
    "35(2[89]|[3-8][0-9])",                                  // JCB
    "1800",                                                  // JCB
    "2131",                                                  // JCB
    "6",                                                     // Discover, UnionPay, Maestro, RuPay, Verve
    "8[12]",                                                 // UnionPay, RuPay
    "220[0-4]",                                              // Mir
    "9792",                                                  // Troy
];

/// Payment card: 12 to 19 digits, at most one separator between two of them, an issuer's beginning, Luhn.
fn credit_card() -> (String, Rules) {
    let separator = format!(r"[{BLANK}{DASH}/.]?");
    // Between any two digits of the beginning a separator may stand too.
    let beginnings: Vec<String> = IIN
        .iter()
        .flat_map(|iin| spell(iin))
        .map(|(classes, count)| {
            format!("{}(?:{separator}[0-9]){{{},{}}}", classes.join(&separator), 12 - count, 19 - count)
        })
        .collect();
    let rules = Rules {
        not_after: Some(|byte| byte.is_ascii_digit()),
        not_before: Some(|byte| byte.is_ascii_digit()),
        valid: Some(luhn),
        every_start: true,
        needs: None,
    };
    (beginnings.join("|"), rules)
}

/// Splits a beginning such as `2(22[1-9]|720)` into the digit classes of each alternative.
fn spell(iin: &str) -> Vec<(Vec<String>, usize)> {
    let (head, alternatives) = match iin.split_once('(') {
        Some((head, rest)) => (head, rest.trim_end_matches(')').split('|').collect()),
        None => (iin, vec![""]),
    };
    alternatives
        .into_iter()
        .map(|tail| {
            let mut classes: Vec<String> = Vec::new();
            let mut open = false;
            for character in head.chars().chain(tail.chars()) {
                match classes.last_mut() {
                    Some(class) if open => class.push(character),
                    _ => classes.push(character.to_string()),
                }
                open = (open || character == '[') && character != ']';
            }
            let count = classes.len();
            (classes, count)
        })
        .collect()
}

/// ISO/IEC 7812-1 annex B over the digits of the text.
fn luhn(text: &[u8]) -> bool {
    let sum: u32 = text
        .iter()
        .rev()
        .filter(|byte| byte.is_ascii_digit())
        .enumerate()
        .map(|(position, byte)| {
            let digit = u32::from(byte - b'0');
            match (position % 2, digit) {
                (0, digit) => digit,
                (_, digit @ 0..=4) => 2 * digit,
                (_, digit) => 2 * digit - 9,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// US social security number with separators; the Social Security Administration never gives area 000, 666 or 9xx, group
/// 00 or serial 0000.
fn us_ssn() -> (String, Rules) {
    let separator = format!("[{BLANK}{DASH}]");
    let area = "(?:00[1-9]|0[1-9][0-9]|[1-57-8][0-9][0-9]|6[0-57-9][0-9]|66[0-57-9])";
    let group = "(?:0[1-9]|[1-9][0-9])";
    let serial = "(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9][0-9]|[1-9][0-9][0-9][0-9])";
    let rules = Rules {
        not_after: Some(|byte| byte.is_ascii_digit()),
        not_before: Some(|byte| byte.is_ascii_digit()),
        valid: None,
        every_start: true,
        needs: None,
    };
    (format!("{area}{separator}{group}{separator}{serial}"), rules)
}

/// Bytes of a local part, the longest that RFC 5321 §4.5.3.1.1 allows.
const LOCAL_PART_MAX: usize = 64;

/// E-mail address: RFC 5321 lengths, the local-part characters that are in use, a dotted domain with an alphabetic or
/// `xn--` top level. There is no boundary on the right, so that text glued to an address does not hide it.
fn email() -> (String, Rules) {
    let local = format!("[A-Za-z0-9_][A-Za-z0-9._%+'-]{{0,{}}}", LOCAL_PART_MAX - 1);
    let domain = r"(?:[A-Za-z0-9][A-Za-z0-9-]{0,62}\.){1,8}(?:[A-Za-z]{2,63}|xn--[A-Za-z0-9-]{2,59})";
    let rules = Rules {
        not_after: Some(|byte| byte.is_ascii_alphanumeric() || byte == b'_'),
        not_before: None,
        valid: None,
        every_start: true,
        needs: Some((b'@', LOCAL_PART_MAX)),
    };
    (format!("{local}@{domain}"), rules)
}

/// Phone number: E.164 with its plus sign and 7 to 15 digits, or North American with separators.
fn phone() -> Vec<(String, Rules)> {
    let between = format!(r"[{BLANK}{DASH}/.()]{{0,2}}");
    let separator = format!("[{BLANK}{DASH}.]");
    // Neither an area code nor an exchange begins with 0 or 1 or is a service code (N11).
    let nxx = "[2-9](?:[02-9][0-9]|1[02-9])";
    let digits_end = Rules {
        not_after: None,
        not_before: Some(|byte| byte.is_ascii_digit()),
        valid: None,
        every_start: true,
        needs: None,
    };
    let bare = Rules { not_after: Some(|byte| byte.is_ascii_digit()), ..digits_end };
    vec![
        (format!(r"\+[1-9](?:{between}[0-9]){{6,14}}"), Rules { needs: Some((b'+', 0)), ..digits_end }),
        (format!(r"\({nxx}\){separator}?{nxx}{separator}[0-9]{{4}}"), Rules { needs: Some((b'(', 0)), ..digits_end }),
        (format!("(?:1{separator}?)?{nxx}{separator}{nxx}{separator}[0-9]{{4}}"), bare),
    ]
}
