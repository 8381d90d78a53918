//! Sets: named, inline, nested; typed by what they are compared with.

use super::{Lowerer, Progress};
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{NESTING_MAX, SET_ENTRIES_EXPANDED_MAX, SET_ENTRIES_MAX};
use crate::program::StrSet;
use crate::schema::StrField;
use crate::source::{Span, Spanned};
use crate::suggest::did_you_mean;
use crate::syntax::{Braces, SetExpr, Value};
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
    /// `request.method`: inline sets only.
    Method,
    /// `identity.kind`: inline sets only.
    Kind,
}

impl SetType {
    const NAMED: [(&'static str, Self); 6] = [
        ("model", Self::Model),
        ("endpoint", Self::Endpoint),
        ("subject", Self::Subject),
        ("group", Self::Group),
        ("string", Self::Text),
        ("ip", Self::Ip),
    ];

    pub(super) fn of_field(field: StrField) -> Self {
        match field {
            StrField::Model => Self::Model,
            StrField::Endpoint => Self::Endpoint,
            StrField::Subject => Self::Subject,
            StrField::Method => Self::Method,
            StrField::Kind => Self::Kind,
            _ => Self::Text,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Method | Self::Kind => "string",
            other => Self::NAMED.iter().find(|(_, kind)| *kind == other).map_or("", |(name, _)| name),
        }
    }

    /// Plain texts go with every text; addresses only with addresses.
    fn accepts(self, other: Self) -> bool {
        let plain = self == Self::Text || other == Self::Text;
        self == other || (plain && self != Self::Ip && other != Self::Ip)
    }
}

/// A set with all references put in their place.
#[derive(Clone, Debug)]
pub(super) struct SetValue {
    pub(super) kind: SetType,
    texts: StrSet,
    nets: Vec<IpNet>,
}

impl SetValue {
    fn size(&self) -> usize {
        self.texts.literals.len() + self.texts.globs.len() + self.nets.len()
    }
}

impl<'s> Lowerer<'s, '_> {
    /// The texts of a set as written behind `in`.
    pub(super) fn text_set(&mut self, file: usize, kind: SetType, set: &'s SetExpr) -> Option<StrSet> {
        Some(self.set(file, kind, set)?.texts.clone())
    }

    /// The networks of a set as written behind `in`.
    pub(super) fn address_set(&mut self, file: usize, set: &'s SetExpr) -> Option<Vec<IpNet>> {
        Some(self.set(file, SetType::Ip, set)?.nets.clone())
    }

    /// The texts of a set named within `group(…)`.
    pub(super) fn group_set(&mut self, file: usize, name: &'s Spanned<Value>) -> Option<StrSet> {
        let Value::Word(word) = &name.node else {
            return None;
        };
        let value = self.known_set(file, word, name.span)?;
        self.fitting(&value, SetType::Group, name.span)?;
        self.count_expanded(value.size(), name.span)?;
        Some(value.texts.clone())
    }

    fn set(&mut self, file: usize, kind: SetType, set: &'s SetExpr) -> Option<Rc<SetValue>> {
        match set {
            SetExpr::Braces(braces) => self.braces(file, kind, braces).map(Rc::new),
            SetExpr::Name(name) => {
                let value = self.known_set(file, &name.node, name.span)?;
                self.fitting(&value, kind, name.span)?;
                self.count_expanded(value.size(), name.span)?;
                Some(value)
            }
            SetExpr::Groups(_, span) => {
                self.error(
                    Diagnostic::error(Code::WrongTest, "`group(…)` is what `identity` can be in")
                        .label(*span, "")
                        .help("write `identity in group(\"…\")`"),
                );
                None
            }
        }
    }

    fn known_set(&mut self, file: usize, name: &'s str, span: Span) -> Option<Rc<SetValue>> {
        let is_known = self.files.get(file).is_some_and(|file| file.sets.contains_key(name));
        if !is_known {
            self.unknown_name(file, name, span, "set");
            return None;
        }
        self.named_set(file, name, span)
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
    pub(super) fn named_set(&mut self, file: usize, name: &'s str, used_at: Span) -> Option<Rc<SetValue>> {
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
        let value = kind.and_then(|kind| self.braces(file, kind, &definition.braces));
        self.usage.within.pop();
        self.definition_depth -= 1;
        let value = value.map(Rc::new);
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
                    .help(
                        did_you_mean(&kind.node, names).unwrap_or_else(|| {
                            "the types are model, endpoint, ip, group, subject and string".to_owned()
                        }),
                    ),
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
        let mut set = SetValue { kind, texts: StrSet::default(), nets: Vec::new() };
        let mut sound = true;
        for entry in &braces.entries {
            sound &= self.entry(file, &mut set, entry).is_some();
        }
        normalize(&mut set.texts.literals);
        normalize(&mut set.texts.globs);
        normalize(&mut set.nets);
        sound.then_some(set)
    }

    fn entry(&mut self, file: usize, set: &mut SetValue, entry: &'s Spanned<Value>) -> Option<()> {
        self.count_expanded(1, entry.span)?;
        match &entry.node {
            Value::Word(word) if !self.is_word_value(set.kind, word) => {
                let value = self.known_set(file, word, entry.span)?;
                self.fitting(&value, set.kind, entry.span)?;
                self.count_expanded(value.size(), entry.span)?;
                set.texts.literals.extend_from_slice(&value.texts.literals);
                set.texts.globs.extend_from_slice(&value.texts.globs);
                set.nets.extend_from_slice(&value.nets);
            }
            _ if set.kind == SetType::Ip => set.nets.push(self.address(entry)?),
            value => {
                let (text, is_glob) = self.text_value(set.kind, value, entry.span)?;
                let list = match is_glob {
                    true => &mut set.texts.globs,
                    false => &mut set.texts.literals,
                };
                list.push(text);
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
