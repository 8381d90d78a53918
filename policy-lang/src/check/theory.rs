//! What the atoms of a set read, and which values it can have: text, number, address, presence. Tests of text inside bodies are free.

use super::Budget;
use super::texts::{self, Found};
use crate::program::{Atom, ClaimTest, ClaimValue, CompareOp, JsonPath, JsonTest, PathSegment, Side, StrSet};
use crate::schema::{BoolField, IntField, StrField};
use ipnet::IpNet;
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Truth values of an atom, as bits: what is still possible.
pub(super) type Truths = u8;
pub(super) const TRUE: Truths = 1;
pub(super) const FALSE: Truths = 2;
pub(super) const ERROR: Truths = 4;
pub(super) const ANY: Truths = TRUE | FALSE | ERROR;

/// Something that a call has one value of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Var {
    Str(StrField),
    Group(String),
    Scope(String),
    Ip,
    Int(IntField),
    Bool(BoolField),
    Tools,
    Claim(String),
    Env(String),
    Header(String),
    Json(Side, JsonPath),
    /// A test of text: neither what it finds nor how it goes with others is known here.
    Free(usize),
}

/// A value of a [`Var`].
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Absent,
    /// A body that is malformed, a claim of no type that policies know.
    Unreadable,
    Text(String),
    Int(i64),
    Number(f64),
    Bool(bool),
    Ip(IpAddr),
    List(Vec<String>),
    Null,
    /// Values at a path with wildcards, which nobody looks into.
    Many,
    /// Of a group, a scope or a free test.
    Truth(Truths),
}

/// The atoms of a program by what they read.
pub(super) struct Theory<'p> {
    pub(super) atoms: &'p [Atom],
    pub(super) vars: Vec<Var>,
    var_of: Vec<usize>,
}

#[derive(Clone, Copy)]
enum Shape {
    Absent,
    Unreadable,
    Text,
    Int,
    Number,
    Bool,
    List,
    Null,
    Many,
}

/// What an atom says of a value of some shape.
enum Look<'a> {
    Is(Truths),
    In(&'a StrSet),
    Compare(CompareOp, i64),
    Equals(bool),
    Free,
}

/// Whether a variable can be what its atoms demand.
pub(super) enum Possible {
    Yes(Value),
    No,
    Unknown,
}

impl<'p> Theory<'p> {
    pub(super) fn new(atoms: &'p [Atom]) -> Self {
        let mut slots: HashMap<Var, usize> = HashMap::new();
        let mut theory = Self { atoms, vars: Vec::new(), var_of: Vec::with_capacity(atoms.len()) };
        for (id, atom) in atoms.iter().enumerate() {
            let var = var(id, atom);
            let slot = *slots.entry(var.clone()).or_insert_with(|| {
                theory.vars.push(var);
                theory.vars.len() - 1
            });
            theory.var_of.push(slot);
        }
        theory
    }

    pub(super) fn var_of(&self, atom: usize) -> usize {
        self.var_of.get(atom).copied().unwrap_or(0)
    }

    /// A value with which every one of these atoms comes out as allowed.
    pub(super) fn value(&self, var: usize, wanted: &[(usize, Truths)], budget: &mut Budget) -> Possible {
        let Some(var) = self.vars.get(var) else {
            return Possible::Unknown;
        };
        let wanted: Vec<(&Atom, Truths)> =
            wanted.iter().filter_map(|(id, truths)| Some((self.atoms.get(*id)?, *truths))).collect();
        let shapes: &[Shape] = match var {
            Var::Group(_) | Var::Scope(_) => return truth(&wanted, TRUE | FALSE),
            Var::Free(_) => return truth(&wanted, ANY),
            Var::Ip => return address(&wanted, budget),
            Var::Str(_) | Var::Env(_) | Var::Header(_) => &[Shape::Text, Shape::Absent],
            Var::Int(_) => &[Shape::Int, Shape::Absent],
            Var::Bool(_) => &[Shape::Bool, Shape::Absent],
            Var::Tools => &[Shape::List, Shape::Unreadable],
            Var::Claim(_) => &[Shape::Text, Shape::Bool, Shape::Int, Shape::List, Shape::Absent, Shape::Unreadable],
            Var::Json(_, path) if path.segments.contains(&PathSegment::Wildcard) => {
                &[Shape::Many, Shape::Absent, Shape::Unreadable]
            }
            Var::Json(..) => &[Shape::Text, Shape::Number, Shape::Bool, Shape::Null, Shape::Absent, Shape::Unreadable],
        };
        let mut unknown = false;
        for shape in shapes {
            match of_shape(var, *shape, &wanted, budget) {
                Possible::Yes(value) => return Possible::Yes(value),
                Possible::Unknown => unknown = true,
                Possible::No => {}
            }
        }
        if unknown { Possible::Unknown } else { Possible::No }
    }
}

