//! Sets: named, inline, nested, joined and cut; typed by what they are compared with.

use super::conditions::Lowered;
use super::{Lowerer, Progress};
use crate::codes::Code;
use crate::diagnostic::{Diagnostic, Patch};
use crate::limits::{NESTING_MAX, SET_ENTRIES_EXPANDED_MAX, SET_ENTRIES_MAX};
use crate::program::{Atom, StrSet};
use crate::schema::StrField;
use crate::source::{Span, Spanned};
use crate::syntax::{Braces, Groups, SetExpr, SetOp, SetTerm, Value};
use ipnet::IpNet;
use std::rc::Rc;

/// What the entries of a set are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetType {
    Model,
    Endpoint,
    Subject,
    Group,
    Text,
    Ip,
    Purpose,
    Basis,
    /// `request.method`: inline sets only.
    Method,
    /// `identity.kind`: inline sets only.
    Kind,
    /// `time.weekday`: inline sets only.
    Weekday,
}

impl SetType {
    const NAMED: [(&'static str, Self); 8] = [
        ("model", Self::Model),
        ("endpoint", Self::Endpoint),
        ("subject", Self::Subject),
        ("group", Self::Group),
        ("string", Self::Text),
        ("ip", Self::Ip),
        ("purpose", Self::Purpose),
        ("basis", Self::Basis),
    ];

    pub(super) fn of_field(field: StrField) -> Self {
        match field {
            StrField::Model => Self::Model,
            StrField::Endpoint => Self::Endpoint,
            StrField::Subject => Self::Subject,
            StrField::Method => Self::Method,
            StrField::Kind => Self::Kind,
            StrField::Weekday => Self::Weekday,
            StrField::Purpose => Self::Purpose,
            StrField::Basis => Self::Basis,
            _ => Self::Text,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Method | Self::Kind | Self::Weekday => "string",
            other => Self::NAMED.iter().find(|(_, kind)| *kind == other).map_or("", |(name, _)| name),
        }
    }

    /// Plain texts go with every text; addresses only with addresses.
    fn accepts(self, other: Self) -> bool {
        let plain = self == Self::Text || other == Self::Text;
        self == other || (plain && self != Self::Ip && other != Self::Ip)
    }
}

/// A set with all references put in their place: whatever is in one of its parts.
#[derive(Clone, Debug)]
pub(super) struct SetValue {
    pub(super) kind: SetType,
    parts: Vec<Part>,
}

/// Entries, less what is in one of the exceptions. Without exceptions unless a glob or a network was cut.
#[derive(Clone, Debug, Default)]
struct Part {
    texts: StrSet,
    nets: Vec<IpNet>,
    except: Vec<Rc<SetValue>>,
}

impl Part {
    fn is_empty(&self) -> bool {
        self.texts.literals.is_empty() && self.texts.globs.is_empty() && self.nets.is_empty()
    }
}

impl SetValue {
    fn size(&self) -> usize {
        let size = |part: &Part| part.texts.literals.len() + part.texts.globs.len() + part.nets.len();
        self.parts.iter().map(|part| size(part) + part.except.iter().map(|set| set.size()).sum::<usize>()).sum()
    }

    fn contains(&self, text: &str) -> bool {
        self.parts.iter().any(|part| part.texts.contains(text) && !part.except.iter().any(|set| set.contains(text)))
    }

    /// Adds the entries of another set.
    fn unite(&mut self, other: &Self) {
        for part in &other.parts {
            match self.parts.iter_mut().find(|own| own.except.is_empty() && part.except.is_empty()) {
                Some(own) => {
                    own.texts.literals.extend_from_slice(&part.texts.literals);
                    own.texts.globs.extend_from_slice(&part.texts.globs);
                    own.nets.extend_from_slice(&part.nets);
                }
                None => self.parts.push(part.clone()),
            }
        }
    }

    /// Takes out what the other set has: literals at once, from globs and networks when they are judged.
    fn cut(&mut self, other: &Rc<Self>) {
        for part in &mut self.parts {
            part.texts.literals.retain(|text| !other.contains(text));
            part.texts
                .globs
                .retain(|glob| !other.parts.iter().any(|cut| cut.except.is_empty() && cut.texts.globs.contains(glob)));
            part.nets.retain(|net| {
                !other.parts.iter().any(|cut| cut.except.is_empty() && cut.nets.iter().any(|n| n.contains(net)))
            });
            if !part.texts.globs.is_empty() || !part.nets.is_empty() {
                part.except.push(Rc::clone(other));
            }
        }
        self.parts.retain(|part| !part.is_empty());
    }

    fn normalize(&mut self) {
        for part in &mut self.parts {
            normalize(&mut part.texts.literals);
            normalize(&mut part.texts.globs);
            normalize(&mut part.nets);
        }
    }

