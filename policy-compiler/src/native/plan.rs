//! What native code judges itself, and from which slots.

use super::constants::Constants;
use policy_lang::schema::{BoolField, IntField, StrField};
use policy_lang::{Atom, AtomId, CompareOp, Facts, Program, StrSet, Truth};

/// Words of the bitmap over the groups and scopes that a program names; atoms on further ones ask back.
pub(super) const MEMBER_WORDS: usize = 8;
/// Sets up to this many literals become compares, larger ones a test of a bit.
pub(super) const COMPARES_MAX: usize = 8;
/// Memory of all bitmaps of one program, in 64-bit words (8 MiB); sets beyond it ask back.
const SET_WORDS_MAX: usize = 1 << 20;

/// The facts of one call as native code sees them. Filled once per call.
#[repr(C)]
pub(super) struct Slots {
    /// By [`StrField`]: the id of the field's text among the literals that the program compares this field with, 0 for any other.
    pub(super) strings: [u32; StrField::ALL.len()],
    /// By [`IntField`]: 1 when the number is known.
    pub(super) int_known: [u8; IntField::ALL.len()],
    /// By [`BoolField`]: a [`Truth`]; unknown is an error.
    pub(super) bools: [u8; BoolField::ALL.len()],
    /// By [`IntField`]: the number, 0 when unknown.
    pub(super) ints: [i64; IntField::ALL.len()],
    /// One bit per group or scope that the program names: the caller has it.
    pub(super) members: [u64; MEMBER_WORDS],
    /// The bitmaps of large sets, [`Plan::sets`]; bits are ids.
    pub(super) sets: *const u64,
}

/// How native code judges one atom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum AtomCode {
    /// The field's id is one of these; otherwise `or_else` is asked (globs).
    Ids {
        /// Which string slot.
        field: usize,
        /// Which ids.
        ids: IdSet,
        /// Costly index.
        or_else: Option<u32>,
    },
    /// A bit of [`Slots::members`].
    Member(u32),
    /// A comparison of an int slot.
    Int {
        /// Which int slot.
        field: usize,
        /// How.
        op: CompareOp,
        /// With what.
        value: i64,
    },
    /// A bool slot.
    Bool(usize),
    /// The callback, with this costly index.
    Ask(u32),
}

/// A set of ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum IdSet {
    /// At most [`COMPARES_MAX`] ids.
    Few(Vec<u32>),
    /// A bitmap that begins at this word of [`Plan::sets`] and covers every id of the field.
    Bitmap(u32),
}

/// The mapping from a program's constants to slots, and from atoms to code.
#[derive(Debug)]
pub(super) struct Plan {
    /// By [`StrField`]; empty for a field that no set of literals reads.
    strings: [Constants; StrField::ALL.len()],
    groups: Constants,
    scopes: Constants,
    /// By [`AtomId`].
    pub(super) atoms: Vec<AtomCode>,
    /// What the callback judges, by costly index.
    pub(super) costly: Vec<AtomId>,
    /// Bitmaps of large sets.
    sets: Vec<u64>,
}

impl Plan {
    /// Looks at every atom once.
    pub(super) fn new(program: &Program) -> Self {
        let mut plan = Self {
            strings: Default::default(),
            groups: Constants::default(),
            scopes: Constants::default(),
            atoms: Vec::with_capacity(program.atoms.len()),
            costly: Vec::new(),
            sets: Vec::new(),
        };
        plan.number_literals(program);
        for (index, atom) in program.atoms.iter().enumerate() {
            let id = AtomId(u32::try_from(index).unwrap_or(u32::MAX));
            let code = plan.code_of(id, atom);
            plan.atoms.push(code);
        }
        plan
    }

    /// Translates the facts of one call. What the program does not name is not looked at.
    pub(super) fn slots(&self, facts: &Facts<'_>) -> Slots {
        let mut slots = Slots {
            strings: [0; StrField::ALL.len()],
            int_known: facts.ints.map(|number| u8::from(number.is_some())),
            bools: facts
                .bools
                .map(|value| value.map_or(Truth::Error, |value| if value { Truth::True } else { Truth::False }) as u8),
            ints: facts.ints.map(Option::unwrap_or_default),
            members: [0; MEMBER_WORDS],
            sets: self.sets.as_ptr(),
        };
        for ((slot, table), text) in slots.strings.iter_mut().zip(&self.strings).zip(facts.strings) {
            if !table.is_empty() {
                *slot = table.id(text);
            }
        }
        let group_bits = 0;
        let scope_bits = self.groups.len();
        for (table, names, first_bit) in
            [(&self.groups, facts.groups, group_bits), (&self.scopes, facts.scopes, scope_bits)]
        {
            if table.is_empty() {
                continue;
            }
            for name in names {
                let id = table.id(name) as usize;
                // Id 0 is "not named"; bits beyond the words belong to atoms that ask back.
                if let Some(bit) = id.checked_sub(1).map(|bit| bit + first_bit)
                    && let Some(word) = slots.members.get_mut(bit / 64)
                {
                    *word |= 1 << (bit % 64);
                }
            }
        }
        slots
    }

