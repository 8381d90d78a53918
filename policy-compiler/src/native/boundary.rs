//! Boundary requests: facts made from a program's own constants, the same ones every time.
//!
//! Every thing that the program looks at is one [`Dimension`] with a list of samples (each literal and one outside, a number and
//! its neighbours, true and false, unknown). A request chooses one sample in each dimension. First every sample is tried alone,
//! then each rule is aimed at to hold and not to hold, then come mixed ones.

use super::requests::Request;
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{
    Atom, AtomId, ClaimTest, ClaimValue, Condition, JsonPath, JsonTest, JsonValue, Program, Rule, StrSet, TextTest,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

/// A text that is in no reasonable set.
pub(super) const OUTSIDE: &str = "\u{2400}outside";
/// Mixed requests: so many per sample, and at least this many.
const MIXED_PER_SAMPLE: usize = 2;
const MIXED_MIN: usize = 32;
/// In a mixed request one of so many groups and scopes is present.
const MIXED_MEMBER_ONE_IN: u64 = 4;

/// What is looked at. Its [`Samples`] stand beside it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Dimension<'p> {
    Str(StrField),
    Int(IntField),
    Bool(BoolField),
    Group(&'p str),
    Scope(&'p str),
    Ip,
    Header(&'p str),
    /// The claim of this key.
    Claim(&'p str),
    Env(&'p str),
    /// The one tool that the request offers.
    Tool,
    /// Whether the body can be read.
    Body,
    /// The answer of the text engine to a test.
    Text(&'p TextTest),
    Json(&'p JsonPath),
}

/// The first sample is always the one of an empty request.
pub(super) enum Samples<'p> {
    Str(Vec<Cow<'p, str>>),
    Int(Vec<Option<i64>>),
    Ip(Vec<Option<IpAddr>>),
    /// Absent (or unreadable: `Body`) and present.
    Two,
    /// Texts that may be absent: headers, settings, tools.
    Header(Vec<Option<Cow<'p, str>>>),
    Claim(Vec<Option<ClaimValue>>),
    /// No, yes, unknown: booleans and text tests.
    Three,
    Json(Vec<Option<JsonValue<'p>>>),
}

/// Everything that a program looks at.
pub(super) struct Boundary<'p> {
    program: &'p Program,
    places: HashMap<Dimension<'p>, usize>,
    pub(super) looked_at: Vec<(Dimension<'p>, Samples<'p>)>,
    /// By [`AtomId`]: in which dimension which sample makes it true, and which false.
    aims: Vec<Aim>,
}

#[derive(Clone, Copy)]
struct Aim {
    dimension: usize,
    yes: usize,
    no: usize,
}

impl<'p> Boundary<'p> {
    /// Collects the samples of every atom.
    pub(super) fn new(program: &'p Program) -> Self {
        let mut boundary = Self {
            program,
            places: HashMap::new(),
            looked_at: Vec::new(),
            aims: Vec::with_capacity(program.atoms.len()),
        };
        // Body comes first, so that a readable body is the default: sample 0.
        boundary.dimension(Dimension::Body, || Samples::Two);
        for atom in &program.atoms {
            let aim = boundary.look_at(atom);
            boundary.aims.push(aim);
        }
        boundary
    }

    /// The requests, at most `count_max`.
    pub(super) fn requests(&self, count_max: usize) -> impl Iterator<Item = Request<'_, 'p>> {
        let samples: usize = self.looked_at.iter().map(|(_, samples)| samples.len()).sum();
        let mixed = (samples * MIXED_PER_SAMPLE).max(MIXED_MIN);
        let alone = self.each_alone().take((count_max / 4).max(1));
        let aimed = self.each_rule_aimed_at().take(count_max / 2);
        alone
            .chain(aimed)
            .chain((0..mixed).map(|seed| self.mixed(seed as u64)))
            .take(count_max)
            .map(|choices| Request::new(self, choices))
    }

    /// The empty request, then each sample over it.
    fn each_alone(&self) -> impl Iterator<Item = Vec<usize>> {
        let nothing = self.nothing();
        let looked_at = self.looked_at.iter().enumerate();
        let each = looked_at.flat_map(move |(dimension, (_, samples))| {
            (1..samples.len()).map(move |sample| {
                let mut choices = self.nothing();
                choose(&mut choices, dimension, sample);
                choices
            })
        });
        std::iter::once(nothing).chain(each)
    }

    /// Two requests per rule: one that makes it hold, one that does not, as far as its parts do not contradict each other.
    fn each_rule_aimed_at(&self) -> impl Iterator<Item = Vec<usize>> {
        let aim = |rule: &Rule, wanted| {
            let mut choices = self.nothing();
            self.aim_at(&rule.condition, wanted, &mut choices);
            choices
        };
        self.program.rules.iter().flat_map(move |rule| [aim(rule, true), aim(rule, false)])
    }

    fn aim_at(&self, condition: &Condition, wanted: bool, choices: &mut [usize]) {
        match condition {
            Condition::Const(_) => {}
            Condition::Atom(AtomId(id)) => {
                if let Some(aim) = self.aims.get(*id as usize) {
                    choose(choices, aim.dimension, if wanted { aim.yes } else { aim.no });
                }
            }
            Condition::Not(inner) => self.aim_at(inner, !wanted, choices),
            Condition::All(parts) | Condition::Any(parts) => {
                let every_part = matches!(condition, Condition::All(_)) == wanted;
                let count = if every_part { parts.len() } else { 1 };
                for part in parts.iter().take(count) {
                    self.aim_at(part, wanted, choices);
                }
            }
        }
    }

    /// A sample from every dimension.
    fn mixed(&self, seed: u64) -> Vec<usize> {
        let mut state = seed;
        self.looked_at
            .iter()
            .map(|(_, samples)| match samples {
                Samples::Two => usize::from(next(&mut state).is_multiple_of(MIXED_MEMBER_ONE_IN)),
                _ => (next(&mut state) % samples.len().max(1) as u64) as usize,
            })
            .collect()
    }

    fn look_at(&mut self, atom: &'p Atom) -> Aim {
        match atom {
            Atom::StrIn { field, set } => {
                let dimension =
                    self.dimension(Dimension::Str(*field), || Samples::Str(vec!["".into(), OUTSIDE.into()]));
                let yes = self.add_texts(dimension, set);
                Aim { dimension, yes, no: 1 }
            }
            Atom::HeaderIn { name, set } => {
                let dimension = self.header(name);
                let yes = self.add_texts(dimension, set);
                Aim { dimension, yes, no: 1 }
            }
            Atom::HeaderPresent(name) => Aim { dimension: self.header(name), yes: 1, no: 0 },
            Atom::EnvIn { name, set } => self.optional_text(Dimension::Env(name), set),
            Atom::ToolIn(set) => self.optional_text(Dimension::Tool, set),
            Atom::ClaimPresent(key) => Aim { dimension: self.claim(key), yes: 1, no: 0 },
            Atom::Claim { claim, test } => self.look_at_claim(&claim.key, test),
            Atom::InGroup(group) => self.two(Dimension::Group(group)),
            Atom::HasScope(scope) => self.two(Dimension::Scope(scope)),
            Atom::IpIn(nets) => {
                let dimension =
                    self.dimension(Dimension::Ip, || Samples::Ip(vec![None, Some(IpAddr::V4(Ipv4Addr::BROADCAST))]));
                let mut yes = 0;
                if let Some(Samples::Ip(addresses)) = self.samples_mut(dimension) {
                    yes = addresses.len();
                    addresses.extend(nets.iter().map(|net| Some(net.network())));
                }
                Aim { dimension, yes, no: 1 }
            }
            Atom::Int { field, value, .. } => {
                let dimension = self.dimension(Dimension::Int(*field), || Samples::Int(vec![None]));
                let mut first = 0;
                if let Some(Samples::Int(numbers)) = self.samples_mut(dimension) {
                    first = numbers.len();
                    numbers.extend([Some(value.saturating_sub(1)), Some(*value), Some(value.saturating_add(1))]);
                }
                Aim { dimension, yes: first + 1, no: first }
            }
            Atom::IntPresent(field) => {
                let dimension = self.dimension(Dimension::Int(*field), || Samples::Int(vec![None]));
                let mut yes = 0;
                if let Some(Samples::Int(numbers)) = self.samples_mut(dimension) {
                    yes = numbers.len();
                    numbers.push(Some(0));
                }
                Aim { dimension, yes, no: 0 }
            }
            Atom::Bool(field) => self.three(Dimension::Bool(*field)),
            // Rules that read the answer are not compiled.
            Atom::ResponseText(_) | Atom::ResponseJsonPresent(_) | Atom::ResponseJson { .. } => {
                Aim { dimension: usize::MAX, yes: 0, no: 0 }
            }
            Atom::Text(test) => self.three(Dimension::Text(test)),
            Atom::JsonPresent(path) => Aim { dimension: self.json(path), yes: 1, no: 0 },
            Atom::Json { path, test } => self.look_at_json(path, test),
        }
    }

    fn optional_text(&mut self, dimension: Dimension<'p>, set: &'p StrSet) -> Aim {
        let dimension = self.dimension(dimension, || Samples::Header(vec![None, Some(OUTSIDE.into())]));
        let yes = self.add_texts(dimension, set);
        Aim { dimension, yes, no: 1 }
    }

    fn claim(&mut self, key: &'p str) -> usize {
        let samples = || Samples::Claim(vec![None, Some(ClaimValue::Str(OUTSIDE.to_owned()))]);
        self.dimension(Dimension::Claim(key), samples)
    }

    fn look_at_claim(&mut self, key: &'p str, test: &'p ClaimTest) -> Aim {
        let dimension = self.claim(key);
        let new: Vec<ClaimValue> = match test {
            ClaimTest::Bool(wanted) => vec![ClaimValue::Bool(*wanted), ClaimValue::Bool(!wanted)],
            ClaimTest::Int { value, .. } => {
                [*value, value.saturating_sub(1), value.saturating_add(1)].map(ClaimValue::Int).into()
            }
            ClaimTest::StrIn(set) => texts_of(set).map(|text| ClaimValue::Str(text.into_owned())).collect(),
            ClaimTest::ListIn(set) => {
                let mut lists: Vec<_> = texts_of(set).map(|text| ClaimValue::List(vec![text.into_owned()])).collect();
                lists.push(ClaimValue::List(Vec::new()));
                lists
            }
        };
        let mut yes = 1;
        if let Some(Samples::Claim(values)) = self.samples_mut(dimension) {
            if !new.is_empty() {
                yes = values.len();
            }
            values.extend(new.into_iter().map(Some));
        }
        Aim { dimension, yes, no: 1 }
    }

    fn look_at_json(&mut self, path: &'p JsonPath, test: &'p JsonTest) -> Aim {
        let dimension = self.json(path);
        let new: Vec<JsonValue<'p>> = match test {
            JsonTest::StrIn(set) => texts_of(set).map(JsonValue::Str).collect(),
            JsonTest::Int { value, .. } => [value.saturating_sub(1), *value, value.saturating_add(1)]
                .map(|number| JsonValue::Number(number as f64))
                .into(),
            JsonTest::Bool(_) => vec![JsonValue::Bool(true), JsonValue::Bool(false)],
            JsonTest::Text(test) => {
                self.three(Dimension::Text(test));
                Vec::new()
            }
        };
        let mut yes = 1;
        if let Some(Samples::Json(values)) = self.samples_mut(dimension) {
            if !new.is_empty() {
                yes = values.len();
            }
            values.extend(new.into_iter().map(Some));
        }
        Aim { dimension, yes, no: 2 }
    }

    fn json(&mut self, path: &'p JsonPath) -> usize {
        self.dimension(Dimension::Json(path), || {
            Samples::Json(vec![None, Some(JsonValue::Str(OUTSIDE.into())), Some(JsonValue::Composite)])
        })
    }

    fn header(&mut self, name: &'p str) -> usize {
        self.dimension(Dimension::Header(name), || Samples::Header(vec![None, Some(OUTSIDE.into())]))
    }

    fn two(&mut self, dimension: Dimension<'p>) -> Aim {
        let dimension = self.dimension(dimension, || Samples::Two);
        Aim { dimension, yes: 1, no: 0 }
    }

    fn three(&mut self, dimension: Dimension<'p>) -> Aim {
        let dimension = self.dimension(dimension, || Samples::Three);
        Aim { dimension, yes: 1, no: 0 }
    }

    /// Adds a set's texts; returns the place of the first.
    fn add_texts(&mut self, dimension: usize, set: &'p StrSet) -> usize {
        match self.samples_mut(dimension) {
            Some(Samples::Str(texts)) => {
                let first = texts.len();
                texts.extend(texts_of(set));
                if texts.len() == first { 1 } else { first }
            }
            Some(Samples::Header(texts)) => {
                let first = texts.len();
                texts.extend(texts_of(set).map(Some));
                if texts.len() == first { 1 } else { first }
            }
            _ => 0,
        }
    }

    fn dimension(&mut self, dimension: Dimension<'p>, samples: impl FnOnce() -> Samples<'p>) -> usize {
        let new_place = self.looked_at.len();
        let place = *self.places.entry(dimension).or_insert(new_place);
        if place == new_place {
            self.looked_at.push((dimension, samples()));
        }
        place
    }

    fn samples_mut(&mut self, place: usize) -> Option<&mut Samples<'p>> {
        self.looked_at.get_mut(place).map(|(_, samples)| samples)
    }

    /// Where the dimension is.
    pub(super) fn place<'x>(&'x self, dimension: Dimension<'x>) -> Option<usize> {
        let places: &HashMap<Dimension<'x>, usize> = &self.places;
        places.get(&dimension).copied()
    }

    fn nothing(&self) -> Vec<usize> {
        vec![0; self.looked_at.len()]
    }
}

/// The literals, and one text for each glob.
fn texts_of(set: &StrSet) -> impl Iterator<Item = Cow<'_, str>> {
    let literals = set.literals.iter().map(|literal| Cow::Borrowed(literal.as_str()));
    let globs = set.globs.iter().map(|glob| Cow::Owned(glob.replace('*', "").replace('?', "x")));
    literals.chain(globs)
}

fn choose(choices: &mut [usize], dimension: usize, sample: usize) {
    if let Some(choice) = choices.get_mut(dimension) {
        *choice = sample;
    }
}

/// SplitMix64: the same numbers on every machine.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mixed = (*state ^ (*state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

impl Samples<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Str(samples) => samples.len(),
            Self::Int(samples) => samples.len(),
            Self::Ip(samples) => samples.len(),
            Self::Header(samples) => samples.len(),
            Self::Claim(samples) => samples.len(),
            Self::Json(samples) => samples.len(),
            Self::Two => 2,
            Self::Three => 3,
        }
    }
}
