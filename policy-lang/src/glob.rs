//! Globs: the one matching of names that the language has.

/// Whether the whole text matches the glob: `*` stands for any run of characters, also none; `?` for exactly one character;
/// everything else for itself. There are no escapes and no character classes.
///
/// Two pointers, no recursion: on a mismatch only the last `*` takes one character more, so the time is at most
/// `glob.len() × text.len()` and linear for globs with one `*`.
#[must_use]
pub fn glob_match(glob: &str, text: &str) -> bool {
    let (mut pattern, mut rest) = (glob.chars(), text.chars());
    // Where to go on after a mismatch: behind the last `*`, one character further in the text.
    let mut retry = None;
    loop {
        let (pattern_here, rest_here) = (pattern.clone(), rest.clone());
        match (pattern.next(), rest.next()) {
            (Some('*'), _) => {
                // The star takes nothing for now.
                rest = rest_here;
                retry = Some((pattern_here, rest.clone()));
                continue;
            }
            (None, None) => return true,
            (Some('?'), Some(_)) => continue,
            (Some(wanted), Some(found)) if wanted == found => continue,
            _ => {}
        }
        let Some((star, mut taken)) = retry.take() else {
            return false;
        };
        if taken.next().is_none() {
            return false;
        }
        pattern = star.clone();
        pattern.next();
        rest = taken.clone();
        retry = Some((star, taken));
    }
}

#[cfg(test)]
mod tests {
    use super::glob_match;
    use proptest::prelude::*;

    #[test]
    fn table() {
        for (glob, text, expected) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "é", true),
            ("?", "ab", false),
            ("tiny*", "tiny", true),
            ("tiny*", "tiny-llama", true),
            ("tiny*", "a tiny", false),
            ("*-instruct", "llama-instruct", true),
            ("*-instruct", "llama-instruct-instruct", true),
            ("*-instruct", "llama-instruct-v2", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
            ("a**b", "ab", true),
            ("a[b]", "a[b]", true),
            ("/v2/models/*", "/v2/models/x/load", true),
            ("A*", "a", false),
        ] {
            assert_eq!(glob_match(glob, text), expected, "{glob:?} on {text:?}");
        }
    }

    #[test]
    fn many_stars_stay_fast() {
        let glob = "*a".repeat(100) + "b";
        assert!(!glob_match(&glob, &"a".repeat(10_000)));
    }

    /// The definition, obviously right and exponential.
    fn by_definition(glob: &[char], text: &[char]) -> bool {
        match glob.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|n| by_definition(rest, &text[n..])),
            Some((c, rest)) => {
                text.split_first().is_some_and(|(found, text)| (*c == '?' || c == found) && by_definition(rest, text))
            }
        }
    }

    proptest! {
        #[test]
        fn as_defined(glob in "[ab*?é]{0,7}", text in "[abé]{0,9}") {
            let (g, t): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
            prop_assert_eq!(glob_match(&glob, &text), by_definition(&g, &t));
        }
    }
}
