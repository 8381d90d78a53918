//! Sets of detectors, and the index of the catalogue that recognisers name them by.

use super::ids::{self, Digits, Shape};
use policy_lang::catalogue;
use std::sync::LazyLock;

/// A detector's place in the catalogue.
pub(crate) type DetectorIndex = u16;

/// Words of a set; room for as many detectors as there ever were, and half again.
const WORDS: usize = 3;

/// Which detectors run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct DetectorSet {
    words: [u64; WORDS],
}

impl DetectorSet {
    /// Adds one.
    pub(crate) fn insert(&mut self, index: DetectorIndex) {
        if let Some(word) = self.words.get_mut(usize::from(index) / 64) {
            *word |= 1 << (index % 64);
        }
    }

    /// Whether it is in.
    #[inline]
    pub(crate) fn has(&self, index: DetectorIndex) -> bool {
        self.words.get(usize::from(index) / 64).is_some_and(|word| word & (1 << (index % 64)) != 0)
    }

    /// Adds all of another.
    pub(super) fn insert_all(&mut self, other: &Self) {
        for (word, theirs) in self.words.iter_mut().zip(other.words) {
            *word |= theirs;
        }
    }

    /// Whether there is none.
    pub(crate) fn is_empty(&self) -> bool {
        self.words == [0; WORDS]
    }

    /// Whether one of them is in the other.
    #[inline]
    pub(super) fn meets(&self, other: &Self) -> bool {
        self.words.iter().zip(other.words).any(|(ours, theirs)| ours & theirs != 0)
    }
}

impl FromIterator<DetectorIndex> for DetectorSet {
    fn from_iter<I: IntoIterator<Item = DetectorIndex>>(indices: I) -> Self {
        let mut set = Self::default();
        indices.into_iter().for_each(|index| set.insert(index));
        set
    }
}

/// The place of a detector in the catalogue.
pub(crate) fn index_of(id: &str) -> Option<DetectorIndex> {
    DetectorIndex::try_from(catalogue::position(id)?).ok()
}

/// In no set; a test holds that no name below has it.
const NOWHERE: DetectorIndex = DetectorIndex::MAX;

macro_rules! known {
    ($($name:ident)*) => {
        /// The detectors that recognisers name.
        #[derive(Debug)]
        pub(super) struct Known {
            $(pub(super) $name: DetectorIndex,)*
            #[cfg_attr(not(test), expect(dead_code, reason = "read by the test that every name is in the catalogue"))]
            all: Vec<DetectorIndex>,
        }

        /// The detectors that recognisers name.
        pub(super) static KNOWN: LazyLock<Known> = LazyLock::new(|| {
            let place = |id: &str| index_of(id).unwrap_or(NOWHERE);
            Known { $($name: place(stringify!($name)),)* all: vec![$(place(stringify!($name))),*] }
        });
    };
}

known! {
    age aws_secret_key azure_storage_key btc_address card_track credit_card date_of_birth email eth_address
    generic_secret geo_coordinates health_insurance_id http_authorization iban icd10 ipv4 ipv6 jwt mac_address
    medical_record_number mrz password phone private_key telegram_bot_token uk_postcode url_credentials
}

