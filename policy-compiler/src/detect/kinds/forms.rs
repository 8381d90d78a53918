//! Identifiers by form: digits in groups, and shapes.

use super::Finds;
use crate::detect::ids::{ANY, BLANK, DASH, DOT, Digits, Form, Separators, UNDERSCORE, issuer_and_luhn, separator};
use crate::detect::probe::Probe;
use crate::detect::set::{FORMS, KNOWN};

/// Digits of the longest identifier, an ICCID.
const DIGITS_MAX: usize = 20;
/// Digits of a payment card.
const CARD_DIGITS: std::ops::RangeInclusive<usize> = 12..=19;
/// Digits of a phone number that stands behind a context word.
const PHONE_DIGITS: std::ops::RangeInclusive<usize> = 7..=15;

/// Digits read so far.
#[derive(Debug, Default)]
struct Run {
    digits: [u8; DIGITS_MAX],
    total: usize,
    groups: [u8; DIGITS_MAX],
    count: usize,
    separators: Separators,
}

impl Run {
    fn digits(&self) -> &[u8] {
        self.digits.get(..self.total).unwrap_or_default()
    }

    fn groups(&self) -> &[u8] {
        self.groups.get(..self.count).unwrap_or_default()
    }
}

/// Groups of digits with one separator between two of them; each prefix of whole groups is a candidate.
pub(super) fn digits(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    let mut run = Run::default();
    let mut at = start;
    loop {
        let group = at;
        while probe.at(at).is_ascii_digit() {
            if let (Some(digit), true) = (run.digits.get_mut(run.total), run.total < DIGITS_MAX) {
                *digit = probe.at(at) - b'0';
            } else {
                return;
            }
            run.total += 1;
            at += 1;
        }
        if let Some(size) = run.groups.get_mut(run.count) {
            *size = u8::try_from(at - group).unwrap_or(u8::MAX);
        }
        run.count += 1;
        consider(&run, start, at, finds);
        let between = separator(probe.at(at));
        if between == 0 || run.total == DIGITS_MAX || !probe.at(at + 1).is_ascii_digit() {
            return;
        }
        run.separators |= between;
        at += 1;
    }
}

fn consider(run: &Run, start: usize, end: usize, finds: &mut Finds<'_>) {
    for &(detector, form) in FORMS.digits.get(run.total).into_iter().flatten() {
        if finds.wants(detector)
            && fits(run, form)
            && finds.wants_form(detector, form.form)
            && (form.valid)(run.digits())
        {
            finds.add(detector, start, end, form.form);
        }
    }
    let separators = run.separators;
    let card = finds.wants(KNOWN.credit_card) && CARD_DIGITS.contains(&run.total) && separators & UNDERSCORE == 0;
    if card && is_card_grouping(run.groups()) && issuer_and_luhn(run.digits()) {
        finds.add(KNOWN.credit_card, start, end, Form::Sure);
    }
    if finds.wants(KNOWN.phone) && PHONE_DIGITS.contains(&run.total) {
        if is_north_american(run) {
            finds.add(KNOWN.phone, start, end, Form::Sure);
        } else if !reads_as_time(run) {
            finds.add(KNOWN.phone, start, end, Form::Context);
        }
    }
    if finds.wants_form(KNOWN.date_of_birth, Form::Context) && is_birth_date(run) {
        finds.add(KNOWN.date_of_birth, start, end, Form::Context);
    }
    if run.count == 1 && run.total <= 3 && finds.wants_form(KNOWN.age, Form::Context) {
        let years = run.digits().iter().fold(0, |years, &digit| years * 10 + u32::from(digit));
        if (1..=120).contains(&years) && run.digits().first() != Some(&0) {
            finds.add(KNOWN.age, start, end, Form::Context);
        }
    }
}

fn fits(run: &Run, form: &Digits) -> bool {
    (form.groups.is_empty() || form.groups == run.groups()) && run.separators & !form.separators == 0
}

/// Groups as they are printed on cards, or digits and pairs one by one.
fn is_card_grouping(groups: &[u8]) -> bool {
    groups.len() <= 5
        || groups.iter().all(|&size| size == 1)
        || groups.len() == 8 && groups.iter().all(|&size| size == 2)
}

