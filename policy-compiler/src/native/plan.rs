//! What native code judges itself, and from which slots.

use crate::facts::{AddressClasses, ClassSet, Constants, TextClasses};
use crate::planted::planted;
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{Atom, AtomId, CompareOp, Facts, JsonTest, Program, StrSet, TextTest, Truth};
use std::collections::HashMap;

/// Sets up to this many ids become compares, larger ones a test of a bit.
pub(crate) const COMPARES_MAX: usize = 8;
/// Memory of all bitmaps of one program, in 64-bit words (8 MiB); sets beyond it ask back.
const SET_WORDS_MAX: usize = 1 << 20;
/// Ids that the globs and networks of one atom may stand for; sets beyond it ask back.
const EXPANDED_MAX: usize = 100_000;

/// The facts of one call as native code sees them. Filled once per call.
#[repr(C)]
pub(crate) struct Slots {
    /// By [`StrField`]: the text's class, 0 for identity fields.
    pub(crate) strings: [u32; StrField::COUNT],
    /// By [`StrField`]: the class of the text's end.
    pub(crate) suffixes: [u32; StrField::COUNT],
    /// The address's class.
    pub(crate) address: u32,
    /// 1 when the address is known.
    pub(crate) address_known: u8,
    /// By [`IntField`]: 1 when the number is known.
    pub(crate) int_known: [u8; IntField::COUNT],
    /// By [`BoolField`]: a [`Truth`]; unknown is an error.
    pub(crate) bools: [u8; BoolField::COUNT],
    /// By [`IntField`]: the number, 0 when unknown.
    pub(crate) ints: [i64; IntField::COUNT],
    /// [`IdentityFacts::members`](super::identity::IdentityFacts).
    pub(crate) members: *const u64,
    /// [`IdentityFacts::claims`](super::identity::IdentityFacts).
    pub(crate) claims: *const u8,
    /// The bitmaps of large sets, [`Plan::sets`]; bits are ids.
    pub(crate) sets: *const u64,
}

/// How native code judges one atom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AtomCode {
    /// The class of the field's text, or that of its end, is one of these; otherwise `or_else` is asked.
    Class {
        /// Which string slot.
        field: usize,
        /// Which classes.
        classes: IdSet,
        /// Which classes of its end.
        suffixes: IdSet,
        /// The globs that classes do not settle.
        or_else: Option<OrElse>,
    },
    /// The class of the address is one of these; an error when it is unknown.
    Address(IdSet),
    /// A bit of the caller.
    Member(u32),
    /// A truth of the caller.
    Claim(u32),
    /// A comparison of an int slot.
    Int {
        /// Which int slot.
        field: usize,
        /// How.
        op: CompareOp,
        /// With what.
        value: i64,
    },
    /// Whether an int slot is known.
    IntKnown(usize),
    /// A bool slot.
    Bool(usize),
    /// The callback, with this costly index.
    Ask(u32),
}

/// The callback that judges what a class leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OrElse {
    /// Costly index.
    pub(crate) costly: u32,
    /// Not asked of classes `1..=literal_max`: their globs are known.
    pub(crate) literal_max: u32,
}

/// A set of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IdSet {
    /// At most [`COMPARES_MAX`] ids.
    Few(Vec<u32>),
    /// A bitmap that begins at this word of [`Plan::sets`] and covers every id of its kind; the ids beside it.
    Bitmap(u32, Vec<u32>),
}

impl IdSet {
    /// The ids, ascending.
    pub(crate) fn ids(&self) -> &[u32] {
        match self {
            Self::Few(ids) | Self::Bitmap(_, ids) => ids,
        }
    }
}

/// The mapping from a program's constants to slots, and from atoms to code.
#[derive(Debug)]
pub(crate) struct Plan {
    /// By [`StrField`]; empty for a field that no condition reads.
    pub(crate) texts: [TextClasses; StrField::COUNT],
    /// The fields of a call, not of its caller, that conditions read.
    call_fields: Vec<usize>,
    pub(crate) addresses: AddressClasses,
    pub(crate) groups: Constants,
    pub(crate) scopes: Constants,
    /// Text conditions on the caller: which bit, which field.
    pub(crate) caller_texts: Vec<CallerText>,
    /// Bits of the caller: groups, then scopes, then `caller_texts`.
    pub(crate) members: usize,
    /// Truths of the caller.
    pub(crate) claims: Vec<AtomId>,
    /// By [`AtomId`].
    pub(crate) atoms: Vec<AtomCode>,
    /// What the callback judges, by costly index, and how costly it is.
    pub(crate) costly: Vec<(AtomId, u8)>,
    /// Bitmaps of large sets.
    sets: Vec<u64>,
}

/// A condition on a text of the caller.
#[derive(Debug)]
pub(crate) struct CallerText {
    pub(crate) atom: AtomId,
    pub(crate) field: usize,
    pub(crate) set: ClassSet,
}

