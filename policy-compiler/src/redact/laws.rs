//! The contract of MASKING §1, checked on the core for every way to cut a text.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::Tier;
use super::channel::{Use, UseSet, Wanted as Sought};
use super::plan::use_of;
use super::substitutes::Substitutes;
use super::text::{TextMasks, TextRedactor};
use super::tokens::TokenMap;
use super::transform::Transform;
use crate::detect::{Pattern, index_of};
use crate::dialect::TextKind;
use policy_lang::Transform as Wanted;
use proptest::prelude::*;
use std::rc::Rc;
use std::sync::Arc;

/// Cases of a property here, unless `PROPTEST_CASES` says more or less.
fn cases(usual: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    // The suite runs the same cases each time; more of them, and others, where somebody asks for more.
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = usual;
        config.rng_seed = proptest::test_runner::RngSeed::Fixed(7);
    }
    config
}

pub(super) fn masks(transform: &Wanted, regexes: &[&str]) -> TextMasks {
    let mut uses: Vec<Use> = policy_lang::catalogue::detectors()
        .iter()
        .filter_map(|detector| use_of(index_of(detector.id)?, &Arc::from("r"), transform))
        .collect();
    for regex in regexes {
        uses.push(Use {
            wanted: Sought::Regex(Arc::new(Pattern::new(regex).unwrap()), None),
            rule: Arc::from("r"),
            detector: Arc::from("regex"),
            tier: Tier::Custom,
            transform: Transform::Label("[MASKED]"),
        });
    }
    TextMasks { uses: UseSet::new(uses), whole: None, with: None }
}

/// Masks a text that arrives in these pieces; what came out after each, the end last.
pub(super) fn run<'t>(kind: TextKind, masks: &TextMasks, pieces: impl IntoIterator<Item = &'t [u8]>) -> Vec<String> {
    let mut redactor = TextRedactor::new(kind, masks);
    let mut out = Vec::new();
    let mut states = Vec::new();
    for piece in pieces {
        redactor.push(piece, &mut out).unwrap();
        states.push(String::from_utf8_lossy(&out).into_owned());
    }
    redactor.finish(&mut out).unwrap();
    states.push(String::from_utf8_lossy(&out).into_owned());
    states
}

pub(super) fn whole(kind: TextKind, masks: &TextMasks, text: &str) -> String {
    run(kind, masks, [text.as_bytes()]).pop().unwrap()
}

pub(super) fn check_every_split(kind: TextKind, masks: &TextMasks, text: &str) {
    let expected = whole(kind, masks, text);
    let bytes = text.as_bytes();
    for cut in 0..=bytes.len() {
        let (a, b) = bytes.split_at(cut);
        let states = run(kind, masks, [a, b]);
        assert_eq!(states.last(), Some(&expected), "cut at {cut} of {text:?}");
    }
    let states = run(kind, masks, bytes.chunks(1));
    assert_eq!(states.last(), Some(&expected), "byte by byte: {text:?}");
}

/// Pieces of personal data, near misses, and what glues them.
fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => proptest::sample::select(vec![
            "4111 1111 1111 1111", "4111111111111111", "4242424242424242", "4242 4242 4242", "5555-5555-5555-4444",
            "4111 1111 1111 1112", "378282246310005", "536-22-8145", "536 22 8145", "666-22-8145", "536-22-814",
            "bob@example.com", "a.b@c.de", "bob@", "@example.com", "x@y.z", "+14155552671", "+1 (415) 555-2671",
            "415-555-2671", "(415) 555-2671", "415-555-", "2671", "1", "8145",
        ]).prop_map(str::to_owned),
        3 => proptest::sample::select(vec![
            " ", "-", ".", "/", "\u{a0}", "\u{2011}", "@", "+", "(", ")", ",", "x", "é", "😀", "谢", "\n", "_", "'", "*", "secret", "\"", "\\",
        ]).prop_map(str::to_owned),
        1 => "[0-9]{1,6}",
        1 => "[a-z0-9.@ -]{0,6}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::collection::vec(fragment(), 0..8).prop_map(|parts| parts.concat()),
        crate::detect::tests::text(),
    ]
}

const REGEXES: [&str; 4] = [r"(?i)\bsecret\b", r"x+y?[0-9]", r"é[^ ]{0,3}😀", r"[0-9]{4}$"];

