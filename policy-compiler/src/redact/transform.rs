//! What stands in the place of a hit.

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
    /// Letters and digits but the last four become `*`, separators stay.
    Last4,
}

impl Transform {
    /// Less is more destructive (POLICY-LANGUAGE §4).
    pub(crate) fn mildness(&self) -> u8 {
        match self {
            Self::Literal(_) => 0,
            Self::Label(_) => 1,
            Self::Last4 => 2,
        }
    }

    /// The replacement of `text`.
    pub(crate) fn apply<'t>(&'t self, text: &[u8]) -> Cow<'t, [u8]> {
        match self {
            Self::Literal(literal) => Cow::Borrowed(literal.as_bytes()),
            Self::Label(label) => Cow::Borrowed(label.as_bytes()),
            Self::Last4 => Cow::Owned(last4(text)),
        }
    }

    /// The name in records.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Literal(_) => "literal",
            Self::Label(_) => "label",
            Self::Last4 => "last4",
        }
    }
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