/// The identifiers of [`ids`], by what a recogniser sees first.
#[derive(Debug)]
pub(super) struct Forms {
    /// By number of digits.
    pub(super) digits: Vec<Vec<(DetectorIndex, &'static Digits)>>,
    /// By number of digits in front.
    pub(super) digits_first: Vec<Vec<(DetectorIndex, &'static Shape)>>,
    /// By number of letters in front.
    pub(super) letters_first: Vec<Vec<(DetectorIndex, &'static Shape)>>,
    /// Those that may begin with either.
    pub(super) either_first: Vec<(DetectorIndex, &'static Shape)>,
    /// All detectors with digits.
    pub(super) of_digits: DetectorSet,
    /// All detectors with shapes.
    pub(super) of_shapes: DetectorSet,
}

/// Longest run that a form begins with.
const LEAD_MAX: usize = 20;

/// The forms of all identifiers.
pub(super) static FORMS: LazyLock<Forms> = LazyLock::new(|| {
    let lists = || vec![Vec::new(); LEAD_MAX + 1];
    let mut forms = Forms {
        digits: vec![Vec::new(); LEAD_MAX + 1],
        digits_first: lists(),
        letters_first: lists(),
        either_first: Vec::new(),
        of_digits: DetectorSet::default(),
        of_shapes: DetectorSet::default(),
    };
    for digits in ids::digits() {
        let index = index_of(digits.id).unwrap_or(NOWHERE);
        forms.of_digits.insert(index);
        if let Some(list) = forms.digits.get_mut(digits.total) {
            list.push((index, digits));
        }
    }
    for shape in ids::shapes() {
        let index = index_of(shape.id).unwrap_or(NOWHERE);
        forms.of_shapes.insert(index);
        let lead = |fits: fn(&char) -> bool| shape.shape.chars().take_while(fits).count();
        let digits = lead(|&symbol| symbol == 'D' || symbol.is_ascii_digit());
        let letters = lead(|&symbol| symbol == 'L');
        let after = shape.shape.chars().skip(digits.max(letters)).find(|&symbol| symbol != '?');
        // `A` or, behind a separator that may be missing, `L` can prolong it, and a letter that stands for itself does.
        let prolongs = |symbol: char| symbol.is_ascii_alphabetic() && symbol != 'D';
        let open = matches!(after, Some('A')) || letters > 0 && after.is_some_and(prolongs);
        let list = match (digits, letters) {
            (digits @ 1.., _) if !open => forms.digits_first.get_mut(digits),
            (_, letters @ 1..) if !open => forms.letters_first.get_mut(letters),
            _ => Some(&mut forms.either_first),
        };
        if let Some(list) = list {
            list.push((index, shape));
        }
    }
    forms
});

/// The detectors with matches that are too short to be told from ordinary text: all of them need a context word, so they are looked
/// for near those only.
pub(super) static SHORT: LazyLock<DetectorSet> = LazyLock::new(|| {
    // Those without a form of their own, and those whose shapes are letters.
    const NAMES: [&str; 7] =
        ["age", "bic", "date_of_birth", "de_id_card", "health_insurance_id", "icd10", "medical_record_number"];
    let few_digits = ids::digits().filter(|form| form.total < SHORT_DIGITS).map(|form| form.id);
    few_digits.chain(NAMES).filter_map(index_of).collect()
});

/// Digits of a number that is looked at without a context word.
pub(super) const SHORT_DIGITS: usize = 7;

/// Every detector that some form or recogniser implements.
#[cfg(test)]
fn implemented() -> DetectorSet {
    let named = KNOWN.all.iter().copied();
    let formed = ids::digits().map(|digits| digits.id).chain(ids::shapes().map(|shape| shape.id));
    let keys = super::kinds::keys::ids();
    named.chain(formed.chain(keys).map(|id| index_of(id).unwrap_or(NOWHERE))).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::detect::ids::Form;

    #[test]
    fn every_detector_of_the_catalogue_is_implemented_and_no_other() {
        assert!(!KNOWN.all.contains(&NOWHERE));
        assert!(catalogue::detectors().len() <= WORDS * 64);
        let implemented = implemented();
        for detector in catalogue::detectors() {
            assert!(implemented.has(index_of(detector.id).unwrap()), "{} is not implemented", detector.id);
        }
        for id in ids::digits().map(|digits| digits.id).chain(ids::shapes().map(|shape| shape.id)) {
            assert!(index_of(id).is_some(), "{id} is not in the catalogue");
        }
        for id in super::super::kinds::keys::ids() {
            assert!(index_of(id).is_some(), "{id} is not in the catalogue");
        }
    }

    #[test]
    fn short_forms_need_a_word() {
        for form in ids::digits().filter(|form| form.total < SHORT_DIGITS) {
            assert_eq!(form.form, Form::Context, "{}", form.id);
        }
        for (id, form) in
            ids::digits().map(|form| (form.id, form.form)).chain(ids::shapes().map(|form| (form.id, form.form)))
        {
            assert!(form == Form::Context || !SHORT.has(index_of(id).unwrap()), "{id}");
        }
    }

    #[test]
    fn forms_that_need_a_word_have_words() {
        for (id, form) in ids::digits()
            .map(|digits| (digits.id, digits.form))
            .chain(ids::shapes().map(|shape| (shape.id, shape.form)))
        {
            let detector = catalogue::detector(id).unwrap();
            assert!(form == Form::Sure || !detector.context.is_empty(), "{id}");
            assert!(form == Form::Context || detector.tier != catalogue::DetectorTier::Context, "{id}");
        }
    }
}