    /// The texts, if nothing is left to be cut when a text is judged.
    fn plain(&self) -> Option<StrSet> {
        match self.parts.as_slice() {
            [] => Some(StrSet::default()),
            [part] if part.except.is_empty() => Some(part.texts.clone()),
            _ => None,
        }
    }
}

impl<'s> Lowerer<'s, '_> {
    /// Membership in a set of texts: `atom` makes a leaf of plain sets, differences become conditions.
    pub(super) fn in_texts(
        &mut self,
        file: usize,
        kind: SetType,
        set: &'s SetExpr,
        atom: &dyn Fn(StrSet) -> Atom,
    ) -> Option<Lowered> {
        let value = self.set(file, kind, set)?;
        Some(self.membership(&value, &|part| atom(part.texts.clone())))
    }

    /// Membership of the caller's address.
    pub(super) fn in_networks(&mut self, file: usize, set: &'s SetExpr) -> Option<Lowered> {
        let value = self.set(file, SetType::Ip, set)?;
        Some(self.membership(&value, &|part| Atom::IpIn(part.nets.clone())))
    }

    fn membership(&mut self, value: &SetValue, atom: &dyn Fn(&Part) -> Atom) -> Lowered {
        let mut alternatives = Vec::new();
        for part in &value.parts {
            let mut all = vec![self.leaf(atom(part))];
            for cut in &part.except {
                all.push(self.membership(cut, atom).not());
            }
            alternatives.push(Lowered::all(all));
        }
        Lowered::any(alternatives)
    }

    /// A set of texts where membership is asked for outside conditions.
    pub(super) fn plain_set(&mut self, file: usize, kind: SetType, set: &'s SetExpr) -> Option<StrSet> {
        let value = self.set(file, kind, set)?;
        self.plain(&value, set.span)
    }

    fn plain(&mut self, value: &SetValue, span: Span) -> Option<StrSet> {
        let plain = value.plain();
        if plain.is_none() {
            self.error(
                Diagnostic::error(Code::GlobNotPossible, "a glob less some names cannot stand here")
                    .label(span, "")
                    .help("list the names"),
            );
        }
        plain
    }

    /// The groups of a `group(…)`, sorted, each once.
    pub(super) fn group_names(&mut self, file: usize, groups: &'s Groups) -> Option<Vec<String>> {
        let mut names = Vec::new();
        for group in &groups.entries {
            let Value::Word(word) = &group.node else {
                let (text, is_glob) = self.text_value(SetType::Group, &group.node, group.span)?;
                if is_glob {
                    self.whole_names(group.span, "");
                    return None;
                }
                names.push(text);
                continue;
            };
            let Some((owner, short)) = self.known_set_key(file, word) else {
                self.unquoted_group(word, group.span);
                return None;
            };
            let value = self.named_set(owner, short, group.span)?;
            self.fitting(&value, SetType::Group, group.span)?;
            self.count_expanded(value.size(), group.span)?;
            let set = self.plain(&value, group.span)?;
            if let Some(glob) = set.globs.first() {
                self.whole_names(group.span, &format!("this set has the glob ~\"{glob}\""));
                return None;
            }
            names.extend(set.literals);
        }
        normalize(&mut names);
        Some(names)
    }

    fn unquoted_group(&mut self, word: &str, span: Span) {
        self.error(
            Diagnostic::error(Code::UnknownName, format!("there is no set `{word}` in this file"))
                .label(span, "a name without quotes is the name of a set")
                .help(format!("names of groups stand in quotes: group(\"{word}\")"))
                .patch(Patch::replace(span, format!("\"{word}\""))),
        );
    }

    fn whole_names(&mut self, span: Span, label: &str) {
        self.error(Diagnostic::error(Code::GlobNotPossible, "groups are compared as whole names").label(span, label));
    }

    fn set(&mut self, file: usize, kind: SetType, set: &'s SetExpr) -> Option<Rc<SetValue>> {
        let first = self.term(file, kind, &set.first)?;
        if set.rest.is_empty() {
            return Some(first);
        }
        let mut value = (*first).clone();
        for (op, term) in &set.rest {
            let term = self.term(file, kind, term)?;
            match op {
                SetOp::Union => value.unite(&term),
                SetOp::Except => value.cut(&term),
            }
        }
        value.normalize();
        if value.parts.is_empty() {
            self.error(Diagnostic::error(Code::EmptySet, "nothing is left of this set").label(set.span, ""));
            return None;
        }
        self.count_expanded(value.size(), set.span)?;
        Some(Rc::new(value))
    }

    fn term(&mut self, file: usize, kind: SetType, term: &'s SetTerm) -> Option<Rc<SetValue>> {
        match term {
            SetTerm::Braces(braces) => self.braces(file, kind, braces).map(Rc::new),
            SetTerm::Name(name) => {
                let value = self.known_set(file, &name.node, name.span)?;
                self.fitting(&value, kind, name.span)?;
                self.count_expanded(value.size(), name.span)?;
                Some(value)
            }
            SetTerm::Groups(groups) => {
                self.error(
                    Diagnostic::error(Code::WrongTest, "`group(…)` is what `identity` can be in")
                        .label(groups.span, "")
                        .help("write `identity in group(\"…\")`"),
                );
                None
            }
        }
    }

    fn known_set(&mut self, file: usize, name: &str, span: Span) -> Option<Rc<SetValue>> {
        let Some((owner, short)) = self.known_set_key(file, name) else {
            self.unknown_name(file, name, span, "set");
            return None;
        };
        self.named_set(owner, short, span)
    }