fn var(id: usize, atom: &Atom) -> Var {
    match atom {
        Atom::StrIn { field, .. } => Var::Str(*field),
        Atom::InGroup(group) => Var::Group(group.clone()),
        Atom::HasScope(scope) => Var::Scope(scope.clone()),
        Atom::IpIn(_) => Var::Ip,
        Atom::Int { field, .. } | Atom::IntPresent(field) => Var::Int(*field),
        Atom::Bool(field) => Var::Bool(*field),
        Atom::ToolIn(_) => Var::Tools,
        Atom::Claim { claim, .. } => Var::Claim(claim.key.clone()),
        Atom::ClaimPresent(key) => Var::Claim(key.clone()),
        Atom::EnvIn { name, .. } => Var::Env(name.clone()),
        Atom::HeaderPresent(name) | Atom::HeaderIn { name, .. } => Var::Header(name.clone()),
        Atom::JsonPresent(path) | Atom::Json { path, .. } => Var::Json(Side::Request, path.clone()),
        Atom::ResponseJsonPresent(path) | Atom::ResponseJson { path, .. } => Var::Json(Side::Response, path.clone()),
        Atom::Text(_) | Atom::ResponseText(_) => Var::Free(id),
    }
}

fn truth(wanted: &[(&Atom, Truths)], possible: Truths) -> Possible {
    let left = wanted.iter().fold(possible, |left, (_, truths)| left & truths);
    match left {
        0 => Possible::No,
        left if left & TRUE != 0 && left & FALSE == 0 => Possible::Yes(Value::Truth(TRUE)),
        left if left & FALSE != 0 => Possible::Yes(Value::Truth(FALSE)),
        left => Possible::Yes(Value::Truth(left)),
    }
}

fn look(atom: &Atom, shape: Shape) -> Look<'_> {
    match (atom, shape) {
        (Atom::StrIn { set, .. } | Atom::HeaderIn { set, .. } | Atom::EnvIn { set, .. }, Shape::Text)
        | (Atom::ToolIn(set), Shape::List) => Look::In(set),
        (Atom::StrIn { .. } | Atom::HeaderIn { .. } | Atom::HeaderPresent(_) | Atom::IntPresent(_), Shape::Absent) => {
            Look::Is(FALSE)
        }
        (Atom::Int { op, value, .. }, Shape::Int) => Look::Compare(*op, *value),
        (Atom::Bool(_), Shape::Bool) => Look::Equals(true),
        (Atom::ClaimPresent(_) | Atom::JsonPresent(_) | Atom::ResponseJsonPresent(_), Shape::Absent) => Look::Is(FALSE),
        (_, Shape::Unreadable) => Look::Is(ERROR),
        (
            Atom::HeaderPresent(_)
            | Atom::IntPresent(_)
            | Atom::ClaimPresent(_)
            | Atom::JsonPresent(_)
            | Atom::ResponseJsonPresent(_),
            _,
        ) => Look::Is(TRUE),
        (Atom::Claim { claim, test }, Shape::Absent) => Look::Is(match &claim.default {
            Some(default) => of_claim(test, default),
            None => ERROR,
        }),
        (Atom::Claim { test, .. }, shape) => match (test, shape) {
            (ClaimTest::Bool(wanted), Shape::Bool) => Look::Equals(*wanted),
            (ClaimTest::Int { op, value }, Shape::Int) => Look::Compare(*op, *value),
            (ClaimTest::StrIn(set), Shape::Text) | (ClaimTest::ListIn(set), Shape::List) => Look::In(set),
            _ => Look::Is(ERROR),
        },
        (Atom::Json { test, .. } | Atom::ResponseJson { test, .. }, shape) => match (test, shape) {
            (_, Shape::Many) | (JsonTest::Text(_), Shape::Text) => Look::Free,
            (JsonTest::StrIn(set), Shape::Text) => Look::In(set),
            (JsonTest::Int { op, value }, Shape::Number) => Look::Compare(*op, *value),
            (JsonTest::Bool(wanted), Shape::Bool) => Look::Equals(*wanted),
            _ => Look::Is(ERROR),
        },
        _ => Look::Is(ERROR),
    }
}

