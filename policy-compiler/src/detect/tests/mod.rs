//! The laws of scanning, on texts made of values, near misses and what glues them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::probe::Probe;
use super::scan::{scan, scan_everywhere};
use super::set::{DetectorSet, index_of};
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

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn skipping_clean_text_misses_nothing(text in text()) {
        let set = all();
        let folded = super::fold::View::folded(text.as_bytes(), true).text;
        let (fast, slow) = (scan(&Probe::new(&folded, &[], None, true), &set), scan_everywhere(&Probe::new(&folded, &[], None, true), &set));
        prop_assert_eq!(fast.candidates, slow.candidates);
        for cut in 0..folded.len() {
            let prefix = &folded[..cut];
            let (fast, slow) = (scan(&Probe::new(prefix, &[], None, false), &set), scan_everywhere(&Probe::new(prefix, &[], None, false), &set));
            prop_assert_eq!(fast.undecided, slow.undecided, "after {:?}", String::from_utf8_lossy(prefix));
            prop_assert_eq!(fast.candidates, slow.candidates);
        }
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn skipping_harmless_triggers_misses_nothing(before in text(), text in text(), words in "[a-z ,.]{90,200}") {
        let set = super::validated();
        let text = format!("{before} {text} {words}");
        let folded = super::fold::View::folded(text.as_bytes(), true).text;
        for last in [true, false] {
            let probe = || Probe::new(&folded, &[], None, last);
            let (fast, slow) = (scan(&probe(), &set), scan_everywhere(&probe(), &set));
            prop_assert_eq!(fast.undecided, slow.undecided, "{}", text);
            prop_assert_eq!(fast.candidates, slow.candidates, "{}", text);
        }
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
