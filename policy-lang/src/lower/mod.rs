//! From syntax trees to the checked program: names, types, bounds.
//!
//! Names of sets and conditions are local to their file, so that a file's meaning is visible in the file; rule names are unique in the set.

mod conditions;
mod effects;
mod fields;
mod prune;
mod set_values;
mod sets;
mod tests_on_content;
mod tests_on_fields;
mod usage;

use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{ERRORS_MAX, RULES_MAX};
use crate::program::{Atom, AtomId, Condition, Rule};
use crate::source::Span;
use crate::syntax::{Clause, Header, Item, LetItem, RuleItem, SetItem};
use conditions::Lowered;
use sets::SetValue;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// What a set of files comes to.
pub(crate) struct Checked {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) rules: Vec<Rule>,
    pub(crate) atoms: Vec<Atom>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// Checks the items of all files (in file order), adding what is wrong to `errors`. The result means something only if nothing was added.
pub(crate) fn lower(items: &[(usize, Item)], file_count: usize, errors: &mut Vec<Diagnostic>) -> Checked {
    // The header may be among what could not be read.
    let syntax_errors = !errors.is_empty();
    let mut files = vec![FileNames::default(); file_count];
    let mut headers: Vec<&Header> = Vec::new();
    let mut rules: BTreeMap<&str, &RuleItem> = BTreeMap::new();
    for (file, item) in items {
        match item {
            Item::Policy(header) => add_header(header, &mut headers, errors),
            Item::Rule(rule) => add_rule(rule, &mut rules, errors),
            Item::Set(_) | Item::Let(_) => {
                if let Some(names) = files.get_mut(*file) {
                    names.add(item, errors);
                }
            }
        }
    }
    let mut lowerer = Lowerer::new(files, errors);
    lowerer.check_definitions();
    let lowered: Vec<Rule> = rules.values().map(|rule| lowerer.rule(rule)).collect();
    let mut warnings = std::mem::take(&mut lowerer.warnings);
    warnings.extend(lowerer.unused());
    let atoms = std::mem::take(&mut lowerer.atoms);
    if rules.len() > RULES_MAX {
        errors.push(Diagnostic::error(
            Code::TooManyRules,
            format!("the set has {} rules, the limit is {RULES_MAX}", rules.len()),
        ));
    }
    if headers.is_empty() && !syntax_errors {
        errors.push(
            Diagnostic::error(Code::MissingHeader, "the set has no header").help(
                "begin one file with `policy \"name\" version 1`: name and version are written into every record",
            ),
        );
    }
    warnings.extend(nothing_allowed(&lowered, headers.first().copied()));
    let (rules, atoms) = prune::prune(lowered, &atoms);
    Checked {
        name: headers.first().map_or_else(String::new, |header| header.name.node.clone()),
        version: headers.first().map_or(0, |header| header.version),
        rules,
        atoms,
        warnings,
    }
}

fn add_header<'s>(header: &'s Header, headers: &mut Vec<&'s Header>, errors: &mut Vec<Diagnostic>) {
    if header.name.node.is_empty() {
        errors.push(Diagnostic::error(Code::EmptyText, "the name of a policy is empty").label(header.name.span, ""));
    }
    match headers.last().filter(|other| other.span.file == header.span.file) {
        Some(first) => errors.push(
            Diagnostic::error(Code::DuplicateHeader, "this file has two headers")
                .label(header.span, "the second")
                .label(first.span, "the first"),
        ),
        None => headers.push(header),
    }
}

fn add_rule<'s>(rule: &'s RuleItem, rules: &mut BTreeMap<&'s str, &'s RuleItem>, errors: &mut Vec<Diagnostic>) {
    match rules.get(rule.name.node.as_str()) {
        Some(first) => errors.push(
            Diagnostic::error(Code::DuplicateRule, format!("there are two rules named `{}`", rule.name.node))
                .label(rule.name.span, "the second")
                .label(first.name.span, "the first")
                .help("names are unique in a set: records, metrics and explanations quote them"),
        ),
        None => {
            rules.insert(&rule.name.node, rule);
        }
    }
}

fn nothing_allowed(rules: &[Rule], header: Option<&Header>) -> Option<Diagnostic> {
    let allows = rules.iter().any(|rule| !rule.shadow && rule.effects.contains(&crate::program::Effect::Allow));
    let header = header.filter(|_| !allows)?;
    Some(
        Diagnostic::warning(Code::NothingAllowed, "no rule of this set allows anything: every call is denied")
            .label(header.span, "")
            .help("what no rule allows is denied; add a rule with `allow`"),
    )
}

/// Sets and conditions of one file.
#[derive(Clone, Default)]
struct FileNames<'s> {
    sets: BTreeMap<&'s str, &'s SetItem>,
    lets: BTreeMap<&'s str, &'s LetItem>,
    /// In the order of the file.
    order: Vec<&'s Item>,
}

impl<'s> FileNames<'s> {
    fn add(&mut self, item: &'s Item, errors: &mut Vec<Diagnostic>) {
        let name = match item {
            Item::Set(set) => &set.name,
            Item::Let(definition) => &definition.name,
            Item::Policy(_) | Item::Rule(_) => return,
        };
        if let Some(first) = self.defined(&name.node) {
            errors.push(
                Diagnostic::error(Code::DuplicateName, format!("`{}` is defined twice", name.node))
                    .label(name.span, "the second")
                    .label(first, "the first"),
            );
            return;
        }
        self.order.push(item);
        match item {
            Item::Set(set) => drop(self.sets.insert(&set.name.node, set)),
            Item::Let(definition) => drop(self.lets.insert(&definition.name.node, definition)),
            Item::Policy(_) | Item::Rule(_) => {}
        }
    }