fn of_claim(test: &ClaimTest, value: &ClaimValue) -> Truths {
    let truth = match (test, value) {
        (ClaimTest::Bool(wanted), ClaimValue::Bool(found)) => wanted == found,
        (ClaimTest::Int { op, value }, ClaimValue::Int(found)) => op.holds(found, value),
        (ClaimTest::StrIn(set), ClaimValue::Str(found)) => texts::is_in(set, found),
        (ClaimTest::ListIn(set), ClaimValue::List(found)) => found.iter().any(|entry| texts::is_in(set, entry)),
        _ => return ERROR,
    };
    if truth { TRUE } else { FALSE }
}

fn of_shape(var: &Var, shape: Shape, wanted: &[(&Atom, Truths)], budget: &mut Budget) -> Possible {
    let mut sets: Vec<(&StrSet, bool)> = Vec::new();
    let mut compared: Vec<(CompareOp, i64, Truths)> = Vec::new();
    let mut bools = vec![true, false];
    for (atom, truths) in wanted {
        let fits = match look(atom, shape) {
            Look::Is(is) => truths & is != 0,
            Look::Free => true,
            Look::In(set) => {
                if truths & TRUE == 0 || truths & FALSE == 0 {
                    sets.push((set, truths & TRUE != 0));
                }
                truths & (TRUE | FALSE) != 0
            }
            Look::Compare(op, value) => {
                compared.push((op, value, *truths));
                true
            }
            Look::Equals(wanted) => {
                bools.retain(|value| truths & if *value == wanted { TRUE } else { FALSE } != 0);
                true
            }
        };
        if !fits {
            return Possible::No;
        }
    }
    match shape {
        Shape::Absent => Possible::Yes(Value::Absent),
        Shape::Unreadable => Possible::Yes(Value::Unreadable),
        Shape::Null => Possible::Yes(Value::Null),
        Shape::Many => Possible::Yes(Value::Many),
        Shape::Bool => bools.first().map_or(Possible::No, |value| Possible::Yes(Value::Bool(*value))),
        Shape::Text => text(var, &sets, budget),
        Shape::List => list(&sets, budget),
        Shape::Int => number(&compared, domain(var), 1.0, budget, |value| Value::Int(value as i64)),
        Shape::Number => number(&compared, (i64::MIN, i64::MAX), 0.5, budget, Value::Number),
    }
}

fn text(var: &Var, sets: &[(&StrSet, bool)], budget: &mut Budget) -> Possible {
    let of_few: &[&str] = match var {
        Var::Str(StrField::Kind) => &["user", "service"],
        Var::Str(StrField::Weekday) => &["mon", "tue", "wed", "thu", "fri", "sat", "sun"],
        _ => &[],
    };
    if !of_few.is_empty() {
        let fits = |text: &&&str| sets.iter().all(|(set, inside)| texts::is_in(set, text) == *inside);
        return of_few.iter().find(fits).map_or(Possible::No, |text| Possible::Yes(Value::Text((*text).to_owned())));
    }
    match texts::find(sets, !matches!(var, Var::Str(_)), budget) {
        Found::Text(text) => Possible::Yes(Value::Text(text)),
        Found::Nothing => Possible::No,
        Found::Unknown => Possible::Unknown,
    }
}

