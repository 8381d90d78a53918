//! Recognisers: what begins at a place. Each reads through a [`Probe`] and stops at the first byte that rules it out.

mod address;
mod contact;
mod forms;
pub(in crate::detect) mod keys;
mod money;
mod person;
mod secrets;
mod tlds;

pub(super) use secrets::{ends_secret_name, is_filler};

use super::ids::Form;
use super::probe::Probe;
use super::set::{DetectorIndex, DetectorSet, FORMS, KNOWN};
use std::sync::LazyLock;

/// Something that looks and checks like what a detector finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    /// The first byte.
    pub(super) start: usize,
    /// The byte behind the last.
    pub(super) end: usize,
    /// Whose it is.
    pub(super) detector: DetectorIndex,
    /// Whether it needs a context word.
    pub(super) form: Form,
}

/// Where recognisers put what they find.
#[derive(Debug)]
pub(super) struct Finds<'a> {
    /// Which detectors run.
    pub(super) set: &'a DetectorSet,
    /// Of which of them a context word may be near; `None` if that is found out where one is asked for.
    pub(super) context: Option<DetectorSet>,
    /// Which were asked for.
    pub(super) asked: DetectorSet,
    /// What was found.
    pub(super) candidates: Vec<Candidate>,
}

impl<'a> Finds<'a> {
    /// Nothing found yet, and context words everywhere.
    pub(super) fn new(set: &'a DetectorSet) -> Self {
        Self { set, context: Some(*set), asked: DetectorSet::default(), candidates: Vec::new() }
    }

    fn wants(&self, detector: DetectorIndex) -> bool {
        self.set.has(detector)
    }

    /// Whether a form of a detector could count here.
    fn wants_form(&mut self, detector: DetectorIndex, form: Form) -> bool {
        if !self.set.has(detector) || form == Form::Sure {
            return self.set.has(detector);
        }
        if self.context.is_none() {
            self.asked.insert(detector);
        }
        self.context.is_some_and(|context| context.has(detector))
    }

    fn add(&mut self, detector: DetectorIndex, start: usize, end: usize, form: Form) {
        if self.wants_form(detector, form) {
            self.candidates.push(Candidate { start, end, detector, form });
        }
    }
}

/// Everything that begins at `place`. What is found at a place that needs more text is of no use, so it stops where that shows.
pub(super) fn recognise(probe: &Probe<'_>, place: usize, finds: &mut Finds<'_>) {
    match probe.at(place) {
        b'0'..=b'9' => {
            contact::email(probe, place, finds);
            if probe.is_starved() {
                return;
            }
            if finds.set.meets(&OF_DIGITS) {
                forms::digits(probe, place, finds);
            }
            of_words(probe, place, finds);
        }
        b'a'..=b'z' | b'A'..=b'Z' => {
            contact::email(probe, place, finds);
            if probe.is_starved() {
                return;
            }
            of_words(probe, place, finds);
            keys::keys(probe, place, finds);
            money::iban(probe, place, finds);
            person::date_with_month(probe, place, finds);
        }
        b'_' | 0xC3..=0xDB => contact::email(probe, place, finds),
        b'+' => {
            contact::international_phone(probe, place, finds);
            person::coordinates(probe, place, finds);
        }
        b'(' => contact::north_american_phone(probe, place, finds),
        b';' | b'%' => money::track(probe, place, finds),
        b'-' => {
            secrets::pem(probe, place, finds);
            person::coordinates(probe, place, finds);
        }
        b':' => address::ipv6(probe, place, finds),
        _ => {}
    }
    secrets::value(probe, place, finds);
}

/// The detectors whose values are digits in groups.
static OF_DIGITS: LazyLock<DetectorSet> = LazyLock::new(|| {
    let mut set = FORMS.of_digits;
    for detector in [KNOWN.credit_card, KNOWN.phone, KNOWN.date_of_birth, KNOWN.age] {
        set.insert(detector);
    }
    set
});

/// What can begin with a letter or a digit.
fn of_words(probe: &Probe<'_>, place: usize, finds: &mut Finds<'_>) {
    if finds.set.meets(&FORMS.of_shapes) {
        forms::shapes(probe, place, finds);
    }
    address::ipv4(probe, place, finds);
    address::ipv6(probe, place, finds);
    address::mac(probe, place, finds);
    money::bitcoin(probe, place, finds);
    money::ethereum(probe, place, finds);
    person::machine_readable_zone(probe, place, finds);
    person::codes(probe, place, finds);
    person::coordinates(probe, place, finds);
    secrets::tokens(probe, place, finds);
}