    fn fitting(&mut self, value: &SetValue, kind: SetType, span: Span) -> Option<()> {
        if kind.accepts(value.kind) {
            return Some(());
        }
        self.error(
            Diagnostic::error(
                Code::WrongSetType,
                format!("this is a set of type `{}`, a set of type `{}` is needed", value.kind.name(), kind.name()),
            )
            .label(span, ""),
        );
        None
    }

    /// The set behind a name. Its own mistakes are reported where it is defined.
    pub(super) fn named_set(&mut self, file: usize, name: &str, used_at: Span) -> Option<Rc<SetValue>> {
        let definition = *self.files.get(file)?.sets.get(name)?;
        let key = (file, definition.name.node.as_str());
        self.usage.uses(key);
        match self.sets.get(&key) {
            Some(Progress::Done(done)) => return done.clone(),
            Some(Progress::Running) => {
                self.cyclic(name, used_at, definition.name.span);
                return None;
            }
            None => {}
        }
        if self.definition_depth >= NESTING_MAX {
            self.error(
                Diagnostic::error(Code::NestingTooDeep, format!("sets refer to sets more than {NESTING_MAX} deep"))
                    .label(used_at, ""),
            );
            return None;
        }
        let kind = self.set_type(&definition.kind);
        self.definition_depth += 1;
        self.usage.within.push(key);
        self.sets.insert(key, Progress::Running);
        let value = kind.and_then(|kind| self.set(file, kind, &definition.set));
        self.usage.within.pop();
        self.definition_depth -= 1;
        self.sets.insert(key, Progress::Done(value.clone()));
        value
    }

    fn set_type(&mut self, kind: &Spanned<String>) -> Option<SetType> {
        let known = SetType::NAMED.iter().find(|(name, _)| *name == kind.node);
        if known.is_none() {
            let names = SetType::NAMED.iter().map(|(name, _)| *name);
            self.error(
                Diagnostic::error(Code::UnknownSetType, format!("there is no type `{}`", kind.node))
                    .label(kind.span, "")
                    .help("the types are model, endpoint, ip, group, subject, purpose, basis and string")
                    .suggest(&kind.node, kind.span, names),
            );
        }
        known.map(|(_, kind)| *kind)
    }

    fn braces(&mut self, file: usize, kind: SetType, braces: &'s Braces) -> Option<SetValue> {
        if braces.entries.is_empty() {
            self.error(
                Diagnostic::error(Code::EmptySet, "this set is empty, nothing is ever in it").label(braces.span, ""),
            );
            return None;
        }
        let before = self.entries_written;
        self.entries_written += braces.entries.len();
        if self.entries_written > SET_ENTRIES_MAX {
            if before <= SET_ENTRIES_MAX {
                self.error(
                    Diagnostic::error(
                        Code::TooManyEntries,
                        format!("the sets have more than {SET_ENTRIES_MAX} entries together"),
                    )
                    .label(Span { end: braces.span.start + 1, ..braces.span }, "with this one"),
                );
            }
            return None;
        }
        let mut set = SetValue { kind, parts: vec![Part::default()] };
        let mut sound = true;
        for entry in &braces.entries {
            sound &= self.entry(file, &mut set, entry).is_some();
        }
        // Where every entry is a set that was cut, the first part stays empty: a leaf that nothing is ever in.
        set.parts.retain(|part| !part.is_empty());
        set.normalize();
        sound.then_some(set)
    }

    fn entry(&mut self, file: usize, set: &mut SetValue, entry: &'s Spanned<Value>) -> Option<()> {
        self.count_expanded(1, entry.span)?;
        match &entry.node {
            Value::Word(word) if !self.is_word_value(set.kind, word) => {
                let value = self.known_set(file, word, entry.span)?;
                self.fitting(&value, set.kind, entry.span)?;
                self.count_expanded(value.size(), entry.span)?;
                set.unite(&value);
                return Some(());
            }
            _ if set.kind == SetType::Ip => {
                let net = self.address(entry)?;
                set.parts.first_mut()?.nets.push(net);
            }
            value => {
                let (text, is_glob) = self.text_value(set.kind, value, entry.span)?;
                let texts = &mut set.parts.first_mut()?.texts;
                match is_glob {
                    true => texts.globs.push(text),
                    false => texts.literals.push(text),
                }
            }
        }
        Some(())
    }

    fn count_expanded(&mut self, entries: usize, span: Span) -> Option<()> {
        let before = self.entries_expanded;
        self.entries_expanded = before.saturating_add(entries);
        if self.entries_expanded <= SET_ENTRIES_EXPANDED_MAX {
            return Some(());
        }
        if before <= SET_ENTRIES_EXPANDED_MAX {
            self.error(
                Diagnostic::error(
                    Code::TooManyEntries,
                    format!("with every reference put in its place the sets have more than {SET_ENTRIES_EXPANDED_MAX} entries"),
                )
                .label(span, "with this one"),
            );
        }
        None
    }
}

fn normalize<T: Ord>(entries: &mut Vec<T>) {
    entries.sort_unstable();
    entries.dedup();
}
