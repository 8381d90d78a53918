//! Which names a file knows: its own definitions, and those of imported files under their alias.

use super::{Key, Lowerer};
use crate::catalogue;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::schema::{BoolField, IntField, StrField};
use crate::source::{Sources, Span};
use crate::suggest::did_you_mean;
use crate::syntax::{ClaimItem, DetectorItem, ImportItem, Item, LetItem, SetItem};
use std::collections::BTreeMap;

/// First words of fields: an alias of this name would make `request.x` mean two things.
const ROOTS: [&str; 5] = ["identity", "request", "response", "time", "env"];

/// Names of one file.
#[derive(Clone, Default)]
pub(super) struct FileNames<'s> {
    pub(super) sets: BTreeMap<&'s str, &'s SetItem>,
    pub(super) lets: BTreeMap<&'s str, &'s LetItem>,
    pub(super) detectors: BTreeMap<&'s str, &'s DetectorItem>,
    pub(super) claims: BTreeMap<&'s str, &'s ClaimItem>,
    /// Alias, the file it stands for, and where that was said.
    pub(super) imports: BTreeMap<&'s str, (usize, Span)>,
    /// Definitions in the order of the file.
    pub(super) order: Vec<&'s Item>,
}

/// The definitions of all files, each name once.
pub(super) fn collect<'s>(
    items: &'s [(usize, Item)],
    sources: &Sources,
    errors: &mut Vec<Diagnostic>,
) -> Vec<FileNames<'s>> {
    let mut files = vec![FileNames::default(); sources.files().len()];
    for (file, item) in items {
        if let Some(names) = files.get_mut(*file) {
            names.add(item, *file, sources, errors);
        }
    }
    cyclic_imports(&files, errors);
    files
}

impl<'s> FileNames<'s> {
    fn add(&mut self, item: &'s Item, file: usize, sources: &Sources, errors: &mut Vec<Diagnostic>) {
        let name = match item {
            Item::Set(set) => &set.name,
            Item::Let(definition) => &definition.name,
            Item::Detector(detector) => &detector.name,
            Item::Import(import) => &import.alias,
            Item::Claim(claim) => return self.add_claim(claim, item, errors),
            Item::Policy(_) | Item::Rule(_) | Item::Invariant(_) | Item::Test(_) => return,
        };
        if let Some(first) = self.defined(&name.node) {
            errors.push(
                Diagnostic::error(Code::DuplicateName, format!("`{}` is defined twice", name.node))
                    .label(name.span, "the second")
                    .label(first, "the first"),
            );
            return;
        }
        if is_taken(item, &name.node) {
            errors.push(
                Diagnostic::error(Code::ReservedName, format!("`{}` has a meaning of its own already", name.node))
                    .label(name.span, "")
                    .help("choose another name"),
            );
            return;
        }
        match item {
            Item::Set(set) => drop(self.sets.insert(&name.node, set)),
            Item::Let(definition) => drop(self.lets.insert(&name.node, definition)),
            Item::Detector(detector) => drop(self.detectors.insert(&name.node, detector)),
            Item::Import(import) => {
                if let Some(target) = imported(import, file, sources, errors) {
                    self.imports.insert(&name.node, (target, name.span));
                }
            }
            _ => {}
        }
        self.order.push(item);
    }

    /// Claims have names of their own: they stand behind `identity.`.
    fn add_claim(&mut self, claim: &'s ClaimItem, item: &'s Item, errors: &mut Vec<Diagnostic>) {
        if let Some(first) = self.claims.get(claim.name.node.as_str()) {
            errors.push(
                Diagnostic::error(Code::DuplicateName, format!("the claim `{}` is declared twice", claim.name.node))
                    .label(claim.name.span, "the second")
                    .label(first.name.span, "the first"),
            );
            return;
        }
        self.claims.insert(&claim.name.node, claim);
        self.order.push(item);
    }

    pub(super) fn defined(&self, name: &str) -> Option<Span> {
        let set = self.sets.get(name).map(|set| set.name.span);
        set.or_else(|| self.lets.get(name).map(|definition| definition.name.span))
            .or_else(|| self.detectors.get(name).map(|detector| detector.name.span))
            .or_else(|| self.imports.get(name).map(|(_, span)| *span))
    }
}

fn is_taken(item: &Item, name: &str) -> bool {
    let is_field = || {
        let strings = StrField::ALL.iter().map(|(_, name)| *name);
        let numbers = IntField::ALL.iter().map(|(_, name)| *name);
        let mut fields = strings.chain(numbers).chain(BoolField::ALL.iter().map(|(_, name)| *name));
        ROOTS.contains(&name) || fields.any(|field| field == name)
    };
    let is_detector = || catalogue::detector(name).is_some() || catalogue::family(name).is_some();
    match item {
        Item::Let(_) => is_field(),
        Item::Detector(_) => is_detector(),
        // DECISIONS 11: an alias may shadow neither fields nor detectors.
        Item::Import(_) => is_field() || is_detector(),
        _ => false,
    }
}