/// One entry for every set that must be met, none of them in a set that must not.
fn list(sets: &[(&StrSet, bool)], budget: &mut Budget) -> Possible {
    let mut entries = Vec::new();
    for (set, _) in sets.iter().filter(|(_, inside)| *inside) {
        let mut one = vec![(*set, true)];
        one.extend(sets.iter().filter(|(_, inside)| !inside).copied());
        match texts::find(&one, true, budget) {
            Found::Text(text) => entries.push(text),
            Found::Nothing => return Possible::No,
            Found::Unknown => return Possible::Unknown,
        }
    }
    entries.sort_unstable();
    entries.dedup();
    Possible::Yes(Value::List(entries))
}

/// Comparisons change their outcome only at the literals: those, what is right beside them, and the ends are all that need trying.
fn number(
    compared: &[(CompareOp, i64, Truths)],
    (least, most): (i64, i64),
    step: f64,
    budget: &mut Budget,
    value: impl Fn(f64) -> Value,
) -> Possible {
    // Literals are at most 2^53 away from zero, so all of this is exact.
    let (least, most) = (least as f64, most as f64);
    let mut candidates: Vec<f64> = Vec::new();
    for (_, literal, _) in compared {
        candidates.extend([*literal as f64, *literal as f64 + step, *literal as f64 - step]);
    }
    candidates.extend([1.0, least.max(-1e15), most.min(1e15)]);
    for candidate in candidates.into_iter().filter(|candidate| (least..=most).contains(candidate)) {
        if !budget.spend(compared.len()) {
            return Possible::Unknown;
        }
        let fits = compared.iter().all(|(op, literal, truths)| {
            let holds = op.holds(&candidate, &(*literal as f64));
            truths & if holds { TRUE } else { FALSE } != 0
        });
        if fits {
            return Possible::Yes(value(candidate));
        }
    }
    Possible::No
}

/// Which numbers a field can have at all.
fn domain(var: &Var) -> (i64, i64) {
    match var {
        Var::Int(IntField::Hour) => (0, 23),
        Var::Int(
            IntField::RequestSize
            | IntField::ImageCount
            | IntField::Risk
            | IntField::ResponseStatus
            | IntField::ResponseSize,
        ) => (0, i64::MAX),
        _ => (i64::MIN, i64::MAX),
    }
}

/// Membership changes only where a network begins and right behind its end.
fn address(wanted: &[(&Atom, Truths)], budget: &mut Budget) -> Possible {
    let nets = |atom: &Atom| match atom {
        Atom::IpIn(nets) => nets.clone(),
        _ => Vec::new(),
    };
    let sets: Vec<(Vec<IpNet>, Truths)> = wanted.iter().map(|(atom, truths)| (nets(atom), *truths)).collect();
    let all = sets.iter().flat_map(|(nets, _)| nets);
    let mut candidates: Vec<IpAddr> = all.clone().map(IpNet::network).collect();
    candidates.extend(all.filter_map(|net| after(net.broadcast())));
    candidates.extend([
        IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        // Behind the IPv4-mapped addresses, which are judged as IPv4.
        IpAddr::V6(Ipv6Addr::new(0, 0, 0, 0, 1, 0, 0, 0)),
    ]);
    let size: usize = sets.iter().map(|(nets, _)| nets.len()).sum();
    for candidate in candidates.into_iter().filter(|ip| ip.to_canonical() == *ip) {
        if !budget.spend(size) {
            return Possible::Unknown;
        }
        let fits = sets.iter().all(|(nets, truths)| {
            let inside = nets.iter().any(|net| net.contains(&candidate));
            truths & if inside { TRUE } else { FALSE } != 0
        });
        if fits {
            return Possible::Yes(Value::Ip(candidate));
        }
    }
    match sets.iter().all(|(_, truths)| truths & ERROR != 0) {
        true => Possible::Yes(Value::Absent),
        false => Possible::No,
    }
}

fn after(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => u32::from(ip).checked_add(1).map(|next| IpAddr::V4(next.into())),
        IpAddr::V6(ip) => u128::from(ip).checked_add(1).map(|next| IpAddr::V6(next.into())),
    }
}