/// The fields that stay the same for a token.
pub(crate) const CALLER_FIELDS: [StrField; 4] =
    [StrField::Subject, StrField::Issuer, StrField::ClientId, StrField::Kind];

impl Plan {
    /// Looks at every atom once.
    pub(crate) fn new(program: &Program) -> Self {
        let mut plan = Self {
            texts: Default::default(),
            call_fields: Vec::new(),
            addresses: AddressClasses::default(),
            groups: Constants::default(),
            scopes: Constants::default(),
            caller_texts: Vec::new(),
            members: 0,
            claims: Vec::new(),
            atoms: Vec::with_capacity(program.atoms.len()),
            costly: Vec::new(),
            sets: Vec::new(),
        };
        plan.take_in_constants(program);
        plan.members = plan.groups.len() + plan.scopes.len();
        for (index, atom) in program.atoms.iter().enumerate() {
            let id = AtomId(u32::try_from(index).unwrap_or(u32::MAX));
            let code = plan.code_of(id, atom);
            plan.atoms.push(code);
        }
        plan
    }

    /// Translates the facts of one call. What the program does not name is not looked at. `members` and `claims` are those of the
    /// caller.
    #[inline]
    pub(crate) fn slots(&self, facts: &Facts<'_>, members: &[u64], claims: &[u8]) -> Slots {
        let mut slots = Slots {
            strings: [0; StrField::COUNT],
            suffixes: [0; StrField::COUNT],
            address: 0,
            address_known: 0,
            int_known: facts.ints.map(|number| u8::from(number.is_some())),
            bools: facts
                .bools
                .map(|value| value.map_or(Truth::Error, |value| if value { Truth::True } else { Truth::False }) as u8),
            ints: facts.ints.map(Option::unwrap_or_default),
            members: members.as_ptr(),
            claims: claims.as_ptr(),
            sets: self.sets.as_ptr(),
        };
        if planted!(UnknownNumbersAreZero) {
            slots.int_known = [1; IntField::COUNT];
        }
        if planted!(UnknownBoolIsFalse) {
            slots.bools = facts.bools.map(|value| if value == Some(true) { 2 } else { 0 });
        }
        for field in &self.call_fields {
            let (Some(classes), Some(text)) = (self.texts.get(*field), facts.strings.get(*field)) else { continue };
            let class = classes.class(text);
            if let (Some(slot), Some(end)) = (slots.strings.get_mut(*field), slots.suffixes.get_mut(*field)) {
                *slot = class;
                *end = classes.suffix(text, class);
            }
        }
        if !self.addresses.is_empty()
            && let Some(ip) = facts.ip
        {
            slots.address = self.addresses.class(ip);
            slots.address_known = 1;
        } else {
            slots.address_known = u8::from(facts.ip.is_some());
        }
        slots
    }

    /// All ids are given out before the first set is made, so that each set covers every id of its kind.
    fn take_in_constants(&mut self, program: &Program) {
        let mut globs: HashMap<usize, Vec<&str>> = HashMap::new();
        for atom in &program.atoms {
            match atom {
                Atom::StrIn { field, set } => {
                    let field = *field as usize;
                    if let Some(classes) = self.texts.get_mut(field) {
                        classes.add(set);
                    }
                    globs.entry(field).or_default().extend(set.globs.iter().map(String::as_str));
                    let of_caller = CALLER_FIELDS.iter().any(|caller| *caller as usize == field);
                    if !of_caller && !self.call_fields.contains(&field) {
                        self.call_fields.push(field);
                    }
                }
                Atom::InGroup(group) => {
                    self.groups.insert(group);
                }
                Atom::HasScope(scope) => {
                    self.scopes.insert(scope);
                }
                Atom::IpIn(nets) => nets.iter().for_each(|net| self.addresses.add(net)),
                _ => {}
            }
        }
        self.addresses.finish();
        for (field, classes) in self.texts.iter_mut().enumerate() {
            let mut globs = globs.remove(&field).unwrap_or_default();
            globs.sort_unstable();
            globs.dedup();
            classes.finish(&globs);
        }
    }