/// The file that an import names: relative to the importing one, below the root of the set.
fn imported(import: &ImportItem, file: usize, sources: &Sources, errors: &mut Vec<Diagnostic>) -> Option<usize> {
    let from = sources.files().get(file).map_or("", |source| &source.name);
    let Some(name) = crate::source::relative(from, &import.path.node) else {
        errors.push(
            Diagnostic::error(Code::ImportOutside, "an import stays below the root of the policy set")
                .label(import.path.span, "")
                .help("paths are relative to the importing file, with `/` between their parts"),
        );
        return None;
    };
    let found = sources.files().iter().position(|source| source.name == name);
    if found.is_none() {
        let names = sources.files().iter().map(|source| source.name.as_str());
        errors.push(
            Diagnostic::error(Code::UnknownImport, format!("there is no policy file `{name}` in this set"))
                .label(import.path.span, "")
                .maybe_help(did_you_mean(&name, names)),
        );
    }
    found
}

/// Reports each cycle once, at the import that closes it.
fn cyclic_imports(files: &[FileNames<'_>], errors: &mut Vec<Diagnostic>) {
    let mut state = vec![Visit::New; files.len()];
    for start in 0..files.len() {
        // An explicit stack: chains of imports may be as long as there are files.
        let mut stack = vec![(start, 0_usize)];
        while let Some((file, next)) = stack.pop() {
            if next == 0 {
                match state.get(file) {
                    Some(Visit::New) => {}
                    _ => continue,
                }
                set(&mut state, file, Visit::Open);
            }
            let edge = files.get(file).and_then(|names| names.imports.values().nth(next));
            let Some((target, span)) = edge else {
                set(&mut state, file, Visit::Done);
                continue;
            };
            stack.push((file, next + 1));
            match state.get(*target) {
                Some(Visit::New) => stack.push((*target, 0)),
                Some(Visit::Open) => {
                    let back = files.get(*target).and_then(|names| {
                        names.imports.values().find(|(to, _)| stack.iter().any(|(open, _)| open == to))
                    });
                    let mut error = Diagnostic::error(Code::CyclicImport, "these files import each other")
                        .label(*span, "this import closes the circle")
                        .help("move what both need into a third file");
                    if let Some((_, other)) = back.filter(|(_, other)| other != span) {
                        error = error.label(*other, "it began here");
                    }
                    errors.push(error);
                }
                _ => {}
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Visit {
    New,
    Open,
    Done,
}

fn set(state: &mut [Visit], file: usize, value: Visit) {
    if let Some(slot) = state.get_mut(file) {
        *slot = value;
    }
}

impl<'s> Lowerer<'s, '_> {
    /// The file and the plain name behind a name as written in a file: `name`, or `alias.name`.
    pub(super) fn resolve<'n>(&mut self, file: usize, written: &'n str) -> Option<(usize, &'n str)> {
        match written.split_once('.') {
            None => Some((file, written)),
            Some((alias, name)) if !name.contains('.') => {
                let (target, _) = *self.files.get(file)?.imports.get(alias)?;
                self.usage.aliases.insert((file, alias.to_owned()));
                Some((target, name))
            }
            Some(_) => None,
        }
    }

    /// The definition's key, if the file knows a set of this name.
    pub(super) fn known_set_key(&mut self, file: usize, written: &str) -> Option<Key<'s>> {
        let (file, name) = self.resolve(file, written)?;
        let set = self.files.get(file)?.sets.get(name)?;
        Some((file, set.name.node.as_str()))
    }

    /// The definition's key, if the file knows a condition of this name.
    pub(super) fn known_let_key(&mut self, file: usize, written: &str) -> Option<Key<'s>> {
        let (file, name) = self.resolve(file, written)?;
        let definition = self.files.get(file)?.lets.get(name)?;
        Some((file, definition.name.node.as_str()))
    }

    /// A name that the file does not know; perhaps another file does.
    pub(super) fn unknown_name(&mut self, file: usize, name: &str, span: Span, what: &str) {
        let names = self.files.get(file).filter(|_| self.may_suggest()).map(|own| {
            let mut names: Vec<String> = own.sets.keys().chain(own.lets.keys()).map(|&name| name.to_owned()).collect();
            for (alias, (target, _)) in &own.imports {
                let imported = self.files.get(*target);
                let theirs = imported.into_iter().flat_map(|names| names.sets.keys().chain(names.lets.keys()));
                names.extend(theirs.map(|name| format!("{alias}.{name}")));
            }
            names
        });
        let elsewhere = self.files.iter().find_map(|file| file.defined(name));
        let mut error =
            Diagnostic::error(Code::UnknownName, format!("there is no {what} `{name}` in this file")).label(span, "");
        error = match elsewhere {
            Some(other) => error
                .label(other, "another file defines one")
                .help("names are local to their file, so that its meaning is visible in it; `import \"file\" as x` brings them as `x.name`"),
            None => {
                let names = names.unwrap_or_default();
                error.suggest(name, span, names.iter().map(String::as_str))
            }
        };
        self.error(error);
    }
}
