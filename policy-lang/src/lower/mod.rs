//! From syntax trees to the checked program: names, types, bounds.
//!
//! Names of sets, conditions, detectors and claims are local to their file, so that a file's meaning is visible in the file; `import`
//! brings those of another one under an alias. Rule names are unique in the set.

mod claims;
mod conditions;
mod detectors;
mod effects;
mod fields;
mod guards;
mod invariants;
mod limits;
mod masks;
mod names;
mod phases;
mod prune;
mod requirements;
mod rules;
mod set_values;
mod sets;
mod tests;
mod tests_on_content;
mod tests_on_fields;
mod usage;

use crate::check::Outline;
use crate::codes::Code;
use crate::diagnostic::Diagnostic;
use crate::limits::{ERRORS_MAX, RULES_MAX};
use crate::program::{Atom, AtomId, CustomDetector, Invariants, PolicyTest, Rule};
use crate::source::{Sources, Span};
use crate::syntax::{Header, InvariantItem, Item, RuleItem, TestItem};
use conditions::Lowered;
use names::FileNames;
pub(crate) use rules::Expiry;
use sets::SetValue;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

/// What a set of files comes to.
pub(crate) struct Checked {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) docs: String,
    pub(crate) rules: Vec<Rule>,
    /// In the order of the rules.
    pub(crate) outlines: Vec<Outline>,
    pub(crate) atoms: Vec<Atom>,
    pub(crate) invariants: Invariants,
    pub(crate) tests: Vec<PolicyTest>,
    pub(crate) expiries: Vec<Expiry>,
    pub(crate) warnings: Vec<Diagnostic>,
}

/// The items that make up the set, apart from definitions: those of files that were only imported do not count.
#[derive(Default)]
struct Members<'s> {
    headers: Vec<&'s Header>,
    rules: BTreeMap<&'s str, &'s RuleItem>,
    invariants: Vec<&'s InvariantItem>,
    tests: Vec<&'s TestItem>,
}

/// Checks the items of all files (in file order), adding what is wrong to `errors`. The result means something only if nothing was added.
pub(crate) fn lower(items: &[(usize, Item)], sources: &Sources, errors: &mut Vec<Diagnostic>) -> Checked {
    // The header may be among what could not be read.
    let syntax_errors = !errors.is_empty();
    let members = members(items, sources, errors);
    let files = names::collect(items, sources, errors);
    let mut lowerer = Lowerer::new(files, sources, errors);
    lowerer.check_definitions();
    let (rules, outlines): (Vec<Rule>, Vec<Outline>) = members.rules.values().map(|rule| lowerer.rule(rule)).unzip();
    let invariants = lowerer.invariants(&members.invariants);
    let ids: BTreeMap<&str, usize> = members.rules.keys().enumerate().map(|(id, name)| (*name, id)).collect();
    let tests = lowerer.tests(&members.tests, &ids);
    let mut warnings = std::mem::take(&mut lowerer.warnings);
    warnings.extend(lowerer.unused(sources));
    let (atoms, expiries) = (std::mem::take(&mut lowerer.atoms), std::mem::take(&mut lowerer.expiries));
    if rules.len() > RULES_MAX {
        errors.push(
            Diagnostic::error(
                Code::TooManyRules,
                format!("the set has {} rules, the limit is {RULES_MAX}", rules.len()),
            )
            .help("rules that differ in a name only are one rule with a set"),
        );
    }
    if members.headers.is_empty() && !syntax_errors {
        errors.push(
            Diagnostic::error(Code::MissingHeader, "the set has no header").help(
                "begin one file with `policy \"name\" version 1`: name and version are written into every record",
            ),
        );
    }
    let header = members.headers.first().copied();
    warnings.extend(nothing_allowed(&rules, header));
    let (rules, outlines, kept) = prune::prune(rules, outlines, &atoms);
    Checked {
        name: header.map_or_else(String::new, |header| header.name.node.clone()),
        version: header.map_or(0, |header| header.version),
        docs: header.map_or_else(String::new, |header| header.docs.clone()),
        rules,
        outlines,
        atoms: kept,
        invariants: prune::prune_invariants(invariants, &atoms),
        tests,
        expiries,
        warnings,
    }
}

fn members<'s>(items: &'s [(usize, Item)], sources: &Sources, errors: &mut Vec<Diagnostic>) -> Members<'s> {
    let mut members = Members::default();
    for (_, item) in items.iter().filter(|(file, _)| !sources.is_library(*file)) {
        match item {
            Item::Policy(header) => add_header(header, &mut members.headers, errors),
            Item::Rule(rule) => add_rule(rule, &mut members.rules, errors),
            Item::Invariant(invariant) => members.invariants.push(invariant),
            Item::Test(test) => members.tests.push(test),
            Item::Import(_) | Item::Claim(_) | Item::Set(_) | Item::Let(_) | Item::Detector(_) => {}
        }
    }
    members
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
    /// For patches that keep what was written.
    sources: &'e Sources,
    errors: &'e mut Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    atoms: Vec<Atom>,
    /// Where each atom was written first.
    atom_spans: Vec<Span>,
    atom_ids: HashMap<Atom, AtomId>,
    /// The test that is being lowered.
    test_span: Span,
    expiries: Vec<Expiry>,
    /// Claims that were looked at, by where they are declared: mistakes are reported once.
    claims: HashSet<Span>,
    /// Detectors of the policy, by where they are defined; `None` if something in one is wrong.
    custom: HashMap<Span, Option<CustomDetector>>,
    guards_reported: HashSet<AtomId>,
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
    fn new(files: Vec<FileNames<'s>>, sources: &'e Sources, errors: &'e mut Vec<Diagnostic>) -> Self {
        Self {
            files,
            sources,
            errors,
            warnings: Vec::new(),
            atoms: Vec::new(),
            atom_spans: Vec::new(),
            atom_ids: HashMap::new(),
            test_span: Span { file: 0, start: 0, end: 0 },
            expiries: Vec::new(),
            claims: HashSet::new(),
            custom: HashMap::new(),
            guards_reported: HashSet::new(),
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
                    Item::Detector(detector) => {
                        drop(self.custom_detector(file, &detector.name.node));
                    }
                    Item::Claim(claim) => drop(self.declared_claim(file, &claim.name.node)),
                    _ => {}
                }
            }
        }
        self.usage.forget_roots();
    }

    fn atom(&mut self, atom: Atom) -> AtomId {
        let next = AtomId(u32::try_from(self.atoms.len()).unwrap_or(u32::MAX));
        match self.atom_ids.entry(atom) {
            std::collections::hash_map::Entry::Occupied(known) => *known.get(),
            std::collections::hash_map::Entry::Vacant(free) => {
                self.atoms.push(free.key().clone());
                self.atom_spans.push(self.test_span);
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
}
