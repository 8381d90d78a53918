//! Identifiers by form: digits in groups ([`Digits`]), letters and digits in a shape ([`Shape`]), and their checks.

mod americas;
mod asia_pacific;
mod central_europe;
mod devices;
mod money;
mod north_europe;
mod south_europe;
mod united_states;
mod west_europe;

/// Whether a form is enough by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Form {
    /// It is.
    Sure,
    /// One of the detector's context words must stand before it.
    Context,
}

/// Separators between groups of digits, as folded; a set of them.
pub(super) type Separators = u8;
/// A blank.
pub(super) const BLANK: Separators = 1;
/// A dash.
pub(super) const DASH: Separators = 2;
/// A dot.
pub(super) const DOT: Separators = 4;
/// A slash.
pub(super) const SLASH: Separators = 8;
/// An underscore.
pub(super) const UNDERSCORE: Separators = 16;
/// Those that no version number or decimal fraction has.
const PLAIN: Separators = BLANK | DASH | SLASH | UNDERSCORE;
/// All.
pub(super) const ANY: Separators = PLAIN | DOT;

/// The bit of a separator; none if it is not one.
pub(super) fn separator(byte: u8) -> Separators {
    match byte {
        b' ' => BLANK,
        b'-' => DASH,
        b'.' => DOT,
        b'/' => SLASH,
        b'_' => UNDERSCORE,
        _ => 0,
    }
}

/// An identifier of digits only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits {
    /// The detector.
    pub(super) id: &'static str,
    /// How many digits.
    pub(super) total: usize,
    /// In which groups; empty: in any.
    pub(super) groups: &'static [u8],
    /// What may stand between them.
    pub(super) separators: Separators,
    /// Whether this form is enough.
    pub(super) form: Form,
    /// The check, over values 0 to 9.
    pub(super) valid: fn(&[u8]) -> bool,
}

/// An identifier of letters and digits.
///
/// In `form`, `D` is a digit, `L` a letter, `A` either, `-` a separator (any), `?` perhaps one, and anything else stands for
/// itself in any case.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// The detector.
    pub(super) id: &'static str,
    /// The shape.
    pub(super) shape: &'static str,
    /// Whether this form is enough.
    pub(super) form: Form,
    /// The check, over digits and uppercase letters without separators.
    pub(super) valid: fn(&[u8]) -> bool,
}

/// Enough in these groups.
const fn sure(id: &'static str, groups: &'static [u8], separators: Separators, valid: fn(&[u8]) -> bool) -> Digits {
    let mut total = 0;
    let mut at = 0;
    while at < groups.len() {
        total += groups[at] as usize;
        at += 1;
    }
    Digits { id, total, groups, separators, form: Form::Sure, valid }
}

/// Needs a context word, in any groups.
const fn context(id: &'static str, total: usize, valid: fn(&[u8]) -> bool) -> Digits {
    Digits { id, total, groups: &[], separators: ANY, form: Form::Context, valid }
}

/// Needs a context word, in these groups.
const fn context_in(
    id: &'static str,
    groups: &'static [u8],
    separators: Separators,
    valid: fn(&[u8]) -> bool,
) -> Digits {
    Digits { form: Form::Context, ..sure(id, groups, separators, valid) }
}

const fn shape(id: &'static str, shape: &'static str, valid: fn(&[u8]) -> bool) -> Shape {
    Shape { id, shape, form: Form::Sure, valid }
}

const fn context_shape(id: &'static str, shape: &'static str, valid: fn(&[u8]) -> bool) -> Shape {
    Shape { id, shape, form: Form::Context, valid }
}

/// Every identifier of digits.
pub(super) fn digits() -> impl Iterator<Item = &'static Digits> {
    [
        money::DIGITS,
        united_states::DIGITS,
        west_europe::DIGITS,
        south_europe::DIGITS,
        central_europe::DIGITS,
        north_europe::DIGITS,
        americas::DIGITS,
        asia_pacific::DIGITS,
        devices::DIGITS,
    ]
    .into_iter()
    .flatten()
}

/// Every identifier of letters and digits.
pub(super) fn shapes() -> impl Iterator<Item = &'static Shape> {
    [
        money::SHAPES,
        united_states::SHAPES,
        west_europe::SHAPES,
        south_europe::SHAPES,
        central_europe::SHAPES,
        north_europe::SHAPES,
        americas::SHAPES,
        asia_pacific::SHAPES,
        devices::SHAPES,
    ]
    .into_iter()
    .flatten()
}

pub(super) use money::{iban_length, is_iban, issuer_and_luhn};

/// Takes everything of its form.
fn any(_: &[u8]) -> bool {
    true
}

/// Whether digits read as a time in seconds or finer since 1970, between 2001 and 2036: those are everywhere in technical text.
fn is_epoch(digits: &[u8]) -> bool {
    let year_like = match digits.first() {
        Some(1) => true,
        Some(2) => digits.get(1) == Some(&0),
        _ => false,
    };
    year_like && matches!(digits.len(), 10 | 13 | 16 | 19)
}

/// Whether four digits read as hours and minutes: behind a date they are a time more often than a serial number.
fn is_time(digits: &[u8]) -> bool {
    use super::checksums::number;
    let (hours, minutes) = digits.split_at_checked(2).unwrap_or_default();
    digits.len() == 4 && number(hours) < 24 && number(minutes) < 60
}
