//! What stands in the place of a hit.

use super::substitutes::Substitutes;
use crate::detect::DetectorIndex;
use policy_lang::catalogue::detectors;
use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

/// Letters and digits that `last4` keeps.
const KEPT: usize = 4;
/// Texts with fewer letters and digits than this are starred out whole by `last4`.
const KEEPS_FROM: usize = 2 * KEPT;

/// The label of a detector in its brackets: `[US_SSN]`.
pub(crate) fn label_of(index: DetectorIndex) -> &'static str {
    static LABELS: LazyLock<Vec<String>> =
        LazyLock::new(|| detectors().iter().map(|detector| format!("[{}]", detector.label)).collect());
    LABELS.get(usize::from(index)).map_or("[MASKED]", String::as_str)
}

/// A transform, ready to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Transform {
    /// A fixed text of the policy.
    Literal(Arc<str>),
    /// `[US_SSN]`
    Label(&'static str),
    /// `[US_SSN_kdjfhaopcb]`: the tenant's pseudonym of the value, under this label.
    Hash(Arc<str>),
    /// `<EMAIL_1_kxqb>`: a placeholder that the session can turn back, under this label.
    Token(Arc<str>),
    /// Letters and digits but the last four become `*`, separators stay.
    Last4,
    /// The value of a placeholder, if the session issued it.
    Restore,
}

impl Transform {
    /// Less is more destructive (POLICY-LANGUAGE §4).
    pub(crate) fn mildness(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Label(_) => 1,
            Self::Hash(_) => 2,
            Self::Token(_) => 3,
            Self::Last4 => 4,
            Self::Restore => 5,
        }
    }

    /// Whether the replacement depends on the value.
    pub(crate) fn reads_value(&self) -> bool {
        !matches!(self, Self::Literal(_) | Self::Label(_))
    }

    /// The replacement of `text`; `None` leaves it. Without keys, what needs one becomes the more destructive label.
    pub(crate) fn apply<'t>(&'t self, text: &[u8], with: Option<&Substitutes>) -> Option<Cow<'t, [u8]>> {
        Some(match self {
            Self::Literal(literal) => Cow::Borrowed(literal.as_bytes()),
            Self::Label(label) => Cow::Borrowed(label.as_bytes()),
            Self::Hash(label) => match with {
                Some(with) => Cow::Owned(with.pseudonym(label, text).into_bytes()),
                None => Cow::Owned(bracketed(label)),
            },
            Self::Token(label) => match with.and_then(|with| with.token(label, text)) {
                Some(token) => Cow::Owned(token.into_bytes()),
                None => Cow::Owned(bracketed(label)),
            },
            Self::Last4 => Cow::Owned(last4(text)),
            Self::Restore => Cow::Owned(with?.value_of(text)?),
        })
    }

    /// The name in records.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Literal(_) => "literal",
            Self::Label(_) => "label",
            Self::Hash(_) => "hash",
            Self::Token(_) => "token",
            Self::Last4 => "last4",
            Self::Restore => "restore",
        }
    }
}

fn bracketed(label: &str) -> Vec<u8> {
    format!("[{label}]").into_bytes()
}

/// Where the part begins that `last4` keeps; `None` if it keeps nothing.
pub(crate) fn keep_from(text: &[u8]) -> Option<usize> {
    let positions = letters_and_digits(text);
    if positions.len() < KEEPS_FROM {
        return None;
    }
    positions.get(positions.len() - KEPT).copied()
}

fn last4(text: &[u8]) -> Vec<u8> {
    let keep = keep_from(text).unwrap_or(text.len());
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            let next = at + character.len_utf8();
            if at < keep && character.is_alphanumeric() {
                out.push(b'*');
            } else {
                out.extend_from_slice(text.get(at..next).unwrap_or_default());
            }
            at = next;
        }
        // What is no character cannot be judged, so it does not stay.
        if !chunk.invalid().is_empty() {
            at += chunk.invalid().len();
            out.push(b'*');
        }
    }
    out
}

fn letters_and_digits(text: &[u8]) -> Vec<usize> {
    let mut positions = Vec::new();
    let mut at = 0;
    for chunk in text.utf8_chunks() {
        for (offset, character) in chunk.valid().char_indices() {
            if character.is_alphanumeric() {
                positions.push(at + offset);
            }
        }
        at += chunk.valid().len() + chunk.invalid().len();
    }
    positions
}