/// NXX-NXX-XXXX with separators, with or without a leading 1: neither part begins with 0 or 1 or is a service code (N11).
fn is_north_american(run: &Run) -> bool {
    let groups: &[u8] = run.groups();
    if !matches!(groups, [3, 3, 4] | [1, 3, 3, 4] | [4, 3, 4]) || run.separators & !(BLANK | DASH | DOT) != 0 {
        return false;
    }
    let national = match run.digits() {
        [1, national @ ..] if national.len() == 10 => national,
        digits if digits.len() == 10 => digits,
        _ => return false,
    };
    super::contact::is_nanp(national)
}

/// A date, a span of years, or seconds since 1970.
fn reads_as_time(run: &Run) -> bool {
    let dotted = run.separators & DOT != 0 && run.groups().len() < 3;
    let epoch = run.count == 1 && matches!(run.total, 10 | 13) && run.digits().first() == Some(&1);
    let year = |from: usize| matches!(run.digits().get(from..from + 2), Some([1, 9] | [2, 0]));
    let years = run.groups() == [4, 4] && year(0) && year(4);
    matches!(run.groups(), [4, 2, 2, ..] | [2, 2, 4, ..] | [8, ..]) || years || dotted || epoch
}

fn is_birth_date(run: &Run) -> bool {
    use crate::detect::checksums::{is_date, number};
    if run.separators & ANY & !UNDERSCORE != run.separators {
        return false;
    }
    // No date has more than three parts.
    let mut parts = [0; 3];
    let mut from = 0;
    for (part, &size) in parts.iter_mut().zip(run.groups()) {
        *part = number(run.digits().get(from..from + usize::from(size)).unwrap_or_default());
        from += usize::from(size);
    }
    let [first, second, third] = parts;
    let year = |year: u64| (1900..2030).contains(&year);
    let either_order = is_date(third, first, second) || is_date(third, second, first);
    match run.groups() {
        [4, 1 | 2, 1 | 2] => year(first) && is_date(first, second, third),
        [1 | 2, 1 | 2, 4] => year(third) && either_order,
        [1 | 2, 1 | 2, 2] => either_order,
        [8] => {
            let part = |from: usize, to: usize| number(run.digits().get(from..to).unwrap_or_default());
            year(part(0, 4)) && is_date(part(0, 4), part(4, 6), part(6, 8))
        }
        _ => false,
    }
}

/// Letters or digits in front that decide which shapes are tried.
const LEAD_MAX: usize = 20;

/// The shapes that begin with as many letters or digits as the text does.
pub(super) fn shapes(probe: &Probe<'_>, start: usize, finds: &mut Finds<'_>) {
    let letters = probe.at(start).is_ascii_alphabetic();
    let lead = if letters {
        // No shape has more than six letters in front.
        probe.run(start, 7, |byte| byte.is_ascii_alphabetic()) - start
    } else {
        probe.run(start, LEAD_MAX, |byte| byte.is_ascii_digit()) - start
    };
    let lists = if letters { &FORMS.letters_first } else { &FORMS.digits_first };
    for &(detector, form) in lists.get(lead).into_iter().flatten().chain(&FORMS.either_first) {
        if !finds.wants(detector) {
            continue;
        }
        if let Some((end, text, count)) = shape_of(probe, start, form.shape)
            && text.get(..count).is_some_and(form.valid)
        {
            finds.add(detector, start, end, form.form);
        }
    }
}

/// Letters and digits of the longest shape.
const SHAPE_MAX: usize = 20;

/// The end of a text of this shape (see [`crate::detect::ids::Shape`]), and its digits and uppercase letters.
fn shape_of(probe: &Probe<'_>, start: usize, shape: &str) -> Option<(usize, [u8; SHAPE_MAX], usize)> {
    let mut at = start;
    let (mut text, mut count) = ([0; SHAPE_MAX], 0);
    for symbol in shape.bytes() {
        let byte = probe.at(at);
        let fits = match symbol {
            b'D' => byte.is_ascii_digit(),
            b'L' => byte.is_ascii_alphabetic(),
            b'A' => byte.is_ascii_alphanumeric(),
            b'-' => separator(byte) != 0,
            b'?' => {
                at += usize::from(separator(byte) != 0);
                continue;
            }
            literal => byte.eq_ignore_ascii_case(&literal),
        };
        if !fits {
            return None;
        }
        if byte.is_ascii_alphanumeric() {
            *text.get_mut(count)? = byte.to_ascii_uppercase();
            count += 1;
        }
        at += 1;
    }
    probe.ends(at).then_some((at, text, count))
}
