//! `mask …` and `drop …`

use super::Lowerer;
use crate::catalogue;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::program::{Effect, JsonPath, Mask, Matcher, Selector, Side, Transform};
use crate::source::{Span, Spanned};
use crate::syntax::{MaskClause, MatcherSyntax, Text};

impl<'s> Lowerer<'s, '_> {
    pub(super) fn mask(&mut self, file: usize, mask: &'s MaskClause, span: Span) -> Option<Effect> {
        let mut matchers = Vec::new();
        for written in &mask.matchers {
            match written {
                MatcherSyntax::Detect(names) => {
                    let found = self.detectors(file, names)?;
                    matchers.extend(found.built_in.into_iter().map(Matcher::Detector));
                    matchers.extend(found.custom.into_iter().map(Matcher::Custom));
                }
                MatcherSyntax::Regex(text) => matchers.push(Matcher::Regex(self.mask_regex(text)?)),
            }
        }
        let transform = self.transform(mask.transform.as_ref(), &matchers)?;
        if mask.record_only && transform == Transform::Token {
            self.error(
                Diagnostic::error(Code::Contradiction, "nothing is put back in the recorded copy")
                    .label(span, "`token` promises that it is")
                    .help("write `as hash` to keep equal texts equal"),
            );
            return None;
        }
        Some(Effect::Mask(Mask {
            side: mask.side,
            record_only: mask.record_only,
            selector: mask.path.clone().map_or(Selector::Text, Selector::Path),
            matchers,
            transform,
        }))
    }

    pub(super) fn drop_effect(record_only: bool, side: Side, path: &JsonPath) -> Effect {
        let selector = Selector::Path(path.clone());
        Effect::Mask(Mask { side, record_only, selector, matchers: Vec::new(), transform: Transform::Drop })
    }

    /// A regular expression for hits: it must not match the empty text, which is everywhere.
    pub(super) fn mask_regex(&mut self, text: &Text) -> Option<String> {
        let source = self.regex(text)?;
        if crate::regex::matches_empty(&source) {
            self.error(
                Diagnostic::error(
                    Code::RegexMatchesNothing,
                    "this regular expression also matches the empty text, which is everywhere",
                )
                .label(text.span, "")
                .help("demand at least one character, for example with `+` instead of `*`"),
            );
            return None;
        }
        Some(source)
    }

    fn transform(&mut self, written: Option<&Spanned<Transform>>, matchers: &[Matcher]) -> Option<Transform> {
        let Some(written) = written else {
            return Some(Transform::Label);
        };
        if written.node == Transform::Literal(String::new()) {
            self.error(
                Diagnostic::error(Code::EmptyText, "a mask cannot leave nothing in its place")
                    .label(written.span, "")
                    .help("write a text that shows that something was masked"),
            );
            return None;
        }
        let open_ended = matchers.iter().find_map(|matcher| match matcher {
            Matcher::Detector(name) if catalogue::detector(name).is_some_and(|known| !known.takes_last4()) => {
                Some(name)
            }
            _ => None,
        });
        if let (Transform::Last4, Some(name)) = (&written.node, open_ended) {
            self.error(
                Diagnostic::error(
                    Code::LastFourTooMuch,
                    format!("the last four characters of `{name}` may be its secret"),
                )
                .label(written.span, "")
                .help("write `as label` or `as hash`"),
            );
            return None;
        }
        Some(written.node.clone())
    }
}
