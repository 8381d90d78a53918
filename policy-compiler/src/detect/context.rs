//! Context words: what stands before a value, or the name of the JSON member that holds it.

use super::classes::MASKED_SPAN;
use super::set::DetectorIndex;
use policy_lang::catalogue;
use std::sync::LazyLock;

/// Characters before a value in which a context word counts.
pub(super) const REACH: usize = 64;
/// Characters for values that say little by themselves.
pub(super) const SHORT_REACH: usize = 24;

/// Detectors whose values say so little that their word must stand close.
const SAY_LITTLE: [&str; 14] = [
    "card_cvv",
    "card_expiry",
    "age",
    "us_zip",
    "icd10",
    "medical_record_number",
    "health_insurance_id",
    "us_bank_account",
    "us_driver_license",
    "us_passport",
    "bic",
    "uk_sort_code",
    "de_id_card",
    "imsi",
];

/// The words of one detector or of a `near` clause, as [`normalise`] makes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Words {
    words: Vec<String>,
    pub(super) reach: usize,
}

impl Words {
    /// The words of a `near` clause.
    pub(crate) fn near<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        Self { words: words.into_iter().map(normalise).collect(), reach: REACH }
    }

    /// Whether one of them is near the end of a text, within their reach.
    pub(crate) fn end(&self, before: &str) -> bool {
        // One more character shows whether the first word is whole.
        match before.char_indices().rev().nth(self.reach) {
            Some((at, _)) => self.are_behind_first(&normalise(before.get(at..).unwrap_or_default())),
            None => self.are_in(&normalise(before)),
        }
    }

    /// Each of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = &str> {
        self.words.iter().map(String::as_str)
    }

    /// Whether one of them is in a normalised text, with no letter glued to it.
    pub(super) fn are_in(&self, text: &str) -> bool {
        self.are_from(text, 0)
    }

    /// The same without what begins at the first character, which only shows what stands before the second.
    pub(super) fn are_behind_first(&self, text: &str) -> bool {
        self.are_from(text, 1)
    }

    fn are_from(&self, text: &str, from: usize) -> bool {
        self.words.iter().any(|word| {
            text.match_indices(word.as_str()).filter(|(at, _)| *at >= from).any(|(at, _)| {
                let before = text.get(..at).and_then(|text| text.chars().next_back());
                let behind = text.get(at + word.len()..).and_then(|text| text.chars().next());
                let edge = |inner: Option<char>, outer: Option<char>| {
                    // Scripts without blanks glue their words.
                    !(inner.is_some_and(|inner| inner.is_ascii_alphabetic()) && outer.is_some_and(char::is_alphabetic))
                };
                edge(word.chars().next(), before) && edge(word.chars().next_back(), behind)
            })
        })
    }
}

/// The words of a detector.
pub(super) fn words_of(detector: DetectorIndex) -> Option<&'static Words> {
    static WORDS: LazyLock<Vec<Words>> = LazyLock::new(|| {
        catalogue::detectors()
            .iter()
            .map(|detector| Words {
                reach: if SAY_LITTLE.contains(&detector.id) { SHORT_REACH } else { REACH },
                ..Words::near(detector.context.iter().copied())
            })
            .collect()
    });
    WORDS.get(usize::from(detector))
}

/// Lower case; `dateOfBirth`, `date_of_birth` and `date-of-birth` are `date of birth`.
pub(super) fn normalise(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 4);
    let mut before_lower = false;
    for character in text.chars() {
        if before_lower && character.is_uppercase() {
            out.push(' ');
        }
        before_lower = character.is_lowercase();
        if matches!(character, '_' | '-') {
            out.push(' ');
        } else {
            out.extend(character.to_lowercase());
        }
    }
    out
}

/// Bytes of the longest keyword, and the one before it.
const KEYWORD_MAX: usize = 24;

/// Whether a text, given from its end, ends with one of these words, blanks and quotes aside, and with no letter glued before it.
pub(super) fn ends_with_keyword(leftwards: impl Iterator<Item = u8>, words: &[&str]) -> bool {
    let mut room = [0; KEYWORD_MAX];
    let mut from = KEYWORD_MAX;
    for byte in leftwards.take(KEYWORD_MAX).take_while(|&byte| byte != MASKED_SPAN && byte != b'\n') {
        from -= 1;
        if let Some(slot) = room.get_mut(from) {
            *slot = byte;
        }
    }
    let text = room.get(from..).unwrap_or_default();
    words.iter().any(|word| {
        let Some(at) = text.len().checked_sub(word.len()) else {
            return false;
        };
        let (head, tail) = text.split_at(at);
        let camel = head.last().is_some_and(u8::is_ascii_lowercase) && tail.first().is_some_and(u8::is_ascii_uppercase);
        tail.eq_ignore_ascii_case(word.as_bytes()) && (camel || !head.last().is_some_and(u8::is_ascii_alphabetic))
    })
}

/// Whether a text in brackets is one of our placeholders: a label, perhaps with a suffix that a hash or token adds.
pub(super) fn is_placeholder(inside: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(inside) else {
        return false;
    };
    let upper =
        text.bytes().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_').count();
    let label = text.get(..upper).unwrap_or_default();
    let is_label = |label: &str| label == "MASKED" || LABELS.binary_search(&label).is_ok();
    if upper == text.len() && is_label(label) {
        return true;
    }
    // `US_SSN_kdjfhaop` and `EMAIL_1_k7`.
    text.match_indices('_').any(|(at, _)| {
        let (label, suffix) = text.split_at(at);
        is_label(label)
            && suffix.len() > 1
            && suffix.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
    })
}

static LABELS: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut labels: Vec<_> = catalogue::detectors().iter().map(|detector| detector.label).collect();
    labels.sort_unstable();
    labels
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_however_they_are_written() {
        let words = Words::near(["date of birth", "ssn", "マイナンバー"]);
        for text in [
            "dateOfBirth",
            "Date-of-Birth:",
            "my date_of_birth is",
            "patientSsn",
            "SSN",
            "x ssn:",
            "私のマイナンバーは",
        ] {
            assert!(words.are_in(&normalise(text)), "{text}");
        }
        for text in ["ssnx", "classn", "birth", ""] {
            assert!(!words.are_in(&normalise(text)), "{text}");
        }
    }

    #[test]
    fn placeholders() {
        for text in ["US_SSN", "EMAIL", "MASKED", "EMAIL_1_k7", "US_SSN_kdjfhaop", "IPV4"] {
            assert!(is_placeholder(text.as_bytes()), "{text}");
        }
        for text in ["SSN", "NOTE", "EMAIL_", "EMAILS", "email", "", "US_SSN 1"] {
            assert!(!is_placeholder(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn keywords_at_the_end() {
        let ends = |text: &str| ends_with_keyword(text.bytes().rev(), &["password", "api_key"]);
        assert!(ends("password") && ends("my_password") && ends("dbPassword") && ends("\"API_KEY"));
        assert!(!ends("xpassword") && !ends("password ") && !ends("") && !ends("pass"));
    }
}
