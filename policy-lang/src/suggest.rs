//! Did you mean …?

use crate::diagnostic::{Diagnostic, Patch};
use crate::source::Span;

/// The candidate most like the word, if one is close enough to be meant.
pub(crate) fn closest<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Whether a word is so like another that it is surely meant.
fn is_surely(word: &str, found: &str) -> bool {
    let (distance, length) = (distance(word, found), word.chars().count());
    distance * 4 <= length || (distance == 1 && length >= 3)
}

impl Diagnostic {
    /// Helps with the candidate that is most like the word, if one is close, and mends it if it is surely meant.
    pub(crate) fn suggest<'c>(self, word: &str, span: Span, candidates: impl IntoIterator<Item = &'c str>) -> Self {
        let Some(found) = closest(word, candidates) else {
            return self;
        };
        let patch = is_surely(word, found).then(|| Patch::replace(span, found));
        self.help(format!("did you mean `{found}`?")).maybe_patch(patch)
    }
}

/// `did you mean …?` as a help text.
pub(crate) fn did_you_mean<'c>(word: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    closest(word, candidates).map(|found| format!("did you mean `{found}`?"))
}

/// Edit distance with swaps of neighbours (optimal string alignment), without regard to case.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.to_lowercase().chars().take(64).collect();
    let b: Vec<char> = b.to_lowercase().chars().take(64).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, to) in b.iter().enumerate() {
            let get = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (get(&last, j) + usize::from(from != to)).min(get(&last, j + 1) + 1).min(get(&row, j) + 1);
            let swapped = i > 0 && j > 0 && a.get(i - 1) == Some(to) && b.get(j - 1) == Some(from);
            if swapped {
                best = best.min(get(&before, j - 1) + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last.last().copied().unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::closest;

    #[test]
    fn table() {
        for (word, expected) in
            [("alow", Some("allow")), ("dney", Some("deny")), ("ALLOW", Some("allow")), ("mask", None), ("", None)]
        {
            assert_eq!(closest(word, ["allow", "deny"]), expected, "{word}");
        }
    }
}