    /// All ids are given out before the first bitmap is made, so that each bitmap covers every id of its field.
    fn number_literals(&mut self, program: &Program) {
        for atom in &program.atoms {
            match atom {
                Atom::StrIn { field, set } => {
                    if let Some(table) = self.strings.get_mut(*field as usize) {
                        // An absent field reads "" and is in no set: the empty text has no id.
                        for literal in set.literals.iter().filter(|literal| !literal.is_empty()) {
                            table.insert(literal);
                        }
                    }
                }
                Atom::InGroup(group) => {
                    self.groups.insert(group);
                }
                Atom::HasScope(scope) => {
                    self.scopes.insert(scope);
                }
                _ => {}
            }
        }
    }

    fn code_of(&mut self, id: AtomId, atom: &Atom) -> AtomCode {
        match atom {
            Atom::StrIn { field, set } => self.string_code(id, *field, set),
            Atom::InGroup(group) => self.member_code(id, self.groups.id(group), 0),
            Atom::HasScope(scope) => self.member_code(id, self.scopes.id(scope), self.groups.len()),
            Atom::Int { field, op, value } => AtomCode::Int { field: *field as usize, op: *op, value: *value },
            Atom::Bool(field) => AtomCode::Bool(*field as usize),
            Atom::IpIn(_)
            | Atom::IntPresent(_)
            | Atom::ToolIn(_)
            | Atom::Claim { .. }
            | Atom::ClaimPresent(_)
            | Atom::EnvIn { .. }
            | Atom::HeaderPresent(_)
            | Atom::HeaderIn { .. }
            | Atom::Text(_)
            | Atom::JsonPresent(_)
            | Atom::Json { .. }
            | Atom::ResponseText(_)
            | Atom::ResponseJsonPresent(_)
            | Atom::ResponseJson { .. } => self.ask(id),
        }
    }

    fn string_code(&mut self, id: AtomId, field: StrField, set: &StrSet) -> AtomCode {
        let slot = field as usize;
        let Some(table) = self.strings.get(slot) else {
            return self.ask(id);
        };
        let mut ids: Vec<u32> =
            set.literals.iter().filter(|literal| !literal.is_empty()).map(|literal| table.id(literal)).collect();
        ids.sort_unstable();
        ids.dedup();
        let ids = if ids.len() <= COMPARES_MAX {
            IdSet::Few(ids)
        } else {
            let words = table.len() / 64 + 1;
            match self.bitmap(&ids, words) {
                Some(bitmap) => bitmap,
                None => return self.ask(id),
            }
        };
        let or_else = (!set.globs.is_empty()).then(|| self.costly_index(id));
        AtomCode::Ids { field: slot, ids, or_else }
    }

    fn bitmap(&mut self, ids: &[u32], words: usize) -> Option<IdSet> {
        let first = self.sets.len();
        if first + words > SET_WORDS_MAX {
            return None;
        }
        self.sets.resize(first + words, 0);
        for id in ids {
            let id = *id as usize;
            *self.sets.get_mut(first + id / 64)? |= 1 << (id % 64);
        }
        u32::try_from(first).ok().map(IdSet::Bitmap)
    }

    fn member_code(&mut self, id: AtomId, number: u32, first_bit: usize) -> AtomCode {
        let bit = first_bit + (number as usize).saturating_sub(1);
        match u32::try_from(bit) {
            Ok(bit) if number != 0 && (bit as usize) < MEMBER_WORDS * 64 => AtomCode::Member(bit),
            _ => self.ask(id),
        }
    }

    fn ask(&mut self, id: AtomId) -> AtomCode {
        AtomCode::Ask(self.costly_index(id))
    }

    fn costly_index(&mut self, id: AtomId) -> u32 {
        self.costly.push(id);
        u32::try_from(self.costly.len() - 1).unwrap_or(u32::MAX)
    }
}
