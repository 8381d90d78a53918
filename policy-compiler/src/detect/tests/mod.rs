//! The laws of scanning, on texts made of values, near misses and what glues them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod linear;

use super::resolve::find_everywhere;
use super::set::{DetectorSet, index_of};
use super::{AllGone, Behind, Question, find_spans};
use policy_lang::catalogue::detectors;
use proptest::prelude::*;

fn all() -> DetectorSet {
    detectors().iter().filter_map(|detector| index_of(detector.id)).collect()
}

/// Values of every kind, and parts of them.
pub(crate) const VALUES: &[&str] = include!("values.in");

fn fragment() -> impl Strategy<Value = String> {
    prop_oneof![
        6 => proptest::sample::select(VALUES).prop_map(str::to_owned),
        2 => proptest::sample::select(VALUES).prop_flat_map(|value| {
            let ends: Vec<usize> = value.char_indices().map(|(at, _)| at).collect();
            (proptest::sample::select(ends.clone()), proptest::sample::select(ends)).prop_map(move |(a, b)| value[a.min(b)..a.max(b)].to_owned())
        }),
        4 => proptest::sample::select(vec![
            " ", " ", "-", ".", "/", ":", "=", "@", "+", "(", ")", ",", "x", "A", "é", "谢", "\n", "_", "'", "\"", "[US_SSN]", "<EMAIL_1_k7>",
            "ssn ", "password: ", "born ", "the ", "\u{200b}", "%", "&", "\\", "%34", "&#52;", "４",
        ]).prop_map(str::to_owned),
        1 => "[0-9]{1,6}",
        1 => "[A-Za-z0-9.@ -]{0,6}",
    ]
}

pub(crate) fn text() -> impl Strategy<Value = String> {
    proptest::collection::vec(fragment(), 0..6).prop_map(|parts| parts.concat())
}

/// Cases of a property here, unless `PROPTEST_CASES` says more or less.
pub(crate) fn cases(usual: u32) -> ProptestConfig {
    let mut config = ProptestConfig::default();
    // The suite runs the same cases each time; more of them, and others, where somebody asks for more.
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = usual;
        config.rng_seed = proptest::test_runner::RngSeed::Fixed(7);
    }
    config
}

/// What is found with triggers, and where every place is tried.
fn both(text: &str, set: &DetectorSet, behind: &Behind, key: Option<&str>, last: bool) -> [String; 2] {
    let text = text.as_bytes();
    let question = Question { text, behind, last, set, key, undecided: text.len(), outermost: false, looked: 0 };
    [find_spans(question, &[], &AllGone), find_everywhere(question, &AllGone)]
        .map(|answer| format!("{:?} {}", answer.spans, answer.undecided))
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn skipping_clean_text_misses_nothing(text in text()) {
        for cut in text.char_indices().map(|(cut, _)| cut) {
            let [fast, slow] = both(&text[..cut], &all(), &Behind::default(), None, false);
            prop_assert_eq!(fast, slow, "after {:?}", &text[..cut]);
        }
        for set in [all(), super::validated()] {
            let [fast, slow] = both(&text, &set, &Behind::default(), None, true);
            prop_assert_eq!(fast, slow, "{}", text);
        }
    }
}

proptest! {
    #![proptest_config(cases(1500))]

    #[test]
    fn skipping_places_of_long_texts_misses_nothing(
        before in text(),
        long in proptest::option::of("[a-z ,.]{3900,4100}"),
        text in text(),
        words in "[a-z ,.]{190,260}",
        key in proptest::option::of(proptest::sample::select(vec!["note", "dateOfBirth", "zip"])),
    ) {
        let mut behind = Behind::default();
        behind.push_kept(before.as_bytes());
        // Around the end of a segment, too.
        let text = format!("{}{text} {words}", long.unwrap_or_default());
        for set in [all(), super::validated()] {
            for last in [true, false] {
                let [fast, slow] = both(&text, &set, &behind, key, last);
                prop_assert_eq!(fast, slow, "{:?} {}", before, text);
            }
        }
    }
}

#[test]
fn what_is_masked_stands_not_between_a_word_and_a_value() {
    let jwt = format!("eyJhbGciOiJIUzI1NiJ9.{}.{}", "eyJzdWIiOiIx".repeat(30), "c2lnbmF0dXJl".repeat(4));
    for text in [format!("ssn {jwt} 123456789"), "bob@example.comphone 0 (532) 1234567".to_owned()] {
        let text = format!("{text} {}", "and so on, ".repeat(30));
        let [fast, slow] = both(&text, &all(), &Behind::default(), None, true);
        assert_eq!(fast, slow);
    }
}

#[test]
fn every_detector_finds_one_of_the_values() {
    let missing: Vec<&str> = detectors()
        .iter()
        .filter(|detector| {
            let key = detector.context.first().copied().unwrap_or("note");
            VALUES.iter().all(|value| super::find_in_member(detector.id, key, value).unwrap().is_empty())
        })
        .map(|detector| detector.id)
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn values_that_need_a_word_are_nothing_without_one() {
    for detector in detectors().iter().filter(|detector| detector.tier == policy_lang::catalogue::DetectorTier::Context)
    {
        for value in VALUES {
            let words = detector.context.iter().any(|word| value.to_lowercase().contains(word));
            assert!(words || super::find(detector.id, value).unwrap().is_empty(), "{} takes {value}", detector.id);
        }
    }
}
