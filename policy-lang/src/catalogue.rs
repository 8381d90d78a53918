//! The catalogue of built-in detectors: names, labels, tiers and families, which the language checks and the compiler implements.
//!
//! What is found, and how, is `policy_compiler::detect`; a test there holds that every name here has an implementation and that
//! docs/detectors.md says what stands here.

mod americas;
mod asia_pacific;
mod central_europe;
mod contact;
mod financial;
mod health;
mod network;
mod north_europe;
mod secrets;
mod south_europe;
mod united_states;
mod west_europe;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

/// How sure a detector is without further signs (MASKING §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DetectorTier {
    /// V: its form, its check digits or its dates prove enough; it runs over every recorded copy.
    Validated,
    /// C: it counts only behind one of its context words, or as the value of a JSON member named like one.
    Context,
    /// O: it finds too much for a default; it runs where a policy names it, and belongs to no family but its own kind's.
    OptIn,
}

impl DetectorTier {
    /// `V`, `C` or `O`: how records and documents spell it.
    #[must_use]
    pub fn letter(self) -> &'static str {
        match self {
            Self::Validated => "V",
            Self::Context => "C",
            Self::OptIn => "O",
        }
    }
}

/// One built-in detector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Detector {
    /// The name in policies: `us_ssn`.
    pub id: &'static str,
    /// What stands in the place of a hit, without its brackets: `US_SSN`.
    pub label: &'static str,
    /// How sure it is.
    pub tier: DetectorTier,
    /// The families that it belongs to: `pii`, `ids_us`.
    pub families: &'static [&'static str],
    /// Whether its values have no fixed end or length, so that `last4` would keep what it must hide (DECISIONS 17).
    pub open_ended: bool,
    /// Words of which one must stand before a value of tier C, in lower case. A detector of tier V that has some needs them for its
    /// weaker form, mostly bare digits.
    pub context: &'static [&'static str],
    /// What it finds, in one line.
    pub about: &'static str,
    /// How a candidate is checked, in one line.
    pub check: &'static str,
    /// Where form and check are published.
    pub source: &'static str,
}

impl Detector {
    /// Whether `last4` may be asked of it.
    #[must_use]
    pub fn takes_last4(&self) -> bool {
        !self.open_ended
    }
}

const fn entry(
    id: &'static str,
    label: &'static str,
    tier: DetectorTier,
    families: &'static [&'static str],
    [about, check, source]: [&'static str; 3],
    context: &'static [&'static str],
) -> Detector {
    Detector { id, label, tier, families, open_ended: false, context, about, check, source }
}

const fn open_ended(detector: Detector) -> Detector {
    Detector { open_ended: true, ..detector }
}

/// Every detector, by subject. Where two find the same text, the earlier one names it.
static ALL: LazyLock<Vec<Detector>> = LazyLock::new(|| {
    [
        secrets::DETECTORS,
        financial::DETECTORS,
        contact::DETECTORS,
        united_states::DETECTORS,
        health::DETECTORS,
        west_europe::DETECTORS,
        south_europe::DETECTORS,
        central_europe::DETECTORS,
        north_europe::DETECTORS,
        americas::DETECTORS,
        asia_pacific::DETECTORS,
        network::DETECTORS,
    ]
    .concat()
});

static BY_ID: LazyLock<BTreeMap<&'static str, usize>> =
    LazyLock::new(|| ALL.iter().enumerate().map(|(at, detector)| (detector.id, at)).collect());

/// Every built-in detector; of two that find the same text, the earlier one names it.
#[must_use]
pub fn detectors() -> &'static [Detector] {
    &ALL
}

/// The detector of this name.
#[must_use]
pub fn detector(id: &str) -> Option<&'static Detector> {
    ALL.get(position(id)?)
}

/// Where the detector of this name stands in [`detectors`].
#[must_use]
pub fn position(id: &str) -> Option<usize> {
    BY_ID.get(id).copied()
}

/// The detectors of a family in catalogue order; `None` if there is no such family. Those of tier O belong to the families that they
/// name, which never include `pii` or a country's.
#[must_use]
pub fn family(name: &str) -> Option<Vec<&'static Detector>> {
    let members: Vec<_> = ALL.iter().filter(|detector| detector.families.contains(&name)).collect();
    (!members.is_empty()).then_some(members)
}

/// The names of all families, sorted.
#[must_use]
pub fn families() -> Vec<&'static str> {
    let names: BTreeSet<_> = ALL.iter().flat_map(|detector| detector.families.iter().copied()).collect();
    names.into_iter().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_unique_and_spelt_alike() {
        assert!(detectors().len() >= 60);
        assert_eq!(BY_ID.len(), detectors().len());
        let labels: BTreeSet<_> = detectors().iter().map(|known| known.label).collect();
        assert_eq!(labels.len(), detectors().len());
        for known in detectors() {
            assert_eq!(known.label, known.id.to_uppercase());
            assert!(known.id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_'));
            assert_eq!(detector(known.id), Some(known));
        }
    }

    #[test]
    fn every_detector_says_what_it_needs() {
        for known in detectors() {
            assert!(known.about.len() > 8 && known.check.len() > 3 && known.source.len() > 3, "{}", known.id);
            assert!(known.tier != DetectorTier::Context || !known.context.is_empty(), "{}", known.id);
            for word in known.context {
                assert_eq!(*word, word.to_lowercase(), "{}", known.id);
                assert!((2..=40).contains(&word.chars().count()), "{}", known.id);
            }
            assert!(!known.families.is_empty(), "{}", known.id);
            let personal = known.families.iter().any(|name| *name == "pii" || name.starts_with("ids_"));
            assert!(!(personal && known.tier == DetectorTier::OptIn), "{}", known.id);
        }
    }

    #[test]
    fn families_are_never_named_like_a_detector() {
        for name in families() {
            assert_eq!(detector(name), None);
            assert!(family(name).unwrap().iter().all(|known| known.families.contains(&name)));
        }
        assert_eq!(family("no_such"), None);
        for name in ["pii", "secrets", "financial", "health", "ids_us"] {
            assert!(family(name).is_some(), "{name}");
        }
    }
}