proptest! {
    #![proptest_config(cases(48))]

    #[test]
    fn no_split_changes_the_result(text in text()) {
        check_every_split(TextKind::Plain, &masks(&Wanted::Label, &[]), &text);
        check_every_split(TextKind::Plain, &masks(&Wanted::Last4, &[]), &text);
    }

    #[test]
    fn no_split_changes_the_result_of_regexes(text in text()) {
        check_every_split(TextKind::Plain, &masks(&Wanted::Label, &REGEXES), &text);
    }

    #[test]
    fn many_pieces_change_nothing(text in text(), cuts in proptest::collection::vec(1_usize..9, 1..40)) {
        let masks = masks(&Wanted::Label, &REGEXES);
        let mut rest = text.as_bytes();
        let mut pieces = Vec::new();
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            pieces.push(piece);
            rest = behind;
        }
        pieces.push(rest);
        let states = run(TextKind::Plain, &masks, pieces);
        let expected = whole(TextKind::Plain, &masks, &text);
        prop_assert_eq!(states.last(), Some(&expected));
    }

    #[test]
    fn what_was_emitted_holds_for_every_continuation(text in text(), other in text()) {
        let masks = masks(&Wanted::Label, &REGEXES);
        let bytes = text.as_bytes();
        for cut in (0..=bytes.len()).filter(|&cut| text.is_char_boundary(cut)) {
            let early = run(TextKind::Plain, &masks, [&bytes[..cut]]).remove(0);
            let whole = whole(TextKind::Plain, &masks, &format!("{}{other}", &text[..cut]));
            prop_assert!(whole.starts_with(&early), "{early:?} then {whole:?}");
        }
    }

    #[test]
    fn hashes_and_tokens_are_like_any_other_mask(text in text()) {
        for transform in [Wanted::Hash, Wanted::Token] {
            let with = Rc::new(Substitutes::new([7; 32], TokenMap::new(b"session")));
            let masks = TextMasks { with: Some(with), ..masks(&transform, &[]) };
            let once = whole(TextKind::Plain, &masks, &text);
            prop_assert_eq!(&whole(TextKind::Plain, &masks, &once), &once);
            check_every_split(TextKind::Plain, &masks, &text);
        }
    }

    #[test]
    fn masking_twice_is_masking_once(text in text()) {
        for transform in [Wanted::Label, Wanted::Last4, Wanted::Literal("(gone)".to_owned())] {
            let masks = masks(&transform, &[]);
            let once = whole(TextKind::Plain, &masks, &text);
            prop_assert_eq!(&whole(TextKind::Plain, &masks, &once), &once);
        }
    }

    #[test]
    fn nothing_is_found_in_what_was_masked(text in text()) {
        let once = whole(TextKind::Plain, &masks(&Wanted::Label, &[]), &text);
        for name in crate::detect::names() {
            prop_assert_eq!(crate::detect::find(name, &once).unwrap(), vec![]);
        }
    }

    #[test]
    fn text_without_a_hit_is_the_same(text in text()) {
        if crate::detect::names().all(|name| crate::detect::finds(name, &text) == Some(false)) {
            prop_assert_eq!(whole(TextKind::Plain, &masks(&Wanted::Label, &[]), &text), text);
        }
    }

    #[test]
    fn inner_json_stays_json(text in text(), number in any::<i32>(), card in any::<bool>()) {
        let number = if card { 4_111_111_111_111_111_i64 } else { i64::from(number) };
        let inner = serde_json::json!({ "a": text, "b": [number, -number, { "c\n": text }] }).to_string();
        let masks = masks(&Wanted::Label, &[]);
        check_every_split(TextKind::Json, &masks, &inner);
        let masked = whole(TextKind::Json, &masks, &inner);
        let value: serde_json::Value = serde_json::from_str(&masked).unwrap();
        let plain = whole(TextKind::Plain, &masks, &text);
        prop_assert_eq!(value["a"].as_str().unwrap(), &plain);
        prop_assert_eq!(value["b"][1].is_number(), true);
        if card {
            prop_assert_eq!(value["b"][0].as_str(), Some("[CREDIT_CARD]"));
        }
    }

    #[test]
    fn inner_text_that_is_no_json_loses_nothing(text in "[\"\\\\u0-9a-d \\-]{0,40}") {
        let masks = masks(&Wanted::Label, &[]);
        check_every_split(TextKind::Json, &masks, &text);
        if crate::detect::names().all(|name| crate::detect::finds(name, &text) == Some(false)) {
            prop_assert_eq!(whole(TextKind::Json, &masks, &text), text);
        }
    }
}

