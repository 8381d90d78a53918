//! What the hashes and tokens of one call are made with: the tenant's key, and the tokens of the caller's session.

use super::tokens::{TokenMap, pseudonym};
use std::cell::RefCell;
use std::fmt;

/// A token as a model may write it: within HTML or Markdown it may be escaped.
pub(super) const PLACEHOLDER: &str = r"(?:<|&lt;)[A-Z](?:\\?_|[A-Z0-9]){0,47}\\?_[0-9]{1,5}\\?_[a-p]{4}(?:>|&gt;)";

/// The keys and tokens of one call. It holds values, so it is never written down as it is.
pub struct Substitutes {
    hash_key: [u8; 32],
    tokens: RefCell<TokenMap>,
}

impl fmt::Debug for Substitutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Substitutes").field("tokens", &self.tokens.borrow().len()).finish_non_exhaustive()
    }
}

impl Substitutes {
    /// `hash_key` is the tenant's own; `tokens` are the session's.
    #[must_use]
    pub fn new(hash_key: [u8; 32], tokens: TokenMap) -> Self {
        Self { hash_key, tokens: RefCell::new(tokens) }
    }

    /// Whether the session has no token: then no answer holds one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.borrow().is_empty()
    }

    /// Calls `with` for every token that this call issued.
    pub fn each_fresh(&self, mut with: impl FnMut(&str, &[u8])) {
        self.tokens.borrow().fresh().for_each(|(token, value)| with(token, value));
    }

    pub(super) fn pseudonym(&self, label: &str, value: &[u8]) -> String {
        pseudonym(&self.hash_key, label, value)
    }

    /// `None` where the session has too many.
    pub(super) fn token(&self, label: &str, value: &[u8]) -> Option<String> {
        self.tokens.borrow_mut().issue(label, value).ok()
    }

    pub(super) fn value_of(&self, spelt: &[u8]) -> Option<Vec<u8>> {
        self.tokens.borrow().value_of(std::str::from_utf8(spelt).ok()?).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::plan::MaskPlan;
    use super::super::text::TextRedactor;
    use super::*;
    use crate::dialect::TextKind;
    use std::rc::Rc;

    fn restored(kind: TextKind, plan: &MaskPlan, pieces: impl Iterator<Item = Vec<u8>>) -> String {
        let mut redactor = TextRedactor::new(kind, &plan.of_text(true, &[]));
        let mut out = Vec::new();
        pieces.for_each(|piece| redactor.push(&piece, &mut out).unwrap());
        redactor.finish(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn tokens_come_back_however_the_answer_is_cut() {
        let mut map = TokenMap::new(b"session");
        let (mail, quote) = (map.issue("EMAIL", b"bob@example.com").unwrap(), map.issue("VALUE", b"a\"b").unwrap());
        let foreign = TokenMap::new(b"another").issue("EMAIL", b"eve@example.com").unwrap();
        let html = mail.replace('<', "&lt;").replace('>', "&gt;");
        let plan = MaskPlan::restoring(Rc::new(Substitutes::new([0; 32], map))).unwrap();
        let start = &mail[..6];
        let text = format!("a <b> <<{mail}{quote}x{foreign} <EMAIL_1 {start} <{}> {html} {mail}", "X".repeat(80));
        let expected = text.replace(&mail, "bob@example.com").replace(&html, "bob@example.com").replace(&quote, "a\"b");
        let json = format!(r#"{{"to":"{mail}","n":1,"s":"{}","x":["{quote}"]}}"#, mail.replace('<', "\\u003c"));
        let inside = r#"{"to":"bob@example.com","n":1,"s":"bob@example.com","x":["a\"b"]}"#;
        for (kind, text, expected) in
            [(TextKind::Plain, text.as_str(), expected.as_str()), (TextKind::Json, &json, inside)]
        {
            for size in 1..40 {
                let pieces = text.as_bytes().chunks(size).map(<[u8]>::to_vec);
                assert_eq!(restored(kind, &plan, pieces), expected, "in pieces of {size}");
            }
            for cut in 0..text.len() {
                let (one, two) = text.as_bytes().split_at(cut);
                assert_eq!(restored(kind, &plan, [one.to_vec(), two.to_vec()].into_iter()), expected, "cut at {cut}");
            }
        }
    }
}