    fn defined(&self, name: &str) -> Option<Span> {
        let set = self.sets.get(name).map(|set| set.name.span);
        set.or_else(|| self.lets.get(name).map(|definition| definition.name.span))
    }
}

/// A definition: its file and name.
type Key<'s> = (usize, &'s str);

/// How far a definition has come.
#[derive(Clone)]
enum Progress<T> {
    /// Being lowered: meeting it again is a cycle.
    Running,
    /// `None` if it has errors of its own, which are reported once.
    Done(Option<T>),
}

struct Lowerer<'s, 'e> {
    files: Vec<FileNames<'s>>,
    errors: &'e mut Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    atoms: Vec<Atom>,
    atom_ids: HashMap<Atom, AtomId>,
    lets: HashMap<Key<'s>, Progress<Rc<Lowered>>>,
    sets: HashMap<Key<'s>, Progress<Rc<SetValue>>>,
    usage: usage::Usage<'s>,
    /// Definitions that are being lowered, one within the other.
    definition_depth: usize,
    entries_written: usize,
    entries_expanded: usize,
    regexes: usize,
    nodes_total: usize,
}

impl<'s, 'e> Lowerer<'s, 'e> {
    fn new(files: Vec<FileNames<'s>>, errors: &'e mut Vec<Diagnostic>) -> Self {
        Self {
            files,
            errors,
            warnings: Vec::new(),
            atoms: Vec::new(),
            atom_ids: HashMap::new(),
            lets: HashMap::new(),
            sets: HashMap::new(),
            usage: usage::Usage::default(),
            definition_depth: 0,
            entries_written: 0,
            entries_expanded: 0,
            regexes: 0,
            nodes_total: 0,
        }
    }

    /// All definitions in order, used or not: mistakes show, and long chains of definitions need no recursion.
    fn check_definitions(&mut self) {
        let orders: Vec<Vec<&'s Item>> = self.files.iter().map(|file| file.order.clone()).collect();
        for (file, order) in orders.into_iter().enumerate() {
            for item in order {
                match item {
                    Item::Set(set) => drop(self.named_set(file, &set.name.node, set.name.span)),
                    Item::Let(definition) => {
                        drop(self.named_condition(file, &definition.name.node, definition.name.span));
                    }
                    Item::Policy(_) | Item::Rule(_) => {}
                }
            }
        }
        self.usage.forget_roots();
    }

    fn rule(&mut self, rule: &'s RuleItem) -> Rule {
        let mut whens: Vec<(&crate::syntax::Expr, Span)> = Vec::new();
        let mut parts = Vec::new();
        for clause in &rule.clauses {
            match &clause.node {
                Clause::When(condition) => {
                    if let Some((_, first)) = whens.first() {
                        self.errors.push(
                            Diagnostic::error(Code::ClauseTwice, "a rule has one `when`")
                                .label(clause.span, "the second")
                                .label(*first, "the first")
                                .help("join them with `and`, or with `or`, or write two rules"),
                        );
                    }
                    whens.push((condition, clause.span));
                    parts.extend(self.condition(condition));
                }
                Clause::Unless(condition) => {
                    parts.extend(self.condition(condition).map(Lowered::not));
                }
                _ => {}
            }
        }
        let condition = match parts.is_empty() {
            true => Condition::Const(true),
            false => self.bounded(Lowered::all(parts), rule.name.span),
        };
        Rule { name: rule.name.node.clone(), shadow: rule.shadow, condition, effects: self.effects(rule) }
    }

    fn atom(&mut self, atom: Atom) -> AtomId {
        let next = AtomId(u32::try_from(self.atoms.len()).unwrap_or(u32::MAX));
        match self.atom_ids.entry(atom) {
            std::collections::hash_map::Entry::Occupied(known) => *known.get(),
            std::collections::hash_map::Entry::Vacant(free) => {
                self.atoms.push(free.key().clone());
                *free.insert(next)
            }
        }
    }

    /// Looking for similar names takes time; with so many mistakes nobody misses it.
    fn may_suggest(&self) -> bool {
        self.errors.len() < ERRORS_MAX
    }

    fn error(&mut self, error: Diagnostic) {
        self.errors.push(error);
    }

    /// A name that the file does not define; perhaps another file does.
    fn unknown_name(&mut self, file: usize, name: &str, span: Span, what: &str) {
        let names = self.files.get(file).filter(|_| self.may_suggest()).map(|file| {
            let mut names: Vec<&str> = file.sets.keys().copied().collect();
            names.extend(file.lets.keys().copied());
            names
        });
        let elsewhere = self.files.iter().find_map(|file| file.defined(name));
        let mut error =
            Diagnostic::error(Code::UnknownName, format!("there is no {what} `{name}` in this file")).label(span, "");
        error = match elsewhere {
            Some(other) => error
                .label(other, "another file defines one")
                .help("names of sets and conditions are local to their file, so that its meaning is visible in it"),
            None => error.maybe_help(crate::suggest::did_you_mean(name, names.unwrap_or_default())),
        };
        self.error(error);
    }
}
