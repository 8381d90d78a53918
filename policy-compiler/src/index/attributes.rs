//! What of a condition an index can use: parts that need one of some values of one attribute.

use crate::native::{AtomCode, Plan};
use policy_lang::schema::StrField;
use policy_lang::{Atom, Condition, Program};

/// What a part of a condition looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Attribute {
    /// The class of a text of the call.
    Text(usize),
    /// The class of the address.
    Address,
    /// The caller's groups.
    Groups,
    /// The caller's scopes.
    Scopes,
    /// A text of the caller.
    CallerText(usize),
    /// The caller's claims.
    Claims,
}

impl Attribute {
    /// Whether it stays the same for a token.
    pub(crate) fn of_caller(self) -> bool {
        !matches!(self, Self::Text(_) | Self::Address)
    }
}

/// A part that is false unless the attribute has one of these values.
#[derive(Clone, Debug)]
pub(crate) struct Need {
    pub(crate) attribute: Attribute,
    /// Classes; of callers: bits, claims counted on behind them.
    pub(crate) values: Vec<u32>,
    /// Classes of the end of a text.
    pub(crate) suffixes: Vec<u32>,
    /// The part is *true* with one of the values: it can be left out where the index is asked.
    pub(crate) exact: bool,
}

/// The parts of a conjunction, nested ones included; none when it can never hold.
pub(crate) fn parts(condition: &Condition) -> Option<Vec<&Condition>> {
    fn collect<'c>(condition: &'c Condition, parts: &mut Vec<&'c Condition>) -> bool {
        match condition {
            Condition::Const(holds) => *holds,
            Condition::All(inner) => inner.iter().all(|part| collect(part, parts)),
            other => {
                parts.push(other);
                true
            }
        }
    }
    let mut found = Vec::new();
    collect(condition, &mut found).then_some(found)
}

/// What a part needs, if it looks at one attribute alone and only asks for values that must be there.
pub(crate) fn need(program: &Program, plan: &Plan, part: &Condition) -> Option<Need> {
    match part {
        Condition::Atom(id) => {
            let code = plan.atoms.get(id.0 as usize)?;
            let need = |attribute, values, exact| Need { attribute, values, suffixes: Vec::new(), exact };
            match (code, program.atoms.get(id.0 as usize)?) {
                (AtomCode::Class { field, classes, suffixes, or_else: None }, _) => Some(Need {
                    suffixes: suffixes.ids().to_vec(),
                    ..need(Attribute::Text(*field), classes.ids().to_vec(), true)
                }),
                // An unknown address is an error, not true.
                (AtomCode::Address(classes), _) => Some(need(Attribute::Address, classes.ids().to_vec(), false)),
                (AtomCode::Member(bit), Atom::InGroup(_)) => Some(need(Attribute::Groups, vec![*bit], true)),
                (AtomCode::Member(bit), Atom::HasScope(_)) => Some(need(Attribute::Scopes, vec![*bit], true)),
                (AtomCode::Member(bit), Atom::StrIn { field, .. }) => {
                    Some(need(Attribute::CallerText(*field as usize), vec![*bit], true))
                }
                // A claim that cannot be read is an error, not true.
                (AtomCode::Claim(claim), _) => Some(need(Attribute::Claims, vec![plan.members as u32 + claim], false)),
                _ => None,
            }
        }
        Condition::Any(choices) => {
            let mut needs = choices.iter().map(|choice| need(program, plan, choice));
            let mut all = needs.next()??;
            for other in needs {
                let other = other?;
                if other.attribute != all.attribute {
                    return None;
                }
                all.values.extend(other.values);
                all.suffixes.extend(other.suffixes);
                all.exact &= other.exact;
            }
            for ids in [&mut all.values, &mut all.suffixes] {
                ids.sort_unstable();
                ids.dedup();
            }
            Some(all)
        }
        _ => None,
    }
}

/// How many values an attribute can have.
pub(crate) fn value_count(plan: &Plan, attribute: Attribute) -> usize {
    match attribute {
        Attribute::Text(field) => plan.texts.get(field).map_or(1, |texts| texts.class_count()),
        Attribute::Address => plan.addresses.count(),
        Attribute::Groups => plan.groups.len(),
        Attribute::Scopes => plan.scopes.len(),
        Attribute::CallerText(field) => plan.caller_texts.iter().filter(|text| text.field == field).count(),
        Attribute::Claims => plan.claims.len(),
    }
}

/// Whether the attribute is known from the head of a call and its caller: all but the model.
pub(crate) fn is_in_head(attribute: Attribute) -> bool {
    attribute != Attribute::Text(StrField::Model as usize)
}