    fn code_of(&mut self, id: AtomId, atom: &Atom) -> AtomCode {
        match atom {
            Atom::StrIn { field, set } if CALLER_FIELDS.contains(field) => self.caller_text(id, *field as usize, set),
            Atom::StrIn { field, set } => self.text_code(id, *field as usize, set, atom),
            Atom::InGroup(group) => AtomCode::Member(self.groups.id(group).wrapping_sub(1)),
            Atom::HasScope(scope) if planted!(ScopesAreGroups) && self.groups.id(scope) != 0 => {
                AtomCode::Member(self.groups.id(scope) - 1)
            }
            Atom::HasScope(scope) => {
                AtomCode::Member((self.groups.len() as u32 + self.scopes.id(scope)).wrapping_sub(1))
            }
            Atom::Claim { .. } | Atom::ClaimPresent(_) => self.claim(id),
            Atom::IpIn(nets) => {
                let mut classes: Vec<u32> = Vec::new();
                for net in nets {
                    classes.extend(self.addresses.inside(net));
                    if classes.len() > EXPANDED_MAX {
                        return self.ask(id, atom);
                    }
                }
                classes.sort_unstable();
                classes.dedup();
                match self.id_set(classes, self.addresses.count()) {
                    Some(classes) => AtomCode::Address(classes),
                    None => self.ask(id, atom),
                }
            }
            Atom::Int { field, op, value } => AtomCode::Int { field: *field as usize, op: *op, value: *value },
            Atom::IntPresent(field) => AtomCode::IntKnown(*field as usize),
            Atom::Bool(field) => AtomCode::Bool(*field as usize),
            Atom::ToolIn(_)
            | Atom::EnvIn { .. }
            | Atom::HeaderPresent(_)
            | Atom::HeaderIn { .. }
            | Atom::Text(_)
            | Atom::JsonPresent(_)
            | Atom::Json { .. }
            | Atom::ResponseText(_)
            | Atom::ResponseJsonPresent(_)
            | Atom::ResponseJson { .. } => self.ask(id, atom),
        }
    }

    fn caller_text(&mut self, id: AtomId, field: usize, set: &StrSet) -> AtomCode {
        match self.texts.get(field).and_then(|classes| classes.set(set, EXPANDED_MAX)) {
            Some(set) => {
                self.caller_texts.push(CallerText { atom: id, field, set });
                self.members += 1;
                AtomCode::Member((self.members - 1) as u32)
            }
            None => self.claim(id),
        }
    }

    fn text_code(&mut self, id: AtomId, field: usize, set: &StrSet, atom: &Atom) -> AtomCode {
        let Some(texts) = self.texts.get(field) else { return self.ask(id, atom) };
        let (class_count, suffix_count, literals) = (texts.class_count(), texts.suffix_count(), texts.literal_max());
        let Some(set) = texts.set(set, EXPANDED_MAX) else { return self.ask(id, atom) };
        let (Some(classes), Some(suffixes)) =
            (self.id_set(set.classes, class_count), self.id_set(set.suffixes, suffix_count))
        else {
            return self.ask(id, atom);
        };
        let asks = set.asks && !planted!(GlobsAreNotAsked);
        let literal_max = if set.asks_of_literals { 0 } else { literals };
        let or_else = asks.then(|| OrElse { costly: self.costly_index(id, atom), literal_max });
        AtomCode::Class { field, classes, suffixes, or_else }
    }

    /// A set of sorted ids below `count`; none when the memory for bitmaps is used up.
    fn id_set(&mut self, mut ids: Vec<u32>, count: usize) -> Option<IdSet> {
        if planted!(FewDropsTheLast) && ids.len() > 1 {
            ids.pop();
        }
        if ids.len() <= COMPARES_MAX {
            return Some(IdSet::Few(ids));
        }
        let (first, words) = (self.sets.len(), count / 64 + 1);
        if first + words > SET_WORDS_MAX {
            return None;
        }
        self.sets.resize(first + words, 0);
        for id in &ids {
            let id = *id as usize;
            *self.sets.get_mut(first + id / 64)? |= 1 << (id % 64);
        }
        Some(IdSet::Bitmap(u32::try_from(first).ok()?, ids))
    }

    fn claim(&mut self, id: AtomId) -> AtomCode {
        self.claims.push(id);
        AtomCode::Claim((self.claims.len() - 1) as u32)
    }

    fn ask(&mut self, id: AtomId, atom: &Atom) -> AtomCode {
        AtomCode::Ask(self.costly_index(id, atom))
    }

    fn costly_index(&mut self, id: AtomId, atom: &Atom) -> u32 {
        self.costly.push((id, cost(atom)));
        u32::try_from(self.costly.len() - 1).unwrap_or(u32::MAX)
    }
}

/// Rough order of what judging an atom costs: what is costly is judged last.
fn cost(atom: &Atom) -> u8 {
    let of_text = |test: &TextTest| match test {
        TextTest::Contains(_) => 6,
        TextTest::Matches(_) => 7,
        TextTest::FindsCustom(_) => 8,
        TextTest::Finds(_) => 9,
    };
    match atom {
        Atom::EnvIn { .. } | Atom::HeaderPresent(_) => 1,
        Atom::HeaderIn { .. } => 2,
        Atom::ToolIn(_) | Atom::JsonPresent(_) => 4,
        Atom::Json { test: JsonTest::Text(test), .. } | Atom::Text(test) => of_text(test),
        Atom::Json { .. } => 5,
        _ => 3,
    }
}