#[test]
fn escapes_hide_nothing_in_inner_json() {
    let masks = masks(&Wanted::Label, &[]);
    let inner = r#"{"a":"\u0035\u00336-22-8145\nbob@example.com","n":4111111111111111,"f":-4111111111111111}"#;
    assert_eq!(whole(TextKind::Json, &masks, inner), r#"{"a":"[US_SSN]\n[EMAIL]","n":"[CREDIT_CARD]","f":-0}"#);
    check_every_split(TextKind::Json, &masks, inner);
    check_every_split(TextKind::Json, &masks, r#"{"a":"\ud83d","b":"\ud83d\ude00\ud83dx\u12"}"#);
}

#[test]
fn hold_back_is_as_short_as_it_can_be() {
    let masks = masks(&Wanted::Label, &["secret"]);
    let released = |text: &str| run(TextKind::Plain, &masks, [text.as_bytes()]).remove(0);
    assert_eq!(released("nothing here: "), "nothing here: ");
    assert_eq!(released("I have 4 apples"), "I have 4 ");
    assert_eq!(released("I have 4 apples,"), "I have 4 apples,");
    assert_eq!(released("year 2024, "), "year 2024, ");
    assert_eq!(released("id 536-22-81"), "id ");
    // A match that nothing can change goes out at once.
    assert_eq!(released("id 536-22-8145,"), "id [US_SSN],");
    let secret = TextMasks { uses: UseSet::new(masks.uses.iter().last().cloned()), ..masks.clone() };
    let released = |text: &str| run(TextKind::Plain, &secret, [text.as_bytes()]).remove(0);
    assert_eq!(released("a secret"), "a [MASKED]");
    assert_eq!(released("a secre"), "a ");
}

#[test]
fn adjacent_values_and_overlaps() {
    let label = masks(&Wanted::Label, &[]);
    let last4 = masks(&Wanted::Last4, &[]);
    for (masks, text, expected) in [
        (&label, "4111-1111-1111-1111@example.com", "[EMAIL]"),
        (&label, "bob@example.com4111111111111111", "[EMAIL][CREDIT_CARD]"),
        (&label, "4111111111111111+14155552671", "[CREDIT_CARD][PHONE]"),
        (&label, "a@b.co1m@x.org", "[EMAIL]"),
        (&last4, "4111-1111-1111-1111", "****-****-****-1111"),
        (&last4, "4242424242424242 4242 4242 4242", "**************** **** **** 4242"),
        (&last4, "+1 (415) 555-2671", "+* (***) ***-2671"),
    ] {
        assert_eq!(whole(TextKind::Plain, masks, text), expected, "{text}");
        check_every_split(TextKind::Plain, masks, text);
    }
}

#[test]
fn an_attempt_past_the_ceiling_is_an_error_however_the_text_is_cut() {
    let masks = masks(&Wanted::Label, &["<[a-z]*>"]);
    for length in [crate::detect::CEILING - 1, crate::detect::CEILING, 2 * crate::detect::CEILING] {
        let text = format!("<{}>", "a".repeat(length));
        let outcome = |size: usize| {
            let mut redactor = TextRedactor::new(TextKind::Plain, &masks);
            let mut out = Vec::new();
            let pushed: Result<(), _> =
                text.as_bytes().chunks(size).try_for_each(|piece| redactor.push(piece, &mut out));
            pushed.and_then(|()| redactor.finish(&mut out)).is_ok()
        };
        let expected = outcome(text.len());
        assert_eq!(expected, length < crate::detect::CEILING);
        for size in [1, 2, 1000, 16384, 16385] {
            assert_eq!(outcome(size), expected, "{length} by {size}");
        }
    }
}

#[test]
fn a_regex_too_big_for_a_table_masks_the_same() {
    let masks = masks(&Wanted::Label, &[r"k\w{1,60}[^k]{0,200}\pL{40,60}z"]);
    let text = format!("a k{} z and k1", "é".repeat(50));
    check_every_split(TextKind::Plain, &masks, &text);
    let text = format!("a k1 {}z.", "é".repeat(50));
    assert_eq!(whole(TextKind::Plain, &masks, &text), "a [MASKED].");
    check_every_split(TextKind::Plain, &masks, &text);
}
