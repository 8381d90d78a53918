//! Recorded bodies: JSON broken into lines and coloured, and what stands in place of masked text marked.
//!
//! It works on the text itself, not on parsed JSON: a body may be cut off, and its order and numbers are to be seen as they are.

use maud::{Markup, PreEscaped, html};
use policy_lang::catalogue;

/// Bytes of a body that are laid out; the rest is cut off.
const BYTES_MAX: usize = 128 * 1024;
/// Deepest indentation.
const DEPTH_MAX: usize = 32;

/// A body, laid out if it looks like JSON.
pub(super) fn body(text: &str) -> Markup {
    let shown = text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or_default();
    let inner = if shown.trim_start().starts_with(['{', '[']) { json(shown) } else { marked(shown) };
    html! {
        pre.body tabindex="0" { (inner) @if shown.len() < text.len() { "\n… and more" } }
    }
}

/// Plain text with masks marked.
pub(super) fn marked(text: &str) -> Markup {
    let mut out = String::with_capacity(text.len() + text.len() / 4);
    push_marked(text, &mut out);
    PreEscaped(out)
}

fn json(text: &str) -> Markup {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0_usize;
    let mut rest = text;
    let newline = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth.min(DEPTH_MAX)));
    };
    while let Some(c) = rest.chars().next() {
        match c {
            '"' => {
                let (string, after) = rest.split_at(string_end(rest));
                let is_key = after.trim_start().starts_with(':');
                out.push_str(if is_key { "<span class=\"key\">" } else { "<span class=\"str\">" });
                push_marked(string, &mut out);
                out.push_str("</span>");
                rest = after;
                continue;
            }
            '{' | '[' => {
                out.push(c);
                let inside = rest.get(1..).unwrap_or_default().trim_start();
                if inside.starts_with(['}', ']']) {
                    out.push_str(inside.get(..1).unwrap_or_default());
                    rest = inside.get(1..).unwrap_or_default();
                    continue;
                }
                depth += 1;
                newline(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                newline(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                newline(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_whitespace() => {}
            _ => {
                let end = rest.find([',', '}', ']', '"', '\n', ' ']).unwrap_or(rest.len()).max(c.len_utf8());
                let (word, after) = rest.split_at(end);
                out.push_str("<span class=\"num\">");
                push_escaped(word, &mut out);
                out.push_str("</span>");
                rest = after;
                continue;
            }
        }
        rest = rest.get(c.len_utf8()..).unwrap_or_default();
    }
    PreEscaped(out)
}

/// Where the string at the beginning ends: behind its closing quote, or at the end if it is cut off.
fn string_end(text: &str) -> usize {
    let mut escaped = false;
    for (place, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return place + 1,
            _ => {}
        }
    }
    text.len()
}

/// Marks what stands in place of masked text: `[EMAIL]`, `[EMAIL_abcd]`, `<EMAIL_1_abcd>`.
fn push_marked(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(start) = rest.find(['[', '<']) {
        let (before, from) = rest.split_at(start);
        push_escaped(before, out);
        match mask_end(from) {
            Some(end) => {
                let (mask, after) = from.split_at(end);
                out.push_str("<mark>");
                push_escaped(mask, out);
                out.push_str("</mark>");
                rest = after;
            }
            None => {
                push_escaped(from.get(..1).unwrap_or_default(), out);
                rest = from.get(1..).unwrap_or_default();
            }
        }
    }
    push_escaped(rest, out);
}

fn mask_end(text: &str) -> Option<usize> {
    let closing = if text.starts_with('[') { ']' } else { '>' };
    let end = text.find(closing)?;
    let inside = text.get(1..end)?;
    let is_label = |label: &str| {
        inside.strip_prefix(label).is_some_and(|rest| {
            rest.is_empty()
                || (rest.starts_with('_') && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'))
        })
    };
    (inside == "MASKED" || catalogue::detectors().iter().any(|detector| is_label(detector.label))).then_some(end + 1)
}

fn push_escaped(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Such characters reorder what is read, or are not seen at all.
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('·'),
            c if c.is_control() && c != '\n' && c != '\t' => out.push('·'),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn plain(markup: &Markup) -> String {
        let mut out = String::new();
        let mut tag = false;
        for c in markup.0.chars() {
            match c {
                '<' => tag = true,
                '>' => tag = false,
                c if !tag => out.push(c),
                _ => {}
            }
        }
        out.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    }

    #[test]
    fn json_is_laid_out_and_masks_are_marked() {
        let laid = json(r#"{"a":[1,true],"e":{},"b":"my [US_SSN] and [not a mask] <b>"}"#);
        assert_eq!(
            plain(&laid),
            "{\n  \"a\": [\n    1,\n    true\n  ],\n  \"e\": {},\n  \"b\": \"my [US_SSN] and [not a mask] <b>\"\n}"
        );
        assert!(laid.0.contains("<mark>[US_SSN]</mark>"), "{}", laid.0);
        assert!(!laid.0.contains("<b>") && !laid.0.contains("<mark>[not"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_keeps_its_words_and_brings_no_markup(text: String) {
            for markup in [json(&text), marked(&text)] {
                let words = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
                proptest::prop_assert_eq!(words(&plain(&markup)), words(&text));
            }
        }

        #[test]
        fn parsed_json_is_the_same_after_it_was_laid_out(numbers: Vec<(String, i64)>) {
            let value = serde_json::json!(numbers);
            let kept = |text: &str| !text.chars().any(|c| c.is_control() || !c.is_ascii());
            if numbers.iter().all(|(text, _)| kept(text)) {
                let again: serde_json::Value = serde_json::from_str(&plain(&json(&value.to_string()))).unwrap();
                proptest::prop_assert_eq!(again, value);
            }
        }
    }
}
